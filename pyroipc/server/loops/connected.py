"""The loop of a daemon that serves one connected socket.

The thread that receives a request also runs it, and :mod:`relay` says who does when it takes long:
N calls of N threads run side by side, and a slow method holds up nobody.

With one thread only (``SERVERTYPE`` ``"multiplex"``) requests run strictly one after the other,
on the thread that runs the loop.
"""

from __future__ import annotations

from collections import deque

from pyroipc.client.conversation import BREAKING
from pyroipc.context import running
from pyroipc.errors import ProtocolError, SecurityError, TimeoutError
from pyroipc.server.loops.relay import Relay
from pyroipc.server.loops.runner import UNUSUAL, Runner, unexpected
from pyroipc.transports.stream import WokenError
from pyroipc.wire.dialect import OtherDialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.client.session import Session
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession
    from pyroipc.wire.message import Message


class ConnectedLoop(Runner, Relay):
    """Serves one session until it ends or :meth:`stop` is called.

    Args:
        session: the connection.
        handler: runs requests.
        streams: sends the items of the iterators that methods return.
        threads: how many threads may run methods at once, the caller of :meth:`run` included.
        oneway_queue: how many oneway calls may wait.
    """

    def __init__(
        self,
        session: Session,
        handler: ServerSession,
        streams: Streams,
        *,
        threads: int,
        oneway_queue: int,
    ) -> None:
        Runner.__init__(
            self, session, handler, streams, threads=threads, oneway_queue=oneway_queue
        )
        Relay.__init__(self, threads)
        self._error: Exception | None = None
        self._mistake: Exception | None = None  # of ours
        self._inbox: deque[Message] = deque()

    def run(self, condition: Callable[[], bool] | None = None) -> None:
        """Serve on the calling thread until the peer is gone, ``stop`` or ``condition`` fails.

        Raises:
            ProtocolError: the peer broke the rules of the protocol.
            SecurityError: it signs its messages, as a Pyro4 with a key does.
        """
        try:
            self.relay(condition)
        finally:
            self._stopping = True
            self._ring()
            if self._helpers:  # one of them may be receiving
                self.session.channel.wake()
            self.finish_oneway()
            running.set(None)
            if self._error is None:
                self._finish_calls()
        if self._mistake is not None:
            raise self._mistake
        if isinstance(self._error, ProtocolError | SecurityError):
            raise self._error  # of OtherDialectError, too: somebody else goes on

    def stop(self) -> None:
        """Make :meth:`run` return as soon as its thread is not in a method; any thread."""
        self._stopping = True
        self.session.channel.wake()
        self._ring()

    def _serve(self, deadline: float | None = None) -> bool:
        """Receive requests and run them; False as soon as another thread leads.

        With a deadline, return after one request, or when it has passed.
        """
        try:
            while not self._stopping:
                if self._inbox:
                    self._run_inbox()
                message = self._receive(deadline)
                if message is None:
                    return not self.session.lead.locked()
                if self._asleep:
                    self._asleep = False
                    self._ring()
                self.execute(message)
                if self._turns == 1 and self._threads_max > 1:
                    self._start_helper()
                if deadline is not None:
                    return True
        except Exception as error:  # noqa: BLE001 - run() raises it, on whichever thread it came
            self._mistake = error
            try:
                self._error = self.session.broken(unexpected(error))
            finally:
                self.stop()
        return True

    def _is_led(self) -> bool:
        return self.session.lead.locked()

    def _has_work(self) -> bool:
        return bool(self._inbox)

    def _receive(self, deadline: float | None) -> Message | None:
        """Receive a request, if this thread can lead; None also if there is none any more."""
        session = self.session
        held = False
        try:
            for held in session.try_lead:  # noqa: B007 - see transports/stream.py
                break
            if not held or self._stopping:  # stop() may have woken the leader before this one
                return None
            while True:
                message = session.receive_request(deadline)
                self._turns += 1
                if not message.flags & UNUSUAL or self._admit(message):
                    break
        except (WokenError, TimeoutError):
            return None
        except BREAKING as error:
            foreign = isinstance(error, OtherDialectError) and session.peer_hello is None
            self._error = error if foreign else session.broken(error)
            self._stopping = True
            self._ring()  # a thread that stands by may sleep
            return None
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                session.lead.release()
                if session.waiters:
                    session.invite()
        return message

    def take(self, message: Message) -> None:
        """Take a request that another thread received while it waited for an answer of its own."""
        if self.refuses_circle(message):
            return
        if self._admit(message):
            self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        self._inbox.append(message)
        self._ring()

    def has_enough(self) -> bool:
        """Say whether so many requests wait that a sender should take no more meanwhile."""
        return len(self._inbox) >= self._oneway_max

    def _run_inbox(self) -> None:
        while self._inbox:
            try:
                message = self._inbox.popleft()
            except IndexError:
                return  # another thread was faster
            self.execute(message)

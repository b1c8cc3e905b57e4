"""The loop of a daemon that serves one connected socket.

The thread that receives a request also runs it: no hand-off, so a call costs one wake-up. While
it runs the method nobody receives; for a short call that does no harm. A *stand-by* thread looks
every few milliseconds, while there is work, whether the leader has been busy with one call for
that long, and then takes the lead: it receives and runs the requests that follow, so that N calls
of N threads run side by side and a slow method holds up nobody. The thread that was busy stands
by when it is done. An idle connection has one thread that receives and one that sleeps.

With one thread only (``SERVERTYPE`` ``"multiplex"``) requests run strictly one after the other,
on the thread that runs the loop.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from pyroipc.context import running
from pyroipc.errors import ConnectionClosedError, ProtocolError, TimeoutError
from pyroipc.server.loops.runner import UNUSUAL, Runner
from pyroipc.transports.stream import WokenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.client.session import Session
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession
    from pyroipc.wire.message import Message

_TICK_SECONDS = 0.005
"""A leader that has been busy with one call for this long is relieved."""
_IDLE_TICKS = 10
"""After so many looks without work the stand-by sleeps until there is some."""
_CONDITION_SECONDS = 0.5
_FINISH_SECONDS = 5.0
"""How long a loop that stops waits for calls that still run on other threads."""


class ConnectedLoop(Runner):
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
        super().__init__(session, handler, streams, threads=threads, oneway_queue=oneway_queue)
        self._stopping = False
        self._error: Exception | None = None
        self._turns = 0  # requests received
        self._helpers: set[threading.Thread] = set()
        self._parked = 0
        self._counts = threading.Lock()
        self._standing_by = threading.Lock()
        self._asleep = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._inbox: deque[Message] = deque()

    def run(self, condition: Callable[[], bool] | None = None) -> None:
        """Serve on the calling thread until the peer is gone, ``stop`` or ``condition`` fails.

        Raises:
            ProtocolError: the peer broke the rules of the protocol.
        """
        try:
            while not self._stopping and (condition is None or condition()):
                deadline = None if condition is None else monotonic() + _CONDITION_SECONDS
                if not self._serve(deadline):
                    self._park(deadline)
        finally:
            self._stopping = True
            self._ring()
            if self._helpers:  # one of them may be receiving
                self._session.channel.wake()
            self.flush()
            running.set(None)
            if self._error is None:
                self._finish_calls()
        if isinstance(self._error, ProtocolError):
            raise self._error

    def _finish_calls(self) -> None:
        """Let calls that other threads run finish, so that their answers precede the goodbye."""
        deadline = monotonic() + _FINISH_SECONDS
        for helper in list(self._helpers):
            helper.join(max(0.0, deadline - monotonic()))

    @property
    def is_busy(self) -> bool:
        """Whether some thread still runs a call that it may never answer, after the loop ended."""
        return any(helper.is_alive() for helper in list(self._helpers))

    def stop(self) -> None:
        """Make :meth:`run` return as soon as its thread is not in a method; any thread."""
        self._stopping = True
        self._session.channel.wake()
        self._ring()

    def _serve(self, deadline: float | None = None) -> bool:
        """Receive requests and run them; False as soon as another thread leads.

        With a deadline, return after one request, or when it has passed.
        """
        while not self._stopping:
            if self._inbox:
                self._run_inbox()
            message = self._receive(deadline)
            if message is None:
                return not self._session.lead.locked()
            if self._asleep:
                self._asleep = False
                self._ring()
            self._run(message)
            if self._turns == 1 and self._threads_max > 1:
                self._start_helper()
            if deadline is not None:
                return True
        return True

    def _receive(self, deadline: float | None) -> Message | None:
        """Receive a request, if this thread can lead; None also if there is none any more."""
        session = self._session
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
        except (ConnectionClosedError, ProtocolError) as error:
            self._error = session.broken(error)
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
        if self._away and self._refuse_circle(message):
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
            self._run(message)

    # --- stand-by --------------------------------------------------------------------------------

    def _start_helper(self) -> None:
        with self._counts:
            if self._stopping or self._parked or len(self._helpers) + 1 >= self._threads_max:
                return
            helper = threading.Thread(target=self._help, name="pyroipc-worker", daemon=True)
            try:
                helper.start()
            except RuntimeError:  # no more threads to be had: serve with those that there are
                return
            self._helpers.add(helper)
            self._parked += 1

    def _help(self) -> None:
        """Be a helper: stand by, lead while nobody else does, stand by again."""
        try:
            parked = True  # counted by _start_helper
            while not self._stopping:
                if not parked and not self._enter_park(spare=True):
                    return
                self._stand_by()
                self._leave_park()
                parked = False
                self._serve()
        finally:
            with self._counts:
                self._helpers.discard(threading.current_thread())

    def _park(self, deadline: float | None) -> None:
        """Stand by on the thread that runs the loop, until the deadline at the latest."""
        self._enter_park(spare=False)
        try:
            self._stand_by(deadline)
        finally:
            self._leave_park()

    def _enter_park(self, *, spare: bool) -> bool:
        """Count this thread as standing by; False if there is another and this one is spare."""
        with self._counts:
            if spare and self._parked:
                return False
            self._parked += 1
            return True

    def _leave_park(self) -> None:
        with self._counts:
            self._parked -= 1
        self._start_helper()

    def _stand_by(self, deadline: float | None = None) -> None:
        """Return when nobody has led for a tick while one call runs, or when the loop stops."""
        if not self._standing_by.acquire(timeout=_seconds_until(deadline)):
            return
        try:
            idle_ticks = 0
            turns = -1
            was_free = False
            while not self._stopping and (deadline is None or monotonic() < deadline):
                if idle_ticks > _IDLE_TICKS:
                    self._sleep(deadline)
                    idle_ticks = 0
                else:
                    self._bell.acquire(timeout=_TICK_SECONDS)
                if self._inbox:
                    return
                free, turned = not self._session.lead.locked(), self._turns != turns
                if free and was_free and not turned:
                    return  # the one who led is busy with the call of the tick before
                idle_ticks = 0 if free or turned else idle_ticks + 1
                was_free, turns = free, self._turns
        finally:
            self._standing_by.release()

    def _sleep(self, deadline: float | None) -> None:
        self._asleep = True
        # The leader gives up the lead before it looks whether we sleep, and we say that we sleep
        # before we look whether there is a leader: one of the two notices.
        if self._session.lead.locked() and not self._stopping:
            self._bell.acquire(timeout=_seconds_until(deadline))
        self._asleep = False

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already


def _seconds_until(deadline: float | None) -> float:
    """Return what Lock.acquire takes as its timeout."""
    return -1 if deadline is None else max(0.0, deadline - monotonic())

"""What all loops do with a request: run it, send its answer, keep oneway calls in order.

Oneway calls of a connection run in the order in which they came, one at a time; at most
``oneway_queue`` of them wait, then the connection is not read any further.

A loop whose threads all wait for calls over *other* connections cannot run anything. If one of
those calls comes back here by way of others, all would wait for ever. A call made in a call
carries a correlation id for that reason: it is recognised, and answered with a DeadlockError.
"""

from __future__ import annotations

import os
import threading
from collections import deque

from pyroipc.context import running
from pyroipc.errors import DeadlockError, MessageTooLargeError, ProtocolError
from pyroipc.wire.message import CREDIT, ONEWAY, REQUEST, STREAM, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.client.session import Session
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession

UNUSUAL = ONEWAY | STREAM


_NO_LOCK = threading.RLock()  # of those that have had no oneway call


class _Away:
    """The time in which a thread of a loop waits for a call over another connection."""

    __slots__ = ("_chain", "_circles", "_what")

    def __init__(self, circles: Circles, chain: bytes, what: str) -> None:
        self._circles = circles
        self._chain = chain
        self._what = what

    def __enter__(self) -> None:
        self._circles.change(self._chain, self._what)

    def __exit__(self, *exc: object) -> None:
        self._circles.change(self._chain, None)


class Circles:
    """What the threads of a loop wait for over other connections, so that circles are known.

    Args:
        threads: how many threads the loop has.
        on_change: called with whether all of them wait, when their number has changed.
    """

    __slots__ = ("_count", "_lock", "_on_change", "_threads_max", "waits")

    def __init__(self, threads: int, on_change: Callable[[bool], None]) -> None:
        self._threads_max = threads
        self._on_change = on_change
        self.waits: dict[bytes, list[str]] = {}
        """By the correlation id of a chain of calls: the calls that threads wait for."""
        self._count = 0
        self._lock = threading.Lock()

    def change(self, chain: bytes, what: str | None) -> None:
        """Note that a thread begins to wait for a call, or with None: that it waits no more."""
        with self._lock:
            if what is not None:
                self.waits.setdefault(chain, []).append(what)
                self._count += 1
            else:
                self._count -= 1
                self.waits[chain].pop()
                if not self.waits[chain]:
                    del self.waits[chain]
            self._on_change(self._count >= self._threads_max)

    def error_for(self, message: Message) -> DeadlockError | None:
        """Return why a request would wait for itself; None if it would not."""
        if self._count < self._threads_max or message.flags & ONEWAY:
            return None
        waits_for = self.waits.get(message.correlation_id or b"")
        if not waits_for:
            return None
        return DeadlockError(
            f"calls go round in a circle: this one came back to process {os.getpid()}, where "
            f"{'the only thread' if self._threads_max == 1 else 'every thread'} of the daemon "
            f"waits; it waits for {waits_for[-1]}, which waits for this call. Let one of the "
            "calls be oneway, or let the daemon have more threads (SERVERTYPE 'thread', "
            "THREADPOOL_SIZE)"
        )


class Runner:
    """Runs the requests of one session on the threads that a loop has.

    Args:
        session: the connection.
        handler: runs requests.
        streams: sends the items of the iterators that methods return.
        threads: how many threads may run methods at once.
        oneway_queue: how many oneway calls may wait.
        circles: what the threads of the loop wait for; None: the loop serves only this session.
    """

    __slots__ = (
        "_circles",
        "_handle",
        "_handler",
        "_lane",
        "_lane_lock",
        "_oneway_max",
        "_streams",
        "_threads_max",
        "session",
    )

    def __init__(
        self,
        session: Session,
        handler: ServerSession,
        streams: Streams,
        *,
        threads: int,
        oneway_queue: int,
        circles: Circles | None = None,
    ) -> None:
        self.session = session
        """The connection."""
        self._handler = handler
        self._handle = handler.handle
        self._streams = streams
        self._threads_max = threads
        self._oneway_max = oneway_queue
        self._circles = circles or Circles(threads, self._watch)
        # Made when the first oneway call comes: an idle connection should take little memory.
        self._lane: deque[Message] | tuple[()] = ()
        self._lane_lock = _NO_LOCK

    serves = True
    """Whether a loop receives requests all the time."""

    def _admit(self, message: Message) -> bool:
        """Take note of a message whose order matters; called by whoever receives.

        Returns:
            Whether some thread is to :meth:`execute` it.
        """
        if message.flags & UNUSUAL:
            if message.kind != REQUEST:
                return self._streams.take_note(message)
            if message.flags & ONEWAY:
                if isinstance(self._lane, tuple):
                    self._lane_lock = threading.RLock()
                    self._lane = deque()
                self._lane.append(message)
        return True

    def execute(self, message: Message, *, nested: bool = False) -> None:
        """Run a request that was admitted, and send its answer.

        Args:
            message: the request.
            nested: this thread waits for an answer of its own, and is not to produce a stream for
                as long as that goes on.
        """
        if message.flags & UNUSUAL:
            if message.kind != REQUEST:
                self._streams.follow(message)
                return
            if message.flags & ONEWAY:
                self.run_oneway()
                return
        handle = self._handle
        answer = handle(message)
        if answer is not None:
            if isinstance(answer, bytes):
                self.session.answer(answer)
                return
            try:
                self.session.check_size(answer)
            except MessageTooLargeError as error:
                answer = self.session.codecs.refusal(message, error)
            self.session.answer(answer)
            if self._handler.is_refused:
                self.session.dismiss("the handshake was refused")
            if self._streams.announced(message.request_id):
                if nested and self._threads_max > 1:
                    self._enqueue(Message(CREDIT, 0, STREAM, message.request_id, b""))
                else:
                    self._streams.produce(message.request_id)

    def _enqueue(self, message: Message) -> None:
        """Have another thread of this loop run a message."""
        raise NotImplementedError

    def run_nested(self, message: Message) -> None:
        """Run a request on a thread that waits for an answer, in between.

        Raises:
            KeyboardInterrupt: Ctrl-C came meanwhile.
        """
        outer = running.get()
        try:
            self.execute(message, nested=True)
        except BaseException as error:  # of a signal handler, such as that of Ctrl-C
            # If the answer has gone out already, the peer drops this one.
            self.session.answer(self.session.codecs.refusal(message, error))
            raise
        finally:
            running.set(outer)
        if self._handler.interrupted == message.request_id:
            # Ctrl-C came in the method. The peer knows; the program that waits should, too.
            self._handler.interrupted = 0
            raise KeyboardInterrupt

    def wait_elsewhere(self, chain: bytes, what: str) -> _Away:
        """Note, as a context manager, that a thread of this loop waits for another connection.

        Args:
            chain: the correlation id of the call it waits for.
            what: that call, for people.
        """
        return _Away(self._circles, chain, what)

    def _watch(self, is_helpless: bool) -> None:  # noqa: FBT001 - it is the whole message
        """Have somebody receive who refuses circles, while all threads wait."""
        if is_helpless or self.session.pump.is_watching:
            self.session.pump.watch(is_helpless)

    def refuses_circle(self, message: Message) -> bool:
        """Answer a request that goes round in a circle; False if this one does not."""
        if not self._circles.waits:
            return False
        error = self._circles.error_for(message)
        if error is None:
            return False
        self.session.send(self.session.codecs.refusal(message, error))
        return True

    def run_oneway(self) -> None:
        """Run the oneway calls that wait, unless another thread does that."""
        if len(self._lane) > self._oneway_max:
            self.finish_oneway()
        while self._lane and self._lane_lock.acquire(blocking=False):
            try:
                self._run_lane()
            finally:
                self._lane_lock.release()

    def _run_lane(self) -> None:
        lane = self._lane
        while lane:
            assert isinstance(lane, deque)
            self._handle(lane.popleft())

    def finish_oneway(self) -> None:
        """Run the oneway calls that wait; return when they have run."""
        if self._lane_lock is not _NO_LOCK:
            with self._lane_lock:
                self._run_lane()


def unexpected(error: Exception) -> ProtocolError:
    """Log an error that nobody has thought of; return what the peer is told."""
    from pyroipc import logs

    logs.get("server").error("what a client sent could not be dealt with", exc_info=error)
    return ProtocolError(f"this could not be dealt with: {error!r}")

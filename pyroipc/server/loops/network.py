"""The loop of a daemon that listens: any number of clients, and a thread only for running calls.

All connections are in one selector, and the leader of the loop waits on that
(:mod:`pyroipc.server.loops.relay` says who leads). It takes the requests that have arrived, one
client after the other, and runs each on the spot; so a call costs no hand-off between threads, an
idle connection costs no thread, and a busy client waits only for those before it. If a call takes
long, another thread takes the lead; if a client's calls usually do, it is asked to beforehand.

======================  =======================================================================
what there is too much  what happens
======================  =======================================================================
calls at once           they wait for a thread for ``busy_seconds``; then the answer is BusyError
oneway calls            they wait, in order; at most ``oneway_threads`` threads run them
a client that is silent before it has said hello: cut off after ``handshake_seconds``
a client that is idle   cut off after ``idle_seconds``, if that is set
a client that is deaf   nothing more is read from it; cut off after ``write_seconds``
descriptors             accepting pauses for a moment, and begins again by itself
======================  =======================================================================

With one thread only (``SERVERTYPE`` ``"multiplex"``) calls run strictly one after the other, on
the thread that runs the loop. If that one waits for a call to another daemon, a helper takes
requests meanwhile, so that one that goes round in a circle is told so.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import repeat
from time import monotonic

from pyroipc.context import running
from pyroipc.errors import BusyError, DrainingError
from pyroipc.server.loops.doors import Doors, Waker
from pyroipc.server.loops.relay import Relay
from pyroipc.server.loops.runner import Circles
from pyroipc.transports.readiness import WRITE, Readiness
from pyroipc.wire.message import ONEWAY, REQUEST
from pyroipc.wire.native import new_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.wire.message import Message

    Job: TypeAlias = tuple[Visitor | None, Message | None]

_CHORES_SECONDS = 0.5
"""How often to look who is overdue."""
_LOOK_AGAIN_SECONDS = 0.004
"""How soon to look again at a connection on which another thread reads or writes."""
_SLOW_SECONDS = 0.001
"""A call that takes longer is slow: the next one of this client is not run by a lone leader."""
_WARY_CALLS = 16
"""For so many calls after a slow one, that of a client that has made none counts as slow."""
_DRAIN_SECONDS = 0.05
"""How often to look whether all is done, when the loop drains."""
_DRAINING = (
    "the daemon is about to stop, and did not begin this call; repeat it elsewhere, or later"
)


class Times:
    """How long things may take, in seconds; 0: as long as it takes."""

    __slots__ = ("busy", "chores", "drain", "handshake", "idle", "look", "write")

    def __init__(
        self,
        *,
        busy: float = 5.0,
        chores: float = 2.0,
        drain: float = 30.0,
        handshake: float = 10.0,
        idle: float = 0.0,
        look: float = 50e-6,
        write: float = 30.0,
    ) -> None:
        self.busy = busy
        """How long a request may wait for a thread (0: not at all)."""
        self.chores = chores
        """How often ``housekeeping`` is called."""
        self.drain = drain
        """How long calls may still run when the loop drains."""
        self.handshake = handshake
        """How long a client may take to introduce itself."""
        self.idle = idle
        """How long a client may say nothing."""
        self.look = look
        """How long to look for requests before sleeping (0: not at all)."""
        self.write = write
        """How long a client may take nothing of an answer."""


class NetworkLoop(Relay):
    """Serves clients that come through doors.

    Args:
        threads: how many may run calls at once; 1: the one that runs the loop, and no other.
        spares: how many idle threads are kept.
        oneway_threads: how many may run oneway calls at once.
        times: how long things may take.
        housekeeping: called every now and then, by a thread that leads nothing.
    """

    def __init__(
        self,
        *,
        threads: int,
        spares: int = 1,
        oneway_threads: int = 32,
        times: Times,
        housekeeping: Callable[[], None] | None = None,
    ) -> None:
        # One more than may run calls: when all do, it takes requests and says how things are.
        super().__init__(threads + 1 if threads > 1 else 1, spares)
        self.threads = threads
        self.circles = Circles(threads, self._watch_circles)
        self.visitors: dict[int, Visitor] = {}
        """The clients, by the number of the descriptor."""
        self._times = times
        self._oneway_free = oneway_threads
        self._housekeeping = housekeeping
        self._readiness = Readiness(times.look)
        self._waker = Waker(self._readiness)
        self.doors = Doors(self._readiness)
        self._lead = threading.Lock()
        self._try_lead = map(self._lead.acquire, repeat(False))
        self._lock = threading.Lock()  # around what is counted, and what is watched
        self._scratch = new_scratch()
        self._ready: deque[Visitor] = deque()
        self._received: deque[tuple[Visitor, Message | None]] = deque()  # by other threads
        self._postponed: deque[tuple[Visitor, Message, float]] = deque()  # and until when
        self._leaving: deque[Visitor] = deque()
        self._again: deque[Visitor] = deque()
        self._lanes: deque[Visitor] = deque()
        self._running = 0
        self._wary = 0
        self._chores_at = 0.0
        self._housekeeping_at = monotonic() + times.chores
        self._drained_by: float | None = None
        self._reception: threading.Thread | None = None
        self._helpless = threading.Event()

    now = staticmethod(monotonic)

    # --- the life of the loop --------------------------------------------------------------------

    def run(self, condition: Callable[[], bool] | None = None) -> None:
        """Serve on the calling thread until ``stop``, or until the condition does not hold."""
        self._stopping = False
        self._running = 0
        try:
            self.relay(condition)
        finally:
            self._stopping = True
            self._ring()
            self._waker.wake()
            self._helpless.set()
            running.set(None)
            self._finish_calls()

    def stop(self) -> None:
        """Make :meth:`run` return as soon as its thread is not in a method; any thread."""
        self._stopping = True
        self._waker.wake()
        self._ring()

    def drain(self) -> None:
        """Let the calls that run finish, begin no others, and then stop; any thread, or a signal.

        Those who ask meanwhile are told to ask elsewhere.
        """
        if self._drained_by is None:
            self._drained_by = monotonic() + self._times.drain
            self._waker.wake()

    def dismiss(self, reason: str) -> None:
        """Say goodbye to all clients, and let go what they had; nobody leads."""
        for visitor in list(self.visitors.values()):
            visitor.dismiss(reason)
            self._forget(visitor)
            visitor.end()
        self._ready.clear()
        self._received.clear()
        self._postponed.clear()
        self._leaving.clear()
        self._again.clear()
        self._lanes.clear()

    def close(self) -> None:
        """Give back the descriptors; :meth:`dismiss` was called before."""
        self.doors.close()
        self._waker.close()
        self._readiness.close()

    def fileno(self) -> int:
        """Return the number of a descriptor that is readable when there is something to do."""
        return self._readiness.fileno()

    def handle_events(self) -> None:
        """Do what there is to do now, and return: for programs with a loop of their own."""
        self._stopping = False
        if self.threads > 1:
            self._start_helper()
            return
        while True:
            job = self._next(monotonic())
            if job is None:
                return
            self._run(*job)

    # --- what others ask for, on any thread ------------------------------------------------------

    def enqueue(self, visitor: Visitor, message: Message | None) -> None:
        """Run a message that another thread has received."""
        self._received.append((visitor, message))
        self._waker.wake()
        self._ring()

    def watch(self, visitor: Visitor) -> None:
        """Watch the socket of a client for what it wants now."""
        with self._lock:
            wanted, before = visitor.wants, visitor.watched
            if wanted == before or self.visitors.get(visitor.fd) is not visitor:
                return
            visitor.watched = wanted
            # Not "for nothing": that a peer is gone would be reported all the same, for ever.
            if not wanted:
                self._readiness.unregister(visitor.fd)
            elif not before:
                self._readiness.register(visitor.fd, wanted)
            else:
                self._readiness.modify(visitor.fd, wanted)

    def look_again(self, visitor: Visitor) -> None:
        """Look at a client in a few milliseconds."""
        self._again.append(visitor)
        if len(self._again) == 1 and self._lead.locked():
            self._waker.wake()

    def may_run_oneway(self, visitor: Visitor) -> bool:
        """Say whether there is a thread for oneway calls; if not, one follows later."""
        with self._lock:
            if self._oneway_free <= 0:
                self._lanes.append(visitor)
                return False
            self._oneway_free -= 1
            return True

    def oneway_done(self) -> None:
        """Take note that a thread has run the oneway calls of a client."""
        with self._lock:
            self._oneway_free += 1
            waiting = self._lanes.popleft() if self._lanes else None
        if waiting is not None:
            self.enqueue(waiting, None)

    # --- leading ---------------------------------------------------------------------------------

    def _is_led(self) -> bool:
        return self._lead.locked()

    def _has_work(self) -> bool:
        return bool(self._received or self._postponed) and self._running < self.threads

    def _serve(self, deadline: float | None = None) -> bool:
        while not self._stopping:
            job = self._next(deadline)
            if job is None:
                return not self._lead.locked()
            if self._asleep:
                self._asleep = False
                self._ring()
            self._run(*job)
            if self._turns == 1 and self.threads > 1:
                self._start_helper()
            if deadline is not None:
                return True
        return True

    def _next(self, deadline: float | None) -> Job | None:
        """Return something to run; None: another thread leads, or the deadline has passed."""
        held = False
        try:
            for held in self._try_lead:  # noqa: B007 - see transports/stream.py
                break
            if not held and self._reception is not None:  # it leaves in a moment
                for held in map(self._lead.acquire, (True,), (_CHORES_SECONDS,)):  # noqa: B007
                    break
            if not held:
                return self._take_queued()
            while not self._stopping:
                job = self._take_queued() or self._take_leaving() or self._take_ready()
                if job is not None:
                    return job
                if not self._ready:
                    now = monotonic()
                    if now >= self._chores_at and self._do_chores(now):
                        return _HOUSEKEEPING
                    if not self._wait(now, deadline):
                        return None
        finally:
            if held:
                self._lead.release()
        return None

    def _take_queued(self) -> Job | None:
        """Take what waits for a thread, if there is one."""
        if not (self._received or self._postponed):
            return None
        with self._lock:
            if self._running >= self.threads:
                return None
            message: Message | None
            if self._received:
                visitor, message = self._received.popleft()
            elif self._postponed:
                visitor, message, _ = self._postponed.popleft()
                visitor.is_postponed = False
            else:
                return None
            self._begin(visitor)
        visitor.look_again()
        return visitor, message

    def _begin(self, visitor: Visitor | None) -> None:
        """Count a call that begins; the caller holds the lock."""
        self._running += 1
        if visitor is not None:
            visitor.calls += 1

    def _take_leaving(self) -> Job | None:
        if not self._leaving:
            return None
        visitor = self._leaving.popleft()
        with self._lock:
            self._begin(visitor)
        return visitor, None

    def _take_ready(self) -> Job | None:
        """Let the next client whose socket is ready say what it wants."""
        if not self._ready:
            return None
        visitor = self._ready.popleft()
        message = visitor.step(self._scratch)
        if visitor.has_ended:
            self._forget(visitor)
            self._leaving.append(visitor)
            return None
        if message is None:
            return None
        self._turns += 1
        if visitor.has_more:
            self._ready.append(visitor)
        if self._drained_by is not None and message.kind == REQUEST:
            visitor.refuse(message, DrainingError(_DRAINING))
            return None
        if self.circles.waits and visitor.refuses_circle(message):
            return None
        with self._lock:
            if self._running < self.threads:
                self._begin(visitor)
                return visitor, message
            visitor.is_postponed = True
            seconds = self._times.busy if self.threads > 1 else float("inf")
            self._postponed.append((visitor, message, monotonic() + seconds))
        return None

    def _wait(self, now: float, deadline: float | None) -> bool:
        """Wait for sockets to become ready; False if the deadline has passed."""
        if deadline is not None and now >= deadline:
            return False
        seconds = max(0.0, self._chores_at - now)
        if deadline is not None:
            seconds = min(seconds, deadline - now)
        if self._postponed:
            seconds = min(seconds, self._postponed[0][2] - now)
            if seconds <= 0:
                self._lose_patience(now)
                return True
        if self._again or self.doors.next_opening is not None:
            seconds = min(seconds, _LOOK_AGAIN_SECONDS)
            self.doors.open_again(now)
        for fd, events in self._readiness.wait(seconds, look=not self._running):
            visitor = self.visitors.get(fd)
            if visitor is not None:
                if events & WRITE:
                    visitor.flush()
                if events & ~WRITE:
                    self._ready.append(visitor)
            elif fd == self._waker.fd:
                self._waker.rest()
            else:
                self._let_in(fd)
        for _ in range(len(self._again)):
            self._again.popleft().look_again()
        return True

    def _let_in(self, fd: int) -> None:
        for visitor in self.doors.open(fd):
            self.visitors[visitor.fd] = visitor
            self.watch(visitor)
            self._ready.append(visitor)

    def _forget(self, visitor: Visitor) -> None:
        """Watch a client no longer; its descriptor may be somebody else's soon."""
        with self._lock:
            if self.visitors.get(visitor.fd) is visitor:
                del self.visitors[visitor.fd]
                if visitor.watched:
                    self._readiness.unregister(visitor.fd)

    # --- running ---------------------------------------------------------------------------------

    def _run(self, visitor: Visitor | None, message: Message | None) -> None:
        try:
            if visitor is None:
                self._keep_house()
            elif visitor.has_ended:
                visitor.end()
            else:
                self._run_for(visitor, message)
        finally:
            with self._lock:
                self._running -= 1
                if visitor is not None:
                    visitor.calls -= 1

    def _run_for(self, visitor: Visitor, message: Message | None) -> None:
        slow = visitor.is_slow
        if slow or (slow is None and self._wary):
            self._urgent = True  # have somebody else lead meanwhile
            self._ring()
        start = monotonic()
        visitor.run(message)
        end = visitor.active_at = monotonic()
        visitor.is_slow = slow = end - start > _SLOW_SECONDS
        if slow:
            self._wary = _WARY_CALLS
        elif self._wary:
            self._wary -= 1
        if visitor.session.has_left and not visitor.has_ended:  # it was refused
            visitor.has_ended = True
            self._forget(visitor)
            visitor.end()

    def _keep_house(self) -> None:
        try:
            if self._housekeeping is not None:
                self._housekeeping()
        except Exception:
            from logging import getLogger

            getLogger("pyroipc.server").exception("housekeeping failed")

    # --- chores ----------------------------------------------------------------------------------

    def _do_chores(self, now: float) -> bool:
        """See who is overdue; return whether it is time for housekeeping."""
        draining = self._drained_by is not None
        self._chores_at = now + (_DRAIN_SECONDS if draining else _CHORES_SECONDS)
        if draining:
            self._drain_on(now)
        self.doors.open_again(now)
        for visitor in list(self.visitors.values()):
            self._judge(visitor, now)
            if visitor.has_ended:
                self._forget(visitor)
                self._leaving.append(visitor)
        if now < self._housekeeping_at or self._running >= self.threads:
            return False
        self._housekeeping_at = now + self._times.chores
        with self._lock:
            self._begin(None)
        return True

    def _judge(self, visitor: Visitor, now: float) -> None:
        """End the connection of a client that is overdue."""
        times = self._times
        if visitor.owes_since is not None:
            if times.write and now - visitor.owes_since > times.write:
                visitor.cut_off(f"it has taken nothing of what it was sent for {times.write:g} s")
        elif not visitor.is_admitted:
            if times.handshake and now - visitor.came_at > times.handshake:
                visitor.cut_off(f"it has not introduced itself for {times.handshake:g} s")
        elif times.idle and now - visitor.active_at > times.idle and not visitor.calls:
            visitor.dismiss(f"the client was idle for {times.idle:g} s (COMMTIMEOUT)")

    def _lose_patience(self, now: float) -> None:
        """Tell those who have waited too long for a thread that there is none."""
        while True:
            with self._lock:
                if not self._postponed or self._postponed[0][2] > now:
                    return
                visitor, message, _ = self._postponed.popleft()
                visitor.is_postponed = False
                waiting = len(self._postponed)
            self._refuse(visitor, message, waiting)
            visitor.look_again()

    def _refuse(self, visitor: Visitor, message: Message, waiting: int) -> None:
        error = BusyError(
            f"the daemon is busy: all its {self.threads} threads have run calls for "
            f"{self._times.busy:g} s, and {waiting} more calls of {len(self.visitors)} clients wait; "
            "THREADPOOL_SIZE says how many threads there are, BUSY_TIMEOUT how long calls wait"
        )
        visitor.refuse(message, error)
        if message.flags & ONEWAY:
            from logging import getLogger

            getLogger("pyroipc.server").warning("a oneway call was dropped: %s", error)

    def _drain_on(self, now: float) -> None:
        """Stop when nothing runs any more, and all that was answered has been sent."""
        self.doors.close()
        with self._lock:
            postponed = list(self._postponed)
            self._postponed.clear()
        for visitor, message, _ in postponed:
            visitor.is_postponed = False
            visitor.refuse(message, DrainingError(_DRAINING))
            visitor.look_again()
        owing = any(visitor.owes_since is not None for visitor in self.visitors.values())
        assert self._drained_by is not None
        if not (self._running or owing) or now >= self._drained_by:
            self.stop()

    # --- circles ---------------------------------------------------------------------------------

    def _watch_circles(self, is_helpless: bool) -> None:  # noqa: FBT001 - it is the whole message
        """While the only thread of the loop waits for another daemon, have one that receives."""
        if self.threads > 1:
            return
        if is_helpless:
            self._helpless.set()
            if self._reception is None:
                self._reception = threading.Thread(
                    target=self._receive_for_others, name="pyroipc-reception", daemon=True
                )
                self._reception.start()
        elif self._helpless.is_set():
            self._helpless.clear()
            self._waker.wake()

    def _receive_for_others(self) -> None:
        while not self._stopping:
            self._helpless.wait(_CHORES_SECONDS)
            while self._helpless.is_set() and not self._stopping:
                with self._lead:
                    if self._take_ready() is None and not self._ready:
                        now = monotonic()
                        self._wait(now, now + _CHORES_SECONDS)
        self._reception = None


_HOUSEKEEPING = (None, None)

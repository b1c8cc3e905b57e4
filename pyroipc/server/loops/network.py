"""The loop of a daemon that listens: any number of clients, and a thread only for running calls.

All connections are in one selector, and the leader of the loop waits on that
(:mod:`pyroipc.server.loops.relay` says who leads). It takes the requests that have arrived, one
client after the other, and runs each on the spot; so a call costs no hand-off between threads, an
idle connection costs no thread, and a busy client waits only for those before it. If a call takes
long, another thread takes the lead; if a client's calls usually do, it is asked to beforehand.
When only one client asks, the leader looks at its socket for a moment before it asks the selector.

======================  =======================================================================
what there is too much  what happens
======================  =======================================================================
calls at once           they wait for a thread for ``busy`` seconds; then the answer is BusyError
oneway calls            they wait, in order; only so many threads run them
silent clients          one that has not said hello is cut off after ``handshake`` seconds
idle clients            cut off after ``idle`` seconds, if that is set
deaf clients            nothing more is read from them; they are cut off after ``write`` seconds
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

from pyroipc.client.exchange import NO_WAIT
from pyroipc.context import running
from pyroipc.errors import DrainingError
from pyroipc.server.loops.doors import Doors, Waker
from pyroipc.server.loops.overload import Lanes, Postponed, refuse
from pyroipc.server.loops.relay import Relay
from pyroipc.server.loops.runner import Circles
from pyroipc.transports.readiness import WRITE, Readiness
from pyroipc.transports.spin import Spin
from pyroipc.wire.message import REQUEST
from pyroipc.wire.native import new_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyroipc.server.loops.overload import Times
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
_HOUSEKEEPING: Job = (None, None)


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
        """How many threads may run calls at once."""
        self.circles = Circles(threads, self._watch_circles)
        """What they wait for elsewhere."""
        self.visitors: dict[int, Visitor] = {}
        """The clients, by the number of the descriptor."""
        self.readiness = Readiness(times.look)
        """What the loop waits for."""
        self.doors = Doors(self.readiness)
        """Where clients come in."""
        self.lanes = Lanes(oneway_threads)
        """Who may run oneway calls."""
        self.was_stopped = False
        """Whether the last run was ended by :meth:`stop`, and not by its condition."""
        self._times = times
        self._housekeeping = housekeeping
        self._waker = Waker(self.readiness)
        self._lead = threading.Lock()
        self._try_lead = map(self._lead.acquire, repeat(NO_WAIT))
        self._lock = threading.Lock()  # around what is watched
        self._scratch = new_scratch()
        self._ready: deque[Visitor] = deque()
        self._received: deque[tuple[Visitor, Message | None]] = deque()  # by other threads
        self._leaving: deque[Visitor] = deque()
        self._again: deque[Visitor] = deque()
        patience = (times.busy or -1.0) if threads > 1 else float("inf")
        self._postponed = Postponed(threads, patience)
        self._running: dict[int, Visitor | None] = {}  # by thread: whose call it runs
        self._alone: Visitor | None = None  # the one client that asks, if it is just one
        self._looked_at = -1  # the descriptor of the last such client
        self._spin: Spin | None = None  # looks at its socket
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
        self._stopping = self.was_stopped = False
        try:
            self.relay(condition)
        finally:
            self.was_stopped = self._stopping
            self._stopping = True
            self._running.clear()
            self._alone = None
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
            self._chores_at = 0.0
            self._waker.wake()

    def dismiss(self, reason: str, owner: object = None) -> None:
        """Say goodbye to clients, and let go what they had.

        Args:
            reason: for people at the other end.
            owner: to those that belong to this; None: to all.
        """
        for visitor in list(self.visitors.values()):
            if owner is None or visitor.owner is owner:
                visitor.dismiss(reason)
                self._forget(visitor)
                visitor.end()

    def close(self) -> None:
        """Give back the descriptors; :meth:`dismiss` was called before."""
        self.doors.close()
        self._waker.close()
        self.readiness.close()

    @property
    def sockets(self) -> list[Any]:
        """What a program with a loop of its own waits for."""
        sockets: list[Any] = [*self.doors.sockets, self._waker.sock]
        if self.threads == 1:
            sockets += [visitor.session.channel.sock for visitor in list(self.visitors.values())]
        return sockets

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
                self.readiness.unregister(visitor.fd)
            elif not before:
                self.readiness.register(visitor.fd, wanted)
            else:
                self.readiness.modify(visitor.fd, wanted)

    def look_again(self, visitor: Visitor) -> None:
        """Look at a client in a few milliseconds."""
        self._again.append(visitor)
        if len(self._again) == 1 and self._lead.locked():
            self._waker.wake()

    # --- leading ---------------------------------------------------------------------------------

    def _is_led(self) -> bool:
        return self._lead.locked()

    def _has_work(self) -> bool:
        return bool(self._received or self._postponed) and len(self._running) < self.threads

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
            if held:
                return self._lead_on(deadline)
            return self._take_queued()
        finally:
            if held:
                self._lead.release()

    def _lead_on(self, deadline: float | None) -> Job | None:
        """Wait for something to run, and return it; None: the deadline has passed."""
        while not self._stopping:
            job = None
            if self._received or self._postponed:
                job = self._take_queued()
            if job is None and self._leaving:
                job = self._leaving.popleft(), None
            if job is None and self._ready:
                visitor = self._ready.popleft()
                job = self._take(visitor, visitor.step(self._scratch))
            elif job is None:
                job = self._wait(deadline)
                if job is None and deadline is not None and monotonic() >= deadline:
                    return None
            if job is not None:
                self._running[threading.get_ident()] = job[0]
                return job
        return None

    def _take_queued(self) -> Job | None:
        """Take what waits for a thread, if there is one."""
        if len(self._running) >= self.threads:
            return None
        job: Job | None
        try:
            job = self._received.popleft() if self._received else self._postponed.take()
        except IndexError:
            return None  # another thread was faster
        if job is not None and job[0] is not None:
            self._running[threading.get_ident()] = job[0]
            job[0].look_again()
        return job

    def _take(self, visitor: Visitor, message: Message | None) -> Job | None:
        """Say what is to be done with what a client says; None: nothing."""
        if message is None:
            if visitor.has_ended:
                self._forget(visitor)
                return visitor, None
            return None
        self._turns += 1
        if visitor.has_more:
            self._ready.append(visitor)
        if self._drained_by is not None and message.kind == REQUEST:
            refuse(visitor, message, DrainingError(_DRAINING))
            return None
        if self.circles.waits and visitor.refuses_circle(message):
            return None
        if len(self._running) >= self.threads:
            self._postponed.add(visitor, message, monotonic())
            return None
        return visitor, message

    def _wait(self, deadline: float | None) -> Job | None:
        """Wait for sockets to become ready, and see what is overdue; return what is to be done."""
        alone = self._alone
        if alone is not None:
            spin = self._spin
            if spin is not None and not self._running and (spin.on or spin.try_again()):
                message = alone.step(self._scratch, spin)
                if message is not None or alone.has_ended:
                    return self._take(alone, message)
            self._alone = None
        now = monotonic()
        if now >= self._chores_at and self._do_chores(now):
            return _HOUSEKEEPING
        until = self._chores_at if deadline is None else min(self._chores_at, deadline)
        if self._postponed:
            self._postponed.refuse_overdue(now, len(self.visitors))
            until = min(until, self._postponed.until)
        seconds = until - now
        if self._again or self.doors.are_shut:
            seconds = min(seconds, _LOOK_AGAIN_SECONDS)
            self.doors.open_again(now)
        ready = self.readiness.wait(seconds, look=not self._running)
        for fd, events in ready:
            self._is_ready(fd, events)
        if len(ready) == 1 and len(self._ready) == 1:
            self._note_alone(self._ready[0])
        for _ in range(len(self._again)):
            self._again.popleft().look_again()
        return None

    def _note_alone(self, visitor: Visitor) -> None:
        """Take note that just this client asks: look at its socket first, the next time."""
        self._alone = visitor
        if self._looked_at != visitor.fd:
            self._looked_at = visitor.fd
            look = self._times.look
            self._spin = Spin(visitor.session.channel.sock, None, look) if look else None

    def _is_ready(self, fd: int, events: int) -> None:
        visitor = self.visitors.get(fd)
        if visitor is not None:
            if events & WRITE:
                visitor.flush()
            if events & ~WRITE:
                self._ready.append(visitor)
        elif fd == self._waker.fd:
            self._waker.rest()
        else:
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
                    self.readiness.unregister(visitor.fd)
        if self._alone is visitor:
            self._alone = None
        if self._looked_at == visitor.fd:
            self._looked_at = -1

    # --- running ---------------------------------------------------------------------------------

    def _run(self, visitor: Visitor | None, message: Message | None) -> None:
        try:
            if visitor is None:
                self._keep_house()
            elif visitor.has_ended:
                visitor.end()
            else:
                slow = visitor.is_slow
                if slow or (slow is None and self._wary):
                    self._urgent = True  # have somebody else lead meanwhile
                    self._ring()
                start = monotonic()
                if message is None:
                    visitor.run_oneway()
                else:
                    visitor.execute(message)
                self._note_end(visitor, start)
        finally:
            self._running.pop(threading.get_ident(), None)

    def _note_end(self, visitor: Visitor, start: float) -> None:
        end = visitor.active_at = monotonic()
        visitor.is_slow = slow = end - start > _SLOW_SECONDS
        if slow:
            self._wary = _WARY_CALLS
        elif self._wary:
            self._wary -= 1
        if not visitor.session.is_open and not visitor.has_ended and visitor.session.has_left:
            visitor.has_ended = True  # it was refused
            self._forget(visitor)
            visitor.end()

    def _keep_house(self) -> None:
        try:
            if self._housekeeping is not None:
                self._housekeeping()
        except Exception:  # noqa: BLE001 - of the user's
            from pyroipc import logs

            logs.get("server").exception("housekeeping failed")

    # --- chores ----------------------------------------------------------------------------------

    def _do_chores(self, now: float) -> bool:
        """See who is overdue; return whether it is time for housekeeping."""
        draining = self._drained_by is not None
        self._chores_at = now + (_DRAIN_SECONDS if draining else _CHORES_SECONDS)
        if draining:
            self._drain_on(now)
        busy = set(map(id, list(self._running.values())))
        for visitor in list(self.visitors.values()):
            self._times.judge(visitor, now, is_busy=id(visitor) in busy or visitor.is_postponed)
            if visitor.has_ended:
                self._forget(visitor)
                self._leaving.append(visitor)
        if now < self._housekeeping_at or len(self._running) >= self.threads:
            return False
        self._housekeeping_at = now + self._times.chores
        return True

    def _drain_on(self, now: float) -> None:
        """Stop when nothing runs any more, and all that was answered has been sent."""
        self.doors.close()
        self._postponed.refuse_all(DrainingError(_DRAINING))
        owing = any(visitor.owes_since is not None for visitor in list(self.visitors.values()))
        assert self._drained_by is not None
        if not (self._running or owing or self._received) or now >= self._drained_by:
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
                    if self._ready:
                        visitor = self._ready.popleft()
                        job = self._take(visitor, visitor.step(self._scratch))
                        if job is not None:  # of a client that is gone: for the loop's thread
                            self._leaving.append(visitor)
                    else:
                        self._wait(None)
        self._reception = None

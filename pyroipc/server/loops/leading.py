"""What the leader of a network loop does: it waits, receives, and finds something to run.

Everything ends in a *job*: a client and a request of it to run. Clients have their turn one after
the other, with one request each; then the sockets are looked at again. So a client that sends
thousands of requests at once holds up the others by one of them at a time.

At most ``threads`` threads run jobs. When all of them do, one more still leads: it receives
requests, which wait then, and says how things are. A *single* loop has no such thread.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import repeat
from time import monotonic

from pyroipc.client.exchange import NO_WAIT
from pyroipc.errors import DrainingError, PyroError
from pyroipc.server.loops.doors import Doors, Waker
from pyroipc.server.loops.overload import Postponed, Watchlist, refuse
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
    from pyroipc.wire.dialect import OtherDialectError
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


class Leading(Relay):
    """The threads of a network loop; each leads when it is its turn.

    Args:
        threads: how many may run calls at once.
        spares: how many idle threads are kept.
        single: the thread that runs the loop is the only one, and runs all calls.
        times: how long things may take.
    """

    def __init__(self, threads: int, spares: int, *, single: bool, times: Times) -> None:
        # One more than may run calls: when all do, it takes requests and says how things are.
        super().__init__(1 if single else threads + 1, spares)
        self.threads = 1 if single else threads
        """How many threads may run calls at once."""
        self.is_single = single
        """Whether the thread that runs the loop is the only one."""
        self.circles = Circles(self.threads, self._watch_circles)
        """What they wait for elsewhere."""
        self.visitors: dict[int, Visitor] = {}
        """The clients, by the number of the descriptor."""
        self.readiness = Readiness(times.look)
        """What the loop waits for."""
        self._times = times
        self._doors = Doors(self.readiness)
        self._tenants: dict[object, Callable[[], None]] = {}  # whose doors: their housekeeping
        self._waker = Waker(self.readiness)
        self._lead = threading.Lock()
        self._try_lead = map(self._lead.acquire, repeat(NO_WAIT))
        # Around what is watched. A signal handler may close a daemon at any moment.
        self._lock = threading.RLock()
        self._scratch = new_scratch()
        self._ready: deque[Visitor] = deque()
        self._more: deque[Visitor] = deque()  # have sent more; others have their turn before
        self._received: deque[tuple[Visitor, Message | None]] = deque()  # for any thread
        self._again: deque[Visitor] = deque()
        self._postponed = Postponed(self.threads, float("inf") if single else times.busy or -1.0)
        self._watchlist = Watchlist(times)
        self._running: dict[int, Visitor | None] = {}  # by thread: whose call it runs
        self._alone: Visitor | None = None  # the one client that asks, if it is just one
        self._looked_at = -1  # the descriptor of the last such client
        self._spin: Spin | None = None  # looks at its socket
        self._wary = 0
        self._chores_seconds = min(_CHORES_SECONDS, times.chores)
        self._chores_at = 0.0
        self._housekeeping_at = monotonic() + times.chores
        self.was_interrupted = False
        """Whether Ctrl-C has ended the last run."""
        self._broken_off: set[Visitor] = set()  # those who may wait for an answer in vain
        self._drained_by: float | None = None
        self._is_drained = False  # all that is left is to answer who has asked meanwhile
        self._reception: threading.Thread | None = None
        self._helpless = threading.Event()

    def stop(self) -> None:
        """Make the loop end as soon as its thread is not in a method; any thread."""
        self._stopping = True
        self._waker.wake()
        self._ring()

    def watch(self, visitor: Visitor) -> None:
        """Watch the socket of a client for what it wants now; any thread."""
        with self._lock:
            wanted, before = visitor.wants, visitor.watched
            if wanted == before or self.visitors.get(visitor.fd) is not visitor:
                return
            visitor.watched = wanted
            if wanted == WRITE:
                self._watchlist.add(visitor)
            # Not "for nothing": that a peer is gone would be reported all the same, for ever.
            if not wanted:
                self.readiness.unregister(visitor.fd)
            elif not before:
                self.readiness.register(visitor.fd, wanted)
            else:
                self.readiness.modify(visitor.fd, wanted)

    def _is_led(self) -> bool:
        return self._lead.locked()

    def _has_work(self) -> bool:
        waits = self._received or self._postponed.waiting
        return bool(waits) and len(self._running) < self.threads

    def _serve(self, deadline: float | None = None) -> bool:
        while not self._stopping:
            job = self._next(deadline)
            if job is None:
                return not self._lead.locked()
            if not self._helpers and not self.is_single:
                self._start_helper()
            if self._asleep:
                self._asleep = False
                self._ring()
            self._run(*job)
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
            job = self._take_queued() if self._received or self._postponed.waiting else None
            if job is None and self._ready:
                visitor = self._ready.popleft()
                try:
                    job = self._take(visitor, visitor.step(self._scratch))
                except Exception as error:  # noqa: BLE001 - costs this client, and no other
                    visitor.fail(error)
            elif job is None:
                job = self._wait(deadline)
                late = deadline is not None and monotonic() >= deadline
                if job is None and late and not self._ready:
                    return None
            if job is not None:
                return job
        return None

    def _start_job(self, visitor: Visitor | None) -> bool:
        """Count this thread as running a call; False: as many as may do that do it already."""
        running = self._running
        if len(running) >= self.threads:
            return False
        ident = threading.get_ident()
        running[ident] = visitor
        if len(running) > self.threads:
            # Two came at the same moment. Neither goes, so that there are never too many; the
            # leader looks once more.
            running.pop(ident, None)
            self._waker.wake()
            return False
        return True

    def _take_queued(self) -> Job | None:
        """Take what waits for a thread, if there is one."""
        if not (self._received or self._postponed.waiting) or not self._start_job(None):
            return None
        job: Job | None = None
        try:
            job = self._received.popleft() if self._received else self._postponed.take()
        except IndexError:
            pass  # another thread was faster
        if job is None or job[0] is None:
            self._running.pop(threading.get_ident(), None)
            return None
        self._running[threading.get_ident()] = job[0]
        job[0].look_again()
        return job

    def _take(self, visitor: Visitor, message: Message | None) -> Job | None:
        """Say what is to be done with what a client says; None: nothing."""
        if message is None:
            if visitor.foreign is not None:
                self._translate(visitor, visitor.foreign)
            if visitor.has_ended:
                return self._let_end(visitor)
            if visitor.has_more and visitor.is_read:  # no request, but so much else
                self._more.append(visitor)
            return None
        self._turns += 1
        if visitor.has_more:
            self._more.append(visitor)
        if self._drained_by is not None and message.kind == REQUEST:
            refuse(visitor, message, DrainingError(_DRAINING))
            return None
        if self.circles.waits and visitor.refuses_circle(message):
            return None
        if not self._start_job(visitor):
            self._postponed.add(visitor, message, monotonic())
            return None
        return visitor, message

    def _translate(self, visitor: Visitor, error: OtherDialectError) -> None:
        """Have somebody who speaks the dialect of a client take the place of who does not."""
        owner: Any = visitor.owner
        try:
            successor = owner.translate(visitor, error)
        except PyroError as refusal:
            visitor.turn_away(refusal)
            return
        visitor.has_ended = True  # the connection is no longer its own
        with self._lock:
            self.visitors[visitor.fd] = successor
            successor.watched = visitor.watched
        if self._alone is visitor:
            self._alone = None
        self._watchlist.add(successor)
        self._ready.append(successor)

    def _let_end(self, visitor: Visitor) -> Job | None:
        """See to it that what a client had is let go, by a thread that may run calls."""
        if self._forget(visitor):
            if self._start_job(visitor):
                return visitor, None
            self._received.append((visitor, None))
        return None

    def _wait(self, deadline: float | None) -> Job | None:
        """Wait for sockets to become ready, and see what is overdue; return what is to be done."""
        alone = self._alone
        if alone is not None:
            spin = self._spin
            if (
                spin is not None
                and not (self._running or self._more)
                and (spin.on or spin.try_again())
            ):
                try:
                    message = alone.step(self._scratch, spin)
                    if message is not None or alone.foreign is not None or alone.has_more:
                        return self._take(alone, message)
                except Exception as error:  # noqa: BLE001 - see _lead_on
                    alone.fail(error)
            self._alone = None
            if alone.has_ended:
                return self._let_end(alone)
        now = monotonic()
        if now >= self._chores_at and self._do_chores(now) and self._start_job(None):
            return _HOUSEKEEPING
        ready = self.readiness.wait(self._patience(now, deadline), look=not self._running)
        for fd, events in ready:
            self._is_ready(fd, events)
        if len(ready) == 1 and len(self._ready) == 1:
            self._note_alone(self._ready[0])
        if self._more or self._again:
            self._begin_turn()
        return None

    def _begin_turn(self) -> None:
        """Let those go on who let others have their turn, and those to be looked at again."""
        self._ready.extend(self._more)
        self._more.clear()
        for _ in range(len(self._again)):
            visitor = self._again.popleft()
            visitor.is_looked_after = False
            visitor.look_again()

    def _patience(self, now: float, deadline: float | None) -> float:
        """Return how long to wait at the most."""
        if self._more:
            return 0.0
        until = self._chores_at if deadline is None else min(self._chores_at, deadline)
        if self._postponed.waiting:
            self._postponed.refuse_overdue(now, len(self.visitors))
            until = min(until, self._postponed.until)
        if self._again:
            until = min(until, now + _LOOK_AGAIN_SECONDS)
        if self._doors.are_shut:
            until = min(until, self._doors.open_again(now))
        return until - now

    def _note_alone(self, visitor: Visitor) -> None:
        """Take note that just this client asks: look at its socket first, the next time."""
        if visitor.has_ended:
            return
        self._alone = visitor
        if self._looked_at != visitor.fd:
            self._looked_at = visitor.fd
            look = self._times.look
            self._spin = Spin(visitor.session.channel.sock, None, look) if look else None

    def _is_ready(self, fd: int, events: int) -> None:
        visitor = self.visitors.get(fd)
        if visitor is not None:
            if events & WRITE or visitor.owes_since is not None:
                try:
                    visitor.flush()
                except Exception as error:  # noqa: BLE001 - see _lead_on
                    visitor.fail(error)
            if events & ~WRITE:
                self._ready.append(visitor)
        elif fd == self._waker.fd:
            self._waker.rest()
        else:
            for visitor in self._doors.open(fd):
                self._begin(visitor)

    def _begin(self, visitor: Visitor) -> None:
        """Serve somebody who has just come in."""
        self.visitors[visitor.fd] = visitor
        self._watchlist.add(visitor)
        try:
            self.watch(visitor)
        except OSError as error:  # the kernel watches no more than it wants to
            visitor.give_up(error)
        self._ready.append(visitor)

    def _forget(self, visitor: Visitor) -> bool:
        """Watch a client no longer; its descriptor may be somebody else's soon.

        Returns:
            Whether it was still here: whoever is told so has to let it end, and nobody else.
        """
        with self._lock:
            if self.visitors.get(visitor.fd) is not visitor:
                return False
            del self.visitors[visitor.fd]
            if visitor.watched:
                self.readiness.unregister(visitor.fd)
        if self._alone is visitor:
            self._alone = None
        if self._looked_at == visitor.fd:
            self._looked_at = -1
        return True

    # --- running ---------------------------------------------------------------------------------

    def _run(self, visitor: Visitor | None, message: Message | None) -> None:
        try:
            if visitor is None:
                self._keep_house()
            elif visitor.has_ended:
                self._forget(visitor)
                self._end(visitor)
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
        except KeyboardInterrupt:
            if visitor is None or not self.was_interrupted:
                raise
            self._broken_off.add(visitor)  # between its method and its answer; the loop ends
        except Exception as error:
            if visitor is None:
                raise
            visitor.fail(error)
        finally:
            self._running.pop(threading.get_ident(), None)

    def _note_end(self, visitor: Visitor, start: float) -> None:
        if visitor.backlog:
            visitor.flush()
        end = visitor.active_at = monotonic()
        visitor.is_slow = slow = end - start > _SLOW_SECONDS
        if slow:
            self._wary = _WARY_CALLS
        elif self._wary:
            self._wary -= 1
        if not visitor.session.is_open and visitor.session.has_left and self._forget(visitor):
            self._end(visitor)  # it was refused

    def _end(self, visitor: Visitor) -> None:
        try:
            visitor.end()
        except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 - of the user's
            _log().exception("letting go what a client had failed")

    def _keep_house(self) -> None:
        for keep_house in list(self._tenants.values()):
            try:
                keep_house()
            except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 - of the user's
                _log().exception("housekeeping failed")

    # --- chores ----------------------------------------------------------------------------------

    def _do_chores(self, now: float) -> bool:
        """See who is overdue; return whether it is time for housekeeping."""
        draining = self._drained_by is not None
        self._chores_at = now + (_DRAIN_SECONDS if draining else self._chores_seconds)
        if draining:
            self._drain_on(now)
        busy = set(self._running.values())
        for visitor in self._watchlist.overdue(self.visitors, busy, now):
            if self._forget(visitor):
                self._received.append((visitor, None))
        if now < self._housekeeping_at:
            return False
        self._housekeeping_at = now + self._times.chores
        return True

    def _drain_on(self, now: float) -> None:
        """Stop when nothing runs any more, and all that was answered has been sent."""
        self._doors.shut_for_ever()
        self._postponed.refuse_all(DrainingError(_DRAINING))
        owing = any(visitor.owes_since is not None for visitor in list(self.visitors.values()))
        assert self._drained_by is not None
        if now >= self._drained_by or (self._is_drained and not owing):
            self.stop()
        # Once more: who has asked while the last call ran is told to ask elsewhere.
        self._is_drained = not (self._running or owing or self._received)

    # --- circles ---------------------------------------------------------------------------------

    def _watch_circles(self, is_helpless: bool) -> None:  # noqa: FBT001 - it is the whole message
        """While the only thread of the loop waits for another daemon, have one that receives."""
        if not self.is_single:
            return
        if is_helpless:
            self._helpless.set()
            if self._reception is None:
                reception = threading.Thread(
                    target=self._receive_for_others, name="pyroipc-reception", daemon=True
                )
                reception.start()
                self._reception = reception
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
                        try:
                            self._take(visitor, visitor.step(self._scratch))
                        except Exception as error:  # noqa: BLE001 - see _lead_on
                            visitor.fail(error)
                    else:
                        self._wait(None)
        self._helpless.clear()
        self._reception = None


def _log() -> Any:
    from pyroipc import logs

    return logs.get("server")

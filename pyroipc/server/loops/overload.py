"""What waits when there is too much to do: requests for a thread, oneway calls for their turn."""

from __future__ import annotations

import select
import threading
from collections import deque
from time import monotonic

from pyroipc.errors import BusyError
from pyroipc.transports.readiness import unsent_bytes
from pyroipc.wire.message import ONEWAY, REQUEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pyroipc.errors import PyroError
    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.wire.message import Message


_NEVER = float("inf")
_NOTHING_KNOWN = (1 << 62, 0.0)
_DEAF_SECONDS = 0.2
"""A client that takes nothing for so long does not hold up a loop that ends."""


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

    def judge(self, visitor: Visitor, now: float, *, is_busy: bool, took_at: float) -> None:
        """End the connection of a client that is overdue.

        Args:
            visitor: the client.
            now: by the monotonic clock.
            is_busy: whether calls of it run, or it is called back.
            took_at: when it last took something of what it was sent.
        """
        owes_since = visitor.owes_since
        if owes_since is not None:
            if self.write and now - max(owes_since, took_at) > self.write:
                visitor.cut_off(f"it has taken nothing of what it was sent for {self.write:g} s")
        elif not visitor.is_admitted:
            if self.handshake and now - visitor.came_at > self.handshake:
                visitor.cut_off(f"it has not introduced itself for {self.handshake:g} s")
        elif self.idle and now - visitor.active_at > self.idle and not is_busy:
            visitor.dismiss(f"the client was idle for {self.idle:g} s (COMMTIMEOUT)")


class Watchlist:
    """The clients that may be overdue, so that not all of thousands are looked at all the time.

    Args:
        times: how long things may take.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        # How much the kernel still had for each, and when that was last less than before.
        self._watched: dict[Visitor, tuple[int, float]] = {}

    def add(self, visitor: Visitor) -> None:
        """Watch a client that has just come, or that takes nothing of what it was sent."""
        self._watched.setdefault(visitor, _NOTHING_KNOWN)

    def overdue(
        self, visitors: Mapping[int, Visitor], busy: Collection[object], now: float
    ) -> list[Visitor]:
        """End the connections of those that are overdue, and return them.

        Args:
            visitors: all clients.
            busy: those whose calls run.
            now: by the monotonic clock.
        """
        watched = self._watched
        found: list[Visitor] = []
        for visitor in list(visitors.values()) if self._times.idle else list(watched):
            # First off the list: whoever adds it meanwhile wants it to be there.
            left, took_at = watched.pop(visitor, _NOTHING_KNOWN)
            if visitor.has_ended:
                continue
            if visitor.owes_since is not None:
                left_before, left = left, unsent_bytes(visitor.session.channel.sock)
                if left < left_before:
                    took_at = now
            is_busy = visitor in busy or visitor.is_waited_for
            try:
                self._times.judge(visitor, now, is_busy=is_busy, took_at=took_at)
            except Exception as error:  # noqa: BLE001 - costs this client, and no other
                visitor.fail(error)
            if visitor.has_ended:
                found.append(visitor)
            elif visitor.owes_since is not None or not visitor.is_admitted:
                watched[visitor] = left, took_at
        return found


def send_what_is_owed(visitors: Mapping[int, Visitor], seconds: float) -> None:
    """Before a loop ends: give clients that are taking their answers the time to do so."""
    deadline = monotonic() + seconds
    owing = {
        visitor.fd: visitor
        for visitor in list(visitors.values())
        if visitor.owes_since is not None
    }
    poll = select.poll()
    for fd in owing:
        poll.register(fd, select.POLLOUT)
    while owing and monotonic() < deadline:
        ready = poll.poll(1000 * _DEAF_SECONDS)
        if not ready:
            return
        for fd, _ in ready:
            owing[fd].flush()
            if owing[fd].owes_since is None:
                poll.unregister(fd)
                del owing[fd]


class Postponed:
    """Requests that wait for a thread, in the order in which they came, and each only so long.

    Nothing more is read from a client whose request waits here, so there are never more of them
    than clients.

    Args:
        threads: how many there are, for people.
        seconds: how long a request waits; infinity: as long as it takes.
    """

    def __init__(self, threads: int, seconds: float) -> None:
        self._threads = threads
        self._seconds = seconds
        self.waiting: deque[tuple[Visitor, Message, float]] = deque()
        """The requests, whose they are, and until when they wait."""

    def add(self, visitor: Visitor, message: Message, now: float) -> None:
        """Have a request wait."""
        visitor.is_postponed = True
        self.waiting.append((visitor, message, now + self._seconds))

    def take(self) -> tuple[Visitor, Message] | None:
        """Take the request that has waited longest; None if there is none."""
        try:
            visitor, message, _ = self.waiting.popleft()
        except IndexError:
            return None  # another thread was faster
        visitor.is_postponed = False
        return visitor, message

    @property
    def until(self) -> float:
        """When the first of them has waited long enough, by the monotonic clock."""
        waiting = self.waiting
        try:
            return waiting[0][2] if waiting else _NEVER
        except IndexError:
            return _NEVER  # another thread has just taken it

    def refuse_overdue(self, now: float, clients: int) -> None:
        """Tell those who have waited too long for a thread that there is none.

        Args:
            now: by the monotonic clock.
            clients: how many are connected, for people.
        """
        while self.until <= now:
            n_waiting = len(self.waiting)
            all_have = "its only thread has"
            if self._threads > 1:
                all_have = f"all its {self._threads} threads have"
            error = BusyError(
                f"the daemon is busy: {all_have} run calls for {self._seconds:g} s, {n_waiting} "
                f"calls wait, and {clients} clients are connected; see THREADPOOL_SIZE and "
                "BUSY_TIMEOUT"
            )
            self._refuse_first(error, now)

    def refuse_all(self, error: PyroError) -> None:
        """Refuse whatever waits."""
        while self.waiting:
            self._refuse_first(error, _NEVER)

    def _refuse_first(self, error: PyroError, now: float) -> None:
        try:
            visitor, message, until = first = self.waiting.popleft()
        except IndexError:
            return  # another thread was faster
        if until > now:  # and so this is not the one that was looked at
            self.waiting.appendleft(first)
            return
        visitor.is_postponed = False
        try:
            refuse(visitor, message, error)
        except Exception as failure:  # noqa: BLE001 - costs this client, and no other
            visitor.fail(failure)
        visitor.look_again()


def refuse(visitor: Visitor, message: Message, error: PyroError) -> None:
    """Tell a client that a request of it was not begun."""
    if message.flags & ONEWAY or message.kind != REQUEST:
        from pyroipc import logs

        logs.get("server").warning("a oneway call was dropped: %s", error)
    else:
        visitor.refuse(message, error)


class Lanes:
    """Who may run oneway calls: for each client one thread at a time, and not too many in all.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._run: set[Visitor] = set()  # those whose calls some thread runs
        self._ending: set[Visitor] = set()  # and of these, those that end when it is done
        self._waiting: dict[Visitor, None] = {}  # a set that keeps the order
        self._lock = threading.RLock()

    @property
    def are_full(self) -> bool:
        """Whether some client waits for a thread."""
        return bool(self._waiting)

    def enter(self, visitor: Visitor) -> bool:
        """Say whether this thread is to run the oneway calls of a client.

        If not, another one does that, or will do it in its turn.
        """
        with self._lock:
            if visitor in self._run or visitor.has_ended:
                return False
            if self._free <= 0:
                self._waiting[visitor] = None
                return False
            self._free -= 1
            self._run.add(visitor)
            return True

    def leave(self, visitor: Visitor) -> Visitor | None:
        """Take note that this thread has run oneway calls of a client.

        Returns:
            The client whose turn it is; then this one waits, if it has calls left.
        """
        with self._lock:
            self._free += 1
            self._run.discard(visitor)
            while self._waiting:
                other = next(iter(self._waiting))
                del self._waiting[other]
                if other.has_oneway and not other.has_ended:
                    if visitor.has_oneway and not visitor.has_ended:
                        self._waiting[visitor] = None
                    return other
            return None

    def end(self, visitor: Visitor) -> bool:
        """Say whether a client can end now; if not, it can when its oneway calls have run."""
        with self._lock:
            self._waiting.pop(visitor, None)
            if visitor in self._run:
                self._ending.add(visitor)
                return False
            return True

    def may_end(self, visitor: Visitor) -> bool:
        """Say, once, whether a client was to end as soon as its oneway calls have run."""
        with self._lock:
            if visitor not in self._ending or visitor in self._run:
                return False
            self._ending.discard(visitor)
            return True

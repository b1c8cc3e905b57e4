"""What waits when there is too much to do: requests for a thread, oneway calls for their turn."""

from __future__ import annotations

import threading
from collections import deque

from pyroipc.errors import BusyError
from pyroipc.wire.message import ONEWAY, REQUEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.errors import PyroError
    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.wire.message import Message


_NEVER = float("inf")


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

    def judge(self, visitor: Visitor, now: float, *, is_busy: bool) -> None:
        """End the connection of a client that is overdue.

        Args:
            visitor: the client.
            now: by the monotonic clock.
            is_busy: whether calls of it run.
        """
        if visitor.owes_since is not None:
            if self.write and now - visitor.owes_since > self.write:
                visitor.cut_off(f"it has taken nothing of what it was sent for {self.write:g} s")
        elif not visitor.is_admitted:
            if self.handshake and now - visitor.came_at > self.handshake:
                visitor.cut_off(f"it has not introduced itself for {self.handshake:g} s")
        elif self.idle and now - visitor.active_at > self.idle and not is_busy:
            visitor.dismiss(f"the client was idle for {self.idle:g} s (COMMTIMEOUT)")


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
        self._waiting: deque[tuple[Visitor, Message, float]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, visitor: Visitor, message: Message, now: float) -> None:
        """Have a request wait."""
        visitor.is_postponed = True
        self._waiting.append((visitor, message, now + self._seconds))

    def take(self) -> tuple[Visitor, Message] | None:
        """Take the request that has waited longest; None if there is none."""
        try:
            visitor, message, _ = self._waiting.popleft()
        except IndexError:
            return None  # another thread was faster
        visitor.is_postponed = False
        return visitor, message

    @property
    def until(self) -> float:
        """When the first of them has waited long enough, by the monotonic clock."""
        waiting = self._waiting
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
            error = BusyError(
                f"the daemon is busy: all its {self._threads} threads have run calls for "
                f"{self._seconds:g} s, {len(self._waiting)} calls wait, and {clients} clients are "
                "connected; see THREADPOOL_SIZE and BUSY_TIMEOUT"
            )
            self._refuse_first(error)

    def refuse_all(self, error: PyroError) -> None:
        """Refuse whatever waits."""
        while self._waiting:
            self._refuse_first(error)

    def _refuse_first(self, error: PyroError) -> None:
        taken = self.take()
        if taken is not None:
            refuse(*taken, error)
            taken[0].look_again()


def refuse(visitor: Visitor, message: Message, error: PyroError) -> None:
    """Tell a client that a request of it was not begun."""
    if message.flags & ONEWAY or message.kind != REQUEST:
        from pyroipc import logs

        logs.get("server").warning("a oneway call was dropped: %s", error)
    else:
        visitor.refuse(message, error)


class Lanes:
    """How many threads may run oneway calls at once, and who waits for one of them.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._waiting: deque[Visitor] = deque()
        self._lock = threading.Lock()

    def enter(self, visitor: Visitor) -> bool:
        """Say whether there is a thread for the oneway calls of a client; if not, it waits."""
        with self._lock:
            if self._free <= 0:
                self._waiting.append(visitor)
                return False
            self._free -= 1
            return True

    def leave(self) -> Visitor | None:
        """Take note that a thread has run oneway calls; return the client whose turn it is."""
        with self._lock:
            self._free += 1
            return self._waiting.popleft() if self._waiting else None

"""Care for the futures of a session that no thread waits for.

Somebody has to notice when their time is over, and has to receive if an answer is not fetched by a
thread that waits for one. The clock looks after them, once in a while; nobody is told when a call
is made or answered, because that would cost more than the call.
"""

from __future__ import annotations

from _thread import RLock
from time import monotonic

from pyroipc.client import sharing
from pyroipc.client.crew import clock
from pyroipc.client.waiters import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.crew import Appointment
    from pyroipc.client.session import Session

__all__ = ["Pending", "cares", "take_care"]

_LOOK_SECONDS = 0.05
"""How often the clock looks after a session that has futures which nobody waits for."""
_PUMPED_LOOK_SECONDS = 1.0
"""The same, while the pump receives."""


class Pending(Sink):
    """Takes the answer of a call, and is to be cared for until it has come."""

    __slots__ = ()

    deadline: float | None
    """When the call has taken too long, by the monotonic clock."""
    is_watched: bool
    """Whether somebody is to be told who does not receive himself."""

    def expire(self) -> None:
        """Take note that the call has taken too long."""
        raise NotImplementedError


class Care:
    """Looks after the futures of one session that nobody waits for; part of it is the clock's.

    Keeps the session alive while there are any. What it does not do is to call the pump for calls
    that are answered within a moment: two threads that receive disturb each other.

    Args:
        session: the connection.
    """

    __slots__ = ("_appointment", "_is_pumped", "_oldest", "_session", "next_look")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_pumped = False
        self._oldest: Pending | None = None
        self._appointment: Appointment | None = None
        self.next_look = float("inf")

    def pump(self) -> None:
        """From now on have the pump receive, until there are no futures any more."""
        if not self._is_pumped:
            self._is_pumped = True
            self._session.pump.need(1)

    def look_at(self, when: float) -> None:
        """Look at a certain time, or earlier."""
        if when < self.next_look:
            if self._appointment is not None:
                clock.cancel(self._appointment)
            self.next_look = when
            self._appointment = clock.call_at(when, self._look)

    def _look(self) -> None:
        now = monotonic()
        pending = _futures_of(self._session)
        for future in pending:
            if future.deadline is not None and future.deadline <= now:
                future.expire()
        pending = [future for future in pending if not future.is_ready]
        with _care_lock:
            self.next_look = float("inf")
            if pending:
                if pending[0] is self._oldest:
                    self.pump()
                self._oldest = pending[0]
                deadlines = [each.deadline for each in pending if each.deadline is not None]
                seconds = _PUMPED_LOOK_SECONDS if self._is_pumped else _LOOK_SECONDS
                self.look_at(min([now + seconds, *deadlines]))
                return
            del cares[self._session]
            if self._is_pumped:
                self._session.pump.need(-1)
        for future in _futures_of(self._session):  # submitted meanwhile
            take_care(self._session, future.deadline, pumped=future.is_watched)


def _futures_of(session: Session) -> list[Pending]:
    return [sink for sink in list(session.sinks.values()) if isinstance(sink, Pending)]


def take_care(session: Session, deadline: float | None, *, pumped: bool = False) -> None:
    """See to it that futures of this session come to an end although nobody waits for them."""
    with _care_lock:
        care = cares.get(session)
        if care is None:
            care = cares[session] = Care(session)
        if pumped:
            care.pump()
        when = monotonic() + _LOOK_SECONDS
        care.look_at(when if deadline is None else min(when, deadline))


cares: dict[Session, Care] = {}
"""The sessions that have such futures, and are kept alive for that long."""
_care_lock = RLock()


def _after_fork_in_child() -> None:
    global _care_lock
    _care_lock = RLock()
    cares.clear()


sharing.after_fork.append(_after_fork_in_child)

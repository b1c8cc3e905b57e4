"""The pump of a session: a thread that receives while nobody else does.

Threads that wait for an answer receive for themselves, and that is the fast way. But an answer
that nobody waits for right now (of a future with a callback), and a request of the peer (which
calls a callback of ours), would lie there until somebody makes a call. The pump is for those: it
is started with the first of them, and never disturbs a thread that makes one call after the other.
It waits for the socket *without* taking the lead; if somebody else turns out to lead, it looks
again a tick later.
"""

from __future__ import annotations

import select
import threading
import weakref

from pyroipc.client.conversation import BREAKING
from pyroipc.client.waiters import Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.session import Session

_TICK_SECONDS = 0.004
"""How long to keep off a session on which somebody else receives."""
_POLL_MILLISECONDS = 1000
"""How often to look whether the session is still there, and still has a socket."""


class Pump:
    """Receives for a session when there is a need for it and nobody else does.

    Args:
        session: not kept alive.
    """

    __slots__ = ("_bell", "_session", "_started", "is_watching", "needs")

    def __init__(self, session: Session) -> None:
        self._bell = Waiter()
        self._session = weakref.ref(session, self._ring)
        self._started = False
        self.is_watching = False
        """Whether to receive although a loop serves this session, because all its threads wait."""
        self.needs = 0
        """How many futures and hosts need somebody to receive; changed by :meth:`need`."""

    def _ring(self, _: object) -> None:
        self._bell.wake()

    def need(self, count: int) -> None:
        """Add to the number of those that need the pump; it sleeps while there are none."""
        self.needs += count
        if count > 0:
            self._start()

    def watch(self, watching: bool) -> None:  # noqa: FBT001 - it is the whole message
        """Receive even if a loop serves this session, or do so no more."""
        self.is_watching = watching
        if watching:
            self._start()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(
                target=_run, args=(self._session, self._bell), name="pyroipc-pump", daemon=True
            ).start()
        self._bell.wake()


def _run(reference: weakref.ref[Session], bell: Waiter) -> None:
    while True:
        session = reference()
        if session is None or session.is_over:
            return
        fileno = session.channel.sock.fileno()
        if fileno < 0:  # closed by its user
            session.give_up()
            return
        pump = session.pump
        wanted = pump.is_watching or (pump.needs > 0 and not session.is_served)
        del pump
        del session  # nothing keeps it alive while this thread sleeps
        if not wanted:
            bell.bell.acquire(timeout=_POLL_MILLISECONDS / 1000)
            continue
        poll = select.poll()
        poll.register(fileno, select.POLLIN)
        if poll.poll(_POLL_MILLISECONDS):
            session = reference()
            if session is None:
                return
            received = _receive(session)
            del session
            if not received:
                bell.bell.acquire(timeout=_TICK_SECONDS)


def _receive(session: Session) -> bool:
    """Receive what is there; False if another thread receives, or there was nothing."""
    try:
        return session.receive_now()
    except BREAKING as error:
        session.broken(error)
        return False

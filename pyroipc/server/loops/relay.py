"""Threads that relieve each other: how a loop runs calls on the thread that received them.

One thread *leads*: it receives a request and runs it on the spot, with no hand-off, so a call
costs one wake-up. While it runs the method nobody receives; for a short call that does no harm. A
*stand-by* thread looks every few milliseconds, while there is work, whether the leader has been
busy with one call for that long, and then takes the lead: it receives and runs the requests that
follow, so that a slow method holds up nobody. The thread that was busy stands by when it is done.
A loop that is idle has one thread that receives and one that sleeps.
"""

from __future__ import annotations

import threading
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS = 0.005
"""A leader that has been busy with one call for this long is relieved."""
_IDLE_TICKS = 10
"""After so many looks without work the stand-by sleeps until there is some."""
_CONDITION_SECONDS = 0.5
FINISH_SECONDS = 5.0
"""How long a loop that stops waits for calls that still run on other threads."""


class Relay:
    """The threads of a loop.

    Args:
        threads: how many there may be, the caller of :meth:`relay` included.
        spares: how many of them may stand by.
    """

    def __init__(self, threads: int, spares: int = 1) -> None:
        self._crew_max = threads
        self._spares = spares
        self._stopping = False
        self._turns = 0  # requests received
        self._helpers: set[threading.Thread] = set()
        self._parked = 0
        self._counts = threading.Lock()
        self._standing_by = threading.Lock()
        self._asleep = False
        self._urgent = False  # whether the one who stands by is to lead at once
        self._bell = threading.Lock()
        self._bell.acquire()

    # --- what a loop has to say ------------------------------------------------------------------

    def _serve(self, deadline: float | None = None) -> bool:
        """Lead, and run what comes; False as soon as another thread leads.

        With a deadline, return after one request, or when it has passed.
        """
        raise NotImplementedError

    def _is_led(self) -> bool:
        """Say whether some thread leads."""
        raise NotImplementedError

    def _has_work(self) -> bool:
        """Say whether there is something to run that is received already."""
        raise NotImplementedError

    # --- the threads -----------------------------------------------------------------------------

    def relay(self, condition: Callable[[], bool] | None) -> None:
        """Serve on the calling thread until the loop stops, or the condition does not hold."""
        while not self._stopping and (condition is None or condition()):
            deadline = monotonic() + _CONDITION_SECONDS
            if not self._serve(None if condition is None else deadline):
                # Not for ever: a signal that arrives in the moment before this thread goes to
                # sleep does not wake it, and its handler runs only when it wakes.
                self._park(monotonic() + _CONDITION_SECONDS)

    def _finish_calls(self) -> None:
        """Let calls that other threads run finish, so that their answers precede the goodbye."""
        deadline = monotonic() + FINISH_SECONDS
        for helper in list(self._helpers):
            if helper is not threading.current_thread():  # a method closes its daemon
                helper.join(max(0.0, deadline - monotonic()))

    @property
    def is_busy(self) -> bool:
        """Whether some thread still runs a call that it may never answer, after the loop ended."""
        return any(helper.is_alive() for helper in list(self._helpers))

    def _start_helper(self) -> None:
        with self._counts:
            if self._stopping or self._parked or len(self._helpers) + 1 >= self._crew_max:
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
        """Count this thread as standing by; False if there are enough, and this one is spare."""
        with self._counts:
            if spare and self._parked >= self._spares:
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
                    self._bell.acquire(timeout=TICK_SECONDS)
                if self._has_work():
                    return
                free, turned = not self._is_led(), self._turns != turns
                if free and (self._urgent or (was_free and not turned)):
                    self._urgent = False
                    return  # the one who led is busy with the call of the tick before
                idle_ticks = 0 if free or turned else idle_ticks + 1
                was_free, turns = free, self._turns
        finally:
            self._standing_by.release()

    def _sleep(self, deadline: float | None) -> None:
        self._asleep = True
        # The leader gives up the lead before it looks whether we sleep, and we say that we sleep
        # before we look whether there is a leader: one of the two notices.
        if self._is_led() and not self._stopping:
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

"""Look again for a moment before going to sleep.

Waking a process that sleeps on another CPU costs five to ten times what a whole call costs, so a
reader first looks a few times whether the answer is there already. Looking must never hurt,
whatever the machine is doing, so it adapts:

* **Plain**: look again and again, for ``seconds`` at the most. Right when the peer runs on another
  CPU. When both are on one CPU the peer cannot run while we look: 113 µs for a round trip of 11.
* **Yielding**: after two waits in vain, offer the CPU to others (``sched_yield``) before each
  look. A peer that waits for the very CPU on which we look runs at once: 9.3 µs, less than when
  both block. But if somebody else computes on this CPU, he takes what we offer for milliseconds;
  so now and then an offer is timed, and an expensive one ends the looking.
* **Off**: after four more waits in vain the reader just sleeps: the peer is slow, or idle, or the
  machine is busy. Every so many waits looking is tried again.

How long to look is learned as well. Whoever has slept knows how long he has waited in all. Half of
a short wait is spent on waking both ends; so if it was no more than twice ``_STRETCH`` times
``seconds``, the next look is longer, up to that. After a longer one it is shorter.

(Figures: one run on two virtual CPUs, Linux 6.18, CPython 3.11.) An idle reader sleeps: looking
ends after ``seconds`` at the latest.

If both ends have but one and the same CPU (its affinity is part of the hello), there is nothing
to look for while we hold it: the CPU is offered once, one look follows, and then the reader
sleeps. Between two threads of one process looking would fight the peer for the interpreter lock;
there it is off.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
from itertools import repeat
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyroipc.wire.native import Decoder

MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_PLAIN_MISSES = 2
_YIELDING_MISSES = 4
_RETRY_WAITS = 64
"""When looking was given up, every so many-th wait tries it again."""
_REVIEW_YIELDS = 32
"""Every so many-th offer of the CPU is timed."""
_PLAIN_REVIEWS = 64
"""After so many reviews plain looking is tried again: the peer may have moved to another CPU."""
_STRETCH = 10
"""So many times the seconds that were asked for, at most: 500 µs, about what two processes on
different CPUs lose by sleeping and being woken."""
_TOO_LONG_SECONDS = 1e-3
"""An offer of the CPU, or a whole look, that takes longer was not worth it."""


def usable_cpus() -> int:
    """Return the CPUs on which this process may run now, as a bit mask."""
    if hasattr(os, "sched_getaffinity"):
        return sum(1 << cpu for cpu in os.sched_getaffinity(0))
    return (1 << (os.cpu_count() or 1)) - 1


class Looking:
    """What one reader has learned about looking.

    Args:
        seconds: look for so long at the most; 0: look just once, after offering the CPU.
    """

    __slots__ = ("_waits", "misses", "on", "seconds", "yielding")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """How long to look at the most."""
        self._waits = 0
        self.on = True
        """False while looking is given up."""
        self.yielding = not seconds
        """Whether to offer the CPU before a look."""
        self.misses = 0
        """How often in a row looking was in vain; whoever finds something sets it to 0."""

    def miss(self) -> None:
        """Take note that looking was in vain."""
        self.misses += 1
        if not self.yielding:
            if self.misses >= _PLAIN_MISSES:
                self.yielding = True
        elif self.misses >= _PLAIN_MISSES + _YIELDING_MISSES:
            self.on = False

    def try_again(self) -> bool:
        """Count a wait without looking; say whether it is time to try looking again."""
        self._waits += 1
        if self._waits < _RETRY_WAITS:
            return False
        self._waits = 0
        self.misses = _PLAIN_MISSES + _YIELDING_MISSES - 1
        self.yielding = not self.seconds
        self.on = True
        return True


class Spin(Looking):
    """The looking of the reader of one socket.

    Args:
        sock: the socket to look at.
        decoder: receives what is found by ``first_look``; None: that is not used.
        seconds: look for so long at the most; 0: look just once, after offering the CPU.
    """

    __slots__ = ("_base", "_recv_into", "_reviews", "began", "first_look", "offers")

    def __init__(self, sock: socket.socket, decoder: Decoder | None, seconds: float) -> None:
        super().__init__(seconds)
        self._base = seconds
        self.began = 0.0
        """When the last look began that was in vain; 0: that does not matter."""
        self._recv_into = sock.recv_into
        self._reviews = 0
        self.offers = _REVIEW_YIELDS
        """How many offers are left until the next one is timed."""
        self.first_look = iter(()) if decoder is None else self._looks(decoder.scratch)
        """Each step receives into the empty scratch of the decoder, or raises BlockingIOError."""

    def _looks(self, view: memoryview) -> Iterator[int]:
        return map(self._recv_into, repeat(view), repeat(0), repeat(MSG_DONTWAIT))

    def look(self, decoder: Decoder) -> bool:
        """Receive into ``decoder`` if something arrives while we look; say whether it did.

        Raises:
            OSError: as ``recv_into`` does.
        """
        looks = self._looks(decoder.get_buffer())
        start = perf_counter()
        until = start + self.seconds
        while True:
            if self.yielding:
                sched_yield()
            try:
                for decoder.received in looks:
                    if perf_counter() - start > _TOO_LONG_SECONDS:
                        self.miss()
                    else:
                        self.misses = 0
                    return True
            except BlockingIOError:
                if perf_counter() >= until:
                    self.miss()
                    self.began = start
                    return False

    def slept(self) -> None:
        """Learn from a wait that began with a look in vain, and ended just now."""
        waited = perf_counter() - self.began
        self.began = 0.0
        most = self._base * _STRETCH
        if waited > 2 * most:
            self.seconds = max(self._base, self.seconds / 2)
        elif self.seconds < min(waited, most):
            self.seconds = min(waited * 1.5, most)
            self.misses = 0
            self.on = True

    def timed_offer(self) -> None:
        """Offer the CPU as ``sched_yield`` does, and judge what that costs."""
        start = perf_counter()
        sched_yield()
        if perf_counter() - start > _TOO_LONG_SECONDS:
            self.on = False
        self.offers = _REVIEW_YIELDS
        self._reviews += 1
        if self._reviews >= _PLAIN_REVIEWS and self.seconds:
            self._reviews = 0
            self.yielding = False


def _no_yield() -> None:
    """Stand in for sched_yield where there is none."""


sched_yield = getattr(os, "sched_yield", _no_yield)


def make_spin(
    sock: socket.socket, decoder: Decoder, seconds: float, peer_cpus: int
) -> Spin | None:
    """Make the looking for a socket whose peer is another process, or None where it is off.

    Args:
        sock: the socket to look at.
        decoder: receives what is found.
        seconds: how long to look; 0: never.
        peer_cpus: the CPUs that the peer may use, as :func:`usable_cpus` tells it.
    """
    if seconds <= 0 or not MSG_DONTWAIT or sock.gettimeout():
        return None  # a socket with a time-out would wait in every look
    together = usable_cpus() | peer_cpus
    return Spin(sock, decoder, seconds if together & (together - 1) else 0)

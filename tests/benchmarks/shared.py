"""Arrays in shared memory, as arguments: how long a call takes, whatever their size.

Beside them: the same array in ordinary memory, over the stream, and what it would cost to send it
through a pool of segments that are used again. By hand: ``python -m tests.benchmarks.shared``.
"""

from __future__ import annotations

import statistics
import sys
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "64 MiB": 64 << 20, "1 GiB": 1 << 30}
SERIALIZERS = ("pickle", "msgpack")
LARGE = 64 << 20


class Taker:
    """Takes arrays, looks at one number of each, and says no more."""

    def __init__(self) -> None:
        self.kept = None

    def take(self, array) -> int:
        return int(array[-1])

    def copy(self, array) -> int:
        """Take what is in a segment into memory of its own, as an argument has to be."""
        self.kept = array.copy()
        return int(self.kept[-1])


def microseconds(call: Callable[[], object], rounds: int, calls: int) -> float:
    """Return the median over rounds of the time of a call."""
    times = []
    call()
    for _ in range(rounds):
        start = perf_counter()
        for _ in range(calls):
            call()
        times.append((perf_counter() - start) / calls * 1e6)
    return statistics.median(times)


def rows(rounds: int = 21) -> list[tuple[str, str]]:
    """Measure; return what was measured, and how long it took."""
    import numpy

    import pyroipc

    found = []
    with pyroipc.spawn(Taker, start="fork") as taker:
        for serializer in SERIALIZERS:
            taker._pyroSerializer = serializer
            for name, n_bytes in SIZES.items():
                array = pyroipc.shared_array(n_bytes, "u1")
                taken = microseconds(lambda array=array: taker.take(array), rounds, 50)
                found.append((f"{name} in shared memory, {serializer}", f"{taken:.0f} µs"))
                del array
        taker._pyroSerializer = "pickle"
        ordinary = numpy.ones(LARGE, "u1")
        segment = pyroipc.shared_array(LARGE, "u1")
        target = numpy.empty_like(ordinary)

        def through_pool():
            segment[:] = ordinary
            return taker.copy(segment)

        def lent():
            segment[:] = ordinary
            return taker.take(segment)

        for name, call in (
            ("64 MiB, memcpy into warm memory", lambda: numpy.copyto(target, ordinary)),
            ("64 MiB in ordinary memory, over the stream", lambda: taker.take(ordinary)),
            ("64 MiB into a segment that is used again, and copied out", through_pool),
            ("64 MiB into a segment that is used again, and lent", lent),
        ):
            taken = microseconds(call, rounds, 1)
            found.append((name, f"{taken / 1000:.1f} ms"))
    return found


if __name__ == "__main__":
    for what, took in rows(int(sys.argv[1]) if sys.argv[1:] else 21):
        print(f"{what:60} {took:>10}")

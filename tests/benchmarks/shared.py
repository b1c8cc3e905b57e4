"""Arrays in shared memory, as arguments: how long a call takes, whatever their size.

Beside them, what it costs to send an array in ordinary memory: over the stream, and through a
segment that is used again, both against a copy into memory that was used before.
"""

from __future__ import annotations

import contextlib
import importlib
from functools import partial
from typing import Any

from tests.benchmarks.figures import missing_figure, ratio_figure, size_name, time_figure
from tests.benchmarks.lumps import Lump, lumps_in_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

SERIALIZERS = ("pickle", "msgpack")
GOAL_MICROSECONDS = 100
ORDINARY = {
    "stream": "over the stream",
    "pool": "into a segment that is used again, and copied out of it",
    "lent": "into a segment that is used again, and lent to the method",
}
"""How an array in ordinary memory may be sent."""
_COPY = "memcpy into warm memory"
_LAST = 7
_CALLS = 50
_ABOUT = "The method looks at one number of the array; it is the same memory on both sides."
_ABOUT_ORDINARY = (
    "An array in ordinary memory, from a parent to a forked child; medians of the ratios of the "
    "rounds."
)


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


def measure(effort: Effort) -> list[Figure]:
    """Return the figures of shared arrays, and those of ordinary ones, which have no goal."""
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        missing = missing_figure("shared", "shared arrays", None, "numpy is not installed")
        return [_explained(missing, _ABOUT)]
    import pyroipc

    shared, seconds = effort.shared, effort.segment_seconds
    with contextlib.ExitStack() as stack:
        takers: dict[str, Any] = {
            name: stack.enter_context(pyroipc.spawn(Taker, start="fork")) for name in SERIALIZERS
        }
        for name, taker in takers.items():
            taker._pyroSerializer = name
        born = lumps_in_turns(_shared_lumps(takers, shared.sizes), shared.rounds, seconds)
        lumps = _ordinary_lumps(numpy, takers["pickle"], shared.ordinary_bytes)
        ordinary = lumps_in_turns(lumps, shared.rounds, seconds)
    return [
        *(_shared_figure(*name, times) for name, times in born.items()),
        *(_ordinary_figure(way, ordinary, shared.ordinary_bytes) for way in ORDINARY),
    ]


def _shared_lumps(takers: dict[str, Any], sizes: tuple[int, ...]) -> dict[tuple[str, int], Lump]:
    import pyroipc

    lumps = {}
    for n_bytes in sizes:
        array = pyroipc.shared_array(n_bytes, "u1")
        array[-1] = _LAST
        for name, taker in takers.items():
            lumps[name, n_bytes] = _lump(partial(taker.take, array), _CALLS)
    return lumps


def _ordinary_lumps(numpy: Any, taker: Any, n_bytes: int) -> dict[str, Lump]:
    import pyroipc

    ordinary = numpy.full(n_bytes, _LAST, "u1")
    warm = numpy.ones_like(ordinary)
    segment = pyroipc.shared_array(n_bytes, "u1")

    def through_segment(method):
        segment[:] = ordinary
        return method(segment)

    return {
        _COPY: Lump(lambda: numpy.copyto(warm, ordinary), 1),
        "stream": _lump(lambda: taker.take(ordinary), 1),
        "pool": _lump(lambda: through_segment(taker.copy), 1),
        "lent": _lump(lambda: through_segment(taker.take), 1),
    }


def _lump(call: Callable[[], int], times: int) -> Lump:
    def run() -> None:
        for _ in range(times):
            assert call() == _LAST

    return Lump(run, times)


def _shared_figure(serializer: str, n_bytes: int, times: list[float]) -> Figure:
    size = size_name(n_bytes)
    title = (
        f"array born in shared_array, {size}, {serializer}, as an argument of a call to a forked "
        "child"
    )
    key = f"shared-{serializer}-{size.replace(' ', '')}"
    return _explained(time_figure(key, title, GOAL_MICROSECONDS, times), _ABOUT)


def _ordinary_figure(way: str, samples: dict[str, list[float]], n_bytes: int) -> Figure:
    title = f"array in ordinary memory, {size_name(n_bytes)}, {ORDINARY[way]}, against a copy"
    milliseconds = {name: [x / 1000 for x in samples[name]] for name in (way, _COPY)}
    compared = {"pyroipc": milliseconds[way], _COPY: milliseconds[_COPY]}
    figure = ratio_figure(f"shared-{way}", title, None, compared, unit="ms")
    return _explained(figure, _ABOUT_ORDINARY)


def _explained(figure: Figure, about: str) -> Figure:
    return {**figure, "table": "bulk", "about": about}

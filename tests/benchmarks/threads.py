"""A small call to another thread of this process, beside two ``queue.SimpleQueue`` objects."""

from __future__ import annotations

import contextlib
import queue
import threading

from tests.benchmarks.children import NOT_HERE, Placement, modes_here
from tests.benchmarks.figures import missing_figure, ratio_figure
from tests.benchmarks.hosts import Echo
from tests.benchmarks.rounds import in_turns, pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure
    from tests.benchmarks.rounds import Call

_TITLES = {
    "free": "echo(42) between two threads, against two queue.SimpleQueue",
    "one": "the same, the process on one CPU",
}
_GOALS = {"free": 1.8, "one": None}


def measure(effort: Effort) -> list[Figure]:
    """Compare unpinned, and with the whole process on one CPU."""
    here = [mode for mode in _TITLES if mode in modes_here()]
    launches = [{mode: _launch(mode, effort) for mode in here} for _ in range(effort.launches)]
    figures = []
    for mode, title in _TITLES.items():
        key, goal = f"threads-{mode}", _GOALS[mode]
        if mode in here:
            samples = pooled([launch[mode] for launch in launches])
            figures.append(ratio_figure(key, title, goal, samples))
        else:
            figures.append(missing_figure(key, title, goal, NOT_HERE))
    return figures


def _launch(mode: str, effort: Effort) -> dict[str, list[float]]:
    # Threads inherit the CPUs of the thread that starts them.
    with Placement(mode).settled_parent(), pyroipc_echo() as ours, two_queues() as theirs:
        contestants = {"pyroipc": ours, "SimpleQueue": theirs}
        return in_turns(contestants, effort.rounds, effort.segment_seconds)


@contextlib.contextmanager
def pyroipc_echo() -> Iterator[Call]:
    """An object in another thread, called through a proxy."""
    import pyroipc

    with pyroipc.spawn(Echo, where="thread") as echo:
        yield echo.echo


@contextlib.contextmanager
def two_queues() -> Iterator[Call]:
    """What people write by hand between threads."""
    requests: queue.SimpleQueue[object] = queue.SimpleQueue()
    results: queue.SimpleQueue[object] = queue.SimpleQueue()
    the_end = object()

    def serve() -> None:
        while (value := requests.get()) is not the_end:
            results.put(value)

    def call(value: object) -> object:
        requests.put(value)
        return results.get()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield call
    finally:
        requests.put(the_end)
        thread.join()

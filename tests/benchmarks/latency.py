"""A small call to a forked child, beside an echo over ``multiprocessing.Pipe``."""

from __future__ import annotations

import contextlib

from tests.benchmarks.children import MODES, NOT_HERE, Placement, modes_here
from tests.benchmarks.figures import missing_figure, ratio_figure
from tests.benchmarks.local import pipe, pyroipc_echo
from tests.benchmarks.rounds import in_turns, pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

GOALS = {"one": 0.75, "two": 0.15, "free": 0.65}


def measure(effort: Effort) -> list[Figure]:
    """Compare in every mode that the machine allows."""
    here = modes_here()
    # In turns: the scheduler may keep what is unpinned on one CPU, or on two, for many seconds.
    launches = [{mode: _launch(mode, effort) for mode in here} for _ in range(effort.launches)]
    figures = []
    for mode, name in MODES.items():
        key, goal = f"latency-{mode}", GOALS[mode]
        title = f"echo(42) to a forked child, pickle, {name}, against multiprocessing.Pipe"
        if mode in here:
            samples = pooled([launch[mode] for launch in launches])
            figures.append(ratio_figure(key, title, goal, samples))
        else:
            figures.append(missing_figure(key, title, goal, NOT_HERE))
    return figures


def _launch(mode: str, effort: Effort) -> dict[str, list[float]]:
    placement = Placement(mode)
    with contextlib.ExitStack() as stack:
        contestants = {
            "pyroipc": stack.enter_context(pyroipc_echo(placement)),
            "Pipe": stack.enter_context(pipe(placement)),
        }
        with placement.settled_parent():
            return in_turns(contestants, effort.rounds, effort.segment_seconds)

"""A small call to a server at a TCP port, beside ``multiprocessing.connection``."""

from __future__ import annotations

import contextlib
import statistics
from functools import partial

from tests.benchmarks.children import MODES, NOT_HERE, Placement, modes_here
from tests.benchmarks.figures import missing_figure, of_network, ratio_figure
from tests.benchmarks.lumps import LUMP_MODES
from tests.benchmarks.network_clients import connection, proxy
from tests.benchmarks.network_servers import (
    BY_HAND,
    OURS,
    PYRO4,
    PYRO5,
    SERVERS,
    forked_server,
    is_installed,
)
from tests.benchmarks.rounds import in_turns, pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure
    from tests.benchmarks.network_clients import Connect

    Samples = dict[str, list[float]]

GOALS = {"msgpack": 0.85, "serpent": 2.0}
COMPARED: dict[str, tuple[str, Connect]] = {
    **{
        f"pyroipc, {serializer}": (OURS, partial(proxy, library="pyroipc", serializer=serializer))
        for serializer in GOALS
    },
    BY_HAND: (BY_HAND, connection),
}
OTHERS: dict[str, tuple[str, Connect]] = {
    f"{library}, {serializer}": (server, partial(proxy, library=library, serializer=serializer))
    for library, server in (("Pyro5", PYRO5), ("Pyro4", PYRO4))
    for serializer in GOALS
}
_ABOUT = (
    "One client of a server with a thread for each client, or a pool of threads, in a forked "
    "process, over the loopback. By hand, that is a thread that sends back what it receives."
)


def measure(effort: Effort) -> list[Figure]:
    """Compare unpinned, and both on one CPU."""
    here = [mode for mode in LUMP_MODES if mode in modes_here()]
    launches = [
        {mode: _launch(mode, effort) for mode in here} for _ in range(effort.network.launches)
    ]
    figures = []
    for mode in LUMP_MODES:
        for serializer, goal in GOALS.items():
            key = f"network-echo-{serializer}-{mode}"
            title = f"echo(42), {serializer}, {MODES[mode]}, against {BY_HAND}"
            goal = goal if mode == "free" else None
            if mode in here:
                times = pooled([launch[mode] for launch in launches])
                figures.append(_figure(key, title, goal, serializer, times))
            else:
                figures.append(of_network(missing_figure(key, title, goal, NOT_HERE), _ABOUT, {}))
    return figures


def _figure(key: str, title: str, goal: float | None, serializer: str, times: Samples) -> Figure:
    compared = {name: times[name] for name in (f"pyroipc, {serializer}", BY_HAND)}
    others = {name: times[name] for name in OTHERS if name in times and name.endswith(serializer)}
    base = statistics.median(times[BY_HAND])
    beside = [f"{name} {statistics.median(x) / base:.2f}" for name, x in others.items()]
    return of_network(ratio_figure(key, title, goal, compared), _ABOUT, others, beside)


def _launch(mode: str, effort: Effort) -> Samples:
    placement, network = Placement(mode), effort.network
    others = {name: x for name, x in OTHERS.items() if is_installed(x[0])}
    with contextlib.ExitStack() as stack:
        addresses = {
            name: stack.enter_context(forked_server(SERVERS[server], placement)).address
            for name, (server, _) in {**COMPARED, **others}.items()
        }
        with placement.settled_parent(), contextlib.ExitStack() as clients:

            def connected(contestants):
                return {
                    name: clients.enter_context(connect(addresses[name]))
                    for name, (_, connect) in contestants.items()
                }

            return {
                **in_turns(connected(COMPARED), network.rounds, effort.segment_seconds),
                **in_turns(connected(others), network.peer_rounds, effort.segment_seconds),
            }

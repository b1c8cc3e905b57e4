"""A crowd of clients at one server, beside a thread for each of them, written by hand."""

from __future__ import annotations

import contextlib
import statistics
from functools import partial
from typing import NamedTuple

from tests.benchmarks.figures import number, of_network, per_second, rate_figure, ratio_figure
from tests.benchmarks.load import crowd
from tests.benchmarks.network_clients import connection, proxy
from tests.benchmarks.network_servers import (
    BY_HAND,
    OURS,
    OURS_MULTIPLEX,
    PYRO5,
    PYRO5_MULTIPLEX,
    SERVERS,
    forked_server,
    is_installed,
    many_descriptors,
)
from tests.benchmarks.transcripts import CONNECTION, NATIVE, record
from tests.benchmarks.transcripts import PYRO5 as PYRO5_DIALECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.efforts import Effort, NetworkEffort
    from tests.benchmarks.figures import Figure
    from tests.benchmarks.load import Load
    from tests.benchmarks.network_clients import Connect
    from tests.benchmarks.network_servers import Server
    from tests.benchmarks.transcripts import Dialect, Transcript

    Loads = dict[str, list[Load]]

_pyroipc = partial(proxy, library="pyroipc")
_pyro5 = partial(proxy, library="Pyro5")
CLIENTS: dict[str, tuple[Connect, Dialect]] = {
    OURS: (_pyroipc, NATIVE),
    OURS_MULTIPLEX: (_pyroipc, NATIVE),
    BY_HAND: (connection, CONNECTION),
    PYRO5: (_pyro5, PYRO5_DIALECT),
    PYRO5_MULTIPLEX: (_pyro5, PYRO5_DIALECT),
}
_COMPARED = (OURS, OURS_MULTIPLEX, BY_HAND)
_ABOUT = (
    "{} clients, each of which sends its next request as soon as it has the last answer; all of "
    "them are sockets in one loop, the same for every server. By hand, each client has a thread."
)


class Size(NamedTuple):
    """A crowd of one size.

    Attributes:
        clients: how many.
        goal: our calls per second, as a multiple of those by hand.
        goal_late: our 99th percentile, in those by hand.
        others: servers that are only shown beside; Pyro5's pool is too small for a large crowd.
        seconds: how long it calls at a time.
    """

    clients: int
    goal: float
    goal_late: float | None
    others: tuple[str, ...]
    seconds: float


def sizes(network: NetworkEffort) -> list[Size]:
    """Return the crowds."""
    seconds = network.load_seconds
    return [
        Size(network.crowd, 1.8, 1.0, (PYRO5, PYRO5_MULTIPLEX), seconds),
        Size(network.large_crowd, 2.3, None, (PYRO5_MULTIPLEX,), 2 * seconds),
    ]


def measure(effort: Effort) -> list[Figure]:
    """Measure both crowds, and both of our servers."""
    network = effort.network
    crowds = sizes(network)
    with many_descriptors():
        launches = [
            [_launch(size, network) for size in crowds] for _ in range(network.load_launches)
        ]
    return [
        figure
        for size, loads in zip(crowds, zip(*launches, strict=True), strict=True)
        for figure in _figures(size, _pooled(loads))
    ]


def _pooled(launches: tuple[Loads, ...]) -> Loads:
    return {name: [x for one in launches for x in one[name]] for name in launches[0]}


def _launch(size: Size, network: NetworkEffort) -> Loads:
    names = [name for name in (*_COMPARED, *size.others) if is_installed(name)]
    others = [name for name in names if name in size.others]
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(forked_server(SERVERS[name])) for name in names}
        crowds = {
            name: stack.enter_context(crowd(transcript_of(name, server), server, size.clients))
            for name, server in servers.items()
        }
        loads: Loads = {name: [] for name in names}
        for turn in range(network.load_rounds):
            order = [*_COMPARED, *(others if not turn else ())]
            for name in order if turn % 2 == 0 else reversed(order):
                loads[name].append(crowds[name].run(size.seconds))
        return loads


def transcript_of(name: str, server: Server) -> Transcript:
    """Write down what a client of a server says."""
    connect, dialect = CLIENTS[name]
    return record(server, connect, dialect)


def _figures(size: Size, loads: Loads) -> list[Figure]:
    times = {name: [load.microseconds for load in x] for name, x in loads.items()}
    late = {name: [load.late_ms for load in x] for name, x in loads.items()}
    about = _ABOUT.format(size.clients)
    key, many = f"network-load-{size.clients}", f"{size.clients} clients"
    others = [name for name in size.others if name in loads]
    base = statistics.median(times[BY_HAND])
    figures = []
    for ours in _COMPARED[:2]:
        kind = ours.rpartition(" ")[2]
        title = f"calls per second of {many}, {kind} server, against {BY_HAND}"
        compared = {name: times[name] for name in (ours, BY_HAND)}
        figure = rate_figure(f"{key}-{kind}", title, size.goal, compared, about)
        beside = [_rate_in_words(name, times[name], base) for name in others]
        figures.append(of_network(figure, about, {name: times[name] for name in others}, beside))
        title = f"99th percentile of the time of a call of {many}, {kind} server, against the same"
        compared = {name: late[name] for name in (ours, BY_HAND)}
        figure = ratio_figure(f"{key}-{kind}-p99", title, size.goal_late, compared, unit="ms")
        beside = [f"{name} {number(statistics.median(late[name]))} ms" for name in others]
        figures.append(of_network(figure, about, {name: late[name] for name in others}, beside))
    return figures


def _rate_in_words(name: str, times: list[float], base: float) -> str:
    middle = statistics.median(times)
    return f"{name} {per_second(middle)} ({base / middle:.2f})"

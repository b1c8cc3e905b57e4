"""A small call between pyroipc and the real Pyro5 and Pyro4, beside one between two of these."""

from __future__ import annotations

import contextlib
import statistics
from functools import partial

from tests.benchmarks.children import Placement
from tests.benchmarks.figures import missing_figure, of_network, ratio_figure
from tests.benchmarks.network_clients import proxy
from tests.benchmarks.network_servers import (
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

    Samples = dict[str, list[float]]

SERIALIZERS = ("serpent", "msgpack")
GOAL = 1.0
LIBRARIES = {"Pyro5": PYRO5, "Pyro4": PYRO4}
"""The released packages, and their servers. Those of Pyro5 have a goal."""
_ABOUT = (
    "One client of a server in a forked process, over the loopback; one of the two is pyroipc and "
    "speaks the dialect of the other, which both speak in what it is compared with."
)


def measure(effort: Effort) -> list[Figure]:
    """Compare unpinned."""
    figures = []
    for library, server in LIBRARIES.items():
        for serializer in SERIALIZERS:
            if is_installed(server):
                launches = [
                    _launch(library, serializer, effort) for _ in range(effort.network.launches)
                ]
                figures += _figures(library, serializer, pooled(launches))
            else:
                figures += [
                    of_network(missing_figure(key, title, goal, "not installed"), _ABOUT, {})
                    for _, key, title, goal in _compared(library, serializer)
                ]
    return figures


def _compared(library: str, serializer: str) -> list[tuple[str, str, str, float | None]]:
    """Return the contestants that are compared with two of Pyro, and what their figures are."""
    goal = GOAL if library == "Pyro5" else None
    short = library.lower()
    return [
        (
            f"{library} to pyroipc",
            f"interop-{short}-client-{serializer}",
            f"echo(42), {serializer}: a {library} client of a pyroipc daemon",
            goal,
        ),
        (
            f"pyroipc to {library}",
            f"interop-{short}-server-{serializer}",
            f"echo(42), {serializer}: a pyroipc proxy for a {library} daemon",
            goal,
        ),
    ]


def _figures(library: str, serializer: str, times: Samples) -> list[Figure]:
    usual = f"{library} to {library}"
    native = times["pyroipc to pyroipc"]
    base = statistics.median(times[usual])
    beside = [f"two of pyroipc {statistics.median(native) / base:.2f}"]
    return [
        of_network(
            ratio_figure(key, title, goal, {name: times[name], usual: times[usual]}),
            _ABOUT,
            {"pyroipc to pyroipc": native},
            beside,
        )
        for name, key, title, goal in _compared(library, serializer)
    ]


def _launch(library: str, serializer: str, effort: Effort) -> Samples:
    placement, network = Placement("free"), effort.network
    ours = partial(proxy, library="pyroipc", serializer=serializer)
    theirs = partial(proxy, library=library, serializer=serializer)
    with contextlib.ExitStack() as stack:
        of_ours, of_theirs = (
            stack.enter_context(forked_server(SERVERS[name], placement)).address
            for name in (OURS, LIBRARIES[library])
        )
        contestants = {
            f"{library} to pyroipc": (theirs, of_ours),
            f"{library} to {library}": (theirs, of_theirs),
            f"pyroipc to {library}": (ours, of_theirs),
            "pyroipc to pyroipc": (ours, of_ours),
        }
        calls = {
            name: stack.enter_context(connect(address))
            for name, (connect, address) in contestants.items()
        }
        return in_turns(calls, network.rounds, effort.segment_seconds)

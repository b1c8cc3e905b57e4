"""What a server keeps for a client that is connected, has called once, and says no more."""

from __future__ import annotations

import contextlib
import statistics
import threading
from pathlib import Path

from tests.benchmarks.figures import missing_figure, number, of_network, size_figure
from tests.benchmarks.network_load import CLIENTS
from tests.benchmarks.network_servers import (
    BY_HAND,
    OURS,
    OURS_MULTIPLEX,
    PYRO5,
    PYRO5_LARGE_POOL,
    fresh_server,
    is_installed,
    many_descriptors,
)
from tests.benchmarks.transcripts import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.efforts import Effort, NetworkEffort
    from tests.benchmarks.figures import Figure

GOAL_KIB = 4.0
COMPARED = (OURS, OURS_MULTIPLEX, BY_HAND, PYRO5_LARGE_POOL)
_PYRO5_MOST = 300  # beyond its pool of threads it refuses
_PEERS_MOST = 500  # they have a thread for each
_LOOK_SECONDS = 0.05
_LOOKS_MAX = 20
_TITLE = "private memory of a server for each idle client"
_NOT_HERE = "this system does not tell what memory of a process is its own"
_ABOUT = (
    "What the pages that a server alone uses grow by (Private_Dirty in smaps_rollup), over the "
    "number of clients that came: each called once and stays, in a server that is an interpreter "
    "of its own and has had other clients before. What the kernel keeps for a socket is not in it."
)


def measure(effort: Effort) -> list[Figure]:
    """Measure both of our servers; the one that is the default stands in the table of goals."""
    if private_kib(None) is None:
        missing = missing_figure("network-memory", _TITLE, GOAL_KIB, _NOT_HERE)
        return [of_network(missing, _ABOUT, {})]
    names = [name for name in COMPARED if is_installed(name)]
    sizes: dict[str, list[float]] = {name: [] for name in names}
    with many_descriptors():
        for _ in range(effort.network.idle_launches):
            for name in names:
                sizes[name].append(_kib_per_client(name, effort.network))
    ours = sizes.pop(OURS)
    beside = [f"{name} {number(statistics.median(x))} KiB" for name, x in sizes.items()]
    figure = size_figure("network-memory", _TITLE, GOAL_KIB, ours)
    return [of_network(figure, _ABOUT, sizes, beside)]


def _kib_per_client(name: str, network: NetworkEffort) -> float:
    before, more = network.idle_before, network.idle_more
    if name not in {OURS, OURS_MULTIPLEX}:
        most = _PYRO5_MOST if name == PYRO5_LARGE_POOL else _PEERS_MOST
        before, more = (min(count, most // 2) for count in (before, more))
    connect, dialect = CLIENTS[PYRO5 if name == PYRO5_LARGE_POOL else name]
    with fresh_server(name) as server, contextlib.ExitStack() as stack:
        transcript = record(server, connect, dialect)

        def settled_kib_with(clients: int) -> float:
            for _ in range(clients):
                stack.enter_context(transcript.connect(server))
            return _settled_kib(server.pid)

        begin = settled_kib_with(before)
        return (settled_kib_with(more) - begin) / more


def _settled_kib(pid: int) -> float:
    """Return how much it is when it does not change any more, or after a second."""
    pause, last = threading.Event(), -1
    for _ in range(_LOOKS_MAX):
        now = private_kib(pid)
        if now == last:
            break
        last = now
        pause.wait(_LOOK_SECONDS)
    return last


def private_kib(pid: int | None) -> int | None:
    """Return how much memory a process, or this one, alone has; None where that is not told."""
    try:
        text = Path(f"/proc/{pid or 'self'}/smaps_rollup").read_text()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in text.splitlines() if "Private_Dirty" in line)

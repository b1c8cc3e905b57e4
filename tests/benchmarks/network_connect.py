"""To connect, call once, and close, beside two bytes that are sent and come back."""

from __future__ import annotations

import contextlib
import statistics
from functools import partial

from tests.benchmarks.figures import of_network, ratio_figure
from tests.benchmarks.network_clients import connection, each_time, plain_each_time, proxy
from tests.benchmarks.network_servers import (
    BY_HAND,
    BYTES,
    OURS,
    PYRO5,
    SERVERS,
    forked_server,
    is_installed,
)
from tests.benchmarks.rounds import in_turns, pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure
    from tests.benchmarks.rounds import Call

GOAL = 2.0
COMPARED: dict[str, Callable[[str], Call]] = {
    OURS: partial(each_time, partial(proxy, library="pyroipc")),
    BYTES: plain_each_time,
}
OTHERS: dict[str, Callable[[str], Call]] = {
    BY_HAND: partial(each_time, connection),
    PYRO5: partial(each_time, partial(proxy, library="Pyro5")),
}
_ABOUT = (
    "A new proxy connects, learns what the object exposes, calls echo(42) and is released. The "
    "plain socket connects, sends two bytes, receives them and is closed; a selector serves it."
)


def measure(effort: Effort) -> list[Figure]:
    """Compare unpinned."""
    times = pooled([_launch(effort) for _ in range(effort.network.launches)])
    others = {name: times[name] for name in OTHERS if name in times}
    base = statistics.median(times[BYTES])
    beside = [f"{name} {statistics.median(x) / base:.2f}" for name, x in others.items()]
    title = "connect, call, close, msgpack, against a plain socket"
    compared = {name: times[name] for name in COMPARED}
    return [
        of_network(ratio_figure("network-connect", title, GOAL, compared), _ABOUT, others, beside)
    ]


def _launch(effort: Effort) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        calls = {
            name: make(stack.enter_context(forked_server(SERVERS[name])).address)
            for name, make in {**COMPARED, **OTHERS}.items()
            if is_installed(name)
        }
        compared = {name: calls[name] for name in COMPARED}
        others = {name: calls[name] for name in OTHERS if name in calls}
        network, seconds = effort.network, effort.segment_seconds
        return {
            **in_turns(compared, network.rounds, seconds),
            **in_turns(others, network.peer_rounds, seconds),
        }

"""A client that calls while hundreds of others have connected and say nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import statistics
import threading
from functools import partial
from time import monotonic, perf_counter
from typing import NamedTuple

from tests.benchmarks.figures import missing_figure, of_network, ratio_figure
from tests.benchmarks.network_servers import (
    HOST,
    descriptors_of,
    forked_server,
    many_descriptors,
    serve_pyroipc,
)
from tests.benchmarks.rounds import ARGUMENT, microseconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tests.benchmarks.efforts import Effort, NetworkEffort
    from tests.benchmarks.figures import Figure
    from tests.benchmarks.network_servers import Server
    from tests.benchmarks.rounds import Call

GOAL = 1.5
KINDS = ("thread", "multiplex", "thread, TLS")
_AMONG, _ALONE = "among the silent", "alone"
_CALLS_BETWEEN = 50
_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.002
_NO_TRUSTME = "trustme is not installed"


class Contexts(NamedTuple):
    """TLS with a certificate of our own."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def measure(effort: Effort) -> list[Figure]:
    """Measure both of our servers, and one with TLS."""
    network = effort.network
    about = (
        f"The median time of a call of one good client, while {network.silent} others have "
        "connected to the same port and never say a word, and when they are gone again."
    )
    with many_descriptors():
        return [of_network(_measure(kind, network), about, {}) for kind in KINDS]


def _measure(kind: str, network: NetworkEffort) -> Figure:
    key = f"network-silence-{kind.replace(', ', '-')}".lower()
    title = f"a call among {network.silent} silent connections, {kind} server, against without"
    contexts = None
    if kind.endswith("TLS"):
        contexts = make_contexts()
        if contexts is None:
            return missing_figure(key, title, GOAL, _NO_TRUSTME)
    samples: dict[str, list[float]] = {_AMONG: [], _ALONE: []}
    for _ in range(network.silent_launches):
        _launch(kind.partition(",")[0], contexts, network, samples)
    return ratio_figure(key, title, GOAL, samples)


def make_contexts() -> Contexts | None:
    """Make a certificate for this machine, in memory; None if that cannot be done here."""
    if importlib.util.find_spec("trustme") is None:
        return None
    import ssl

    import trustme

    authority = trustme.CA()
    contexts = Contexts(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    authority.issue_cert(HOST).configure_cert(contexts.server)
    authority.configure_trust(contexts.client)
    return contexts


def _launch(
    server_type: str,
    contexts: Contexts | None,
    network: NetworkEffort,
    samples: dict[str, list[float]],
) -> None:
    import pyroipc

    tls = contexts.server if contexts else None
    with (
        forked_server(partial(serve_pyroipc, server_type=server_type, tls=tls)) as server,
        pyroipc.Proxy(server.address, tls=contexts.client if contexts else None) as proxy,
    ):
        proxy._pyroSerializer = "msgpack"
        call = proxy.echo
        microseconds(call, _CALLS_BETWEEN)
        for _ in range(network.silent_rounds):
            samples[_ALONE].append(_median_microseconds(call, network.silent_seconds))
            with silent(server, network.silent, call):
                samples[_AMONG].append(_median_microseconds(call, network.silent_seconds))


@contextlib.contextmanager
def silent(server: Server, count: int, call: Call) -> Iterator[None]:
    """Connect so often, and say nothing; the server has noticed that when this begins, and when
    it ends, that they have gone."""
    before = descriptors_of(server.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((HOST, server.port), _PATIENCE_SECONDS))
        _wait_for_descriptors(server, before, count, call)
        yield
    _wait_for_descriptors(server, before, 0, call)


def _wait_for_descriptors(server: Server, before: int | None, more: int, call: Call) -> None:
    """Wait until a server has accepted so many connections more than before, or closed them all.

    Raises:
        AssertionError: it did not come to that.
    """
    pause, end = threading.Event(), monotonic() + _PATIENCE_SECONDS
    while before is not None:
        count = descriptors_of(server.pid) or 0
        if count >= before + more if more else count <= before:
            break
        assert monotonic() < end, f"the server has {count} descriptors, not {before} + {more}"
        pause.wait(_LOOK_SECONDS)
    microseconds(call, _CALLS_BETWEEN)


def _median_microseconds(call: Call, seconds: float) -> float:
    times = []
    last = begin = perf_counter()
    while last - begin < seconds:
        call(ARGUMENT)
        now = perf_counter()
        times.append(now - last)
        last = now
    return statistics.median(times) * 1e6

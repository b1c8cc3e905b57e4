"""Large arrays and bytes from a parent to a forked child, beside what people use for that.

Every contestant has a child of its own and is called in turns, a few calls at a time, the first of
which does not count: after a second without use we give receive memory back. What is compared is
the median of the ratios of the rounds. A copy of the same memory into memory that was
used before is the limit for anything that copies.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import socket
from multiprocessing.connection import Client, Listener
from time import perf_counter
from typing import Any

from tests.benchmarks.children import Placement, forked
from tests.benchmarks.figures import exact_figure, missing_figure, ratio_figure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

    Call = Callable[[], object]

MIB = 1 << 20
OURS = "pyroipc"


class Host:
    """Takes large things."""

    def take(self, value):
        return len(value)

    def echo(self, value):
        return value

    def peak(self):
        """Return the most memory that this process has had since it was last asked, and now."""
        with open("/proc/self/status", encoding="ascii") as file:
            found = {line.split(":")[0]: line.split()[1] for line in file if " kB" in line}
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # which begins to count anew
        return int(found["VmHWM"]) * 1024, int(found["VmRSS"]) * 1024


def measure(effort: Effort) -> list[Figure]:
    """Return the figures of the issue's table."""
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return [missing_figure("bulk", "large arrays", None, "numpy is not installed")]
    bulk = effort.bulk
    with contextlib.ExitStack() as stack:
        samples = _samples(numpy, stack, bulk.array_bytes, bulk.rounds)
    return [_explained(figure) for figure in [*_judged(samples, bulk.array_bytes), _peak(numpy)]]


def _samples(numpy: Any, stack: Any, n_bytes: int, rounds: int) -> dict[str, list[float]]:
    """Return µs of a call for each contestant, one value for each round."""
    array = numpy.random.default_rng(1).integers(0, 256, n_bytes, numpy.uint8)
    warm = numpy.ones_like(array)
    local = stack.enter_context(spawned())
    after = stack.enter_context(spawned())
    before = stack.enter_context(spawned(features=("ping", "compression")))
    fresh = stack.enter_context(spawned())
    pipe = stack.enter_context(piped())
    fresh_pipe = stack.enter_context(piped())
    tcp = stack.enter_context(over_tcp())
    tcp_pipe = stack.enter_context(piped_over_tcp())
    pyro5 = stack.enter_context(huge("Pyro5.api"))
    ours_huge = stack.enter_context(huge("pyroipc"))
    # Not zeros: memory that nobody has written to is one page of the system's, and always cached.
    mebibyte, small, five = (array[:size].tobytes() for size in (MIB, 10_000, 5 * MIB))

    def with_msgpack():
        local._pyroSerializer = "msgpack"
        local.take(array)
        local._pyroSerializer = "pickle"

    calls: dict[str, tuple[Call, int]] = {
        "memcpy": (lambda: numpy.copyto(warm, array), 2),
        "array": (lambda: local.take(array), 2),
        "pipe": (lambda: pipe(array), 1),
        "back": (lambda: local.echo(array), 2),
        "msgpack": (with_msgpack, 2),
        "tcp": (lambda: tcp.take(array), 2),
        "tcp pipe": (lambda: tcp_pipe(array), 1),
        "bytes": (lambda: fresh.take(mebibyte), 50),
        "pipe bytes": (lambda: fresh_pipe(mebibyte), 50),
        "warm bytes": (lambda: local.take(mebibyte), 50),
        "warm pipe": (lambda: pipe(mebibyte), 50),
        "small": (lambda: after.take(small), 500),
        "small before": (lambda: before.take(small), 500),
        "huge": (lambda: ours_huge(five), 20),
        "huge Pyro5": (lambda: pyro5(five), 20),
    }
    for call, _ in calls.values():
        call()
        call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            call, times = calls[name]
            call()
            start = perf_counter()
            for _ in range(times):
                call()
            samples[name].append((perf_counter() - start) / times * 1e6)
        order.reverse()
    return samples


def _judged(samples: dict[str, list[float]], n_bytes: int) -> list[Figure]:
    size = f"{n_bytes / MIB:g} MiB"

    def ratio(
        key: str, title: str, goal: float | None, ours: str, base: str, base_name: str
    ) -> Figure:
        pair = {OURS: samples[ours], base_name: samples[base]}
        return ratio_figure(f"bulk-{key}", title, goal, pair)

    return [
        ratio("array", f"{size} of uint8 as an argument, pickle", 0.10, "array", "pipe", _PIPE),
        ratio("memcpy", f"{size} as an argument, against a copy", 2, "array", "memcpy", _COPY),
        ratio("back", f"{size} there and back, against a copy", 4, "back", "memcpy", _COPY),
        ratio("msgpack", f"{size}, msgpack against pickle", 1.1, "msgpack", "array", "pickle"),
        ratio("tcp", f"{size} over TCP, msgpack", 0.15, "tcp", "tcp pipe", _TCP),
        ratio("bytes", "1 MiB of bytes", 0.25, "bytes", "pipe bytes", _PIPE),
        ratio("after", f"1 MiB of bytes, {_AFTER}", None, "warm bytes", "warm pipe", _PIPE),
        ratio("small", "10 KB of bytes, against inline", 1.05, "small", "small before", "inline"),
        ratio("huge", "5 MiB of bytes, msgpack: hugetransfer", 0.1, "huge", "huge Pyro5", "Pyro5"),
    ]  # fmt: skip


_PIPE = "multiprocessing.Pipe"
_TCP = "multiprocessing.connection, pickle"
_COPY = "memcpy"
_AFTER = "the children had 64 MiB before"


def _peak(numpy: Any) -> Figure:
    """Say how much more memory the receiver needs than the array has."""
    size = 64 * MIB
    array = numpy.ones(size, numpy.uint8)
    with spawned() as host:
        host.take(array[: 2 * MIB])
        host.peak()
        _, before = host.peak()
        host.take(array)
        more = (host.peak()[0] - before - size) / MIB
    title = "peak memory of the receiver beyond the array itself"
    return exact_figure("bulk-peak", title, "MiB", 2, more, "64 MiB of uint8")


_ABOUT = "An array or bytes from a parent to a forked child; medians of the ratios of the rounds."


def _explained(figure: Figure) -> Figure:
    return {**figure, "table": "bulk", "about": _ABOUT}


# --- the contestants ---------------------------------------------------------------------------


@contextlib.contextmanager
def spawned(features: tuple[str, ...] | None = None) -> Iterator[Any]:
    """An object in a forked child; with other features, as before there were buffers."""
    import pyroipc
    from pyroipc.client import hosting

    before = hosting.FEATURES
    hosting.FEATURES = features or before
    try:
        child = pyroipc.spawn(Host, start="fork")
        child.take(b"")
    finally:
        hosting.FEATURES = before
    with child:
        yield child


@contextlib.contextmanager
def piped() -> Iterator[Callable[[object], object]]:
    """``multiprocessing.Pipe``, by hand."""
    near, far = multiprocessing.Pipe()

    def serve() -> None:
        near.close()
        _take_all(far)

    with near, far, forked(serve, Placement("free")):
        far.close()
        yield lambda value: _called(near, value)


@contextlib.contextmanager
def piped_over_tcp() -> Iterator[Callable[[object], object]]:
    """``multiprocessing.connection`` over TCP, by hand."""
    with (
        Listener(("127.0.0.1", 0)) as listener,
        forked(lambda: _take_all(Client(listener.address)), Placement("free")),
        listener.accept() as near,
    ):
        yield lambda value: _called(near, value)


def _take_all(connection: Any) -> None:
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            connection.send(len(connection.recv()))


def _called(connection: Any, value: object) -> object:
    connection.send(value)
    return connection.recv()


@contextlib.contextmanager
def over_tcp() -> Iterator[Any]:
    """Our daemon at a TCP port, in a forked child."""
    import pyroipc

    settings = pyroipc.config.copy()
    settings.MAX_MESSAGE_SIZE = 1 << 30
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def serve() -> None:
        with pyroipc.Daemon(host="127.0.0.1", port=port, settings=settings) as daemon:
            daemon.register(pyroipc.expose(Host)(), "host")
            daemon.requestLoop()

    with forked(serve, Placement("free")):
        proxy = pyroipc.Proxy(f"PYRO:host@127.0.0.1:{port}", settings=settings)
        proxy._pyroMaxRetries = 20
        proxy._pyroSerializer = "msgpack"
        proxy.take(b"")
        proxy._pyroMaxRetries = 0
        with proxy:
            yield proxy


@contextlib.contextmanager
def huge(package_name: str) -> Iterator[Callable[[object], object]]:
    """Bytes by msgpack over a socket pair, as the example hugetransfer sends them."""
    package: Any = importlib.import_module(package_name)
    near, far = socket.socketpair()

    def serve() -> None:
        near.close()
        daemon = package.Daemon(connected_socket=far)
        daemon.register(package.expose(type("Host", (), {"take": Host.take}))(), "host")
        daemon.requestLoop()

    with near, far, forked(serve, Placement("free")):
        far.close()
        with package.Proxy("host", connected_socket=near) as proxy:
            proxy._pyroSerializer = "msgpack"
            yield proxy.take

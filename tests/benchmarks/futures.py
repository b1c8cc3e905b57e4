"""A thousand calls in flight on one connection, beside a pipe that is used likewise."""

from __future__ import annotations

import threading

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import rate_figure
from tests.benchmarks.hosts import pipe_echo
from tests.benchmarks.lumps import (
    OURS,
    SERIALIZERS,
    Lump,
    Section,
    pipe_contestant,
    remote_contestant,
)

CALLS = 1000
_PIPE = "multiprocessing.Pipe, 100 in flight"
_WINDOW = 100
_RESULTS = list(range(CALLS))


def remote(library, proxy):
    """Submit all calls before the first result is asked for."""
    echo = proxy.echo

    def run():
        futures = [echo.submit(i) for i in range(CALLS)]
        assert [future.result() for future in futures] == _RESULTS

    return Lump(run, CALLS)


def windowed(connection):
    """Keep so many in flight that neither side ever waits for the other, nor fills its socket."""

    def run():
        send, receive = connection.send, connection.recv
        results = []
        for i in range(_WINDOW):
            send(i)
        for i in range(_WINDOW, CALLS):
            results.append(receive())
            send(i)
        for _ in range(_WINDOW):
            results.append(receive())  # noqa: PERF401 - as above
        assert results == _RESULTS

    return Lump(run, CALLS)


def with_a_reader(connection):
    """Send on this thread, and receive on another one."""

    def run():
        results = []

        def read():
            for _ in range(CALLS):
                results.append(connection.recv())  # noqa: PERF401 - one by one

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(CALLS):
            connection.send(i)
        reader.join()
        assert results == _RESULTS

    return Lump(run, CALLS)


SECTION = Section(
    "futures",
    "calls echo(i), 1000 in flight",
    {
        OURS: remote_contestant("pyroipc", "pickle", remote),
        _PIPE: pipe_contestant(pipe_echo, windowed),
    },
    {
        **{f"pyroipc, {x}": remote_contestant("pyroipc", x, remote) for x in SERIALIZERS[1:]},
        "multiprocessing.Pipe, a thread reads": pipe_contestant(pipe_echo, with_a_reader),
    },
)


def measure(effort):
    """Compare with a pipe in both modes."""
    return SECTION.measure(effort, _judge)


def _judge(mode, samples):
    return [
        rate_figure(
            f"futures-{mode}",
            f"1000 futures in flight on one connection, pickle, {MODES[mode]}, as a share of "
            "the rate of multiprocessing.Pipe",
            1,
            samples,
            "All calls are submitted before the first result is taken. 1000 at once would fill "
            "the pipe in both directions, so 100 are in flight there, which is its best.",
        )
    ]

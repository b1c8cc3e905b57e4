"""A thousand oneway calls, beside a thousand messages of one's own over a pipe."""

from __future__ import annotations

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import rate_figure
from tests.benchmarks.lumps import (
    OURS,
    SERIALIZERS,
    Lump,
    Section,
    pipe_contestant,
    remote_contestant,
)
from tests.benchmarks.model_hosts import pipe_count

CALLS = 1000
THREADED_CALLS = 250  # Pyro starts a thread for each: fewer of them tell as much
_PIPE = "multiprocessing.Pipe"


def remote(library, proxy):
    """Make oneway calls, and one call that waits and says how many have run."""
    hit, hits_so_far, forget_hits = proxy.hit, proxy.hits_so_far, proxy.forget_hits
    in_order = library == "pyroipc"
    calls = CALLS if in_order else THREADED_CALLS

    def run():
        for _ in range(calls):
            hit(1, 2)
        count = hits_so_far()
        while count < calls and not in_order:
            count = hits_so_far()  # the threads may not be done
        assert count == calls
        forget_hits()

    return Lump(run, calls)


def by_hand(connection):
    """Send what a call is, and one message that has the number of the others sent back."""

    def run():
        send = connection.send
        for _ in range(CALLS):
            send(("hit", 1, 2))
        send(None)
        assert connection.recv() == CALLS

    return Lump(run, CALLS)


SECTION = Section(
    "oneways",
    "oneway calls hit(1, 2), one after the other",
    {
        OURS: remote_contestant("pyroipc", "pickle", remote),
        _PIPE: pipe_contestant(pipe_count, by_hand),
    },
    {
        **{f"pyroipc, {x}": remote_contestant("pyroipc", x, remote) for x in SERIALIZERS[1:]},
        "Pyro4, pickle": remote_contestant("Pyro4", "pickle", remote),
        "Pyro5, marshal": remote_contestant("Pyro5", "marshal", remote),
        "Pyro5, serpent": remote_contestant("Pyro5", "serpent", remote),
    },
)


def measure(effort):
    """Compare with a pipe in both modes."""
    return SECTION.measure(effort, _judge)


def _judge(mode, samples):
    return [
        rate_figure(
            f"oneways-{mode}",
            f"1000 oneway calls, pickle, {MODES[mode]}, as a share of the rate of "
            "multiprocessing.Pipe",
            0.85,
            samples,
            "One call that waits follows them, and finds that all have run; over the pipe 1000 "
            "small tuples are sent, received and counted, and the count comes back.",
        )
    ]

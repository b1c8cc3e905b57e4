"""A thousand small calls in one batch, beside Pyro4's batches."""

from __future__ import annotations

import importlib

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import rate_figure, speed_figure
from tests.benchmarks.lumps import (
    OURS,
    PACKAGES,
    SERIALIZERS,
    Lump,
    Section,
    pipe_contestant,
    remote_contestant,
)
from tests.benchmarks.model_hosts import pipe_batch

CALLS = 1000
_PEER = "Pyro4, pickle"
_RESULTS = [3] * CALLS


def remote(library, proxy):
    """Collect the calls, make them, and take all results."""
    batch = importlib.import_module(PACKAGES[library])
    batch = batch.batch if library == "Pyro4" else batch.BatchProxy

    def run():
        calls = batch(proxy)
        for _ in range(CALLS):
            calls.add(1, 2)
        assert list(calls()) == _RESULTS

    return Lump(run, CALLS)


def by_hand(connection):
    """Send a list of calls, and receive a list of results."""

    def run():
        calls = []

        def add(*args):  # as ours: a constant would be pickled once
            calls.append(("add", args))

        for _ in range(CALLS):
            add(1, 2)
        connection.send(calls)
        assert connection.recv() == _RESULTS

    return Lump(run, CALLS)


SECTION = Section(
    "batches",
    "calls add(1, 2), 1000 in a batch",
    {
        OURS: remote_contestant("pyroipc", "pickle", remote),
        _PEER: remote_contestant("Pyro4", "pickle", remote),
    },
    {
        **{f"pyroipc, {x}": remote_contestant("pyroipc", x, remote) for x in SERIALIZERS[1:]},
        "multiprocessing.Pipe, a list of calls": pipe_contestant(pipe_batch, by_hand),
        "Pyro4, serpent": remote_contestant("Pyro4", "serpent", remote),
        # Pyro5's marshal cannot send a batch: it stumbles over the missing keyword arguments.
        "Pyro5, msgpack": remote_contestant("Pyro5", "msgpack", remote),
        "Pyro5, serpent": remote_contestant("Pyro5", "serpent", remote),
    },
)


def measure(effort):
    """Compare with Pyro4 in both modes, and give the speed."""
    return SECTION.measure(effort, _judge)


def _judge(mode, samples):
    where = MODES[mode]
    return [
        speed_figure(
            f"batches-speed-{mode}",
            f"a batch of 1000 small calls, pickle, {where}: millions of calls per second",
            1.2,
            samples[OURS],
            "The calls are collected, sent in one request, run in order, and all results taken. "
            "This goal or the next one is to be reached.",
        ),
        rate_figure(
            f"batches-{mode}",
            f"the same, {where}, as a multiple of Pyro4's rate",
            2,
            samples,
            "Pyro4 does the same with pickle, too.",
        ),
    ]

"""A call that calls back over the connection it came by, beside a plain call over the same one."""

from __future__ import annotations

import contextlib
import socket

from tests.benchmarks.children import MODES, NOT_HERE, Placement, forked, modes_here
from tests.benchmarks.figures import missing_figure, ratio_figure
from tests.benchmarks.lumps import LUMP_MODES
from tests.benchmarks.model_hosts import make_host
from tests.benchmarks.rounds import in_turns, pooled

_PLAIN = "plain call"
_KEPT, _PASSED = "the callback kept", "the callback passed"
_ABOUT = {
    _KEPT: (
        "a callback over the same socket pair, pickle, {}, in plain calls",
        2.2,
        "The child got an object of ours once and holds its proxy. We call the child, and before "
        "it answers, it calls that object: two calls, one within the other.",
    ),
    _PASSED: (
        "the same, {}, the object passed with each call",
        None,
        "The child makes a proxy in each call, and lets go of it.",
    ),
}


def measure(effort):
    """Measure in both modes, in turns with a plain call over the same connection."""
    here = [mode for mode in LUMP_MODES if mode in modes_here()]
    launches = [
        {mode: _launch(mode, effort) for mode in here} for _ in range(effort.lump_launches)
    ]
    figures = []
    times = {mode: pooled([launch[mode] for launch in launches]) for mode in here}
    for mode in LUMP_MODES:
        for place, (name, (title, goal, about)) in enumerate(_ABOUT.items()):
            key, title = f"callbacks-{mode}-{place}", title.format(MODES[mode])
            if mode in here:
                samples = {x: times[mode][x] for x in (name, _PLAIN)}
                figures.append({**ratio_figure(key, title, goal, samples), "about": about})
            else:
                figures.append(missing_figure(key, title, goal, NOT_HERE))
    return {"figures": figures, "times": {"callbacks": ("calls that call back, pickle", times)}}


def _launch(mode, effort):
    placement = Placement(mode)
    with placement.settled_parent(), _caller(placement) as contestants:
        return in_turns(contestants, effort.rounds, effort.segment_seconds)


@contextlib.contextmanager
def _caller(placement):
    import pyroipc

    near, far = socket.socketpair()

    def serve():
        near.close()
        daemon = pyroipc.Daemon(connected_socket=far)
        daemon.register(make_host(pyroipc), "host")
        daemon.requestLoop()

    with near, far, forked(serve, placement):
        far.close()
        with (
            pyroipc.Daemon(connected_socket=near) as daemon,
            pyroipc.Proxy("host", connected_socket=near) as proxy,
        ):
            proxy._pyroSerializer = "pickle"
            note = make_host(pyroipc)
            daemon.register(note, "note")
            proxy.keep(note)
            call_passed = proxy.call_passed
            yield {
                _KEPT: proxy.call_kept,
                _PASSED: lambda value: call_passed(note, value),
                _PLAIN: proxy.echo,
            }

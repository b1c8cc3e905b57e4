"""The items of a remote generator, beside numbers over a pipe; and a reader that is slow."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import threading
from pathlib import Path

from tests.benchmarks.children import MODES, Placement, forked
from tests.benchmarks.figures import exact_figure, missing_figure, rate_figure, speed_figure
from tests.benchmarks.lumps import (
    OURS,
    SERIALIZERS,
    Lump,
    Section,
    pipe_contestant,
    remote_contestant,
)
from tests.benchmarks.model_hosts import POSITION_BYTES, make_host, pipe_numbers

ITEMS = 10_000
POLLED_ITEMS = 500  # Pyro asks for each item: fewer of them tell as much
_LOOP = "pyroipc, pickle, a for loop"
_PIPE = "multiprocessing.Pipe"
_ENDLESS = 10_000_000
_SLOW_ITEMS, _NAPS, _NAP_SECONDS = 1000, 25, 0.02
AHEAD_GOAL = 4096
_GROWTH_GOAL_MIB = 1.0


def as_list(library, proxy):
    """Make a list of the items."""
    count = ITEMS if library == "pyroipc" else POLLED_ITEMS
    numbers, expected = proxy.numbers, list(range(count))

    def run():
        assert list(numbers(count)) == expected

    return Lump(run, count)


def in_a_loop(library, proxy):
    """Take the items one by one."""
    numbers, total = proxy.numbers, sum(range(ITEMS))

    def run():
        found = 0
        for number in numbers(ITEMS):
            found += number
        assert found == total

    return Lump(run, ITEMS)


def by_hand(connection):
    """Receive the numbers one by one."""

    def run():
        connection.send(ITEMS)
        receive = connection.recv
        found = []
        while (number := receive()) is not None:
            found.append(number)
        assert len(found) == ITEMS

    return Lump(run, ITEMS)


SECTION = Section(
    "streams",
    "items of a remote generator of 10 000 ints",
    {
        OURS: remote_contestant("pyroipc", "pickle", as_list),
        _LOOP: remote_contestant("pyroipc", "pickle", in_a_loop),
        _PIPE: pipe_contestant(pipe_numbers, by_hand),
    },
    {
        **{f"pyroipc, {x}": remote_contestant("pyroipc", x, as_list) for x in SERIALIZERS[1:]},
        "Pyro4, pickle": remote_contestant("Pyro4", "pickle", as_list),
        "Pyro4, serpent": remote_contestant("Pyro4", "serpent", as_list),
        "Pyro5, marshal": remote_contestant("Pyro5", "marshal", as_list),
        "Pyro5, serpent": remote_contestant("Pyro5", "serpent", as_list),
    },
)


def measure(effort):
    """Compare with a pipe in both modes, and look how far a writer gets ahead of its reader."""
    return SECTION.measure(effort, _judge, lambda: measure_slow_reader(_NAP_SECONDS))


def _judge(mode, samples):
    where = MODES[mode]
    against = {OURS: samples[OURS], _PIPE: samples[_PIPE]}
    return [
        speed_figure(
            f"streams-speed-{mode}",
            f"a remote generator of 10 000 ints, pickle, {where}: millions of items per second",
            1.0,
            samples[OURS],
            "list(proxy.numbers(10_000)), the opening and the end of the stream included.",
        ),
        speed_figure(
            f"streams-loop-{mode}",
            f"the same in a for loop, {where}: millions of items per second",
            1.0,
            samples[_LOOP],
            "As above, each item added to a sum.",
        ),
        rate_figure(
            f"streams-{mode}",
            f"the same, {where}, as a multiple of the rate of multiprocessing.Pipe",
            None,
            against,
            "The child sends one number after the other.",
        ),
    ]


def measure_slow_reader(nap_seconds):
    """Read a few items of ten millions slowly; watch the position and the memory of the writer."""
    ahead_title = "a slow reader of 10 000 000 items: how many the writer is ahead at most"
    growth_title = "the same: by how much the memory of the writer grows, in MiB"
    if not Path("/proc/self/statm").exists():
        note = "no /proc to see the memory of another process"
        return [
            missing_figure("streams-ahead", ahead_title, AHEAD_GOAL, note),
            missing_figure("streams-growth", growth_title, _GROWTH_GOAL_MIB, note),
        ]
    ahead, growth_bytes = watch_slow_reader(nap_seconds)
    naps = f"{_SLOW_ITEMS} items read in {_NAPS} goes, {nap_seconds * 1e3:g} ms apart"
    return [
        {
            **exact_figure("streams-ahead", ahead_title, "items", AHEAD_GOAL, ahead, naps),
            "about": "The writer shows in shared memory how far it has come. Credit bounds it.",
        },
        {
            **exact_figure(
                "streams-growth", growth_title, "MiB", _GROWTH_GOAL_MIB, growth_bytes / 2**20, naps
            ),
            "about": "Its resident memory, before the stream is opened and at most while it is "
            "read; a stream of 10 000 ints was read before.",
        },
    ]


def watch_slow_reader(nap_seconds):
    """Return how many items the writer was ahead at most, and by how many bytes it grew."""
    with _watched_writer() as (proxy, position, pid):
        assert len(list(proxy.numbers(ITEMS))) == ITEMS
        before = resident_bytes(pid)
        ahead = growth = 0
        numbers = proxy.watched_numbers(_ENDLESS)
        for read in range(1, _SLOW_ITEMS + 1):
            next(numbers)
            if read % (_SLOW_ITEMS // _NAPS) == 0:
                threading.Event().wait(nap_seconds)
                at = int.from_bytes(position[:POSITION_BYTES], "little") + 1
                ahead = max(ahead, at - read)
                growth = max(growth, resident_bytes(pid) - before)
        numbers.close()
        return ahead, growth


@contextlib.contextmanager
def _watched_writer():
    import pyroipc

    near, far = socket.socketpair()

    def serve():
        near.close()
        host = make_host(pyroipc)
        host.position = position
        daemon = pyroipc.Daemon(connected_socket=far)
        daemon.register(host, "host")
        daemon.requestLoop()

    position = mmap.mmap(-1, mmap.PAGESIZE)
    with near, far, position, forked(serve, Placement("free")) as pid:
        far.close()
        with pyroipc.Proxy("host", connected_socket=near) as proxy:
            yield proxy, position, pid


def resident_bytes(pid):
    """Return how much memory a process has in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

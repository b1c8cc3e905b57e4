"""Timing work that comes in lumps: a thousand calls, or the items of a generator.

As with single calls, the contestants take turns, each in a child of its own. All are made and used
where the parent of the mode belongs: what two processes tell each other of their CPUs when they
meet has to be true.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import socket
from time import perf_counter
from typing import NamedTuple, TypeVar

from tests.benchmarks.children import MODES, NOT_HERE, Placement, forked, modes_here
from tests.benchmarks.figures import missing_figure
from tests.benchmarks.model_hosts import make_host
from tests.benchmarks.rounds import pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

    Samples = dict[str, list[float]]

LUMP_MODES = ("free", "one")
OURS = "pyroipc, pickle"
SERIALIZERS = ("pickle", "marshal", "msgpack", "json", "serpent")
PACKAGES = {"pyroipc": "pyroipc", "Pyro4": "Pyro4", "Pyro5": "Pyro5.api"}
_MAX_LUMPS = 200
Key = TypeVar("Key")


class Lump(NamedTuple):
    """Work to be timed.

    Attributes:
        run: does all of it, and checks what came of it.
        items: how many calls or items that are.
    """

    run: Callable[[], None]
    items: int


if TYPE_CHECKING:
    Contestant = Callable[[Placement], AbstractContextManager[Lump]]


@contextlib.contextmanager
def remote_host(placement: Placement, library: str, serializer: str) -> Iterator[Any]:
    """Yield a proxy of one of PACKAGES, of a host in a forked child, over a socket pair."""
    package = importlib.import_module(PACKAGES[library])
    if library == "Pyro4":
        package.config.SERIALIZERS_ACCEPTED = {"pickle", "marshal", "serpent"}
    near, far = socket.socketpair()

    def serve() -> None:
        near.close()
        daemon = package.Daemon(connected_socket=far)
        daemon.register(make_host(package), "host")
        daemon.requestLoop()

    with near, far, forked(serve, placement):
        far.close()
        with package.Proxy("host", connected_socket=near) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@contextlib.contextmanager
def pipe_to(placement: Placement, serve: Callable[[Any], None]) -> Iterator[Any]:
    """Yield one end of a ``multiprocessing.Pipe``; a forked child serves the other one."""
    near, far = multiprocessing.Pipe()

    def live() -> None:
        near.close()
        serve(far)

    with near, far, forked(live, placement):
        far.close()
        yield near


def remote_contestant(
    library: str, serializer: str, make: Callable[[str, Any], Lump]
) -> Contestant:
    """Return a contestant that works on a proxy.

    Args:
        library: a name in PACKAGES.
        serializer: what the proxy uses.
        make: returns the lump of a library and a proxy.
    """

    @contextlib.contextmanager
    def contestant(placement: Placement) -> Iterator[Lump]:
        with remote_host(placement, library, serializer) as proxy:
            yield make(library, proxy)

    return contestant


def pipe_contestant(serve: Callable[[Any], None], make: Callable[[Any], Lump]) -> Contestant:
    """Return a contestant that works on a pipe.

    Args:
        serve: what the child does with its end.
        make: returns the lump of an end of the pipe.
    """

    @contextlib.contextmanager
    def contestant(placement: Placement) -> Iterator[Lump]:
        with pipe_to(placement, serve) as connection:
            yield make(connection)

    return contestant


def in_modes(
    contestants: Mapping[str, Contestant], effort: Effort, launches: int, rounds: int
) -> dict[str, Samples]:
    """Return, for each mode of this machine, µs per item of each contestant, for each round."""
    here = [mode for mode in LUMP_MODES if mode in modes_here()]
    seconds = effort.segment_seconds
    all_launches = [
        {mode: _launch(mode, contestants, rounds, seconds) for mode in here}
        for _ in range(launches)
    ]
    return {mode: pooled([launch[mode] for launch in all_launches]) for mode in here}


def _launch(
    mode: str, contestants: Mapping[str, Contestant], rounds: int, seconds: float
) -> Samples:
    placement = Placement(mode)
    with placement.settled_parent(), contextlib.ExitStack() as stack:
        lumps = {name: stack.enter_context(make(placement)) for name, make in contestants.items()}
        return lumps_in_turns(lumps, rounds, seconds)


def lumps_in_turns(
    lumps: Mapping[Key, Lump], rounds: int, seconds: float
) -> dict[Key, list[float]]:
    """Return the mean time of an item in µs of each contestant, for each round.

    In a round every contestant works for about ``seconds``, but does at least one lump, and one
    before that is not counted if it is short; every other round goes the other way round.
    """
    order = list(lumps)
    sizes = {name: _lumps_in(lump, seconds) for name, lump in lumps.items()}
    samples: dict[Key, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            if sizes[name] > 1:
                lumps[name].run()  # wakes the peer
            samples[name].append(_microseconds(lumps[name], sizes[name]))
        order.reverse()
    return samples


def _microseconds(lump: Lump, times: int) -> float:
    run = lump.run
    start = perf_counter()
    for _ in range(times):
        run()
    return (perf_counter() - start) / (times * lump.items) * 1e6


def _lumps_in(lump: Lump, seconds: float) -> int:
    lump.run()
    one = _microseconds(lump, 1) * lump.items / 1e6
    return min(max(round(seconds / one), 1), _MAX_LUMPS)


class Section(NamedTuple):
    """What a section of the object model compares.

    Attributes:
        key: its name.
        what: what is counted, for the table of rates.
        against: the contestants of the figures, ours first.
        others: more contestants, measured less often.
    """

    key: str
    what: str
    against: Mapping[str, Contestant]
    others: Mapping[str, Contestant]

    def measure(
        self,
        effort: Effort,
        judge: Callable[[str, Samples], list[Figure]],
        more: Callable[[], list[Figure]] = list,
    ) -> dict[str, Any]:
        """Return the figures, and µs per item of all contestants.

        Args:
            effort: how much to measure.
            judge: returns the figures of a mode and the samples of those compared.
            more: returns other figures.
        """
        against, others = _installed(self.against), _installed(self.others)
        main = in_modes(against, effort, effort.lump_launches, effort.lump_rounds)
        peers = in_modes(others, effort, effort.lump_peer_launches, effort.lump_peer_rounds)
        absent = [name for name in self.against if name not in against]
        figures = []
        for mode in LUMP_MODES:
            if mode in main and not absent:
                figures += judge(mode, main[mode])
            else:
                note = f"{absent[0]} is not installed" if absent else NOT_HERE
                title = f"{self.what}, {MODES[mode]}"
                figures.append(missing_figure(f"{self.key}-{mode}", title, None, note))
        times = {mode: {**main[mode], **peers[mode]} for mode in main}
        return {"figures": figures + more(), "times": {self.key: (self.what, times)}}


def _installed(contestants: Mapping[str, Contestant]) -> dict[str, Contestant]:
    return {name: make for name, make in contestants.items() if is_installed(name)}


def is_installed(contestant: str) -> bool:
    """Whether the library of a contestant can be imported."""
    library = contestant.partition(",")[0]
    try:
        importlib.import_module(PACKAGES.get(library, "multiprocessing"))
    except ImportError:
        return False
    return True

"""How much is measured: how often, and for how long."""

from __future__ import annotations

from typing import NamedTuple


class NetworkEffort(NamedTuple):
    """The size of the sections of the network; a launch starts new servers here, too."""

    launches: int
    """For single calls, and for those that connect each time."""
    rounds: int
    peer_rounds: int
    """For those that are only shown beside."""
    load_launches: int
    load_rounds: int
    load_seconds: float
    """How long a crowd calls at a time; the large one twice as long."""
    crowd: int
    large_crowd: int
    idle_launches: int
    idle_before: int
    """Idle connections that a server has before its memory is read the first time."""
    idle_more: int
    """Those that it gets then."""
    silent_launches: int
    silent_rounds: int
    silent: int
    """Connections over which nothing is said."""
    silent_seconds: float
    """How long the good client calls at a time."""


class BulkEffort(NamedTuple):
    """The size of the section of large arrays."""

    rounds: int
    array_bytes: int


class SharedEffort(NamedTuple):
    """The size of the section of shared arrays."""

    rounds: int
    sizes: tuple[int, ...]
    """Of arrays that were born in shared memory."""
    ordinary_bytes: int
    """Of one that was not."""


class ThroughputEffort(NamedTuple):
    """The size of the section of throughput against size."""

    rounds: int
    max_bytes: int


class Effort(NamedTuple):
    """The size of a run.

    A launch starts new children (where the scheduler puts them, and where their memory lies, is
    luck that a launch draws once); in each launch there are rounds, in each of which every
    contestant is called for ``segment_seconds``.
    """

    launches: int
    rounds: int
    segment_seconds: float
    peer_launches: int
    peer_rounds: int
    forks: int
    """How many children are forked by each contestant."""
    interpreters: int
    """How many fresh interpreters each contestant starts as a child."""
    imports: int
    """How often each import is timed."""
    lump_launches: int
    """For lumps of work: a thousand calls at a time."""
    lump_rounds: int
    lump_peer_launches: int
    lump_peer_rounds: int
    limit_seconds: float
    """A section that takes longer is given up."""
    network: NetworkEffort
    bulk: BulkEffort
    shared: SharedEffort
    throughput: ThroughputEffort


_NETWORK = {
    "full": NetworkEffort(5, 6, 2, 2, 3, 0.25, 64, 512, 2, 200, 1000, 2, 4, 500, 0.1),
    "quick": NetworkEffort(2, 4, 2, 1, 2, 0.1, 64, 512, 1, 200, 1000, 1, 3, 500, 0.05),
    "tiny": NetworkEffort(1, 2, 2, 1, 2, 0.005, 4, 8, 1, 4, 8, 1, 2, 10, 0.002),
}
_SHARED_SIZES = (64 << 10, 1 << 20, 64 << 20, 1 << 30)
EFFORTS = {
    "full": Effort(
        8,
        13,
        0.03,
        3,
        7,
        100,
        25,
        25,
        5,
        7,
        2,
        4,
        120.0,
        _NETWORK["full"],
        BulkEffort(21, 64 << 20),
        SharedEffort(21, _SHARED_SIZES, 64 << 20),
        ThroughputEffort(4, 256 << 20),
    ),
    "quick": Effort(
        4,
        5,
        0.01,
        1,
        5,
        30,
        7,
        7,
        3,
        5,
        1,
        3,
        20.0,
        _NETWORK["quick"],
        BulkEffort(7, 64 << 20),
        SharedEffort(7, _SHARED_SIZES, 64 << 20),
        ThroughputEffort(4, 64 << 20),
    ),
    "tiny": Effort(
        1,
        3,
        0.001,
        1,
        2,
        2,
        1,
        1,
        1,
        3,
        1,
        2,
        20.0,
        _NETWORK["tiny"],
        BulkEffort(2, 3 << 20),
        SharedEffort(2, (4 << 10, 64 << 10), 1 << 20),
        ThroughputEffort(2, 64 << 10),
    ),
}

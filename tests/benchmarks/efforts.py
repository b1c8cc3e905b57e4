"""How much is measured: how often, and for how long."""

from __future__ import annotations

from typing import NamedTuple


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


EFFORTS = {
    "full": Effort(8, 13, 0.03, 3, 7, 100, 25, 25, 5, 7, 2, 4, 60.0),
    "quick": Effort(4, 5, 0.01, 1, 5, 30, 7, 7, 3, 5, 1, 3, 20.0),
    "tiny": Effort(1, 3, 0.001, 1, 2, 2, 1, 1, 1, 3, 1, 2, 20.0),
}

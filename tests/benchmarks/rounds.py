"""Timing contestants in turns, so that whatever the machine does meanwhile happens to all."""

from __future__ import annotations

from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Call = Callable[[object], object]

_WARM_UP_CALLS = 30
_WAKE_UP_CALLS = 3
_MIN_CALLS, _MAX_CALLS = 5, 20_000
ARGUMENT = 42


def microseconds(call: Call, calls: int) -> float:
    """Return the mean time of a call in µs; the first few calls, which wake the peer, not counted.

    Raises:
        AssertionError: a call did not return its argument.
    """
    for _ in range(_WAKE_UP_CALLS):
        call(ARGUMENT)
    start = perf_counter()
    for _ in range(calls):
        call(ARGUMENT)
    seconds = perf_counter() - start
    assert call(ARGUMENT) == ARGUMENT
    return seconds / calls * 1e6


def in_turns(
    contestants: Mapping[str, Call], rounds: int, segment_seconds: float
) -> dict[str, list[float]]:
    """Return the mean time of a call in µs of each contestant, for each round.

    In a round every contestant is called for about ``segment_seconds``; every other round goes
    the other way round.
    """
    order = list(contestants)
    sizes = {name: _calls_in(call, segment_seconds) for name, call in contestants.items()}
    samples: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            samples[name].append(microseconds(contestants[name], sizes[name]))
        order.reverse()
    return samples


def _calls_in(call: Call, seconds: float) -> int:
    microseconds(call, _WARM_UP_CALLS)
    one = microseconds(call, _WARM_UP_CALLS) / 1e6
    return min(max(round(seconds / one), _MIN_CALLS), _MAX_CALLS)


def pooled(launches: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Put the rounds of several launches together."""
    return {name: [x for one in launches for x in one[name]] for name in launches[0]}

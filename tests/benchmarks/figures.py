"""A figure: what was measured, against which goal, and how far it can be believed."""

from __future__ import annotations

import statistics
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUSPICIOUS_SPREAD = 0.25
"""If the middle half of the rounds spreads over more than this share, the figure is doubtful."""

Figure = dict[str, Any]
"""As it stands in the JSON: ``key title unit goal``, ``value`` (None: not measured, ``note`` says
why), ``quartiles`` (low and high; empty: the number is exact), ``spread`` (see :func:`spread`),
``detail`` (text), ``samples`` (name -> list of numbers). Those of the object model have ``about``,
too, a sentence; and where the goal is to be exceeded there is ``more_is_better``. Those of the
network and of large arrays have ``table`` as well: ``network``, ``bulk``."""


def ratio_figure(
    key: str,
    title: str,
    goal: float | None,
    samples: dict[str, list[float]],
    *,
    unit: str = "µs",
) -> Figure:
    """Compare two contestants, ours first: the median of the ratios of their times."""
    (our_name, ours), (base_name, base) = samples.items()
    ratios = [one / other for one, other in zip(ours, base, strict=True)]
    detail = (
        f"{our_name} {number(statistics.median(ours))} {unit}, "
        f"{base_name} {number(statistics.median(base))} {unit}"
    )
    return {
        **_figure(key, title, "ratio", goal, statistics.median(ratios), detail),
        "quartiles": quartiles(ratios),
        "spread": spread(ratios),
        "samples": samples,
    }


def difference_figure(
    key: str, title: str, goal: float | None, ours: list[float], bare: list[float]
) -> Figure:
    """Say what is added to a bare thing, in ms: the median of the differences of the rounds."""
    differences = [one - other for one, other in zip(ours, bare, strict=True)]
    detail = f"the bare interpreter {number(statistics.median(bare))} ms"
    return {
        **_figure(key, title, "ms", goal, statistics.median(differences), detail),
        "quartiles": quartiles(differences),
        # Of the whole: the relative spread of differences near zero is large by nature.
        "spread": spread(ours),
        "samples": {"differences": differences, "bare": bare},
    }


def rate_figure(
    key: str, title: str, goal: float | None, samples: dict[str, list[float]], about: str
) -> Figure:
    """Compare two contestants, ours first, by how much they do in a time; more is better.

    Args:
        key: the name of the figure.
        title: what it is, for people.
        goal: to be reached or exceeded.
        samples: µs per item.
        about: a sentence for people on what is compared.
    """
    (our_name, ours), (base_name, base) = samples.items()
    ratios = [other / one for one, other in zip(ours, base, strict=True)]
    detail = (
        f"{our_name} {per_second(statistics.median(ours))}, "
        f"{base_name} {per_second(statistics.median(base))}"
    )
    return {
        **_figure(key, title, "times", goal, statistics.median(ratios), detail),
        "quartiles": quartiles(ratios),
        "spread": spread(ratios),
        "samples": samples,
        "about": about,
        "more_is_better": True,
    }


def speed_figure(
    key: str, title: str, goal: float | None, ours: list[float], about: str
) -> Figure:
    """Say how many millions of items there are in a second, of the rounds' µs per item."""
    speeds = [1 / one for one in ours]
    detail = f"{number(statistics.median(ours))} µs each"
    return {
        **_figure(key, title, "M/s", goal, statistics.median(speeds), detail),
        "quartiles": quartiles(speeds),
        "spread": spread(speeds),
        "samples": {"pyroipc": ours},
        "about": about,
        "more_is_better": True,
    }


def per_second(microseconds: float) -> str:
    """Write a time per item as a number of items per second."""
    rate = 1e6 / microseconds
    return f"{number(rate / 1e6)} M/s" if rate > 0.9995e6 else f"{number(rate / 1e3)} k/s"


def size_figure(key: str, title: str, goal: float | None, ours: list[float]) -> Figure:
    """Say how much memory something takes, in KiB: the median of the launches."""
    return {
        **_figure(key, title, "KiB", goal, statistics.median(ours), ""),
        "quartiles": quartiles(ours),
        "spread": spread(ours),
        "samples": {"pyroipc": ours},
    }


def time_figure(key: str, title: str, goal: float | None, ours: list[float]) -> Figure:
    """Say how long something takes, in µs: the median of the rounds."""
    return {
        **_figure(key, title, "µs", goal, statistics.median(ours), ""),
        "quartiles": quartiles(ours),
        "spread": spread(ours),
        "samples": {"pyroipc": ours},
    }


def of_network(
    figure: Figure, about: str, others: dict[str, list[float]], beside: Iterable[str] = ()
) -> Figure:
    """Put a figure into the table of the network.

    Args:
        figure: compares what the goal is about.
        about: a sentence for people on what is compared.
        others: samples of more contestants.
        beside: how these did, in words.
    """
    return {
        **figure,
        "table": "network",
        "about": about,
        "detail": "; ".join(filter(None, (figure["detail"], ", ".join(beside)))),
        "samples": {**figure["samples"], **others},
    }


def exact_figure(
    key: str, title: str, unit: str, goal: float, value: float, detail: str
) -> Figure:
    """Report a number that does not depend on time."""
    return _figure(key, title, unit, goal, value, detail)


def missing_figure(key: str, title: str, goal: float | None, note: str) -> Figure:
    """Say that something could not be measured here, and why."""
    return {**_figure(key, title, "", goal, None, ""), "note": note}


def _figure(
    key: str, title: str, unit: str, goal: float | None, value: float | None, detail: str
) -> Figure:
    return {
        "key": key,
        "title": title,
        "unit": unit,
        "goal": goal,
        "value": value,
        "quartiles": [],
        "spread": 0.0,
        "detail": detail,
        "note": "",
        "samples": {},
    }


def quartiles(values: Sequence[float]) -> list[float]:
    """Return between which two numbers the middle half lies; nothing for fewer than four."""
    if len(values) < 4:
        return []
    low, _, high = statistics.quantiles(values, n=4)
    return [low, high]


def spread(values: Sequence[float]) -> float:
    """Return how far the quartiles are apart, as a share of the median; 0 if there are none."""
    between = quartiles(values)
    middle = statistics.median(values)
    return (between[1] - between[0]) / abs(middle) if between and middle else 0.0


def is_suspicious(figure: Figure) -> bool:
    """Whether the rounds disagree so much that the figure should be measured again."""
    return figure["spread"] > SUSPICIOUS_SPREAD


def is_reached(figure: Figure) -> bool | None:
    """Whether the goal is reached; None if there is no goal or no number."""
    if figure["goal"] is None or figure["value"] is None:
        return None
    if figure.get("more_is_better"):
        return figure["value"] >= figure["goal"]
    return figure["value"] <= figure["goal"]


def size_name(n_bytes: int) -> str:
    """Write a size, a power of two, as people do: ``64 KiB``."""
    names = ("bytes", "KiB", "MiB", "GiB")
    power = min(max(n_bytes.bit_length() - 1, 0) // 10, len(names) - 1)
    return f"{n_bytes / 1024**power:g} {names[power]}"


def number(value: float) -> str:
    """Write a number with two or three significant digits."""
    if value < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"

"""The pictures of the results. The only place that needs matplotlib."""

from __future__ import annotations

import statistics

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import number, size_name
from tests.benchmarks.report import gigabytes_per_second

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.benchmarks.report import Results

    Times = dict[str, dict[str, list[float]]]

_COLOURS = {"one": "#8da0cb", "two": "#66c2a5", "free": "#fc8d62"}
_INK = "#444444"
_LINES = {
    "memcpy": ("#777777", "."),
    "pyroipc": ("#0072b2", "o"),
    "multiprocessing": ("#d55e00", "s"),
    "Pyro5": ("#009e73", "^"),
}
"""The colour and the mark of each library; what goes over TCP is dashed."""


def draw(directory: Path, results: Results) -> None:
    """Draw what was measured, each as an SVG file with a name of its own.

    ``benchmarks.svg``: the time of a call for each contestant; below it, if they were measured,
    how much of the object model's work is done in a second. ``throughput.svg``: bytes per second,
    against the size.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no results to draw.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        message = "the plot needs matplotlib: python -m pip install matplotlib"
        raise ImportError(message) from error
    pictures = {}
    if results["peers"]:
        pictures["benchmarks"] = lambda: _peers(results["peers"], results["rates"])
    if results["throughput"]:
        pictures["throughput"] = lambda: _throughput(results["throughput"])
    if not pictures:
        raise ValueError("neither peers nor throughput were measured: there is nothing to draw")
    mpl.use("agg")
    # Text stays text, and the same results give the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pyroipc", "font.size": 9}):
        for name, make in pictures.items():
            figure = make()
            figure.patch.set_facecolor("white")  # legible on a dark page, too
            figure.savefig(directory / f"{name}.svg", metadata={"Date": None})


def _peers(peers: Times, rates: dict[str, tuple[str, Times]]) -> Any:
    from matplotlib.figure import Figure

    heights = [len(next(iter(times.values()))) for times in (peers, *_times(rates))]
    figure = Figure(figsize=(8.5, 0.42 * sum(heights) + len(heights)), layout="constrained")
    first, *others = figure.subplots(
        len(heights), squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    _draw_bars(first, peers, statistics.median)
    first.set_xlabel("µs for echo(42) to a forked child and back (shorter is better)")
    for axes, (what, times) in zip(others, rates.values(), strict=True):
        axes.set_xscale("log")
        _draw_bars(axes, times, lambda samples: 1e3 / statistics.median(samples))
        axes.set_xlim(left=1)
        axes.set_xlabel(f"thousands of {what}, in a second (longer is better)")
    return figure


def _times(rates: dict[str, tuple[str, Times]]) -> list[Times]:
    return [times for _, times in rates.values()]


def _draw_bars(axes: Any, times: Times, value: Callable[[list[float]], float]) -> None:
    names = list(next(iter(times.values())))
    height = 0.8 / len(times)
    for index, (mode, samples) in enumerate(times.items()):
        places = [place - 0.4 + height * (index + 0.5) for place in range(len(names))]
        values = [value(samples[name]) for name in names]
        bars = axes.barh(places, values, height, label=MODES[mode], color=_COLOURS[mode])
        labels = [number(one) for one in values]
        axes.bar_label(bars, labels, padding=2, fontsize=6.5, color=_INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.legend(loc="best", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _throughput(throughput: Times) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.subplots()
    sizes = [int(size) for size in throughput]
    for name in next(iter(throughput.values())):
        speeds = [gigabytes_per_second(size, throughput[str(size)][name]) for size in sizes]
        colour, marker = _LINES[name.replace(".", ",").partition(",")[0]]
        way = "--" if "TCP" in name else "-"
        axes.plot(sizes, speeds, way, label=name, color=colour, marker=marker, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [size_name(size) for size in sizes])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("bytes in a call, as an argument to a forked child")
    axes.set_ylabel("GB/s (higher is better)")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(loc="best", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure

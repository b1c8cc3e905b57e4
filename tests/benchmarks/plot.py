"""The picture of the results. The only place that needs matplotlib."""

from __future__ import annotations

import statistics

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.report import Results

_COLOURS = {"one": "#8da0cb", "two": "#66c2a5", "free": "#fc8d62"}
_INK = "#444444"


def draw(path: Path, results: Results) -> None:
    """Draw the time of a call for each contestant, and write it as the file's ending says.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no results of peers to draw.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        message = "the plot needs matplotlib: python -m pip install matplotlib"
        raise ImportError(message) from error
    peers = results["peers"]
    if not peers:
        raise ValueError("the peers were not measured: there is nothing to draw")
    mpl.use("agg")
    # Text stays text, and the same results give the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pyroipc", "font.size": 9}):
        _draw(path, peers)


def _draw(path: Path, peers: dict[str, dict[str, list[float]]]) -> None:
    from matplotlib.figure import Figure

    names = list(next(iter(peers.values())))
    figure = Figure(figsize=(8.5, 0.42 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(peers)
    for index, (mode, samples) in enumerate(peers.items()):
        places = [place - 0.4 + height * (index + 0.5) for place in range(len(names))]
        times = [statistics.median(samples[name]) for name in names]
        bars = axes.barh(places, times, height, label=MODES[mode], color=_COLOURS[mode])
        labels = [number(time) for time in times]
        axes.bar_label(bars, labels, padding=2, fontsize=6.5, color=_INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("µs for echo(42) to a forked child and back (shorter is better)")
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.patch.set_facecolor("white")
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata, dpi=150)

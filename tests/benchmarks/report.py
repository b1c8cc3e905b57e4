"""Results as tables: for the terminal, and as Markdown for the documentation."""

from __future__ import annotations

import statistics
from typing import Any

from tests.benchmarks.children import MODES
from tests.benchmarks.figures import (
    SUSPICIOUS_SPREAD,
    is_reached,
    is_suspicious,
    number,
    size_name,
    spread,
)
from tests.benchmarks.machine import complaints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.benchmarks.figures import Figure

    Results = dict[str, Any]
    Row = tuple[str, ...]
    Times = dict[str, dict[str, list[float]]]

BEGIN = "<!-- begin: written by python -m tests.benchmarks -->"
END = "<!-- end -->"
FIGURES_HEAD = ("figure", "goal", "measured (middle half of the rounds)", "reached", "medians")
MODEL_HEAD = (*FIGURES_HEAD, "what it is")
NETWORK_HEAD = ("figure, over TCP on one machine", *MODEL_HEAD[1:])
BULK_HEAD = ("figure, large arrays and bytes", *MODEL_HEAD[1:])
_BASELINE = "multiprocessing.Pipe"


def figure_rows(results: Results) -> list[Row]:
    """Return the rows of the table of figures, last those of the peers against the Pipe."""
    plain = [figure for figure in results["figures"] if "about" not in figure]
    return [*map(_figure_row, plain), *_peer_ratio_rows(results["peers"])]


def model_rows(results: Results) -> list[Row]:
    """Return the rows of the table of the object model."""
    return _explained_rows(results, None)


def network_rows(results: Results) -> list[Row]:
    """Return the rows of the table of the network."""
    return _explained_rows(results, "network")


def bulk_rows(results: Results) -> list[Row]:
    """Return the rows of the table of large arrays."""
    return _explained_rows(results, "bulk")


def _explained_rows(results: Results, table: str | None) -> list[Row]:
    return [
        (*_figure_row(figure), figure["about"])
        for figure in results["figures"]
        if "about" in figure and figure.get("table") == table
    ]


def rates_head(rates: Results) -> Row:
    """Return the head of the table of rates."""
    return ("thousands per second", "by", *(MODES[mode] for mode in _rate_modes(rates)))


def rate_rows(rates: Results) -> list[Row]:
    """Return the rows of the table of rates: each section, each contestant."""
    return [
        (
            what,
            name,
            *(number(1e3 / statistics.median(times[mode][name])) for mode in _rate_modes(rates)),
        )
        for what, times in rates.values()
        for name in _names(times)
    ]


def _rate_modes(rates: Results) -> list[str]:
    return list(next((times for _, times in rates.values()), {}))


def _tables(results: Results) -> list[tuple[Row, list[Row]]]:
    """List the heads and the rows of all tables."""
    peers, rates, throughput = results["peers"], results["rates"], results["throughput"]
    tables = [
        (FIGURES_HEAD, figure_rows(results)),
        (MODEL_HEAD, model_rows(results)),
        (NETWORK_HEAD, network_rows(results)),
        (BULK_HEAD, bulk_rows(results)),
        (peers_head(peers), peer_rows(peers)),
        (rates_head(rates), rate_rows(rates)),
        (throughput_head(throughput), throughput_rows(throughput)),
    ]
    return [(head, rows) for head, rows in tables if rows]


def peers_head(peers: Times) -> Row:
    """Return the head of the table of peers."""
    return ("µs, echo(42) to a forked child", *(MODES[mode] for mode in peers))


def peer_rows(peers: Times) -> list[Row]:
    """Return the rows of the table of peers: µs of a call, for each mode."""
    return [
        (name, *(number(statistics.median(samples[name])) for samples in peers.values()))
        for name in _names(peers)
    ]


def throughput_head(throughput: Times) -> Row:
    """Return the head of the table of throughput."""
    return ("GB/s of bytes, as an argument to a forked child", *_names(throughput))


def throughput_rows(throughput: Times) -> list[Row]:
    """Return the rows of the table of throughput: each size."""
    return [
        (
            size_name(int(size)),
            *(f"{gigabytes_per_second(int(size), x):.3g}" for x in samples.values()),
        )
        for size, samples in throughput.items()
    ]


def gigabytes_per_second(n_bytes: int, microseconds: list[float]) -> float:
    """Return the throughput of calls that pass so many bytes: the median of the rounds."""
    return n_bytes / statistics.median(microseconds) / 1000


def _throughput_doubts(throughput: Times) -> list[str]:
    """Name each contestant whose rounds disagree, and where they do so most."""
    found = []
    for name in _names(throughput):
        most, size = max((spread(x[name]), int(size)) for size, x in throughput.items())
        if most > SUSPICIOUS_SPREAD:
            found.append(
                f"the rounds of throughput, {name}, spread by up to {most:.0%} ({size_name(size)})"
            )
    return found


def doubts(results: Results) -> list[str]:
    """Return why the figures may be wrong; empty if nothing speaks against them."""
    shaky = [
        f"the rounds of {figure['key']} spread by {figure['spread']:.0%}"
        for figure in results["figures"]
        if is_suspicious(figure)
    ]
    shaky += _throughput_doubts(results["throughput"])
    return [*complaints(results["machine"]), *shaky, *results["failures"]]


def as_text(results: Results) -> str:
    """Return all of it for a terminal."""
    parts = [_conditions(results), *(_aligned(*table) for table in _tables(results))]
    found = doubts(results)
    if found:
        parts.append("Doubts:\n" + "\n".join(f"  {doubt}" for doubt in found))
    return "\n\n".join(parts)


def as_markdown(results: Results) -> str:
    """Return the tables for the documentation."""
    parts = [_conditions(results), *(_markdown_table(*table) for table in _tables(results))]
    found = doubts(results)
    if found:
        parts.append(
            "Doubts about this run:\n\n"
            + "\n".join(f"- {doubt.splitlines()[0]}" for doubt in found)
        )
    return "\n\n".join(parts)


def write_markdown(path: Path, results: Results) -> None:
    """Put the tables between the two marks of a page, or make a page of them.

    Raises:
        ValueError: the page exists and has no marks.
    """
    tables = f"{BEGIN}\n\n{as_markdown(results)}\n\n{END}"
    if not path.exists():
        path.write_text(f"# Benchmarks\n\n{tables}\n", encoding="utf-8")
        return
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r} to write between")
    path.write_text(f"{head}{tables}{tail}", encoding="utf-8")


def _conditions(results: Results) -> str:
    machine = results["machine"]
    busy = "" if machine["busy"] is None else f", {machine['busy']:.0%} busy"
    load = "".join(f" {one:.2f}" for one in machine["load"][:1])
    return (
        f"CPython {machine['python']}, {machine['system']}, {machine['cpus']} CPUs; "
        f"before the run load average{load or ' unknown'}{busy}. Effort: {results['effort']}, "
        f"{results['seconds']:.0f} s."
    )


def _figure_row(figure: Figure) -> Row:
    goal = "" if figure["goal"] is None else f"{figure['goal']:g}{_suffix(figure['unit'])}"
    if goal and figure.get("more_is_better"):
        goal = f"at least {goal}"
    if figure["value"] is None:
        return (figure["title"], goal, "not measured", "", figure["note"])
    measured = _written(figure, figure["value"]) + _suffix(figure["unit"])
    if figure["quartiles"]:
        low, high = (_written(figure, value) for value in figure["quartiles"])
        measured += f" ({low} to {high})"
    reached = {None: "", True: "yes", False: "no"}[is_reached(figure)]
    doubtful = " (?)" if is_suspicious(figure) else ""
    return (figure["title"], goal, measured, reached + doubtful, figure["detail"])


def _written(figure: Figure, value: float) -> str:
    two_places = figure["unit"] in {"ratio", "times", "M/s"}
    return f"{value:.2f}" if two_places else f"{value:.3g}"


def _suffix(unit: str) -> str:
    return f" {unit}" if unit in {"µs", "ms", "KiB", "MiB"} else ""


def _peer_ratio_rows(peers: Times) -> list[Row]:
    rows = []
    for name in _names(peers):
        if name in {_BASELINE, "pyroipc, pickle"}:
            continue  # that is above
        ratios = [_ratio(samples[name], samples[_BASELINE]) for samples in peers.values()]
        title = f"echo(42) by {name}: {' / '.join(MODES[mode] for mode in peers)}"
        rows.append((title, "", " / ".join(ratios), "", ""))
    return rows


def _ratio(ours: list[float], base: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(ours, base, strict=True)):.2f}"


def _names(peers: Times) -> list[str]:
    return list(next(iter(peers.values()), {}))


def _aligned(head: Row, rows: list[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * width for width in widths), *rows]
    return "\n".join(_padded(line, widths) for line in lines)


def _padded(line: Row, widths: list[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def _markdown_table(head: Row, rows: list[Row]) -> str:
    return "\n".join(_markdown_line(line) for line in (head, ("---",) * len(head), *rows))


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""The command: runs the sections one after the other and hands out what they found."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from time import perf_counter

from tests.benchmarks import machine, report
from tests.benchmarks.isolated import GROUPS, MODEL_SECTIONS, SECTIONS, SectionError, run_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code says whether all could be measured, never how fast it was."""
    options = _parser().parse_args(arguments)
    # As with Ctrl-C, whatever runs is ended first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        results = run("quick" if options.quick else "full", _chosen(options.section))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print(report.as_text(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        report.write_markdown(options.markdown, results)
    if options.plot:
        from tests.benchmarks.plot import draw

        draw(options.plot, results)
    return bool(results["failures"])


def run(effort: str, sections: Sequence[str] = SECTIONS) -> report.Results:
    """Run sections, each in an interpreter of its own; one that fails does not stop the others."""
    results = {
        "effort": effort,
        "machine": machine.facts(),
        "figures": [],
        "peers": {},
        "rates": {},
        "throughput": {},
        "failures": [],
    }
    ticks, start = machine.cpu_ticks(), perf_counter()
    for section in sections:
        print(f"{section} ...", file=sys.stderr, flush=True)
        try:
            found = run_section(section, effort)
        except SectionError as error:
            results["failures"].append(str(error))
        else:
            _add(results, section, found)
    results["seconds"] = perf_counter() - start
    results["machine"]["stolen"] = machine.stolen_share(ticks, machine.cpu_ticks())
    return results


def _add(results: report.Results, section: str, found: object) -> None:
    if section in {"peers", "throughput"}:
        results[section] = found
    elif section in MODEL_SECTIONS:
        results["figures"] += found["figures"]
        results["rates"].update(found["times"])
    else:
        results["figures"] += found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables into a page"
    )
    parser.add_argument(
        "--plot", type=_directory, metavar="DIRECTORY", help="draw what was measured into it"
    )
    parser.add_argument(
        "--section",
        action="append",
        choices=(*SECTIONS, *GROUPS),
        help="only this one; may be repeated; "
        + "; ".join(f"{name}: {', '.join(sections)}" for name, sections in GROUPS.items()),
    )
    return parser


def _directory(name: str) -> Path:
    path = Path(name)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{name} is not a directory")
    return path


def _chosen(names: Sequence[str] | None) -> list[str]:
    """Return which sections are meant."""
    chosen: list[str] = []
    for name in names or SECTIONS:
        chosen += GROUPS.get(name, (name,))
    return chosen

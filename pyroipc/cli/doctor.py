"""``pyroipc doctor``: why a proxy does not reach its object, or how well it does.

Without a URI, it looks at what names need: this machine's own name and networks, the name server,
and each object that this knows.

What is looked at stands in :mod:`pyroipc.cli.diagnosis`; here it is printed. The exit status says
how far one gets: 0 calls work; 1 the URI or the settings of this end are wrong; 3 nobody can be
reached; 4 somebody answers, but does not talk to us; 5 the daemon does, but the object cannot be
called. (2 is a wrong command line, as everywhere.) Warnings do not change it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pyroipc.cli.diagnosis.findings import Findings

_USUAL_SECONDS = 10.0
_LONGEST_SECONDS = 3600.0
_VERDICTS_ON_NAMES = {
    0: "names can be looked up, and lead to objects that can be called",
    1: "the settings of this end are wrong",
    3: "no name server can be found",
    4: "a name server answers, but does not talk to us",
    5: "the name server knows objects that cannot be called",
}
_VERDICTS = {
    0: "calls work",
    1: "the URI or the settings of this end are wrong",
    3: "nobody can be reached there",
    4: "somebody answers there, but does not talk to us",
    5: "the daemon talks to us, but the object cannot be called",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument(
        "uri",
        metavar="URI",
        nargs="?",
        help="such as PYRO:calculator@server.example:9090 or PYRONAME:calculator; without one, "
        "this machine, the name server and all that it knows are looked at",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=_USUAL_SECONDS,
        help="how long all of it may take (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Examine a URI, or what names need, with the settings of the environment.

    Returns:
        The exit status.

    Raises:
        PyroError: a variable of the environment has a value that its item cannot take.
    """
    from pyroipc.cli.diagnosis.examination import examine, examine_surroundings
    from pyroipc.settings import config

    if options.uri is None:
        findings = examine_surroundings(config, options.timeout)
    else:
        findings = examine(options.uri, config, options.timeout)
    if options.json:
        import json

        print(json.dumps(findings.as_dict(), indent=2))
    else:
        _print(findings)
    return findings.exit_status


def _print(findings: Findings) -> None:
    widths = [
        max(len(getattr(one, part)) for one in findings.found) for part in ("status", "step")
    ]
    margin = " " * (sum(widths) + 4)
    for one in findings.found:
        print(f"{one.status:{widths[0]}}  {one.step:{widths[1]}}  {one.text}")
        for line in one.advice:
            print(f"{margin}-> {line}")
    if findings.by_hand:
        print("\nTo be checked by hand:")
        for line in findings.by_hand:
            print(f"  - {line}")
    warnings = findings.n_warnings
    extent = f", with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    verdicts = _VERDICTS if findings.subject is not None else _VERDICTS_ON_NAMES
    print(f"\n{verdicts[findings.exit_status]}{extent}")


def _seconds(text: str) -> float:
    """Read a number of seconds.

    Raises:
        ValueError: it is none, or out of range.
    """
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_SECONDS:  # false for nan, too
        raise ValueError(text)
    return seconds

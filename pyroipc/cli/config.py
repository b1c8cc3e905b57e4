"""``pyroipc config``: the settings that a program started here and now would begin with.

That is the defaults and what the environment changes; what a program assigns is its own affair.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pyroipc.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="show these settings only")
    parser.add_argument(
        "--changed", action="store_true", help="show only those that are not as by default"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the settings; return the exit status.

    Raises:
        PyroError: a variable of the environment has a value that its item cannot take.
    """
    from pyroipc.settings import config  # here, so that an error in the environment is printed

    try:
        sources = _sources(config, options.names)
    except AttributeError as error:
        print(f"pyroipc config: {error}", file=sys.stderr)
        return 1
    if options.changed:
        changed = config.changed()
        sources = {name: source for name, source in sources.items() if name in changed}
    if options.json:
        _print_json(config, sources)
    else:
        _print_lines(config, sources)
    return 0


def _sources(config: Settings, names: list[str]) -> dict[str, str]:
    """Return where the values of some items are from, of all if none are named.

    Raises:
        AttributeError: a name is none of an item.
    """
    wanted = [name.upper() for name in names] or list(config.as_dict())
    return {name: config.source(name) for name in wanted}


def _print_lines(config: Settings, sources: dict[str, str]) -> None:
    values = config.shown()
    lines = [(f"{name} = {values[name]!r}", source) for name, source in sources.items()]
    width = max((len(line) for line, _ in lines), default=0)
    for line, source in lines:
        print(f"{line:{width}}  {source}")


def _print_json(config: Settings, sources: dict[str, str]) -> None:
    import json

    values = config.shown()
    items = {name: {"value": values[name], "source": sources[name]} for name in sources}
    print(json.dumps(items, indent=2))

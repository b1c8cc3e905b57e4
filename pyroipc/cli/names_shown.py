"""How names and their URIs are printed: as a table, line by line, or as JSON.

What is in a name server was written by others. It is shown without control characters, so that it
cannot steer a terminal; JSON has everything as it is.
"""

from __future__ import annotations

import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

_HEADINGS = ("NAME", "URI", "METADATA")
_PROGRESS_SECONDS = 0.2


def print_anything() -> None:
    """Have characters that the terminal cannot show printed as escapes, and not as an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return a text without control characters."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def as_data(found: dict[str, Any]) -> dict[str, Any]:
    """Return names with their URIs and tags as plain data, in alphabetical order."""
    return {
        name: {"uri": str(uri), "metadata": sorted(tags)}
        for name, (uri, tags) in sorted(found.items())
    }


def print_json(data: object) -> None:
    """Print plain data as JSON."""
    import json

    print(json.dumps(data, indent=2), flush=True)


def print_table(found: dict[str, Any]) -> None:
    """Print names, URIs and tags in columns, in alphabetical order."""
    rows = [_HEADINGS] + [
        (printable(name), printable(str(uri)), _listed(tags))
        for name, (uri, tags) in sorted(found.items())
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, uri, tags in rows:
        print(f"{name:{widths[0]}}  {uri:{widths[1]}}  {tags}".rstrip())


def print_entry(name: str, uri: str, tags: Iterable[str], *, as_json: bool) -> None:
    """Print one entry: the URI in a line of its own, for scripts."""
    if as_json:
        print_json({"name": name, "uri": uri, "metadata": sorted(tags)})
        return
    print(printable(uri))
    if tags:
        print(f"metadata: {_listed(tags)}")


def print_changes(before: dict[str, Any], after: dict[str, Any], *, as_json: bool) -> None:
    """Print what has come (``+``), gone (``-``) and changed (``~``), a line for each name."""
    import json

    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            sign, (uri, tags) = "-", before[name]
        elif name not in before:
            sign, (uri, tags) = "+", after[name]
        else:
            sign, (uri, tags) = "~", after[name]
            if (str(uri), set(tags)) == (str(before[name][0]), set(before[name][1])):
                continue
        if as_json:
            change = {"change": sign, "name": name, "uri": str(uri), "metadata": sorted(tags)}
            print(json.dumps(change), flush=True)
        else:
            line = f"{sign} {printable(name)}  {printable(str(uri))}  {_listed(tags)}"
            print(line.rstrip(), flush=True)


def _listed(tags: Iterable[str]) -> str:
    return ", ".join(printable(tag) for tag in sorted(tags))


class Progress:
    """A line on the terminal that tells how far something is. Nothing, if there is no terminal.

    Args:
        verb: what is being done to the things.
        total: how many there are.
    """

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = total
        self._is_shown = sys.stderr.isatty()
        self._next = monotonic() + _PROGRESS_SECONDS  # what ends soon needs no progress
        self._has_line = False

    def show(self, number: int) -> None:
        """Say how many are done."""
        now = monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        self._has_line = True
        part = 100 * number // max(1, self._total)
        text = f"\r{self._verb} {number} of {self._total} ({part} %)"
        print(text, end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_line:
            print(file=sys.stderr)

"""What the pages of the documentation promise: programs, what they print, tables, bytes.

A comment before a code block says what it is. Blocks of one name on a page are one program, in the
order of the page::

    <!-- run NAME -->       a piece of the program NAME
    <!-- prints NAME -->    a piece of what it prints; "..." stands for any part of a line
    <!-- hex NAME -->       bytes in hexadecimal, each line up to two blanks
    <!-- frames NAME -->    the names of frames, one in each line, with a remark
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.support.snippets import ROOT

DOCS = ROOT / "docs"
_BLOCK = re.compile(
    r"<!-- (run|prints|hex|frames) ([\w-]+) -->\n+```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


class Program(NamedTuple):
    """A program that a page shows, and what it says that the program prints."""

    page: str
    name: str
    code: str
    output: str


def blocks(page: str, kind: str) -> dict[str, str]:
    """Return the marked blocks of a page, by name, those of one name joined."""
    found: dict[str, str] = {}
    for block in _BLOCK.finditer((DOCS / page).read_text("utf-8")):
        if block[1] == kind:
            found[block[2]] = found.get(block[2], "") + block[3]
    return found


def programs() -> list[Program]:
    """Return the programs of all pages."""
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    found = []
    for page in pages:
        outputs = blocks(page, "prints")
        for name, code in blocks(page, "run").items():
            lines = [x for x in outputs.pop(name, "").splitlines(True) if not x.startswith("$ ")]
            found.append(Program(page, name, code, "".join(lines)))
        assert not outputs, f"{page}: outputs of no program: {sorted(outputs)}"
    return found


def hex_bytes(page: str, name: str) -> bytes:
    """Return the bytes of a block in hexadecimal, whose lines end in a remark."""
    lines = blocks(page, "hex")[name].splitlines()
    return bytes.fromhex("".join(line.partition("  ")[0] for line in lines))


def table_after(page: str, mark: str) -> list[list[str]]:
    """Return the cells of the first table after ``<!-- mark -->``, without its head."""
    text = (DOCS / page).read_text("utf-8")
    _, found, rest = text.partition(f"<!-- {mark} -->\n")
    assert found, f"{page} has no mark {mark!r}"
    rows = []
    for line in rest.lstrip("\n").splitlines():
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        rows.append([cell.strip().replace("\\|", "|") for cell in cells])
    return rows[2:]


def code_of(cell: str) -> str:
    """Return the first piece of code in a cell of a table."""
    found = re.search(r"(`+)(.+?)\1", cell)
    assert found, f"no code in {cell!r}"
    return found[2]


def matches(text: str, pattern: str) -> bool:
    """Compare a text with a pattern in which ``...`` stands for any part of a line."""
    parts = [re.escape(part) for part in pattern.split("...")]
    return re.fullmatch(".*".join(parts), text) is not None

"""The command lines in the documentation are ones that the commands take."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex

import pytest

from pyroipc.cli import COMMANDS
from tests.support.pages import DOCS

_BLOCK = re.compile(r"^```(?:sh|ini|text|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^\$? ?|[ =/])pyroipc (?!\[)(\S.*)$", re.MULTILINE)


def documented():
    """Yield the page and the arguments of each command line in a block of a shell or of a unit."""
    for page in sorted(DOCS.rglob("*.md")):
        for block in _BLOCK.findall(page.read_text("utf-8").replace("\\\n", " ")):
            for line in _COMMAND.findall(block):
                words = shlex.split(line, comments=True)
                if words[0] in COMMANDS:
                    yield pytest.param(words, id=f"{page.relative_to(DOCS)}:{shlex.join(words)}")


LINES = list(documented())


def test_there_are_some():
    assert {line.values[0][0] for line in LINES} >= {"ns", "nsc", "doctor"}


@pytest.mark.parametrize("words", LINES)
def test_command_line(words):
    name, *arguments = words
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    parser.parse_args(arguments)

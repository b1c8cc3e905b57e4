"""Every example runs by itself, complains of nothing, and prints what its last comment says."""

from __future__ import annotations

import re

import pytest

from tests.support.snippets import ROOT, run_script

EXAMPLES = ROOT / "examples"
OUTPUT = re.compile(r"^# Output:\n((?:#(?:   .*)?\n)+)\Z", re.M)
FILES = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py"))
# Also for the programs that an example starts: they inherit it.
STRICT = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONUNBUFFERED": ""}


def text_of(name):
    return (EXAMPLES / name).read_text(encoding="utf-8")


def output_of(name):
    comment = OUTPUT.search(text_of(name))
    return comment and "".join(line[4:] + "\n" for line in comment[1].splitlines())


PROGRAMS = [name for name in FILES if output_of(name) is not None]
PARTS = [name for name in FILES if name not in PROGRAMS]


def test_there_are_examples():
    assert {"socketpair/fork.py", "spawn/calculator.py", "banks/run.py"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_example(name):
    assert run_script(EXAMPLES / name, environment=STRICT) == (0, output_of(name), "")


@pytest.mark.parametrize("name", PARTS)
def test_what_does_not_run_by_itself_is_used_by_a_program_beside_it(name):
    directory, _, file = name.rpartition("/")
    use = re.compile(rf'"{file}"|^import {file.removesuffix(".py")}$', re.M)
    programs = [other for other in PROGRAMS if other.rpartition("/")[0] == directory]
    assert any(use.search(text_of(program)) for program in programs), (
        f"examples/{name} does not end with a comment '# Output:' and what it prints, and no "
        "program beside it starts or imports it"
    )


@pytest.mark.parametrize("name", FILES)
def test_example_is_listed(name):
    directory, _, file = name.rpartition("/")
    pages = [EXAMPLES / "README.md", EXAMPLES / directory / "README.md"]
    assert any(page.exists() and file in page.read_text(encoding="utf-8") for page in pages)

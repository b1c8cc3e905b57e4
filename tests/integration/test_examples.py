"""Every example runs by itself, complains of nothing, and prints what its last comment says."""

from __future__ import annotations

import re

import pytest

from tests.support.snippets import ROOT, run_script

EXAMPLES = ROOT / "examples"
OUTPUT = re.compile(r"^# Output:\n((?:#(?:   .*)?\n)+)\Z", re.M)
NAMES = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py"))


def output_of(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    comment = OUTPUT.search(text)
    assert comment, f"examples/{name} does not end with a comment '# Output:' and what it prints"
    return "".join(line[4:] + "\n" for line in comment[1].splitlines())


def test_there_are_examples():
    assert {"socketpair/fork.py", "socketpair/threads.py", "spawn/calculator.py"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_example(name):
    expected = output_of(name)
    assert run_script(EXAMPLES / name) == (0, expected, "")


@pytest.mark.parametrize("name", NAMES)
def test_example_is_listed(name):
    directory, _, file = name.rpartition("/")
    pages = [EXAMPLES / "README.md", EXAMPLES / directory / "README.md"]
    assert any(page.exists() and file in page.read_text(encoding="utf-8") for page in pages)

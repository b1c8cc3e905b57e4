"""Samples of a user's code that mypy and pyright check: just the marked lines are reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.support.snippets import ROOT

SAMPLES = sorted((ROOT / "tests" / "typing").glob("*.py"))


def run(*command):
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=240
    ).stdout


def lines_of_mypy(path):
    output = run("mypy", "--strict", "--no-error-summary", "--no-color-output", str(path))
    return {int(found[1]) for found in re.finditer(rf"{path.name}:(\d+): error", output)}


def lines_of_pyright(path):
    report = json.loads(run("pyright", "--outputjson", str(path)))
    return {
        found["range"]["start"]["line"] + 1
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", [lines_of_mypy, lines_of_pyright])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_reported_lines(checker, path):
    marked = {
        number
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.endswith("# E")
    }
    assert checker(path) == marked

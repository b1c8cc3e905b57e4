"""The repository: what stands where, and that what is written twice is written alike."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib

import pytest

from tests.support.snippets import ROOT

TOP = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
    "examples",
    "pyproject.toml",
    "pyroipc",
    "tests",
}
LINES_OF_A_MODULE = 500


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def commands_of_readme(heading: str) -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text_of("README.md"), re.M | re.S)
    assert section, heading
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", section[1], re.M | re.S)
        for line in block.splitlines()
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: nothing says what is ours")
def test_top_of_the_repository():
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.partition("/")[0] for line in listing.stdout.splitlines()}
    assert names <= TOP


@pytest.mark.parametrize(
    ("heading", "ending"), [("Run it", "pyroipc demo"), ("Test it", "pytest -n auto")]
)
def test_readme_has_one_line_to_paste(heading, ending):
    (command,) = commands_of_readme(heading)
    assert command.startswith("python3 -m venv .venv && ")
    assert command.endswith(ending)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_ci_runs_what_the_readme_says(heading):
    shown = subprocess.run(
        ["bash", ".ci/run", "--show", heading],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == commands_of_readme(heading)


def test_floors_are_documented_as_they_are_checked():
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    floors = next(contract for contract in contracts if contract["name"].startswith("floors"))
    page = text_of("docs/project/architecture.md")
    documented = re.search(r"^<!-- floors.*?-->\n```text\n(.*?)^```$", page, re.M | re.S)
    assert documented
    assert documented[1].splitlines() == floors["layers"]


def test_modules_are_short():
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "pyroipc").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_OF_A_MODULE
    }
    assert not too_long


def test_the_front_door_is_for_users():
    """Names fetched through it would be invisible to the import contracts; modules are not."""
    allowed = {"__version__", *(path.stem for path in (ROOT / "pyroipc").iterdir())}
    fetched = {}
    for path in (ROOT / "pyroipc").rglob("*.py"):
        if path.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "pyroipc":
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names if alias.name == "pyroipc"}
            else:
                continue
            if names - allowed:
                fetched[str(path.relative_to(ROOT))] = names
    assert not fetched

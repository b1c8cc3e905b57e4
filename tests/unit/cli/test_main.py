"""The command: arguments, exit status, and what is printed where."""

from __future__ import annotations

import sys
import types

import pytest

import pyroipc
from pyroipc import cli
from tests.support.snippets import run_module


@pytest.fixture
def command(monkeypatch):
    """A subcommand ``probe`` whose ``run`` is given by the test."""
    module = types.ModuleType("probe_command")
    module.add_arguments = lambda parser: parser.add_argument("--fast", action="store_true")
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("probe_command", "probe something"))
    return module


def test_status_and_options_of_a_subcommand(command):
    command.run = lambda options: 7 if options.fast else 0
    assert cli.main(["probe"]) == 0
    assert cli.main(["probe", "--fast"]) == 7


def test_our_errors_are_printed(command, capsys):
    def run(_options):
        raise pyroipc.SecurityError("not for you")

    command.run = run
    assert cli.main(["probe"]) == 1
    captured = capsys.readouterr()
    assert captured == ("", "pyroipc probe: SecurityError: not for you\n")


def test_other_errors_are_not_hidden(command):
    def run(_options):
        raise ZeroDivisionError

    command.run = run
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_ctrl_c(command):
    def run(_options):
        raise KeyboardInterrupt

    command.run = run
    assert cli.main(["probe"]) == 130


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--nonsense"]])
def test_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: pyroipc" in capsys.readouterr().err


def test_help_lists_the_subcommands(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cli.COMMANDS)


def test_module_is_the_command():
    assert run_module("pyroipc", "--version") == (0, f"pyroipc {pyroipc.__version__}\n", "")

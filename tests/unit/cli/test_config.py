"""``pyroipc config``: what is printed, where it says a value is from, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest

from pyroipc import cli
from pyroipc.settings import Settings, config
from tests.support.pages import DOCS, matches
from tests.support.snippets import run_python

COMMAND = "import sys; from pyroipc.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(autouse=True)
def as_by_default():
    """Leave the settings of this process as they were."""
    config.reset(use_environment=False)
    yield
    config.reset()


def test_all_items_are_listed_with_their_sources(capsys):
    assert cli.main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" = ")[0] for line in lines] == list(config.as_dict())
    assert all(line.endswith("  default") for line in lines)
    assert len({line.rindex("  ") for line in lines}) == 1  # one column
    assert any(line.startswith("COMMTIMEOUT = 0.0 ") for line in lines)


def test_the_environment_and_what_it_changes():
    finished = run_python(
        COMMAND,
        "config",
        "--changed",
        environment={"PYRO_COMMTIMEOUT": "5", "PYRO_HMAC_KEY": "hush", "PYRO_MAX_RETRIES": "0"},
    )
    assert finished == (
        0,
        "HMAC_KEY = '***'   environment PYRO_HMAC_KEY\n"
        "COMMTIMEOUT = 5.0  environment PYRO_COMMTIMEOUT\n",
        "",
    )


def test_json(capsys):
    config.HMAC_KEY = "hush"
    config.NATHOST = "pyro.example.org"
    assert cli.main(["config", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == list(config.as_dict())
    assert printed["HMAC_KEY"] == {"value": "***", "source": "assigned"}
    assert printed["NATHOST"] == {"value": "pyro.example.org", "source": "assigned"}
    assert printed["BROADCAST_ADDRS"]["value"] == ["<broadcast>", "0.0.0.0"]
    assert printed["NS_BCHOST"] == {"value": None, "source": "default"}


def test_nothing_is_changed(capsys):
    assert cli.main(["config", "--changed"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["config", "--changed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_names(capsys):
    config.MAX_RETRIES = 3
    assert cli.main(["config", "MAX_RETRIES", "ssl"]) == 0
    assert capsys.readouterr().out == "MAX_RETRIES = 3  assigned\nSSL = False      default\n"
    assert cli.main(["config", "--changed", "MAX_RETRIES", "SSL"]) == 0
    assert capsys.readouterr().out == "MAX_RETRIES = 3  assigned\n"


def test_unknown_name(capsys):
    assert cli.main(["config", "SSL", "COMTIMEOUT"]) == 1
    assert capsys.readouterr() == (
        "",
        "pyroipc config: there is no setting 'COMTIMEOUT'; did you mean COMMTIMEOUT?\n",
    )
    assert cli.main(["config", "METADATA"]) == 1
    assert "a daemon always tells what it exposes" in capsys.readouterr().err


def test_a_bad_value_in_the_environment_is_an_error_that_is_printed():
    finished = run_python(COMMAND, "config", environment={"PYRO_COMMTIMEOUT": "soon"})
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("pyroipc config: PyroError: the environment variable PYRO_")
    assert "'soon' is not a number" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_the_how_to_shows_what_is_printed():
    page = (DOCS / "howto/settings.md").read_text("utf-8")
    shown = re.search(
        r"^```console\n\$ PYRO_(\w+)=(\S+) pyroipc ([^\n]*)\n(.*?)^```$", page, re.M | re.S
    )
    assert shown
    name, value, arguments, output = shown.groups()
    assert name in Settings.__annotations__
    finished = run_python(COMMAND, *arguments.split(), environment={f"PYRO_{name}": value})
    assert finished.returncode == 0
    assert matches(finished.stdout, output)

"""``pyroipc ns``: what it makes of its options. How it runs is in tests/integration."""

from __future__ import annotations

import pytest

from pyroipc import cli
from pyroipc.naming import launch
from pyroipc.settings import config


@pytest.fixture(autouse=True)
def as_by_default():
    """Leave the settings of this process as they were."""
    config.reset(use_environment=False)
    yield
    config.reset()


@pytest.fixture
def started(monkeypatch):
    """What a name server was started with: a list of arguments, and a dict of options."""
    calls = []
    monkeypatch.setattr(
        launch, "start_ns_loop", lambda *args, **options: calls.append((list(args), options))
    )
    return calls


def test_by_default_everything_is_as_the_settings_say(started):
    assert cli.main(["ns"]) == 0
    ((arguments, options),) = started
    assert arguments == [None, None, True, None, None, None, None, None, "memory"]
    assert options["settings"].as_dict() == config.as_dict()
    assert options["limits"].usual_ttl is None
    assert options["tls"] is None
    assert options["verbose"] is True


def test_options(started):
    arguments = "-n h -p 1 -x --bchost b --bcport 2 --nathost n --natport 3 -s sqlite:/x -q"
    assert cli.main(["ns", *arguments.split(), "--ttl", "60", "--autoclean", "5", "--dns-sd"]) == 0
    assert cli.main(["ns", "--unixsocket", "/tmp/ns.sock"]) == 0
    (arguments, options), (at_unix, _) = started
    assert arguments == ["h", 1, False, "b", 2, None, "n", 3, "sqlite:/x"]
    assert options["verbose"] is False
    assert options["limits"].usual_ttl == 60
    assert options["settings"].NS_AUTOCLEAN == 5
    assert options["settings"].NS_DNS_SD is True
    assert at_unix[5] == "/tmp/ns.sock"
    assert config.NS_AUTOCLEAN == 0  # the settings of this process are as they were


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--autoclean", "1"), "NS_AUTOCLEAN cannot be smaller than 3"),
        (("--autoclean", "-1"), "-1"),
        (("--ttl", "0"), "a ttl is from"),
        (("--storage", "nonsense:x"), "unknown storage 'nonsense:x'"),
        (("--storage", "sqlite:/nowhere/at/all.db"), "/nowhere/at/all.db"),
        (("--cert", "/nowhere/cert.pem"), "/nowhere/cert.pem"),
        (("-p", "99999"), "a port is a number"),
        (("-n", "192.0.2.123"), "this machine has no such address"),
        (("-u", "/nowhere/ns.sock"), "/nowhere"),
        (("-u", "/tmp/x.sock", "-p", "9999"), "host and port or at a unixsocket"),
        (("-n", "0.0.0.0", "-p", "0", "--bchost", "192.0.2.123"), "cannot listen for broadcasts"),
        (("-p", "0", "--dns-sd"), "cannot be announced by DNS-SD"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, text, capsys):
    assert cli.main(["ns", *arguments]) == 1
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1

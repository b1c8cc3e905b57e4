"""The command: what it makes of its options. How it serves is in tests/integration."""

from __future__ import annotations

import argparse

import pytest

from pyroipc import cli
from pyroipc.gateway import launch
from pyroipc.settings import config


@pytest.fixture(autouse=True)
def as_by_default(monkeypatch):
    """Leave the settings of this process as they were."""
    monkeypatch.delenv("PYRO_HTTPGATEWAY_KEY", raising=False)
    monkeypatch.delenv("PYRO_HMAC_KEY", raising=False)
    config.reset(use_environment=False)
    yield
    config.reset()


@pytest.fixture
def started(monkeypatch):
    """What was to be served: a list of gateways and servers."""
    calls = []

    class Server:
        def __init__(self, *args, **options):
            calls.append((args, options))

    monkeypatch.setattr(launch, "GatewayServer", Server)
    monkeypatch.setattr(launch, "serve", lambda *args, **options: calls.append((args, options)))
    return calls


def test_by_default(started, capsys):
    assert cli.main(["gateway"]) == 0
    ((gateway, host, port), options), (_, how) = started
    assert (host, port, options) == ("localhost", 8080, {"threads": 64})
    assert how == {"verbose": True}
    assert gateway.ns_regex == r"http\."
    assert gateway.gateway_key is None
    assert gateway.comm_timeout == 30
    assert gateway.cors == ""
    assert gateway.query_key is True
    assert gateway.tracebacks is False
    assert gateway.hosts == {"localhost", "127.0.0.1", "::1"}
    assert gateway._settings.as_dict() == config.as_dict()
    assert capsys.readouterr() == ("", "")


def test_options(started, capsys, monkeypatch):
    monkeypatch.setenv("PYRO_HTTPGATEWAY_KEY", "geheim")
    line = r"gateway -H 0.0.0.0 -p 1 -e test\. -t 0 -c https://a.example -n ns.lan --ns-port 7 -q"
    more = ["--no-query-key", "--tracebacks", "--threads", "3"]
    assert cli.main([*line.split(), *more]) == 0
    ((gateway, host, port), options), (_, how) = started
    assert (host, port, options) == ("0.0.0.0", 1, {"threads": 3})
    assert how == {"verbose": False}
    assert gateway.ns_regex == "test\\."
    assert gateway.gateway_key == "geheim"
    assert gateway.comm_timeout == 0
    assert gateway.cors == "https://a.example"
    assert gateway.query_key is False
    assert gateway.tracebacks is True
    assert gateway.hosts == frozenset()  # other machines know it under other names
    assert (gateway._settings.NS_HOST, gateway._settings.NS_PORT) == ("ns.lan", 7)
    assert gateway._settings.BROADCAST_ADDRS == []
    assert config.NS_HOST == "localhost"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        ("--allow-host shop.lan", {"localhost", "127.0.0.1", "::1", "shop.lan"}),
        ("-H 127.0.0.2", {"localhost", "127.0.0.1", "::1", "127.0.0.2"}),
        ("--allow-host *", set()),
        ("-H 10.0.0.1 --allow-host a --allow-host b",
         {"localhost", "127.0.0.1", "::1", "10.0.0.1", "a", "b"}),
    ],
)  # fmt: skip
def test_names_under_which_it_may_be_asked(started, arguments, hosts):
    assert cli.main(["gateway", *arguments.split()]) == 0
    assert started[0][0][0].hosts == hosts


def test_warnings(started, capsys):
    assert cli.main(["gateway", "-g", "geheim"]) == 0
    assert started[0][0][0].gateway_key == "geheim"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "use the environment variable PYRO_HTTPGATEWAY_KEY" in captured.err
    assert "geheim" not in captured.err
    assert cli.main(["gateway", "-H", "0.0.0.0"]) == 0
    assert "there is no gateway key: everybody may call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-e", "("), "is no regular expression"),
        (("-c", "nonsense"), "is no origin"),
        (("-t", "-1"), "comm_timeout cannot be -1"),
        (("-t", "inf"), "comm_timeout cannot be inf"),
        (("--threads", "0"), "at least 1"),
        (("--ns-port", "0"), "NS_PORT must be from 1"),
        (("-p", "99999"), "a port is a number from 0 to 65535"),
        (("-H", "192.0.2.123"), "cannot listen at 192.0.2.123, port 8080"),
        (("-H", "no.such.host.invalid"), "no.such.host.invalid"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, text, capsys):
    assert cli.main(["gateway", "-q", *arguments]) == 1
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("pyroipc gateway: ")


def test_a_key_in_two_places(monkeypatch, capsys):
    monkeypatch.setenv("PYRO_HTTPGATEWAY_KEY", "one")
    assert cli.main(["gateway", "-g", "two"]) == 1
    assert "use one of them" in capsys.readouterr().err


# ----------------------------------------------------------------------- commands of Pyro


def options_of(manner):
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser, manner=manner)
    return {name for action in parser._actions for name in action.option_strings}


def test_options_of_pyro():
    common = {"-h", "-H", "-p", "-e", "-g", "-t", "--host", "--port", "--expose", "--gatewaykey"}
    assert options_of("pyro4") >= common | {"-k", "--pyrokey", "--timeout"}
    assert options_of("pyro5") >= common | {"-c", "--cors", "--timeout"}
    assert "--pyrokey" not in options_of("pyro5") | options_of("pyroipc")


def test_commands_of_pyro(started, capsys, monkeypatch):
    assert launch.main(["-k", "of all", "-g", "of clients"], manner="pyro4") == 0
    assert launch.main([], manner="pyro5") == 0
    first, second = started[0][0][0], started[2][0][0]
    assert (first.hmac_key, first.gateway_key) == ("of all", "of clients")
    assert first.comm_timeout is None  # as the setting COMMTIMEOUT says
    assert (second.hmac_key, second.comm_timeout, second.cors) == (None, None, "")
    assert capsys.readouterr().err.count("can be seen by everybody") == 2
    monkeypatch.setenv("PYRO_HMAC_KEY", "x")
    assert launch.main(["-k", "y"], manner="pyro4") == 1
    assert "PYRO_HMAC_KEY" in capsys.readouterr().err


def test_errors_of_main(capsys):
    assert launch.main(["-p", "99999"]) == 1
    assert "DaemonError: a port is a number" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        launch.main(["--nonsense"])
    assert ended.value.code == 2


def test_ctrl_c(monkeypatch):
    def run(_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "run", run)
    assert launch.main([]) == 130

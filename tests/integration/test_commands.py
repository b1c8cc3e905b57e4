"""``pyroipc echo`` and ``pyroipc doctor`` as processes: what they print, and how they end."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
from pathlib import Path
from time import monotonic

import pytest

import pyroipc
from pyroipc.settings import Settings
from tests.support.certificates import Authority
from tests.support.commands import running
from tests.support.pages import DOCS, matches
from tests.support.snippets import run_python
from tests.support.waiting import wait_until

DOCTOR = "import sys; from pyroipc.cli import main; sys.exit(main(['doctor', *sys.argv[1:]]))"


@contextlib.contextmanager
def echo(*options, environment=None):
    """Run ``pyroipc echo``; yield the command and the URI that it prints."""
    with running("pyroipc", "echo", *options, environment=environment) as command:
        uri = command.read_until(r"^echo uri: (\S+)\n")[1]
        command.read_until(r"^echoserver running\.$")
        yield command, uri


def doctor(*arguments, environment=None):
    """Run ``pyroipc doctor --json``; return its report."""
    finished = run_python(DOCTOR, "--json", *arguments, environment=environment)
    assert finished.stderr == ""
    report = json.loads(finished.stdout)
    assert report["exit_status"] == finished.returncode
    return report


def facts(report, step):
    """Return the facts of the last finding of a step."""
    return [one["facts"] for one in report["steps"] if one["step"] == step][-1]


# ------------------------------------------------------------------------------------- echo


@pytest.mark.parametrize("servertype", ["thread", "multiplex"])
def test_echo_until_a_client_ends_it(servertype):
    with echo("--servertype", servertype) as (command, uri):
        assert uri.startswith("PYRO:test.echoserver@localhost:")
        with pyroipc.Proxy(uri) as proxy:
            assert proxy.echo("hello") == "hello"
            assert list(proxy.generator()) == ["one", "two", "three"]
            assert math.isnan(proxy.nan())
            proxy.shutdown()
            assert command.end() == 0
    assert command.printed.splitlines() == [
        "Starting Pyro's built-in test echo server.",
        "object name: test.echoserver",
        f"echo uri: {uri}",
        "echoserver running.",
    ]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_echo_until_a_signal(tmp_path, number, status):
    path = f"{tmp_path}/echo.sock"
    with echo("--unixsocket", path) as (command, uri):
        assert uri == f"PYRO:test.echoserver@./u:{path}"
        assert Path(path).is_socket()
        command.process.send_signal(number)
        assert command.end() == status
    assert not Path(path).exists()
    assert "Traceback" not in command.printed


def test_echo_says_what_it_is_asked():
    with echo("-v") as (command, uri), pyroipc.Proxy(uri) as proxy:
        proxy.echo("hello")
        command.read_until(r" - echo: 'hello'$")
        proxy.verbose = False
        proxy.echo("again")
        proxy.shutdown()
        command.end()
    assert "again" not in command.printed


def test_echo_behind_a_router():
    with echo("--nathost", "pyro.example.org", "--natport", "7777") as (command, uri):
        assert uri == "PYRO:test.echoserver@pyro.example.org:7777"
        command.read_until(r"^listening at: localhost:\d+$")


def test_quiet(tmp_path):
    path = f"{tmp_path}/echo.sock"
    with running("pyroipc", "echo", "-q", "-u", path) as command:
        settings = Settings(use_environment=False)
        with pyroipc.Proxy(f"PYRO:test.echoserver@./u:{path}", settings=settings) as proxy:

            def answers():
                with contextlib.suppress(pyroipc.ConnectError):
                    return proxy._pyroBind()

            wait_until(answers, "the echo server answers")
            proxy.shutdown()
        assert command.end() == 0
    assert command.printed == ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-u", "/tmp/x.sock", "-p", "9999"), "host and port or at a unixsocket"),
        (("--natport", "9999"), "must provide natport with nathost"),
        (("-H", "192.0.2.1"), "this machine has no such address"),
        (("--cert", "/nowhere/cert.pem"), "/nowhere/cert.pem"),
        (("-p", "99999"), "a port is a number"),
    ],
)
def test_echo_options_that_make_no_sense(options, text):
    with running("pyroipc", "echo", *options) as command:
        assert command.end() == 1
    assert text in command.printed
    assert len(command.printed.splitlines()) == 1


# ----------------------------------------------------------------------------------- doctor


def test_doctor_on_echo_with_everything(tmp_path):
    authority = Authority(tmp_path)
    server, client = authority.issue("localhost"), authority.issue("client.example")
    files = ("--cert", server.certificate, "--key", server.key, "--cacerts", authority.file)
    with echo(*files, environment={"PYRO_HMAC_KEY": "hush"}) as (command, uri):
        assert "Clients need the HMAC key." in command.printed
        right = {
            "PYRO_SSL": "1",
            "PYRO_SSL_CACERTS": authority.file,
            "PYRO_SSL_CLIENTCERT": client.certificate,
            "PYRO_SSL_CLIENTKEY": client.key,
            "PYRO_HMAC_KEY": "hush",
        }
        report = doctor(uri, environment=right)
        assert report["exit_status"] == 0
        assert facts(report, "tls")["certificate"]["names"] == ["localhost"]
        assert facts(report, "hmac") == {"used": True}
        assert "echo" in facts(report, "object")["methods"]
        assert facts(report, "object")["attributes"] == ["verbose"]
        for missing in right:
            if missing != "PYRO_SSL_CLIENTKEY":
                others = {name: value for name, value in right.items() if name != missing}
                if missing == "PYRO_SSL_CLIENTCERT":
                    del others["PYRO_SSL_CLIENTKEY"]
                assert doctor(uri, environment=others)["exit_status"] == 4, missing


@pytest.mark.parametrize(
    ("module", "dialect"),
    [("Pyro5.utils.echoserver", "pyro5"), ("Pyro4.test.echoserver", "pyro4")],
)
def test_doctor_talks_to_servers_of_pyro(module, dialect):
    with running(module) as command:
        uri = command.read_until(r"(PYRO:test\.echoserver@\S+:\d+)\s")[1]
        report = doctor(uri)
        assert report["exit_status"] == 0
        assert facts(report, "hello")["dialect"] == dialect
        assert "echo" in facts(report, "object")["methods"]
        refused = doctor(uri, environment={"PYRO_HMAC_KEY": "a key"})
    assert refused["exit_status"] == 4
    assert facts(refused, "protocol")["speaker"] == dialect


def test_doctor_on_a_stopped_process():
    with echo() as (command, uri):
        command.process.send_signal(signal.SIGSTOP)
        begin = monotonic()
        report = doctor("--timeout", "2", uri)
        assert monotonic() - begin < 5
    assert report["exit_status"] == 4
    assert facts(report, "protocol")["speaker"] == "silence"


def test_doctor_with_a_bad_environment():
    finished = run_python(DOCTOR, "PYRO:x@localhost:1", environment={"PYRO_COMMTIMEOUT": "soon"})
    assert (finished.returncode, finished.stdout) == (1, "")
    assert len(finished.stderr.splitlines()) == 1


def test_the_how_to_shows_what_is_printed():
    page = (DOCS / "howto/doctor.md").read_text("utf-8")
    shown = re.findall(r"^```console\n\$ pyroipc doctor (\S+)\n(.*?)^```$", page, re.M | re.S)
    assert len(shown) == 2
    with echo() as (_, uri):
        for shown_uri, output in shown:
            subject = uri if "9999" in shown_uri else "PYRO:test.echoserver@localhost:1"
            where, shown_where = subject.rpartition(":")[2], shown_uri.rpartition(":")[2]
            finished = run_python(DOCTOR, subject)
            assert finished.stderr == ""
            assert matches(finished.stdout, output.replace(shown_where, where)), finished.stdout

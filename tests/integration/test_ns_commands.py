"""``pyroipc ns`` and ``nsc``, and what else has to do with names, as processes."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import pyroipc
from pyroipc import cli
from pyroipc.cli import completion
from pyroipc.settings import Settings
from tests.support.certificates import Authority
from tests.support.commands import running
from tests.support.name_servers import directory
from tests.support.snippets import run_python

MAIN = "import sys; from pyroipc.cli import main; sys.exit(main(sys.argv[1:]))"
SOMEWHERE = "PYRO:x@192.0.2.1:9000"


@contextlib.contextmanager
def ns(*options, environment=None):
    """Run ``pyroipc ns``; yield the command and its URI."""
    with running("pyroipc", "ns", *options, environment=environment) as command:
        uri = command.read_until(r"^(?:internal )?URI = (\S+)\n")[1]
        yield command, uri


def nsc(at, *arguments, environment=None):
    """Run ``pyroipc nsc`` for the name server with a URI, or at the path of a unix socket."""
    if at.startswith("PYRO:"):
        host, _, port = at.partition("@")[2].rpartition(":")
        where = ("-n", host, "-p", port)
    else:
        where = ("-u", at)
    return run_python(MAIN, "nsc", *where, *arguments, environment=environment)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --------------------------------------------------------------------------------------- ns


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_name_server_until_a_signal(number, status):
    with directory() as path:
        socket_path = f"{path}/ns.sock"
        with ns("-u", socket_path) as (command, uri):
            assert uri == f"PYRO:Pyro.NameServer@./u:{socket_path}"
            assert nsc(socket_path, "ping").returncode == 0
            command.process.send_signal(number)
            assert command.end() == status
        assert not Path(socket_path).exists()
    assert "Traceback" not in command.printed
    assert command.printed.splitlines()[:2] == [
        "Not starting broadcast server: only this machine, or only IPv6, can connect.",
        f"NS running on ./u:{socket_path}",
    ]
    assert (command.printed.splitlines()[-1] == "NS shut down.") == (status == 0)


def test_names_outlive_the_name_server(tmp_path):
    options = ("-p", "0", "-s", f"sqlite:{tmp_path}/names.db")
    with ns(*options) as (command, uri):
        assert nsc(uri, "register", "x", SOMEWHERE, "tag").returncode == 0
        command.process.kill()
        command.end()
    with ns(*options) as (command, uri):
        assert "Persistent store contains 1 existing registrations." in command.printed
        assert nsc(uri, "lookup", "x").stdout == f"{SOMEWHERE}\nmetadata: tag\n"


def test_names_without_a_lease_get_the_usual_one():
    with ns("-p", "0", "--ttl", "3600") as (_, uri):
        nsc(uri, "register", "x", SOMEWHERE)
        with pyroipc.Proxy(uri, settings=Settings(use_environment=False)) as proxy:
            assert proxy.renew({"x": SOMEWHERE}, 60) == {}


def test_broadcasts_and_nat():
    port = str(free_port())
    options = ("-n", "0.0.0.0", "-p", "0", "--bchost", "127.0.0.1", "--bcport", port)
    nat = ("--nathost", "pyro.example.org", "--natport", "7777")
    with ns(*options, *nat) as (command, uri):
        command.read_until(r"^external URI = PYRO:Pyro\.NameServer@pyro\.example\.org:7777\n")
        assert f"Broadcast server running on 127.0.0.1:{port}\n" in command.printed
        settings = Settings(use_environment=False)
        settings.NS_PORT, settings.NS_BCPORT, settings.BROADCAST_ADDRS = (
            1,
            int(port),
            ["127.0.0.1"],
        )
        with pyroipc.locate_ns(settings=settings) as found:
            assert found._pyroUri == pyroipc.URI(
                f"PYRO:Pyro.NameServer@127.0.0.1:{uri.rpartition(':')[2]}"
            )


def test_key_and_certificates(tmp_path):
    authority = Authority(tmp_path)
    server, client = authority.issue("localhost"), authority.issue("client.example")
    files = ("--cert", server.certificate, "--key", server.key, "--cacerts", authority.file)
    with ns("-p", "0", *files, environment={"PYRO_HMAC_KEY": "hush"}) as (_, uri):
        right = {
            "PYRO_SSL": "1",
            "PYRO_SSL_CACERTS": authority.file,
            "PYRO_SSL_CLIENTCERT": client.certificate,
            "PYRO_SSL_CLIENTKEY": client.key,
            "PYRO_HMAC_KEY": "hush",
        }
        assert nsc(uri, "ping", environment=right).returncode == 0
        for missing in ("PYRO_SSL", "PYRO_HMAC_KEY"):
            others = {name: value for name, value in right.items() if name != missing}
            finished = nsc(uri, "ping", "--answer-within", "3", environment=others)
            assert (finished.returncode, finished.stdout) == (3, "")
            assert len(finished.stderr.splitlines()) == 1


# -------------------------------------------------------------------------------------- nsc


def test_watch_across_a_restart(tmp_path):
    port = str(free_port())
    options = ("-n", "127.0.0.1", "-p", port, "-s", f"sqlite:{tmp_path}/names.db")
    where = ("-n", "127.0.0.1", "-p", port)
    with ns(*options) as (server, uri):
        nsc(uri, "register", "a.one", SOMEWHERE)
        nsc(uri, "register", "b", SOMEWHERE)
        with running("pyroipc", "nsc", *where, "watch", "a.", "--interval", "0.05") as watch:
            watch.read_until(rf"^\+ a\.one  {SOMEWHERE}$")
            nsc(uri, "register", "a.two", SOMEWHERE, "tag")
            watch.read_until(rf"^\+ a\.two  {SOMEWHERE}  tag$")
            nsc(uri, "setmeta", "a.one", "new")
            watch.read_until(rf"^~ a\.one  {SOMEWHERE}  new$")
            server.process.kill()
            watch.read_until(r"^pyroipc nsc: ")
            with ns(*options):
                watch.read_until(r"^pyroipc nsc: the name server answers again$")
                nsc(uri, "remove", "a.two")
                watch.read_until(rf"^- a\.two  {SOMEWHERE}  tag$")
                watch.process.send_signal(signal.SIGINT)
                assert watch.end() == 130
    assert "Traceback" not in watch.printed
    assert watch.printed.count("+ a.one") == 1


def test_wait_for_a_name_and_for_the_name_server():
    port = str(free_port())
    where = ("-n", "127.0.0.1", "-p", port)
    with running("pyroipc", "nsc", *where, "wait", "x", "--timeout", "15") as waiting:
        waiting.read_until(r"^pyroipc nsc: no name server yet: ")
        with ns(*where) as (_, uri):
            assert nsc(uri, "register", "x", SOMEWHERE).returncode == 0
            waiting.read_until(rf"^{SOMEWHERE}$")
            assert waiting.end() == 0


def test_a_name_server_that_says_nothing():
    with ns("-n", "127.0.0.1", "-p", "0") as (command, uri):
        command.process.send_signal(signal.SIGSTOP)
        finished = nsc(uri, "list", "--answer-within", "0.3")
    assert (finished.returncode, finished.stdout) == (3, "")
    assert len(finished.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough():
    with ns("-n", "127.0.0.1", "-p", "0") as (_, uri):
        with pyroipc.Proxy(uri, settings=Settings(use_environment=False)) as proxy:
            for number in range(3000):  # more than a pipe holds
                proxy.register(f"{number}.{'x' * 60}", SOMEWHERE)
        host, _, port = uri.partition("@")[2].rpartition(":")
        with running("pyroipc", "nsc", "-n", host, "-p", port, "list") as command:
            command.read_until(r"^NAME ")
            command.process.stdout.close()
            assert command.process.wait(15) == 1
    assert "Traceback" not in command.printed


def test_characters_that_a_terminal_does_not_have():
    with ns("-n", "127.0.0.1", "-p", "0") as (_, uri):
        nsc(uri, "register", "sn\N{SNOWMAN}w", SOMEWHERE)
        finished = nsc(uri, "list", "sn", environment={"PYTHONIOENCODING": "ascii"})
    assert finished.returncode == 0
    assert "sn\\u2603w" in finished.stdout


# -------------------------------------------------------------------- echo, doctor, completion


def test_echo_with_a_name_server_of_its_own():
    port = str(free_port())
    environment = {"PYRO_NS_PORT": port, "PYRO_NS_BCPORT": str(free_port())}
    with running("pyroipc", "echo", "-N", environment=environment) as command:
        command.read_until(r"^echoserver running\.$")
        assert "name: PYRONAME:test.echoserver\n" in command.printed
        settings = Settings(use_environment=False)
        settings.NS_PORT = int(port)
        with pyroipc.Proxy("PYRONAME:test.echoserver", settings=settings) as proxy:
            assert proxy.echo("hello") == "hello"
            proxy.shutdown()
        assert command.end() == 0
    _forget()


def test_echo_is_registered_while_it_runs():
    with ns("-n", "127.0.0.1", "-p", "0") as (_, uri):
        host, _, port = uri.partition("@")[2].rpartition(":")
        where = {"PYRO_NS_HOST": host, "PYRO_NS_PORT": port}
        with running("pyroipc", "echo", "-n", environment=where) as command:
            command.read_until(r"^echoserver running\.$")
            name = "PYRONAME:test.echoserver"
            report = doctor(name, environment=where)
            assert report["exit_status"] == 0
            command.process.send_signal(signal.SIGTERM)
            assert command.end() == 0
        assert nsc(uri, "lookup", "test.echoserver").returncode == 1
        assert doctor(name, environment=where)["exit_status"] == 3


def test_echo_without_a_name_server():
    with running("pyroipc", "echo", "-n", environment=_nowhere()) as command:
        assert command.end() == 1
    assert "NamingError: failed to locate the name server" in command.printed
    assert len(command.printed.splitlines()) == 1


def _nowhere(broadcast=""):
    """Return an environment in which no name server is found; broadcasts take two seconds."""
    return {
        "PYRO_NS_PORT": "1",
        "PYRO_NS_BCPORT": str(free_port()),
        "PYRO_BROADCAST_ADDRS": broadcast,
    }


def _forget():
    from pyroipc.client.resolve import forget_name_servers

    forget_name_servers()


def doctor(*arguments, environment):
    finished = run_python(MAIN, "doctor", "--json", *arguments, environment=environment)
    assert finished.stderr == ""
    report = json.loads(finished.stdout)
    assert report["exit_status"] == finished.returncode
    return report


def by_name(report):
    return {
        step["facts"]["name"]: step
        for step in report["steps"]
        if step["step"] == "name" and "name" in step["facts"]
    }


def statuses(report, step):
    return [one["status"] for one in report["steps"] if one["step"] == step]


def test_doctor_without_a_uri():
    with (
        directory() as path,
        ns("-n", "127.0.0.1", "-p", "0") as (_, uri),
        running("pyroipc", "echo", "-u", f"{path}/echo.sock") as echo,
    ):
        alive = echo.read_until(r"^echo uri: (\S+)\n")[1]
        host, _, port = uri.partition("@")[2].rpartition(":")
        where = {**_nowhere(), "PYRO_NS_HOST": host, "PYRO_NS_PORT": port}
        report = doctor(environment=where)
        assert (report["exit_status"], report["uri"]) == (0, None)
        assert by_name(report) == {}
        assert statuses(report, "name server") == ["ok"]
        assert statuses(report, "broadcast") == ["ok"]  # it says that none was made
        assert {"host", "interfaces", "names"} <= {step["step"] for step in report["steps"]}
        for name, target in {
            "alive": alive,
            "alias": "PYRONAME:alive",
            "dead": f"PYRO:x@127.0.0.1:{free_port()}",
            "gone": f"PYRO:x@./u:{path}/none.sock",
            "lost": "PYRONAME:nobody",
            "strange": alive.replace("test.echoserver", "nothing"),
        }.items():
            assert nsc(uri, "register", name, target).returncode == 0
        report = doctor(environment=where)
        assert report["exit_status"] == 5
        found = by_name(report)
        assert {name: step["status"] for name, step in found.items()} == {
            "alive": "ok", "alias": "ok",
            "dead": "failed", "gone": "failed", "lost": "failed", "strange": "failed",
        }  # fmt: skip
        assert "refused the connection" in found["dead"]["text"]
        assert "there is no file" in found["gone"]["text"]
        assert "unknown name: nobody" in found["lost"]["text"]
        assert "no object 'nothing'" in found["strange"]["text"]


def test_doctor_without_a_name_server():
    report = doctor(environment=_nowhere("127.0.0.1"))
    assert report["exit_status"] == 3
    assert statuses(report, "name server") == ["warning", "failed"]
    assert statuses(report, "broadcast") == ["warning"]


def test_doctor_hears_who_answers_broadcasts():
    port = str(free_port())
    options = ("-n", "0.0.0.0", "-p", "0", "--bchost", "127.0.0.1", "--bcport", port)
    with ns(*options) as (_, uri):
        where = {**_nowhere("127.0.0.1"), "PYRO_NS_BCPORT": port}
        nsc("PYRO:x@127.0.0.1:" + uri.rpartition(":")[2], "register", "x", "PYRO:x@localhost:1")
        report = doctor("--timeout", "4", environment=where)
    assert report["exit_status"] == 5
    assert statuses(report, "name server") == ["warning"]
    # A question that leaves by another interface gets another address for an answer.
    assert set(statuses(report, "broadcast")) == {"ok"}
    assert by_name(report)["x"]["status"] == "failed"


def test_doctor_where_somebody_else_is():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        where = {**_nowhere(), "PYRO_NS_HOST": "127.0.0.1", "PYRO_NS_PORT": port}
        report = doctor("--timeout", "3", environment=where)
    assert report["exit_status"] == 4
    assert statuses(report, "protocol") == ["failed"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_scripts(shell, tmp_path):
    finished = run_python(MAIN, "completion", shell)
    assert (finished.returncode, finished.stderr) == (0, "")
    for word in ("nsc", "removematching", "--no-broadcast", "zsh"):
        assert word.lstrip("-") in finished.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(finished.stdout)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("n",), {"ns", "nsc"}),
        (("ns", "--st"), {"--storage"}),
        (("nsc", "yp"), {"yplookup_all", "yplookup_any"}),
        (("nsc", "-n", "somewhere", "wait", "--t"), {"--timeout"}),
        (("completion", "z"), {"zsh"}),
        (("zz",), set()),
    ],
)
def test_completion_in_bash(tmp_path, typed, offered):
    script = tmp_path / "script"
    script.write_text("\n".join(completion._bash(completion.tree_of(cli.full_parser()))))
    shown = subprocess.run(
        ["bash", "-c", f'. {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pyroipc; '
         'printf "%s\\n" "${COMPREPLY[@]}"', "bash", "pyroipc", *typed],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    assert set(shown.stdout.split()) == offered


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_completion_in_fish(tmp_path):
    script = tmp_path / "script"
    script.write_text("\n".join(completion._fish(completion.tree_of(cli.full_parser()))))
    for typed, offered in (("nsc yp", {"yplookup_all", "yplookup_any"}), ("n", {"ns", "nsc"})):
        shown = subprocess.run(
            ["fish", "-c", f"source {script}; complete -C 'pyroipc {typed}'"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert {line.split("\t")[0] for line in shown.stdout.splitlines()} == offered

"""The commands of Pyro4 on pyroipc: what they print is what the released ones print."""

from __future__ import annotations

import json
import re
import signal

import pytest

from pyroipc.compat.sockets import find_probably_unused_port
from tests.support.pyro_programs import PYROIPC, running
from tests.support.snippets import run_module, run_python

BOTH = [PYROIPC, "Pyro4"]


def printed(on, *arguments, stop=None, environment=None):
    """Run a command, to its end or until it has printed something; return status and lines.

    Ours is then sent Ctrl-C, which it takes as soon as it has printed its last line. Those of
    Pyro4 may not be ready for that, and are killed.
    """
    with running(on, "Pyro4", "-m", *arguments, environment=environment) as command:
        if stop is None:
            status = command.end()
        elif on == PYROIPC:
            command.read_until(stop)
            command.process.send_signal(signal.SIGINT)
            status = command.end()
        else:
            command.read_until(stop)
            status = 0
    return status, command.printed.splitlines()


def plain(lines):
    """Return lines without what is another one each time."""
    return [re.sub(r"(localhost|127\.0\.0\.1|\]|0\.0\.0\.0):\d+", r"\1:N", line) for line in lines]


def same_of_both(*arguments, stop, environment=None):
    """Run a command on both until it has printed something; what they print is the same."""
    own, real = (printed(on, *arguments, stop=stop, environment=environment) for on in BOTH)
    assert own[0] == 0
    shown = plain(own[1])
    assert shown[: len(real[1])] == plain(real[1])
    return shown


# --- the name server ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("-x",),
        (),
        ("-n", "127.0.0.1"),
        ("-n", "::1"),
        ("--nathost", "outside", "--natport", "5"),
        ("-s", "memory"),
    ],
)
def test_the_name_server_tells_where_it_is(options):
    lines = same_of_both("Pyro4.naming", "-p", "0", *options, stop=r"URI = .*\n(ext.*\n)?")
    assert lines[-1] == "NS shut down."


def test_the_name_server_at_a_unix_socket(tmp_path):
    options = ("-u", tmp_path / "s")
    assert same_of_both("Pyro4.naming", *options, stop="URI = .*\n")[-1] == "NS shut down."


def test_the_name_server_answers_broadcasts():
    """Of an address of all interfaces pyroipc publishes one that others can connect to."""
    options = ("-n", "0.0.0.0", "-p", "0", "--bchost", "127.0.0.1", "--bcport", "0")
    status, lines = printed(PYROIPC, "Pyro4.naming", *options, stop="URI = .*\n")
    assert status == 0
    assert plain(lines)[1:4] == [  # behind what the log says
        "Broadcast server running on 127.0.0.1:N",
        "NS running on 0.0.0.0:N (0.0.0.0)",
        "Warning: HMAC key not set. Anyone can connect to this server!",
    ]
    assert "0.0.0.0" not in lines[4]


def test_a_key_on_the_command_line_is_warned_of_and_taken():
    with running("Pyro4", "Pyro4", "-m", "Pyro4.naming", "-p", "0", "-k", "secret") as real:
        real.read_until("URI = ")
    shown = run_python(
        """
        from pyroipc.compat.pyro4 import naming
        naming.startNSloop = lambda *arguments: print(arguments[-1])
        naming.main(["-p", "0", "-k", "secret"])
        """,
        options=(),
    )
    assert shown.stdout == "secret\n"
    assert "FutureWarning: giving the HMAC key with -k is deprecated" in shown.stderr
    assert "PYRO_HMAC_KEY" in shown.stderr
    assert "HMAC key not set" not in real.printed


@pytest.mark.parametrize("command", ["naming", "nsc", "test.echoserver", "utils.flameserver"])
def test_a_key_is_given_once(command):
    options = ("-k", "one", *(("ping",) if command == "nsc" else ()))
    environment = {"PYRO_HMAC_KEY": "two", "PYTHONWARNINGS": "ignore"}
    found = run_python(
        f"""
        import sys
        from pyroipc.compat.pyro4 import {command}
        {command}.main({list(options)!r})
        """
        if "." not in command
        else f"""
        from importlib import import_module
        import_module("pyroipc.compat.pyro4.{command}").main({list(options)!r})
        """,
        options=(),
        environment=environment,
    )
    assert found.returncode == 1
    assert "error: don't use -k and PYRO_HMAC_KEY at the same time" in found.stderr


# --- nsc ---------------------------------------------------------------------------------------


@pytest.fixture
def name_servers():
    command = ("Pyro4", "-m", "Pyro4.naming", "-p", "0", "-x")
    with running(PYROIPC, *command) as own, running("Pyro4", *command) as real:
        yield {
            on: started.read_until(r"^URI = .*:(\d+)\n")[1]
            for on, started in ((PYROIPC, own), ("Pyro4", real))
        }


def asked(on, port, *arguments):
    command = ("pyroipc.compat.pyro4.nsc",) if on == PYROIPC else ("Pyro4.nsc",)
    options = () if on == PYROIPC else ("-W", "ignore")
    finished = run_module(*command, "-n", "localhost", "-p", port, *arguments, options=options)
    return finished.returncode, finished.stdout


TALK = [
    ("ping",),
    ("register", "a.one", "PYRO:one@h:1"),
    ("register", "b", "PYRO:b@h:1"),
    ("setmeta", "a.one", "tag"),
    ("lookup", "a.one"),
    ("lookup", "b"),
    ("list", "a"),
    ("listmatching", "a.*"),
    ("listmeta_all", "tag"),
    ("listmeta_any", "tag", "other"),
    ("setmeta", "a.one"),
    ("remove", "b"),
    ("remove", "b"),
    ("remove", "Pyro.NameServer"),
    ("register", "a.one"),
    ("lookup",),
    ("listmeta_all",),
    ("-v", "list", "a"),
]


def conversation(on, port):
    """Return what nsc prints, and how it ends, for each of the commands of TALK."""
    found = run_python(
        f"""
        import json, sys
        if {on == PYROIPC}:
            from pyroipc.compat import install_as
            install_as("Pyro4")
        from contextlib import redirect_stdout
        from io import StringIO
        from Pyro4 import nsc
        for words in {TALK!r}:
            printed = StringIO()
            with redirect_stdout(printed):
                try:
                    status = nsc.main(["-n", "localhost", "-p", "{port}", *words])
                except SystemExit as end:
                    status = end.code
            print(json.dumps([words, status, printed.getvalue()]))
        """,
        options=("-W", "ignore"),
    )
    assert found.returncode == 0, found.stderr
    talk = [json.loads(line) for line in found.stdout.splitlines()]
    return [(words, status or 0, plain(text.splitlines())) for words, status, text in talk]


def test_nsc_talks_as_it_did(name_servers):
    own, real = (conversation(on, name_servers[on]) for on in BOTH)
    assert own == real
    assert len(own) == len(TALK)


def test_nsc_tells_by_its_status_what_went_wrong(name_servers):
    """Pyro4's is 0 then."""
    own = asked(PYROIPC, name_servers[PYROIPC], "lookup", "nobody")
    assert own == (1, "Error: NamingError - unknown name: nobody\n")
    assert own[1] == asked("Pyro4", name_servers["Pyro4"], "lookup", "nobody")[1]
    status, text = asked(PYROIPC, "1", "ping")
    assert status == 1
    assert text.startswith("Error: Failed to locate the nameserver")
    assert asked(PYROIPC, "1", "no such command")[0] == 2


# --- the others ----------------------------------------------------------------------------------


def test_the_settings_are_printed():
    own, real = (printed(on, "Pyro4.configuration")[1] for on in BOTH)
    names = [line.partition(" = ")[0] for line in own[5:]]
    assert names == [line.partition(" = ")[0] for line in real[5:]]
    assert own[0] == real[0]
    assert own[2:5] == real[2:5]
    different = {
        line.partition(" = ")[0]: line.partition(" = ")[2]
        for line, other in zip(own[5:], real[5:], strict=True)
        if line != other and not line.startswith("SERIALIZERS_ACCEPTED")
    }
    assert different == {  # as docs/howto/run-pyro4-programs.md says
        "MAX_MESSAGE_SIZE": "1073741824",
        "PREFER_IP_VERSION": "0",
        "SOCK_NODELAY": "True",
        "THREADPOOL_SIZE": "80",
    }


@pytest.mark.parametrize(
    "options", [(), ("-v",), ("-v", "-q"), ("-N",), ("-N", "-v"), ("-n", "-v")]
)
def test_the_echo_server_tells_where_it_is(options, name_servers):
    shown = []
    for on in BOTH:
        port = str(find_probably_unused_port()) if "-N" in options else name_servers[on]
        status, lines = printed(
            on,
            "Pyro4.test.echoserver",
            *options,
            stop=r"echoserver running\.\n",
            environment={"PYRO_NS_PORT": port},
        )
        assert status == 0
        shown.append(plain(lines))
    assert shown[0] == shown[1]


def test_the_quiet_echo_server_says_nothing_and_is_ended_by_a_client():
    found = run_python(
        """
        import threading
        from pyroipc.compat import install_as
        install_as("Pyro4")
        import Pyro4
        from Pyro4.test import echoserver
        daemon, echo, uri = echoserver.main(["-q"], returnWithoutLooping=True)
        loop = threading.Thread(
            target=daemon.requestLoop, args=(lambda: not echo._must_shutdown,)
        )
        loop.start()
        with Pyro4.Proxy(uri) as proxy:
            print(proxy.echo("hello"), list(proxy.generator()), proxy.__dunder__())
            proxy.verbose = True
            proxy.shutdown()
        loop.join()
        daemon.close()
        """
    )
    lines = found.stdout.splitlines()
    assert lines[0] == "hello ['one', 'two', 'three'] should be allowed (dunder)", found
    assert lines[1].endswith(" - shutting down")
    assert len(lines) == 2


def test_the_flame_server_over_a_unix_socket(tmp_path):
    own = {"PYRO_FLAME_ENABLED": "true"}
    real = {**own, "PYRO_SERIALIZERS_ACCEPTED": "pickle"}
    lines = [
        printed(
            on,
            "Pyro4.utils.flameserver",
            "-u",
            tmp_path / on,
            stop="running\\.\n",
            environment=given,
        )
        for on, given in ((PYROIPC, own), ("Pyro4", real))
    ]
    shown = [
        [line.replace(str(tmp_path / on), "PATH") for line in text]
        for on, (_, text) in zip(BOTH, lines, strict=True)
    ]
    assert shown[0] == shown[1]
    assert shown[0][2] == "server uri: PYRO:Pyro.Flame@./u:PATH"


def test_the_gateway_tells_where_it_is():
    command = (PYROIPC, "Pyro4", "-m", "Pyro4.utils.httpgateway", "-p", "0")
    with running(*command, environment={"PYRO_BROADCAST_ADDRS": ""}) as gateway:
        gateway.read_until(r"Pyro HTTP gateway running on http://127\.0\.0\.1:\d+/pyro/\n")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0
    assert gateway.printed.startswith("Exposing objects with names matching:  http\\.\n")


def test_the_gateway_is_a_wsgi_application_with_attributes():
    from pyroipc.compat.pyro4.utils import httpgateway

    app = httpgateway.pyro_app
    assert app.ns_regex == r"http\."
    assert not app.gateway_key
    started = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/elsewhere", "QUERY_STRING": ""}
    body = b"".join(app(environ, lambda status, headers: started.append(status)))
    assert started[0].startswith("404")
    assert b"Not Found" in body

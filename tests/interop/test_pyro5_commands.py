"""The tools of Pyro5 print on pyroipc what they print in the released package."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
import urllib.request

import pytest

from tests.support.commands import running
from tests.support.pyro_programs import PYROIPC, output_of
from tests.support.snippets import ROOT, run_module

PROGRAM = ROOT / "tests" / "interop" / "pyro5_programs" / "commands.py"


def printed(on, directory):
    (directory / on).mkdir()
    lines = output_of(on, "Pyro5", PROGRAM, directory / on)
    return [alike(line).replace(str(directory / on), "DIRECTORY") for line in lines]


def alike(line):
    """Take out of a line what is another each time, or what is about the error of another."""
    line = re.sub(r"(localhost|\d|\]):\d{4,5}\b", r"\1:PORT", line)
    line = re.sub(r"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} - ", "DATE - ", line)
    line = re.sub(r"^Error: (\w+) - .*", r"Error: \1", line)
    line = re.sub(r"^NS_PORT = \d+", "NS_PORT = PORT", line)
    line = re.sub(r"^Loaded from: .*", "Loaded from: SOMEWHERE", line)
    line = re.sub(r"\{'class:.*\}", "{TAGS}", line)
    return line


def test_the_tools_print_what_they_always_did(tmp_path):
    real, ours = printed("Pyro5", tmp_path), printed(PYROIPC, tmp_path)
    assert real.index("Currently active global configuration settings:") > 100
    differing = [pair for pair in zip(real, ours, strict=True) if pair[0] != pair[1]]
    assert differing == [
        ("Error: PyroError", "Error: NamingError"),  # which is one: a URI that is none
        ("LOGFILE = pyro5.log", "LOGFILE = {stderr}"),
        ("SOCK_NODELAY = False", "SOCK_NODELAY = True"),
    ]


# --- as programs of their own ------------------------------------------------------------------


def test_a_name_server_and_who_asks_it():
    with running("pyroipc.compat.pyro5.nameserver", "-p", "0", "-x") as names:
        port = names.read_until(r"^URI = PYRO:Pyro.NameServer@localhost:(\d+)\n")[1]
        ask = ("pyroipc.compat.pyro5.nsc", "-n", "localhost", "-p", port)
        assert run_module(*ask, "ping") == (0, "Name server ping ok.\n", "")
        assert run_module(*ask, "register", "shop", "PYRO:a@b:1") == (0, "Registered shop\n", "")
        refused = run_module(*ask, "lookup", "unknown")
        assert refused == (1, "Error: NamingError - unknown name: unknown\n", "")
        os.kill(names.process.pid, signal.SIGINT)
        assert names.end() == 0
    assert names.printed.endswith("\nNS shut down.\n")


def test_no_name_server_is_a_failure():
    """Pyro5 prints the same, and ends with 0, so that no script can tell."""
    finished = run_module("pyroipc.compat.pyro5.nsc", "-n", "localhost", "-p", "1", "-v", "ping")
    assert finished.returncode == 1
    assert finished.stdout.startswith(
        "Locating name server...\nError: failed to locate the name server"
    )
    assert finished.stderr == ""


@pytest.mark.parametrize("module", ["nameserver", "nsc", "utils.echoserver"])
def test_the_options_are_those_of_pyro5(module):
    def options(name, flags):
        finished = run_module(name, "--help", options=flags)
        assert (finished.returncode, finished.stderr) == (0, "")
        text = " ".join(finished.stdout.split())
        _, _, rest = text.partition("[-h]")
        return rest

    real = options(f"Pyro5.{module}", ("-W", "ignore"))
    assert options(f"pyroipc.compat.pyro5.{module}", ("-W", "error")) == real


def test_the_gateway():
    with running("pyroipc.compat.pyro5.nameserver", "-p", "0", "-x") as names:
        port = names.read_until(r"^URI = PYRO:Pyro.NameServer@localhost:(\d+)\n")[1]
        around = {"PYRO_NS_PORT": port}
        echo = ("pyroipc.compat.pyro5.utils.echoserver", "-n")
        gateway = ("pyroipc.compat.pyro5.utils.httpgateway", "-p", "0", "-e", "", "-c", "*")
        with (
            running(*echo, environment=around) as echoing,
            running(*gateway, environment=around) as http,
        ):
            echoing.read_until(r"^echoserver running\.\n")
            url = http.read_until(r"^Pyro HTTP gateway running on (\S+)\n")[1]
            assert "Warning: exposing all objects (no expose regex set)\n" in http.printed

            def text_at(path):
                with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:
                    return json.load(answer)

            assert text_at("test.echoserver/echo?message=hello") == "hello"
            os.kill(http.process.pid, signal.SIGINT)
            assert http.end() == 130  # as a shell says that Ctrl-C has ended it


def test_the_configuration():
    finished = run_module("pyroipc.compat.pyro5.configure")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("Pyro version: 5.17\nLoaded from: ")


def test_the_echo_server(tmp_path):
    path = str(tmp_path / "echo")
    with running("pyroipc.compat.pyro5.utils.echoserver", "-u", path, "-v") as server:
        uri = server.read_until(r"^echo uri: (\S+)\n")[1]
        assert uri == f"PYRO:test.echoserver@./u:{path}"
        server.read_until(r"^echoserver running\.\n")
        code = """
            import sys
            import Pyro5.api
            with Pyro5.api.Proxy(sys.argv[1]) as echo:
                print(echo.echo([1]), list(echo.generator()), echo.nan(), echo.__dunder__())
                echo.oneway_echo("x")
                echo.verbose = False
                for method in (echo.error, echo.error_with_text):
                    try:
                        method()
                    except ValueError as error:
                        print(error)
                print(hasattr(echo, "_private"), echo.inf())
                echo.shutdown()
        """
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(code))
        assert output_of(PYROIPC, "Pyro5", program, uri) == [
            "[1] ['one', 'two', 'three'] nan should be allowed (dunder)",
            "this is the generated error from echoserver echo() method",
            "the message of the error",
            "False inf",
        ]
        assert server.end() == 0
    assert re.search(r" - echo: \[1\]\n.* - oneway_echo: 'x'\n", server.printed)
    assert "shutting down" not in server.printed

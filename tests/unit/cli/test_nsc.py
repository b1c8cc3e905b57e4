"""``pyroipc nsc``: what is printed where, and the exit status, with a real name server."""

from __future__ import annotations

import io
import json
import sys

import pytest

import pyroipc
from pyroipc import cli
from pyroipc.cli import names_shown, nsc
from pyroipc.settings import config
from tests.support.name_servers import directory, name_server

ONE, TWO = "PYRO:one@192.0.2.1:9001", "PYRO:two@192.0.2.2:9002"


@pytest.fixture(autouse=True)
def as_by_default():
    """Leave the settings of this process as they were."""
    config.reset(use_environment=False)
    yield
    config.reset()


class Console:
    """Runs ``pyroipc nsc`` for a name server."""

    def __init__(self, names, capsys):
        self.ns = names.locate()
        self._where = ["--host", names.host, "--port", str(names.port)]
        self._capsys = capsys

    def __call__(self, *arguments):
        """Return the exit status and what was printed."""
        self._capsys.readouterr()
        status = cli.main(["nsc", *self._where, *arguments])
        return status, *self._capsys.readouterr()

    def json(self, *arguments):
        """Return the exit status and the data that was printed."""
        status, out, _ = self(*arguments, "--json")
        return status, json.loads(out)


@pytest.fixture
def run(capsys):
    with name_server() as names:
        console = Console(names, capsys)
        with console.ns as ns:
            ns.register("a.one", ONE, metadata={"red", "blue"})
            ns.register("a.two", TWO, metadata={"red"})
            ns.register("b", ONE)
            yield console


ENTRIES = {
    "a.one": {"uri": ONE, "metadata": ["blue", "red"]},
    "a.two": {"uri": TWO, "metadata": ["red"]},
}


def test_ping(run):
    status, out, err = run("ping")
    assert (status, err) == (0, "")
    assert out.startswith("Name server ping ok: PYRO:Pyro.NameServer@127.0.0.1:")
    status, data = run.json("ping")
    assert status == 0
    assert data["uri"].startswith("PYRO:Pyro.NameServer@")
    assert 0 < data["seconds"] < 10


def test_list_is_a_table(run):
    assert run("list", "a.") == (
        0,
        f"NAME   URI                      METADATA\na.one  {ONE}  blue, red\na.two  {TWO}  red\n",
        "",
    )
    status, out, _ = run("list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "NAME", "Pyro.NameServer", "a.one", "a.two", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "a."), ("listmatching", r"a\.(one|two)$"), ("yplookup_all", "red"),
        ("yplookup_any", "red", "green"),
    ],
)  # fmt: skip
def test_searches(run, arguments):
    assert run.json(*arguments) == (0, ENTRIES)


@pytest.mark.parametrize(
    "arguments",
    [("list", "zz"), ("listmatching", "zz"), ("yplookup_all", "red", "green"),
     ("yplookup_any", "green")],
)  # fmt: skip
def test_searches_that_find_nothing(run, arguments):
    assert run(*arguments) == (1, "", "pyroipc nsc: nothing matches\n")
    assert run.json(*arguments) == (1, {})


def test_lookup(run):
    assert run("lookup", "a.one") == (0, f"{ONE}\nmetadata: blue, red\n", "")
    assert run("lookup", "b") == (0, f"{ONE}\n", "")
    assert run.json("lookup", "b") == (0, {"name": "b", "uri": ONE, "metadata": []})
    assert run("lookup", "zz") == (1, "", "pyroipc nsc: NamingError: unknown name: zz\n")


def test_register(run):
    assert run("register", "new", TWO, "t1", "t2") == (0, "Registered new\n", "")
    assert run.ns.lookup("new", return_metadata=True) == (pyroipc.URI(TWO), {"t1", "t2"})
    status, out, err = run("register", "new", ONE)
    assert (status, out) == (1, "")
    assert "name already registered: new" in err
    assert run("register", "--replace", "new", ONE)[0] == 0
    assert run.ns.lookup("new", return_metadata=True) == (pyroipc.URI(ONE), set())
    assert run.json("register", "n", ONE, "--ttl", "60") == (0, {"name": "n", "uri": ONE})
    assert run.ns.renew({"n": ONE}, 60) == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("register", "x", "nonsense"), "nonsense"),
        (("register", "Pyro.x", ONE), "those of the name server"),
        (("register", "x", ONE, "--ttl", "0.5"), "a ttl is from"),
        (("remove", "Pyro.NameServer"), "those of the name server"),
        (("setmeta", "zz", "tag"), "unknown name: zz"),
        (("listmatching", "("), "invalid regex"),
        (("removematching", "(a+)+b", "-y"), "may take too long"),
    ],
)
def test_what_is_refused_is_one_line(run, arguments, text):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert text in err
    assert len(err.splitlines()) == 1
    assert run.ns.count() == 4


def test_advice_of_the_name_server_is_no_error(capsys):
    with name_server("0.0.0.0", port=0) as names:
        port = str(names.daemon.locations[0].port)
        status = cli.main([
            "nsc",
            "-n",
            "127.0.0.1",
            "-p",
            port,
            "register",
            "x",
            "PYRO:x@localhost:1",
        ])
    captured = capsys.readouterr()
    assert (status, captured.out) == (0, "Registered x\n")
    assert "every machine takes for itself" in captured.err


def test_remove(run):
    assert run("remove", "b") == (0, "Removed 1 name\n", "")
    status, out, err = run("remove", "b")
    assert (status, out) == (1, "")
    assert "nothing was removed" in err
    assert run.json("remove", "b") == (1, {"removed": 0})


def test_removematching_asks_first(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, out, err = run("removematching", ".*")
    assert (status, out) == (1, "")
    assert err.startswith("Remove 3 names (a.one, a.two, b)? [y/N] ")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "give -y if you are sure" in run("removematching", ".*")[2]
    assert run.ns.count() == 4
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("removematching", r"a\.")[:2] == (0, "Removed 2 names\n")
    assert run.ns.count() == 2


def test_removematching_without_asking(run):
    for number in range(nsc._AT_ONCE + 5):
        run.ns.register(f"many.{number}", ONE)
    assert run.json("removematching", "-y", "many") == (0, {"removed": nsc._AT_ONCE + 5})
    assert run("removematching", "-y", "many")[0] == 1
    assert run.ns.count() == 4


def test_progress_is_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    times = iter([0.0, 0.1, 0.3, 0.4, 0.6])
    monkeypatch.setattr(names_shown, "monotonic", lambda: next(times))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with names_shown.Progress("removed", 400) as progress:
        for number in (100, 200, 300, 400):
            progress.show(number)
    assert sys.stderr.getvalue() == "\rremoved 200 of 400 (50 %)\rremoved 400 of 400 (100 %)\n"


def test_setmeta(run):
    assert run("setmeta", "b", "x", "y") == (0, "Metadata updated\n", "")
    assert run.ns.lookup("b", return_metadata=True)[1] == {"x", "y"}
    assert run("setmeta", "b") == (0, "Metadata cleared\n", "")
    assert run.ns.lookup("b", return_metadata=True)[1] == set()
    assert run.json("setmeta", "b", "z") == (0, {"name": "b", "metadata": ["z"]})


def test_wait(run):
    assert run("wait", "b") == (0, f"{ONE}\n", "")
    status, out, err = run("wait", "zz", "--timeout", "0.1")
    assert (status, out, err) == (1, "", "pyroipc nsc: unknown name: zz\n")


def test_options_before_and_behind_the_action(capsys):
    with name_server() as names:
        where = ["--host", names.host, "--port", str(names.port)]
        for arguments in (
            [*where, "--json", "list"],
            ["list", *where, "--json"],
            [*where, "list", "--json"],
        ):
            capsys.readouterr()
            assert cli.main(["nsc", *arguments]) == 0
            assert list(json.loads(capsys.readouterr().out)) == ["Pyro.NameServer"]


def test_unix_socket(capsys):
    with directory() as path, name_server(unixsocket=f"{path}/ns.sock"):
        assert cli.main(["nsc", "-u", f"{path}/ns.sock", "ping"]) == 0
        assert cli.main(["nsc", "-u", f"{path}/ns.sock", "-p", "9090", "ping"]) == 2
    assert "at a host or at a unix socket" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("-u", "/nowhere/ns.sock", "ping"),
        ("-n", "127.0.0.1", "-p", "1", "list"),
        ("-p", "1", "--no-broadcast", "list"),
        ("-n", "no such host", "lookup", "x"),
        ("-u", "/nowhere/ns.sock", "wait", "x", "--timeout", "0.1"),
    ],
)
def test_no_name_server(capsys, arguments):
    assert cli.main(["nsc", *arguments]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    for line in captured.err.splitlines():
        assert line.startswith("pyroipc nsc: ")


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("nonsense",), ("lookup",), ("register", "x"), ("yplookup_all",), ("-p", "0", "ping"),
        ("-p", "x", "ping"), ("wait", "x", "--timeout", "nan"), ("watch", "--interval", "0"),
        ("ping", "--answer-within", "1e99"),
    ],
)  # fmt: skip
def test_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["nsc", *arguments])
    assert ended.value.code == 2
    assert "usage: pyroipc nsc" in capsys.readouterr().err


def test_names_do_not_steer_a_terminal(capsys):
    names_shown.print_table({"a\x1b[2J": ("PYRO:x\n@h:1", {"\x07"})})
    out = capsys.readouterr().out
    assert "a\\x1b[2J" in out
    assert "PYRO:x\\n@h:1  \\x07" in out
    assert len(out.splitlines()) == 2


def test_changes(capsys):
    before = {"a": (ONE, {"x"}), "b": (ONE, set()), "c": (ONE, {"x"})}
    after = {"b": (ONE, frozenset()), "c": (ONE, {"y"}), "d": (TWO, set())}
    names_shown.print_changes(before, after, as_json=False)
    assert capsys.readouterr().out == f"- a  {ONE}  x\n~ c  {ONE}  y\n+ d  {TWO}\n"
    names_shown.print_changes(before, after, as_json=True)
    changes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["change"], one["name"]) for one in changes] == [
        ("-", "a"),
        ("~", "c"),
        ("+", "d"),
    ]
    assert changes[1] == {"change": "~", "name": "c", "uri": ONE, "metadata": ["y"]}

"""Flame: for processes of the same user only, and only if it is switched on."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import threading

import pytest

from pyroipc.compat.pyro4 import core, errors
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.utils import flame, flameserver
from pyroipc.transports import trust
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("dialect")


@contextlib.contextmanager
def serving(daemon):
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    wait_until(lambda: daemon._service is not None, "the loop runs")
    try:
        yield
    finally:
        daemon.shutdown()
        thread.join(10)
        daemon.close()
    assert not thread.is_alive()


@pytest.fixture(params=["unix socket", "connected socket"])
def far(request, tmp_path):
    config.FLAME_ENABLED = True
    with contextlib.ExitStack() as stack:
        if request.param == "unix socket":
            daemon = core.Daemon(unixsocket=str(tmp_path / "s"))
            place = f"./u:{tmp_path}/s"
        else:
            here, place = socket.socketpair()
            stack.callback(place.close)
            stack.callback(here.close)
            daemon = core.Daemon(connected_socket=here)
        flame.start(daemon)
        stack.enter_context(serving(daemon))
        yield stack.enter_context(flame.connect(place))


def test_modules_and_builtins(far):
    assert far.module("os").getpid() == os.getpid()
    assert far.module("os").path.join("a", "b") == "a/b"
    assert far.module("os.path").split("a/b") == ("a", "b")
    assert far.module("xml").etree.ElementTree.iselement(5) is False  # a module of a package
    assert repr(far.module("os")) == "<FlameModule 'os'>"
    assert far.builtin("max")([3, 9, 4], key=abs) == 9
    assert repr(far.builtin("max")) == "<FlameBuiltin 'max'>"


def test_what_is_not_there(far):
    with pytest.raises(ModuleNotFoundError):
        far.module("no_such_module")
    with pytest.raises(AttributeError):
        far.module("os").no_such_function()
    with pytest.raises(ZeroDivisionError):
        far.evaluate("1 / 0")


def test_code(far):
    far.execute("import math\nanswer = 42\ndef double(x):\n    return 2 * x\n")
    assert far.evaluate("double(answer)") == 84
    assert far.evaluate("math.floor(2.5)") == 2
    assert far.evaluate("{1, (2, 3)}") == {1, (2, 3)}


def test_sources_of_modules(far):
    name = "flame_test_package.sub.made"
    try:
        far.sendmodule(name, "def hello(who):\r\n    return 'hello ' + who")
        assert far.module(name).hello("you") == "hello you"
        with pytest.raises(SyntaxError):
            far.sendmodule("flame_test_broken", "def")
        assert "flame_test_broken" not in sys.modules
    finally:
        for made in [made for made in sys.modules if made.startswith("flame_test_")]:
            del sys.modules[made]
    assert "def join" in far.getmodule("posixpath")


def test_files(far, tmp_path):
    path = tmp_path / "file"
    far.sendfile(str(path), b"some bytes")
    assert path.stat().st_mode & 0o777 == 0o600
    assert far.getfile(str(path)) == b"some bytes"
    with pytest.raises(FileNotFoundError):
        far.getfile(str(tmp_path / "nothing"))


def test_console(far, monkeypatch, capsys):
    with far.console() as console:
        far_end = console.remoteconsole
        assert far_end.push_and_get_output("6 * 7") == ("42\n", False)
        assert far_end.push_and_get_output("for i in range(2):") == ("", True)
        assert far_end.push_and_get_output("    print(i)") == ("", True)
        assert far_end.push_and_get_output("") == ("0\n1\n", False)
        output, _ = far_end.push_and_get_output("1 / 0")
        assert "ZeroDivisionError" in output
        assert str(os.getpid()) in far_end.get_banner()
        assert "RemoteInteractiveConsole" in repr(console)
        monkeypatch.setattr(sys, "stdin", io.StringIO("print('typed')\n"))
        console.interact()
    printed = capsys.readouterr()
    assert "typed\n" in printed.out
    assert "(Remote session ended)" in printed.out
    assert "Remote console on" in printed.err
    with pytest.raises(errors.PyroError):
        far_end.push_and_get_output("1")  # it is gone


# ---------------------------------------------------------------------------------- who is let in


def test_it_must_be_switched_on():
    here, there = socket.socketpair()
    disabled = pytest.raises(errors.SecurityError, match="disabled in the server configuration")
    with here, there, core.Daemon(connected_socket=here) as daemon, disabled:
        flame.start(daemon)


def test_it_is_not_served_over_tcp():
    config.FLAME_ENABLED = True
    with core.Daemon() as daemon:
        with pytest.raises(errors.SecurityError, match=r"on purpose.*unixsocket"):
            flame.start(daemon)
        assert "Pyro.Flame" not in daemon.objectsById


def test_it_can_be_switched_off_while_it_is_served(far):
    config.FLAME_ENABLED = False
    with pytest.raises(errors.SecurityError, match="disabled"):
        far.evaluate("1")


def test_other_users_are_not_served(tmp_path, monkeypatch):
    """Should the daemon let them in, with its allowed_uids, then the object does not."""
    config.FLAME_ENABLED = True
    path = str(tmp_path / "s")
    daemon = core.Daemon(unixsocket=path)
    flame.start(daemon)
    stranger = trust.Peer(trusted=False, reason="it is another user's")
    with serving(daemon), core.Proxy(f"PYRO:Pyro.Flame@./u:{path}") as proxy:
        from pyroipc.server.connection import Connection

        monkeypatch.setattr(Connection, "peer", stranger)
        for call in (
            lambda: proxy.evaluate("1"),
            lambda: proxy.execute("1"),
            lambda: proxy.module("os"),
            lambda: proxy.builtin("max"),
            lambda: proxy.console(),
            lambda: proxy.sendmodule("x", ""),
            lambda: proxy.getmodule("os"),
            lambda: proxy.sendfile(path + "x", b""),
            lambda: proxy.getfile(path),
            lambda: proxy.invokeBuiltin("max", [1, 2], {}),
            lambda: proxy.invokeModule("os.getpid", [], {}),
        ):
            with pytest.raises(errors.SecurityError, match="it is another user's"):
                call()


def test_modules_are_made():
    namespace = {}
    try:
        made = flame.createModule("flame_test_a.b", "number = 5", namespace=namespace)
        assert made.number == 5
        assert namespace["flame_test_a"].b is made
        assert sys.modules["flame_test_a.b"] is made
    finally:
        for name in ("flame_test_a", "flame_test_a.b"):
            sys.modules.pop(name, None)


# ------------------------------------------------------------------------------------- the server


def test_the_server_prints_pyro4s_lines(tmp_path, capsys):
    config.FLAME_ENABLED = True
    daemon, uri = flameserver.main(["-u", str(tmp_path / "s")], returnWithoutLooping=True)
    with daemon:
        assert capsys.readouterr().out.splitlines() == [
            "Starting Pyro Flame server.",
            "Warning: HMAC key not set. Anyone can connect to this server!",
            f"server uri: {uri}",
            "server is running.",
        ]


def test_the_server_is_refused_over_tcp(capsys):
    config.FLAME_ENABLED = True
    with pytest.raises(SystemExit, match="error: Flame is not started"):
        flameserver.main(["-q"])
    assert capsys.readouterr().out == ""

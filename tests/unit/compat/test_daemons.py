"""What a program for Pyro sees of a daemon, and pyroipc does another way."""

from __future__ import annotations

import gc
import ipaddress
import socket
import threading
import weakref

import pytest

import pyroipc
from pyroipc.compat import Pyro5
from pyroipc.compat.daemons import AddressError
from pyroipc.compat.pyro5.server import Daemon, DaemonObject, behavior, serve
from tests.support.snippets import run_python


@pyroipc.expose
class Thing:
    def name(self):
        return "thing"


class Slotted:
    __slots__ = ()

    @pyroipc.expose
    def name(self):
        return "slotted"


@pytest.fixture
def daemon():
    with Daemon() as daemon:
        yield daemon


@pytest.fixture
def served(daemon):
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    yield daemon
    daemon.shutdown()
    thread.join()


# --- what registering does to an object ----------------------------------------------------------


def test_an_object_knows_its_id_and_its_daemon(daemon):
    thing = Thing()
    uri = daemon.register(thing, "it")
    assert isinstance(uri, Pyro5.core.URI)
    assert thing._pyroId == "it"
    assert thing._pyroDaemon.uriFor(thing) == uri == daemon.uriFor("it")
    assert daemon.objectsById["it"] is thing
    assert set(daemon.objectsById) == {"it", "Pyro.Daemon"}


@pytest.mark.parametrize("by", ["object", "id", "uri"])
def test_it_forgets_them_when_it_is_unregistered(daemon, by):
    thing = Thing()
    uri = daemon.register(thing, "it")
    daemon.unregister({"object": thing, "id": "it", "uri": uri}[by])
    assert vars(thing) == {}
    assert daemon.register(thing).object != "it"


def test_a_class_knows_them_too(daemon):
    class Made(Thing):
        pass

    daemon.register(Made, "made")
    assert (Made._pyroId, Made()._pyroId) == ("made", "made")
    daemon.unregister(Made)
    assert not hasattr(Made, "_pyroId")


def test_the_daemon_is_not_kept_alive():
    thing = Thing()
    daemon = Daemon()
    daemon.register(thing)
    gone = weakref.ref(daemon)
    daemon.close()
    del daemon
    gc.collect()
    assert gone() is None


def test_what_takes_no_attributes_is_registered_all_the_same(daemon):
    daemon.register(Slotted(), "slotted")
    assert "slotted" in daemon.objectsById


def test_an_object_that_is_replaced_forgets_them(daemon):
    old, new = Thing(), Thing()
    daemon.register(old, "it")
    daemon.register(new, "it", force=True)
    assert (vars(old), new._pyroId) == ({}, "it")
    daemon.register(new, "it", force=True)
    assert new._pyroId == "it"
    daemon.register(new, "other", force=True)
    assert new._pyroId == "other"


def test_registering_weakly(daemon):
    thing = Thing()
    daemon.register(thing, "it", weak=True)
    assert thing._pyroId == "it"
    del thing
    gc.collect()
    assert set(daemon.objectsById) == {"Pyro.Daemon"}


def test_a_refused_registration_leaves_no_trace(daemon):
    daemon.register(Thing(), "it")
    thing = Thing()
    with pytest.raises(pyroipc.DaemonError):
        daemon.register(thing, "it")
    assert vars(thing) == {}


def test_unregistering_what_is_not_there(daemon):
    daemon.unregister("unknown")
    daemon.unregister("Pyro.Daemon")
    with pytest.raises(pyroipc.DaemonError):
        daemon.unregister(Thing())
    with pytest.raises(ValueError, match="None"):
        daemon.unregister(None)


# --- addresses -----------------------------------------------------------------------------------


def test_an_address_that_cannot_be_had_is_an_os_error(daemon):
    port = int(daemon.locationStr.rpartition(":")[2])
    with pytest.raises(OSError, match="in use") as caught:
        Daemon(port=port)
    assert caught.value.errno == 98
    assert isinstance(caught.value, pyroipc.DaemonError)
    with pytest.raises(AddressError, match="cannot be found"):
        Daemon(host="no.such.host.invalid")


def test_hosts_may_be_objects_of_ipaddress():
    host = ipaddress.ip_address("127.0.0.1")
    with Daemon(host, nathost=ipaddress.ip_address("10.1.2.3"), natport=5) as daemon:
        assert daemon.locationStr.startswith("127.0.0.1:")
        assert daemon.natLocationStr == "10.1.2.3:5"
        assert str(daemon.uriFor("it")) == "PYRO:it@10.1.2.3:5"
        assert daemon.uriFor("it", nat=False).location == daemon.locationStr


def test_with_a_connected_socket_nothing_else_counts():
    here, there = socket.socketpair()
    with here, there, Daemon("ignored", 5, nathost="x", connected_socket=here) as daemon:
        assert daemon.locations == []
        assert isinstance(daemon.proxyFor(daemon.register(Thing()).object), pyroipc.Proxy)


def test_how_it_is_shown(daemon, tmp_path):
    assert repr(daemon) == (
        f"<Pyro5.server.Daemon at {id(daemon):#x}; {daemon.locationStr} - IPv4; 1 objects>"
    )
    with Daemon(unixsocket=str(tmp_path / "s")) as other:
        assert repr(other).endswith("/s - Unix; 1 objects>")
    assert "; 0 objects>" in repr(other)


# --- proxies and calls ---------------------------------------------------------------------------


def test_a_proxy_for_an_own_object_goes_to_the_address(served):
    thing = Thing()
    uri = served.register(thing, "it")
    with served.proxyFor(thing) as proxy:
        assert type(proxy) is pyroipc.Proxy
        assert proxy._pyroUri == uri
        assert proxy._pyroMethods == {"name"}
        assert proxy._pyroConnection is None
        assert proxy.name() == "thing"
        assert proxy._pyroConnection is not None
    for unknown in ("unknown", Thing()):
        with pytest.raises(pyroipc.DaemonError):
            served.proxyFor(unknown)


def test_the_line_of_text_about_a_daemon(served):
    with pyroipc.Proxy(served.uriFor("Pyro.Daemon")) as proxy:
        assert proxy.info() == (
            f"Pyro.Daemon bound on {served.locationStr}, NAT None, 1 objects registered. "
            "Servertype: thread"
        )


def test_an_interface_of_ones_own():
    class Talking(DaemonObject):
        @pyroipc.expose
        def hello(self):
            return f"I serve {sorted(self._daemon.objectsById)}"

    with Daemon(interface=Talking) as daemon:
        assert daemon.objectsById["Pyro.Daemon"].hello() == "I serve ['Pyro.Daemon']"


def test_an_error_handler_can_ask_for_the_name_of_the_method(served):
    @pyroipc.expose
    class Failing:
        def fail(self, x, *, y):
            raise KeyError(x)

    told = []
    served.methodcall_error_handler = lambda *args: told.append(args)
    with pyroipc.Proxy(served.register(Failing())) as proxy, pytest.raises(KeyError):
        proxy.fail(1, y=2)
    ((daemon, address, method, args, kwargs, error),) = told
    assert daemon is served
    assert address[0] == "127.0.0.1"
    assert (method, method.__name__, method.__qualname__) == ("fail", "fail", "fail")
    assert (list(args), kwargs, type(error)) == ([1], {"y": 2}, KeyError)


# --- loops ---------------------------------------------------------------------------------------


def test_a_loop_ends_quietly_with_ctrl_c():
    finished = run_python("""
        import os, signal, threading
        from pyroipc.compat.pyro5.server import Daemon

        with Daemon() as daemon:
            kill = lambda: os.kill(os.getpid(), signal.SIGINT) or True
            print(daemon.requestLoop(kill))
        print("the lines behind it are run")
    """)
    assert finished == (0, "None\nthe lines behind it are run\n", "")


def test_a_loop_with_a_condition(daemon):
    left = iter([True, False])
    daemon.requestLoop(lambda: next(left))
    assert next(left, "all asked") == "all asked"


def test_a_loop_that_is_ended_before_it_begins(daemon):
    daemon.shutdown()
    daemon.requestLoop()


def test_serving_in_one_call(capsys):
    thing = Thing()

    class Ending(Daemon):
        def requestLoop(self, loopCondition=None):
            assert set(self.objectsById) == {"Pyro.Daemon", "it"}

    serve({thing: "it"}, use_ns=False, daemon=Ending())
    uri = capsys.readouterr().out
    assert uri.startswith(f"Object {thing!r}:\n    uri = PYRO:it@localhost:")
    assert uri.endswith("\nPyro daemon running.\n")
    Daemon.serveSimple({Thing(): "it"}, daemon=Ending(), ns=False, verbose=False)
    assert capsys.readouterr().out == ""


# --- marks ---------------------------------------------------------------------------------------


def test_behavior_without_parentheses():
    for wrong in (Thing, None, 5):
        with pytest.raises(SyntaxError, match="missing argument"):
            behavior(wrong)
    with pytest.raises(ValueError, match="unknown instance mode 'often'"):
        behavior("often")
    with pytest.raises(TypeError):
        behavior("single")(5)


def test_private_names():
    private = Pyro5.server.is_private_attribute
    assert [name for name in ("a", "_a", "__a", "__len__", "__init__") if private(name)] == [
        "_a", "__a", "__init__"
    ]  # fmt: skip

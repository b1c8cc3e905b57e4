"""``import Pyro4``: what it gives, and what it costs."""

from __future__ import annotations

import socket

import pytest

import pyroipc
from pyroipc.compat import Pyro4
from pyroipc.compat.pyro4 import constants, core, futures, socketutil
from pyroipc.compat.pyro4.configuration import config
from tests.support.snippets import run_python


@pytest.mark.parametrize("name", Pyro4.__all__)
def test_all_names_are_there(name):
    assert getattr(Pyro4, name) is not None
    assert name in dir(Pyro4)


@pytest.mark.parametrize("name", sorted(Pyro4._MODULES))
def test_submodules_are_attributes(name):
    assert getattr(Pyro4, name).__name__ == f"pyroipc.compat.pyro4.{name}"


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'Pyro4' has no attribute 'Demon'"):
        Pyro4.Demon  # noqa: B018


def test_what_is_pyroipcs_own():
    assert Pyro4.expose is pyroipc.expose
    assert Pyro4.current_context is pyroipc.current_context
    assert Pyro4.Future is pyroipc.Future
    assert core.SerializedBlob is pyroipc.SerializedBlob
    assert Pyro4.errors.NamingError is pyroipc.NamingError


def test_the_version_is_that_of_the_pyro4_whose_names_these_are():
    assert Pyro4.__version__ == constants.VERSION == "4.82"


def test_an_import_loads_nothing_before_it_is_used():
    found = run_python(
        """
        import sys
        from pyroipc.compat import install_as
        install_as("Pyro4")
        import Pyro4
        before = {name for name in sys.modules if name.startswith("pyroipc.c")}
        Pyro4.config
        assert "pyroipc.client.proxy" not in sys.modules
        Pyro4.Proxy
        print(*sorted(before))
        """
    )
    assert found.stdout.split() == [
        "pyroipc.compat", "pyroipc.compat.aliases", "pyroipc.compat.pyro4",
    ], found  # fmt: skip


def test_old_imports_give_the_same_objects():
    found = run_python(
        """
        from pyroipc.compat import install_as
        install_as("Pyro4")
        import Pyro4
        import Pyro4.naming
        import Pyro4.utils.flame
        from Pyro4.core import Daemon, Proxy
        from Pyro4.errors import CommunicationError
        import pyroipc
        import pyroipc.compat.pyro4.core
        print(Daemon is Pyro4.Daemon is pyroipc.compat.pyro4.core.Daemon)
        print(CommunicationError is pyroipc.CommunicationError)
        print(Pyro4.naming.locateNS is Pyro4.locateNS)
        """
    )
    assert found.stdout.split() == ["True"] * 3, found


def test_an_exception_may_be_held_in_place_of_a_result():
    with pytest.raises(ValueError, match="held"):
        futures._ExceptionWrapper(ValueError("held")).raiseIt()


# ------------------------------------------------------------------------------------ socketutil


def test_addresses_of_hosts():
    assert socketutil.getIpAddress("localhost") == "127.0.0.1"
    assert socketutil.getIpAddress("127.0.0.1", ipVersion=4) == "127.0.0.1"
    assert socketutil.getIpAddress("::1") == "::1"
    assert socketutil.getIpVersion("127.0.0.1") == 4
    assert socketutil.getIpVersion("::1") == 6
    assert socketutil.getInterfaceAddress("127.0.0.1") == "127.0.0.1"
    with pytest.raises(socket.gaierror):
        socketutil.getIpAddress("no.such.host.invalid")


def test_the_preferred_version_of_addresses():
    config.PREFER_IP_VERSION = 6
    assert socketutil.getIpVersion("::1") == 6
    with pytest.raises(OSError, match="IPV6"):
        socketutil.getIpAddress("127.0.0.1")


def test_a_connection_has_a_timeout_and_sends_and_receives():
    here, there = map(socketutil.SocketConnection, socket.socketpair())
    with here, there:
        here.setTimeout(0.01)
        assert here.getTimeout() == here.timeout == 0.01
        here.timeout = None
        assert here.getTimeout() is None
        there.send(b"hello")
        assert here.recv(5) == b"hello"
        here.timeout = 0.01
        with pytest.raises(socketutil.TimeoutError, match="receiving: timeout"):
            here.recv(1)
        assert here.family() == "Unix"
    assert here.fileno() == -1


def test_a_connection_may_leave_its_socket_open():
    here, there = socket.socketpair()
    with there, here:
        with socketutil.SocketConnection(here, "an object", keep_open=True) as connection:
            assert connection.objectId == "an object"
        assert here.fileno() >= 0


def test_sockets_are_made():
    listening = socketutil.createSocket(bind=("localhost", 0), timeout=10)
    with listening:
        address = listening.getsockname()
        with socketutil.createSocket(connect=address) as calling:
            accepted, _ = listening.accept()
            with accepted:
                socketutil.sendData(calling, b"x" * 1000)
                assert socketutil.receiveData(accepted, 1000) == b"x" * 1000
    with socketutil.createBroadcastSocket() as broadcasting:
        assert broadcasting.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    assert 0 < socketutil.findProbablyUnusedPort() < 65536

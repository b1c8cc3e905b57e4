"""The name server of Pyro5: what starting one returns, and what a program does with it."""

from __future__ import annotations

import ipaddress
import select
import socket

import pytest

import pyroipc
from pyroipc.compat import Pyro5
from pyroipc.compat.pyro5 import core, nameserver
from pyroipc.compat.pyro5.utils import echoserver
from tests.support.hosts import Worker

TAG = "class:Pyro5.nameserver.NameServer"


@pytest.fixture
def names():
    uri, daemon, _ = nameserver.start_ns(port=0)
    worker = Worker(daemon.requestLoop, name="name server")
    yield uri, daemon
    daemon.shutdown()
    worker.result()
    daemon.close()


def test_what_starting_one_returns(names):
    uri, daemon = names
    assert isinstance(uri, core.URI)
    assert uri == daemon.uriFor(core.NAMESERVER_NAME)
    assert isinstance(daemon, nameserver.NameServerDaemon)
    assert isinstance(daemon, Pyro5.server.Daemon)
    assert repr(daemon).startswith("<Pyro5.nameserver.NameServerDaemon at ")
    thing = echoserver.EchoServer()
    daemon.register(thing)
    assert thing._pyroDaemon.nameserver is daemon.nameserver


def test_its_own_entry_has_the_tag_of_pyro5(names):
    uri, _ = names
    with core.locate_ns(uri.host, uri.port) as ns:
        found, tags = ns.lookup(core.NAMESERVER_NAME, return_metadata=True)
        assert found == uri
        assert TAG in tags
        assert set(nameserver.yplookup(ns, meta_all={TAG})) == {core.NAMESERVER_NAME}
        assert nameserver.lookup(ns, core.NAMESERVER_NAME) == uri


def test_resolving(names, monkeypatch):
    uri, daemon = names
    monkeypatch.setattr(pyroipc.config, "NS_PORT", uri.port)
    daemon.nameserver.register("thing", "PYRO:thing@localhost:5", metadata={"blue"})
    for text in ("PYRONAME:thing", "PYROMETA:blue", "PYRO:thing@localhost:5"):
        found = core.resolve(text)
        assert (type(found), str(found)) == (core.URI, "PYRO:thing@localhost:5")
    with pytest.raises(pyroipc.NamingError):
        core.resolve("PYRONAME:unknown")
    with pytest.raises(TypeError, match="can only resolve Pyro URIs"):
        core.resolve(5)


def test_broadcasts_in_a_loop_of_ones_own():
    uri, daemon, responder = nameserver.start_ns(
        host=ipaddress.ip_address("0.0.0.0"), port=0, bchost=ipaddress.ip_address("127.0.0.1"),
        bcport=0,
    )  # fmt: skip
    with daemon, responder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        asking.sendto(b"GET_NSURI", ("127.0.0.1", responder.getPort()))
        ready, _, _ = select.select([responder, *daemon.sockets], [], [], 10)
        assert ready == [responder]
        responder.processRequest()
        assert asking.recv(100).decode() == f"PYRO:Pyro.NameServer@127.0.0.1:{uri.port}"


def test_an_address_that_is_taken(names):
    uri, _ = names
    with pytest.raises(OSError, match="in use"):
        nameserver.start_ns(port=uri.port)


def test_no_name_server():
    with pytest.raises(pyroipc.NamingError):
        core.locate_ns("localhost", 1)


def test_the_name_server_of_the_echo_server(monkeypatch):
    port = Pyro5.socketutil.find_probably_unused_port()
    monkeypatch.setattr(pyroipc.config, "NS_PORT", port)
    monkeypatch.setattr(pyroipc.config, "SERVERTYPE", "multiplex")
    thread = echoserver.start_nameserver("localhost")
    try:
        assert thread.uri.port == port
        assert thread.daemon
        daemon, echo, uri = echoserver.main(["-n", "-q"], returnWithoutLooping=True)
        with daemon, core.locate_ns() as ns:
            assert ns.lookup("test.echoserver") == uri == daemon.uriFor(echo)
    finally:
        thread.ns_daemon.shutdown()
        thread.join()
        thread.ns_daemon.close()

"""LOGWIRE: what goes over a connection is noted, both ways, and what is in it is not."""

from __future__ import annotations

import socket
import threading

import pytest

import pyroipc


class Echo:
    @pyroipc.expose
    def echo(self, value):
        return value


@pytest.fixture
def settings():
    chosen = pyroipc.config.copy()
    chosen.LOGWIRE = True
    return chosen


def noted(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "pyroipc.wire"]


def test_both_ends_of_a_connection(settings, caplog):
    caplog.set_level("DEBUG", "pyroipc.wire")
    with pyroipc.Daemon(settings=settings) as daemon:
        uri = daemon.register(Echo(), "echo")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        try:
            with pyroipc.Proxy(uri, settings=settings) as proxy:
                assert proxy.echo("a secret" * 10_000) == "a secret" * 10_000
        finally:
            daemon.shutdown()
            loop.join(10)
    lines = noted(caplog)
    for arrow in ("->", "<-"):
        for kind in ("hello", "welcome", "request", "response"):
            assert any(f"{arrow} <{kind}" in line for line in lines), (arrow, kind, lines)
    assert not any("secret" in line for line in lines)


def test_a_child(settings, caplog):
    caplog.set_level("DEBUG", "pyroipc.wire")
    with pyroipc.spawn(Echo, settings=settings) as child:
        assert child.echo(1) == 1
    lines = noted(caplog)
    assert any("-> <request" in line for line in lines)
    assert any("<- <response" in line for line in lines)


def test_without_the_setting_nothing_is_noted(caplog):
    caplog.set_level("DEBUG", "pyroipc.wire")
    with pyroipc.spawn(Echo) as child:
        assert child.echo(1) == 1
    assert noted(caplog) == []


@pytest.mark.parametrize("dialect", ["pyro4", "pyro5"])
def test_a_connection_in_a_dialect_of_pyro(settings, caplog, dialect):
    caplog.set_level("DEBUG", "pyroipc.wire")
    with pyroipc.Daemon(settings=settings) as daemon:
        uri = daemon.register(Echo(), "echo")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        try:
            with pyroipc.Proxy(uri, settings=settings, dialect=dialect) as proxy:
                assert proxy.echo("a secret" * 10_000) == "a secret" * 10_000
            with socket.create_connection(daemon.sock.getsockname(), 10) as stranger:
                stranger.sendall(b"PYRO\0\5" + bytes(40))  # of a version that nobody speaks
                assert stranger.recv(6) == b"PYRO\0\5"
        finally:
            daemon.shutdown()
            loop.join(10)
    lines = noted(caplog)
    for arrow in ("->", "<-"):
        for kind in ("request 0", "welcome 0", "request 1", "response 1"):
            assert any(f"{arrow} <{kind}:" in line for line in lines), (arrow, kind, lines)
    assert any("-> something else" in line for line in lines)
    assert not any("secret" in line for line in lines)

"""The object of ``pyroipc echo``: its members, as clients of Pyro know them."""

from __future__ import annotations

import math
from time import monotonic

import pytest

import pyroipc
from pyroipc.cli.echo import OBJECT_NAME, EchoServer
from pyroipc.settings import Settings
from tests.support.hosts import Worker
from tests.support.waiting import wait_until


@pytest.fixture
def echo():
    """A proxy for an echo server of this process."""
    daemon = pyroipc.Daemon("127.0.0.1", settings=Settings(use_environment=False))
    with daemon:
        server = EchoServer(daemon.shutdown)
        uri = daemon.register(server, OBJECT_NAME)
        loop = Worker(daemon.requestLoop)
        proxy = pyroipc.Proxy(uri)
        try:
            yield proxy
        finally:
            proxy._pyroRelease()
            server.shutdown()  # it also ends what is slow
            loop.result()


def test_values(echo):
    assert echo.echo(["any", {"value": 1}]) == ["any", {"value": 1}]
    assert list(echo.generator()) == ["one", "two", "three"]
    assert math.isnan(echo.nan())
    assert echo.inf() == math.inf
    assert echo.__dunder__() == "should be allowed (dunder)"


def test_errors(echo):
    with pytest.raises(ValueError, match="the message of the error"):
        echo.error_with_text()
    with pytest.raises(ValueError, match="generated error"):
        echo.error()


def test_oneway_and_private(echo):
    assert echo.oneway_echo("hi") is None
    assert echo.oneway_slow() is None
    with pytest.raises(AttributeError):
        echo._private()


def test_shutdown_ends_slow_calls_and_the_loop(echo, capsys):
    echo.verbose = True
    begin = monotonic()
    slow = Worker(echo.slow)
    printed: list[str] = []

    def has_begun():
        printed.append(capsys.readouterr().out)
        return "slow: waiting" in "".join(printed)

    wait_until(has_begun, "the slow call has begun")
    echo.shutdown()
    assert slow.result() == "Finally, an answer!"
    assert monotonic() - begin < 4


def test_verbose_calls_are_printed(echo, capsys):
    assert echo.verbose is False
    echo.verbose = True
    assert echo.verbose is True
    echo.echo("hello \N{SNOWMAN}")
    printed = capsys.readouterr().out
    assert "echo: 'hello" in printed
    echo.verbose = False
    echo.echo("again")
    assert capsys.readouterr().out == ""

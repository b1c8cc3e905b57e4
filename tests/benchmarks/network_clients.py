"""Clients of the servers of an echo: those that stay connected, and those that come and go."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing.connection
import socket

from tests.benchmarks.lumps import PACKAGES
from tests.benchmarks.network_servers import HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.benchmarks.rounds import Call

    Connect = Callable[[str], AbstractContextManager[Call]]

_BYTES = b"42"


@contextlib.contextmanager
def proxy(address: str, *, library: str, serializer: str = "msgpack") -> Iterator[Call]:
    """Call the echo through a proxy of one of PACKAGES."""
    with importlib.import_module(PACKAGES[library]).Proxy(address) as echo:
        echo._pyroSerializer = serializer
        yield echo.echo


@contextlib.contextmanager
def connection(address: str) -> Iterator[Call]:
    """Send and receive with ``multiprocessing.connection``."""
    with multiprocessing.connection.Client(_host_and_port(address)) as client:
        send, receive = client.send, client.recv

        def call(value: object) -> object:
            send(value)
            return receive()

        yield call


def each_time(connect: Connect, address: str) -> Call:
    """Return a function that connects, calls once, and closes."""

    def call(value: object) -> object:
        with connect(address) as echo:
            return echo(value)

    return call


def plain_each_time(address: str) -> Call:
    """Return a function that connects, sends two bytes, receives them, and closes."""
    place = _host_and_port(address)

    def call(value: object) -> object:
        with socket.create_connection(place) as sock:
            sock.sendall(_BYTES)
            return value if sock.recv(16) == _BYTES else None

    return call


def _host_and_port(address: str) -> tuple[str, int]:
    return HOST, int(address.rpartition(":")[2])

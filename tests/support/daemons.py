"""Daemons that listen, for tests: in a thread of this process, or in a forked child.

A *road* is a way to reach one: a transport with its coats. Every road is taken by the same code;
that is what the tests that are run over all roads are for.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import shutil
import signal
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest

import pyroipc
from pyroipc import Daemon, Proxy
from tests.support.certificates import Authority
from tests.support.hosts import PATIENCE, Child, Worker
from tests.support.networks import needs_ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = b"a secret of both ends"


class Road:
    """A way to a daemon: what its two ends are given."""

    def __init__(
        self,
        name: str,
        daemon: Callable[[str], dict[str, Any]],
        proxy: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.name = name
        self._daemon = daemon
        self.proxy_options = proxy
        """Returns what a proxy is given besides its URI."""

    def daemon_options(self, directory: str) -> dict[str, Any]:
        """Return what a daemon is given; a unix socket goes into the directory."""
        return self._daemon(directory)

    def __repr__(self) -> str:
        return self.name


@functools.cache
def authority() -> Authority:
    """Return the authority whose certificates the daemons of the tests have."""
    # No TemporaryDirectory: a forked child, in which it is collected, would remove the files.
    directory, owner = tempfile.mkdtemp(prefix="pyroipc-authority-"), os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(directory, ignore_errors=True))
    return Authority(Path(directory))


@functools.cache
def server_context() -> ssl.SSLContext:
    """Return the TLS context of the daemons: a certificate for localhost and 127.0.0.1."""
    identity = authority().issue("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@functools.cache
def client_context() -> ssl.SSLContext:
    """Return the TLS context of the proxies: it knows the authority."""
    return ssl.create_default_context(cafile=authority().file)


def _unix(directory: str) -> dict[str, Any]:
    return {"unixsocket": f"{directory}/daemon.sock"}


ROADS = {
    road.name: road
    for road in (
        Road("tcp4", lambda _: {"host": "127.0.0.1"}),
        Road("tcp6", lambda _: {"host": "::1"}),
        Road("unix", _unix),
        Road(
            "tls",
            lambda _: {"host": "127.0.0.1", "tls": server_context()},
            lambda: {"tls": client_context()},
        ),
        Road(
            "hmac",
            lambda _: {"host": "127.0.0.1", "hmac_key": KEY},
            lambda: {"hmac_key": KEY},
        ),
        Road(
            "tls+hmac",
            lambda _: {"host": "127.0.0.1", "tls": server_context(), "hmac_key": KEY},
            lambda: {"tls": client_context(), "hmac_key": KEY},
        ),
    )
}


def roads(*names: str) -> list[Any]:
    """Return the roads of these names, or all of them, as parameters of a test."""
    return [
        pytest.param(ROADS[name], id=name, marks=needs_ipv6 if name == "tcp6" else ())
        for name in names or ROADS
    ]


def settings(**items: Any) -> pyroipc.Settings:
    """Return the default settings, with some changed."""
    changed = pyroipc.config.copy()
    for name, value in items.items():
        setattr(changed, name, value)
    return changed


class Served:
    """A daemon that runs somewhere, and how to reach its objects."""

    def __init__(self, road: Road, location: str, port: int | None) -> None:
        self.road = road
        self.location = location
        self.port = port

    def uri(self, name: str = "thing") -> str:
        """Return the URI of an object."""
        return f"PYRO:{name}@{self.location}"

    def proxy(self, name: str = "thing", **options: Any) -> Proxy[Any]:
        """Return a proxy for an object."""
        return Proxy(self.uri(name), **{**self.road.proxy_options(), **options})


class ThreadServed(Served):
    """A daemon in a thread of this process; ``daemon`` is the daemon itself."""

    def __init__(
        self, road: Road, directory: str, objects: dict[str, Any], options: dict[str, Any]
    ) -> None:
        given = {**road.daemon_options(directory), **options}
        factory = given.pop("factory", Daemon)
        self.daemon: Daemon = factory(**given)
        for name, thing in objects.items():
            self.daemon.register(thing, name)
        super().__init__(road, self.daemon.locationStr, self.daemon.locations[0].port)
        self._loop = Worker(self.daemon.requestLoop, name="requestLoop")

    def stop(self) -> None:
        """End it in the orderly way; raise what its loop raised."""
        self.daemon.close()
        self._loop.result()


@contextlib.contextmanager
def serving(
    objects: dict[str, Any],
    *,
    road: Road = ROADS["tcp4"],
    directory: str | None = None,
    **options: Any,
) -> Iterator[ThreadServed]:
    """Serve objects in a thread of this process, until the end of the block."""
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyroipc-"))
        served = ThreadServed(road, directory, objects, options)
        try:
            yield served
        finally:
            served.stop()


class ChildServed(Served):
    """A daemon in a forked child; ``child`` is that child."""

    def __init__(self, road: Road, location: str, port: int | None, child: Child) -> None:
        super().__init__(road, location, port)
        self.child = child

    def kill(self) -> None:
        """Kill the child, so that the kernel ends its connections."""
        self.child.kill()
        self.child.wait()

    def terminate(self) -> None:
        """Have the daemon end in the orderly way: it says goodbye to its clients."""
        self.child.kill(signal.SIGTERM)
        assert self.child.wait() == 0


@contextlib.contextmanager
def child_serving(
    objects: dict[str, Any],
    *,
    road: Road = ROADS["tcp4"],
    directory: str | None = None,
    **options: Any,
) -> Iterator[ChildServed]:
    """Serve objects in a forked child, until the end of the block."""
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyroipc-"))
        given = {**road.daemon_options(directory), **options}
        reader, writer = os.pipe()
        child = Child(_serve, objects, given, writer)
        os.close(writer)
        stack.callback(os.close, reader)
        try:
            assert select.select([reader], [], [], PATIENCE)[0], "the daemon does not start"
            location, _, port = os.read(reader, 4096).decode().partition(" ")
            assert location, "the daemon could not start"
            yield ChildServed(road, location, int(port) if port else None, child)
        finally:
            if child.status is None:
                child.kill()
                child.wait()


def _serve(objects: dict[str, Any], options: dict[str, Any], writer: int) -> None:
    factory = options.pop("factory", Daemon)
    with factory(**options) as daemon:
        for name, thing in objects.items():
            daemon.register(thing, name)
        os.write(writer, f"{daemon.locationStr} {daemon.locations[0].port or ''}".encode())
        os.close(writer)
        daemon.requestLoop()


def daemon_again(
    served: Served, objects: dict[str, Any], **options: Any
) -> contextlib.AbstractContextManager[ThreadServed]:
    """Serve in a thread where another daemon has served before."""
    if served.port is not None:
        options["port"] = served.port
    else:
        options["unixsocket"] = served.location.partition(":")[2]
    return serving(objects, road=served.road, **options)

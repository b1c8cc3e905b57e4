"""Name servers for tests: in a thread of this process, or in a forked child."""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
from typing import Any

import pyroipc
from pyroipc.client.resolve import forget_name_servers
from pyroipc.naming.client import NameServerProxy, locate_ns
from pyroipc.naming.server import NameServerDaemon
from tests.support.daemons import settings as changed_settings
from tests.support.hosts import PATIENCE, Child, Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Names:
    """A name server that runs somewhere, and how to reach it."""

    def __init__(self, location: str, **settings: Any) -> None:
        self.location = location
        host, _, port = location.rpartition(":")
        self.settings = changed_settings(BROADCAST_ADDRS=[], **settings)
        if not location.startswith("./u:"):
            self.host, self.port = host, int(port)
            self.settings.NS_HOST, self.settings.NS_PORT = host.strip("[]"), self.port

    def locate(self) -> NameServerProxy:
        """Return a proxy that is connected to it."""
        if self.location.startswith("./u:"):
            return locate_ns(self.location, settings=self.settings)
        return locate_ns(settings=self.settings)

    def proxy(self, uri: str, **options: Any) -> pyroipc.Proxy[Any]:
        """Return a proxy that looks names up here."""
        return pyroipc.Proxy(uri, settings=self.settings, **options)

    def resolve(self, uri: str, delay: float = 0.0) -> pyroipc.URI:
        """Look a name up here."""
        return pyroipc.resolve(uri, delay, settings=self.settings)


@contextlib.contextmanager
def name_server(host: str | None = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Any]:
    """Run a name server in a thread of this process; yield its Names, with the daemon in it."""
    client = options.pop("client", {})
    if "unixsocket" in options:
        daemon = NameServerDaemon(**options)
    else:
        daemon = NameServerDaemon(host, port, **options)
    worker = Worker(daemon.requestLoop, name="name server")
    names = Names(daemon.locationStr, **client)
    names.daemon = daemon  # type: ignore[attr-defined]
    try:
        yield names
    finally:
        forget_name_servers()
        daemon.close()
        worker.result()


class ChildNames(Names):
    """A name server in a forked child; ``child`` is that child."""

    child: Child

    def kill(self) -> None:
        """Kill it."""
        self.child.kill()
        self.child.wait()


@contextlib.contextmanager
def child_name_server(port: int = 0, **options: Any) -> Iterator[ChildNames]:
    """Run a name server in a forked child, until the end of the block."""
    client = options.pop("client", {})
    reader, writer = os.pipe()
    child = Child(_serve, port, options, writer)
    os.close(writer)
    try:
        assert select.select([reader], [], [], PATIENCE)[0], "the name server does not start"
        location = os.read(reader, 4096).decode()
        assert location, "the name server could not start"
        names = ChildNames(location, **client)
        names.child = child
        yield names
    finally:
        os.close(reader)
        forget_name_servers()
        if child.status is None:
            child.kill()
            child.wait()


def _serve(port: int, options: dict[str, Any], writer: int) -> None:
    with NameServerDaemon("127.0.0.1", port, **options) as daemon:
        os.write(writer, daemon.locationStr.encode())
        os.close(writer)
        daemon.requestLoop()


def directory() -> tempfile.TemporaryDirectory[str]:
    """Return a directory with a short path, as unix sockets need it."""
    return tempfile.TemporaryDirectory(prefix="pyroipc-")


def run_in_console(options: dict[str, Any]) -> None:
    """Run a name server with its responder in a thread; for the consoles of namespaces."""
    _, daemon, responder = pyroipc.start_ns(**options)
    if responder is not None:
        daemon.combine(responder)
    responders.append(responder and responder.locationStr)
    Worker(daemon.requestLoop)


responders: list[str | None] = []

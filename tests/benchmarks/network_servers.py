"""Servers of an echo at a TCP port of this machine, ours and what people use instead.

Each runs in a process of its own. A forked one starts at once; one that is a fresh interpreter
has nothing in its memory but itself. Both say where they listen, and are killed at the end.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing.connection
import os
import selectors
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.children import Placement, forked
from tests.benchmarks.hosts import Echo, pipe_echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Report = Callable[[str], None]
    Serve = Callable[[Report], None]

HOST = "127.0.0.1"
PYRO_PACKAGES = {"Pyro4": "Pyro4", "Pyro5": "Pyro5.api"}
ROOT = Path(__file__).resolve().parents[2]
_BACKLOG = 1024
_CODE = "from tests.benchmarks.network_servers import main; main()"
_ADDRESS_BYTES = 200


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        pid: of its process.
        address: the URI of the object, or host and port.
    """

    pid: int
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def at(self, port: int) -> str:
        """Return the address as it were at another port."""
        return f"{self.address.rpartition(':')[0]}:{port}"


# --- what they do ------------------------------------------------------------------------------


def serve_pyroipc(
    report: Report, *, server_type: str = "thread", tls: ssl.SSLContext | None = None
) -> None:
    """Ours; with the settings as they come."""
    import pyroipc

    settings = pyroipc.config.copy()
    settings.SERVERTYPE = server_type
    with pyroipc.Daemon(HOST, tls=tls, settings=settings) as daemon:
        report(str(daemon.register(_exposed(pyroipc), "echo")))
        daemon.requestLoop()


def serve_pyro(
    report: Report, *, library: str, server_type: str = "thread", pool: int = 80
) -> None:
    """Pyro4 or Pyro5; a thread pool is as large as theirs, if nobody asks for another size."""
    package = importlib.import_module(PYRO_PACKAGES[library])
    package.config.SERVERTYPE = server_type
    package.config.THREADPOOL_SIZE = pool
    if library == "Pyro4":
        package.config.SERIALIZERS_ACCEPTED = {"msgpack", "serpent"}
    daemon = package.Daemon(host=HOST)
    report(str(daemon.register(_exposed(package), "echo")))
    daemon.requestLoop()


def _exposed(package):
    return package.expose(type("Echo", (), {"echo": Echo.echo}))()


def serve_connections(report: Report) -> None:
    """``multiprocessing.connection``, a thread for each client: what people write by hand."""

    def serve(connection) -> None:
        with contextlib.suppress(OSError), connection:
            pipe_echo(connection)

    with multiprocessing.connection.Listener((HOST, 0), backlog=_BACKLOG) as listener:
        report(f"{HOST}:{listener.address[1]}")
        while True:
            threading.Thread(target=serve, args=(listener.accept(),), daemon=True).start()


def serve_bytes(report: Report) -> None:
    """Send back whatever bytes come: a selector, and nothing else."""
    with socket.create_server((HOST, 0), backlog=_BACKLOG) as listener:
        report(f"{HOST}:{listener.getsockname()[1]}")
        selector = selectors.DefaultSelector()
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                sock = key.fileobj
                if sock is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif data := sock.recv(4096):
                    sock.sendall(data)
                else:
                    selector.unregister(sock)
                    sock.close()


OURS, OURS_MULTIPLEX = "pyroipc thread", "pyroipc multiplex"
BY_HAND = "multiprocessing.connection"
PYRO5, PYRO5_MULTIPLEX = "Pyro5 thread", "Pyro5 multiplex"
PYRO5_LARGE_POOL = "Pyro5 thread, pool of 400"
PYRO4 = "Pyro4 thread"
BYTES = "plain socket"
SERVERS: dict[str, Serve] = {
    OURS: serve_pyroipc,
    OURS_MULTIPLEX: partial(serve_pyroipc, server_type="multiplex"),
    BY_HAND: serve_connections,
    PYRO5: partial(serve_pyro, library="Pyro5"),
    PYRO5_MULTIPLEX: partial(serve_pyro, library="Pyro5", server_type="multiplex"),
    PYRO5_LARGE_POOL: partial(serve_pyro, library="Pyro5", pool=400),
    PYRO4: partial(serve_pyro, library="Pyro4"),
    BYTES: serve_bytes,
}


def is_installed(server: str) -> bool:
    """Whether the library of a server can be imported; of Pyro only, the others are here."""
    try:
        importlib.import_module(PYRO_PACKAGES.get(server[:5], "pyroipc"))
    except ImportError:
        return False
    return True


# --- running them ------------------------------------------------------------------------------


@contextlib.contextmanager
def forked_server(serve: Serve, placement: Placement | None = None) -> Iterator[Server]:
    """Run a server in a forked child.

    Raises:
        RuntimeError: it ended before it listened.
    """
    readable, writable = os.pipe()

    def live() -> None:
        os.close(readable)
        serve(lambda address: _tell(writable, address))

    with open(readable, "rb", buffering=0) as told:
        try:
            child = contextlib.ExitStack()
            pid = child.enter_context(forked(live, placement or Placement("free")))
        finally:
            os.close(writable)
        with child:
            yield Server(pid, _address(told.read(_ADDRESS_BYTES)))


@contextlib.contextmanager
def fresh_server(name: str) -> Iterator[Server]:
    """Run one of SERVERS in an interpreter of its own.

    Raises:
        RuntimeError: it ended before it listened.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _CODE, name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        bufsize=0,
    ) as process:
        try:
            yield Server(process.pid, _address(process.stdout.read(_ADDRESS_BYTES)))
        finally:
            process.kill()


def main() -> None:
    """Be the server that the command line names."""
    SERVERS[sys.argv[1]](partial(_tell, sys.stdout.fileno()))


def _tell(descriptor: int, address: str) -> None:
    os.write(descriptor, address.encode())


def _address(told: bytes) -> str:
    if not told:
        raise RuntimeError("the server ended before it listened")
    return told.decode()


def descriptors_of(pid: int) -> int | None:
    """Return how many descriptors a process has open; None where that is not told."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Let this process, and those that it starts, have as many descriptors as they may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

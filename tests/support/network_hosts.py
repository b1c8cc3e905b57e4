"""For tests of daemons that listen: clients by hand, and objects whose calls a test holds."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from typing import Any

import pytest

from pyroipc import Daemon, expose, oneway
from tests.support.daemons import ROADS, client_context, serving, settings
from tests.support.raw import PATIENCE, RawPeer
from tests.support.waiting import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.daemons import Served, ThreadServed

SERVERS = ("thread", "multiplex")
both_servers = pytest.mark.parametrize("server", SERVERS)
SCALE = int(os.environ.get("PYROIPC_NETWORK_SCALE", "1"))
"""The figures of the goals are ten times those of CI: set it to 10 to reach them."""

_BAD = {
    error.__name__: error
    for error in (SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, MemoryError)
}


@expose
class Gate:
    """Calls that stay until the test lets them go, and what came of others."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.seen: list[Any] = []
        self.running = 0
        self.most = 0
        self._entered = threading.Semaphore(0)
        self._lock = threading.Lock()

    def echo(self, value: Any = None) -> Any:
        return value

    def hold(self, value: Any = None) -> Any:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self._entered.release()
        try:
            assert self.opened.wait(PATIENCE), "nobody opened the gate"
        finally:
            with self._lock:
                self.running -= 1
        return value

    @oneway
    def note(self, value: Any) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.seen.append(value)
        with self._lock:
            self.running -= 1

    @oneway
    def hold_oneway(self, value: Any) -> None:
        self.seen.append(value)
        self.hold()

    def fail_with(self, name: str) -> None:
        raise _BAD[name]("on purpose")

    def letters(self, n_bytes: int) -> str:
        self.seen.append(n_bytes)
        return "b" * n_bytes

    def count(self, n: int) -> Any:
        yield from range(n)

    def pid(self) -> int:
        return os.getpid()

    def await_entered(self, count: int = 1) -> None:
        """Wait until so many more calls have come to the gate."""
        for _ in range(count):
            assert self._entered.acquire(timeout=PATIENCE), "the call does not come"


@contextlib.contextmanager
def gated(
    server: str = "thread", road: str = "tcp4", factory: type[Daemon] = Daemon, **items: Any
) -> Iterator[tuple[ThreadServed, Gate]]:
    """Serve a gate in a thread, with settings; it is open at the end."""
    gate = Gate()
    options = settings(SERVERTYPE=server, **items)
    with serving({"gate": gate}, road=ROADS[road], factory=factory, settings=options) as served:
        try:
            yield served, gate
        finally:
            gate.opened.set()


def knock(served: Served) -> socket.socket:
    """Connect to a daemon, and say nothing."""
    if served.port is None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(served.location.partition(":")[2])
        return sock
    host = "::1" if served.road.name == "tcp6" else "127.0.0.1"
    return socket.create_connection((host, served.port), timeout=PATIENCE)


@contextlib.contextmanager
def raw_client(served: Served) -> Iterator[RawPeer]:
    """Yield a client that speaks by hand, and has said hello."""
    with knock(served) as sock:
        peer = RawPeer(sock)
        peer.greet()
        yield peer


@contextlib.contextmanager
def crowd(served: Served, count: int) -> Iterator[list[socket.socket]]:
    """Connect so many clients that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(knock(served)) for _ in range(count)]


def reset(sock: socket.socket) -> None:
    """Close a TCP connection as if the machine had crashed: with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_closed(sock: socket.socket) -> bool:
    """Read until the other end closes the connection; False if it does not in time."""
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def await_clients(daemon: Daemon, count: int) -> None:
    """Wait until a daemon in this process serves so many clients, no more and no fewer."""
    wait_until(lambda: len(daemon.serving) == count, f"the daemon serves {count} clients")


def await_pause(daemon: Daemon) -> None:
    """Wait until a daemon in this process reads nothing more from one of its clients."""
    visitors = daemon._listening.loop.visitors  # type: ignore[union-attr]
    wait_until(
        lambda: any(not visitor.is_read for visitor in list(visitors.values())),
        "a client is not read any more",
    )


class CpuTime:
    """How much CPU time this process, or another one, takes in a while."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._wall, self._cpu = time.monotonic(), self._now()

    def _now(self) -> float:
        if self._pid is None:
            return time.process_time()
        with open(f"/proc/{self._pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def share_after(self, seconds: float) -> float:
        """Wait until so many seconds have passed; return the share of a CPU that was taken."""
        threading.Event().wait(self._wall + seconds - time.monotonic())
        return (self._now() - self._cpu) / (time.monotonic() - self._wall)


def tls_client(sock: socket.socket) -> Any:
    """Put TLS over a connection, with the certificates of the tests."""
    return client_context().wrap_socket(sock, server_hostname="localhost")


def await_end(served: ThreadServed) -> None:
    """Wait until the loop of a daemon has ended by itself; raise what it raised."""
    served._loop.result()

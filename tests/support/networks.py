"""Networks for tests: places of all kinds, listeners that answer nobody, empty networks."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from time import monotonic

import pytest

from pyroipc.errors import TimeoutError
from pyroipc.location import Location
from pyroipc.transports import descriptors, table
from pyroipc.transports.base import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyroipc.transports.base import Listener

PATIENCE = 10.0
_numbers = itertools.count()
_CLONE_NEWNET = 0x40000000
_SIOCSIFADDR, _SIOCSIFFLAGS = 0x8916, 0x8914
_IFF_UP = 1

has_ipv6 = Path("/proc/net/if_inet6").exists() and bool(Path("/proc/net/if_inet6").read_text())
needs_ipv6 = pytest.mark.skipif(not has_ipv6, reason="this machine has no IPv6")
needs_network = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root of Linux makes networks"
)

PLACES: dict[str, tuple[str, Callable[[Path], Location]]] = {
    "ipv4": ("tcp", lambda directory: Location("127.0.0.1", 0, zero_port=True)),
    "ipv6": ("tcp", lambda directory: Location("::1", 0, zero_port=True)),
    "unix": ("unix", lambda directory: Location(sockname=f"{directory}/{next(_numbers)}.sock")),
}
"""Name -> the source, and a location for listening that is free."""


def places() -> list[object]:
    """Return the names of all places, as parameters of a test."""
    return [pytest.param(name, marks=needs_ipv6 if name == "ipv6" else ()) for name in PLACES]


def wait_for_client(listener: Listener) -> socket.socket:
    """Accept a client that is on its way."""
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    end = monotonic() + PATIENCE
    while monotonic() < end:
        poll.poll(100)
        sock = listener.accept()
        if sock is not None:
            return sock
    raise AssertionError(f"nobody came to {listener}")


@contextlib.contextmanager
def closing(*socks: object) -> Iterator[None]:
    """Close sockets of the table, and listeners."""
    try:
        yield
    finally:
        for sock in socks:
            if hasattr(sock, "location"):
                sock.close()
            else:
                descriptors.close(sock)


@contextlib.contextmanager
def silent(location: Location) -> Iterator[tuple[Listener, list[socket.socket]]]:
    """Listen so that whoever connects now is not answered; yield the listener and who waits."""
    (listener,) = table.listen(location, Options(backlog=1))
    waiting: list[socket.socket] = []
    try:
        with contextlib.suppress(TimeoutError):
            while len(waiting) < 20:
                found = table.connect(listener.location, Options(), monotonic() + 0.2)
                waiting.append(found)
            raise AssertionError("it takes everybody")
        yield listener, waiting
    finally:
        for sock in waiting:
            descriptors.close(sock)
        listener.close()


class Interrupted(BaseException):
    """Raised by the handler of :func:`interrupting`."""


@contextlib.contextmanager
def interrupting() -> Iterator[Callable[[float], None]]:
    """Yield a function that has Interrupted raised in the main thread, so many seconds later.

    It is raised once. For 0 seconds it is not raised any more; not even if the signal is on its
    way, by another thread.
    """
    armed = False

    def handler(number: int, frame: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    def soon(seconds: float) -> None:
        nonlocal armed
        armed = bool(seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield soon
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# For processes of a test's own: there is no way back.


def enter_network() -> None:
    """Move this process to a network with a loopback interface and nothing else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network of one's own: unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def add_ipv6(address: str, interface: str = "lo", prefix: int = 64) -> None:
    """Give an interface one more IPv6 address."""
    request = struct.pack(
        "=16sIi",
        socket.inet_pton(socket.AF_INET6, address), prefix, socket.if_nametoindex(interface),
    )  # fmt: skip
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFADDR, request)

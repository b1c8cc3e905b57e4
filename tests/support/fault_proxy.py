"""A bad network: something between a client and a daemon that delays, cuts, splits and corrupts.

It listens at an address of its own and forwards what comes to the daemon, and back. A *fault* says
what becomes of the bytes in one direction. It counts bytes from the beginning of a connection, so
a test can have the connection cut within a certain message, or within its header.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
import threading
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0


class CutError(Exception):
    """The connection ends here; ``how`` is "fin" or "rst"."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Fault:
    """Forwards everything as it comes; the base of those that do not."""

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        """Yield what is forwarded of some bytes, which begin at a position of the stream.

        Raises:
            CutError: the connection ends.
        """
        yield data


class Split(Fault):
    """Forwards pieces of so many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        for begin in range(0, len(data), self._size):
            yield data[begin : begin + self._size]


class Delay(Fault):
    """Holds back each piece for a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        threading.Event().wait(self._seconds)
        yield data


class Trickle(Fault):
    """Forwards byte by byte from a position on, with a pause before each."""

    def __init__(self, at: int, seconds: float) -> None:
        self._at, self._seconds = at, seconds

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        whole = max(0, self._at - start)
        if whole:
            yield data[:whole]
        for position in range(whole, len(data)):
            threading.Event().wait(self._seconds)
            yield data[position : position + 1]


class Cut(Fault):
    """Ends the connection in both directions after so many bytes."""

    def __init__(self, at: int, how: str = "fin") -> None:
        self._at, self._how = at, how

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        if start + len(data) < self._at:
            yield data
            return
        yield data[: self._at - start]
        raise CutError(self._how)


class Stall(Fault):
    """Forwards nothing more after so many bytes, until it is let go on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.stalled = threading.Event()
        self._goes_on = threading.Event()

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        left = max(0, self._at - start)
        if left:
            yield data[:left]
        if len(data) > left:
            self.stalled.set()
            self._goes_on.wait(PATIENCE)
            yield data[left:]

    def go_on(self) -> None:
        """Forward what was held back, and all that follows."""
        self._goes_on.set()


class Corrupt(Fault):
    """Changes single bytes: ``changes`` says by what the byte at a position is xor-ed."""

    def __init__(self, changes: dict[int, int]) -> None:
        self._changes = changes

    def pieces(self, start: int, data: bytes) -> Iterator[bytes]:
        changed = bytearray(data)
        for position, mask in self._changes.items():
            if start <= position < start + len(data):
                changed[position - start] ^= mask
        yield bytes(changed)


class FaultProxy:
    """Stands between clients and a daemon.

    Args:
        target: the address of the daemon; may be changed at any time.

    ``up`` and ``down`` are the faults of the connections that are made from now on, towards the
    daemon and back. ``counts`` are the bytes that were forwarded in the last connection.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.up: Fault = Fault()
        self.down: Fault = Fault()
        self.counts = {"up": 0, "down": 0}
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._socks: dict[socket.socket, None] = {}  # the client's before the daemon's
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)

    def uri(self, name: str = "thing") -> str:
        """Return the URI of an object of the daemon, by way of here."""
        return f"PYRO:{name}@127.0.0.1:{self.port}"

    def _start(self, function: Any, *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, name="fault-proxy", daemon=True)
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, timeout=PATIENCE)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.counts = counts = {"up": 0, "down": 0}
            ends = _Ends(near, far)
            with self._lock:
                self._socks.update({near: None, far: None})
            self._start(self._forward, ends, near, far, self.up, counts, "up")
            self._start(self._forward, ends, far, near, self.down, counts, "down")

    def _forward(
        self,
        ends: _Ends,
        source: socket.socket,
        target: socket.socket,
        fault: Fault,
        counts: dict[str, int],
        direction: str,
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                start = counts[direction]
                for piece in fault.pieces(start, data):
                    target.sendall(piece)
                    counts[direction] += len(piece)
            target.shutdown(socket.SHUT_WR)
        except CutError as cut:
            ends.cut(cut.how)
        except OSError:
            ends.cut("fin")
        finally:
            ends.leave()

    def cut(self, how: str = "fin") -> None:
        """End all connections now."""
        with self._lock:
            socks = [sock for sock in self._socks if sock.fileno() >= 0]
            self._socks.clear()
        for sock in socks:
            _end(sock, how)

    def close(self) -> None:
        """Listen no longer, and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
        with self._lock:
            for sock in self._socks:
                sock.close()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Ends:
    """The two sockets of a connection, and the two threads that use them."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self._socks = near, far
        self._users = 2
        self._how = "fin"
        self._lock = threading.Lock()

    def cut(self, how: str) -> None:
        """End the connection, so that the other thread stops, too."""
        self._how = how
        for sock in self._socks:
            _end(sock, how)

    def leave(self) -> None:
        """Close the sockets if the other thread has left before."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        for sock in self._socks:
            sock.close()


def _end(sock: socket.socket, how: str) -> None:
    """End a connection that another thread may be using."""
    with contextlib.suppress(OSError):
        if how == "rst" and sys.platform == "linux":
            abort(sock)
        else:
            sock.shutdown(socket.SHUT_RDWR)


def abort(sock: socket.socket) -> None:
    """Reset a connection right now, although another thread may be waiting on the socket."""
    # To connect to an address of no family dissolves a connection (Linux only).
    libc = ctypes.CDLL(None, use_errno=True)
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    if libc.connect(sock.fileno(), nowhere, len(nowhere)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

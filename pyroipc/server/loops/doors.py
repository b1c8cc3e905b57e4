"""Where clients come in: the listening sockets of a loop, and the waker.

When there are no descriptors left, a listening socket stays ready and nobody can be let in. So it
is not watched for a moment; who waits outside is let in when there are descriptors again.
"""

from __future__ import annotations

import threading
from time import monotonic

from pyroipc.errors import PyroError
from pyroipc.transports import descriptors
from pyroipc.transports.base import ShortageError
from pyroipc.transports.readiness import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Callable, Collection
    from typing import Any, TypeAlias

    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.transports.base import Listener
    from pyroipc.transports.readiness import Readiness

    Welcome: TypeAlias = Callable[[socket.socket], Visitor | None]

_AT_ONCE = 32
"""How many clients are let in before others have their turn again."""
_NEVER = float("inf")
_PAUSE_SECONDS = 0.05
_LOG_SECONDS = 1.0


class Doors:
    """The listening sockets of a loop.

    Args:
        readiness: watches them.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._doors: dict[int, tuple[Listener, Welcome]] = {}
        # Whoever closes a listener must know that its number is forgotten. A signal handler may.
        self._lock = threading.RLock()
        self._shut: list[int] = []
        self.are_shut = False
        """Whether some are shut for a moment; then call :meth:`open_again` now and then."""
        self._open_at = 0.0
        self._log_at = 0.0

    def add(self, listener: Listener, welcome: Welcome) -> None:
        """Let clients in.

        Args:
            listener: where they come.
            welcome: makes what serves one, or returns None if it is not wanted.
        """
        fd = listener.sock.fileno()
        self._doors[fd] = listener, welcome
        self._readiness.register(fd, READ)

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets; those that are shut for a moment only when that is over."""
        self.open_again(monotonic())
        return [
            listener.sock
            for fd, (listener, _) in list(self._doors.items())
            if fd not in self._shut
        ]

    def open(self, fd: int) -> list[Visitor]:
        """Let those in who wait at a listening socket, up to a number."""
        door = self._doors.get(fd)
        come: list[Visitor] = []
        if door is None:
            return come
        listener, welcome = door
        try:
            for _ in range(_AT_ONCE):
                sock = listener.accept()
                if sock is None:
                    break
                visitor = self._greet(sock, welcome)
                if visitor is not None:
                    come.append(visitor)
        except ShortageError as error:
            self._pause(fd, error)
        except PyroError:  # this door is broken, others are not
            _log().exception("nobody can come in at %s any more", listener.location)
            self.remove([listener])
        return come

    def _greet(self, sock: socket.socket, welcome: Welcome) -> Visitor | None:
        visitor = None
        try:
            visitor = welcome(sock)
        except (BlockingIOError, ConnectionError):
            pass  # it left before it was told that it is not let in
        except (OSError, MemoryError) as error:
            _log().warning("a client could not be served: %s", error)
        except Exception:  # noqa: BLE001 - of a subclass of Daemon, perhaps; others are served
            _log().exception("a client could not be served")
        finally:
            if visitor is None:
                descriptors.close(sock)
        return visitor

    def _pause(self, fd: int, error: Exception) -> None:
        self._readiness.modify(fd, 0)
        self._shut.append(fd)
        self.are_shut = True
        now = monotonic()
        self._open_at = now + _PAUSE_SECONDS
        if now >= self._log_at:
            self._log_at = now + _LOG_SECONDS
            _log().warning("no client can be let in for the moment: %s", error)

    def open_again(self, now: float) -> float:
        """Watch those again that were not watched for a moment; return when to call this again."""
        if now < self._open_at:
            return self._open_at
        shut, self._shut = self._shut, []
        self.are_shut = False
        for fd in shut:
            if fd in self._doors:
                self._readiness.modify(fd, READ)
        return _NEVER

    def remove(self, listeners: Collection[Listener]) -> None:
        """Watch listening sockets no longer; any thread. When it returns, they can be closed."""
        with self._lock:
            for fd, (listener, _) in list(self._doors.items()):
                if listener in listeners:
                    del self._doors[fd]
                    self._readiness.unregister(fd)

    def shut_for_ever(self) -> None:
        """Let nobody in any more; those who wait are turned away."""
        listeners = [listener for listener, _ in list(self._doors.values())]
        self.remove(listeners)
        for listener in listeners:
            listener.close()


class Waker:
    """Ends the waiting of a loop; any thread, and signal handlers.

    Args:
        readiness: what waits.
    """

    def __init__(self, readiness: Readiness) -> None:
        with descriptors.lock:
            self._other, self.sock = descriptors.make_pair()
            descriptors.own(self.sock)
        self.sock.settimeout(0)
        self._other.settimeout(0)
        self.fd = self.sock.fileno()
        readiness.register(self.fd, READ)

    def wake(self) -> None:
        """End the waiting, or let the next one end at once."""
        try:
            self._other.send(b"w")
        except OSError:
            pass  # it is awake, or there is nothing to wake any more

    def rest(self) -> None:
        """Be ready for the next time."""
        try:
            self.sock.recv(4096)
        except OSError:
            pass

    def close(self) -> None:
        """Give back the descriptors."""
        descriptors.close(self.sock)
        descriptors.close(self._other)

    def __del__(self) -> None:
        for name in ("sock", "_other"):
            sock = getattr(self, name, None)
            if sock is not None and sock.fileno() >= 0:
                descriptors.close_soon(sock)


def _log() -> Any:
    import logging

    return logging.getLogger("pyroipc.server")

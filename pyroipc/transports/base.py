"""The contract of sources: where connected sockets come from, and where clients are waited for.

A *source* is a kind of address. It has two functions: ``connect`` makes one connected socket, and
``listen`` makes the listeners of one location. Both raise our errors, with a text that says what
happened, where, and what to do. What is done with a connected socket is up to the channels, and
which peer is trusted is up to :mod:`pyroipc.transports.trust`.

What is common to all sources stands here:

* **Sockets are the C part alone**, ``_socket.socket``: the rest costs a fresh child 5 ms and each
  accepted client some microseconds.
* **Every socket is in the table of descriptors** from the moment it exists, so that forked
  children close it.
* **No signal handler loses one**, not even if it raises right after the system call. The number
  that a system call returned is stored by ``for x in map(...)`` before the interpreter looks for
  signals; :mod:`pyroipc.transports.stream` tells the trick.
* **Sockets block.** A time-out that the program set for all its sockets is taken back.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import errno
import os
import sys
from itertools import starmap
from operator import methodcaller

from pyroipc.errors import DaemonError
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.location import Location

_ACCEPT = methodcaller("_accept")  # the C part has no other: the number of a new descriptor
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_GONE = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "EPERM", "EPROTO",
        # What accept(2) of Linux passes on from the network: this client is lost, others are not.
        "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP",
        "ENETUNREACH", "ETIMEDOUT", "ECONNRESET",
    )
    if hasattr(errno, name)
)  # fmt: skip


class ShortageError(Exception):
    """A client waits but cannot be accepted: no descriptor or no memory is left.

    The listener is as good as before. Whoever waits for clients should leave it alone for a
    moment, because it stays readable.
    """


class Options:
    """How sockets are set up. Plain values: whoever has the settings puts them in here.

    Args:
        prefer_ip_version: 4 or 6: use the addresses of a name that have this version, if it has
            any. 0: use all, in the order of the system. A numeric address decides for itself.
        nodelay: send small messages at once (TCP_NODELAY).
        reuse: take a port over from connections that are about to end (SO_REUSEADDR).
        keepalive_seconds: how long a TCP connection may be idle before the kernel asks whether the
            peer is still there; 0: it never asks. See :func:`pyroipc.transports.tcp.configure`.
        buffer_bytes: size of the kernel's buffers of each socket; 0: as the kernel likes.
        backlog: how many clients may wait to be accepted; the kernel may allow fewer.
        unix_mode: the permissions of the file of a listening unix socket.
    """

    __slots__ = (
        "backlog",
        "buffer_bytes",
        "keepalive_seconds",
        "nodelay",
        "prefer_ip_version",
        "reuse",
        "unix_mode",
    )

    def __init__(
        self,
        *,
        prefer_ip_version: int = 0,
        nodelay: bool = True,
        reuse: bool = True,
        keepalive_seconds: float = 60.0,
        buffer_bytes: int = 0,
        backlog: int = 512,
        unix_mode: int = 0o600,
    ) -> None:
        self.prefer_ip_version = prefer_ip_version
        self.nodelay = nodelay
        self.reuse = reuse
        self.keepalive_seconds = keepalive_seconds
        self.buffer_bytes = buffer_bytes
        self.backlog = backlog
        self.unix_mode = unix_mode

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Options({values})"


class Source:
    """A kind of address.

    Args:
        name: what the table calls it.
        connect: makes a connected socket. It is given a location, options, and a deadline by the
            monotonic clock, or None. It raises ConnectError or TimeoutError.
        listen: makes the listeners of a location, at least one. It raises DaemonError.
    """

    __slots__ = ("connect", "listen", "name")

    def __init__(
        self,
        name: str,
        connect: Callable[[Location, Options, float | None], socket.socket],
        listen: Callable[[Location, Options], list[Listener]],
    ) -> None:
        self.name = name
        self.connect = connect
        self.listen = listen

    def __repr__(self) -> str:
        return f"<source {self.name!r}>"


class Listener:
    """A socket at which clients are accepted.

    One thread at a time may accept. A forked child finds the socket closed.

    Args:
        sock: bound and listening; it is put into non-blocking mode. From here on it is up to the
            listener to close it.
        location: where clients find it: the host as it was given, and the port that it has.
    """

    __slots__ = ("_accepted", "location", "sock")

    def __init__(self, sock: socket.socket, location: Location) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.location = location
        self._accepted: tuple[int, object] | None = None  # accepted, but not yet an object

    def fileno(self) -> int:
        """Return the number of the descriptor, for a selector; -1 once it is closed."""
        return self.sock.fileno()

    def accept(self) -> socket.socket | None:
        """Return the socket of the next client, or None if nobody waits.

        It is blocking, set up, and in the table of descriptors; the caller closes it. None also
        means that a client is gone before it was accepted. If a signal handler raises in here, the
        next call returns the client.

        Raises:
            ShortageError: there is no descriptor or no memory left.
            DaemonError: the system refuses for another reason.
        """
        sock: socket.socket | None = None
        try:
            with descriptors.lock:  # no fork until the socket is in the table
                if self._accepted is None:
                    for self._accepted in map(_ACCEPT, (self.sock,)):  # noqa: B020 - see above
                        break
                assert self._accepted is not None
                parts = (self.sock.family, self.sock.type, self.sock.proto, self._accepted[0])
                for sock in starmap(socket.socket, (parts,)):  # noqa: B007 - it is used below
                    break
                self._accepted = None
                assert sock is not None
                descriptors.own(sock)
            self.prepare(sock)
        except OSError as error:
            if sock is None:
                self._explain(error)
            else:
                descriptors.close(sock)  # the client is gone: its socket cannot be set up
            return None
        except BaseException:
            if sock is not None:
                descriptors.close(sock)
            raise
        else:
            return sock

    def prepare(self, sock: socket.socket) -> None:
        """Set up the socket of a client; OSError means that the client is gone."""
        make_blocking(sock, fresh=sys.platform == "linux")

    def close(self) -> None:
        """Stop listening; any number of times, from any thread."""
        accepted, self._accepted = self._accepted, None
        if accepted is not None:
            os.close(accepted[0])
        descriptors.close(self.sock)

    def _explain(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError) or error.errno in _GONE or self.fileno() < 0:
            return
        if error.errno in _SHORTAGES:
            raise ShortageError(
                f"no client can be accepted at {self.location}: {reason_of(error)}; raise the "
                "limit of open files (ulimit -n), or let fewer clients connect"
            ) from error
        raise DaemonError(
            f"no client can be accepted at {self.location}: {reason_of(error)}; close this "
            "daemon and make a new one"
        ) from error

    def __repr__(self) -> str:
        state = "" if self.fileno() >= 0 else " closed"
        return f"<{type(self).__name__} {str(self.location)!r}{state}>"


def open_socket(family: int) -> socket.socket:
    """Make a stream socket that blocks, and put it into the table of descriptors.

    Raises:
        OSError: there is no such family here, or no descriptor is left.
    """
    sock: socket.socket | None = None
    try:
        with descriptors.lock:
            for sock in map(socket.socket, (family,), (socket.SOCK_STREAM,)):  # noqa: B007
                break
            assert sock is not None
            descriptors.own(sock)
        make_blocking(sock, fresh=True)
    except BaseException:
        if sock is not None:
            descriptors.close(sock)
        raise
    else:
        return sock


def make_blocking(sock: socket.socket, *, fresh: bool = False) -> None:
    """Have a socket wait without an end, also if the program set a time-out for all sockets.

    A ``fresh`` one was not yet put into another mode, so there mostly is nothing to do.
    """
    if not fresh or sock.gettimeout() is not None:
        sock.settimeout(None)


def set_buffers(sock: socket.socket, options: Options) -> None:
    """Set the sizes of the kernel's buffers, before the socket is connected or listens."""
    if options.buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.buffer_bytes)


def reason_of(error: OSError) -> str:
    """Return what the system says, without the number in front."""
    return str(error.strerror or error).lower()

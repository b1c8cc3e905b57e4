"""TCP over IPv4 and IPv6: a host and a port into connected sockets and listeners.

**Connecting** tries the addresses of a host one after the other, in the order of the system. With
a deadline, each gets an equal share of the time that is left, but 0.25 s at least as long as there
is that much: a first address that does not answer must not use up everything. Looking a name up
counts, too, but only afterwards: nothing can end it. Without a deadline the kernel decides how
long it tries, which is minutes.

**Listening** at a name means listening at all of its addresses, with one port for all of them. A
client may try any, and a stranger could else listen at the one that is left out. Addresses that
this machine does not have are left out as long as there is one that it has. At ``::`` both IPv6
and IPv4 are served, unless version 6 is preferred.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import builtins
import errno
import math
import select
import sys
from time import monotonic

from pyroipc.errors import ConnectError, DaemonError, TimeoutError
from pyroipc.location import Location
from pyroipc.transports import addresses, descriptors
from pyroipc.transports.base import (
    Listener,
    Options,
    Source,
    make_blocking,
    open_socket,
    reason_of,
    set_buffers,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyroipc.transports.addresses import SocketAddress

_LINUX = sys.platform == "linux"
_LEAST_SHARE_SECONDS = 0.25
_POLL_MAX = 86_400_000  # milliseconds; more than poll() can take would be an error
_PROBES = 4
_LONGEST_KEEPALIVE = 32767  # seconds; the kernel takes no more
_PORT_ATTEMPTS = 10
_IDLE = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS: the 2nd
_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))

# What the kernel answers, in words, and what can be done about it.
_REASONS: dict[int, tuple[str, str]] = {
    errno.ECONNREFUSED: (
        "refused the connection",
        "is a daemon running there? It must listen on this port, and at this address: one on "
        "localhost is reached from its own machine only",
    ),
    errno.ETIMEDOUT: (
        "did not answer",
        "is the machine switched on, is the address right, and does a firewall let the port pass?",
    ),
    errno.ENETUNREACH: (
        "is in a network that cannot be reached",
        "look at the interfaces and routes of this machine",
    ),
    errno.EHOSTUNREACH: (
        "cannot be reached",
        "is the machine switched on and in this network, and does a firewall let the port pass?",
    ),
    errno.EADDRNOTAVAIL: (
        "cannot be reached from any address of this machine",
        "either it has no such network (IPv6 may be switched off), or all of its ports are in use",
    ),
    errno.EAFNOSUPPORT: (
        "is of a kind that this machine does not have",
        "set PREFER_IP_VERSION to the other one, or use another address of the host",
    ),
    errno.EINVAL: (
        "is no complete address",
        "a link-local IPv6 address needs the interface, as in [fe80::1%eth0]:9090",
    ),
    errno.EMFILE: (
        "was not tried, because this process has too many open files",
        "raise the limit (ulimit -n), or release proxies that are not used",
    ),
    errno.EPERM: ("may not be connected to", "a firewall of this machine forbids it"),
    errno.EACCES: ("may not be connected to", "a rule of this machine forbids it"),
}


def connect(location: Location, options: Options, deadline: float | None = None) -> socket.socket:
    """Connect to a host and port; see the module for the order and the time of the attempts.

    Raises:
        ConnectError: the host is unknown, or none of its addresses takes the connection.
        TimeoutError: the deadline passed; nothing was sent.
    """
    host, port = _parts(location)
    found = addresses.resolve(host, port, options.prefer_ip_version)
    failures: list[tuple[SocketAddress, OSError]] = []
    for index, address in enumerate(found):
        if deadline is not None and deadline <= monotonic():
            break
        try:
            return _connect_to(address, options, _share(deadline, len(found) - index))
        except OSError as error:
            failures.append((address, error))
    if deadline is not None and deadline <= monotonic():
        _fail_late(location, failures)
    _fail(location, failures)


def listen(location: Location, options: Options) -> list[Listener]:
    """Listen at all addresses of a host; port 0 stands for any that is free at all of them.

    Raises:
        DaemonError: the host is unknown or not of this machine, or the port is in use or reserved.
    """
    host, port = _parts(location)
    try:
        found = addresses.resolve(host, port, options.prefer_ip_version)
    except ConnectError as error:
        raise DaemonError(f"cannot listen at {location}: {error}") from error
    # A port that was free at the first address need not be so at the others.
    attempts = 1 if port else _PORT_ATTEMPTS
    while True:
        attempts -= 1
        try:
            return _listen_at_all(location, found, options)
        except OSError as error:
            if not attempts or error.errno != errno.EADDRINUSE:
                _fail_to_listen(location, error)


def configure(sock: socket.socket, options: Options) -> None:
    """Set a TCP socket up, connected or listening; on Linux clients inherit it from a listener.

    A cut cable is noticed by keepalive while nothing is on its way. After ``keepalive_seconds``
    the kernel asks the peer, then four times, each after a sixth of that; then it gives up: 100 s
    for the default. On Linux, data that is not taken for just as long ends the connection, too
    (TCP_USER_TIMEOUT; else it would be a quarter of an hour). That also ends one to a peer that
    is alive, but receives nothing of what waits for it all that time.

    Raises:
        OSError: the connection is gone already.
    """
    level = socket.IPPROTO_TCP
    set_buffers(sock, options)
    if options.nodelay:
        sock.setsockopt(level, socket.TCP_NODELAY, 1)
    if options.keepalive_seconds <= 0:
        return
    idle = min(math.ceil(options.keepalive_seconds), _LONGEST_KEEPALIVE)
    interval = max(1, round(idle / 6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if _IDLE is not None:
        sock.setsockopt(level, _IDLE, idle)
    if hasattr(socket, "TCP_KEEPINTVL"):
        sock.setsockopt(level, socket.TCP_KEEPINTVL, interval)
        sock.setsockopt(level, socket.TCP_KEEPCNT, _PROBES)
    if sys.platform == "linux":
        sock.setsockopt(level, socket.TCP_USER_TIMEOUT, 1000 * (idle + _PROBES * interval))


class TcpListener(Listener):
    """Accepts clients at one address of a host."""

    __slots__ = ("_options",)

    def __init__(self, sock: socket.socket, location: Location, options: Options) -> None:
        super().__init__(sock, location)
        self._options = options

    def prepare(self, sock: socket.socket) -> None:
        """Set up the socket of a client; OSError means that the client is gone."""
        super().prepare(sock)
        if not _LINUX:
            configure(sock, self._options)


def _parts(location: Location) -> tuple[str, int]:
    host, port = location.host, location.port
    assert host is not None, "the location of a unix socket"
    assert port is not None
    return host, port


# ------------------------------------------------------------------------------- connecting


def _share(deadline: float | None, attempts: int) -> float | None:
    """Return until when one of so many attempts may take."""
    if deadline is None:
        return None
    now = monotonic()
    return min(deadline, now + max(_LEAST_SHARE_SECONDS, (deadline - now) / attempts))


def _connect_to(address: SocketAddress, options: Options, end: float | None) -> socket.socket:
    """Connect to one address.

    Raises:
        OSError: it did not work; ETIMEDOUT if the time is over.
    """
    sock = open_socket(addresses.family_of(address))
    try:
        configure(sock, options)
        sock.settimeout(0)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            _wait_until_writable(sock, end)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, errno.errorcode.get(code, "unknown"))
        # When nobody listens on a port that the kernel also gives to clients, a connection may
        # get just that port, and then it meets itself.
        if sock.getsockname()[1] == address[1] and sock.getsockname() == sock.getpeername():
            raise OSError(errno.ECONNREFUSED, "connected to itself")
        make_blocking(sock)
    except BaseException:
        descriptors.close(sock)
        raise
    else:
        return sock


def _wait_until_writable(sock: socket.socket, end: float | None) -> None:
    """Wait for the outcome of a connection.

    Raises:
        TimeoutError: the built-in one: the time is over.
    """
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLOUT)
    milliseconds = _POLL_MAX
    while True:
        if end is not None:
            milliseconds = min(max(0, math.ceil(1000 * (end - monotonic()))), _POLL_MAX)
        if poll.poll(milliseconds):
            return
        if not milliseconds:
            raise builtins.TimeoutError(errno.ETIMEDOUT, "the time is over")


def _told(failures: list[tuple[SocketAddress, OSError]]) -> tuple[str, str]:
    """Return what the addresses answered, and what can be done about that."""
    told: list[str] = []
    advice: dict[str, None] = {}  # a set that keeps the order
    for address, error in failures:
        words, hint = _REASONS.get(error.errno or 0, ("", ""))
        told.append(f"{addresses.shown(address)} {words or f'failed: {_strerror(error)}'}")
        if hint:
            advice[hint] = None
    return ", ".join(told), " Also: ".join(advice)


def _strerror(error: OSError) -> str:
    import os

    return os.strerror(error.errno).lower() if error.errno else str(error)


def _fail(location: Location, failures: list[tuple[SocketAddress, OSError]]) -> NoReturn:
    """Raise the error for addresses that were all tried in vain.

    Raises:
        ConnectError: always.
    """
    told, advice = _told(failures)
    host, _ = _parts(location)
    if addresses.is_wildcard(host):
        advice = (
            f"{host} is no address to connect to, it only means all addresses of a machine that "
            "listens: use the name or an address of that machine (a daemon tells its clients "
            "another host with nathost)"
        )
    raise ConnectError(
        f"cannot connect to {location}: {told}" + (f"; {advice}" if advice else "")
    ) from failures[-1][1]


def _fail_late(location: Location, failures: list[tuple[SocketAddress, OSError]]) -> NoReturn:
    """Raise the error for a deadline that passed.

    Raises:
        TimeoutError: always.
    """
    told, advice = _told(failures)
    if not told:
        told = "the time was over before an address was tried"
        advice = "allow more time, or use a numeric address if looking names up is slow"
    late = TimeoutError(
        f"cannot connect to {location} in time: {told}" + (f"; {advice}" if advice else "")
    )
    late.call_status = "not sent"
    raise late from (failures[-1][1] if failures else None)


# -------------------------------------------------------------------------------- listening


def _listen_at_all(
    location: Location, found: list[SocketAddress], options: Options
) -> list[Listener]:
    """Listen at all addresses that this machine has, on the port of the first one.

    Raises:
        OSError: one of them cannot be had, or this machine has none of them.
    """
    made: list[Listener] = []
    missing: OSError | None = None
    host, port = _parts(location)
    try:
        for address in found:
            try:
                listener = _listen_at((address[0], port, *address[2:]), host, options)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
            else:
                made.append(listener)
                port = listener.location.port or 0
        if missing is not None and not made:
            raise missing
    except BaseException:
        for listener in made:
            listener.close()
        raise
    else:
        return made


def _listen_at(address: tuple[str | int, ...], host: str, options: Options) -> Listener:
    """Listen at one address.

    Raises:
        OSError: it cannot be had.
    """
    sock = open_socket(socket.AF_INET if len(address) == 2 else socket.AF_INET6)
    try:
        _share_port(sock, options)
        if sock.family == socket.AF_INET6:
            both = addresses.is_wildcard(host) and options.prefer_ip_version != 6
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        configure(sock, options)
        sock.bind(address)
        sock.listen(options.backlog)
        return TcpListener(sock, Location(host, sock.getsockname()[1]), options)
    except BaseException:
        descriptors.close(sock)
        raise


def _share_port(sock: socket.socket, options: Options) -> None:
    if sys.platform == "win32":
        # There, SO_REUSEADDR would let any process take the port away from us.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    elif options.reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _fail_to_listen(location: Location, error: OSError) -> NoReturn:
    """Raise the error for a location that cannot be had.

    Raises:
        DaemonError: always.
    """
    _, port = _parts(location)
    if error.errno == errno.EADDRINUSE:
        text = (
            f"port {port} is in use by another process, or by another daemon of this one; use "
            "another port, or 0 for any that is free"
        )
    elif error.errno in _NOT_HERE:
        hosts = ", ".join([*addresses.reachable_hosts(), "localhost"])
        text = (
            f"this machine has no such address; use one of its own ({hosts}), or 0.0.0.0 for all "
            "of them, with nathost for what clients are told"
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        text = f"port {port} may not be used; ports below 1024 need privileges, use a higher one"
    elif error.errno == errno.EINVAL:
        text = _REASONS[errno.EINVAL][1]
    else:
        text = reason_of(error)
    raise DaemonError(f"cannot listen at {location}: {text}") from error


SOURCE = Source("tcp", connect, listen)

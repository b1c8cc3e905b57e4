"""Sockets of the operating system, as Pyro's ``socketutil`` hands them to its users.

pyroipc itself uses none of this: its sockets are those of :mod:`pyroipc.transports`. It is here
for programs that call Pyro's functions directly, and it raises what they expect: ``OSError`` where
a socket cannot be made, and the errors of :mod:`pyroipc.errors` where one is read or written.
"""

from __future__ import annotations

import builtins
import ipaddress
import os
import select
import socket
from errno import EAGAIN, EINPROGRESS, EINTR, EWOULDBLOCK

from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Final, Self, TypeAlias

    IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

__all__ = [
    "SocketConnection",
    "bind_unused_port",
    "create_bc_socket",
    "create_socket",
    "family_str",
    "find_probably_unused_port",
    "get_interface",
    "get_ip_address",
    "get_ssl_context",
    "interrupt_socket",
    "receive_data",
    "send_data",
    "set_keepalive",
    "set_nodelay",
    "set_noinherit",
    "set_reuseaddr",
]

_RETRIED: Final = frozenset({EINTR, EAGAIN, EWOULDBLOCK, EINPROGRESS})
_BACKLOG: Final = 100
_OUTSIDE: Final = "4.2.2.2"
"""An address that is certainly none of this machine or its networks; nothing is sent there."""
_NOT_GIVEN: Final = -1
_FAMILIES: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6", socket.AF_UNIX: "Unix"}


# ---------------------------------------------------------------------- receiving and sending


def receive_data(sock: socket.socket, size: int) -> bytes:
    """Receive exactly so many bytes.

    Raises:
        ConnectionClosedError: the peer is gone; ``partialData`` is what came before.
        TimeoutError: the time-out of the socket is over.
    """
    data = bytearray(size)
    received = 0
    while received < size:
        try:
            count = sock.recv_into(memoryview(data)[received:])
        except builtins.TimeoutError:
            raise TimeoutError("receiving: timeout") from None
        except OSError as error:
            if error.errno not in _RETRIED:
                raise ConnectionClosedError(f"receiving: connection lost: {error}") from error
            _await(sock, select.POLLIN)
            continue
        if not count:
            short = ConnectionClosedError("receiving: not enough data")
            short.partialData = bytes(data[:received])  # type: ignore[attr-defined]
            raise short
        received += count
    return bytes(data)


def send_data(sock: socket.socket, data: bytes) -> None:
    """Send all of the bytes.

    Raises:
        ConnectionClosedError: the peer is gone.
        TimeoutError: the time-out of the socket is over.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except builtins.TimeoutError:
            raise TimeoutError("sending: timeout") from None
        except OSError as error:
            if error.errno not in _RETRIED:
                raise ConnectionClosedError(f"sending: connection lost: {error}") from error
            _await(sock, select.POLLOUT)


def _await(sock: socket.socket, event: int) -> None:
    """Wait until a socket that does not block is ready."""
    poll = select.poll()
    poll.register(sock.fileno(), event)
    poll.poll()


# --------------------------------------------------------------------------- making sockets


def create_socket(
    bind: tuple[Any, ...] | str | None = None,
    connect: tuple[Any, ...] | str | None = None,
    reuseaddr: bool = False,
    keepalive: bool = True,
    timeout: float | None = _NOT_GIVEN,
    noinherit: bool = False,
    ipv6: bool = False,
    nodelay: bool = True,
    sslContext: ssl.SSLContext | None = None,
) -> socket.socket:
    """Make a socket that listens, or that is connected, or neither.

    Args:
        bind: where to listen: a tuple for TCP (port 0: any free one), a text for a unix socket.
        connect: where to connect, in the same way.
        reuseaddr: whether to listen at a port that an ended server has just left.
        keepalive: whether TCP asks now and then if the peer is still there.
        timeout: in seconds; 0 and None: none; not given: as Python has it by default.
        noinherit: whether children are not given it.
        ipv6: take IPv6 if neither address tells which version.
        nodelay: whether TCP sends at once.
        sslContext: wrap it in TLS.

    Raises:
        ValueError: both addresses were given.
        OSError: the socket cannot be made.
    """
    if bind is not None and connect is not None:
        raise ValueError("a socket is bound or connected, not both at the same time")
    sock = socket.socket(_family_for(bind, connect, ipv6=ipv6), socket.SOCK_STREAM)
    try:
        sock = _wrapped(sock, bind, connect, sslContext)
        _set_options(sock, reuseaddr=reuseaddr, nodelay=nodelay, noinherit=noinherit)
        if timeout != _NOT_GIVEN:
            sock.settimeout(timeout or None)
        if bind is not None:
            if isinstance(bind, tuple) and bind[1] == 0:
                bind_unused_port(sock, bind[0])
            else:
                sock.bind(bind)
            sock.listen(_BACKLOG)
        if connect is not None:
            sock.connect(connect)
        if keepalive:
            set_keepalive(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _family_for(
    bind: tuple[Any, ...] | str | None, connect: tuple[Any, ...] | str | None, *, ipv6: bool
) -> int:
    address = bind if bind is not None else connect
    if isinstance(address, str):
        return socket.AF_UNIX
    if isinstance(address, tuple) and (len(address) == 4 or ":" in str(address[0])):
        return socket.AF_INET6
    return socket.AF_INET6 if ipv6 else socket.AF_INET


def _wrapped(
    sock: socket.socket,
    bind: tuple[Any, ...] | str | None,
    connect: tuple[Any, ...] | str | None,
    context: ssl.SSLContext | None,
) -> socket.socket:
    if context is None:
        return sock
    if bind is not None:
        return context.wrap_socket(sock, server_side=True)
    name = str(connect[0]) if isinstance(connect, tuple) else None
    return context.wrap_socket(sock, server_hostname=name)


def _set_options(sock: socket.socket, *, reuseaddr: bool, nodelay: bool, noinherit: bool) -> None:
    if reuseaddr:
        set_reuseaddr(sock)
    if nodelay and sock.family != socket.AF_UNIX:
        set_nodelay(sock)
    if noinherit:
        set_noinherit(sock)


def create_bc_socket(
    bind: tuple[Any, ...] | str | None = None,
    reuseaddr: bool = False,
    timeout: float | None = _NOT_GIVEN,
    ipv6: bool = False,
) -> socket.socket:
    """Make a socket for datagrams that may be sent to everybody in a network.

    Args:
        bind: where to receive; None: nowhere yet.
        reuseaddr: whether several may receive at the same port.
        timeout: as :func:`create_socket` takes it.
        ipv6: with IPv6, which has no broadcasts.

    Raises:
        OSError: the socket cannot be made.
    """
    sock = socket.socket(_family_for(bind, None, ipv6=ipv6), socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if reuseaddr:
            set_reuseaddr(sock)
        if timeout != _NOT_GIVEN:
            sock.settimeout(timeout or None)
        if bind is not None:
            if bind[1] == 0:
                bind_unused_port(sock, str(bind[0]))
            else:
                sock.bind(bind)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unused_port(sock: socket.socket, host: object = "localhost") -> int:
    """Bind a socket to a free port of a host, which the system chooses; return the port.

    Raises:
        OSError: the host is none of this machine.
    """
    if sock.family == socket.AF_INET6:
        # Not every machine says that its name localhost is an IPv6 address, too.
        sock.bind(("::1" if host == "localhost" else str(host), 0, 0, 0))
    else:
        sock.bind((str(host), 0))
    port: int = sock.getsockname()[1]
    return port


def find_probably_unused_port(
    family: int = socket.AF_INET, socktype: int = socket.SOCK_STREAM
) -> int:
    """Return a port that is free now; somebody may take it before you do.

    Raises:
        OSError: there is no such kind of socket.
    """
    with socket.socket(family, socktype) as sock:
        return bind_unused_port(sock)


def set_reuseaddr(sock: socket.socket) -> None:
    """Let a socket be bound to a port that an ended server has just left."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def set_nodelay(sock: socket.socket) -> None:
    """Have TCP send at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def set_keepalive(sock: socket.socket) -> None:
    """Have TCP ask now and then if the peer is still there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def set_noinherit(sock: socket.socket) -> None:
    """Keep a socket from children, as Python does anyway."""
    os.set_inheritable(sock.fileno(), False)


def interrupt_socket(address: tuple[str, int]) -> None:
    """Wake whoever waits for connections at an address, by making one that is of no use."""
    try:
        with socket.create_connection(address, timeout=2.0) as sock:
            sock.sendall(b"!" * 16)
    except OSError:
        pass  # nobody waits there


# ------------------------------------------------------------------------------- addresses


def get_ip_address(
    hostname: str, workaround127: bool = False, version: int | None = None
) -> IPAddress:
    """Look a host up.

    Args:
        hostname: its name; empty or None: this machine.
        workaround127: instead of a loopback address, return the one that leads outside.
        version: 4, 6, or 0 for either; None: as the setting PREFER_IP_VERSION says.

    Raises:
        OSError: it has no address of this version.
        gaierror: which is an OSError: it is unknown.
    """
    hostname = hostname or socket.gethostname()
    if version is None:
        version = 0 if ":" in hostname else config.PREFER_IP_VERSION
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(hostname, 80, family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except socket.gaierror:
        if version == 6:
            raise OSError("unable to determine IPV6 address") from None
        if version == 0:
            raise
        return get_ip_address(hostname, workaround127, 0)
    host = str(found[0][4][0])
    if workaround127 and (host.startswith("127.") or host == "0.0.0.0"):  # noqa: S104
        return get_interface(_OUTSIDE).ip
    return ipaddress.ip_address(host)


def get_interface(ip_address: IPAddress | str) -> IPInterface:
    """Return the interface of this machine from which packets to an address leave.

    Raises:
        OSError: there is no way to it.
    """
    towards = ip_address
    if isinstance(towards, str):
        towards = ipaddress.ip_address(towards)
    family = socket.AF_INET if towards.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((str(towards), 53))  # sends nothing
        return ipaddress.ip_interface(sock.getsockname()[0])


def family_str(sock: Any) -> str:
    """Return ``"IPv4"``, ``"IPv6"``, ``"Unix"`` or ``"???"``."""
    return _FAMILIES.get(sock.family, "???")


def get_ssl_context(
    servercert: str = "",
    serverkey: str = "",
    clientcert: str = "",
    clientkey: str = "",
    cacerts: str = "",
    keypassword: str = "",
) -> ssl.SSLContext:
    """Make the TLS context of a server, if it has a certificate, or else of a client.

    Raises:
        ValueError: it has certificates of both.
        SecurityError: a file cannot be used.
    """
    from pyroipc.transports import tls_contexts

    if servercert and clientcert:
        raise ValueError("a context is that of a server or of a client, not of both")
    if servercert:
        return tls_contexts.server_context(
            servercert,
            key=serverkey,
            password=keypassword,
            authorities=cacerts,
            require_client_certificate=config.SSL_REQUIRECLIENTCERT,
        )
    return tls_contexts.client_context(
        authorities=cacerts, certificate=clientcert, key=clientkey, password=keypassword
    )


class SocketConnection:
    """A connected socket with Pyro's methods.

    Args:
        sock: the socket; it is closed with the connection.
        objectId: kept for the user.
        keep_open: leave the socket open.
    """

    def __init__(
        self, sock: socket.socket, objectId: str | None = None, keep_open: bool = False
    ) -> None:
        self.sock = sock
        self.objectId = objectId
        self.keep_open = keep_open
        self.pyroInstances: dict[type, Any] = {}
        self.tracked_resources: set[Any] = _weak_set()

    def send(self, data: bytes) -> None:
        """Send all of the bytes; see :func:`send_data`."""
        send_data(self.sock, data)

    def recv(self, size: int) -> bytes:
        """Receive exactly so many bytes; see :func:`receive_data`."""
        return receive_data(self.sock, size)

    def close(self) -> None:
        """Close the socket, unless it is to be kept open, and what is tracked."""
        if self.keep_open:
            return
        for how in (lambda: self.sock.shutdown(socket.SHUT_RDWR), self.sock.close):
            _ignoring_errors(how)
        self.pyroInstances.clear()
        for resource in list(self.tracked_resources):
            _ignoring_errors(resource.close)
        self.tracked_resources.clear()

    def fileno(self) -> int:
        """Return the number of the descriptor."""
        return self.sock.fileno()

    def family(self) -> str:
        """Return ``"IPv4"``, ``"IPv6"``, ``"Unix"`` or ``"???"``."""
        return family_str(self.sock)

    def settimeout(self, timeout: float | None) -> None:
        """Set the time-out of the socket."""
        self.sock.settimeout(timeout)

    def gettimeout(self) -> float | None:
        """Return the time-out of the socket."""
        return self.sock.gettimeout()

    timeout = property(gettimeout, settimeout)

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the certificate of the peer, or None if this is no TLS connection."""
        ask: Callable[[], Any] | None = getattr(self.sock, "getpeercert", None)
        certificate: dict[str, Any] | None = None if ask is None else ask()
        return certificate

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "tracked_resources" in self.__dict__:  # it was made to the end
            self.close()


def _weak_set() -> Any:
    from weakref import WeakSet

    return WeakSet()


def _ignoring_errors(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001, S110 - it is over anyway
        pass

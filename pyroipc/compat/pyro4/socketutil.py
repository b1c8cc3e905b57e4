"""``Pyro4.socketutil``: sockets under Pyro4's names; see :mod:`pyroipc.compat.sockets`."""

from __future__ import annotations

import errno

from pyroipc.compat import sockets
from pyroipc.compat.pyro4.configuration import config
from pyroipc.errors import CommunicationError, ConnectionClosedError, TimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

__all__ = [
    "CommunicationError",
    "ConnectionClosedError",
    "SocketConnection",
    "TimeoutError",
    "bindOnUnusedPort",
    "config",
    "createBroadcastSocket",
    "createSocket",
    "family_str",
    "findProbablyUnusedPort",
    "getInterfaceAddress",
    "getIpAddress",
    "getIpVersion",
    "getSSLcontext",
    "interruptSocket",
    "receiveData",
    "sendData",
    "setKeepalive",
    "setNoDelay",
    "setNoInherit",
    "setReuseAddr",
]

bindOnUnusedPort = sockets.bind_unused_port
createBroadcastSocket = sockets.create_bc_socket
createSocket = sockets.create_socket
findProbablyUnusedPort = sockets.find_probably_unused_port
getSSLcontext = sockets.get_ssl_context
interruptSocket = sockets.interrupt_socket
receiveData = sockets.receive_data
sendData = sockets.send_data
setKeepalive = sockets.set_keepalive
setNoDelay = sockets.set_nodelay
setNoInherit = sockets.set_noinherit
setReuseAddr = sockets.set_reuseaddr
family_str = sockets.family_str

ERRNO_RETRIES = [errno.EINTR, errno.EAGAIN, errno.EWOULDBLOCK, errno.EINPROGRESS]
ERRNO_BADF = [errno.EBADF]
ERRNO_ENOTSOCK = [errno.ENOTSOCK]
ERRNO_EADDRNOTAVAIL = [errno.EADDRNOTAVAIL]
ERRNO_EADDRINUSE = [errno.EADDRINUSE]


def getIpVersion(hostnameOrAddress: str) -> int:
    """Return 4 or 6: the version of the address of a host.

    Raises:
        OSError: it is unknown.
    """
    version = _preferred(hostnameOrAddress)
    return sockets.get_ip_address(hostnameOrAddress, version=version).version


def _preferred(hostname: str | None) -> int:
    """Return the IP version to look for: as the settings say, and otherwise 4, as in Pyro4."""
    return 0 if ":" in (hostname or "") else config.PREFER_IP_VERSION or 4


def getIpAddress(hostname: str, workaround127: bool = False, ipVersion: int | None = None) -> str:
    """Return the address of a host.

    Args:
        hostname: its name; empty or None: this machine.
        workaround127: instead of a loopback address, the one that leads outside.
        ipVersion: 4, 6, or 0 for either; None: as PREFER_IP_VERSION says, or else 4.

    Raises:
        OSError: it has no address of this version, or is unknown.
    """
    version = _preferred(hostname) if ipVersion is None else ipVersion
    return str(sockets.get_ip_address(hostname, workaround127, version))


def getInterfaceAddress(ip_address: str) -> str:
    """Return the address of the interface from which packets to an address leave.

    Raises:
        OSError: there is no way to it.
    """
    return str(sockets.get_interface(ip_address).ip)


class SocketConnection(sockets.SocketConnection):
    """A connected socket with Pyro4's methods.

    Args:
        sock: the socket; it is closed with the connection.
        objectId: kept for the user.
        keep_open: leave the socket open.
    """

    def __init__(
        self, sock: socket.socket, objectId: str | None = None, keep_open: bool = False
    ) -> None:
        super().__init__(sock, objectId, keep_open)

    def getTimeout(self) -> float | None:
        """Return the time-out of the socket."""
        return self.sock.gettimeout()

    def setTimeout(self, timeout: float | None) -> None:
        """Set the time-out of the socket."""
        self.sock.settimeout(timeout)

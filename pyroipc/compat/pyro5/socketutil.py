"""``Pyro5.socketutil``: functions on sockets."""

from __future__ import annotations

import errno

from pyroipc.compat.pyro5._settings import config
from pyroipc.compat.sockets import (
    SocketConnection,
    bind_unused_port,
    create_bc_socket,
    create_socket,
    family_str,
    find_probably_unused_port,
    get_interface,
    get_ip_address,
    get_ssl_context,
    interrupt_socket,
    receive_data,
    send_data,
    set_keepalive,
    set_nodelay,
    set_noinherit,
    set_reuseaddr,
)
from pyroipc.errors import CommunicationError, ConnectionClosedError, TimeoutError

__all__ = [
    "ERRNO_BADF",
    "ERRNO_EADDRINUSE",
    "ERRNO_EADDRNOTAVAIL",
    "ERRNO_ENOTSOCK",
    "ERRNO_RETRIES",
    "USE_MSG_WAITALL",
    "CommunicationError",
    "ConnectionClosedError",
    "SocketConnection",
    "TimeoutError",
    "bind_unused_port",
    "config",
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

ERRNO_RETRIES = [errno.EINTR, errno.EAGAIN, errno.EWOULDBLOCK, errno.EINPROGRESS]
ERRNO_BADF = [errno.EBADF]
ERRNO_ENOTSOCK = [errno.ENOTSOCK]
ERRNO_EADDRNOTAVAIL = [errno.EADDRNOTAVAIL]
ERRNO_EADDRINUSE = [errno.EADDRINUSE]
USE_MSG_WAITALL = True
"""Without effect: a receive takes what there is."""

"""``Pyro5.errors``: the errors, which are pyroipc's own, and remote tracebacks as text."""

from __future__ import annotations

from pyroipc.compat.pyro5._settings import config
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    DaemonError,
    MessageTooLargeError,
    NamingError,
    ProtocolError,
    PyroError,
    SecurityError,
    SerializeError,
    TimeoutError,
)
from pyroipc.protocol.tracebacks import excepthook, format_traceback, get_pyro_traceback

__all__ = [
    "CommunicationError",
    "ConnectionClosedError",
    "DaemonError",
    "MessageTooLargeError",
    "NamingError",
    "ProtocolError",
    "PyroError",
    "SecurityError",
    "SerializeError",
    "TimeoutError",
    "config",
    "excepthook",
    "format_traceback",
    "get_pyro_traceback",
]

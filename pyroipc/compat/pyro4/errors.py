"""The errors of Pyro4: the very classes that pyroipc raises."""

from __future__ import annotations

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
]

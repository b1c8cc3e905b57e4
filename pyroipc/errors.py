"""Every error that pyroipc raises, on one page.

::

    PyroError
    ├── CommunicationError            the conversation with the peer failed
    │   ├── ConnectionClosedError     the connection ended; see ``call_status``
    │   │   └── PeerDiedError         the peer process ended: pid, exit code or signal
    │   ├── ConnectError              no connection could be made: nothing was sent
    │   ├── BusyError                 the daemon did not begin the call: try again, or elsewhere
    │   │   └── DrainingError         because it is about to stop
    │   ├── TimeoutError              a deadline passed (also a builtins.TimeoutError)
    │   ├── ForkedConnectionError     a proxy or daemon was inherited through a fork
    │   └── ProtocolError             bytes or messages that the protocol does not allow
    │       ├── MessageTooLargeError  a size over its limit, refused before memory is taken
    │       ├── VersionMismatchError  the two ends have no protocol version in common
    │       └── SerializeError        an object or bytes that cannot be encoded or decoded
    ├── SecurityError                 refused by the rules of trust
    ├── DaemonError                   registration, unknown objects, a daemon used wrongly
    ├── DeadlockError                 calls that wait for each other in a circle
    ├── NamingError                   the name server: unknown names, or no server found
    ├── TransferError                 a file cannot be fetched or sent
    │   ├── FileChangedError          it was changed meanwhile
    │   ├── DigestMismatchError       it did not arrive as it was
    │   └── DiskFullError             there is no room for it
    ├── StartupError                  a child that could not start the object it was to host
    └── RemoteError                   a remote exception whose class is not known here

The names and the first two levels are Pyro's, so that ``except Pyro5.errors.CommunicationError``
keeps its meaning after a migration.

An error that ends calls says how far they had come in ``call_status``:
``"not sent"`` (safe to repeat), ``"not started"`` (the peer had not begun it) or ``"unknown"``.
"""

from __future__ import annotations

import builtins

__all__ = [
    "BusyError",
    "CommunicationError",
    "ConnectError",
    "ConnectionClosedError",
    "DaemonError",
    "DeadlockError",
    "DigestMismatchError",
    "DiskFullError",
    "DrainingError",
    "FileChangedError",
    "ForkedConnectionError",
    "MessageTooLargeError",
    "NamingError",
    "PeerDiedError",
    "ProtocolError",
    "PyroError",
    "RemoteError",
    "SecurityError",
    "SerializeError",
    "StartupError",
    "TimeoutError",
    "TransferError",
    "VersionMismatchError",
]


class PyroError(Exception):
    """The base of all errors of this package."""


class CommunicationError(PyroError):
    """The conversation with the peer failed."""

    call_status: str = "unknown"
    """How far the call had come: ``"not sent"``, ``"not started"`` or ``"unknown"``."""


class ConnectionClosedError(CommunicationError):
    """The connection ended: the peer closed it, said goodbye, or is gone."""


class PeerDiedError(ConnectionClosedError):
    """The process at the other end died.

    ``pid`` is its process id, ``exitcode`` follows the convention of multiprocessing:
    the exit status, or minus the number of the signal that killed it, or None if unknown.
    """

    def __init__(
        self, message: str, *, pid: int | None = None, exitcode: int | None = None
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode

    @property
    def signal_name(self) -> str | None:
        """The name of the signal that killed the peer, such as ``"SIGKILL"``, or None."""
        if self.exitcode is None or self.exitcode >= 0:
            return None
        import signal  # it loads enum, which a fresh child need not pay for

        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return f"signal {-self.exitcode}"


class ConnectError(CommunicationError):
    """No connection could be made to an address: it is unknown, refuses, or does not answer."""

    call_status = "not sent"


class BusyError(CommunicationError):
    """A daemon has no thread for a call, and has not begun it; it may be repeated safely."""

    call_status = "not started"


class DrainingError(BusyError):
    """A daemon is about to stop and has not begun a call; repeat it elsewhere, or later."""


class TimeoutError(CommunicationError, builtins.TimeoutError):  # noqa: A001 - Pyro's name
    """A deadline passed before the answer came."""


class ForkedConnectionError(CommunicationError):
    """A proxy or a daemon was inherited through a fork; its connection belongs to the parent."""

    call_status = "not sent"


class ProtocolError(CommunicationError):
    """Bytes or messages that the protocol does not allow."""


class MessageTooLargeError(ProtocolError):
    """A message or a part of it is larger than its limit; nothing was allocated for it."""


class VersionMismatchError(ProtocolError):
    """The two ends have no version of the protocol in common."""


class SerializeError(ProtocolError):
    """An object cannot be encoded, or bytes cannot be decoded."""


class SecurityError(PyroError):
    """Refused by the rules of trust."""


class DaemonError(PyroError):
    """Something is wrong with a registration, an object id, or the use of a daemon."""


class DeadlockError(PyroError):
    """A call came back to a thread that waits for its end; the text names the circle."""


class NamingError(PyroError):
    """The name server does not know a name, or none was found."""


class TransferError(PyroError):
    """A file cannot be fetched or sent."""


class FileChangedError(TransferError):
    """A file was changed while it was being transferred: begin anew."""


class DigestMismatchError(TransferError):
    """A file did not arrive as it was sent; what had arrived of it was removed: begin anew."""


class DiskFullError(TransferError):
    """There is no room for a file; the transfer goes on where it stopped when it is repeated."""


class StartupError(PyroError):
    """A child process or thread could not start the object that it was to host."""


class RemoteError(PyroError):
    """A remote exception whose class is not known here.

    What is raised is a subclass of this and of the nearest base class that is known here, so
    that ``except ValueError`` still catches a remote subclass of ValueError.
    """

    remote_class: str = ""
    """The qualified name of the class that the peer raised."""

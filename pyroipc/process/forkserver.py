"""Children from a small server that forks them: fast, and safe in a process with threads.

The server (:mod:`pyroipc.process.served`) is a fresh interpreter with one thread that has loaded
what a child needs, and nothing of the program. It is started with the first child and ends with
this process. A request carries descriptors: the child's ends of the pairs, and the end of a pipe
into which the server writes how the child ended, because only its parent, the server, is told.

:mod:`multiprocessing` has such a server, but its children are reached by an authenticated socket
in the file system, run its bootstrap, import the main module of the program, and do not tell
their exit status by itself. What would be shared is twenty lines.
"""

from __future__ import annotations

import _socket as socket  # as elsewhere: see bootstrap
import array
import os
import struct
import sys
import threading

from pyroipc.process import lifeline
from pyroipc.process.birth import Birth
from pyroipc.process.fresh import start_interpreter
from pyroipc.process.watching import Child, readable
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.process.birth import Order
    from pyroipc.settings import Settings

SIZE = struct.Struct("=I")
PID = struct.Struct("=i")
"""What the server answers: the process id, or minus the number of the error."""
STATUS = struct.Struct("=i")
"""What it writes into the pipe when the child has ended: the exit code, or minus the signal."""
_ANSWER_SECONDS = 20.0
_STATUS_SECONDS = 0.5
_STOP_SECONDS = 1.0


class ServedChild(Child):
    """A child whose parent is the server."""

    def __init__(self, pid: int, life: socket.socket, status: int) -> None:
        self._status = status
        super().__init__(pid, life)
        if self._pidfd is None:  # it has ended already: its status comes, or it is lost
            self.wait(_STATUS_SECONDS)

    def _collect(self) -> bool:
        """Read how the child ended. The server may be gone, too; then nobody knows."""
        if readable(self._status, _STATUS_SECONDS):
            data = os.read(self._status, STATUS.size)
            if len(data) == STATUS.size:
                (self.exitcode,) = STATUS.unpack(data)
        return True

    def _close(self) -> None:
        super()._close()
        if self.owner == os.getpid():
            descriptors.close_number(self._status)


class _RefusedError(Exception):
    """The server could not fork, with this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Server:
    """The server of this process."""

    def __init__(self) -> None:
        with descriptors.lock:
            self.control, theirs = descriptors.make_pair()
            try:
                our_life, life = descriptors.make_pair()
                try:
                    lifeline.prepare(life)
                    pid = start_interpreter("served", [theirs, life])
                finally:
                    life.close()
            except BaseException:
                descriptors.close(self.control)
                raise
            finally:
                theirs.close()
            self.process = Child(pid, our_life)
        self.control.settimeout(_ANSWER_SECONDS)

    def fork(self, request: bytes, *ends: int) -> int:
        """Have a child forked that gets these descriptors; return its process id.

        Raises:
            OSError: the server is gone (ConnectionResetError) or does not answer.
            ConnectionResetError: it is gone.
            _RefusedError: it cannot fork.
        """
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ends))
        self.control.sendmsg([SIZE.pack(len(request))], [rights])
        self.control.sendall(request)
        answer = self.control.recv(PID.size, socket.MSG_WAITALL)
        if len(answer) != PID.size:
            raise ConnectionResetError("the fork server has ended")
        (pid,) = PID.unpack(answer)
        if pid < 0:
            raise _RefusedError(-pid)
        return int(pid)

    def stop(self) -> None:
        """End the server; its children live on."""
        descriptors.close(self.control)
        if not self.process.wait(_STOP_SECONDS):
            self.process.send_signal(_SIGKILL)  # type: ignore[arg-type]
            self.process.wait(_STOP_SECONDS)
        self.process.release()


_SIGKILL = 9
_lock = threading.Lock()
_server: Server | None = None


def start_by_server(settings: Settings) -> tuple[Child, Order]:
    """Have the server fork a child that waits to be told what to host.

    Returns:
        The child, and the order to make the object.

    Raises:
        OSError: no more processes or descriptors are to be had.
        ValueError: this platform lacks what it takes.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise ValueError("start='forkserver' needs Linux; use start='spawn'")
    request = _request(settings)
    with descriptors.lock, Birth(settings) as birth:
        birth.session.greet_ahead()
        status, write_end = os.pipe()
        descriptors.own_number(status)
        try:
            pid = _ask(request, birth.far.fileno(), birth.life.fileno(), write_end)
            return ServedChild(pid, birth.our_life, status), birth.order
        except BaseException:
            descriptors.close_number(status)
            raise
        finally:
            os.close(write_end)


def _ask(request: bytes, *ends: int) -> int:
    """Ask the server for a child; start it if there is none, and once more if it was killed.

    Raises:
        OSError: it cannot fork, or cannot be started.
    """
    global _server
    with _lock:
        for attempt in range(2):
            if _server is None:
                _start_server()
            assert _server is not None
            try:
                return _server.fork(request, *ends)
            except _RefusedError as refused:
                raise OSError(refused.number, os.strerror(refused.number)) from None
            except BaseException as error:  # the server is gone, or its answer was not awaited
                _server.stop()
                _server = None
                if attempt or not isinstance(error, ConnectionError):
                    raise
    raise OSError("the fork server ends as soon as it is started")


def _start_server() -> None:
    global _server
    import atexit

    atexit.unregister(stop_server)
    atexit.register(stop_server)
    _server = Server()


def stop_server() -> None:
    """End the server, if there is one; the next child that needs it starts it again."""
    global _server
    with _lock:
        server, _server = _server, None
        if server is not None:
            server.stop()


def _forget() -> None:
    global _lock, _server
    _lock = threading.Lock()
    _server = None


descriptors.forget_in_children(_forget)


def _request(settings: Settings) -> bytes:
    """Describe the circumstances in which a child is to find itself."""
    import json

    return json.dumps({
        "settings": settings.changed(secrets=False),
        "path": [entry for entry in sys.path if isinstance(entry, str)],
        "argv": [str(argument) for argument in sys.argv],
        "directory": _directory(),
        "environment": dict(os.environ),
    }).encode()


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None

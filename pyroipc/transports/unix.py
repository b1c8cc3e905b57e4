"""Unix sockets: the path of a file into connected sockets and a listener.

Whoever may open the file may connect, so its permissions count: they are set before the socket
listens, and until then nobody can connect at all.

**A file that is there already** is looked at before anything is done to it. Only if it is a socket
that nobody listens on any more was it left behind, by a process that was killed; then it is
replaced. Else it is somebody's, and stays. Processes that start at the same time take turns by a
lock on the directory. So none of them takes the file of another that was about to listen.

**Only who made the file removes it**: not a forked child, and not if another one is in its place.

Abstract names (a leading NUL, Linux) have no permissions: any process could connect, or could
have taken the name before. So nobody listens at one; connecting is allowed, because
:mod:`pyroipc.transports.trust` looks at the peer.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import errno
import os
import select
import stat
import struct
import sys
from time import monotonic

from pyroipc.errors import ConnectError, DaemonError, TimeoutError
from pyroipc.transports import descriptors
from pyroipc.transports.base import (
    Listener,
    Options,
    Source,
    open_socket,
    reason_of,
    set_buffers,
)
from pyroipc.transports.trust import identify_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyroipc.location import Location

_LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes; the kernel's limit, less a NUL
_LOCK_SECONDS = 2.0
_LOCK_PAUSE_MILLISECONDS = 10

_REASONS: dict[int, str] = {
    errno.ENOENT: "there is no such file; is the daemon running, and is this its path?",
    errno.ECONNREFUSED: (
        "nobody listens there: the file was left behind, or is no socket; start the daemon again"
    ),
    errno.EACCES: (
        "permission denied; a daemon opens its socket to its own user only, unless it is given "
        "allowed_uids, and the directory must let you in, too"
    ),
    errno.EPROTOTYPE: "it is a socket of another kind, not of a daemon; is the path right?",
    errno.ENOTDIR: "a part of the path is no directory; is the path right?",
    errno.EMFILE: (
        "this process has too many open files; raise the limit (ulimit -n), or release proxies "
        "that are not used"
    ),
}


def connect(location: Location, options: Options, deadline: float | None = None) -> socket.socket:
    """Connect to the path of a unix socket.

    Raises:
        ConnectError: nobody listens there, or it is not allowed.
        TimeoutError: the deadline passed while the daemon accepted nobody; nothing was sent.
    """
    address = _address(location)
    problem = _too_long(address)
    if problem:
        raise ConnectError(f"cannot connect to {location}: {problem}")
    try:
        return _connect_to(address, options, deadline)
    except BlockingIOError as error:
        late = TimeoutError(
            f"cannot connect to {location} in time: the daemon does not accept anybody at the "
            "moment; is it stopped, or overloaded?"
        )
        late.call_status = "not sent"
        raise late from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or reason_of(error)
        raise ConnectError(f"cannot connect to {location}: {reason}") from error


def listen(location: Location, options: Options) -> list[Listener]:
    """Listen at a path; a file that was left behind there is replaced.

    Raises:
        DaemonError: the path is too long, abstract or taken, or it is not allowed.
    """
    address = _address(location)
    problem = _too_long(address)
    if not problem and address.startswith(b"\0"):
        problem = (
            "an abstract name has no permissions, any process could connect; use the path of a "
            "file, as in ./u:/run/user/1000/server.sock"
        )
    if problem:
        raise DaemonError(f"cannot listen at {location}: {problem}")
    lock = _DirectoryLock(os.path.dirname(os.path.abspath(address)))
    try:
        lock.acquire()
        _make_way(location, address)
        return [_bind(location, address, options)]
    except OSError as error:
        _fail_to_listen(location, error)
    finally:
        lock.release()


class UnixListener(Listener):
    """Accepts clients at a path, and removes the file when it is closed."""

    __slots__ = ("_identity", "_path", "_pid")

    def __init__(self, sock: socket.socket, location: Location, path: bytes) -> None:
        super().__init__(sock, location)
        self._path = os.path.abspath(path)  # the process may go to another directory
        self._pid = os.getpid()
        self._identity: tuple[int, int] | None = _identity(self._path)

    def close(self) -> None:
        """Stop listening and remove the file, if it is still the one that was made here."""
        # First the file: while the socket is open its number is not given to another file.
        self._remove_file()
        super().close()

    def _remove_file(self) -> None:
        identity, self._identity = self._identity, None
        if identity is None or os.getpid() != self._pid:
            return
        try:
            if _identity(self._path) == identity:
                os.unlink(self._path)
        except OSError:
            pass  # it is gone, or the directory is closed to us by now


class _DirectoryLock:
    """Lets one process at a time look at what is in a directory, and put a socket there.

    It is free again as soon as its holder is gone. Where there is none to be had (the directory
    cannot be read, its file system has no locks, somebody holds it all the time), it goes
    without: what is left then is a moment in which two processes that start together could both
    take the place of a socket that was left behind.
    """

    __slots__ = ("_directory", "_fd")

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self) -> None:
        """Wait for it, for two seconds at the most."""
        import fcntl  # a posix module; unix sockets are needed by few

        try:
            for self._fd in map(os.open, (self._directory,), (os.O_RDONLY,)):  # noqa: B020
                break
        except OSError:
            return
        assert self._fd is not None
        descriptors.own_number(self._fd)
        pause = select.poll()
        end = monotonic() + _LOCK_SECONDS
        while monotonic() < end:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause.poll(_LOCK_PAUSE_MILLISECONDS)  # nobody tells us when it is free
            except OSError:
                return
            else:
                return

    def release(self) -> None:
        """Let others have it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_UN)  # also if a child was forked meanwhile that has it open
            descriptors.own_number(fd)  # a signal handler may have come before it was put there
            descriptors.close_number(fd)


def _address(location: Location) -> bytes:
    assert location.sockname is not None, "the location of a host and port"
    return os.fsencode(location.sockname)


def _too_long(address: bytes) -> str | None:
    if len(address) <= _LONGEST_PATH + address.startswith(b"\0"):
        return None
    return (
        f"the path has {len(address)} bytes, and the kernel takes {_LONGEST_PATH} at the most; "
        "use a directory that is nearer to the root, or a relative path"
    )


def _identity(path: bytes) -> tuple[int, int]:
    """Return the device and the number of a file.

    Raises:
        OSError: there is none.
    """
    status = os.lstat(path)
    return status.st_dev, status.st_ino


# ------------------------------------------------------------------------------- connecting


def _connect_to(address: bytes, options: Options, deadline: float | None) -> socket.socket:
    """Connect, waiting for a place among those who wait to be accepted.

    Raises:
        OSError: it did not work; BlockingIOError if the time is over.
    """
    sock = open_socket(socket.AF_UNIX)
    try:
        set_buffers(sock, options)
        while True:
            # Here the kernel's own time-out is needed: it wakes who waits for a place, and a
            # non-blocking socket cannot wait for one.
            if deadline is not None:
                _set_send_timeout(sock, _left(deadline))
            sock.connect(address)
            if _is_connected(sock):
                break
            # A signal came while we waited, and Python takes that for success.
        if deadline is not None:
            _set_send_timeout(sock, 0)
    except BaseException:
        descriptors.close(sock)
        raise
    else:
        return sock


def _left(deadline: float) -> float:
    """Return the seconds that are left.

    Raises:
        BlockingIOError: there are none.
    """
    left = deadline - monotonic()
    if left <= 0:
        raise BlockingIOError(errno.EAGAIN, "the time is over")
    return max(left, 1e-3)


def _set_send_timeout(sock: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True


# -------------------------------------------------------------------------------- listening


def _make_way(location: Location, path: bytes) -> None:
    """Remove a socket that was left behind.

    Raises:
        DaemonError: what is there is no such socket.
        OSError: it cannot be looked at or removed.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise DaemonError(
            f"cannot listen at {location}: there is a file of that name that is no socket; use "
            "another path, or move the file away"
        )
    user = _who_listens(path)
    if user is not None:
        raise DaemonError(
            f"cannot listen at {location}: it is in use by {user}; use another path, or end that "
            "process first"
        )
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # whoever left it has removed it after all


def _who_listens(path: bytes) -> str | None:
    """Return in words who listens at a socket, or None if nobody does.

    Raises:
        OSError: it cannot be found out.
    """
    sock = open_socket(socket.AF_UNIX)
    try:
        sock.settimeout(0)
        code = sock.connect_ex(path)
        pid = None if code else identify_peer(sock).pid
    finally:
        descriptors.close(sock)
    if code in (errno.ECONNREFUSED, errno.ENOENT):
        return None
    if code in (errno.EACCES, errno.EPERM):
        raise OSError(code, os.strerror(code))
    if pid == os.getpid():
        return f"another daemon of this process ({pid})"
    # Another kind of socket, or so many wait there that it cannot be asked: somebody has it.
    return f"process {pid}" if pid else "another process"


def _bind(location: Location, path: bytes, options: Options) -> Listener:
    """Make the file and listen.

    Raises:
        OSError: it cannot be made.
    """
    sock = open_socket(socket.AF_UNIX)
    listener: Listener | None = None
    try:
        set_buffers(sock, options)
        try:
            os.fchmod(sock.fileno(), options.unix_mode)  # Linux: the file is made with it
        except OSError:
            pass  # elsewhere it comes below, where nobody can connect yet either
        sock.bind(path)
        listener = UnixListener(sock, location, path)
        if stat.S_IMODE(os.lstat(path).st_mode) != options.unix_mode:  # the umask took some away
            os.chmod(path, options.unix_mode)
        sock.listen(options.backlog)
    except BaseException:
        if listener is not None:
            listener.close()
        descriptors.close(sock)
        raise
    else:
        return listener


def _fail_to_listen(location: Location, error: OSError) -> NoReturn:
    """Raise the error for a path that cannot be had.

    Raises:
        DaemonError: always.
    """
    directory = os.path.dirname(os.path.abspath(location.sockname or ""))
    if error.errno == errno.ENOENT:
        text = f"there is no directory {directory}; make it first"
    elif error.errno == errno.ENOTDIR:
        text = f"a part of {directory} is no directory; use another path"
    elif error.errno in (errno.EACCES, errno.EPERM):
        text = (
            f"permission denied; files must be allowed in {directory}, and one that is there "
            "already must be yours"
        )
    elif error.errno == errno.EADDRINUSE:
        text = "another process was quicker; use another path, or end that process first"
    else:
        text = reason_of(error)
    raise DaemonError(f"cannot listen at {location}: {text}") from error


SOURCE = Source("unix", connect, listen)

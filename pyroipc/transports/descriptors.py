"""The table of descriptors that belong to this process alone, and the lock around forks.

What is in the table is closed in every forked child before anything else of the child runs:
children of :mod:`pyroipc.process`, of :mod:`multiprocessing`, of ``os.fork``. It is the ends of
pairs, listening sockets and connections. All of it is close-on-exec, so programs that are started
inherit nothing either.

Descriptors that are to be inherited by one child only (its ends of the pairs) must not exist
while another thread forks. So whoever makes them holds :data:`lock` until they are closed here;
every fork takes that lock first.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

lock = threading.RLock()
"""Held while there are descriptors that are in no table, and during every fork."""
_sockets: dict[int, socket.socket] = {}  # by id of the object
_numbers: set[int] = set()
# From finalizers, which must not wait for the lock.
_to_close: deque[socket.socket | int] = deque()
_forgetters: list[Callable[[], None]] = []


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Make a connected pair; the first is put into the table, the second is up to the caller.

    The caller holds :data:`lock`.
    """
    near, far = socket.socketpair()
    for sock in (near, far):
        if sock.gettimeout() is not None:  # the program set a default for all sockets
            sock.settimeout(None)
    own(near)
    return near, far


def own(sock: socket.socket) -> None:
    """Put a socket into the table."""
    with lock:
        _sockets[id(sock)] = sock


def own_number(fd: int) -> int:
    """Put a plain descriptor into the table, and return it."""
    with lock:
        _numbers.add(fd)
    return fd


def close(sock: socket.socket) -> None:
    """Close a socket and take it out of the table; any number of times.

    Args:
        sock: a socket, or a coat around one that is in the table.
    """
    with lock:
        sock.close()
        _sockets.pop(id(getattr(sock, "raw", sock)), None)
        _close_waiting()


def close_number(fd: int) -> None:
    """Close a plain descriptor that is in the table; one that is not is left alone."""
    with lock:
        if fd in _numbers:
            _numbers.discard(fd)
            os.close(fd)


def disown_number(fd: int) -> None:
    """Take a plain descriptor out of the table: it is somebody else's from now on."""
    with lock:
        _numbers.discard(fd)


def close_number_soon(fd: int) -> None:
    """Close a plain descriptor that is in the table, without ever waiting: for finalizers."""
    _close_soon(fd)


def close_soon(sock: socket.socket) -> None:
    """Close a socket at once or a little later, without ever waiting: for finalizers."""
    _close_soon(sock)


def _close_soon(what: socket.socket | int) -> None:
    _to_close.append(what)
    if lock.acquire(blocking=False):
        try:
            _close_waiting()
        finally:
            lock.release()


def _close_waiting() -> None:
    while _to_close:
        sock = _to_close.popleft()
        if isinstance(sock, int):
            close_number(sock)
            continue
        sock.close()
        _sockets.pop(id(getattr(sock, "raw", sock)), None)


def forget_in_children(function: Callable[[], None]) -> None:
    """Call a function in every forked child, after the descriptors were closed."""
    _forgetters.append(function)


def _before_fork() -> None:
    lock.acquire()


def _after_fork_in_parent() -> None:
    _close_waiting()
    try:
        lock.release()
    except RuntimeError:
        pass  # a signal handler raised in _before_fork


def _after_fork_in_child() -> None:
    global lock
    lock = threading.RLock()
    for sock in _sockets.values():
        # The object must not close the number again, which may be somebody else's by then.
        _close_quietly(sock.detach())
    for fd in _numbers:
        _close_quietly(fd)
    _sockets.clear()
    _numbers.clear()
    _to_close.clear()
    for function in _forgetters:
        function()


def _close_quietly(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # somebody else closed it already


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )

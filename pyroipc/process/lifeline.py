"""The lifeline: a socket pair that carries nothing, and ends the child when the parent ends.

The parent holds one end and does nothing with it; the kernel closes it when the parent ends, in
whatever way. The child holds the other end, *armed*:

* Linux: the kernel sends a signal of our choice to the child when something happens on the
  descriptor (O_ASYNC, F_SETSIG, F_SETOWN). The only thing that ever happens is its end. With
  SIGKILL that needs no thread and no cooperation: a child that computes in C with the
  interpreter lock held, or sleeps, is gone within a millisecond.
* elsewhere: a daemon thread waits for the end and leaves with ``os._exit``. It needs the
  interpreter lock for that.

The child's own children have nothing of it: their copy of the descriptor is closed right after
the fork (``descriptors``) or by the exec, and the signal goes to the child alone.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
import sys

from pyroipc.transports import descriptors

if sys.platform == "linux":
    import fcntl

ORPHAN_EXIT_CODE = 69
"""The exit code of a child that finds that its parent is gone (nobody is left to see it)."""
_SIGKILL = 9  # the module signal need not be loaded for it


def prepare(end: socket.socket) -> None:
    """In the parent: set what belongs to the open socket and not to the process that holds it."""
    if sys.platform == "linux":
        fcntl.fcntl(end, fcntl.F_SETSIG, _SIGKILL)
        fcntl.fcntl(end, fcntl.F_SETFL, os.O_RDWR | os.O_ASYNC | os.O_NONBLOCK)


def arm(end: socket.socket, parent: int) -> None:
    """In the child: end this process when the other end closes. If it has closed, end at once.

    Args:
        end: our end.
        parent: the process that holds the other end if it is our parent, else 0.
    """
    descriptors.own(end)
    if sys.platform == "linux":
        fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
        # It may have closed before there was anybody to send a signal to.
        if os.getppid() != parent if parent else _has_ended(end):
            os._exit(ORPHAN_EXIT_CODE)
    else:
        _watch_in_a_thread(end)


def _has_ended(end: socket.socket) -> bool:
    try:
        return not end.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _watch_in_a_thread(end: socket.socket) -> None:
    import threading

    def wait() -> None:
        try:
            end.recv(1)
        except OSError:
            pass
        os._exit(ORPHAN_EXIT_CODE)

    threading.Thread(target=wait, name="pyroipc-lifeline", daemon=True).start()

"""A child by fork: fast, and with everything that the parent has, for a parent with one thread."""

from __future__ import annotations

import os
import sys

from pyroipc.process import child, descriptors
from pyroipc.process.watching import Child

# The C part of signal: masks are numbers here, and the module was loaded by child anyway.
import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pyroipc.process.child import Recipe
    from pyroipc.settings import Settings


def start_by_fork(recipe: Recipe, settings: Settings) -> tuple[Child, socket.socket]:
    """Fork a child that hosts an object.

    Args:
        recipe: how to make the object.
        settings: read in the child.

    Returns:
        The child, and the parent's end of the pair that carries calls.

    Raises:
        OSError: no more processes or descriptors are to be had.
    """
    _flush()
    parent = os.getpid()
    with descriptors.lock:
        near, far = descriptors.make_pair()
        try:
            our_life, life = descriptors.make_pair()
            try:
                pid = _fork()
                if not pid:
                    child.forget_exit_functions()
                    child.run(far, life, settings, recipe, parent)
                return Child(pid, our_life), near
            except BaseException:
                descriptors.close(our_life)
                raise
            finally:
                life.close()
        except BaseException:
            descriptors.close(near)
            raise
        finally:
            far.close()


def _fork() -> int:
    """Fork with all signals blocked; the child unblocks them when it has taken leave of ours."""
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    pid = -1
    try:
        pid = _fork_silently()
    finally:
        if pid:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return pid


def _fork_silently() -> int:
    """Fork; no warning about threads, for whoever asked for a fork in a threaded process."""
    if sys.version_info < (3, 12):
        return os.fork()
    import threading

    if threading.active_count() == 1 and count_threads() == 1:
        return os.fork()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def count_threads() -> int:
    """Return how many threads this process has by the kernel's word, or 1 if it does not say."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _flush() -> None:
    """Write out what is printed already, or the child would print it once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):  # noqa: PERF203 - None, or closed
            pass

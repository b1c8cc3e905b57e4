"""A child by fork: fast, and with everything that the parent has, for a parent with one thread."""

from __future__ import annotations

# The C part of signal: masks are numbers here, and the module was loaded by child anyway.
import _signal  # type: ignore[import-not-found]
import os
import sys

from pyroipc.process import child, descriptors
from pyroipc.process.birth import Birth
from pyroipc.process.watching import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.process.birth import Order
    from pyroipc.process.child import Recipe
    from pyroipc.settings import Settings


def start_by_fork(recipe: Recipe, settings: Settings) -> tuple[Child, Order]:
    """Fork a child that hosts an object.

    Args:
        recipe: how to make the object.
        settings: read now.

    Returns:
        The child, and the order to make the object, which it has got.

    Raises:
        OSError: no more processes or descriptors are to be had.
    """
    _flush()
    parent = os.getpid()
    with descriptors.lock, Birth(settings) as birth:
        service = child.Service(birth.far, settings, recipe)
        service.give_away()
        birth.order.send()
        try:
            pid = _fork()
            if not pid:
                child.forget_exit_functions()
                child.run(lambda: service, birth.life, parent)
            return Child(pid, birth.our_life), birth.order
        finally:
            service.forget()


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
        except (AttributeError, ValueError, OSError):
            pass

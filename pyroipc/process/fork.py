"""A child by fork: fast, and with everything that the parent has, for a parent with one thread."""

from __future__ import annotations

# The C part of signal: masks are numbers here, and the module was loaded by child anyway.
import _signal  # type: ignore[import-not-found]
import os
import sys
import threading

from pyroipc.process import child
from pyroipc.process.birth import Birth
from pyroipc.process.watching import Child
from pyroipc.serializers.main_names import child_identity
from pyroipc.server.exposure import exposed_members
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.process.birth import Order
    from pyroipc.process.child import Recipe
    from pyroipc.protocol.hello import Hello
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
    alone = threading.active_count() == 1 and count_threads() == 1
    with descriptors.lock, Birth(settings) as birth:
        service = child.Service(birth.far, settings, recipe)
        service.give_away()
        if isinstance(recipe[0], type):
            exposed_members(recipe[0], public=True)  # once here, not in each child
        hello = None
        if alone:
            hello = birth.session.hello()
        else:
            # Somebody's lock may have been held, and nobody will give it back in the child: so
            # it has to answer within HANDSHAKE_TIMEOUT.
            birth.session.greet_ahead()
        birth.order.send()
        try:
            pid = _fork(alone)
            if not pid:
                child.forget_exit_functions()
                child.run(lambda: service, birth.life, parent, hello)
            if hello is not None:
                birth.session.begin(_hello_of_child(hello, pid, service.token))
            return Child(pid, birth.our_life), birth.order
        finally:
            service.forget()


def _hello_of_child(hello: Hello, pid: int, token: str) -> Hello:
    """Return what a child that was forked just now would say."""
    hello.pid = pid
    hello.session = token
    hello.image = child_identity(pid)
    hello.features |= {"objects"}
    return hello


def _fork(alone: bool) -> int:  # noqa: FBT001
    """Fork with all signals blocked; the child unblocks them when it has taken leave of ours."""
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    pid = -1
    try:
        pid = os.fork() if alone else _fork_silently()
    finally:
        if pid:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return pid


def _fork_silently() -> int:
    """Fork; no warning about threads, for whoever asked for a fork in a threaded process."""
    if sys.version_info < (3, 12):
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

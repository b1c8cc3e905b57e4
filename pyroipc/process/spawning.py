"""``spawn``: an object in a child process, or in a thread, ready to be called."""

from __future__ import annotations

import os
import sys
import threading

from pyroipc.errors import ConnectionClosedError, PyroError, StartupError, TimeoutError
from pyroipc.process.handle import Handle
from pyroipc.process.stopping import Lease, log, reap_dropped
from pyroipc.settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    from pyroipc.process.birth import Order
    from pyroipc.process.child import Recipe
    from pyroipc.process.stopping import Host
    from pyroipc.settings import Settings

    T = TypeVar("T")

_STARTS = ("auto", "fork", "spawn", "forkserver")
_PLACES = ("process", "thread")


def spawn(
    cls_or_factory: Callable[..., T],
    /,
    *args: Any,
    where: Literal["process", "thread"] = "process",
    start: Literal["auto", "fork", "spawn", "forkserver"] = "auto",
    start_timeout: float | None = None,
    settings: Settings = config,
    **kwargs: Any,
) -> Handle[T]:
    """Make an object in a child process or a thread; return when it is ready to be called.

    Args:
        cls_or_factory: called over there with ``args`` and ``kwargs``; what it returns is hosted.
            Its public members may be called, or if its class uses ``@expose``, the exposed ones.
            For a constructor that takes one of the names below itself, give a lambda.
        *args: given to it.
        **kwargs: given to it.
        where: ``"process"``: a child of this process. ``"thread"``: a thread of this process; the
            arguments are handed over uncopied, calls are encoded all the same.
        start: how a process starts. ``"fork"``: with all that this process has; right if it has
            one thread. ``"spawn"``: as a fresh interpreter; arguments are pickled, and classes and
            functions of ``__main__`` travel by value. ``"forkserver"`` (Linux): the same, but
            forked from a helper process, which is fast from the second time on and lives until
            this process ends. ``"auto"``: fork if this process has exactly one thread, else spawn;
            the logger ``pyroipc.process`` says which, and why.
        start_timeout: how long the making of the object may take, in seconds; None: as long as it
            takes. (That the child answers at all has the setting HANDSHAKE_TIMEOUT.)
        settings: read now, here and in the child.

    Returns:
        A handle: a proxy for the object, and a context manager that stops the child.

    Raises:
        Exception: what the constructor raised, as itself, with the remote traceback as its cause.
        StartupError: the child died, or was not ready in time, or could not be started at all.
        SerializeError: the class or the arguments cannot be pickled for the new process.
        PyroError: the object exposes nothing.
        ValueError: ``where`` or ``start`` is unknown, or cannot be had on this platform.

    May be called by any thread. The child ignores SIGINT and dies with this process.
    """
    if where not in _PLACES or start not in _STARTS:
        raise ValueError(f"where is one of {_PLACES}, start is one of {_STARTS}")
    reap_dropped()
    what = getattr(cls_or_factory, "__name__", None) or type(cls_or_factory).__name__
    recipe = (cls_or_factory, args, kwargs)
    try:
        host, order = _start(where, start, recipe, settings)
    except (OSError, RuntimeError) as error:
        raise StartupError(f"no {where} for {what} could be started: {error}") from error
    session = order.session
    lease = None
    try:
        session.explain = host.explain
        if host.kind == "process":
            session.channel.tick(host.check)
        facts = order.result(recipe, start_timeout)
        lease = Lease(host, session)
        return Handle._pyro_holding(lease, session, facts, settings, what)
    except BaseException as error:
        (lease or Lease(host, session)).abort(own_end=hasattr(error, "_pyroTraceback"))
        if isinstance(error, PyroError) and not hasattr(error, "_pyroTraceback"):
            _explain_start(error, what, start_timeout)
        raise


def _start(where: str, start: str, recipe: Recipe, settings: Settings) -> tuple[Host, Order]:
    """Start the host."""
    if where == "thread":
        from pyroipc.process.thread import start_in_thread

        return start_in_thread(recipe, settings)
    if start == "auto":
        start, why = choose_start()
        log("start='auto': %s, because %s", start, why)
    if start == "fork":
        from pyroipc.process.fork import start_by_fork

        return start_by_fork(recipe, settings)
    if start == "forkserver":
        from pyroipc.process.forkserver import start_by_server

        return start_by_server(settings)
    from pyroipc.process.fresh import start_fresh

    return start_fresh(settings)


def choose_start() -> tuple[str, str]:
    """Return what ``start="auto"`` means right now, and why."""
    if not hasattr(os, "fork"):
        return "spawn", "this platform has no fork"
    if sys.platform == "darwin":
        return "spawn", "system libraries of macOS do not survive a fork"
    from pyroipc.process.fork import count_threads

    threads = threading.active_count()
    if threads > 1:
        return "spawn", f"this process has {threads} threads, and a fork would copy only one"
    threads = count_threads()
    if threads > 1:
        return "spawn", f"this process has {threads} threads, some of them not Python's"
    return "fork", "this process has one thread"


def _explain_start(error: PyroError, what: str, timeout: float | None) -> None:
    """Raise a StartupError for what went wrong with the child rather than in its constructor.

    Raises:
        StartupError: from the error.
    """
    if isinstance(error, TimeoutError):
        limit = "HANDSHAKE_TIMEOUT" if timeout is None else f"start_timeout={timeout}"
        raise StartupError(f"{what} was not ready in time ({limit})") from error
    if isinstance(error, ConnectionClosedError):
        raise StartupError(f"{what} could not be started: {error}") from error

"""``spawn``: an object in a child process, or in a thread, ready to be called."""

from __future__ import annotations

import os
import sys
import threading

from pyroipc.client.proxy import Proxy
from pyroipc.client.session import Session
from pyroipc.client.sharing import open_channel
from pyroipc.errors import PyroError, StartupError, TimeoutError
from pyroipc.process import descriptors
from pyroipc.process.handle import Handle
from pyroipc.process.stopping import Lease, log, reap_dropped
from pyroipc.server.daemon import DAEMON_NAME
from pyroipc.settings import config
from pyroipc.transports.trust import own_pair_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    from pyroipc.process.child import Recipe
    from pyroipc.process.stopping import Host
    from pyroipc.settings import Settings

    T = TypeVar("T")

_STARTS = ("auto", "fork", "spawn", "forkserver")
_PLACES = ("process", "thread")
_FAILED_SECONDS = 5.0
"""How long a child that could not make its object may take to end by itself."""


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
        host, sock, told = _start(where, start, recipe, settings)
    except (OSError, RuntimeError) as error:
        raise StartupError(f"no {where} for {what} could be started: {error}") from error
    lease = None
    try:
        session = Session(open_channel(sock, own_pair_peer(), owned=True), settings)
        session.explain = host.explain
        if host.kind == "process":
            session.channel.on_tick = host.check
        lease = Lease(host, session, sock)
        facts = _make_object(session, recipe if told else (), start_timeout, settings)
        return Handle._pyro_holding(lease, session, facts, settings, what)
    except BaseException as error:
        _clear_away(error, host, sock, lease)
        if isinstance(error, PyroError) and not hasattr(error, "_pyroTraceback"):
            _explain_start(error, what, start_timeout)
        raise


def _start(
    where: str, start: str, recipe: Recipe, settings: Settings
) -> tuple[Host, socket.socket, bool]:
    """Start the host; say also whether it has yet to be told what to make."""
    host: Host
    if where == "thread":
        from pyroipc.process.thread import start_in_thread

        host, sock = start_in_thread(recipe, settings)
        return host, sock, False
    if start == "auto":
        start, why = choose_start()
        log("start='auto': %s, because %s", start, why)
    if start == "fork":
        from pyroipc.process.fork import start_by_fork

        host, sock = start_by_fork(recipe, settings)
        return host, sock, False
    if start == "forkserver":
        from pyroipc.process.forkserver import start_by_server

        host, sock = start_by_server(settings)
    else:
        from pyroipc.process.fresh import start_fresh

        host, sock = start_fresh(settings)
    return host, sock, True


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


def _make_object(
    session: Session, recipe: tuple[Any, ...], timeout: float | None, settings: Settings
) -> dict[str, Any]:
    """Have the object made; return its id and its members."""
    daemon = Proxy._pyro_over(session, DAEMON_NAME, settings)
    daemon._pyroSerializer = "pickle"  # whatever calls will use: this one carries a class
    daemon._pyroTimeout = timeout
    facts: dict[str, Any] = daemon._pyroInvoke("start", recipe, None)
    return facts


def _clear_away(
    error: BaseException, host: Host, sock: socket.socket, lease: Lease | None
) -> None:
    """Leave nothing behind of a host whose start failed."""
    if lease is None:
        host.send_signal(_SIGKILL)  # type: ignore[arg-type]
        descriptors.close(sock)
        host.release()
    elif hasattr(error, "_pyroTraceback"):  # the child's own error: it is about to end by itself
        lease.stop(_FAILED_SECONDS)
    else:
        lease.kill()


_SIGKILL = 9


def _explain_start(error: PyroError, what: str, timeout: float | None) -> None:
    """Raise a StartupError for what went wrong with the child rather than in its constructor.

    Raises:
        StartupError: from the error.
    """
    from pyroipc.errors import ConnectionClosedError

    if isinstance(error, TimeoutError):
        limit = "HANDSHAKE_TIMEOUT" if timeout is None else f"start_timeout={timeout}"
        raise StartupError(f"{what} was not ready in time ({limit})") from error
    if isinstance(error, ConnectionClosedError):
        raise StartupError(f"{what} could not be started: {error}") from error

"""What runs in a child: the daemon that hosts the object, and the manners of a child process."""

from __future__ import annotations

import atexit
import os
import sys
import threading

# The C part of signal, without the enumerations: this walks over all signals in each child.
import _signal

from pyroipc.client.session import Session
from pyroipc.client.sharing import open_channel
from pyroipc.errors import ConnectionClosedError, StartupError
from pyroipc.process import descriptors, lifeline
from pyroipc.server.daemon import DAEMON_NAME, Daemon, DaemonObject
from pyroipc.server.exposure import expose
from pyroipc.transports.trust import own_pair_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeAlias

    from pyroipc.settings import Settings

    Recipe: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

CRASH_EXIT_CODE = 70
"""The exit code of a child whose own machinery failed."""
FAILED_START_EXIT_CODE = 1


class ChildDaemon(DaemonObject):
    """The ``Pyro.Daemon`` of a child: it also makes the object, and ends the child.

    Args:
        daemon: hosts the object.
        recipe: how to make it; None: the caller of :meth:`start` tells.
    """

    def __init__(self, daemon: Daemon, recipe: Recipe | None) -> None:
        super().__init__(daemon)
        self._recipe = recipe
        self.failed = False
        """Whether the object could not be made."""

    @expose
    def start(
        self,
        factory: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make the object; return its id and metadata. If that fails, the child ends.

        Raises:
            StartupError: there is no recipe, or making the object raised SystemExit or the like.
        """
        recipe, self._recipe = self._recipe, None
        if recipe is not None:
            factory, args, kwargs = recipe
        try:
            if factory is None:
                raise StartupError("the object of this child was made already")
            made = factory(*args, **(kwargs or {}))
            object_id = self._daemon.register(made, type(made).__name__)
        except BaseException as error:
            self.failed = True
            self._daemon.shutdown()
            if isinstance(error, Exception):
                raise
            raise StartupError(f"making the object raised {error!r}") from error
        return {"object_id": object_id, **self.get_metadata(object_id)}

    @expose
    def stop(self) -> None:
        """End the child: calls in flight finish, oneway calls that wait are run."""
        self._daemon.shutdown()


def serve(far: socket.socket, settings: Settings, recipe: Recipe | None, on_tick: Any) -> int:
    """Host one object for the process or thread at the other end; return the exit code.

    Args:
        far: our end of the pair, which is closed at the end.
        settings: read now.
        recipe: how to make the object; None: the other end tells.
        on_tick: called about once a second while nothing happens, or None.
    """
    session = Session(open_channel(far, own_pair_peer(), owned=True), settings)
    session.channel.on_tick = on_tick
    daemon = Daemon.over(session, settings, public=True)
    own = ChildDaemon(daemon, recipe)
    del recipe  # or the arguments live as long as the object
    daemon.registry.register(own, DAEMON_NAME, force=True)
    try:
        daemon.requestLoop()
    finally:
        daemon.close()
        with descriptors.lock:
            session.close()
            descriptors.close(far)
    return FAILED_START_EXIT_CODE if own.failed else 0


def run(
    far: socket.socket,
    life: socket.socket,
    settings: Settings,
    recipe: Recipe | None = None,
    parent: int = 0,
) -> NoReturn:
    """Be a child process until told to stop or left alone; never returns and never raises.

    Args:
        far: our end of the pair that carries calls.
        life: our end of the lifeline.
        settings: read now.
        recipe: how to make the object; None: the parent tells.
        parent: the process whose direct child we are, and which we must not outlive; or 0.
    """
    code = CRASH_EXIT_CODE
    try:
        lifeline.arm(life)
        descriptors.own(far)
        take_signals()
        code = serve(far, settings, recipe, _parent_check(parent) if parent else None)
    except BaseException:  # noqa: BLE001 - the stack below may be the parent's
        _report()
    finally:
        leave(code)


def take_signals() -> None:
    """Take leave of the parent's signal handling: its handlers, wake-up descriptor and mask."""
    _signal.set_wakeup_fd(-1)
    for number in _signal.valid_signals():
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def forget_exit_functions() -> None:
    """In a fork: what is to run at the end of the parent is none of our business."""
    atexit._clear()


def leave(code: int) -> NoReturn:
    """End this process the way an interpreter ends, but for unwinding and tearing down."""
    try:
        for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
            try:
                step()
            except BaseException:  # noqa: BLE001, PERF203
                _report()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001, PERF203 - None, closed, or nobody reads
                pass
    finally:
        os._exit(code)


def _report() -> None:
    try:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - there is nobody else to tell
        pass


def _parent_check(parent: int) -> Callable[[], None]:
    """Make a check for whether the parent is gone though its lifeline is held by somebody else."""

    def check() -> None:
        if os.getppid() != parent:
            raise ConnectionClosedError("the parent process is gone")

    return check

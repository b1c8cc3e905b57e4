"""What runs in a child: the daemon that hosts the object, and the manners of a child process."""

from __future__ import annotations

# The C part of signal, without the enumerations: this walks over all signals in each child.
import _signal  # type: ignore[import-not-found]
import atexit
import os
import sys
import threading

from pyroipc.client import sharing
from pyroipc.client.session import Session
from pyroipc.client.sharing import open_channel
from pyroipc.errors import ConnectionClosedError, StartupError
from pyroipc.process import lifeline
from pyroipc.server.daemon import DAEMON_NAME, Daemon, DaemonObject
from pyroipc.server.exposure import expose
from pyroipc.transports import descriptors
from pyroipc.transports.trust import own_pair_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeAlias

    from pyroipc.protocol.hello import Hello
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
            object_id = self._daemon.register(made, type(made).__name__).object
            assert isinstance(object_id, str)
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


class Service:
    """One object on its way to be hosted for the process or thread at the other end of a pair.

    Made in the process that will run it, or just before that process is forked.

    Args:
        far: our end of the pair; closed at the end.
        settings: read now.
        recipe: how to make the object; None: the other end tells.
    """

    __slots__ = ("_daemon", "_far", "_own", "_session")

    def __init__(self, far: socket.socket, settings: Settings, recipe: Recipe | None) -> None:
        self._far = far
        self._session = Session(open_channel(far, own_pair_peer(), settings, owned=True), settings)
        self._daemon = Daemon.over(self._session, settings, public=True)
        self._own = ChildDaemon(self._daemon, recipe)
        self._daemon.registry.register(self._own, DAEMON_NAME, force=True)

    @property
    def token(self) -> str:
        """What tells this end of the connection from all others."""
        return self._session.token

    def give_away(self) -> None:
        """Before the fork: this session is not one of the parent's."""
        sharing.sessions.discard(self._session)

    def forget(self) -> None:
        """In the parent, after the fork: undo the references that go round in circles."""
        self._daemon.registry.clear()

    def run(self, on_tick: Callable[[], None] | None = None, hello: Hello | None = None) -> int:
        """Serve until told to stop, or until the other end is gone; return the exit code.

        Args:
            on_tick: called about once a second while nothing happens.
            hello: what the other end would say, if it is known; then it does not.

        Raises:
            ProtocolError: the other end broke the rules of the protocol.
        """
        descriptors.own(self._far)
        sharing.sessions.add(self._session)
        if on_tick is not None:
            self._session.channel.tick(on_tick)
        if hello is not None:
            self._session.begin(hello)
        try:
            self._daemon.requestLoop()
        finally:
            self._daemon.close()
            with descriptors.lock:
                self._session.close()
                descriptors.close(self._far)
        return FAILED_START_EXIT_CODE if self._own.failed else 0


def run(
    make: Callable[[], Service], life: socket.socket, parent: int = 0, hello: Hello | None = None
) -> NoReturn:
    """Be a child process until told to stop or left alone; never returns and never raises.

    Args:
        make: makes or gives the service that this process is for.
        life: our end of the lifeline.
        parent: the process whose direct child we are, and which we must not outlive; or 0.
        hello: what that process would say, if it is known.
    """
    code = CRASH_EXIT_CODE
    try:
        lifeline.arm(life, parent)
        take_signals()
        code = make().run(_parent_check(parent) if parent else None, hello)
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
    atexit._clear()  # noqa: SLF001 - as multiprocessing does since 3.14; there is no other way


def leave(code: int) -> NoReturn:
    """End this process the way an interpreter ends, but for unwinding and tearing down."""
    try:
        # What the interpreter itself calls at its end, and multiprocessing at that of a child.
        wait_for_threads = threading._shutdown  # type: ignore[attr-defined]  # noqa: SLF001
        for step in (wait_for_threads, atexit._run_exitfuncs):  # noqa: SLF001
            try:
                step()
            except BaseException:  # noqa: BLE001
                _report()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001, S110 - None, closed, or nobody reads
                pass
    finally:
        os._exit(code)


def _report() -> None:
    kind, error, traceback = sys.exc_info()
    try:
        if kind is not None and error is not None:
            sys.excepthook(kind, error, traceback)
    except BaseException:  # noqa: BLE001, S110 - there is nobody else to tell
        pass


def _parent_check(parent: int) -> Callable[[], None]:
    """Make a check for whether the parent is gone though its lifeline is held by somebody else."""

    def check() -> None:
        if os.getppid() != parent:
            raise ConnectionClosedError("the parent process is gone")

    return check

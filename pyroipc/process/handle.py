"""What ``spawn`` returns: a proxy for the hosted object that also holds the child."""

from __future__ import annotations

from pyroipc.client.manners import T
from pyroipc.client.proxy import Proxy
from pyroipc.process.stopping import CLOSE_SECONDS, reap_dropped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.process.stopping import Lease
    from pyroipc.server.daemon import Daemon
    from pyroipc.settings import Settings

_OWN = frozenset({"proxy", "pid", "exitcode", "close"})


class Handle(Proxy[T]):
    """An object in a child process or thread, to be called as if it were here.

    It is a proxy, so the members of the object are its own, and it holds the child: used as a
    context manager, it stops the child at the end. Four names belong to the handle itself; a
    member of the same name is reached through :attr:`proxy`, where only names that begin with
    ``_pyro`` are not those of the object.

    Any thread may use it. In a forked child of its process it refuses calls, and closing it does
    nothing.
    """

    _pyro_lease: Lease
    _pyro_what: str
    _pyro_plain: Proxy[Any] | None
    _pyro_own_daemon: Daemon | None

    @classmethod
    def _pyro_holding(
        cls, lease: Lease, session: Session, facts: dict[str, Any], settings: Settings, what: str
    ) -> Handle[Any]:
        """Make a handle for a child that said that its object is ready."""
        handle = cls._pyro_over(session, facts["object_id"], settings)
        handle.__dict__.update(
            _pyro_lease=lease, _pyro_what=what, _pyro_plain=None, _pyro_own_daemon=None
        )
        handle._pyro_learn(facts)
        return handle

    @property
    def proxy(self) -> T:
        """A plain proxy for the object: all names are the object's own."""
        plain = self._pyro_plain
        if plain is None or plain._pyro_session is None:  # not yet made, or released
            plain = Proxy._pyro_over(self._pyro_session, self._pyroObjectId, self._pyro_settings)
            self.__dict__["_pyro_plain"] = plain
        return plain  # type: ignore[return-value]

    @property
    def _pyroDaemon(self) -> Daemon:
        """A daemon for objects of this process that the child is to call back.

        What is registered in it and passed to the child arrives there as a proxy. Public members
        of classes without ``@expose`` are callable, as in the child.
        """
        daemon = self._pyro_own_daemon
        if daemon is None:
            from pyroipc.server.daemon import Daemon

            daemon = Daemon.over(self._pyro_session, self._pyro_settings, public=True)
            self.__dict__["_pyro_own_daemon"] = daemon
        return daemon

    @property
    def pid(self) -> int:
        """The id of the process that hosts the object; for a thread, that of this process."""
        return self._pyro_lease.host.pid

    @property
    def exitcode(self) -> int | None:
        """How the child ended: its exit code, or minus the number of the signal that killed it.

        None while it runs, if nobody knows because the program reaped it itself, and for a thread.
        """
        host = self._pyro_lease.host
        host.wait(0)
        return host.exitcode

    def close(self, timeout: float | None = CLOSE_SECONDS) -> None:
        """Stop the child: calls in flight finish, oneway calls that wait run, then it ends.

        A child that takes too long gets SIGTERM when three fifths of the time are over, and
        SIGKILL after four fifths. A thread that takes too long is left alone; its connection is
        closed.

        Args:
            timeout: in seconds, for all of that; None: however long it takes, without signals.

        May be called any number of times, by any thread, also after the child died; it raises
        none of our errors. In a forked child of this process it does nothing.
        """
        self._pyro_lease.stop(timeout)
        reap_dropped()

    def _pyroRelease(self) -> None:
        """Stop the child, as :meth:`close` does."""
        self.close()

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN:
            raise AttributeError(
                f"{name!r} belongs to the handle; for the member of the object: handle.proxy"
            )
        super().__setattr__(name, value)

    def __enter__(self) -> T:
        return self  # type: ignore[return-value]

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __copy__(self) -> Proxy[T]:  # type: ignore[override] # the child has one handle
        """Return a plain proxy for the object; it does not hold the child."""
        twin: Proxy[T] = Proxy.__copy__(self.proxy)  # type: ignore[arg-type]
        return twin

    def __repr__(self) -> str:
        host = self._pyro_lease.host
        return f"<pyroipc handle of {self._pyro_what}: {host.describe()}>"

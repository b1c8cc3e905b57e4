"""What ``Daemon.proxyFor`` returns: a proxy for an object of this very process.

Here it calls the object directly, through the table of what is exposed. Sent to a peer it arrives
as a proxy that calls back over the connection on which it came.
"""

from __future__ import annotations

from pyroipc.client import references
from pyroipc.client.methods import SpecialMethod
from pyroipc.client.proxy import Proxy
from pyroipc.errors import DaemonError
from pyroipc.server.dispatcher import Dispatcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.client.methods import RemoteMethod
    from pyroipc.client.session import Session
    from pyroipc.server.daemon import Daemon
    from pyroipc.server.registry import Entry

__all__ = ["LocalProxy", "local_proxy"]


class LocalProxy(Proxy):  # type: ignore[type-arg]
    """A proxy for an object that a daemon of this process hosts."""

    _pyro_daemon: Daemon
    _pyro_entry: Entry

    def _pyro_connected(self, deadline: float | None = None) -> Session:
        raise DaemonError("this proxy has no connection: its object is in this process")

    def _pyroBind(self) -> bool:
        return False

    def _pyroRelease(self) -> None:
        pass

    def _pyro_way(self) -> object:
        return id(self._pyro_daemon)

    def _pyro_method(self, name: str) -> RemoteMethod:
        return _LocalMethod(self, name)

    def _pyroInvoke(
        self,
        methodname: str,
        vargs: Sequence[Any],
        kwargs: dict[str, Any] | None,
        flags: int = 0,
        objectId: str | None = None,
    ) -> Any:
        daemon = self._pyro_daemon
        dispatcher = Dispatcher(daemon.registry, daemon.single, daemon.single)
        method = dispatcher.find(objectId or self._pyroObjectId, methodname)
        return method(*vargs, **(kwargs or {}))


class _LocalMethod(SpecialMethod):
    __slots__ = ()
    __doc__ = SpecialMethod.__dict__["__doc__"]

    def __init__(self, proxy: LocalProxy, name: str) -> None:
        self.__self__ = proxy
        self.__name__ = name


def local_proxy(daemon: Daemon, entry: Entry) -> LocalProxy:
    """Make a proxy for an object that a daemon of this process hosts.

    Raises:
        PyroError: the object exposes nothing.
    """
    proxy = LocalProxy.__new__(LocalProxy)
    proxy._pyro_set_up(entry.object_id, daemon.settings)
    proxy.__dict__.update(_pyro_daemon=daemon, _pyro_entry=entry)
    proxy._pyro_learn(entry.metadata())
    if LocalProxy not in references.types:
        references.add_type(LocalProxy, daemon)
    return proxy

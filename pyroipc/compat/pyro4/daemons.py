"""The daemon of pyroipc into the one that a program for Pyro4 knows.

Beside what :mod:`pyroipc.compat.daemons` does for all programs for Pyro:

* ``REQUIRE_EXPOSE`` switched off exposes all public methods and properties of what is registered.
* ``AUTOPROXY`` switched off has registered objects travel as copies.
* ``ONEWAY_THREADED`` switched off has a call wait for the one-way calls that its connection made
  before.
* ``SERIALIZERS_ACCEPTED`` and what ``Pyro.Daemon`` tells are Pyro4's.
"""

from __future__ import annotations

from pyroipc.compat.daemons import CompatDaemon, CompatDaemonObject, serve
from pyroipc.compat.pyro4 import registrations
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.exposing import public_part, put_in_order
from pyroipc.compat.pyro4.proxies import Proxy
from pyroipc.errors import PyroError
from pyroipc.serializers import table
from pyroipc.server.exposure import expose

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any, ClassVar

    from pyroipc.client.exported import Exported
    from pyroipc.client.session import Session
    from pyroipc.uri import URI

__all__ = ["Daemon", "DaemonObject"]


class DaemonObject(CompatDaemonObject):
    """The object ``Pyro.Daemon``, which tells about the other objects of a daemon."""

    @expose
    def get_metadata(self, objectId: str, as_lists: bool = False) -> dict[str, Any]:
        """Name the members of an object: ``methods``, ``oneway`` (of the methods), ``attrs``.

        Args:
            objectId: the id of the object.
            as_lists: as lists; otherwise they are sets.

        Raises:
            DaemonError: there is no such object.
        """
        found = self._entry(objectId).metadata()
        if as_lists:
            return dict(found)
        return {kind: set(names) for kind, names in found.items()}


class Daemon(CompatDaemon):
    """Hosts objects and serves them, as a program for Pyro4 knows it.

    Args:
        host: the name or address to listen at. None: the item HOST.
        port: 0: any free one.
        unixsocket: the path of a unix socket, instead of host and port.
        nathost: the host that clients outside of a router use.
        natport: the port that they use; 0: the same as inside.
        interface: the class of the object ``Pyro.Daemon``.
        connected_socket: serve this instead of listening; all others are ignored then.
        options: what else :class:`pyroipc.Daemon` takes.

    Raises:
        OSError: the address cannot be listened at.
        ValueError: natport without nathost, or nathost for a unix socket.
    """

    _shown_as: ClassVar[str] = "Pyro4.core.Daemon"
    _keeps_weakly: ClassVar[bool] = False
    _pyro_is_pyro4: ClassVar[bool] = True

    def __init__(
        self,
        host: str | None = None,
        port: int = 0,
        unixsocket: str | None = None,
        nathost: str | None = None,
        natport: int | None = None,
        interface: type[DaemonObject] = DaemonObject,
        connected_socket: socket.socket | None = None,
        **options: Any,
    ) -> None:
        if unixsocket is not None:
            host, port = None, 0
        accepted = config.accepted()
        options.setdefault("serializers_accepted", accepted)
        super().__init__(
            host, port, unixsocket, nathost, natport, interface, connected_socket, **options
        )
        registrations.daemons.add(self)
        if accepted is not None and self._listening is not None and unixsocket is None:
            _warn_of_code(accepted)

    # --- objects -------------------------------------------------------------------------------

    def register(  # type: ignore[override]
        self, obj_or_class: Any, objectId: str | None = None, force: bool = False
    ) -> URI:
        """Make an object reachable, or a class whose instances are made for callers.

        Args:
            obj_or_class: the object or class.
            objectId: its name; None: one is made that nobody can guess.
            force: replace what is registered under this id.

        Returns:
            The URI of the object.

        Raises:
            DaemonError: the id is taken, or the object is registered already.
            TypeError: the id is not a str.
        """
        interface = None if config.REQUIRE_EXPOSE else public_part(obj_or_class)
        uri = super().register(obj_or_class, objectId, force, interface=interface)
        if not config.ONEWAY_THREADED:
            assert isinstance(uri.object, str)
            put_in_order(self.registry.get(uri.object))
        return uri

    def _mark(self, target: Any, object_id: str) -> None:
        registrations.let_know(target)

    def _unmark(self, target: Any) -> None:
        pass

    def export(self, value: object, session: Session) -> Exported | None:
        """Say under which id the peer of a session may call a value; None: it is copied."""
        return super().export(value, session) if config.AUTOPROXY else None

    def proxyFor(self, objectOrId: Any, nat: bool = True) -> Any:
        """Return a proxy for a registered object, which knows its members already.

        Args:
            objectOrId: the object, or its id.
            nat: with the address that is valid outside of the router, if there is one.

        Raises:
            DaemonError: it is not registered here.
            PyroError: it exposes nothing.
        """
        found = super().proxyFor(objectOrId, nat)
        if self._listening is None:
            return found
        proxy: Proxy[Any] = Proxy(found._pyroUri)
        proxy._pyro_learn(self.registry.get(found._pyroObjectId).metadata())
        return proxy

    # --- serving -------------------------------------------------------------------------------

    @staticmethod
    def serveSimple(  # type: ignore[override]
        objects: Mapping[Any, str | None],
        host: str | None = None,
        port: int = 0,
        daemon: Daemon | None = None,
        ns: bool = True,
        verbose: bool = True,
    ) -> None:
        """Register objects, print where they are, and serve them until Ctrl-C.

        Args:
            objects: objects or classes, and their names in the name server (None: none); without
                ``ns`` it is their ids.
            host: as :class:`Daemon` takes it.
            port: so is this.
            daemon: to be used instead of a new one; it is closed in the end.
            ns: register the names in the name server.
            verbose: print.

        Raises:
            DaemonError: an object cannot be registered.
            NamingError: no name server was found, or it does not take a name.
        """
        serve(daemon or Daemon(host, port), objects, use_ns=ns, verbose=verbose)

    def handleRequest(self, conn: Any) -> None:
        """Refuse: the loop of this library does not come by here.

        Raises:
            PyroError: always.
        """
        raise PyroError(
            "Daemon.handleRequest cannot be called or overridden: requests are received by the "
            "loop itself; override validateHandshake, annotations or clientDisconnect instead"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _unusable, ()


class _Unusable:
    """What a daemon that has travelled as a copy becomes."""

    def __repr__(self) -> str:
        return "<Pyro4.core.Daemon, a copy of which is unusable>"


def _unusable() -> _Unusable:
    return _Unusable()


def _warn_of_code(accepted: tuple[str, ...]) -> None:
    """Say in the log that some of the accepted serializers are refused all the same."""
    risky = [name for name in accepted if table.trust_of(name) == "code"]
    if risky and set(risky) != {"marshal"}:
        from pyroipc import logs

        logs.get("compat").warning(
            "SERIALIZERS_ACCEPTED names %s: what they load can run code, so over TCP they are "
            "refused on purpose; use serpent or msgpack, or a unix socket",
            ", ".join(risky),
        )

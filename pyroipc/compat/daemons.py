"""A daemon of pyroipc into one that behaves as programs for Pyro know it.

What such a program can see, and what the daemon underneath does another way:

* A registered object gets the attributes ``_pyroId`` and ``_pyroDaemon``, and loses them when it
  is unregistered. pyroipc itself never writes to a user's object, and needs neither of them.
* An address that cannot be had is an ``OSError`` (and a DaemonError as well).
* ``proxyFor`` returns a proxy for the address, and not one that calls the object directly.
* What comes with a connected socket is ignored, where pyroipc refuses it.
* ``shutdown`` also ends a loop that has not begun yet, as of a thread that was just started.
"""

from __future__ import annotations

import weakref

from pyroipc.errors import DaemonError
from pyroipc.server.daemon import Daemon
from pyroipc.server.exposure import expose
from pyroipc.server.interface import DaemonObject
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar

    from pyroipc.client.proxy import Proxy
    from pyroipc.server.connection import Connection

__all__ = ["AddressError", "CompatDaemon", "CompatDaemonObject", "always", "serve", "text_of"]


def always() -> bool:
    """Say that a loop is to go on: what Pyro's loops have for a condition by default."""
    return True


_ADDRESS_FAMILIES = {2: "IPv4", 10: "IPv6", 30: "IPv6", 23: "IPv6", 1: "Unix"}


class AddressError(DaemonError, OSError):
    """An address cannot be listened at; an ``OSError``, which is what Pyro raises."""


class CompatDaemonObject(DaemonObject):
    """The object ``Pyro.Daemon``, with the line of text that Pyro's has."""

    @expose
    def info(self) -> str:
        """Describe the daemon in one line."""
        daemon = self._daemon
        return (
            f"Pyro.Daemon bound on {daemon.locationStr}, NAT {daemon.natLocationStr}, "
            f"{len(daemon.registry.entries)} objects registered. "
            f"Servertype: {daemon.settings.SERVERTYPE}"
        )


class CompatDaemon(Daemon):
    """The base of the daemons of the shims, which say by class attributes what is theirs."""

    _shown_as: ClassVar[str] = "Daemon"
    """The name in ``repr``."""
    _uri_class: ClassVar[type[URI]] = URI
    """The class of the URIs that it returns."""
    _shut_down = False
    _keeps_weakly: ClassVar[bool] = True
    """Whether ``_pyroDaemon`` of an object does not keep the daemon alive."""

    def __init__(
        self,
        host: object = None,
        port: int = 0,
        unixsocket: str | None = None,
        nathost: object = None,
        natport: int | None = None,
        interface: type[DaemonObject] = CompatDaemonObject,
        connected_socket: socket.socket | None = None,
        **options: Any,
    ) -> None:
        if connected_socket is not None:
            host, port, unixsocket, nathost, natport = None, 0, None, None, None
        try:
            super().__init__(
                text_of(host),
                port or 0,
                unixsocket,
                text_of(nathost),
                natport,
                interface,
                connected_socket,
                **options,
            )
        except DaemonError as error:
            reason = _system_error(error)
            if reason is None:
                raise
            raise AddressError(reason.errno, str(error)) from error

    # --- objects -------------------------------------------------------------------------------

    def register(
        self,
        obj_or_class: Any,
        objectId: str | None = None,
        force: bool = False,
        weak: bool = False,
        *,
        interface: type | None = None,
    ) -> URI:
        """Make an object reachable, and let it know its id and its daemon."""
        replaced = self.registry.entries.get(objectId) if force and objectId else None
        old = None if replaced is None else replaced.target()
        uri = super().register(obj_or_class, objectId, force, weak, interface=interface)
        if old is not None and old is not obj_or_class:
            self._unmark(old)
        assert isinstance(uri.object, str)
        self._mark(obj_or_class, uri.object)
        return self._uri_class(uri)

    def unregister(self, objectOrId: Any) -> None:
        """Take an object away, and what it was told when it was registered."""
        target = objectOrId
        if isinstance(target, URI):
            target = target.object
        entry = self.registry.entries.get(target) if isinstance(target, str) else None
        super().unregister(objectOrId)
        if not isinstance(target, str):
            self._unmark(target)
        elif entry is not None and entry.is_withdrawn:
            self._unmark(entry.target())

    def _mark(self, target: Any, object_id: str) -> None:
        daemon = weakref.proxy(self) if self._keeps_weakly else self
        try:
            target._pyroId = object_id
            target._pyroDaemon = daemon
        except (AttributeError, TypeError):
            pass  # one with slots, or a builtin: Pyro cannot register those at all

    def _unmark(self, target: Any) -> None:
        for name in ("_pyroId", "_pyroDaemon"):
            try:
                delattr(target, name)
            except (AttributeError, TypeError):
                continue

    @property
    def objectsById(self) -> dict[str, Any]:
        """The registered objects and classes by their ids, as a new dict."""
        return {name: entry.target() for name, entry in self.registry.entries.copy().items()}

    def uriFor(self, objectOrId: Any, nat: bool = True) -> URI:
        """Return the URI of a registered object."""
        return self._uri_class(super().uriFor(objectOrId, nat))

    def proxyFor(self, objectOrId: Any, nat: bool = True) -> Proxy[Any]:
        """Return a proxy for a registered object, which knows its members already.

        Raises:
            DaemonError: it is not registered here.
            PyroError: it exposes nothing.
        """
        local = super().proxyFor(objectOrId, nat)
        if self._listening is None:
            return local
        from pyroipc.client.proxy import Proxy

        proxy: Proxy[Any] = Proxy(self.uriFor(local._pyroObjectId, nat), settings=self.settings)
        proxy._pyro_learn(self.registry.get(local._pyroObjectId).metadata())
        return proxy

    # --- serving -------------------------------------------------------------------------------

    def requestLoop(self, loopCondition: Callable[[], bool] | None = always) -> None:
        """Serve until :meth:`shutdown`, Ctrl-C, or while the condition holds."""

        def goes_on() -> bool:
            return not self._shut_down and (loopCondition is None or loopCondition())

        try:
            super().requestLoop(goes_on)
        except KeyboardInterrupt:
            pass  # as in Pyro: the lines behind the loop are run

    def shutdown(self) -> None:
        """Make the request loop end, also one that has not begun yet; returns at once."""
        self._shut_down = True
        super().shutdown()

    def report(
        self,
        connection: Connection,
        error: BaseException,
        member: str,
        args: Any,
        kwargs: Any,
        *,
        loud: bool,
    ) -> None:
        """Take note of an exception in a method."""
        super().report(connection, error, _MethodName(member), args, kwargs, loud=loud)

    def __repr__(self) -> str:
        where = self.locationStr
        if self._listening is not None and not self._closed:
            where = f"{where} - {_ADDRESS_FAMILIES.get(int(self.sock.family), '???')}"
        count = len(self.registry.entries)
        return f"<{self._shown_as} at {id(self):#x}; {where}; {count} objects>"


class _MethodName(str):
    """The name of a method, for error handlers that ask the method itself for its name."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name


def text_of(host: object) -> str | None:
    """Return a host as text: programs for Pyro also give objects of the module ipaddress."""
    return None if host is None else str(host)


def _system_error(error: BaseException) -> OSError | None:
    """Return what the system said, if that is why an address cannot be had."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        seen = seen.__cause__
    return None


def serve(
    daemon: Daemon, objects: Mapping[Any, str | None], *, use_ns: bool, verbose: bool
) -> None:
    """Register objects in a daemon, print where they are, serve them until Ctrl-C, and close it.

    Args:
        daemon: it is closed in the end.
        objects: objects or classes, and their ids, or with ``use_ns`` their names.
        use_ns: register the names in the name server.
        verbose: print.

    Raises:
        DaemonError: an object cannot be registered.
        NamingError: no name server was found, or it does not take a name.
    """
    from pyroipc.server import simple

    with daemon:
        simple.publish(daemon, objects, use_ns=use_ns, verbose=verbose)
        daemon.requestLoop()

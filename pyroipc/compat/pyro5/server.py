"""``Pyro5.server``: the daemon, and what marks the members of classes."""

from __future__ import annotations

from pyroipc.compat import daemons
from pyroipc.compat.daemons import CompatDaemon, CompatDaemonObject
from pyroipc.compat.pyro5._settings import config
from pyroipc.compat.pyro5.core import URI
from pyroipc.context import current_context
from pyroipc.server import exposure
from pyroipc.server.exposure import callback, expose, oneway

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = [
    "Daemon",
    "DaemonObject",
    "behavior",
    "callback",
    "config",
    "current_context",
    "expose",
    "is_private_attribute",
    "oneway",
    "serve",
]


def behavior(
    instance_mode: str = "session", instance_creator: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Say how a registered class gets its instances.

    Args:
        instance_mode: ``"session"``, ``"single"`` or ``"percall"``.
        instance_creator: called with the class; returns an instance.

    Raises:
        SyntaxError: it is used without parentheses.
        ValueError: the mode is unknown.
        TypeError: the creator cannot be called.
    """
    if not isinstance(instance_mode, str):
        raise SyntaxError("behavior decorator is missing argument(s)")
    return exposure.behavior(instance_mode, instance_creator)


def is_private_attribute(attr_name: str) -> bool:
    """Say whether a member of this name can never be called from afar, exposed or not."""
    return exposure.is_private_name(attr_name)


class DaemonObject(CompatDaemonObject):
    """What a daemon tells about itself; registered in it as ``Pyro.Daemon``."""


class Daemon(CompatDaemon):
    """Hosts objects and serves them."""

    _shown_as = "Pyro5.server.Daemon"
    _uri_class = URI

    def __init__(
        self,
        host: object = None,
        port: int = 0,
        unixsocket: str | None = None,
        nathost: object = None,
        natport: int | None = None,
        interface: type[DaemonObject] = DaemonObject,
        connected_socket: socket.socket | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            host, port, unixsocket, nathost, natport, interface, connected_socket, **options
        )

    @staticmethod
    def serveSimple(  # type: ignore[override]
        objects: Mapping[Any, str | None],
        host: object = None,
        port: int = 0,
        daemon: Daemon | None = None,
        ns: bool = True,
        verbose: bool = True,
    ) -> None:
        """Do what :func:`serve` does."""
        serve(objects, host, port, daemon, ns, verbose)


def serve(
    objects: Mapping[Any, str | None],
    host: object = None,
    port: int = 0,
    daemon: Daemon | None = None,
    use_ns: bool = True,
    verbose: bool = True,
) -> None:
    """Register objects in a daemon, print where they are, and serve them until Ctrl-C.

    Args:
        objects: objects or classes, and the names that they get in the name server, or their ids
            if it is not used; None: no name.
        host: as :class:`Daemon` takes it.
        port: as :class:`Daemon` takes it.
        daemon: one to use instead of a new one; it is closed in the end.
        use_ns: register the names in the name server.
        verbose: print the objects and their URIs.

    Raises:
        DaemonError: the address cannot be listened at, or an object cannot be registered.
        NamingError: no name server was found, or it does not take a name.
    """
    chosen = Daemon(host, port) if daemon is None else daemon
    daemons.serve(chosen, objects, use_ns=use_ns, verbose=verbose)

"""Proxies and URIs of pyroipc into those that a program for Pyro4 knows.

What such a program can see of a proxy, and what the one underneath does another way:

* The serializer is the one that ``SERIALIZER`` names, on local channels too: programs that
  register converters for their classes count on those being called.
* ``current_context.annotations`` go with one call, and are forgotten then.
* With ``METADATA`` switched off any name is a method, and what is assigned stays in the proxy.
* A proxy that comes over the connection of such a proxy, or to such a daemon, is one of these.

Proxies that pyroipc makes itself count as instances of ``Pyro4.Proxy`` all the same.
"""

from __future__ import annotations

from weakref import WeakSet

import pyroipc.client.proxy
import pyroipc.uri
from pyroipc.client import references
from pyroipc.client.manners import T
from pyroipc.client.pyro.manner import read_proxy
from pyroipc.compat.pyro4 import constants
from pyroipc.compat.pyro4.configuration import config
from pyroipc.context import context_in_use
from pyroipc.errors import PyroError, SecurityError
from pyroipc.serializers import classes, table
from pyroipc.settings import config as settings
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final

    from pyroipc.client.batch import BatchResults
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec

__all__ = ["URI", "Proxy"]

_PYRO4_ONEWAY: Final = 4
_HOLDS_NOTHING: Final = frozenset({"_pyroRawWireResponse", "_pyroSeq"})
"""Attributes of Pyro4's proxies that tell of its protocol: there are no sequence numbers here."""


class Kin(type):
    """A class whose instances are, besides its own, those of the class of pyroipc below it."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        kin = cls.__dict__.get("_pyro_kin")
        return kin is not None and isinstance(instance, kin)


class UriKin(Kin):
    """The class of :class:`URI`, whose instances are those of :class:`pyroipc.URI`."""

    def __call__(cls, uri: Any) -> Any:
        """Make a URI; the port of a name server is the setting NS_PORT if none is given."""
        if cls is URI:
            return pyroipc.uri.URI(uri, ns_port=settings.NS_PORT)
        return type.__call__(cls, uri)


class URI(pyroipc.uri.URI, metaclass=UriKin):
    """The address of an object: its text, or another URI, into :class:`pyroipc.URI`."""

    __slots__ = ()

    _pyro_kin = pyroipc.uri.URI

    def __init__(self, uri: str | pyroipc.uri.URI) -> None:
        super().__init__(uri, ns_port=settings.NS_PORT)


class Proxy(pyroipc.client.proxy.Proxy[T], metaclass=Kin):
    """Stands for an object that a daemon hosts, as a program for Pyro4 knows it.

    Args:
        uri: a URI, or its text; with a connected socket the id of the object.
        connected_socket: at its other end is the daemon; it is never closed.
        options: what else :class:`pyroipc.Proxy` takes.

    Raises:
        TypeError: neither a str nor a URI was given.
        PyroError: the text is no URI.
    """

    _pyro_kin = pyroipc.client.proxy.Proxy

    def __new__(cls, uri: Any = None, connected_socket: Any = None, **options: Any) -> Any:
        """Make a proxy; that of a name server has the methods of Pyro4's."""
        if cls is Proxy and uri is not None:
            cls = special.get(_name_in(uri), cls)
        return object.__new__(cls)

    def __init__(
        self,
        uri: str | pyroipc.uri.URI,
        connected_socket: socket.socket | None = None,
        **options: Any,
    ) -> None:
        super().__init__(uri, connected_socket, **options)

    # --- members -------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in _HOLDS_NOTHING:
            return 0 if name == "_pyroSeq" else False
        if config.METADATA or name.startswith(("_pyro", "__")):
            return super().__getattr__(name)
        self._pyroBind()
        return self._pyro_callable(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOLDS_NOTHING:
            if value:
                raise PyroError(
                    f"{name} cannot be set: the answers of this library are not Pyro4's messages"
                )
        elif config.METADATA or name.startswith(("_pyro", "__")):
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

    def _pyro_callable(self, name: str) -> Any:
        method = self._pyro_method(name)
        if self._pyro_is_asynchronous:
            from pyroipc.client.future_results import AsynchronousMethod

            return AsynchronousMethod(method)
        return method

    def _pyro_unknown(self, name: str) -> str:
        exposed = ", ".join(sorted(self._pyroMethods | self._pyroAttrs)) or "nothing"
        return (
            f"remote object '{self._pyroUri}' has no exposed attribute or method '{name}'; "
            f"exposed: {exposed}"
        )

    def _pyroGetMetadata(
        self, objectId: str | None = None, known_metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Learn which members the object has; that is also done when a member is first used.

        Args:
            objectId: another object of the same daemon, whose members are taken instead.
            known_metadata: what was learned elsewhere; nothing is asked for then.

        Raises:
            CommunicationError: the daemon cannot be reached.
            DaemonError: it has no such object.
            PyroError: the object exposes nothing.
        """
        if known_metadata is not None:
            self._pyro_learn(known_metadata)
        elif objectId is None or objectId == self._pyroObjectId:
            self._pyroBind()
        else:
            args = (objectId,)
            self._pyro_learn(self._pyroInvoke("get_metadata", args, {}, 0, constants.DAEMON_NAME))

    # --- calls ---------------------------------------------------------------------------------

    def _pyro_connected(self, deadline: float | None = None) -> Session:
        session = super()._pyro_connected(deadline)
        _sessions.add(session)
        return session

    def _pyro_codec(self, session: Session) -> CallCodec:
        name: str = self._pyro_serializer or self._pyro_settings.SERIALIZER
        if self._pyro_serializer is None and self._pyro_hold is not None:
            name = _common(session, name)
        try:
            return session.codecs.get(name)
        except SecurityError as error:
            if table.trust_of(name) == "data" or session.peer.trusted:
                raise
            raise SecurityError(_explained(name, session.peer.reason)) from error

    def _pyroInvoke(
        self,
        methodname: str,
        vargs: Sequence[Any],
        kwargs: dict[str, Any] | None,
        flags: int = 0,
        objectId: str | None = None,
    ) -> Any:
        """Call a member; see :meth:`pyroipc.Proxy._pyroInvoke`.

        Of the flags only that of a one-way call means something, as in ``Pyro4.message`` or here.

        Raises:
            Exception: as there.
        """
        oneway = ONEWAY if flags & (ONEWAY | _PYRO4_ONEWAY) else 0
        try:
            return super()._pyroInvoke(methodname, vargs, kwargs, oneway, objectId)
        finally:
            _spend_annotations()

    def _pyroInvokeBatch(self, calls: list[Any], oneway: bool = False) -> BatchResults | None:
        """Make many calls with one request; see :meth:`pyroipc.Proxy._pyroInvokeBatch`.

        Raises:
            CommunicationError: as there.
        """
        try:
            return super()._pyroInvokeBatch(calls, oneway)
        finally:
            _spend_annotations()

    def __repr__(self) -> str:
        session = self._pyroConnection
        state = "not connected" if session is None else f"connected {_family(session)}"
        return f"<Pyro4.core.Proxy at {id(self):#x}; {state}; for {self._pyroUri}>"


Proxy._pyro_base = Proxy

special: dict[str, type[Proxy[Any]]] = {}
"""The classes of proxies for objects of these names."""


def _family(session: Session) -> str:
    from pyroipc.compat.sockets import family_str

    return family_str(session.channel.sock)


def _name_in(uri: object) -> str:
    """Return what a URI seems to name; what is wrong with it is found out later."""
    _, _, rest = str(uri).partition(":")
    return rest.partition("@")[0]


def _explained(name: str, reason: object) -> str:
    return (
        f"serializer {name!r} is refused on this connection, on purpose, and SERIALIZERS_ACCEPTED "
        "does not change that: what it loads can run code, and the peer is not verified to be a "
        f"process of the same user on this machine ({reason}). Use serpent or msgpack; if both "
        "ends are on pyroipc, and pyroipc.config.DIALECT is 'auto' or 'native', they carry "
        "tuples, sets, dates, dataclasses and numpy arrays as what they are. Or connect over a "
        f"unix socket (Daemon(unixsocket=...)), where {name} works"
    )


def _common(session: Session, name: str) -> str:
    """Return a serializer that both ends of a connection accept which the peer has made.

    Args:
        session: the connection.
        name: the one to be used, if they do.
    """
    hello = session.peer_hello
    accepted = session.codecs.accepted
    common = accepted if hello is None else accepted.intersection(hello.serializers)
    if name in common or not common:
        return name
    return min(common, key=lambda other: (other != settings.LOCAL_SERIALIZER, other))


def _spend_annotations() -> None:
    """Forget the annotations that a client has set for a call; not inside of a served call."""
    context = context_in_use()
    if context is not None and context.message is None and context.annotations:
        context.annotations = {}


# ------------------------------------------------------------------- proxies that are received

_sessions: WeakSet[Session] = WeakSet()
"""The connections that were made by these proxies."""


def _is_ours(session: Session) -> bool:
    """Say whether a connection is that of one of these proxies, or served by such a daemon."""
    if session in _sessions:
        return True
    host = getattr(session.references.home, "host", None)
    return getattr(getattr(host, "daemon", None), "_pyro_is_pyro4", False)


_make_proxy: Callable[..., Any] = references.make_proxy


def _make_fitting_proxy(session: Session, object_id: str, class_key: int | None) -> Any:
    """Make the proxy for an object of the peer to which it has sent a reference."""
    if _is_ours(session):
        return Proxy._pyro_referring(session, object_id, class_key)
    return _make_proxy(session, object_id, class_key)


references.make_proxy = _make_fitting_proxy


def _read_proxy(name: str, data: Mapping[str, Any]) -> Any:
    """Return a proxy for what a peer has sent that speaks Pyro4's dialect."""
    found = read_proxy(name, data)
    proxy: Proxy[Any] = Proxy(found._pyroUri)
    proxy._pyroHandshake = found._pyroHandshake
    proxy._pyroSerializer = found._pyroSerializer
    if found._pyroHmacKey:
        proxy._pyroHmacKey = found._pyroHmacKey
    return proxy


classes.register_builtin("Pyro4.core.Proxy", _read_proxy)

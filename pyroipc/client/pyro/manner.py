"""How objects look to a peer that is Pyro: registered objects, proxies and URIs as class dicts.

In Pyro's dialects nothing refers to an object over the connection itself. What stands for an
object is a proxy with an address, which the receiver connects to.
"""

from __future__ import annotations

import weakref
from base64 import b64decode

from pyroipc.client import references
from pyroipc.errors import PyroError, SerializeError
from pyroipc.protocol.blobs import BlobError, SerializedBlob
from pyroipc.serializers import classes, table
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.client.session import Session

_URI_CLASSES = {"Pyro5": "Pyro5.core.URI", "Pyro4": "Pyro4.core.URI"}
_PROXY_CLASSES = {"Pyro5": "Pyro5.client.Proxy", "Pyro4": "Pyro4.core.Proxy"}
_KEY_PREFIX = "b64:"
_MARSHAL = "marshal"
"""Only used where it is named at this end: :mod:`pyroipc.client.pyro.codecs`."""


class PyroManner:
    """How values are described to one peer.

    Args:
        family: ``"Pyro5"`` or ``"Pyro4"``.
        session: the connection; not kept alive by this.
    """

    __slots__ = ("_session", "family")

    def __init__(self, family: str, session: Session) -> None:
        self.family = family
        self._session = weakref.ref(session)

    def describe(self, value: object) -> dict[str, Any] | None:
        """Return the class dict that stands for a value; None: it travels itself.

        Raises:
            SerializeError: it is an object that the peer cannot reach.
            BlobError: it is a blob beside other arguments.
        """
        cls = type(value)
        if cls in references.types:
            described = self._registered(value)
            if described is not None:
                return described
        if issubclass(cls, URI):
            assert isinstance(value, URI)
            return {"__class__": _URI_CLASSES[self.family], "state": _state_of(value)}
        if cls is SerializedBlob:
            raise BlobError
        if getattr(cls, "_pyroReference", None) is not None:
            return self._proxy(value)
        return None

    def _registered(self, value: object) -> dict[str, Any] | None:
        session = self._session()
        if session is None:
            return None
        found = references.find_export(value, session)
        if found is None:
            return None
        exported, address = found
        if address is None:
            raise SerializeError(
                f"object {exported.origin.object_id!r} is registered in a daemon that has no "
                f"address, so a peer that is {self.family} cannot call it; let the daemon listen "
                "somewhere, or use pyroipc at both ends"
            )
        return self._described(address, exported.origin.metadata(), "hello", None)

    def _proxy(self, proxy: Any) -> dict[str, Any]:
        address = proxy._pyro_address  # noqa: SLF001
        if address is None:
            raise SerializeError(
                f"the proxy for {proxy._pyroObjectId!r} goes over a connected socket, "  # noqa: SLF001
                "which the peer does not have; pass a proxy for an address"
            )
        # Its members are told as far as they are known: the peer asks when it connects.
        known = {"methods": (), "oneway": (), "attrs": ()}
        serializer = proxy._pyroSerializer  # noqa: SLF001
        return self._described(address, known, proxy._pyroHandshake, serializer)  # noqa: SLF001

    def _described(
        self, uri: str, members: Mapping[str, Any], handshake: Any, serializer: str | None
    ) -> dict[str, Any]:
        names = tuple(tuple(members[key]) for key in ("oneway", "methods", "attrs"))
        rest: tuple[Any, ...] = (handshake, serializer)
        if self.family == "Pyro4":
            rest = (0.0, None, handshake, 0, serializer)
        return {"__class__": _PROXY_CLASSES[self.family], "state": (uri, *names, *rest)}


def _state_of(uri: URI) -> tuple[Any, ...]:
    named = uri.object if isinstance(uri.object, str) else set(uri.object)
    return uri.protocol, named, uri.sockname, uri.host, uri.port


# --- in ----------------------------------------------------------------------------------------


def read_uri(name: str, data: Mapping[str, Any]) -> URI:
    """Return the URI that a class dict of Pyro describes.

    Raises:
        SerializeError: it describes none.
    """
    match data.get("state"):
        case [str(protocol), named, sockname, host, port]:
            pass
        case _:
            raise SerializeError(f"this is not the state of a {name}")
    if not isinstance(named, str):
        named = ",".join(sorted(map(str, named)))
    location = ""
    if sockname:
        location = f"@./u:{sockname}"
    elif host:
        location = f"@[{host}]:{port}" if ":" in str(host) else f"@{host}:{port}"
    return URI(f"{protocol}:{named}{location}")


def read_proxy(name: str, data: Mapping[str, Any]) -> Any:
    """Return a proxy for what a class dict of Pyro describes; it connects when it is used.

    Raises:
        SerializeError: it describes none.
    """
    state = data.get("state")
    key = None
    match name, state:
        case "Pyro5.client.Proxy", [str(uri), _, _, _, handshake, serializer]:
            pass
        case "Pyro4.core.Proxy", [str(uri), _, _, _, _, key, handshake, _, serializer]:
            pass
        case "Pyro4.core.Proxy", [str(uri), _, _, _, _, key, handshake, _]:
            serializer = None
        case "Pyro4.core.Proxy", [URI() as uri, _, _, _, _, key, handshake, _, *more]:
            serializer = more[0] if more else None
        case _:
            raise SerializeError(f"this is not the state of a {name}")
    proxy = references.make_address_proxy(str(uri))
    proxy._pyroHandshake = handshake  # noqa: SLF001
    if serializer in table.names() and serializer != _MARSHAL:
        proxy._pyroSerializer = serializer  # noqa: SLF001
    if key:
        proxy._pyroHmacKey = _key_of(key)  # noqa: SLF001
    return proxy


def _key_of(key: object) -> bytes:
    if isinstance(key, bytes):  # as pickle sends it
        return key
    if isinstance(key, str) and key.startswith(_KEY_PREFIX):
        try:
            return b64decode(key.removeprefix(_KEY_PREFIX), validate=True)
        except ValueError:
            pass
    raise SerializeError("hmac encoding error")


def _no_daemon(name: str, data: Mapping[str, Any]) -> object:
    raise PyroError(f"a {name} does not travel")


for _name in _URI_CLASSES.values():
    classes.register_builtin(_name, read_uri)
for _name in _PROXY_CLASSES.values():
    classes.register_builtin(_name, read_proxy)
for _name in ("Pyro4.core.Daemon", "Pyro5.server.Daemon"):
    classes.register_builtin(_name, _no_daemon)

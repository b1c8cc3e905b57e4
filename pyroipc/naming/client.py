"""Finding the name server, and finding objects with it: what Pyro's users call."""

from __future__ import annotations

from pyroipc.client import resolve as resolving
from pyroipc.client.name_server import NameServerProxy
from pyroipc.client.search import Search, location_of
from pyroipc.errors import NamingError
from pyroipc.settings import config
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Any, Literal

    from pyroipc.settings import Settings

__all__ = ["NameServerProxy", "locate_ns", "lookup", "resolve", "type_meta", "yplookup"]


def locate_ns(
    host: object = None,
    port: int | None = None,
    broadcast: bool = True,  # noqa: FBT001, FBT002 - as in Pyro
    hmac_key: bytes | str | None = None,
    *,
    tls: ssl.SSLContext | Literal[False] | None = None,
    settings: Settings = config,
) -> NameServerProxy:
    """Find a name server, and return a proxy that is connected to it.

    Args:
        host: its name or address, one of the module ipaddress, or ``"./u:path"``. None: the
            setting NS_HOST is tried, and then a broadcast.
        port: its port; without a host, also that of the broadcast. None: the settings NS_PORT and
            NS_BCPORT.
        broadcast: whether to ask in the networks if nothing else helps; takes two seconds if
            nobody answers. Anybody in these networks can.
        hmac_key: what both ends have to know. None: the setting HMAC_KEY.
        tls: how to encrypt, as :class:`pyroipc.Proxy` takes it.
        settings: read once, now.

    Raises:
        NamingError: none was found; the text tells what was tried.
        SecurityError: a file of certificates cannot be used.
        TypeError: tls or hmac_key is of another type.
    """
    search = Search(NameServerProxy, settings, hmac_key=hmac_key, tls=tls)
    found: NameServerProxy
    if host is None or host == "":  # Pyro5's default
        found = search.anywhere(port, broadcast=broadcast)
    else:
        found = search.at(location_of(host, port, settings))
    return found


def resolve(uri: str | URI, delay_time: float = 0.0, *, settings: Settings = config) -> URI:
    """Return the URI that leads to an object, for a PYRONAME or PYROMETA.

    A PYRO URI is returned as it is. Of several objects with the tags of a PYROMETA, any is taken.
    The connection to the name server is kept for the next time.

    Args:
        uri: a URI, or its text.
        delay_time: wait so many seconds for a name that is not registered yet; 0: as the setting
            NS_LOOKUP_DELAY says.
        settings: say where the name server is.

    Raises:
        NamingError: the name is not known, or no name server was found.
        PyroError: the text is no URI.
        CommunicationError: the name server does not answer any more.
        TypeError: it is neither a text nor a URI.
    """
    if not isinstance(uri, str | URI):
        raise TypeError(f"can only resolve Pyro URIs, not {type(uri).__name__}")
    found = URI(uri, ns_port=settings.NS_PORT)
    if found.protocol == "PYRO":
        return found
    return resolving.resolve(found, settings, delay=delay_time or None)


def lookup(
    nameserver: NameServerProxy,
    name: str,
    return_metadata: bool = False,  # noqa: FBT001, FBT002 - as in Pyro
    delay_time: float = 0.0,
) -> Any:
    """Return the URI of a name, and wait for it if it is not registered yet.

    Args:
        nameserver: what :func:`locate_ns` returned.
        name: the name.
        return_metadata: return a pair of the URI and a set of tags.
        delay_time: seconds to wait; 0: as the setting NS_LOOKUP_DELAY says.

    Raises:
        NamingError: the name is not known, even then.
        CommunicationError: the name server cannot be reached.
    """

    def attempt() -> Any:
        return nameserver.lookup(name, return_metadata)

    return resolving.wait_for(attempt, delay_time or config.NS_LOOKUP_DELAY)


def yplookup(
    nameserver: NameServerProxy,
    meta_all: Iterable[str] | None = None,
    meta_any: Iterable[str] | None = None,
    return_metadata: bool = True,  # noqa: FBT001, FBT002 - as in Pyro
    delay_time: float = 0.0,
) -> dict[str, Any]:
    """Return the entries with some tags, and wait until there is one.

    Args:
        nameserver: what :func:`locate_ns` returned.
        meta_all: tags that an entry must have, all of them.
        meta_any: tags of which it must have one.
        return_metadata: the values are pairs of URI and tags.
        delay_time: seconds to wait; 0: as the setting NS_LOOKUP_DELAY says.

    Returns:
        Names and the texts of URIs; empty if there is none, even then.

    Raises:
        CommunicationError: the name server cannot be reached.
        TypeError: the tags are no texts.
        ValueError: both kinds were given.
    """
    tags_all = None if meta_all is None or isinstance(meta_all, str) else list(meta_all)
    tags_any = None if meta_any is None or isinstance(meta_any, str) else list(meta_any)

    def attempt() -> dict[str, Any]:
        found = nameserver.yplookup(
            meta_all if tags_all is None else tags_all,
            meta_any if tags_any is None else tags_any,
            return_metadata,
        )
        if not found:
            raise _NothingFoundError
        return found

    try:
        return resolving.wait_for(attempt, delay_time or config.NS_LOOKUP_DELAY)
    except _NothingFoundError:
        return {}


class _NothingFoundError(NamingError):
    """Nothing has these tags; wait_for goes on."""


def type_meta(class_or_object: Any, prefix: str = "class:") -> set[str]:
    """Return tags that tell of which class an object is, and what that class is derived from.

    Args:
        class_or_object: either.
        prefix: what the tags begin with; the names of module and class follow.
    """
    cls = class_or_object if isinstance(class_or_object, type) else type(class_or_object)
    return {
        f"{prefix}{base.__module__}.{base.__name__}"
        for base in cls.__mro__
        if base.__module__ != "builtins"
    }

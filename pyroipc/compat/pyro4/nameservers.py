"""The name server as a program for Pyro4 sees it: finding it, its proxy, the object itself.

Pyro4 searches by metadata with ``list(metadata_all=...)``, pyroipc and Pyro5 with ``yplookup``.
The proxy asks for what the server at the other end has; see :mod:`pyroipc.client.lookups`.
"""

from __future__ import annotations

import random

from pyroipc.client import lookups, name_server
from pyroipc.client import resolve as resolving
from pyroipc.client.search import Search, location_of
from pyroipc.compat.pyro4 import constants
from pyroipc.compat.pyro4.naming_storage import opened
from pyroipc.compat.pyro4.proxies import URI, Proxy, special
from pyroipc.errors import NamingError
from pyroipc.naming import server
from pyroipc.settings import config as settings
from pyroipc.uri import URI as OwnURI  # noqa: N811

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyroipc.compat.pyro4.naming_storage import StorageMapping
    from pyroipc.naming.storage.base import Storage

__all__ = ["NameServer", "NameServerProxy", "locateNS", "resolve"]

_ONE_FILTER = "you can only filter on one thing at a time"


class NameServerProxy(Proxy["Any"], name_server.NameServerProxy):
    """A proxy for a name server, with the methods of Pyro4's."""

    def lookup(self, name: str, return_metadata: bool = False) -> Any:
        """Return the URI of a name; with ``return_metadata`` a pair of it and a list of tags.

        Raises:
            NamingError: the name is not known.
        """
        found = super().lookup(name, return_metadata)
        return (found[0], sorted(found[1])) if return_metadata else found

    def remove(
        self, name: str | None = None, prefix: str | None = None, regex: str | None = None
    ) -> int:
        """Remove entries; return how many that were. The first of the arguments given counts.

        Args:
            name: of one entry; that of the name server itself is never removed.
            prefix: what the names begin with, literally.
            regex: what the names begin with, as a pattern.

        Raises:
            NamingError: the name is reserved, or the pattern cannot be used.
        """
        if name == constants.NAMESERVER_NAME:
            name = None
        number: int = self._pyroInvoke("remove", (name, prefix, regex), {})
        return number

    def list(  # type: ignore[override]
        self,
        prefix: str | None = None,
        regex: str | None = None,
        metadata_all: Iterable[str] | None = None,
        metadata_any: Iterable[str] | None = None,
        return_metadata: bool = False,
    ) -> dict[str, Any]:
        """Return names and the texts of their URIs; or pairs of URI and list of tags.

        Args:
            prefix: only names that begin with this.
            regex: only names that match this from their beginning on.
            metadata_all: only entries with all of these tags; none: all entries.
            metadata_any: only entries with one of these tags; none: all entries.
            return_metadata: the values are pairs.

        Raises:
            NamingError: the pattern cannot be used.
            TypeError: the tags are no texts.
            ValueError: more than one filter was given.
        """
        tags = _given(metadata_all), _given(metadata_any)
        if sum(value is not None for value in (prefix, regex, metadata_all, metadata_any)) > 1:
            raise ValueError(_ONE_FILTER)
        if tags == (None, None):
            found = lookups.names(self, prefix, regex, with_tags=bool(return_metadata))
        else:
            found = lookups.tagged_names(self, *tags, with_tags=bool(return_metadata))
        if return_metadata:
            return {name: (uri, sorted(metadata)) for name, (uri, metadata) in found.items()}
        return found


special[constants.NAMESERVER_NAME] = NameServerProxy


def _given(tags: Any) -> Any:
    """Return tags in a form that every serializer can send; None if there are none."""
    if isinstance(tags, str):
        return tags  # what is wrong with it is for the name server to say
    return list(tags) if tags else None


class NameServer(server.NameServer):
    """Knows where objects are; answers to clients of Pyro4, and to all others.

    Args:
        storageProvider: where the entries are; None: in memory.
        options: what else the name server of pyroipc takes.
    """

    def __init__(
        self,
        storageProvider: Storage | StorageMapping | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(opened(storageProvider), **options)


def locateNS(
    host: str | None = None,
    port: int | None = None,
    broadcast: bool = True,
    hmac_key: bytes | str | None = None,
) -> NameServerProxy:
    """Find a name server, and return a proxy that is connected to it.

    Args:
        host: its name or address, or ``"./u:path"``. None: NS_HOST is tried, then a broadcast.
        port: its port; without a host, also that of the broadcast.
        broadcast: whether to ask in the networks if nothing else helps.
        hmac_key: what both ends have to know.

    Raises:
        NamingError: none was found; the text tells what was tried.
    """
    search = Search(NameServerProxy, settings, hmac_key=hmac_key)
    found: NameServerProxy
    try:
        if host is None or host == "":
            found = search.anywhere(port, broadcast=broadcast)
        else:
            found = search.at(location_of(host, port, settings))
    except NamingError as error:
        reason = str(error).removeprefix("failed to locate the name server; ")
        raise NamingError(f"Failed to locate the nameserver; {reason}") from error
    return found


def resolve(uri: str | OwnURI, hmac_key: bytes | str | None = None) -> OwnURI:
    """Return the URI that leads to an object, for a PYRONAME or PYROMETA.

    Args:
        uri: a URI, or its text; a PYRO URI is returned as it is.
        hmac_key: what the name server wants to know.

    Raises:
        NamingError: the name is not known, or no name server was found.
        PyroError: the text is no URI.
        TypeError: it is neither a text nor a URI.
    """
    if not isinstance(uri, str | OwnURI):
        raise TypeError(f"can only resolve Pyro URIs, not {type(uri).__name__}")
    found: OwnURI = URI(uri)
    if found.protocol == "PYRO":
        return found
    if hmac_key is None:
        return resolving.resolve(found, settings)
    host = f"./u:{found.sockname}" if found.sockname else found.host
    with locateNS(host, found.port, hmac_key=hmac_key) as ns:
        if isinstance(found.object, str):
            return URI(ns.lookup(found.object))
        tags = sorted(found.object)
        matching = list(ns.list(metadata_all=tags).values())
    if not matching:
        raise NamingError(f"no registrations available with desired metadata properties {tags}")
    return URI(random.choice(matching))  # noqa: S311 - it spreads the load, and no more

"""The name server as its clients see it: a proxy with its methods.

It may be one of Pyro4 or Pyro5: :mod:`pyroipc.client.lookups` tells what is different then.
"""

# ruff: noqa: FBT001, FBT002 - as in Pyro

from __future__ import annotations

from pyroipc.client import lookups
from pyroipc.client.proxy import Proxy
from pyroipc.client.search import uri_of
from pyroipc.errors import NamingError
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Self


class NameServerProxy(Proxy["Any"]):
    """A proxy for a name server, as :func:`pyroipc.locate_ns` returns it.

    Any thread may use it. Each method raises a CommunicationError if the name server cannot be
    reached; the next call connects anew.
    """

    def __enter__(self) -> Self:
        return self

    def ping(self) -> None:
        """Return when the name server has answered."""
        self._pyroInvoke("ping", (), {})

    def count(self) -> int:
        """Return the number of entries, that of the name server itself included."""
        number: int = self._pyroInvoke("count", (), {})
        return number

    def lookup(self, name: str, return_metadata: bool = False) -> Any:
        """Return the URI of a name; with ``return_metadata`` a pair of it and a set of tags.

        Raises:
            NamingError: the name is not known.
        """
        if return_metadata:
            return lookups.look_up_tagged(self, name)
        found = lookups.look_up(self, name)
        return uri_of(found) if type(found) is str else found

    @property
    def has_leases(self) -> bool:
        """Whether entries may have a ttl. Those of Pyro4 and Pyro5 stay until they are removed."""
        return lookups.has_leases(self)

    def register(
        self,
        name: str,
        uri: str | URI,
        safe: bool = False,
        metadata: Iterable[str] | None = None,
        ttl: float | None = None,
    ) -> None:
        """Register a name, or give it another URI.

        Warns if the name server thinks that the URI is of no use to other machines. (One of Pyro
        does not think.)

        Args:
            name: at most 1 KiB; names that begin with ``Pyro.`` are reserved.
            uri: where the object is.
            safe: refuse a name that exists, instead of replacing its entry.
            metadata: tags to find it by.
            ttl: the entry goes after so many seconds, unless it is renewed; None: it stays. See
                :func:`pyroipc.publish`, which renews.

        Raises:
            NamingError: the name is taken or reserved, or a part is out of bounds; or there is a
                ttl, which the name server does not know.
            TypeError: a part is of another type.
        """
        options: dict[str, Any] = {}
        if ttl is not None:
            if not lookups.has_leases(self):
                raise NamingError(
                    f"{name!r:.200} was not registered: the name server at "
                    f"{self._pyroUri.location} knows no lease times; register it without a ttl, "
                    "and remove it yourself"
                )
            options["ttl"] = ttl
        args = name, _text(uri), safe, _plain(metadata)
        advice = self._pyroInvoke("register", args, options)
        if isinstance(advice, str):
            import warnings

            warnings.warn(f"the name server says: {advice}", RuntimeWarning, stacklevel=2)

    def renew(self, uris: Mapping[str, str | URI], ttl: float) -> Mapping[str, str]:
        """Let entries with a ttl live for so many seconds from now on.

        Args:
            uris: the names, and where their objects are.
            ttl: seconds.

        Returns:
            Those that were not renewed: the name, and ``"unknown"`` if there is no such entry any
            more, or ``"taken"`` if it has another URI by now. A name server without leases has
            nothing to renew, and is asked what it knows.

        Raises:
            NamingError: the ttl is out of bounds.
            TypeError: a part is of another type.
        """
        texts = {name: _text(uri) for name, uri in uris.items()}
        if not lookups.has_leases(self):
            return self._pyro_changed(texts)
        failed: Mapping[str, str] = self._pyroInvoke("renew", (texts, ttl), {})
        return failed

    def _pyro_changed(self, uris: Mapping[str, object]) -> dict[str, str]:
        """Return the names that have other URIs by now, or none."""
        changed = {}
        for name, uri in uris.items():
            try:
                found = self.lookup(name)
            except NamingError:
                changed[name] = "unknown"
            else:
                if str(found) != uri:
                    changed[name] = "taken"
        return changed

    def set_metadata(self, name: str, metadata: Iterable[str] | None) -> None:
        """Replace the tags of an entry.

        Raises:
            NamingError: the name is not known, or reserved, or there are too many tags.
            TypeError: the tags are no texts.
        """
        self._pyroInvoke("set_metadata", (name, _plain(metadata)), {})

    def remove(
        self, name: str | None = None, prefix: str | None = None, regex: str | None = None
    ) -> int:
        """Remove entries; return how many that were. The first of the arguments given counts.

        Args:
            name: of one entry.
            prefix: what the names begin with, literally.
            regex: what the names begin with, as a pattern.

        Raises:
            NamingError: the name is reserved, or the pattern cannot be used.
        """
        if prefix and not name:
            return lookups.remove_by_prefix(self, prefix)
        number: int = self._pyroInvoke("remove", (name, prefix, regex), {})
        return number

    def list(
        self,
        prefix: str | None = None,
        regex: str | None = None,
        return_metadata: bool = False,
    ) -> dict[str, Any]:
        """Return names and the texts of their URIs; or pairs of URI and tags.

        Args:
            prefix: only names that begin with this, literally.
            regex: only names that begin with this, as a pattern.
            return_metadata: the values are pairs.

        Raises:
            NamingError: the pattern cannot be used.
            ValueError: there are a prefix and a pattern.
        """
        return lookups.names(self, prefix, regex, with_tags=bool(return_metadata))

    def yplookup(
        self,
        meta_all: Iterable[str] | None = None,
        meta_any: Iterable[str] | None = None,
        return_metadata: bool = True,
    ) -> dict[str, Any]:
        """Return what :meth:`list` returns, of the entries with all of some tags, or any of them.

        Raises:
            TypeError: the tags are no texts.
            ValueError: both were given.
        """
        tags = _plain(meta_all), _plain(meta_any)
        return lookups.tagged_names(self, *tags, with_tags=bool(return_metadata))


def _text(uri: object) -> object:
    """Return the text of a URI; what is none is left for the name server to complain about."""
    return str(uri) if isinstance(uri, URI) else uri


def _plain(metadata: Any) -> Any:
    """Return tags in a form that every serializer can send."""
    if isinstance(metadata, str) or not hasattr(metadata, "__iter__"):
        return metadata  # what is wrong with it is for the name server to say
    return list(metadata)

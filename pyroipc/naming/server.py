"""The object ``Pyro.NameServer``, and the daemon that serves it.

The entries are in a storage. The entry of the name server itself is not: it is made anew each
time, because its address may be another one after a restart, and because several name servers may
share a storage, each with an address of its own.

Names that begin with ``Pyro.`` are for the name server to write. Everything else belongs to
whoever registers it: a URI that was looked up is what somebody has claimed, and no proof.

Clients of Pyro4 and Pyro5 are answered as by their own: see :mod:`pyroipc.naming.answers`.
"""

# ruff: noqa: FBT001, FBT002 - as in Pyro

from __future__ import annotations

import threading
from time import time

from pyroipc.client.search import uri_of
from pyroipc.context import current_context
from pyroipc.errors import DaemonError, NamingError
from pyroipc.naming.answers import answer, caller, kind_of_tags
from pyroipc.naming.names import (
    Limits,
    advice_on,
    checked_metadata,
    checked_name,
    checked_ttl,
    checked_uri,
    is_reserved,
)
from pyroipc.naming.patterns import Pattern
from pyroipc.naming.storage.base import Entry, Storage
from pyroipc.naming.storage.table import open_storage
from pyroipc.server.daemon import Daemon
from pyroipc.server.exposure import expose
from pyroipc.settings import config
from pyroipc.transports import addresses
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from builtins import list as List  # noqa: N812 - the class has a method of this name
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final, TypeAlias

    from pyroipc.server.connection import Connection
    from pyroipc.settings import Settings
    from pyroipc.uri import URI

    Found: TypeAlias = dict[str, Any]

__all__ = ["NAMESERVER_NAME", "NameServer", "NameServerDaemon"]

NAMESERVER_NAME: Final = "Pyro.NameServer"
"""The id of the object, and the name of its own entry."""
_TAG: Final = "class:pyroipc.naming.server.NameServer"
_SHOWN = 200


class NameServer:
    """Knows where objects are, by their names and by their tags. Any thread may call it.

    Args:
        storage: where the entries are, as text or as an open one, which stays the caller's.
        limits: how much is taken.
    """

    def __init__(self, storage: str | Storage = "memory", limits: Limits | None = None) -> None:
        self._owns = isinstance(storage, str)
        self._storage = open_storage(storage) if isinstance(storage, str) else storage
        self._limits = limits or Limits()
        self._own: Entry | None = None
        self._is_public = False
        self._changing = threading.Lock()  # around what reads an entry and then writes it
        self._room = 0  # so many more entries fit in for certain

    # --- what its daemon does, and no client can -------------------------------------------------

    def settle(self, uri: URI, *, is_public: bool) -> None:
        """Take note of the own address, and of whether other machines can connect to it."""
        self._own = Entry(NAMESERVER_NAME, str(uri), frozenset({_TAG}), None)
        self._is_public = is_public

    @property
    def storage(self) -> Storage:
        """Where the entries are."""
        return self._storage

    def close(self) -> None:
        """Close the storage, if it was opened here."""
        if self._owns:
            self._storage.close()

    # --- what clients do -----------------------------------------------------------------------

    @expose
    def ping(self) -> None:
        """Do nothing: whoever gets an answer has reached a name server."""

    @expose
    def count(self) -> int:
        """Return the number of entries, the own one included."""
        return self._storage.count() + (self._own is not None)

    @expose
    def lookup(self, name: str, return_metadata: bool = False) -> Any:
        """Return the URI of a name; with ``return_metadata`` a pair of it and a set of tags.

        Raises:
            NamingError: the name is not known.
            TypeError: it is no text.
        """
        entry = self._get(checked_name(name, self._limits))
        if entry is None:
            raise NamingError(f"unknown name: {name:.{_SHOWN}}")
        uri = uri_of(entry.uri)
        return (uri, kind_of_tags()(entry.metadata)) if return_metadata else uri

    @expose
    def lookup_text(self, name: str) -> str:
        """Return the text of the URI of a name.

        A plain text travels in half the time of a URI, which is an object.

        Raises:
            NamingError: the name is not known.
            TypeError: it is no text.
        """
        entry = self._get(checked_name(name, self._limits))
        if entry is None:
            raise NamingError(f"unknown name: {name:.{_SHOWN}}")
        return entry.uri

    @expose
    def register(
        self,
        name: str,
        uri: str | URI,
        safe: bool = False,
        metadata: Iterable[str] | None = None,
        ttl: float | None = None,
    ) -> str | None:
        """Register a name, or give it another URI.

        Args:
            name: at most 1 KiB of UTF-8.
            uri: where the object is.
            safe: refuse a name that exists, instead of replacing its entry.
            metadata: tags to find it by.
            ttl: the entry goes after so many seconds, unless it is renewed; None: it stays.

        Returns:
            None, or what is worth knowing about the URI, for people.

        Raises:
            NamingError: the name is taken or reserved, or a part is out of bounds.
            TypeError: a part is of another type.
        """
        checked_name(name, self._limits)
        found = checked_uri(uri, self._limits)
        _refuse_reserved(name, "registered")
        seconds = self._limits.usual_ttl if ttl is None else checked_ttl(ttl)
        tags = checked_metadata(metadata, self._limits)
        expires = None if seconds is None else time() + seconds
        self._put(Entry(name, str(found), tags, expires), safe=bool(safe))
        advice = advice_on(name, found.address) if self._is_public else None
        if advice is not None:
            _log().warning("%s", advice)
        return advice if advice is None or caller() == NATIVE else None  # Pyro answers nothing

    @expose
    def renew(self, uris: Mapping[str, str | URI], ttl: float) -> dict[str, str]:
        """Let entries live for so many seconds from now on, if they still have these URIs.

        Args:
            uris: names, and where their objects are.
            ttl: seconds.

        Returns:
            Those that were not renewed: the name, and ``"unknown"`` if there is no such entry,
            or ``"taken"`` if somebody else has registered the name meanwhile.

        Raises:
            NamingError: the ttl, a name or a URI is out of bounds.
            TypeError: a part is of another type.
        """
        seconds = checked_ttl(ttl)
        if seconds is None or not isinstance(uris, dict):
            raise TypeError("renew takes a dict of names and URIs, and a number of seconds")
        failed: dict[str, str] = {}
        with self._changing:
            mine = []
            for name, uri in uris.items():
                _refuse_reserved(checked_name(name, self._limits), "renewed")
                entry = self._storage.get(name)
                if entry is None:
                    failed[name] = "unknown"
                elif entry.uri != str(uri):
                    failed[name] = "taken"
                elif entry.expires is not None:
                    mine.append(name)
            if mine:
                expires = time() + seconds
                gone = self._storage.renew(dict.fromkeys(mine, expires))
                failed.update(dict.fromkeys(gone, "unknown"))
        return failed

    @expose
    def set_metadata(self, name: str, metadata: Iterable[str] | None) -> None:
        """Replace the tags of an entry; none, or None, takes them away.

        Raises:
            NamingError: the name is not known or reserved, or there are too many tags.
            TypeError: a part is of another type.
        """
        _refuse_reserved(checked_name(name, self._limits), "changed")
        tags = checked_metadata(metadata, self._limits)
        with self._changing:
            entry = self._storage.get(name)
            if entry is None:
                raise NamingError(f"unknown name: {name:.{_SHOWN}}")
            self._storage.put(Entry(name, entry.uri, tags, entry.expires))

    @expose
    def remove(
        self, name: str | None = None, prefix: str | None = None, regex: str | None = None
    ) -> int:
        """Remove entries; the first argument that is given counts, and reserved names stay.

        Args:
            name: of one entry; one that does not exist is none.
            prefix: what the names begin with, literally.
            regex: what the names begin with, as a pattern.

        Returns:
            How many were removed.

        Raises:
            NamingError: the name is reserved, or the pattern cannot be used.
            TypeError: a part is no text.
        """
        if name:
            if name == NAMESERVER_NAME and caller() != NATIVE:
                return 0
            _refuse_reserved(checked_name(name, self._limits), "removed")
            names = [name]
        elif prefix or regex:
            found = self._search(prefix or None, None if prefix else regex)
            names = [entry.name for entry in found if not is_reserved(entry.name)]
        else:
            return 0
        number = sum(map(self._storage.remove, names))
        self._note_new(-number)
        return number

    @expose
    def list(
        self,
        prefix: str | None = None,
        regex: str | None = None,
        metadata_all: Iterable[str] | bool | None = None,
        metadata_any: Iterable[str] | None = None,
        return_metadata: bool = False,
    ) -> Found:
        """Return names and the texts of their URIs; or pairs of URI and tags.

        Args:
            prefix: only names that begin with this, literally.
            regex: only names that begin with this, as a pattern.
            metadata_all: only entries with all of these tags, as in Pyro4; none: everything. True
                or False: what stands here in Pyro5, ``return_metadata``.
            metadata_any: only entries with one of these tags; none: everything.
            return_metadata: the values are pairs.

        Raises:
            NamingError: the pattern cannot be used, or the tags are out of bounds.
            TypeError: a part is no text.
            ValueError: there is more than one of prefix, pattern and tags.
        """
        tags_all = metadata_all
        if isinstance(tags_all, bool):
            tags_all, return_metadata = None, bool(tags_all)
        if sum(one is not None for one in (prefix, regex, tags_all, metadata_any)) > 1:
            raise ValueError("you can only filter on one thing at a time")
        if tags_all or metadata_any:
            return self.yplookup(tags_all or None, metadata_any or None, return_metadata)
        return answer(self._search(prefix, regex), return_metadata)

    @expose
    def yplookup(
        self,
        meta_all: Iterable[str] | None = None,
        meta_any: Iterable[str] | None = None,
        return_metadata: bool = True,
    ) -> Found:
        """Return what ``list`` returns, of the entries with all of some tags, or any of them.

        Raises:
            NamingError: the tags are out of bounds.
            TypeError: they are no texts.
            ValueError: both were given.
        """
        if meta_all is not None and meta_any is not None:
            raise ValueError("you can't use meta_all and meta_any at the same time")
        tags_all = checked_metadata(meta_all, self._limits)
        tags_any = checked_metadata(meta_any, self._limits)
        if not tags_all and not tags_any:
            return {}
        found = self._storage.entries("", tags_all=tags_all, tags_any=tags_any)
        own = self._own
        if own is not None and (tags_all <= own.metadata if tags_all else tags_any & own.metadata):
            found = [own, *found]
        return answer(found, return_metadata)

    # --- inside ----------------------------------------------------------------------------------

    def _get(self, name: str) -> Entry | None:
        if name == NAMESERVER_NAME:
            return self._own
        return self._storage.get(name)

    def _search(self, prefix: object, regex: object) -> List[Entry]:
        if prefix is not None and not isinstance(prefix, str):
            raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
        pattern = Pattern(regex) if regex else None  # type: ignore[arg-type]  # it checks that
        found = self._storage.entries(prefix or "")
        if self._own is not None and NAMESERVER_NAME.startswith(prefix or ""):
            found = [self._own, *found]
        if pattern is None:
            return found
        wanted = set(pattern.matching(entry.name for entry in found))
        return [entry for entry in found if entry.name in wanted]

    def _put(self, entry: Entry, *, safe: bool) -> None:
        is_new = self._storage.get(entry.name) is None
        if is_new:
            self._check_room(entry.name)
        if not self._storage.put(entry, only_new=safe):
            raise NamingError(f"name already registered: {entry.name:.{_SHOWN}}")
        if is_new:
            self._note_new(1)

    def _check_room(self, name: str) -> None:
        """Look whether one more entry is allowed.

        Raises:
            NamingError: there are too many, in all or of this connection.
        """
        limits = self._limits
        if self._room <= 0:
            self._room = limits.entries - self._storage.count()
            if self._room <= 0:
                raise NamingError(
                    f"{name!r:.{_SHOWN}} was not registered: the name server is full, with "
                    f"{limits.entries} entries"
                )
        client = current_context.client
        if client is not None and _number_of(client) >= limits.entries_per_connection:
            raise NamingError(
                f"{name!r:.{_SHOWN}} was not registered: this connection has registered "
                f"{limits.entries_per_connection} names already"
            )

    def _note_new(self, number: int) -> None:
        """Take note that there are more entries, or fewer, and by whom."""
        self._room -= number
        client = current_context.client
        if client is not None:
            client.names_registered = max(0, _number_of(client) + number)


def _number_of(client: Connection) -> int:
    number: int = getattr(client, "names_registered", 0)
    return number


def _refuse_reserved(name: str, what: str) -> None:
    """Refuse what only the name server itself may do.

    Raises:
        NamingError: the name is reserved.
    """
    if is_reserved(name):
        raise NamingError(
            f"{name!r:.{_SHOWN}} cannot be {what}: names that begin with Pyro. are those of the "
            "name server"
        )


class NameServerDaemon(Daemon):
    """A daemon with a name server in it.

    Args:
        host: as :class:`pyroipc.Daemon` takes it.
        port: None: the setting NS_PORT.
        unixsocket: as there; so are nathost and natport.
        storage: where the entries are: ``"memory"``, ``"sqlite:/path"``, ``"etcd:host:port,..."``.
        limits: how much is taken.
        settings: read once, now.
        options: what else :class:`pyroipc.Daemon` takes.

    Raises:
        DaemonError: an address cannot be listened at.
        NamingError: the storage cannot be used.
        ValueError: NS_AUTOCLEAN is below 3 seconds.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        unixsocket: str | None = None,
        nathost: str | None = None,
        natport: int | None = None,
        storage: str | Storage | None = None,
        *,
        limits: Limits | None = None,
        settings: Settings = config,
        **options: Any,
    ) -> None:
        if options.get("connected_socket") is not None:
            raise DaemonError("a name server listens at an address, and not over one socket")
        if port is None and unixsocket is None and not (host is None and options.get("listen")):
            port = settings.NS_PORT
        self.nameserver = self._make_nameserver(storage or "memory", limits)
        """The object itself."""
        self._stop_cleaner: Callable[[], None] | None = None
        try:
            super().__init__(
                host, port or 0, unixsocket, nathost, natport, settings=settings, **options
            )
            try:
                self.register(self.nameserver, NAMESERVER_NAME)
                self.nameserver.settle(self.uriFor(NAMESERVER_NAME), is_public=_is_public(self))
                if settings.NS_AUTOCLEAN:
                    self._start_cleaner(settings)
            except BaseException:
                super().close()
                raise
        except BaseException:
            self._close_storage()
            raise

    def _make_nameserver(self, storage: str | Storage, limits: Limits | None) -> NameServer:
        return NameServer(storage, limits)

    @property
    def is_public(self) -> bool:
        """Whether other machines can connect."""
        return _is_public(self)

    def _start_cleaner(self, settings: Settings) -> None:
        from pyroipc.naming.cleaning import Cleaner

        cleaner = Cleaner(self.nameserver.storage, settings)
        cleaner.start()
        self._stop_cleaner = cleaner.stop

    def housekeeping(self) -> None:
        """Remove the entries whose time is over."""
        storage = self.nameserver.storage
        for name in storage.remove_expired(time()):
            _log().info("%r was not renewed in time, and is gone", name)

    def requestLoop(self, loopCondition: Callable[[], bool] | None = None) -> None:  # noqa: N802, N803
        """Serve, as :meth:`pyroipc.Daemon.requestLoop` does."""
        try:
            super().requestLoop(loopCondition)
        finally:
            if self._closed:
                self._close_storage()

    def close(self) -> None:
        """Stop serving, and close the storage if it was opened here."""
        super().close()
        if self._stop_cleaner is not None:
            self._stop_cleaner()
        if self._service is None:
            self._close_storage()

    def _close_storage(self) -> None:
        self.nameserver.close()


def _is_public(daemon: Daemon) -> bool:
    """Say whether a daemon can be reached from other machines."""
    if daemon.natLocationStr is not None:
        return True
    hosts = [location.host for location in daemon.locations]
    return any(host is not None and not addresses.is_loopback(host) for host in hosts)


def _log() -> Any:
    from pyroipc import logs

    return logs.get("naming")

"""``Pyro4.naming_storage``: storages of names as mappings, on those of pyroipc.

A name stands for a pair: the text of its URI, and the set of its tags.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from pyroipc.errors import NamingError
from pyroipc.naming.patterns import Pattern
from pyroipc.naming.storage.base import Entry
from pyroipc.naming.storage.table import open_storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn

    from pyroipc.naming.storage.base import Storage

__all__ = ["DbmStorage", "SqlStorage", "StorageMapping", "opened"]


class StorageMapping(MutableMapping[str, tuple[str, frozenset[str]]]):
    """A storage of pyroipc as Pyro4's name server uses one.

    Args:
        storage: the storage; it is closed by :meth:`close`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def __getitem__(self, name: str) -> tuple[str, frozenset[str]]:
        """Return the URI and the tags of a name.

        Raises:
            KeyError: there is no such name.
        """
        entry = self.storage.get(name)
        if entry is None:
            raise KeyError(name)
        return entry.uri, entry.metadata

    def __setitem__(self, name: str, value: tuple[str, Iterable[str] | None]) -> None:
        uri, metadata = value
        self.storage.put(Entry(name, str(uri), frozenset(metadata or ())))

    def __delitem__(self, name: str) -> None:
        """Remove a name.

        Raises:
            KeyError: there is no such name.
        """
        if not self.storage.remove(name):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([entry.name for entry in self.storage.entries()])

    def __len__(self) -> int:
        return self.storage.count()

    def clear(self) -> None:
        """Remove all names."""
        self.remove_items(list(self))

    def optimized_prefix_list(self, prefix: str, return_metadata: bool = False) -> dict[str, Any]:
        """Return the entries whose names begin with a text."""
        return _shown(self.storage.entries(prefix), return_metadata)

    def optimized_regex_list(self, regex: str, return_metadata: bool = False) -> dict[str, Any]:
        """Return the entries whose names match a pattern from their beginning on.

        Raises:
            NamingError: the pattern cannot be used.
        """
        entries = self.storage.entries()
        names = set(Pattern(regex).matching(entry.name for entry in entries))
        return _shown([entry for entry in entries if entry.name in names], return_metadata)

    def optimized_metadata_search(
        self,
        metadata_all: Iterable[str] | None = None,
        metadata_any: Iterable[str] | None = None,
        return_metadata: bool = False,
    ) -> dict[str, Any]:
        """Return the entries with all of some tags, or with any of them."""
        found = self.storage.entries(
            tags_all=frozenset(metadata_all or ()), tags_any=frozenset(metadata_any or ())
        )
        return _shown(found, return_metadata)

    def everything(self, return_metadata: bool = False) -> dict[str, Any]:
        """Return all entries."""
        return _shown(self.storage.entries(), return_metadata)

    def remove_items(self, items: Iterable[str]) -> None:
        """Remove names; those that are not there are ignored."""
        for name in list(items):
            self.storage.remove(name)

    def close(self) -> None:
        """Let go of files."""
        self.storage.close()


def _shown(entries: Iterable[Entry], return_metadata: bool) -> dict[str, Any]:
    if return_metadata:
        return {entry.name: (entry.uri, entry.metadata) for entry in entries}
    return {entry.name: entry.uri for entry in entries}


class MemoryStorage(StorageMapping):
    """Names in memory.

    Args:
        kwargs: the first of them.
    """

    def __init__(self, **kwargs: tuple[str, Iterable[str] | None]) -> None:
        super().__init__(open_storage("memory"))
        for name, value in kwargs.items():
            self[name] = value


class SqlStorage(StorageMapping):
    """Names in a file of sqlite.

    Args:
        dbfile: its path.

    Raises:
        ValueError: it is ``":memory:"``.
        NamingError: it cannot be used.
    """

    def __init__(self, dbfile: str) -> None:
        if dbfile == ":memory:":
            raise ValueError("sqlite's :memory: is no storage of names; use the storage 'memory'")
        super().__init__(open_storage(f"sqlite:{dbfile}"))


class DbmStorage(StorageMapping):
    """Refuses: dbm cannot hold tags.

    Args:
        dbmfile: its path.

    Raises:
        NamingError: always.
    """

    def __init__(self, dbmfile: str) -> None:
        _refuse(dbmfile)


def _refuse(dbmfile: str) -> NoReturn:
    """Say what to do instead.

    Raises:
        NamingError: always.
    """
    raise NamingError(
        f"the storage 'dbm:{dbmfile}' is no more: dbm cannot hold metadata; use 'sql:' and the "
        "path of another file, and register the names again"
    )


def opened(storage: Storage | StorageMapping | str | None) -> Storage | str:
    """Return what the name server of pyroipc takes for a storage."""
    if isinstance(storage, StorageMapping):
        return storage.storage
    return storage or "memory"

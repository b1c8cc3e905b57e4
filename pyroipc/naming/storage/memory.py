"""Names in dicts of this process: the quickest storage, and gone when the process ends.

Measured with 100 000 names: ``put`` takes 8 µs, ``get`` 1 µs, the 10 000 names of a prefix 1.3 ms,
and an entry 0.5 kB. For prefixes the names are also kept in a sorted list, which is put in
order when somebody asks for it: a list that is nearly in order is sorted in one pass.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from math import inf
from time import time

from pyroipc.errors import NamingError
from pyroipc.naming.storage.base import (
    NO_TAGS,
    Entry,
    Storage,
    check_entry,
    check_expiry,
    check_texts,
    prefix_end,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set

__all__ = ["MemoryStorage"]


class _SortedNames:
    """Names in order. Changes are noted and made when the order is asked for."""

    __slots__ = ("_come", "_gone", "_order")

    def __init__(self) -> None:
        self._order: list[str] = []
        self._come: set[str] = set()  # not in the order yet
        self._gone: set[str] = set()  # still in the order

    def add(self, name: str) -> None:
        """Note a name that was not there."""
        if name in self._gone:
            self._gone.discard(name)
        else:
            self._come.add(name)

    def discard(self, name: str) -> None:
        """Note that a name that was there is gone."""
        if name in self._come:
            self._come.discard(name)
        else:
            self._gone.add(name)

    def beginning_with(self, prefix: str) -> list[str]:
        """Return the names that begin so, in order."""
        if self._gone:
            self._order = [name for name in self._order if name not in self._gone]
            self._gone.clear()
        if self._come:
            self._order.extend(self._come)
            self._order.sort()
            self._come.clear()
        end = prefix_end(prefix)
        return self._order[
            bisect_left(self._order, prefix) : None
            if end is None
            else bisect_left(self._order, end)
        ]


class MemoryStorage(Storage):
    """Names in the memory of this process.

    Args:
        where: nothing: there is nowhere to look.
        timeout: without meaning here: nobody makes this storage wait.
        clock: seconds since the epoch.

    Raises:
        NamingError: there is something behind the word "memory".
    """

    def __init__(
        self, where: str = "", *, timeout: float = 5.0, clock: Callable[[], float] = time
    ) -> None:
        if where:
            raise NamingError(f"the storage 'memory:{where:.200}' is written 'memory', alone")
        super().__init__(where, timeout=timeout, clock=clock)
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._names = _SortedNames()
        self._tagged: dict[str, set[str]] = {}  # tag -> names
        self._expiries: dict[str, float] = {}  # of the entries that expire
        self._first_expiry = inf  # none of them is earlier
        self._closed = False

    def get(self, name: str) -> Entry | None:
        """Look up a name."""
        check_texts((name,))
        with self._lock:
            self._check_open()
            return self._living(name)

    def put(self, entry: Entry, *, only_new: bool = False) -> bool:
        """Store an entry."""
        check_entry(entry)
        name = entry.name
        with self._lock:
            self._check_open()
            if only_new and self._living(name) is not None:
                return False
            former = self._entries.get(name)
            self._entries[name] = entry._replace(metadata=self._kept(entry.metadata))
            if former is None:
                self._names.add(name)
            self._tag(name, NO_TAGS if former is None else former.metadata, entry.metadata)
            self._note_expiry(name, entry.expires)
        return True

    def remove(self, name: str) -> bool:
        """Remove a name."""
        check_texts((name,))
        with self._lock:
            self._check_open()
            was_there = self._living(name) is not None
            if name in self._entries:
                self._forget(name)
        return was_there

    def entries(
        self, prefix: str = "", *, tags_all: Set[str] = NO_TAGS, tags_any: Set[str] = NO_TAGS
    ) -> list[Entry]:
        """List entries."""
        check_texts((prefix, *tags_all, *tags_any))
        with self._lock:
            self._check_open()
            found: Iterable[str]
            if tags_all or tags_any:
                names = self._with_tags(tags_all, tags_any)
                found = sorted(name for name in names if name.startswith(prefix))
            else:
                found = self._names.beginning_with(prefix)
            chosen = [self._entries[name] for name in found]
            now = self._clock()
            if now >= self._first_expiry:
                chosen = [entry for entry in chosen if entry.is_alive(now)]
        return chosen

    def count(self) -> int:
        """Count the names."""
        with self._lock:
            self._check_open()
            now = self._clock()
            if now < self._first_expiry:
                return len(self._entries)
            return len(self._entries) - sum(expiry <= now for expiry in self._expiries.values())

    def renew(self, names_and_expiries: Mapping[str, float]) -> set[str]:
        """Give entries new expiries."""
        check_texts(names_and_expiries)
        for name, expires in names_and_expiries.items():
            check_expiry(name, expires)
        missing = set()
        with self._lock:
            self._check_open()
            for name, expires in names_and_expiries.items():
                entry = self._living(name)
                if entry is None:
                    missing.add(name)
                else:
                    self._entries[name] = entry._replace(expires=expires)
                    self._note_expiry(name, expires)
        return missing

    def remove_expired(self, now: float) -> list[str]:
        """Remove what has expired."""
        with self._lock:
            self._check_open()
            if now < self._first_expiry:
                return []
            expired = sorted(name for name, expiry in self._expiries.items() if expiry <= now)
            for name in expired:
                self._forget(name)
            self._first_expiry = min(self._expiries.values(), default=inf)
        return expired

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._closed = True
            self._entries.clear()
            self._tagged.clear()
            self._expiries.clear()
            self._names = _SortedNames()

    def _check_open(self) -> None:
        if self._closed:
            raise NamingError("the storage 'memory' is closed; open another one")

    def _living(self, name: str) -> Entry | None:
        entry = self._entries.get(name)
        return entry if entry is not None and entry.is_alive(self._clock()) else None

    def _with_tags(self, tags_all: Set[str], tags_any: Set[str]) -> set[str]:
        groups = [self._tagged.get(tag, set()) for tag in tags_all]
        if tags_any:
            groups.append(set().union(*(self._tagged.get(tag, ()) for tag in tags_any)))
        groups.sort(key=len)  # the smallest first: the intersection is never larger
        return groups[0].intersection(*groups[1:])

    def _kept(self, tags: frozenset[str]) -> frozenset[str]:
        """Return a set that an entry has already, if one is equal: most objects have a class.

        Else each would have its own, and its own copies of the texts: 0.4 kB for an entry.
        """
        groups = [self._tagged.get(tag) for tag in tags]
        if groups and None not in groups:
            names = min(filter(None, groups), key=len)
            candidate = self._entries[next(iter(names))].metadata
            if candidate == tags:
                return candidate
        return tags

    def _tag(self, name: str, former: frozenset[str], wanted: frozenset[str]) -> None:
        for tag in former - wanted:
            names = self._tagged[tag]
            names.discard(name)
            if not names:
                del self._tagged[tag]
        for tag in wanted - former:
            self._tagged.setdefault(tag, set()).add(name)

    def _note_expiry(self, name: str, expires: float | None) -> None:
        if expires is None:
            self._expiries.pop(name, None)
        else:
            self._expiries[name] = expires
            self._first_expiry = min(self._first_expiry, expires)

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name)
        self._names.discard(name)
        self._tag(name, entry.metadata, NO_TAGS)
        self._expiries.pop(name, None)

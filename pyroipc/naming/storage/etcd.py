r"""Names in a cluster of etcd, which several name servers share.

::

    PREFIX/names/NAME          {"uri": ..., "tags": [...], "expires": ... or null, "id": ...}
    PREFIX/tags/TAG \xff NAME  nothing: a hint that this name has this tag

* **A change is a transaction** that compares the revision of the name with the one that was seen.
  Two name servers that register a name at the same moment are told apart by etcd.
* **An answer may get lost** when a node dies, and the question is asked again. So that a name
  server does not take its own first attempt for somebody else's, each change has an ``id``.
* **What expires has a lease**, so that it vanishes even if no name server is left. Those that
  expire in the same second share one. A lease ends up to two seconds late; until then the time in
  the value counts. So the clocks of name servers should agree to within a part of the lease time.
* **Hints make searching quick**: 100 000 names take 3 s to read, but 100 of them that have a tag
  take 10 ms. Hints are written with the entry and never missing. They may be left over, and so
  what they lead to is looked at. Between tag and name stands a byte that UTF-8 does not have.

Whoever may write to the cluster may redirect names: it belongs in a network of its own.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from math import ceil
from time import monotonic, time
from typing import NamedTuple

from pyroipc import logs
from pyroipc.errors import NamingError, PyroError
from pyroipc.location import Location
from pyroipc.naming.storage.base import (
    NO_TAGS,
    Entry,
    Storage,
    check_entry,
    check_expiry,
    check_texts,
    prefix_end,
)
from pyroipc.naming.storage.etcd_cluster import Cluster, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
    from typing import Any, Final, TypeAlias

    Json: TypeAlias = dict[str, Any]

__all__ = ["EtcdStorage"]

_PORT: Final = 2379
_PREFIX: Final = "/pyroipc"
_BETWEEN: Final = b"\xff"
_MOST_OPERATIONS: Final = 128  # in one transaction: etcd's own limit
_MOST_TAGS: Final = _MOST_OPERATIONS - 1
_PAGE: Final = 5000  # names in one answer: about 2 MB
_MOST_SECONDS: Final = 9_000_000_000  # the longest lease that etcd grants
_MOST_LEASES: Final = 1000  # that are remembered


class _Seen(NamedTuple):
    """What is under a name: its revision (0: nothing), what it says, and which change wrote it."""

    revision: int = 0
    entry: Entry | None = None
    id: str = ""


class EtcdStorage(Storage):
    """Names in a cluster of etcd; see the module. Nothing is asked before it is used.

    Args:
        where: ``host:port,host:port/prefix``: the nodes, and what all keys begin with; without a
            port it is 2379, without a prefix ``/pyroipc``.
        timeout: how many seconds an operation may take; a long list, each 5000 names of it.
        clock: seconds since the epoch.

    Raises:
        NamingError: the text is not understood.
    """

    persistent = True
    shared = True

    def __init__(
        self, where: str, *, timeout: float = 5.0, clock: Callable[[], float] = time
    ) -> None:
        super().__init__(where, timeout=timeout, clock=clock)
        nodes, prefix = _parsed(where)
        self._cluster = Cluster(nodes, timeout)
        self._names = prefix + b"/names/"
        self._tags = prefix + b"/tags/"
        self._leases: dict[int, str] = {}  # the second in which entries expire -> id

    def get(self, name: str) -> Entry | None:
        """Look up a name."""
        check_texts((name,))
        return self._living(self._seen([name], self._deadline())[0])

    def put(self, entry: Entry, *, only_new: bool = False) -> bool:
        """Store an entry.

        Raises:
            NamingError: it has more tags than fit into a transaction, or see Storage.
        """
        check_entry(entry)
        if len(entry.metadata) > _MOST_TAGS:
            raise NamingError(
                f"{entry.name!r:.200} has {len(entry.metadata)} tags; etcd takes {_MOST_TAGS}"
            )
        if not entry.is_alive(self._clock()):  # there is no lease for that
            if only_new and self.get(entry.name) is not None:
                return False
            self.remove(entry.name)
            return True
        deadline = self._deadline()
        mark = os.urandom(8).hex()
        seen = _Seen()
        while True:
            # The first try takes the name for new: most are, and it costs nothing if it is not.
            if seen.id == mark:
                return True
            if only_new and self._living(seen) is not None:
                return False
            found = self._change(
                entry.name, seen, self._storing(entry, seen, mark, deadline), deadline
            )
            if found is None:
                return True
            seen = found

    def remove(self, name: str) -> bool:
        """Remove a name."""
        check_texts((name,))
        deadline = self._deadline()
        seen: _Seen | None = self._seen([name], deadline)[0]
        while seen is not None and seen.revision:
            was_there = self._living(seen) is not None
            tags = seen.entry.metadata if seen.entry else NO_TAGS
            operations = [_delete_of(self._name_key(name)), *self._unhinting(name, tags)]
            seen = self._change(name, seen, operations, deadline)
            if seen is None:
                return was_there
        return False

    def entries(
        self, prefix: str = "", *, tags_all: Set[str] = NO_TAGS, tags_any: Set[str] = NO_TAGS
    ) -> list[Entry]:
        """List entries."""
        check_texts((prefix, *tags_all, *tags_any))
        found: Iterable[_Seen]
        chosen = self._hinted(prefix, tags_all, tags_any) if tags_all or tags_any else None
        if chosen is None:
            found = map(self._read, self._range(self._names, prefix))
        else:
            found = self._seen_by_parts(sorted(chosen))
        now = self._clock()
        return [
            entry
            for _, entry, _ in found
            if entry is not None
            and entry.is_alive(now)
            and tags_all <= entry.metadata
            and (not tags_any or not tags_any.isdisjoint(entry.metadata))
        ]

    def count(self) -> int:
        """Count the names."""
        return self._number(self._names)

    def renew(self, names_and_expiries: Mapping[str, float]) -> set[str]:
        """Give entries new expiries."""
        check_texts(names_and_expiries)
        for name, expires in names_and_expiries.items():
            check_expiry(name, expires)
        names = list(names_and_expiries)
        missing: set[str] = set()
        renewed: list[tuple[_Seen, Entry]] = []
        for name, seen in zip(names, self._seen_by_parts(names), strict=True):
            entry = self._living(seen)
            if entry is None:
                missing.add(name)
            else:
                renewed.append((seen, entry._replace(expires=names_and_expiries[name])))
        mark = os.urandom(8).hex()
        for part in _parts(renewed):
            missing |= self._renew(part, mark)
        return missing

    def remove_expired(self, now: float) -> list[str]:
        """Do nothing: leases do it."""
        del now
        return []

    def close(self) -> None:
        """Let go of everything."""
        self._cluster.close()

    # -- changes

    def _renew(self, part: Sequence[tuple[_Seen, Entry]], mark: str) -> set[str]:
        """Store entries anew in one transaction, or each alone if one has changed meanwhile."""
        deadline = self._deadline()
        if all(entry.is_alive(self._clock()) for _, entry in part):
            question = _transaction(
                [_unchanged(self._name_key(entry.name), seen) for seen, entry in part],
                [
                    operation
                    for seen, entry in part
                    for operation in self._storing(entry, seen, mark, deadline)
                ],
            )
            answer = self._transact(question, deadline)
            if answer is not None and answer.get("succeeded"):
                return set()
        return {entry.name for _, entry in part if not self._renew_alone(entry, mark)}

    def _renew_alone(self, wanted: Entry, mark: str) -> bool:
        deadline = self._deadline()
        seen: _Seen | None = self._seen([wanted.name], deadline)[0]
        while seen is not None and seen.id != mark:
            entry = self._living(seen)
            if entry is None:
                return False
            entry = entry._replace(expires=wanted.expires)
            if not entry.is_alive(self._clock()):
                return self.remove(entry.name)
            seen = self._change(
                entry.name, seen, self._storing(entry, seen, mark, deadline), deadline
            )
        return True

    def _change(
        self, name: str, seen: _Seen, operations: list[Json], deadline: float
    ) -> _Seen | None:
        """Change a name if it is as it was seen. Return None, or how it is if that failed."""
        key = self._name_key(name)
        question = _transaction(
            [_unchanged(key, seen)],
            operations[:_MOST_OPERATIONS],  # the last ones are hints that may be left over
            [{"request_range": {"key": key}}],
        )
        answer = self._transact(question, deadline)
        if answer is None:
            return seen
        if answer.get("succeeded"):
            return None
        return self._first(answer["responses"][0])

    def _transact(self, question: Json, deadline: float) -> Json | None:
        """Ask for a transaction; None: it was refused because a lease is gone, so try again.

        Somebody may have revoked it, or this process slept for long.

        Raises:
            NamingError: nobody answered in time, or the answer is another no.
        """
        try:
            return self._ask("kv/txn", question, deadline)
        except NamingError as error:
            if isinstance(error.__cause__, RefusedError) and "lease not found" in str(error):
                self._leases.clear()
                return None
            raise

    def _storing(self, entry: Entry, seen: _Seen, mark: str, deadline: float) -> list[Json]:
        """Return the operations that store an entry in the place of another."""
        name, uri, tags, expires = entry
        value = json.dumps(
            {"uri": uri, "tags": sorted(tags), "expires": expires, "id": mark},
            ensure_ascii=False,
        )
        lease = None if expires is None else self._lease(expires, deadline)
        former = seen.entry.metadata if seen.entry else NO_TAGS
        return [
            _put_of(self._name_key(name), value, lease),
            *(_put_of(self._hint_key(tag, name), "", lease) for tag in tags),
            *self._unhinting(name, former - tags),
        ]

    def _unhinting(self, name: str, tags: Set[str]) -> Iterator[Json]:
        return (_delete_of(self._hint_key(tag, name)) for tag in tags)

    def _lease(self, expires: float, deadline: float) -> str:
        """Return the id of a lease that ends when an entry expires, or up to 2 s later."""
        second = ceil(expires)
        found = self._leases.get(second)
        if found is None:
            seconds = min(max(1, ceil(second - self._clock()) + 1), _MOST_SECONDS)
            answer = self._ask("lease/grant", {"TTL": seconds, "ID": 0}, deadline)
            if len(self._leases) >= _MOST_LEASES:
                self._leases.clear()
            found = self._leases[second] = str(answer["ID"])
        return found

    # -- looking up

    def _hinted(self, prefix: str, tags_all: Set[str], tags_any: Set[str]) -> set[str] | None:
        """Return names that may have the tags; None: so many that reading all is quicker."""
        tags = tags_any
        if tags_all:  # the rarest of them; for the others, what is found is looked at
            tags = tags_all if len(tags_all) == 1 else {min(tags_all, key=self._number_of_hints)}
        found = set().union(*map(self._hinted_by, tags))
        chosen = {name for name in found if name.startswith(prefix)}
        # To read a name alone takes three times as long as to read it in a list.
        return None if len(chosen) > _PAGE and 3 * len(chosen) > self.count() else chosen

    def _number_of_hints(self, tag: str) -> int:
        return self._number(self._tags + tag.encode() + _BETWEEN)

    def _hinted_by(self, tag: str) -> set[str]:
        start = self._tags + tag.encode() + _BETWEEN
        return {
            b64decode(found["key"])[len(start) :].decode(errors="replace")
            for found in self._range(start, "", keys_only=True)
        }

    def _range(self, start: bytes, prefix: str, *, keys_only: bool = False) -> Iterator[Json]:
        """Read what is under all keys that begin so, as it is at one moment."""
        end = prefix_end(prefix)
        limit = _after(start) if end is None else start + end.encode()
        key, revision = start + prefix.encode(), "0"
        while True:
            question = {
                **_range_of(key, limit),
                "limit": _PAGE,
                "revision": revision,
                "keys_only": keys_only,
            }
            answer = self._ask("kv/range", question, self._deadline())
            found = answer.get("kvs", [])
            yield from found
            if not answer.get("more") or not found:
                return
            key = b64decode(found[-1]["key"]) + b"\0"
            if revision == "0":  # the header has that of the cluster, not of the answer
                revision = answer["header"]["revision"]

    def _number(self, start: bytes) -> int:
        """Return how many keys begin so."""
        question = {**_range_of(start, _after(start)), "count_only": True}
        return int(self._ask("kv/range", question, self._deadline()).get("count", 0))

    def _seen_by_parts(self, names: Sequence[str]) -> Iterator[_Seen]:
        for start in range(0, len(names), _MOST_OPERATIONS):
            yield from self._seen(names[start : start + _MOST_OPERATIONS], self._deadline())

    def _seen(self, names: Sequence[str], deadline: float) -> list[_Seen]:
        question = _transaction(
            [], [{"request_range": {"key": self._name_key(name)}} for name in names]
        )
        return list(map(self._first, self._ask("kv/txn", question, deadline)["responses"]))

    def _first(self, answer: Json) -> _Seen:
        found = answer["response_range"].get("kvs")
        return self._read(found[0]) if found else _Seen()

    def _read(self, found: Json) -> _Seen:
        """Read what is under a key. What cannot be read is no entry, and may be replaced."""
        key, revision = b64decode(found["key"]), int(found["mod_revision"])
        try:
            value = json.loads(b64decode(found.get("value", "")))
            name = key[len(self._names) :].decode()
            entry = Entry(name, value["uri"], frozenset(value["tags"]), value["expires"])
            return _Seen(revision, entry, value["id"])
        except (ValueError, KeyError, TypeError) as error:
            logs.get("naming").warning(
                "%s: what is under the key %r is no registration and is left out: %r",
                self._cluster, key, error,
            )  # fmt: skip
            return _Seen(revision)

    def _living(self, seen: _Seen) -> Entry | None:
        entry = seen.entry
        return entry if entry is not None and entry.is_alive(self._clock()) else None

    # -- asking

    def _deadline(self) -> float:
        return monotonic() + self._timeout

    def _ask(self, path: str, question: Json, deadline: float) -> Json:
        try:
            return self._cluster.ask(path, question, deadline)
        except RefusedError as error:
            raise NamingError(f"the storage {self._cluster} refuses: {error}") from error

    def _name_key(self, name: str) -> str:
        return _text(self._names + name.encode())

    def _hint_key(self, tag: str, name: str) -> str:
        return _text(self._tags + tag.encode() + _BETWEEN + name.encode())


def _parsed(where: str) -> tuple[list[Location], bytes]:
    """Return the nodes and the prefix of all keys.

    Raises:
        NamingError: the text is not understood.
    """
    nodes_text, slash, prefix = where.partition("/")
    prefix = f"/{prefix.strip('/')}" if slash and prefix.strip("/") else _PREFIX
    check_texts((prefix,))
    if not {"names", "tags"}.isdisjoint(prefix.split("/")):
        raise NamingError(
            f"the storage 'etcd:{where}' could get in the way of another one: "
            "its prefix has a part called 'names' or 'tags'; call it something else"
        )
    try:
        nodes = [
            Location.parse(text.strip(), default_port=_PORT, part_of="node of etcd")
            for text in nodes_text.split(",")
        ]
    except PyroError as error:
        raise NamingError(
            f"the storage 'etcd:{where}' is not understood: {error}; "
            "write 'etcd:host:2379,host2:2379/prefix'"
        ) from error
    return nodes, prefix.encode()


def _parts(renewed: Iterable[tuple[_Seen, Entry]]) -> Iterator[list[tuple[_Seen, Entry]]]:
    """Divide what is to be stored so that each part fits into a transaction."""
    part: list[tuple[_Seen, Entry]] = []
    size = 0
    for seen, entry in renewed:
        size += 1 + len(entry.metadata)
        if part and size > _MOST_OPERATIONS:
            yield part
            part, size = [], 1 + len(entry.metadata)
        part.append((seen, entry))
    if part:
        yield part


# What etcd's questions are made of. Bytes travel in base 64.


def _text(key: bytes) -> str:
    return b64encode(key).decode()


def _after(start: bytes) -> bytes:
    """Return the first key behind all that begin so; names never begin with this byte."""
    return start + _BETWEEN


def _range_of(start: bytes, end: bytes) -> Json:
    return {"key": _text(start), "range_end": _text(end)}


def _unchanged(key: str, seen: _Seen) -> Json:
    return {
        "key": key,
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": str(seen.revision),
    }


def _transaction(compare: list[Json], success: list[Json], failure: Sequence[Json] = ()) -> Json:
    return {"compare": compare, "success": success, "failure": list(failure)}


def _put_of(key: str, value: str, lease: str | None) -> Json:
    put = {"key": key, "value": _text(value.encode())}
    if lease is not None:
        put["lease"] = lease
    return {"request_put": put}


def _delete_of(key: str) -> Json:
    return {"request_delete_range": {"key": key}}

"""Names in one SQLite file: they survive the process, ``kill -9``, and the machine's power.

::

    names      name (primary key), uri, metadata (a JSON list of the tags, sorted), expires
    tags       tag, name           the same tags once more, for searching

* **What is acknowledged is on the disk.** The file is in WAL mode with ``synchronous=FULL``: each
  commit waits for the disk (2.5 ms on the machine where this was measured, and the work itself
  0.04 ms). So the changes that threads ask for meanwhile are put into the next commit together:
  16 threads make about 10 times as many registrations per second as one.
* **Who reads does not wait for the disk.** There are two connections, one for changes and one for
  looking up, each with a lock. A connection for each thread would have to be closed when a thread
  ends, and nobody tells us.
* **Other processes may use the file at the same time**, if they are on the same machine: WAL does
  not work over network file systems.
* **Only files of ours are touched.** The header has our application id and the version of the
  tables. Whether the file is damaged is looked for when it is opened (35 ms for 100 000 names).

A prefix is a range of names: ``LIKE`` would take ``_`` and ``%`` for wildcards and ignore case.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from time import monotonic, time

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
    from collections.abc import Callable, Mapping, Set
    from typing import Any, Final, TypeAlias

    Work: TypeAlias = Callable[[sqlite3.Connection], Any]

__all__ = ["SqliteStorage"]

_APPLICATION_ID: Final = 0x7079726F  # "pyro"
_VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE names (name TEXT PRIMARY KEY NOT NULL, uri TEXT NOT NULL,"
    " metadata TEXT NOT NULL, expires REAL) WITHOUT ROWID",
    "CREATE TABLE tags (tag TEXT NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (tag, name)) WITHOUT ROWID",
    "CREATE INDEX names_by_expiry ON names (expires) WHERE expires IS NOT NULL",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_LIST: Final = (
    "SELECT name, uri, metadata, expires FROM names"
    " WHERE name >= ? AND (expires IS NULL OR expires > ?)"
)
_FAULTS: Final = (sqlite3.Error, ValueError)  # ValueError: somebody else wrote what is no JSON
_SEARCHED_TAGS: Final = 100  # more than these are compared in Python; SQLite has a limit, too


class _Change:
    """Something to do in the next commit, and what came of it."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = False
        self.result: Any = None
        self.error: str | None = "a change of the names was interrupted"


class SqliteStorage(Storage):
    """Names in a SQLite file; see the module.

    Args:
        where: the path of the file. It is made if it is not there; its folder is not.
        timeout: how many seconds another process may hold the file while this one waits.
        clock: seconds since the epoch.

    Raises:
        NamingError: the file cannot be opened, is damaged, or is another program's.
    """

    persistent = True
    shared = True

    def __init__(
        self, where: str, *, timeout: float = 5.0, clock: Callable[[], float] = time
    ) -> None:
        super().__init__(where, timeout=timeout, clock=clock)
        self._path = _path(where)
        self._pid = os.getpid()
        self._changes: deque[_Change] = deque()
        self._changing = threading.Lock()
        self._looking = threading.Lock()
        self._changer: sqlite3.Connection | None = None
        self._looker: sqlite3.Connection | None = None
        try:
            self._changer = self._connected()
            _prepare(self._changer, self._path, timeout)
            self._looker = self._connected()
            self._looker.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            self.close()
            raise NamingError(self._explained(error)) from error
        except BaseException:
            self.close()
            raise

    def get(self, name: str) -> Entry | None:
        """Look up a name."""
        check_texts((name,))
        rows = self._look(
            "SELECT name, uri, metadata, expires FROM names"
            " WHERE name = ? AND (expires IS NULL OR expires > ?)",
            [name, self._clock()],
        )
        return rows[0] if rows else None

    def put(self, entry: Entry, *, only_new: bool = False) -> bool:
        """Store an entry."""
        check_entry(entry)

        def work(connection: sqlite3.Connection) -> bool:
            former = _row(connection, entry.name)
            if only_new and former is not None and former.is_alive(self._clock()):
                return False
            connection.execute(
                "INSERT OR REPLACE INTO names (name, uri, metadata, expires) VALUES (?, ?, ?, ?)",
                (entry.name, entry.uri, _dumped(entry.metadata), entry.expires),
            )
            _tag(connection, entry.name, former.metadata if former else NO_TAGS, entry.metadata)
            return True

        stored: bool = self._change(work)
        return stored

    def remove(self, name: str) -> bool:
        """Remove a name."""
        check_texts((name,))

        def work(connection: sqlite3.Connection) -> bool:
            former = _row(connection, name)
            if former is None:
                return False
            _forget(connection, former)
            return former.is_alive(self._clock())

        was_there: bool = self._change(work)
        return was_there

    def entries(
        self, prefix: str = "", *, tags_all: Set[str] = NO_TAGS, tags_any: Set[str] = NO_TAGS
    ) -> list[Entry]:
        """List entries."""
        check_texts((prefix, *tags_all, *tags_any))
        query, values = _LIST, [prefix, self._clock()]
        end = prefix_end(prefix)
        if end is not None:
            query += " AND name < ?"
            values.append(end)
        for group in [*([tag] for tag in sorted(tags_all)[:_SEARCHED_TAGS]), sorted(tags_any)]:
            if 0 < len(group) <= _SEARCHED_TAGS:
                marks = ", ".join("?" * len(group))
                query += f" AND name IN (SELECT name FROM tags WHERE tag IN ({marks}))"  # noqa: S608
                values += group
        found = self._look(f"{query} ORDER BY name", values)
        if len(tags_all) > _SEARCHED_TAGS:
            found = [entry for entry in found if tags_all <= entry.metadata]
        if len(tags_any) > _SEARCHED_TAGS:
            found = [entry for entry in found if not tags_any.isdisjoint(entry.metadata)]
        return found

    def count(self) -> int:
        """Count the names."""
        query = (
            "SELECT (SELECT count(*) FROM names) - (SELECT count(*) FROM names WHERE expires <= ?)"
        )
        number: int = self._fetched(query, [self._clock()])[0][0]
        return number

    def renew(self, names_and_expiries: Mapping[str, float]) -> set[str]:
        """Give entries new expiries."""
        check_texts(names_and_expiries)
        for name, expires in names_and_expiries.items():
            check_expiry(name, expires)

        def work(connection: sqlite3.Connection) -> set[str]:
            now = self._clock()
            return {
                name
                for name, expires in names_and_expiries.items()
                if not connection.execute(
                    "UPDATE names SET expires = ?"
                    " WHERE name = ? AND (expires IS NULL OR expires > ?)",
                    (expires, name, now),
                ).rowcount
            }

        missing: set[str] = self._change(work) if names_and_expiries else set()
        return missing

    def remove_expired(self, now: float) -> list[str]:
        """Remove what has expired."""
        expired = "SELECT name, uri, metadata, expires FROM names WHERE expires <= ? ORDER BY name"
        if not self._fetched(f"{expired} LIMIT 1", [now]):
            return []  # the usual case does not cost a commit

        def work(connection: sqlite3.Connection) -> list[str]:
            found = _entries(connection.execute(expired, (now,)).fetchall())
            for entry in found:
                _forget(connection, entry)
            return [entry.name for entry in found]

        removed: list[str] = self._change(work)
        return removed

    def close(self) -> None:
        """Let go of everything."""
        with self._changing, self._looking:
            for connection in (self._looker, self._changer):
                if connection is not None and os.getpid() == self._pid:
                    connection.close()
            self._looker = self._changer = None

    def _look(self, query: str, values: list[Any]) -> list[Entry]:
        rows = self._fetched(query, values)
        try:
            return _entries(rows)
        except ValueError as error:
            raise NamingError(self._explained(error)) from error

    def _fetched(self, query: str, values: list[Any]) -> list[Any]:
        with self._looking:
            connection = self._usable(self._looker)
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise NamingError(self._explained(error)) from error

    def _change(self, work: Work) -> Any:
        """Have something done in the next commit, and wait for that.

        Raises:
            NamingError: it was not done, or it is not known whether it was.
        """
        change = _Change(work)
        self._changes.append(change)
        with self._changing:
            if not change.done:  # whoever had the lock before may have done it
                self._commit(self._usable(self._changer))
        if change.error is not None:
            raise NamingError(change.error)
        return change.result

    def _commit(self, connection: sqlite3.Connection) -> None:
        """Do all that waits, in one transaction: all of it, or nothing."""
        changes = [self._changes.popleft() for _ in range(len(self._changes))]
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                change.result = change.work(connection)
            connection.execute("COMMIT")
            for change in changes:
                change.error = None
        except _FAULTS as error:
            for change in changes:
                change.error = self._explained(error)
        finally:
            for change in changes:
                change.done = True
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _usable(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise NamingError(f"the storage sqlite:{self._path} is closed; open it again")
        if os.getpid() != self._pid:  # SQLite's locks do not survive a fork: the file would suffer
            raise NamingError(
                f"the storage sqlite:{self._path} was opened before a fork; "
                "open it in the process that uses it"
            )
        return connection

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )

    def _explained(self, error: Exception) -> str:
        if isinstance(error, ValueError):
            return (
                f"the names in {self._path} cannot be used: {error}; was the file changed by hand?"
            )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            hint = f"another process has held it for {self._timeout:g} s; look who has it open"
        elif code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            hint = (
                "it is damaged or no file of SQLite: put it aside, and have names registered anew"
            )
        elif code == sqlite3.SQLITE_FULL:
            hint = "make room on the disk"
        else:
            hint = "look whether its folder exists, and whether this user may write to it"
        return f"the names in {self._path} cannot be used: {error}; {hint}"


def _path(where: str) -> str:
    if not where or where == ":memory:":
        raise NamingError(
            f"the storage 'sqlite:{where}' has no file; write 'sqlite:/path/of/file', or 'memory'"
        )
    if "\0" in where:
        raise NamingError(
            f"the storage {'sqlite:' + where!r:.200} is no path: it has a NUL character"
        )
    return os.path.abspath(os.path.expanduser(where))


def _prepare(connection: sqlite3.Connection, path: str, timeout: float) -> None:
    """Make sure that the file is ours and sound; make the tables if it is new.

    Raises:
        NamingError: it is another program's, of another version, or damaged.
    """
    connection.execute("BEGIN")  # so that what is read is of one moment
    state = _state(connection, path)
    connection.execute("COMMIT")
    if state == "empty":
        connection.execute("BEGIN IMMEDIATE")
        if _state(connection, path) == "empty":  # nobody was quicker
            for statement in _TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")
    _use_wal(connection, timeout)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # on macOS only this reaches the disk
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise NamingError(
            f"the file {path} is damaged ({verdict}): put it aside, and have names registered anew"
        )


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Ask for the mode WAL. Some file systems refuse it: what is there is as safe, only slower.

    Raises:
        sqlite3.OperationalError: another process held the file for longer than the timeout.
    """
    deadline = monotonic() + timeout
    pause = threading.Event()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Where two change the mode at once, SQLite itself does not wait for the other one.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or monotonic() >= deadline:
                raise
            pause.wait(0.005)
        else:
            return


def _state(connection: sqlite3.Connection, path: str) -> str:
    """Return "empty" or "ours".

    Raises:
        NamingError: the file is another program's, or of a later version.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if application == _APPLICATION_ID and version == _VERSION:
        return "ours"
    if application == _APPLICATION_ID:
        raise NamingError(
            f"the file {path} is of another version of pyroipc: its tables have version "
            f"{version}, this one knows {_VERSION}; use that version, or another file"
        )
    if "pyro_names" in tables:
        raise NamingError(
            f"the file {path} is of the name server of Pyro4 or Pyro5; "
            "name another file, and have the names registered anew"
        )
    if tables or application or version:
        raise NamingError(f"the file {path} belongs to another program; name another file")
    return "empty"


def _row(connection: sqlite3.Connection, name: str) -> Entry | None:
    query = "SELECT name, uri, metadata, expires FROM names WHERE name = ?"
    row = connection.execute(query, (name,)).fetchone()
    return None if row is None else _entries([row])[0]


def _forget(connection: sqlite3.Connection, entry: Entry) -> None:
    connection.execute("DELETE FROM names WHERE name = ?", (entry.name,))
    _tag(connection, entry.name, entry.metadata, NO_TAGS)


def _tag(
    connection: sqlite3.Connection, name: str, former: frozenset[str], wanted: frozenset[str]
) -> None:
    connection.executemany(
        "DELETE FROM tags WHERE tag = ? AND name = ?", [(tag, name) for tag in former - wanted]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO tags (tag, name) VALUES (?, ?)",
        [(tag, name) for tag in wanted - former],
    )


def _dumped(tags: frozenset[str]) -> str:
    return json.dumps(sorted(tags), ensure_ascii=False, separators=(",", ":"))


def _entries(rows: list[Any]) -> list[Entry]:
    # All lists of tags at once, and each only once: 10 000 calls of the parser would take 12 ms.
    texts = list({row[2] for row in rows})
    tags = dict(zip(texts, map(frozenset, json.loads(f"[{','.join(texts)}]")), strict=True))
    make = tuple.__new__  # what Entry() does, in 0.2 instead of 0.3 µs
    return [make(Entry, (name, uri, tags[text], end)) for name, uri, text, end in rows]

"""pyroipc/naming/storage/sqlite.py: files, other processes, damage. See also the contract."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming.storage.base import Entry
from pyroipc.naming.storage.sqlite import SqliteStorage
from tests.support.hosts import Worker
from tests.support.snippets import ROOT, run_python
from tests.support.waiting import wait_until

URI = "PYRO:obj@host:9090"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "names.db"


@pytest.fixture
def storage(path):
    made = SqliteStorage(str(path))
    yield made
    made.close()


def closed(connection):
    connection.commit()
    connection.close()


def filled(path, count):
    storage = SqliteStorage(str(path))
    for i in range(count):
        storage.put(Entry(f"name{i}", URI, frozenset({"tag", str(i)})))
    storage.close()


def test_each_commit_waits_for_the_disk(storage, path):
    assert storage._changer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert storage._changer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nothing_but_the_file_is_left(path):
    filled(path, 3)
    assert [entry.name for entry in path.parent.iterdir()] == ["names.db"]


def test_a_file_that_is_no_database(path):
    path.write_bytes(b"hello, this is a text and no database. " * 100)
    before = path.read_bytes()
    with pytest.raises(NamingError, match=r"names\.db .*damaged or no file of SQLite"):
        SqliteStorage(str(path))
    assert path.read_bytes() == before


def test_an_empty_file_is_taken(path):
    path.touch()
    filled(path, 1)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["CREATE TABLE songs (title TEXT)"], "belongs to another program"),
        (["PRAGMA application_id = 5"], "belongs to another program"),
        (["PRAGMA user_version = 3"], "belongs to another program"),
        (
            [
                "CREATE TABLE pyro_names (id integer PRIMARY KEY, name nvarchar, uri nvarchar)",
                "CREATE TABLE pyro_metadata (object integer, metadata nvarchar)",
            ],
            "Pyro4 or Pyro5",
        ),
    ],
)
def test_files_of_other_programs_are_left_alone(path, statements, words):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    closed(connection)
    before = path.read_bytes()
    with pytest.raises(NamingError, match=rf"names\.db .*{words}"):
        SqliteStorage(str(path))
    assert path.read_bytes() == before


def test_a_file_of_a_later_version_is_left_alone(path):
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    closed(connection)
    with pytest.raises(NamingError, match=r"another version.* 99"):
        SqliteStorage(str(path))


def test_a_damaged_file_is_found_when_it_is_opened(path):
    filled(path, 300)
    data = bytearray(path.read_bytes())
    data[4096 + 100 :] = random.Random(3).randbytes(len(data) - 4096 - 100)
    path.write_bytes(data)
    with pytest.raises(NamingError, match=r"names\.db .*damaged"):
        SqliteStorage(str(path))


def test_a_file_that_was_cut_off(path):
    filled(path, 300)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(NamingError, match=r"names\.db .*damaged"):
        SqliteStorage(str(path))


def test_a_file_that_is_damaged_while_it_is_open(storage, path):
    for i in range(300):
        storage.put(Entry(f"name{i}", URI))
    storage._changer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(3).randbytes(path.stat().st_size - 4096))
    storage._looker.execute("PRAGMA shrink_memory")
    with pytest.raises(NamingError, match=r"names\.db .*damaged"):
        storage.entries()


def test_what_somebody_wrote_by_hand(storage, path):
    storage.put(Entry("good", URI))
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO names VALUES ('bad', 'uri', '{no json', NULL)")
    closed(connection)
    with pytest.raises(NamingError, match="changed by hand"):
        storage.get("bad")
    with pytest.raises(NamingError, match="changed by hand"):
        storage.remove("bad")
    assert storage.get("good") == Entry("good", URI)


@pytest.mark.parametrize("where", ["{}/missing/names.db", "{}", "/dev/null/names.db"])
def test_a_place_where_no_file_can_be(where, tmp_path):
    with pytest.raises(NamingError, match=r"unable to open.*its folder exists"):
        SqliteStorage(where.format(tmp_path))


def test_a_full_disk(storage):
    for i in range(10):
        storage.put(Entry(f"name{i}", URI))
    pages = storage._changer.execute("PRAGMA page_count").fetchone()[0]
    storage._changer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NamingError, match="make room on the disk"):
        for i in range(10, 1000):
            storage.put(Entry(f"name{i}", URI, frozenset({"a" * 200})))
    kept = storage.count()
    assert 10 <= kept < 1000
    assert storage.remove("name3")
    assert storage.count() == kept - 1
    assert storage.put(Entry("name3", URI))


def test_somebody_else_holds_the_file(path):
    filled(path, 1)
    storage = SqliteStorage(str(path), timeout=0.2)
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        with pytest.raises(NamingError, match=r"another process has held it for 0\.2 s"):
            storage.put(Entry("other", URI))
        assert 0.1 < time.monotonic() - start < 5
        assert storage.get("name0") is not None  # who looks up does not wait
        holder.execute("ROLLBACK")
        assert storage.put(Entry("other", URI)) is True
        assert storage.count() == 2
    finally:
        holder.close()
        storage.close()


def test_changes_that_wait_are_made_in_one_commit(storage):
    commits = []
    storage._changer.set_trace_callback(
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    with storage._changing:
        workers = [Worker(storage.put, Entry(f"name{i}", URI)) for i in range(10)]
        wait_until(lambda: len(storage._changes) == 10, "all ten wait")
    assert [worker.result() for worker in workers] == [True] * 10
    assert commits == ["COMMIT"]
    assert storage.count() == 10


def test_a_commit_that_fails_fails_for_all_that_are_in_it(path):
    filled(path, 1)
    storage = SqliteStorage(str(path), timeout=0.1)
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with storage._changing:
            workers = [Worker(storage.put, Entry(f"new{i}", URI)) for i in range(5)]
            wait_until(lambda: len(storage._changes) == 5, "all five wait")
        assert all(isinstance(worker.finish(), NamingError) for worker in workers)
        holder.execute("ROLLBACK")
        assert storage.count() == 1
    finally:
        holder.close()
        storage.close()


def test_an_interrupted_change_leaves_nothing_half_done(storage):
    storage.put(Entry("name", URI, frozenset({"tag"})))

    def interrupt(_):
        raise KeyboardInterrupt

    with storage._changing:
        other = Worker(storage.put, Entry("other", URI))
        wait_until(lambda: len(storage._changes) == 1, "it waits")
        storage._changes.append(type(storage._changes[0])(interrupt))
    error = other.finish()
    assert isinstance(error, KeyboardInterrupt | NamingError)
    assert storage.get("other") is None
    assert storage.entries() == [Entry("name", URI, frozenset({"tag"}))]
    assert storage.put(Entry("other", URI)) is True


def test_it_is_not_used_after_a_fork(path):
    code = """
        import os, sys
        from pyroipc.errors import NamingError
        from pyroipc.naming.storage.base import Entry
        from pyroipc.naming.storage.sqlite import SqliteStorage

        storage = SqliteStorage(sys.argv[1])
        storage.put(Entry("name", "uri"))
        if not (pid := os.fork()):
            for use in (lambda: storage.get("name"), lambda: storage.put(Entry("a", "b"))):
                try:
                    use()
                except NamingError as error:
                    assert "fork" in str(error), error
                else:
                    os._exit(1)
            storage.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        storage.put(Entry("other", "uri"))
        print(storage.count())
        storage.close()
    """
    finished = run_python(code, str(path), options=())
    assert finished.stdout == "2\n", finished.stderr


def test_several_processes_make_a_new_file_at_once(tmp_path):
    code = (
        "import sys\n"
        "from pyroipc.naming.storage.base import Entry\n"
        "from pyroipc.naming.storage.sqlite import SqliteStorage\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    storage = SqliteStorage(line.strip(), timeout=10)\n"
        "    storage.put(Entry(sys.argv[1], 'uri'))\n"
        "    storage.close()\n"
        "    print('done', flush=True)\n"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    try:
        assert [maker.stdout.readline() for maker in makers] == ["ready\n"] * 4
        for turn in range(10):
            for maker in makers:
                maker.stdin.write(f"{tmp_path}/{turn}.db\n")
                maker.stdin.flush()
            assert [maker.stdout.readline() for maker in makers] == ["done\n"] * 4
    finally:
        for maker in makers:
            maker.kill()
            maker.communicate()
    for turn in range(10):
        storage = SqliteStorage(f"{tmp_path}/{turn}.db")
        assert storage.count() == 4
        storage.close()


def test_readers_and_a_writer_in_several_threads(storage):
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            found = storage.entries("pair")
            seen.append({entry.uri for entry in found})

    readers = [Worker(read) for _ in range(3)]
    for i in range(30):
        storage.put(Entry("pair", f"uri{i}", frozenset({str(i)})))
    stop.set()
    for reader in readers:
        reader.result()
    assert all(len(uris) <= 1 for uris in seen)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_only_be_read(path):
    filled(path, 1)
    path.chmod(0o400)
    with pytest.raises(NamingError, match="may write"):
        SqliteStorage(str(path))

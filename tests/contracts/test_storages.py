"""The contract of storages, for each of them."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming.storage import table
from pyroipc.naming.storage.base import Entry
from tests.support.etcd import stop_shared_node
from tests.support.hosts import Worker
from tests.support.snippets import ROOT
from tests.support.storages import TEXTS, Clock, kinds, new_place
from tests.support.waiting import wait_until

URI = "PYRO:obj@host:9090"
ODD_NAMES = [
    "a",
    "A",
    "a b",
    "a%",
    "a_",
    "a*",
    "a?[b]",
    "a\\",
    "a'\"",
    "a/b",
    "a\x00b",
    "a\n",
    "ä",
    "a\u0308",  # the same letter, in two parts
    "\ud7ff",
    "\ue000",
    "\uffff",
    "名前",
    "😀",
    "\U0010ffff",
    "\U0010ffff\U0010ffffx",
]


@pytest.fixture(scope="module", autouse=True)
def _etcd_ends():
    yield
    stop_shared_node()


@pytest.fixture(params=kinds())
def place(request, tmp_path):
    return new_place(request.param, tmp_path)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(place, clock):
    made = place.opened(clock)
    yield made
    made.close()


def names_of(entries):
    return [entry.name for entry in entries]


def test_every_storage_is_tested():
    assert set(TEXTS) == set(table.names())


def test_a_new_storage_is_empty(storage):
    assert storage.count() == 0
    assert storage.entries() == []
    assert storage.get("nobody") is None
    assert storage.remove("nobody") is False
    assert storage.remove_expired(time.time()) == []
    assert storage.renew({}) == set()


def test_what_is_put_is_got(storage):
    entry = Entry("name", URI, frozenset({"class:a.B", "größe", ""}), storage._clock() + 1000.25)
    assert storage.put(entry) is True
    assert storage.get("name") == entry
    assert storage.entries() == [entry]
    assert storage.count() == 1
    assert storage.get("nam") is None


def test_putting_replaces_everything(storage):
    storage.put(Entry("name", URI, frozenset({"old", "both"}), storage._clock() + 1000))
    wanted = Entry("name", "PYRO:other@host:1", frozenset({"new", "both"}))
    assert storage.put(wanted) is True
    assert storage.get("name") == wanted
    assert storage.entries(tags_all={"old"}) == []
    assert storage.entries(tags_all={"new", "both"}) == [wanted]
    assert storage.count() == 1


def test_only_new(storage):
    first = Entry("name", URI, frozenset({"first"}))
    assert storage.put(first, only_new=True) is True
    assert storage.put(Entry("name", "PYRO:x@y:1"), only_new=True) is False
    assert storage.get("name") == first
    assert storage.remove("name") is True
    assert storage.put(Entry("name", "PYRO:x@y:1"), only_new=True) is True


def test_removing(storage):
    storage.put(Entry("name", URI, frozenset({"tag"})))
    storage.put(Entry("other", URI))
    assert storage.remove("name") is True
    assert storage.remove("name") is False
    assert storage.get("name") is None
    assert storage.entries(tags_any={"tag"}) == []
    assert names_of(storage.entries()) == ["other"]
    assert storage.count() == 1


def test_any_text_is_a_name_a_uri_and_a_tag(storage):
    entries = [Entry(name, name, frozenset({name, "common"})) for name in ODD_NAMES]
    random.Random(1).shuffle(entries)
    for entry in entries:
        assert storage.put(entry, only_new=True) is True
    for entry in entries:
        assert storage.get(entry.name) == entry
        assert storage.entries(tags_all={entry.name}) == [entry]
    assert names_of(storage.entries()) == sorted(ODD_NAMES)
    assert names_of(storage.entries(tags_any={"common"})) == sorted(ODD_NAMES)
    for prefix in [*ODD_NAMES, "a%b", "\U0010ffff\U0010ffff", "nothing"]:
        wanted = sorted(name for name in ODD_NAMES if name.startswith(prefix))
        assert names_of(storage.entries(prefix)) == wanted, prefix
    for entry in entries:
        assert storage.remove(entry.name) is True
    assert storage.count() == 0


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80b"])
def test_lone_surrogates_are_refused_and_break_nothing(storage, text):
    good = Entry("good", URI)
    storage.put(good)
    for bad in (
        lambda: storage.get(text),
        lambda: storage.put(Entry(text, URI)),
        lambda: storage.put(Entry("name", text)),
        lambda: storage.put(Entry("name", URI, frozenset({text}))),
        lambda: storage.remove(text),
        lambda: storage.entries(text),
        lambda: storage.entries(tags_all={text}),
        lambda: storage.entries(tags_any={text}),
        lambda: storage.renew({"good": storage._clock() + 9, text: storage._clock() + 9}),
    ):
        with pytest.raises(NamingError, match="surrogate"):
            bad()
    assert storage.entries() == [good]


@pytest.mark.parametrize("expires", [float("inf"), float("nan"), -float("inf")])
def test_an_expiry_is_a_time(storage, expires):
    storage.put(Entry("name", URI))
    with pytest.raises(NamingError, match="cannot expire"):
        storage.put(Entry("other", URI, expires=expires))
    with pytest.raises(NamingError, match="cannot expire"):
        storage.renew({"name": expires})
    assert storage.entries() == [Entry("name", URI)]


def test_tags(storage):
    for name, tags in {"a": "", "b": "x", "c": "xy", "d": "xyz", "other": "xyz"}.items():
        storage.put(Entry(name, URI, frozenset(tags)))

    def found(prefix="", all_of="", any_of=""):
        return "".join(
            names_of(storage.entries(prefix, tags_all=set(all_of), tags_any=frozenset(any_of)))
        )

    assert found() == "abcdother"
    assert found(all_of="x") == "bcdother"
    assert found(all_of="xyz") == "dother"
    assert found(all_of="xq") == ""
    assert found(any_of="qy") == "cdother"
    assert found(any_of="q") == ""
    assert found(all_of="x", any_of="zq") == "dother"
    assert found("o", all_of="x") == "other"
    assert found("o", any_of="y") == "other"
    assert found("X", any_of="y") == ""


def test_more_tags_in_a_question_than_anybody_asks_for(storage):
    many = {str(i) for i in range(300)}
    entry = Entry("name", URI, frozenset(sorted(many)[:60]))
    storage.put(entry)
    storage.put(Entry("other", URI, frozenset({"no"})))
    assert storage.entries(tags_any=many) == [entry]
    assert storage.entries(tags_all=many) == []


def test_what_has_expired_is_not_there(storage, clock):
    entry = Entry("short", URI, frozenset({"tag"}), clock.now + 100)
    storage.put(entry)
    storage.put(Entry("long", URI, frozenset({"tag"}), clock.now + 1000))
    clock.now += 99.5
    assert storage.get("short") == entry
    assert names_of(storage.entries("s")) == ["short"]
    clock.now += 0.5
    assert storage.get("short") is None
    assert names_of(storage.entries()) == ["long"]
    assert names_of(storage.entries(tags_any={"tag"})) == ["long"]
    assert storage.renew({"short": clock.now + 100, "long": clock.now + 5000}) == {"short"}
    assert storage.remove("short") is False
    assert storage.put(Entry("short", "PYRO:x@y:1"), only_new=True) is True
    assert storage.get("short").uri == "PYRO:x@y:1"
    assert storage.count() == 2


def test_what_has_expired_may_be_taken_by_somebody_else(storage, clock):
    storage.put(Entry("name", URI, frozenset({"old"}), clock.now + 100))
    clock.now += 100
    wanted = Entry("name", "PYRO:x@y:1", frozenset({"new"}))
    assert storage.put(wanted, only_new=True) is True
    assert storage.entries(tags_any={"old", "new"}) == [wanted]
    assert storage.entries(tags_any={"old"}) == []


def test_putting_what_has_expired_removes_the_name(storage, clock):
    storage.put(Entry("name", URI, frozenset({"tag"})))
    gone = Entry("name", URI, frozenset({"tag"}), clock.now - 1)
    assert storage.put(gone, only_new=True) is False
    assert storage.get("name") is not None
    assert storage.put(gone) is True
    assert storage.get("name") is None
    assert storage.entries(tags_any={"tag"}) == []
    assert storage.count() == 0


def test_renewing(storage, clock):
    first = Entry("first", URI, frozenset({"tag", "x"}), clock.now + 100)
    second = Entry("second", URI)
    storage.put(first)
    storage.put(second)
    gone = storage.renew({
        "first": clock.now + 300,
        "second": clock.now + 200,
        "nobody": clock.now + 9,
    })
    assert gone == {"nobody"}
    assert storage.get("first") == first._replace(expires=clock.now + 300)
    assert storage.get("second") == second._replace(expires=clock.now + 200)
    clock.now += 250
    assert names_of(storage.entries()) == ["first"]
    assert names_of(storage.entries(tags_all={"x", "tag"})) == ["first"]
    assert storage.renew({"first": clock.now - 1}) == set()
    assert storage.get("first") is None


def test_many_are_renewed_at_once(storage, clock):
    names = [f"name{i}" for i in range(300)]
    for name in names[:200]:
        storage.put(Entry(name, URI, frozenset({"a", "b"}), clock.now + 100))
    assert storage.renew(dict.fromkeys(names, clock.now + 500)) == set(names[200:])
    clock.now += 400
    assert sorted(names_of(storage.entries(tags_all={"a"}))) == sorted(names[:200])


def test_removing_the_expired(storage, clock):
    for i in range(5):
        storage.put(Entry(f"n{i}", URI, frozenset({"tag"}), clock.now + 100 + i))
    storage.put(Entry("stays", URI))
    clock.now += 102
    removed = storage.remove_expired(clock.now)
    assert removed in (["n0", "n1", "n2"], [])  # none: they go by themselves
    assert storage.remove_expired(clock.now) == []
    assert names_of(storage.entries()) == ["n3", "n4", "stays"]
    if removed:
        assert storage.count() == 3


def test_entries_vanish_in_time(place):
    storage = place.opened()
    try:
        storage.put(Entry("name", URI, frozenset({"tag"}), time.time() + 0.3))
        storage.put(Entry("stays", URI))
        wait_until(lambda: storage.get("name") is None, "the entry expires", 5)

        def removed():
            storage.remove_expired(time.time())
            return storage.count() == 1

        wait_until(removed, "nothing of it is left", 10)
    finally:
        storage.close()


def test_many_threads(storage):
    def work(number):
        for i in range(20):
            entry = Entry(f"{number}.{i}", URI, frozenset({f"t{number}"}))
            assert storage.put(entry, only_new=True)
            assert storage.get(entry.name) == entry
            if i % 2:
                assert storage.remove(entry.name)
            storage.put(Entry("common", URI, frozenset({str(number), str(i)})))
            storage.entries(f"{number}.")

    for worker in [Worker(work, number) for number in range(8)]:
        worker.result()
    assert storage.count() == 81
    for number in range(8):
        found = names_of(storage.entries(tags_all={f"t{number}"}))
        assert found == sorted(f"{number}.{i}" for i in range(0, 20, 2))
    common = storage.get("common")
    assert all(storage.entries("common", tags_all={tag}) == [common] for tag in common.metadata)


def test_one_of_many_threads_gets_a_name(storage):
    def work(number):
        return [
            i for i in range(20) if storage.put(Entry(str(i), f"PYRO:{number}@h:1"), only_new=True)
        ]

    workers = [Worker(work, number) for number in range(6)]
    won = [worker.result() for worker in workers]
    assert sorted(i for names in won for i in names) == list(range(20))
    for number, names in enumerate(won):
        assert all(storage.get(str(i)).uri == f"PYRO:{number}@h:1" for i in names)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.values != ("memory",)])
def test_one_of_two_processes_gets_a_name(kind, tmp_path):
    place = new_place(kind, tmp_path)
    code = (
        "import sys\n"
        "from pyroipc.naming.storage.base import Entry\n"
        "from pyroipc.naming.storage.table import open_storage\n"
        "storage = open_storage(sys.argv[1], timeout=20)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for i in range(40):\n"
        "    if storage.put(Entry(str(i), sys.argv[2]), only_new=True):\n"
        "        print(i)\n"
        "storage.close()\n"
    )
    runners = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, place.text, f"PYRO:{number}@h:1"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for runner in runners:
            assert runner.stdout.readline() == "ready\n"
        for runner in runners:
            runner.stdin.write("go\n")
            runner.stdin.flush()
        won = [runner.communicate(timeout=40)[0].split() for runner in runners]
        assert [runner.returncode for runner in runners] == [0, 0]
    finally:
        for runner in runners:
            runner.kill()
            runner.communicate()
    assert sorted(map(int, won[0] + won[1])) == list(range(40))
    storage = place.opened()
    try:
        for number, names in enumerate(won):
            assert all(storage.get(name).uri == f"PYRO:{number}@h:1" for name in names)
    finally:
        storage.close()


def test_what_is_persistent_is_there_again(place):
    storage = place.opened()
    entry = Entry("name", URI, frozenset({"tag"}), time.time() + 1000)
    storage.put(entry)
    storage.close()
    again = place.opened()
    try:
        assert again.entries(tags_any={"tag"}) == ([entry] if storage.persistent else [])
    finally:
        again.close()


def test_others_see_what_is_shared_at_once(place):
    one, two = place.opened(), place.opened()
    try:
        for i in range(5):
            one.put(Entry(f"name{i}", URI))
            assert (two.get(f"name{i}") is not None) == one.shared
        if one.shared:
            assert two.put(Entry("name0", "PYRO:x@y:1"), only_new=True) is False
            assert two.remove("name0") is True
            assert one.count() == 4
    finally:
        one.close()
        two.close()


def test_a_closed_storage_says_so(place):
    storage = place.opened()
    storage.put(Entry("name", URI))
    storage.close()
    storage.close()
    for use in (
        lambda: storage.get("name"),
        lambda: storage.put(Entry("name", URI)),
        lambda: storage.remove("name"),
        lambda: storage.entries(),
        lambda: storage.count(),
        lambda: storage.renew({"name": time.time() + 9}),
    ):
        with pytest.raises(NamingError, match="closed"):
            use()


def test_long_lists_are_whole_and_sorted(storage):
    names = [f"n{i:04}" for i in range(300)]
    mixed = random.Random(2).sample(names, len(names))
    for name in mixed[:200]:
        storage.put(Entry(name, URI, frozenset({"tag"})))
    assert names_of(storage.entries()) == sorted(mixed[:200])
    for name in mixed[:100]:
        storage.remove(name)
    for name in mixed[50:100] + mixed[200:]:
        storage.put(Entry(name, URI, frozenset({"tag"})))
    assert names_of(storage.entries()) == sorted(mixed[50:])
    assert names_of(storage.entries("n01")) == sorted(n for n in mixed[50:] if n.startswith("n01"))
    assert names_of(storage.entries(tags_all={"tag"})) == sorted(mixed[50:])

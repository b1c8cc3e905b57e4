"""pyroipc/naming/storage/etcd.py: leases, hints, lost answers, nodes that are away."""

from __future__ import annotations

import gc
import logging
import socket
import time

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming.storage import table
from pyroipc.naming.storage.base import Entry
from tests.support.etcd import needs_etcd, running_cluster, shared_node, stop_shared_node
from tests.support.hosts import Worker
from tests.support.storages import Clock
from tests.support.waiting import wait_until

pytest.importorskip("etcd3gw")
from pyroipc.naming.storage import etcd
from pyroipc.naming.storage.etcd_cluster import Cluster

URI = "PYRO:obj@host:9090"


@pytest.fixture(scope="module", autouse=True)
def _etcd_ends():
    yield
    stop_shared_node()


@pytest.fixture
def storage():
    made = table.open_storage(shared_node().new_text())
    yield made
    made.close()


@pytest.fixture
def silent():
    """The address of somebody who accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())


def asked(storage, path, **question):
    return storage._cluster.ask(path, question, time.monotonic() + 10)


def leases(storage):
    return {lease["ID"] for lease in asked(storage, "lease/leases").get("leases", [])}


def hints(storage):
    start = storage._tags
    return len(list(storage._range(start, "", keys_only=True)))


def nobody():
    """Return the address of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "{}:{}".format(*listener.getsockname())


@needs_etcd
def test_entries_that_expire_in_one_second_share_a_lease(storage):
    before = leases(storage)
    expires = int(time.time()) + 100.0
    for i in range(20):
        storage.put(Entry(f"name{i}", URI, expires=expires - i / 100))
    assert len(leases(storage) - before) <= 2


@needs_etcd
def test_a_lease_that_is_gone_is_granted_again(storage):
    expires = time.time() + 100
    storage.put(Entry("first", URI, frozenset({"tag"}), expires))
    for lease in leases(storage):
        asked(storage, "lease/revoke", ID=lease)
    assert storage.get("first") is None
    wanted = Entry("second", URI, frozenset({"tag"}), expires)
    assert storage.put(wanted, only_new=True) is True
    assert storage.entries(tags_all={"tag"}) == [wanted]
    for lease in leases(storage):
        asked(storage, "lease/revoke", ID=lease)
    storage.put(Entry("third", URI))
    assert storage.renew({"third": expires}) == set()
    assert storage.get("third") == Entry("third", URI, expires=expires)


@needs_etcd
def test_what_is_renewed_outlives_its_first_lease(storage):
    storage.put(Entry("renewed", URI, frozenset({"tag"}), time.time() + 0.5))
    storage.put(Entry("left", URI, frozenset({"tag"}), time.time() + 0.5))
    wanted = time.time() + 100
    assert storage.renew({"renewed": wanted}) == set()
    wait_until(lambda: storage.count() == 1, "the other one is gone", 10)
    found = Entry("renewed", URI, frozenset({"tag"}), wanted)
    assert storage.entries(tags_all={"tag"}) == [found]
    assert hints(storage) == 1  # the hint went with the lease


@needs_etcd
def test_an_expiry_that_no_lease_reaches(storage):
    entry = Entry("name", URI, expires=time.time() + 1e12)
    storage.put(entry)
    assert storage.get("name") == entry


@needs_etcd
def test_hints_go_with_what_they_hint_at(storage):
    storage.put(Entry("name", URI, frozenset({"a", "b", "c"})))
    storage.put(Entry("name", URI, frozenset({"c", "d"})))
    assert hints(storage) == 2
    storage.remove("name")
    assert hints(storage) == 0


@needs_etcd
def test_hints_that_are_left_over_do_no_harm(storage):
    storage.put(Entry("name", URI, frozenset({"a"})))
    for name in ("name", "nobody"):
        asked(storage, "kv/put", key=storage._hint_key("b", name), value="")
    assert storage.entries(tags_all={"b"}) == []
    assert storage.entries(tags_any={"a", "b"}) == [Entry("name", URI, frozenset({"a"}))]


@needs_etcd
def test_tags_that_begin_alike_and_names_that_look_like_tags(storage):
    one = Entry("bc", URI, frozenset({"a"}))
    two = Entry("c", URI, frozenset({"ab"}))
    storage.put(one)
    storage.put(two)
    assert storage.entries(tags_all={"a"}) == [one]
    assert storage.entries(tags_all={"ab"}) == [two]


@needs_etcd
def test_more_tags_than_fit_into_a_transaction(storage):
    tags = frozenset(str(i) for i in range(127))
    storage.put(Entry("name", URI, tags))
    assert storage.entries(tags_all={"126"}) == [Entry("name", URI, tags)]
    others = frozenset(f"other{i}" for i in range(127))
    storage.put(Entry("name", URI, others))  # some old hints are left over
    assert storage.entries(tags_all={"126"}) == []
    assert storage.entries(tags_all={"other126"}) == [Entry("name", URI, others)]
    with pytest.raises(NamingError, match="'name' has 128 tags; etcd takes 127"):
        storage.put(Entry("name", URI, frozenset(map(str, range(128)))))


@needs_etcd
def test_an_entry_that_is_too_large(storage):
    with pytest.raises(NamingError, match=r"refuses: .*too large"):
        storage.put(Entry("name", "x" * 2_000_000))
    assert storage.count() == 0


@needs_etcd
@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"uri": 1', b"null"])
def test_what_somebody_else_wrote_is_left_out(storage, value, caplog):
    storage.put(Entry("good", URI))
    asked(storage, "kv/put", key=storage._name_key("bad"), value=etcd._text(value))
    with caplog.at_level(logging.WARNING, "pyroipc.naming"):
        assert storage.get("bad") is None
    assert "names/bad" in caplog.text
    assert storage.entries() == [Entry("good", URI)]
    assert storage.put(Entry("bad", URI), only_new=True) is True
    assert storage.get("bad") == Entry("bad", URI)


@needs_etcd
def test_long_lists_come_in_pages_of_one_moment(storage, monkeypatch):
    monkeypatch.setattr(etcd, "_PAGE", 7)
    names = [f"n{i:02}" for i in range(30)]
    for name in names:
        storage.put(Entry(name, URI, frozenset({"tag"})))
    assert [entry.name for entry in storage.entries()] == names
    assert [entry.name for entry in storage.entries("n1")] == names[10:20]
    assert [entry.name for entry in storage.entries(tags_all={"tag"})] == names
    pages = storage._range(storage._names, "")
    first = next(pages)
    storage.remove(names[20])
    assert len([first, *pages]) == 30  # as it was when the first page was read


@needs_etcd
def test_a_tag_that_most_have(storage, monkeypatch):
    for i in range(12):
        storage.put(Entry(f"n{i:02}", URI, frozenset({"most"} if i % 4 else {"rare", "most"})))
    monkeypatch.setattr(etcd, "_PAGE", 5)
    part = type(storage)._seen_by_parts
    alone = []
    monkeypatch.setattr(
        type(storage),
        "_seen_by_parts",
        lambda self, names: alone.extend(names) or part(self, names),
    )
    assert len(storage.entries(tags_any={"most"})) == 12
    assert not alone  # all were read
    assert len(storage.entries(tags_all={"most", "rare"})) == 3
    assert alone == ["n00", "n04", "n08"]


@needs_etcd
def test_an_answer_that_is_lost(storage, monkeypatch):
    """Every change is heard twice, as if the first answer had been lost."""
    once = Cluster.ask

    def twice(self, path, question, deadline):
        if path == "kv/txn":
            once(self, path, question, deadline)
        return once(self, path, question, deadline)

    monkeypatch.setattr(Cluster, "ask", twice)
    expires = time.time() + 100
    wanted = Entry("name", URI, frozenset({"tag"}), expires)
    assert storage.put(wanted, only_new=True) is True
    assert storage.put(wanted, only_new=True) is False
    assert storage.put(wanted._replace(uri="PYRO:x@y:1")) is True
    assert storage.renew({"name": expires + 50, "nobody": expires}) == {"nobody"}
    found = Entry("name", "PYRO:x@y:1", frozenset({"tag"}), expires + 50)
    assert storage.entries(tags_all={"tag"}) == [found]


@needs_etcd
def test_a_change_between_looking_and_renewing(storage, monkeypatch):
    other = table.open_storage(
        f"etcd:{shared_node().nodes[0].address}{storage._names.decode()[:-7]}"
    )
    expires = time.time() + 100
    for i in range(3):
        storage.put(Entry(f"name{i}", URI, expires=expires))
    look = type(storage)._seen_by_parts

    def meddled(self, names):
        found = list(look(self, names))
        other.put(Entry("name0", "PYRO:x@y:1", frozenset({"new"})))
        other.remove("name1")
        return found

    monkeypatch.setattr(type(storage), "_seen_by_parts", meddled)
    try:
        assert storage.renew({f"name{i}": expires + 9 for i in range(3)}) == {"name1"}
        assert storage.get("name0") == Entry(
            "name0", "PYRO:x@y:1", frozenset({"new"}), expires + 9
        )
        assert storage.get("name1") is None
        assert storage.get("name2").expires == expires + 9
    finally:
        other.close()


@needs_etcd
def test_prefixes_keep_name_servers_apart():
    one, two = (table.open_storage(shared_node().new_text()) for _ in range(2))
    try:
        one.put(Entry("name", URI, frozenset({"tag"})))
        assert two.entries() == two.entries(tags_all={"tag"}) == []
        assert two.count() == 0
    finally:
        one.close()
        two.close()


@needs_etcd
def test_a_clock_that_is_wrong_does_not_shorten_a_lease():
    clock = Clock()
    clock.now -= 3600
    node = shared_node()
    storage = etcd.EtcdStorage(node.new_text().removeprefix("etcd:"), clock=clock)
    try:
        storage.put(Entry("name", URI, expires=clock.now + 100))
        assert storage.get("name") is not None
    finally:
        storage.close()


@needs_etcd
def test_another_node_is_asked_and_remembered(caplog, silent):
    text = f"etcd:{nobody()},{silent},{shared_node().new_text().removeprefix('etcd:')}"
    storage = table.open_storage(text, timeout=3)
    try:
        with caplog.at_level(logging.WARNING, "pyroipc.naming"):
            assert storage.put(Entry("name", URI)) is True
        assert "does not answer" in caplog.text
        start = time.monotonic()
        for _ in range(10):
            assert storage.get("name") == Entry("name", URI)
        assert time.monotonic() - start < 3
    finally:
        storage.close()


@pytest.mark.parametrize(
    ("kind", "timeout"), [("nobody", 0.2), ("silent", 0.2), ("both", 0.2), ("silent", 0.6)]
)
def test_nobody_answers(kind, timeout, silent):
    nodes = {"nobody": nobody(), "silent": silent, "both": f"{nobody()},{silent}"}[kind]
    storage = table.open_storage(f"etcd:{nodes}", timeout=timeout)
    try:
        for use in (
            lambda: storage.get("name"),
            lambda: storage.put(Entry("name", URI), only_new=True),
            lambda: storage.entries(),
        ):
            start = time.monotonic()
            with pytest.raises(NamingError, match=f"did not answer within {timeout:g} s"):
                use()
            assert time.monotonic() - start < timeout + 2
    finally:
        storage.close()
        gc.collect()


def test_a_host_that_does_not_exist():
    storage = table.open_storage("etcd:does-not-exist.invalid", timeout=0.5)
    with pytest.raises(NamingError, match=r"does-not-exist\.invalid"):
        storage.get("name")
    storage.close()


def test_somebody_who_is_not_etcd():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        storage = table.open_storage("etcd:{}:{}".format(*listener.getsockname()), timeout=2)

        def answer():
            near, _ = listener.accept()
            with near:
                near.recv(1 << 16)
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        answerer = Worker(answer)
        with pytest.raises(NamingError, match="did not answer"):
            storage.get("name")
        answerer.result()
        storage.close()


def test_closing_ends_what_waits(silent):
    storage = table.open_storage(f"etcd:{nobody()}", timeout=20)
    asker = Worker(storage.get, "name")
    wait_until(lambda: asker.alive, "the question is asked")
    storage.close()
    error = asker.finish()
    assert isinstance(error, NamingError)
    assert "closed" in str(error)


@needs_etcd
def test_a_node_that_comes_back():
    with running_cluster(1) as cluster:
        storage = table.open_storage(cluster.text(), timeout=1)
        try:
            storage.put(Entry("name", URI, expires=time.time() + 1000))
            cluster.nodes[0].kill()
            with pytest.raises(NamingError, match="did not answer"):
                storage.get("name")
            cluster.start()
            assert storage.get("name") is not None
            assert storage.put(Entry("other", URI, expires=time.time() + 1000)) is True
            cluster.nodes[0].pause()
            start = time.monotonic()
            with pytest.raises(NamingError, match="did not answer"):
                storage.put(Entry("third", URI))
            assert time.monotonic() - start < 5
            cluster.nodes[0].go_on()
            assert storage.get("name") is not None
        finally:
            storage.close()

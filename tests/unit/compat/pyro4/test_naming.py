"""``Pyro4.naming`` and ``Pyro4.naming_storage``: the name server under Pyro4's names."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

import pyroipc
from pyroipc.compat.pyro4 import core, errors, naming, naming_storage
from pyroipc.compat.pyro4.nameservers import NameServerProxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("dialect")


@contextlib.contextmanager
def started(**options):
    uri, daemon, responder = naming.startNS("localhost", 0, **options)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    wait_until(lambda: daemon._service is not None, "the loop runs")
    try:
        yield uri, daemon
    finally:
        daemon.shutdown()
        thread.join(10)
        daemon.close()
    assert responder is None


@pytest.fixture
def names():
    with started() as (uri, _), naming.locateNS(uri.host, uri.port) as ns:
        ns.register("a.one", "PYRO:one@h:1", metadata=["red", "round"])
        ns.register("a.two", "PYRO:two@h:1", metadata={"red"})
        ns.register("b", core.URI("PYRO:b@h:1"))
        yield ns


def test_start_gives_daemons_of_pyro4():
    with started() as (uri, daemon):
        assert uri.object == "Pyro.NameServer"
        assert isinstance(daemon, naming.NameServerDaemon)
        assert isinstance(daemon, core.Daemon)
        assert isinstance(daemon.nameserver, naming.NameServer)
        assert repr(daemon).startswith("<Pyro4.naming.NameServerDaemon at ")


def test_a_name_server_is_found_at_its_place(names):
    assert type(names) is NameServerProxy
    assert names.count() == 4
    names.ping()


def test_any_proxy_for_a_name_server_has_its_methods(names):
    for text in (str(names._pyroUri), f"PYRONAME:Pyro.NameServer@{names._pyroUri.location}"):
        with core.Proxy(text) as proxy:
            assert isinstance(proxy, NameServerProxy)
            assert set(proxy.list(metadata_all=["round"])) == {"a.one"}


def test_metadata_are_lists(names):
    assert names.lookup("a.one", return_metadata=True) == (
        core.URI("PYRO:one@h:1"),
        ["red", "round"],
    )
    assert names.list(prefix="a.one", return_metadata=True) == {
        "a.one": ("PYRO:one@h:1", ["red", "round"])
    }
    own = names.lookup("Pyro.NameServer", return_metadata=True)[1]
    assert "class:Pyro4.naming.NameServer" in own


def test_lists_are_filtered(names):
    assert set(names.list(metadata_all=["red"])) == {"a.one", "a.two"}
    assert set(names.list(metadata_all={"red", "round"})) == {"a.one"}
    assert set(names.list(metadata_any=["round", "green"])) == {"a.one"}
    assert set(names.list(None, None, None, ["red"])) == {"a.one", "a.two"}
    assert names.list(metadata_any=["round"], return_metadata=True)["a.one"][1] == ["red", "round"]
    assert set(names.list("a.")) == {"a.one", "a.two"}
    assert set(names.list(regex="b|.*two")) == {"b", "a.two"}
    assert len(names.list()) == 4
    assert len(names.list(metadata_all=[])) == 4


@pytest.mark.parametrize(
    "filters",
    [
        {"prefix": "a", "regex": "a"},
        {"prefix": "a", "metadata_all": ["x"]},
        {"metadata_any": ["x"], "metadata_all": ["x"]},
    ],
)
def test_one_filter_at_a_time(names, filters):
    with pytest.raises(ValueError, match="one thing at a time"):
        names.list(**filters)


def test_tags_are_no_single_text(names):
    with pytest.raises(TypeError):
        names.list(metadata_all="red")


def test_the_name_server_itself_is_not_removed(names):
    assert names.remove("Pyro.NameServer") == 0
    assert names.remove("Pyro.NameServer", prefix="a.") == 2
    assert names.remove(name="nobody") == 0
    assert set(names.list()) == {"Pyro.NameServer", "b"}


def test_other_clients_are_served_as_they_expect(names):
    location = names._pyroUri.location
    with pyroipc.locate_ns(*location.split(":")[:1], int(location.split(":")[1])) as other:
        assert set(other.yplookup(meta_all={"round"})) == {"a.one"}
        assert other.list(prefix="a.one", return_metadata=True) == {
            "a.one": ("PYRO:one@h:1", {"red", "round"})
        }


def test_no_name_server_is_found():
    with pytest.raises(errors.NamingError, match=r"^Failed to locate the nameserver; tried .*:1:"):
        naming.locateNS("localhost", 1)


def test_names_are_resolved(names):
    where = names._pyroUri.location
    assert naming.resolve(f"PYRONAME:b@{where}") == core.URI("PYRO:b@h:1")
    assert naming.resolve(f"PYROMETA:red,round@{where}") == core.URI("PYRO:one@h:1")
    assert naming.resolve("PYRO:x@y:1") == core.URI("PYRO:x@y:1")
    with pytest.raises(errors.NamingError, match="unknown name"):
        naming.resolve(f"PYRONAME:nobody@{where}")
    with pytest.raises(TypeError):
        naming.resolve(5)


@pytest.mark.parametrize("key", ["sesame", b"\xff\x00"])
def test_a_name_server_may_have_a_key(key):
    with started(hmac=key) as (uri, _):
        with naming.locateNS(uri.host, uri.port, hmac_key=key) as ns:
            ns.register("x", "PYRO:x@h:1", metadata=["tag"])
        found = core.URI("PYRO:x@h:1")
        assert core.resolve(f"PYRONAME:x@{uri.location}", hmac_key=key) == found
        assert core.resolve(f"PYROMETA:tag@{uri.location}", hmac_key=key) == found
        with pytest.raises(errors.NamingError, match="desired metadata"):
            core.resolve(f"PYROMETA:none@{uri.location}", hmac_key=key)
        with pytest.raises(errors.NamingError):
            naming.locateNS(uri.host, uri.port)


def test_type_meta():
    class Base:
        pass

    class Derived(Base):
        pass

    assert {tag.rpartition(".")[2] for tag in naming.type_meta(Derived)} == {"Base", "Derived"}


def test_there_are_no_broadcasts_with_ipv6():
    with pytest.raises(errors.NamingError, match="no broadcasts in IPv6"):
        naming.BroadcastServer("PYRO:Pyro.NameServer@[::1]:1", ipv6=True)


def test_broadcasts_are_answered():
    uri = "PYRO:Pyro.NameServer@10.1.2.3:9090"
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking, naming.BroadcastServer(uri, "127.0.0.1", 0) as responder:
        responder.runInThread()
        asking.settimeout(10)
        asking.sendto(b"GET_NSURI", ("127.0.0.1", responder.getPort()))
        assert asking.recv(100) == uri.encode()


# ------------------------------------------------------------------------------------ storages


@pytest.fixture(params=["memory", "sql"])
def storage(request, tmp_path):
    made = (
        naming.MemoryStorage()
        if request.param == "memory"
        else naming_storage.SqlStorage(str(tmp_path / "names.sql"))
    )
    yield made
    made.close()


def test_a_storage_is_a_mapping(storage):
    storage["a"] = ("PYRO:a@h:1", {"x", "y"})
    storage["b"] = ("PYRO:b@h:1", None)
    assert len(storage) == 2
    assert list(storage) == ["a", "b"]
    assert storage["a"] == ("PYRO:a@h:1", {"x", "y"})
    assert storage["b"] == ("PYRO:b@h:1", frozenset())
    assert "a" in storage
    with pytest.raises(KeyError):
        storage["c"]
    del storage["b"]
    with pytest.raises(KeyError):
        del storage["b"]
    storage.clear()
    assert len(storage) == 0


def test_a_storage_is_searched(storage):
    storage["a"] = ("PYRO:a@h:1", {"x", "y"})
    storage["ab"] = ("PYRO:ab@h:1", {"x"})
    both = {"a": "PYRO:a@h:1", "ab": "PYRO:ab@h:1"}
    assert storage.everything() == both
    assert storage.everything(return_metadata=True)["ab"] == ("PYRO:ab@h:1", {"x"})
    assert storage.optimized_prefix_list("ab") == {"ab": "PYRO:ab@h:1"}
    assert storage.optimized_regex_list("a$") == {"a": "PYRO:a@h:1"}
    assert storage.optimized_metadata_search(metadata_all=["x", "y"]) == {"a": "PYRO:a@h:1"}
    assert storage.optimized_metadata_search(metadata_any=["x", "z"]) == both
    storage.remove_items(["a", "nothing"])
    assert list(storage) == ["ab"]


def test_a_name_server_uses_a_storage(storage):
    nameserver = naming.NameServer(storage)
    nameserver.register("a", "PYRO:a@h:1", metadata=["x"])
    assert storage["a"] == ("PYRO:a@h:1", {"x"})
    nameserver.close()
    assert len(storage) == 1  # it is the user's


def test_names_in_a_file_are_kept(tmp_path):
    path = tmp_path / "names.sql"
    for expected in (1, 2):
        with started(storage=f"sql:{path}") as (uri, _), naming.locateNS(uri.host, uri.port) as ns:
            assert ns.count() == expected
            ns.register("x", "PYRO:x@h:1")


def test_what_is_no_storage_any_more():
    with pytest.raises(ValueError, match=":memory:"):
        naming_storage.SqlStorage(":memory:")
    for refused in (
        lambda: naming_storage.DbmStorage("names"),
        lambda: naming.NameServerDaemon("localhost", 0, storage="dbm:names"),
    ):
        with pytest.raises(errors.NamingError, match="dbm cannot hold metadata"):
            refused()

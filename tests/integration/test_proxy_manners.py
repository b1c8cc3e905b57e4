"""How a proxy behaves as a Python object."""

from __future__ import annotations

import copy
import pickle

import pytest

from pyroipc import URI, Daemon, Proxy, expose
from pyroipc.errors import DaemonError, SerializeError
from tests.support.hosts import Child, forked, unix_pair
from tests.support.things import Thing


@expose
class Shelf:
    def __init__(self):
        self._things = ["a", "b"]

    def __len__(self):
        return len(self._things)

    def __getitem__(self, index):
        return self._things[index]

    def __setitem__(self, index, value):
        self._things[index] = value

    def __delitem__(self, index):
        del self._things[index]

    def __contains__(self, thing):
        return thing in self._things

    def clear(self):
        self._things.clear()


@pytest.fixture
def near():
    with forked({"thing": Thing(), "shelf": Shelf()}) as (sock, _):
        yield sock


def test_equality_and_hashes(near):
    one, two = (Proxy("thing", connected_socket=near) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    two._pyroBind()  # being connected changes neither
    assert one == two
    assert {one: 1}[two] == 1
    assert one != Proxy("shelf", connected_socket=near)
    assert one != "thing"
    other, far = unix_pair()
    with other, far:
        assert one != Proxy("thing", connected_socket=other)


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
@pytest.mark.parametrize("bound", [False, True])
def test_twins(near, how, bound):
    proxy = Proxy("thing", connected_socket=near)
    proxy._pyroSerializer = "json"
    if bound:
        proxy._pyroBind()
    twin = how(proxy)
    assert twin is not proxy
    assert twin == proxy
    assert twin._pyroSerializer == "json"
    assert twin.add(1, 2) == 3
    proxy._pyroRelease()
    assert twin.add(1, 2) == 3
    twin._pyroRelease()
    assert twin.add(1, 2) == 3


def test_copies_keep_their_settings(near):
    proxy = Proxy("thing", connected_socket=near)
    proxy._pyroTimeout = 5
    proxy._pyroMaxRetries = 2
    proxy._pyroHandshake = "word"
    proxy._pyroOneway.add("add")
    twin = copy.copy(proxy)
    assert (twin._pyroTimeout, twin._pyroMaxRetries, twin._pyroHandshake) == (5, 2, "word")
    assert twin._pyroOneway == {"add"}
    twin._pyroOneway.clear()
    assert proxy._pyroOneway == {"add"}


def test_a_pickle_elsewhere(near):
    data = pickle.dumps(Proxy("thing", connected_socket=near))
    assert b"PYRO:thing@" in data

    def body():
        with pytest.raises(SerializeError, match="make a new proxy there"):
            pickle.loads(data)

    assert Child(body).wait() == 0


def test_containers(near):
    shelf = Proxy("shelf", connected_socket=near)
    assert len(shelf) == 2
    assert shelf[1] == "b"
    shelf[1] = "c"
    assert list(shelf) == ["a", "c"]  # without a remote __iter__, by index
    assert "c" in shelf
    assert "b" not in shelf
    del shelf[0]
    assert list(shelf) == ["c"]
    shelf.clear()
    assert len(shelf) == 0
    assert bool(shelf) is True


def test_what_the_object_does_not_have(near):
    thing = Proxy("thing", connected_socket=near)
    with pytest.raises(TypeError, match="no exposed __getitem__"):
        thing[0]
    with pytest.raises(TypeError, match="no exposed __iter__"):
        iter(thing)
    with pytest.raises(AttributeError, match="exposed: "):
        thing.nothing_of_that_name  # noqa: B018
    assert not hasattr(thing, "nothing_of_that_name")
    with pytest.raises(AttributeError):
        thing._pyroNothing = 1


def test_dir_and_repr(near):
    proxy = Proxy("thing", connected_socket=near)
    assert "not connected" in repr(proxy)
    assert {"add", "value", "_pyroBind"} <= set(dir(proxy))
    assert "connected; for 'thing'" in repr(proxy)


def test_bind_release_reconnect(near):
    proxy = Proxy("thing", connected_socket=near)
    assert proxy._pyroConnection is None
    assert proxy._pyroLocalSocket is None
    assert proxy._pyroBind() is True
    assert proxy._pyroBind() is False
    assert proxy._pyroConnection is not None
    assert proxy._pyroLocalSocket == ""
    proxy._pyroRelease()
    assert proxy._pyroConnection is None
    proxy._pyroReconnect(1)
    assert proxy.add(1, 2) == 3
    with proxy as same:
        assert same is proxy
    assert proxy._pyroConnection is None
    assert proxy._pyroUri == URI.for_connected_socket("thing")


def test_a_subclass_sees_every_call(near):
    seen = []

    class Logging(Proxy):
        def _pyroInvoke(self, methodname, vargs, kwargs, flags=0, objectId=None):
            seen.append(methodname)
            return super()._pyroInvoke(methodname, vargs, kwargs, flags, objectId)

    proxy = Logging("thing", connected_socket=near)
    assert proxy.add(1, b=2) == 3
    proxy.value = 5
    assert proxy.value == 5
    assert seen == ["connect", "add", "__setattr__", "__getattr__"]


def test_typed_proxies_do_not_connect_when_made(near):
    proxy = Proxy[Thing]("thing", connected_socket=near)
    assert proxy._pyroConnection is None
    assert proxy.add(1, 2) == 3


def test_proxies_and_uris_of_a_daemon():
    sock, far = unix_pair()
    with sock, far, Daemon(connected_socket=sock) as daemon:
        thing = Thing()
        with pytest.raises(DaemonError):
            daemon.uriFor(thing)
        with pytest.raises(DaemonError):
            daemon.proxyFor(thing)
        uri = daemon.register(thing, "thing")
        assert daemon.uriFor(thing) == uri == daemon.uriFor("thing")
        proxy = daemon.proxyFor(thing)
        assert proxy == daemon.proxyFor("thing")
        assert proxy.add(1, 2) == 3
        with pytest.raises(AttributeError):
            proxy.unlisted  # noqa: B018
        with Daemon(connected_socket=far) as other:
            other.register(Thing(), "thing")
            assert other.proxyFor("thing") != proxy

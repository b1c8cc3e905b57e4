"""Proxies for addresses: everything that a proxy does, over every kind of connection."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import threading
from concurrent.futures import as_completed

import pytest

import pyroipc
from pyroipc import (
    BatchProxy,
    CommunicationError,
    Daemon,
    DaemonError,
    NamingError,
    Proxy,
    PyroError,
    SecurityError,
    SerializeError,
    expose,
)
from pyroipc.client.methods import OnewayMethod, RemoteMethod, SpecialMethod
from tests.support.daemons import child_serving, roads, serving, settings
from tests.support.hosts import PATIENCE, together
from tests.support.sources import Source
from tests.support.things import Thing
from tests.support.waiting import wait_until

SERIALIZERS = ["serpent", "json", "msgpack"]


@expose
class Relay:
    """Calls what it is given, or hands it on."""

    def __init__(self):
        self.kept = None

    def call(self, proxy, value):
        return proxy.echo(value)

    def keep(self, proxy):
        self.kept = proxy

    def kept_one(self):
        return self.kept

    def uri_of(self, proxy):
        return str(proxy._pyroUri)

    def unpack(self, blob):
        return [blob.info, blob.deserialized()]

    def call_all(self, nested):
        return [nested["a"][0].echo(1), nested["b"].echo(2)]


class Empty:
    pass


@pytest.fixture(params=roads())
def served(request):
    objects = {"thing": Thing(), "source": Source(), "relay": Relay()}
    with serving(objects, road=request.param) as served:
        yield served


@pytest.fixture
def tcp():
    with serving({"thing": Thing(), "relay": Relay(), "source": Source()}) as served:
        yield served


# --- what a proxy does, over all roads ----------------------------------------------------------


def test_methods_attributes_and_special_methods(served):
    with served.proxy() as proxy:
        assert proxy._pyroConnection is None
        assert proxy.echo([1, "two", 3.0, None]) == [1, "two", 3.0, None]
        assert proxy.add(1, b=2, c=3) == 6
        proxy.value = {"key": 7}
        assert proxy.value == {"key": 7}
        assert len(proxy) == 3
        with pytest.raises(ZeroDivisionError):
            proxy.fail("ZeroDivisionError")
        with pytest.raises(AttributeError, match="no member 'nope'"):
            proxy.nope  # noqa: B018
        assert proxy._pyroConnection is not None
    assert proxy._pyroConnection is None
    assert "not connected" in repr(proxy)


@pytest.mark.parametrize("size", [0, 1, 16 << 10, 17 << 10, 100_000, 3 << 20])
def test_sizes(served, size):
    with served.proxy() as proxy:
        assert proxy.blob(size) == "b" * size
        assert proxy.size("x" * size) == size


def test_batches_futures_streams_blobs_and_oneway_calls(served):
    with (
        served.proxy() as proxy,
        served.proxy("source") as source,
        served.proxy("relay") as relay,
    ):
        batch = BatchProxy(proxy)
        batch.add(1)
        batch.echo("x")
        assert list(batch()) == [2, "x"]
        futures = [proxy.echo.submit(i) for i in range(200)]
        assert [future.result(PATIENCE) for future in futures] == list(range(200))
        assert {f.result() for f in as_completed([proxy.echo.submit(i) for i in range(9)])} == {
            *range(9)
        }
        assert list(source.count(5000)) == list(range(5000))
        for i in range(50):
            proxy.note(i)
        assert proxy.notes() == list(range(50))
        assert relay.unpack(pyroipc.SerializedBlob("info", [1, 2])) == ["info", [1, 2]]


def test_threads_share_a_proxy(served):
    with served.proxy() as proxy:

        def calls(base):
            return [proxy.echo(base + i) for i in range(100)]

        results = together(*[lambda base=base: calls(base) for base in range(0, 800, 100)])
        assert results == [list(range(base, base + 100)) for base in range(0, 800, 100)]


def test_threads_that_all_come_first_make_one_connection(tcp):
    proxy = tcp.proxy()
    barrier = threading.Barrier(8)

    def first():
        barrier.wait(PATIENCE)
        proxy.echo(1)
        return proxy._pyroLocalSocket

    assert len(set(together(*[first] * 8))) == 1
    assert proxy.echo(2) == 2
    assert len(tcp.daemon.serving) == 1
    proxy._pyroRelease()


# --- connecting ---------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_first_use():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        proxy = Proxy(f"PYRO:thing@127.0.0.1:{listener.getsockname()[1]}")
        repr(proxy), hash(proxy), proxy == proxy, copy.copy(proxy), pickle.dumps(proxy)
        assert proxy._pyroUri.object == "thing"
        assert proxy._pyroLocalSocket is None
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_connecting_takes_one_round_trip(tcp):
    """The hello and the introduction come in one piece."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(f"PYRO:thing@127.0.0.1:{listener.getsockname()[1]}")
        proxy._pyroTimeout = 0.2

        def first_piece():
            with listener.accept()[0] as sock:
                return sock.recv(1 << 16)

        def use():
            with pytest.raises(CommunicationError):
                proxy.echo(1)

        piece = together(first_piece, use)[0]
    assert piece.count(b"PYROI") == 2
    assert b"connect" in piece


def test_binding_again_does_nothing(tcp):
    with tcp.proxy() as proxy:
        assert proxy._pyroBind() is True
        assert proxy._pyroBind() is False
        assert {"echo", "add"} <= proxy._pyroMethods
        assert "value" in proxy._pyroAttrs


def test_an_unknown_object(served):
    proxy = served.proxy("nobody")
    for _ in range(2):
        with pytest.raises(DaemonError, match="unknown object 'nobody'"):
            proxy.echo(1)
        assert proxy._pyroConnection is None
    wait_until(lambda: not served.daemon.serving, "the connection is given back")


def test_an_object_that_exposes_nothing(caplog):
    with serving({"empty": Empty()}) as served:
        with pytest.raises(PyroError, match="remote object 'empty' exposes nothing") as caught:
            served.proxy("empty").anything()
        assert "cannot connect" not in str(caught.value)


def test_names_without_a_name_server():
    nowhere = settings(NS_PORT=1, BROADCAST_ADDRS=[])
    for uri in ("PYRONAME:some.name", "PYROMETA:a,b", "PYRONAME:x@localhost:1"):
        proxy = Proxy(uri, settings=nowhere)
        assert hash(proxy) == hash(Proxy(uri))
        assert proxy == Proxy(uri)
        with pytest.raises(NamingError, match="failed to locate the name server"):
            proxy.method()


class Doorkeeper(Daemon):
    def validateHandshake(self, conn, data):
        if data != {"word": ("open", "sesame")}:
            raise ValueError(f"wrong word {data!r}")
        return "come in"


@pytest.mark.parametrize("road", roads("tcp4", "unix", "tls"))
def test_a_handshake_is_refused(road):
    with serving({"thing": Thing()}, road=road, factory=Doorkeeper) as served:
        proxy = served.proxy()
        with pytest.raises(CommunicationError, match="wrong word 'hello'") as caught:
            proxy.echo(1)
        assert str(caught.value).startswith(f"connection to {served.location} rejected: ")
        assert caught.value.call_status == "not sent"
        proxy._pyroHandshake = {"word": ("open", "sesame")}
        assert proxy.echo(1) == 1
        assert proxy.add(1) == 2
        proxy._pyroRelease()
        assert proxy.echo(2) == 2
        proxy._pyroRelease()


def test_what_the_daemon_answers_can_be_looked_at():
    class Choosy(Proxy):
        def _pyroValidateHandshake(self, response):
            seen.append(response)
            if len(seen) == 1:
                raise PyroError("not this one")

    seen = []
    with serving({"thing": Thing()}) as served:
        proxy = Choosy(served.uri())
        with pytest.raises(PyroError, match="not this one"):
            proxy.echo(1)
        assert proxy._pyroConnection is None
        assert proxy.echo(1) == 1
        assert seen == ["hello", "hello"]
        proxy._pyroRelease()


@pytest.mark.parametrize("road", roads("tcp4", "tls", "hmac", "tcp6"))
def test_pickle_is_refused_over_a_network(road):
    with serving({"thing": Thing()}, road=road) as served:
        proxy = served.proxy()
        proxy._pyroSerializer = "pickle"
        with pytest.raises(SecurityError, match="not verified local"):
            proxy.echo(1)
        proxy._pyroSerializer = None
        assert proxy.echo(1) == 1
        with pytest.raises(SecurityError, match="not verified local"):
            proxy._pyroSerializer = "cloudpickle"
        assert proxy.echo(2) == 2
        proxy._pyroRelease()


def test_pickle_is_the_serializer_of_a_unix_socket():
    (road,) = roads("unix")
    with serving({"thing": Thing()}, road=road.values[0]) as served, served.proxy() as proxy:
        assert proxy.echo(range(3)) == range(3)
        assert proxy.echo.__self__._pyro_codec(proxy._pyroConnection).serializer.name == "pickle"


def test_settings_that_are_wrong():
    proxy = Proxy("PYRO:thing@127.0.0.1:9")
    with pytest.raises(SerializeError, match="did you mean 'serpent'"):
        proxy._pyroSerializer = "serpant"
    for value in ("5", True, [1]):
        with pytest.raises(TypeError, match="_pyroTimeout"):
            proxy._pyroTimeout = value
    for value in (-1, float("nan")):
        with pytest.raises(ValueError, match="_pyroTimeout"):
            proxy._pyroTimeout = value
    proxy._pyroTimeout = 0
    assert proxy._pyroTimeout is None
    for value in ("5", 1.5, True):
        with pytest.raises(TypeError, match="_pyroMaxRetries"):
            proxy._pyroMaxRetries = value
    with pytest.raises(ValueError, match="_pyroMaxRetries"):
        proxy._pyroMaxRetries = -1
    with pytest.raises(AttributeError, match="_pyroTimeot"):
        proxy._pyroTimeot = 5
    with pytest.raises(TypeError, match="HMAC"):
        proxy._pyroHmacKey = 5
    with pytest.raises(TypeError, match="tls"):
        Proxy("PYRO:thing@127.0.0.1:9", tls="yes")
    with pytest.raises(TypeError, match="URI"):
        Proxy(5)


# --- the fast way -------------------------------------------------------------------------------


def test_methods_take_the_plain_path(tcp):
    with tcp.proxy() as proxy:
        assert type(proxy.echo) is RemoteMethod
        assert type(proxy.note) is OnewayMethod
        assert proxy.echo is proxy.echo
        proxy._pyroTimeout = 5
        assert type(proxy.echo) is SpecialMethod
        assert proxy.echo(1) == 1
        proxy._pyroTimeout = None
        assert type(proxy.echo) is RemoteMethod


def test_a_method_that_was_kept_is_fast_again_after_a_reconnection(tcp, monkeypatch):
    invoked = []
    general = Proxy._pyroInvoke

    def counting(self, *args, **kwargs):
        invoked.append(args[0])
        return general(self, *args, **kwargs)

    proxy = Proxy(tcp.uri())
    method = proxy.echo
    monkeypatch.setattr(Proxy, "_pyroInvoke", counting)
    assert method(1) == 1
    assert invoked == []
    proxy._pyroRelease()
    assert method(2) == 2  # connects
    assert invoked == ["echo"]
    assert [method(3), method(4)] == [3, 4]
    assert invoked == ["echo"]
    assert proxy._pyroConnection is not None  # the same one
    assert len(tcp.daemon.serving) == 1
    proxy._pyroRelease()


# --- being let go -------------------------------------------------------------------------------


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("road", roads("tcp4", "unix", "tls"))
def test_a_proxy_that_is_dropped_closes_its_connection_at_once(road):
    """By its reference count, and not when the collector runs; also with methods in its cache."""
    with child_serving({"thing": Thing()}, road=road) as served:
        proxy = served.proxy()
        proxy.echo(1), proxy.add(1), proxy.note(1), proxy.value
        proxy._pyroTimeout = 5
        proxy.echo(1)
        sock = proxy._pyroConnection.channel.sock
        raw = getattr(sock, "raw", sock)
        del sock
        gc.collect()
        gc.disable()
        try:
            del proxy
            assert raw.fileno() == -1
        finally:
            gc.enable()


def test_a_thousand_proxies_leave_no_descriptor():
    with child_serving({"thing": Thing()}) as served:
        served.proxy().echo(0)
        before = descriptors()
        for i in range(1000):
            proxy = served.proxy()
            assert proxy.echo(i) == i
            del proxy
        assert descriptors() == before


def test_iterators_and_futures_of_a_dropped_proxy_live_on():
    with child_serving({"source": Source(), "thing": Thing()}) as served:
        before = descriptors()
        remote = served.proxy("source").count(5000)
        assert [next(remote) for _ in range(10)] == list(range(10))
        assert list(remote) == list(range(10, 5000))
        del remote
        future = served.proxy().echo.submit("late")
        assert future.result(PATIENCE) == "late"
        del future
        method = served.proxy().echo
        assert method(1) == 1
        del method
        wait_until(lambda: descriptors() == before, "all connections are closed")


def test_release_says_goodbye_also_when_a_method_is_kept(tcp):
    proxy = tcp.proxy()
    method = proxy.echo
    for i in range(3):
        assert method(i) == i
        proxy._pyroRelease()
        wait_until(lambda: not tcp.daemon.serving, "the daemon has seen it go")
        proxy._pyroRelease()


# --- as an object -------------------------------------------------------------------------------


def test_equality_and_hash_are_those_of_the_uri(tcp):
    uri = tcp.uri()
    one, other = Proxy(uri), Proxy(uri)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, copy.copy(one), pickle.loads(pickle.dumps(one))}) == 1
    assert one != Proxy(tcp.uri("relay"))
    assert one != Proxy("PYRO:thing@127.0.0.1:1")
    assert one != uri
    before = hash(one)
    one.echo(1)
    assert hash(one) == before
    assert one == other
    one._pyroRelease()


@pytest.fixture
def apart():
    with child_serving({"thing": Thing()}) as served:
        yield served


def test_copies_have_connections_of_their_own(apart):
    proxy = apart.proxy()
    proxy._pyroTimeout = 7
    proxy._pyroHandshake = "hi"
    proxy._pyroMaxRetries = 2
    proxy._pyroSerializer = "json"
    proxy.echo(1)
    twins = [copy.copy(proxy), copy.deepcopy(proxy)]
    for twin in twins:
        assert twin._pyroConnection is None
        assert (twin._pyroTimeout, twin._pyroHandshake, twin._pyroMaxRetries) == (7, "hi", 2)
        assert twin._pyroSerializer == "json"
        assert twin.echo(2) == 2
        assert twin._pyroLocalSocket != proxy._pyroLocalSocket
        twin._pyroRelease()
    assert proxy.echo(3) == 3
    revived = pickle.loads(pickle.dumps(proxy))
    assert (revived._pyroUri, revived._pyroSerializer) == (proxy._pyroUri, "json")
    assert revived.echo(4) == 4
    revived._pyroRelease()
    proxy._pyroRelease()


@pytest.mark.parametrize("road", roads("tcp4", "tcp6", "unix", "tls"))
def test_where_it_is(road):
    with serving({"thing": Thing()}, road=road) as served, served.proxy() as proxy:
        assert str(proxy._pyroUri) == served.uri()
        assert served.uri() in repr(proxy)
        proxy.echo(1)
        address = proxy._pyroLocalSocket
        if road.name.startswith("t"):
            (client,) = served.daemon.serving.values()
            assert address == client.session.peer.address
        else:
            assert address == ""


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_proxies_go_to_third_parties(serializer):
    """A proxy is its URI wherever it arrives; also deep in containers."""
    with (
        serving({"thing": Thing()}) as there,
        child_serving({"relay": Relay()}) as relays,
        there.proxy() as thing,
        relays.proxy("relay") as relay,
    ):
        relay._pyroSerializer = serializer
        assert relay.call(thing, "through") == "through"
        assert relay.uri_of(thing) == there.uri()
        assert relay.call_all({"a": [thing, 5], "b": thing}) == [1, 2]
        relay.keep(thing)
        home = relay.kept_one()
        assert home == thing
        assert home.echo(9) == 9
        home._pyroRelease()


def test_an_object_of_a_listening_daemon_is_for_everyone():
    """What a method returns, its caller may hand on: the third party calls the daemon itself."""
    with serving({"thing": Thing(), "relay": Relay()}) as here:
        thing = here.daemon.registry.get("thing").target()
        with child_serving({"relay": Relay()}) as there, there.proxy("relay") as far:
            assert far.call(thing, 5) == 5
            far.keep(thing)
            with there.proxy("relay") as other:
                kept = other.kept_one()
                assert str(kept._pyroUri).endswith(f"@{here.location}")
                assert kept.echo(6) == 6
                kept._pyroRelease()


@pytest.mark.parametrize("connect_by", ["proxy", "method"])
def test_a_proxy_that_goes_to_its_own_daemon_is_the_object_there(tcp, connect_by):
    """Not another proxy: the daemon would have to connect to itself."""
    with tcp.proxy("relay") as relay:
        method = relay.keep
        if connect_by == "method":
            relay._pyroRelease()
            method(1)  # the method connects, and not the proxy
        relay.keep(relay)
        target = tcp.daemon.registry.get("relay").target()
        assert target.kept is target
        target.kept = None

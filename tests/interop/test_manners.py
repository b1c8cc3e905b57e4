"""How clients and servers of the three libraries behave: servers, operators, hooks, ends."""

from __future__ import annotations

import contextlib
import os

import pytest

import pyroipc
from tests.interop.peers.library import OURS, PYRO4, PYRO5, Library
from tests.interop.peers.things import make_objects
from tests.support import daemons
from tests.support.hosts import Child, Worker
from tests.support.pyro_peers import CELLS, new_name, play, playing, server, serving
from tests.support.waiting import wait_until

cells = pytest.mark.parametrize(("client", "host"), CELLS)
hosts = pytest.mark.parametrize("host", [PYRO5, PYRO4])
clients = pytest.mark.parametrize("client", [PYRO5, PYRO4])


@pytest.fixture(scope="module")
def multiplex():
    with contextlib.ExitStack() as stack:
        yield {
            host: stack.enter_context(serving(host, settings={"SERVERTYPE": "multiplex"}))
            for host in (PYRO5, PYRO4, OURS)
        }


@cells
def test_servers_with_one_thread(multiplex, client, host):
    place = multiplex[host]
    assert play(client, "calls", place.uri(), "serpent")[0] == 42
    assert play(client, "streams", place.uri("streams"), "msgpack")[0] == [0, 1, 2]
    assert play(client, "batch", place.uri(), "json", new_name())[1] == [5]
    assert play(client, "oneways", place.uri(), "serpent", new_name())[2:] == [True, True]
    assert play(client, "calls_in_threads", place.uri(), "serpent", 3, 20) == [list(range(20))] * 3


@clients
def test_a_method_that_raises_what_ctrl_c_raises(multiplex, client):
    """It ends the loop of a Pyro5 with one thread; here it is an answer."""
    for place in (multiplex[OURS], server(OURS)):
        told, after = play(client, "exception", place.uri(), "serpent", "KeyboardInterrupt")
        assert (told["class"], told["args"]) == ("PyroError", ["KeyboardInterrupt: of the method"])
        assert after == 3


def test_a_pyro4_that_tells_no_metadata():
    with serving(PYRO4, settings={"METADATA": False}) as place:
        assert play(OURS, "calls", place.uri(), "serpent")[0] == 42
        assert play(OURS, "attributes", place.uri(), "serpent")["constant"] == 42


def test_a_pyro4_that_wants_no_metadata():
    uri = server(OURS).uri()
    assert play(PYRO4, "configured", {"METADATA": False}, "calls", uri, "serpent")[0] == 42


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO5), (PYRO5, OURS), (OURS, OURS)])
def test_operators(client, host):
    assert play(client, "container", server(host).uri("container"), "serpent") == [
        2,
        1,
        ["a", "b"],
        ["a", "b", "c"],
        ["a", "b"],
        True,
        "KeyError",
    ]


def test_asynchronous_proxies_of_pyro4():
    assert play(PYRO4, "asynchronous_calls", server(OURS).uri(), "serpent") == [
        [n + 2 for n in range(10)],
        "ValueError",
        6,
        [3, 4],
    ]


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO5), (OURS, PYRO4), (PYRO4, OURS)])
def test_hooks_of_a_proxy(client, host):
    found = play(client, "hooks", server(host).uri("contexts"), "serpent")
    assert found == [{"HOOK": "of mine"}, [["RESP"]]]


@cells
def test_calls_that_are_made_again(client, host):
    found = play(client, "retried", server(host).uri("waits"), "serpent", new_name())
    assert found[0] == "TimeoutError"
    # Over our connection the second call of a server of Pyro waits for the first one to end.
    assert found[1] == 3 or (client == OURS and found[1] >= 1)


@hosts
def test_a_forked_child_has_a_connection_of_its_own(host):
    proxy = pyroipc.Proxy(server(host).uri())
    assert proxy.add(1) == 3

    def body():
        assert proxy.add(2) == 4
        assert list(proxy.echo([1])) == [1]

    child = Child(body)
    assert proxy.add(3) == 5
    assert child.wait() == 0
    assert proxy.add(4) == 6
    proxy._pyroRelease()


@hosts
def test_copies_and_equality(host):
    import copy

    with pyroipc.Proxy(server(host).uri()) as proxy:
        proxy._pyroSerializer = "json"
        other = copy.copy(proxy)
        with other:
            assert other == proxy
            assert other.add(1) == 3
            assert other._pyroSerializer == "json"
        assert proxy.add(1) == 3
        assert "not connected" in repr(other)
        assert hash(other) == hash(proxy)


@hosts
def test_what_a_proxy_shows(host):
    with pyroipc.Proxy(server(host).uri()) as proxy:
        proxy._pyroBind()
        assert {"add", "echo", "value"} <= set(dir(proxy))
        assert repr(proxy._pyroConnection)
        assert host in proxy._pyroConnection.peer_hello.library


# --- ends ----------------------------------------------------------------------------------------


def our_daemon(**options):
    return daemons.serving(make_objects(Library(OURS)), **options)


@clients
def test_a_daemon_that_is_shut_down(client):
    """Those who are connected notice at once; the answer of a call that runs is sent before."""
    name = new_name()
    objects = make_objects(Library(OURS))
    with playing(client) as player, daemons.serving(objects) as place:
        waiting = Worker(player.play, "call_twice", place.uri("waits"), "serpent", "hold", name)
        with place.proxy("waits") as proxy:
            assert proxy.is_held(name)
        place.daemon.shutdown()
        objects["waits"].open(name)
        first, second = waiting.result()
        assert first == name
        assert second["class"] == "ConnectionClosedError"


@clients
def test_a_daemon_that_is_drained(client):
    """The call that runs finishes; whoever asks meanwhile is told to ask elsewhere."""
    name = new_name()
    objects = make_objects(Library(OURS))
    with playing(client) as player, playing(client) as other, daemons.serving(objects) as place:
        waiting = Worker(player.play, "call", place.uri("waits"), "serpent", "hold", name)
        with place.proxy("waits") as proxy:
            assert proxy.is_held(name)
        assert other.play("keep", place.uri("basics"), "serpent") == 3
        place.daemon.drain()
        told = other.play("call_kept")
        assert told["class"] == "CommunicationError"
        assert "the daemon is about to stop" in told["args"][0]
        objects["waits"].open(name)
        assert waiting.result() == name


@clients
def test_a_client_that_dies_in_a_call(client):
    """Its session instances and resources go; the daemon serves others."""
    name = new_name()
    with our_daemon() as place, playing(client) as player:
        assert player.play("leave_tracked", place.uri("contexts"), "serpent", name) is None
        player.end()
        with place.proxy("contexts") as proxy:
            assert proxy.has_closed(name)


@clients
def test_too_many_clients(client):
    """One more than there are threads is served, too: idle ones cost none."""
    changed = daemons.settings(THREADPOOL_SIZE=2, THREADPOOL_SIZE_MIN=1)
    with our_daemon(settings=changed) as place:
        assert play(client, "hold_connections", place.uri("basics"), "serpent", 20) == [3] * 20


def test_nothing_is_left_behind():
    """Whatever clients of Pyro do, no descriptor stays."""
    with our_daemon() as place:
        uri, streams = place.uri("basics"), place.uri("streams")
        for client in (PYRO5, PYRO4):
            assert play(client, "call", uri, "serpent", "add", 1) == 3
        wait_until(lambda: not place.daemon.serving, "they are gone")
        before = len(os.listdir("/proc/self/fd"))
        for client in (PYRO5, PYRO4):
            assert play(client, "many_connections", uri, "serpent", 20) == [3] * 20
            assert play(client, "lingering_stream", streams, "serpent")[2] == [1, 2]
        wait_until(lambda: not place.daemon.serving, "they are gone")
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "they are closed")

"""Connections between pyroipc and the released packages: broken, made again, shared."""

from __future__ import annotations

import asyncio
import contextlib
import select

import pytest

import pyroipc
from tests.interop.peers.library import OURS, PYRO4, PYRO5
from tests.support.daemons import settings
from tests.support.hosts import PATIENCE, Worker, together
from tests.support.networks import needs_ipv6
from tests.support.pyro_peers import CELLS, new_name, play, server, serving

cells = pytest.mark.parametrize(("client", "host"), CELLS)
hosts = pytest.mark.parametrize("host", [PYRO5, PYRO4])


# --- roads ---------------------------------------------------------------------------------------


@cells
@pytest.mark.parametrize("daemon", ["unix", pytest.param("ipv6", marks=needs_ipv6)])
@pytest.mark.parametrize("serializer", ["serpent", "msgpack"])
def test_other_roads(client, host, daemon, serializer):
    uri = server(host).uri(daemon=daemon)
    assert play(client, "calls", uri, serializer)[0] == 42
    assert play(client, "large", uri, serializer, 1_000_000) == [1_000_000, 1_000_000, 3]


@pytest.mark.parametrize("serializer", ["pickle", None])
def test_calls_to_a_pyro4_over_a_unix_socket(serializer):
    """Pickle may be used there; where nothing is said, it is serpent, as between two Pyro4."""
    uri = server(PYRO4).uri(daemon="unix")
    proxy = pyroipc.Proxy(uri)
    proxy._pyroSerializer = serializer
    with proxy:
        assert proxy.echo([1]) == [1]
        assert proxy._pyro_codec(proxy._pyroConnection).serializer.name == (
            serializer or "serpent"
        )


# --- ends and beginnings -------------------------------------------------------------------------


@cells
def test_released_proxies_connect_again(client, host):
    assert play(client, "reconnected", server(host).uri(), "serpent") == [3, True, 4, 5]


@cells
def test_a_server_that_dies_in_a_call(client, host):
    with serving(host) as place:
        told = play(client, "call", place.uri(), "serpent", "die")
    assert told["class"] in {"ConnectionClosedError", "PeerDiedError"}


@cells
def test_a_server_that_is_gone(client, host):
    with serving(host) as place:
        uri = place.uri()
    told = play(client, "call", uri, "serpent", "add", 1)
    assert told["class"] in {"CommunicationError", "ConnectError"}
    assert "cannot connect to" in told["args"][0]


def wait_for_end(proxy):
    """Wait until the other end has closed the connection of a proxy; read nothing."""
    poll = select.poll()
    poll.register(proxy._pyroConnection.channel.sock, select.POLLRDHUP | select.POLLIN)
    assert poll.poll(PATIENCE * 1000)


@hosts
def test_a_server_that_was_restarted(host):
    """A call that finds the connection closed is made over a new one."""
    with serving(host) as place:
        proxy = pyroipc.Proxy(place.uri())
        assert proxy.add(1) == 3
        first = place.port()
    with serving(host, {"tcp": {"host": "localhost", "port": first}}):
        wait_for_end(proxy)
        assert proxy.add(2) == 4
        assert proxy.value == 1
        proxy.note("after the restart")
        assert proxy.has_noted("after the restart")
    wait_for_end(proxy)
    with pytest.raises(pyroipc.ConnectError):
        proxy.add(1)
    proxy._pyroRelease()


@hosts
def test_a_server_that_lets_idle_clients_go(host):
    with (
        serving(host, settings={"COMMTIMEOUT": 0.2}) as place,
        pyroipc.Proxy(place.uri()) as proxy,
    ):
        assert proxy.add(1) == 3
        wait_for_end(proxy)
        assert proxy.add(2) == 4


# --- time ----------------------------------------------------------------------------------------


@cells
def test_an_answer_that_comes_too_late(client, host):
    name = new_name()
    found = play(client, "late_answer", server(host).uri("waits"), "serpent", name)
    assert found == ["TimeoutError", f"{name} 2", True]


@cells
@pytest.mark.parametrize("serializer", ["serpent", "msgpack"])
def test_numbers_of_calls_begin_again(client, host, serializer):
    uri = server(host).uri()
    if client == OURS:
        with pyroipc.Proxy(uri) as proxy:
            proxy._pyroSerializer = serializer
            session = proxy._pyro_connected()
            for _ in range(65533):
                session.next_id()
            assert [proxy.add(n, 0) for n in range(5)] == list(range(5))
    else:
        answers, last = play(client, "wrapped_numbers", uri, serializer, 65533, 5)
        assert answers == list(range(5))
        assert last == 2


# --- several at once -----------------------------------------------------------------------------


@hosts
def test_threads_that_share_a_proxy(host):
    """A server that is Pyro answers them one after the other."""
    with pyroipc.Proxy(server(host).uri()) as proxy:

        def call(number):
            return [proxy.echo([number, i]) for i in range(50)]

        found = together(*(lambda number=number: call(number) for number in range(6)))
    assert found == [[[number, i] for i in range(50)] for number in range(6)]


@hosts
def test_a_thread_that_waits_while_others_call(host):
    """Over one connection, a server that is Pyro runs no second call: a second proxy does."""
    name = new_name()
    with (
        pyroipc.Proxy(server(host).uri("waits")) as waits,
        pyroipc.Proxy(server(host).uri("waits")) as other,
    ):
        waiting = Worker(waits.hold, name)
        assert other.is_held(name)
        behind = Worker(waits.is_held, name)
        other.open(name)
        assert waiting.result() == name
        assert behind.result() is True


@hosts
def test_futures(host):
    with pyroipc.Proxy(server(host).uri()) as proxy:
        futures = [proxy.echo.submit(i) for i in range(100)]
        failed = proxy.fail.submit("ValueError")
        assert [future.result(PATIENCE) for future in futures] == list(range(100))
        with pytest.raises(ValueError, match="boom"):
            failed.result(PATIENCE)


@hosts
def test_asyncio(host):
    async def main():
        with pyroipc.Proxy(server(host).uri()) as proxy:
            calls = [asyncio.wrap_future(proxy.add.submit(i)) for i in range(20)]
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [i + 2 for i in range(20)]


@hosts
def test_asynchronous_proxies(host):
    with pyroipc.Proxy(server(host).uri()) as proxy:
        proxy._pyroAsync()
        results = [proxy.add(i).then(lambda x: x * 2) for i in range(10)]
        assert [result.value for result in results] == [(i + 2) * 2 for i in range(10)]
        assert isinstance(proxy.fail("ValueError").wait(PATIENCE), bool)
        batch = pyroipc.BatchProxy(proxy)
        batch.add(1)
        batch.add(2)
        assert list(batch(asynchronous=True).value) == [3, 4]


@hosts
def test_many_proxies(host):
    proxies = [pyroipc.Proxy(server(host).uri()) for _ in range(30)]
    try:
        assert [proxy.add(i) for i, proxy in enumerate(proxies)] == [i + 2 for i in range(30)]
    finally:
        for proxy in proxies:
            proxy._pyroRelease()


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_clients_that_come_and_go(client):
    uri = server(OURS).uri()
    assert play(client, "many_connections", uri, "serpent", 60) == [3] * 60
    assert play(client, "calls_in_threads", uri, "serpent", 5, 40) == [list(range(40))] * 5


def test_clients_of_all_kinds_at_the_same_time():
    uri = server(OURS).uri()
    found = together(
        *(
            lambda client=client: play(client, "calls_in_threads", uri, "serpent", 3, 60)
            for client in (PYRO5, PYRO4, OURS)
        )
    )
    assert found == [[list(range(60))] * 3] * 3


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_daemon_with_one_thread(client):
    with serving(OURS, settings={"SERVERTYPE": "multiplex"}) as place:
        assert play(client, "calls_in_threads", place.uri(), "serpent", 3, 20) == (
            [list(range(20))] * 3
        )
        assert play(client, "large", place.uri(), "serpent", 100_000) == [100_000, 100_000, 3]


# --- the daemon itself ---------------------------------------------------------------------------


@cells
@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack", "marshal"])
def test_the_object_of_the_daemon(client, host, serializer):
    found = play(client, "daemon_object", server(host).uri("Pyro.Daemon"), serializer)
    assert {"basics", "streams", "Pyro.Daemon"} < set(found["registered"])
    assert found["ping"] is None
    assert "aemon" in found["info"]
    assert "add" in found["metadata"]["methods"]
    assert found["metadata"]["attrs"] == ["broken", "constant", "value"]
    assert found["metadata"]["oneway"] == ["fail_unheard", "note"]
    assert found["unknown class"] == "DaemonError"
    assert "unknown object" in found["unknown"][0]


@hosts
def test_pings_of_ours(host):
    """A session of ours asks whether the server is there."""
    with pyroipc.Proxy(server(host).uri()) as proxy:
        assert proxy.add(1) == 3
        session = proxy._pyroConnection
        request_id = session.next_id()
        message = session.exchange(request_id, session.ping(request_id), None)
        assert bytes(message.payload) == b"pong"
        assert proxy.add(1) == 3


# --- limits --------------------------------------------------------------------------------------


@cells
@pytest.mark.parametrize("serializer", ["serpent", "json", "marshal", "msgpack"])
def test_large_messages(client, host, serializer):
    found = play(client, "large", server(host).uri(), serializer, 5_000_000)
    assert found == [5_000_000, 5_000_000, 3]


@cells
@pytest.mark.parametrize("serializer", ["serpent", "json", "marshal", "msgpack"])
def test_compression(client, host, serializer):
    found = play(
        client,
        "configured",
        {"COMPRESSION": True},
        "large",
        server(host).uri(),
        serializer,
        50_000,
    )
    assert found == [50_000, 50_000, 3]


@pytest.fixture(scope="module")
def compressing():
    with contextlib.ExitStack() as stack:
        yield {
            host: stack.enter_context(serving(host, settings={"COMPRESSION": True}))
            for host in (PYRO5, PYRO4, OURS)
        }


@cells
def test_a_server_that_compresses(compressing, client, host):
    uri = compressing[host].uri
    assert play(client, "large", uri(), "serpent", 50_000) == [50_000, 50_000, 3]
    many = play(client, "configured", {"COMPRESSION": True}, "calls", uri(), "msgpack")
    assert many[0] == 42
    assert play(client, "batch", uri(), "serpent", new_name())[1] == [5]
    assert play(client, "blob", uri("blobs"), "serpent", "info", ["x" * 5000]) == [
        "info",
        ["x" * 5000],
    ]


@hosts
def test_messages_that_are_larger_than_allowed_here(host):
    changed = settings(MAX_MESSAGE_SIZE=20_000)
    with pyroipc.Proxy(server(host).uri(), settings=changed) as proxy:
        with pytest.raises(pyroipc.MessageTooLargeError, match="MAX_MESSAGE_SIZE raises"):
            proxy.size("x" * 30_000)
        assert proxy.add(1) == 3
        with pytest.raises(pyroipc.MessageTooLargeError, match="MAX_MESSAGE_SIZE raises"):
            proxy.text(30_000)
        assert proxy.add(1) == 3


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_messages_that_are_larger_than_a_daemon_allows(client):
    with serving(OURS, settings={"MAX_MESSAGE_SIZE": 20_000}) as place:
        sent, received, after = play(client, "large", place.uri(), "serpent", 30_000)
    for told in (sent, received):
        assert told["class"] == "MessageTooLargeError"
        assert "MAX_MESSAGE_SIZE raises" in told["args"][0]
        assert told["custom"] is None
    assert after == 3


@hosts
def test_messages_that_are_larger_than_a_server_of_pyro_allows(host):
    with serving(host, settings={"MAX_MESSAGE_SIZE": 20_000}) as place:
        sent, received, after = play(OURS, "large", place.uri(), "serpent", 30_000)
    assert sent["class"] == "ConnectionClosedError"
    assert received["class"] in {"ConnectionClosedError", "ProtocolError", "MessageTooLargeError"}
    assert after == 3


@hosts
def test_a_bomb_of_a_server(host):
    """A message that gets too large when it is unpacked is refused."""
    changed = settings(MAX_MESSAGE_SIZE=20_000)
    with (
        serving(host, settings={"COMPRESSION": True}) as place,
        pyroipc.Proxy(place.uri(), settings=changed) as proxy,
    ):
        with pytest.raises(pyroipc.MessageTooLargeError):
            proxy.text(200_000)
        assert proxy.add(1) == 3

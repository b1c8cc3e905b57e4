"""Remote iterators between pyroipc and the released packages."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.pyro_peers import CELLS, new_name, play, server, serving

EVERYWHERE = [(*cell, serializer) for cell, serializer in itertools.product(CELLS, SERIALIZERS)]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
cells = pytest.mark.parametrize(("client", "host"), CELLS)


@everywhere
def test_streams(client, host, serializer):
    items, ends, listed, in_turns, empty = play(
        client, "streams", server(host).uri("streams"), serializer
    )
    assert items == [0, 1, 2]
    assert ends == ["over", "over"]
    assert listed == [0, 1]
    assert in_turns == [0, 0, None, 1, 1]
    assert empty == []


@everywhere
def test_an_exception_in_an_iterator(client, host, serializer):
    first, told, after, goes_on = play(
        client, "failing_stream", server(host).uri("streams"), serializer
    )
    assert first == 0
    assert (told["class"], told["args"]) == ("ValueError", ["in the stream"])
    assert told["traceback"].rstrip().endswith("ValueError: in the stream")
    if client == OURS:
        assert after == "over"
    else:
        assert (after["class"], after["args"]) == ("PyroError", ["item stream terminated"])
    assert goes_on == [0]


@cells
@pytest.mark.parametrize("how", ["close", "drop"])
def test_an_iterator_that_is_left_is_closed_over_there(client, host, how):
    place = server(host)
    first, closed = play(
        client, "closed_stream", place.uri("streams"), place.uri(), "serpent", new_name(), how
    )
    assert (first, closed) == (0, True)


@cells
def test_closing_a_stream_after_other_calls(client, host):
    place = server(host)
    assert play(
        client, "closed_late", place.uri("streams"), place.uri(), "serpent", new_name()
    ) == [0, [0], True]


@cells
def test_a_stream_lingers(client, host):
    assert play(client, "lingering_stream", server(host).uri("streams"), "serpent") == [
        0,
        "ConnectionClosedError",
        [1, 2],
    ]


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO5), (PYRO5, OURS), (PYRO4, OURS)])
def test_an_attribute_that_is_an_iterator(client, host):
    """A server of Pyro4 has none."""
    uri = server(host).uri("streams")
    assert play(client, "stream_of_attribute", uri, "serpent") == [1, 2, 3]


@pytest.fixture(scope="module", params=[PYRO5, PYRO4, OURS])
def without_streaming(request):
    with serving(request.param, settings={"ITER_STREAMING": False}) as place:
        yield place


def test_a_server_without_streaming(without_streaming):
    clients = [OURS] if without_streaming.library != OURS else [PYRO5, PYRO4]
    for client in clients:
        told, after = play(client, "refused_stream", without_streaming.uri("streams"), "serpent")
        assert told["class"] in {"ProtocolError", "DaemonError"}, told
        assert "not configured to allow streaming" in told["args"][0]
        assert after == 1


@pytest.fixture(scope="module", params=[PYRO5, PYRO4, OURS])
def without_lingering(request):
    with serving(request.param, settings={"ITER_STREAM_LINGER": 0.0}) as place:
        yield place


def test_a_stream_that_does_not_linger(without_lingering):
    clients = [OURS] if without_lingering.library != OURS else [PYRO5, PYRO4]
    for client in clients:
        found = play(client, "stream_that_is_gone", without_lingering.uri("streams"), "serpent")
        assert (found["class"], found["args"][0]) == ("PyroError", "item stream terminated")


def test_a_stream_that_gets_too_old():
    with serving(OURS, settings={"ITER_STREAM_LIFETIME": 0.1}) as place:
        for client in (PYRO5, PYRO4):
            told = play(client, "old_stream", place.uri("streams"), place.uri("waits"), "serpent")
            assert told["class"] == "PyroError"
            assert told["args"][0].startswith("item stream terminated")


@cells
def test_many_items(client, host):
    uri = server(host).uri("streams")
    assert play(client, "sum_of_stream", uri, "msgpack", 300) == sum(range(300))


@cells
def test_many_streams_at_once(client, host):
    uri = server(host).uri("streams")
    assert play(client, "sums_of_streams", uri, "serpent", 20, 3) == [3] * 20


@cells
def test_threads_that_read_streams(client, host):
    uri = server(host).uri("streams")
    assert play(client, "streams_in_threads", uri, "serpent", 4, 30) == [sum(range(30))] * 4

"""Batches between pyroipc and the released packages."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.pyro_peers import ALL_CELLS, CELLS, new_name, play, server

# A client of Pyro's own cannot send a batch with marshal, whatever the server is.
EVERYWHERE = [
    (*cell, serializer)
    for cell, serializer in itertools.product(ALL_CELLS, SERIALIZERS)
    if serializer != "marshal" or (cell[0] == OURS and cell[1] != OURS)
]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
OF_ONE_OF_OURS = [cell for cell in EVERYWHERE if cell[:2] in CELLS]
with_ours = pytest.mark.parametrize(("client", "host", "serializer"), OF_ONE_OF_OURS)


@everywhere
def test_a_batch(client, host, serializer):
    what = new_name()
    results, again, oneway, noted, noted_again, empty = play(
        client, "batch", server(host).uri(), serializer, what
    )
    assert results == [3, 6, [[1], [["x", 2]]]]
    assert again == [5]
    assert oneway is None
    assert noted
    assert noted_again
    assert empty == []


# The answer of Pyro cannot be sent with marshal if there is an exception in it.
with_exceptions = pytest.mark.parametrize(
    ("client", "host", "serializer"),
    [cell for cell in EVERYWHERE if cell[1] == OURS or cell[2] != "marshal"],
)


@with_exceptions
def test_an_exception_ends_a_batch(client, host, serializer):
    what = new_name()
    first, told, after = play(client, "failing_batch", server(host).uri(), serializer, what)
    assert first == 3
    assert (told["class"], told["args"]) == ("ValueError", ["boom", 5])
    assert told["traceback"].rstrip().endswith("ValueError: ('boom', 5)")
    assert "| ValueError: ('boom', 5)" in told["shown"]
    if client != PYRO5:  # which loses it
        assert told["custom"] == "attribute"
    assert after == 3


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_a_class_that_only_the_server_knows(host, serializer):
    first, told, after = play(
        OURS, "failing_batch", server(host).uri(), serializer, new_name(), "Unknown"
    )
    assert (first, after) == (3, 3)
    assert told["class"] == "Unknown"
    assert "RemoteError" in told["bases"]


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_a_method_that_wants_to_end_the_process(client, serializer):
    first, told, after = play(
        client, "failing_batch", server(OURS).uri(), serializer, new_name(), "SystemExit"
    )
    assert (first, told["class"], told["args"]) == (3, "PyroError", ["SystemExit: 3"])
    assert after == 3


@with_ours
def test_a_member_that_does_not_exist(client, host, serializer):
    told, after = play(client, "batch_with_missing_member", server(host).uri(), serializer)
    assert told["class"] == "AttributeError"
    assert "missing" in told["args"][0]
    assert after == 3


@with_ours
def test_results_before_a_missing_member_are_not_lost(client, host, serializer):
    results = play(client, "results_before_missing_member", server(host).uri(), serializer)
    if host == OURS:
        assert results[0] == 3
        assert results[1]["class"] == "AttributeError"
    else:  # Pyro fails as a whole
        assert results[0]["class"] == "AttributeError"


@with_ours
def test_an_iterator_in_a_batch(client, host, serializer):
    told, after = play(client, "iterator_in_batch", server(host).uri("streams"), serializer)
    assert told["class"] in {"SerializeError", "TypeError", "PyroError", "ValueError"}, told
    assert list(after) == [0]


@with_ours
def test_a_large_batch(client, host, serializer):
    assert play(client, "large_batch", server(host).uri(), serializer, 500) == sum(range(500))

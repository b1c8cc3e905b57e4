"""Blobs between pyroipc and the released packages, also handed on from one to the other."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.pyro_peers import CELLS, new_name, play, server

WITHOUT_JSON = [serializer for serializer in SERIALIZERS if serializer != "json"]
"""With json nobody but pyroipc reads a blob: Pyro's own returns the text ``params``."""


@pytest.mark.parametrize("serializer", WITHOUT_JSON)
@pytest.mark.parametrize(("client", "host"), CELLS)
def test_a_blob(client, host, serializer):
    uri = server(host).uri("blobs")
    info, data = play(client, "blob", uri, serializer, ("what", 3), [1, "two", {"three": 3}])
    assert list(info) == ["what", 3]
    assert data == [1, "two", {"three": 3}]


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_blob_with_json(client):
    uri = server(OURS).uri("blobs")
    assert play(client, "blob", uri, "json", "info", [1, 2]) == ["info", [1, 2]]


@pytest.mark.parametrize("data", [None, 42, "text", [], {"a": (1, 2)}, [[1], [2]]], ids=repr)
@pytest.mark.parametrize(("client", "host"), CELLS)
def test_data_of_blobs(client, host, data):
    uri = server(host).uri("blobs")
    assert play(client, "blob", uri, "serpent", "info", data) == ["info", data]


@pytest.mark.parametrize(("client", "host"), CELLS)
def test_other_uses_of_blobs(client, host):
    place = server(host)
    stream, noted, two, plain = play(
        client, "odd_blobs", place.uri("blobs"), "serpent", place.uri(), new_name()
    )
    assert stream == [1, 2]
    assert noted
    assert two == "SerializeError"
    assert plain == [1, 2]


@pytest.mark.parametrize("info", [object, range(3)], ids=repr)
@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_an_info_that_cannot_be_sent(host, info):
    told = play(OURS, "forwarded_blob", server(host).uri("blobs"), "serpent", "open", info, [1])
    assert told["class"] == "SerializeError"
    assert "the info of a blob" in told["args"][0]


CHAINS = [
    chain
    for chain in itertools.product([OURS, PYRO5, PYRO4], repeat=3)
    if OURS in chain
    and all(OURS in pair or pair[0] == pair[1] for pair in itertools.pairwise(chain))
]


@pytest.mark.parametrize("serializer", WITHOUT_JSON)
@pytest.mark.parametrize("member", ["forward", "forward_opened"])
@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_a_blob_that_is_handed_on(chain, member, serializer):
    """A dispatcher hands on what it has not opened, to a peer of its own kind or of another."""
    client, dispatcher, receiver = chain
    if serializer == "marshal" and OURS in (client, dispatcher) and chain.count(OURS) > 1:
        serializer = "msgpack"  # marshal is not for two ends of ours over TCP
    info = (server(receiver).uri("blobs"), serializer, "more")
    found = play(
        client, "forwarded_blob", server(dispatcher).uri("blobs"), serializer, member, info,
        [1, "two"],
    )  # fmt: skip
    expected = list(info) if member == "forward" else "anew"
    assert [found[0] if member != "forward" else list(found[0]), found[1]] == [
        expected,
        [1, "two"],
    ]


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WITHOUT_JSON, 2)))
@pytest.mark.parametrize(("client", "receiver"), [(PYRO5, PYRO4), (PYRO4, PYRO5)])
def test_a_blob_that_is_handed_on_with_another_serializer(client, receiver, first, second):
    """Ours encodes it anew then; a dispatcher that is Pyro cannot."""
    info = (server(receiver).uri("blobs"), second)
    found = play(
        client, "forwarded_blob", server(OURS).uri("blobs"), first, "forward", info, [1, "two"]
    )
    assert found[1] == [1, "two"]

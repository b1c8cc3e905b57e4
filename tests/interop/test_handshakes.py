"""Handshakes between pyroipc and the released packages: data, refusals, answers."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.pyro_peers import CELLS, play, server

EVERYWHERE = [(*cell, serializer) for cell, serializer in itertools.product(CELLS, SERIALIZERS)]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
cells = pytest.mark.parametrize(("client", "host"), CELLS)


@everywhere
def test_a_handshake(client, host, serializer):
    uri = server(host).uri(daemon="guarded")
    told, result, _ = play(client, "handshake", uri, serializer, {"user": "me"})
    assert told == [{"welcome": "me", "annotations": {}}]
    assert result == 3


@pytest.mark.parametrize("client", [PYRO5, PYRO4, OURS])
def test_annotations_of_a_handshake(client):
    """Daemons of Pyro do not show them."""
    uri = server(OURS).uri(daemon="guarded")
    told, result, _ = play(
        client, "handshake", uri, "serpent", {"user": "me"}, annotated={"ABCD": "of mine"}
    )
    assert told == [{"welcome": "me", "annotations": {"ABCD": "of mine"}}]
    assert result == 3


@everywhere
def test_a_client_that_is_refused(client, host, serializer):
    uri = server(host).uri(daemon="guarded")
    told, error, _ = play(client, "handshake", uri, serializer, {"user": "you"})
    assert told == []
    assert error["class"] == "CommunicationError"
    assert error["args"][0].endswith("rejected: who is {'user': 'you'}?")


@cells
def test_a_client_that_is_told_nothing(client, host):
    uri = server(host).uri(daemon="guarded")
    _, error, _ = play(client, "handshake", uri, "serpent", "silent")
    assert error["class"] in {"ConnectionClosedError", "ConnectError"}


@cells
def test_an_answer_that_cannot_be_sent(client, host):
    uri = server(host).uri(daemon="guarded")
    _, error, _ = play(client, "handshake", uri, "serpent", "unsendable")
    assert error["class"] == "CommunicationError"
    assert "rejected" in error["args"][0]
    assert "lock" in error["args"][0]


@cells
def test_an_object_that_does_not_exist(client, host):
    uri = server(host).uri("nobody", daemon="guarded")
    _, error, _ = play(client, "handshake", uri, "serpent", {"user": "me"})
    assert error["class"] in {"CommunicationError", "DaemonError"}
    assert "unknown object" in error["args"][0]


@cells
def test_a_client_that_does_not_like_the_answer(client, host):
    """Clients of Pyro stay connected then."""
    error, is_closed = play(client, "refused_answer", server(host).uri(), "serpent")
    assert error == "PermissionError"
    if client == OURS:
        assert is_closed


@cells
def test_the_server_notes_that_a_client_is_gone(client, host):
    place = server(host)
    play(client, "handshake", place.uri(daemon="guarded"), "serpent", {"user": "me"})
    assert play(client, "call", place.uri(), "serpent", "has_noted", "disconnected")


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_client_that_was_refused_tries_again(client):
    uri = server(OURS).uri(daemon="guarded")
    for _ in range(3):
        _, error, _ = play(client, "handshake", uri, "serpent", "nobody")
        assert error["class"] == "CommunicationError"
    assert play(client, "handshake", uri, "serpent", {"user": "me"})[1] == 3

"""Registered objects, proxies and URIs as arguments and results, between all three libraries."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5
from tests.support.pyro_peers import CELLS, play, server

# With marshal Pyro itself has no autoproxy.
SERIALIZERS = ("serpent", "json", "msgpack")
EVERYWHERE = [(*cell, serializer) for cell, serializer in itertools.product(CELLS, SERIALIZERS)]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
cells = pytest.mark.parametrize(("client", "host"), CELLS)


@everywhere
def test_registered_objects_that_are_returned(client, host, serializer):
    place = server(host)
    assert play(client, "autoproxies", place.uri("references"), serializer) == [
        True,
        place.uri("references"),
        f"hello from {host}",
        f"hello from {host}",
    ]


@everywhere
def test_registered_objects_that_are_passed(client, host, serializer):
    found = play(client, "callbacks", server(host).uri("references"), serializer)
    assert found["kind"] == "proxy"
    assert found["heard"] == found["inside"] == f"heard by {client}"
    assert found["attribute"] == 7
    assert (found["failed"]["class"], found["failed"]["args"]) == (
        "ValueError",
        ["in the callback", 3],
    )
    assert found["back"]
    assert found["seen"] == [[1, "two"], [3]]


@everywhere
def test_proxies_and_uris(client, host, serializer):
    found = play(client, "proxies_and_uris", server(host).uri("references"), serializer)
    assert found == {
        "kind of proxy": ["proxy", "PYRO:other@localhost:1234"],
        "kind of uri": ["uri", "PYRO:thing@localhost:1234"],
        "kind of meta": "uri",
        "proxy": [True, "PYRO:other@localhost:1234", {"user": "me"}],
        "uri": True,
        "meta": [True, ["one", "two"]],
        "of server": [True, "PYRO:thing@localhost:4444"],
    }


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("other", [PYRO5, PYRO4, OURS])
@pytest.mark.parametrize("caller", [PYRO5, PYRO4, OURS])
def test_a_proxy_that_is_passed_on_to_a_daemon_of_ours(caller, other, serializer):
    """Ours calls whatever daemon the proxy is for."""
    uri = server(other).uri("references")
    heard, kind = play(caller, "passed_on", server(OURS).uri("references"), serializer, uri)
    assert heard == f"hello from {other}"
    assert kind == ["proxy", uri]


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_an_object_that_has_no_address(host):
    told = play(OURS, "pass_without_address", server(host).uri("references"), "serpent")
    assert told["class"] == "SerializeError"
    assert "is registered in a daemon that has no address" in told["args"][0]


@cells
def test_an_object_behind_a_router(client, host):
    """It is published with the address that is valid outside."""
    place = server(host)
    uri = f"PYRO:references@localhost:{place.inner['nat']}"
    assert play(client, "uri_of_result", uri, "serpent") == "PYRO:references@outside.example:5555"


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_proxy_for_an_object_made_for_each_client(client):
    """The URI of its class stands for an instance of a registered class."""
    uri = server(OURS).uri("session")
    assert play(client, "instances", uri, "serpent") == [1, 2, 1, 2]


@cells
@pytest.mark.parametrize(
    ("mode", "counted"),
    [("single", None), ("session", [1, 2, 1, 2]), ("percall", [1, 1, 1, 1])],
)
def test_instance_modes(client, host, mode, counted):
    found = play(client, "instances", server(host).uri(mode), "serpent")
    if counted is None:
        counted = list(range(found[0], found[0] + 4))
    assert found == counted

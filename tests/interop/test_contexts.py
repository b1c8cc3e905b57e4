"""Annotations, correlation ids and tracked resources between pyroipc and the released packages."""

from __future__ import annotations

import itertools
import uuid

import pytest

from pyroipc import Proxy, current_context, expose
from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.daemons import serving
from tests.support.pyro_peers import CELLS, new_name, play, server

EVERYWHERE = [(*cell, serializer) for cell, serializer in itertools.product(CELLS, SERIALIZERS)]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
cells = pytest.mark.parametrize(("client", "host"), CELLS)
LARGEST = 65535 - 6 - 22
"""Of one annotation in the dialect of Pyro4, beside the correlation id."""


@everywhere
def test_annotations(client, host, serializer):
    sent = {"ABCD": "text", "NULL": "", "BYTE": "\x00\xff"}
    seen, received, left = play(
        client, "annotations", server(host).uri("contexts"), serializer, sent
    )
    assert seen == sent
    assert received == {"RESP": "answered", "MORE": ""}
    assert left == [], "they are those of an earlier answer"


@cells
def test_annotations_of_a_daemon(client, host):
    told, result, annotations = play(
        client, "handshake", server(host).uri(daemon="guarded"), "serpent", {"user": "me"}
    )
    assert told
    assert result == 3
    assert annotations == ["DMON"]


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO5), (OURS, PYRO4), (PYRO5, OURS)])
def test_annotations_of_a_welcome(client, host):
    """Clients of Pyro4 do not show them."""
    uri = server(host).uri(daemon="guarded")
    assert play(client, "annotations_of_welcome", uri, "serpent", {"user": "me"}) == ["DMON"]


@cells
def test_large_annotations(client, host):
    uri = server(host).uri("contexts")
    size = 200_000 if PYRO5 in (client, host) else LARGEST
    answer, kind = play(client, "send_annotation", uri, "serpent", "LONG", size)
    assert answer == size
    assert kind == "tuple"
    answer, received, kind = play(client, "receive_annotation", uri, "serpent", "LONG", size)
    assert (answer, received, kind) == (None, size, "tuple")


def test_annotations_that_are_too_large_for_pyro4():
    uri = server(PYRO4).uri("contexts")
    told, kind = play(OURS, "send_annotation", uri, "serpent", "LONG", 65536)
    assert told["class"] == "MessageTooLargeError"
    assert told["args"] == [
        "annotation 'LONG' of 65536 bytes is too large for the peer's protocol; pass large data "
        "as an argument, or as an iterator of parts"
    ]
    assert kind == "tuple", "the connection goes on"
    told, kind = play(OURS, "send_annotation", uri, "serpent", "LONG", 65530)
    assert told["class"] == "MessageTooLargeError"
    assert "65536 bytes" in told["args"][0]
    assert "all of them together have at most 65535" in told["args"][0]
    assert kind == "tuple"


def test_annotations_of_a_result_that_are_too_large_for_pyro4():
    """The client is told, and the connection goes on."""
    uri = server(OURS).uri("contexts")
    for size in (65536, 65530):
        told, received, kind = play(PYRO4, "receive_annotation", uri, "serpent", "LONG", size)
        assert told["class"] == "MessageTooLargeError"
        assert "annotation" in told["args"][0]
        assert (received, kind) == (0, "tuple")


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
@pytest.mark.parametrize("key", ["ABC", "ABCDE", "", "ÄBCD"])
def test_ids_of_annotations_that_cannot_be(host, key):
    told, kind = play(OURS, "send_annotation", server(host).uri("contexts"), "serpent", key, 1)
    assert told["class"] == "ProtocolError"
    assert repr(key) in told["args"][0]
    assert kind == "tuple"


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_an_id_of_an_annotation_of_a_result_that_cannot_be(client):
    told, received, kind = play(
        client, "receive_annotation", server(OURS).uri("contexts"), "serpent", "ABC", 1
    )
    assert told["class"] == "ProtocolError"
    assert "'ABC'" in told["args"][0]
    assert (received, kind) == (0, "tuple")


@pytest.mark.parametrize("key", ["CORR", "HMAC", "STRM", "BLBI"])
@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_ids_that_belong_to_the_protocol(host, key):
    """They are refused, also where the dialect of the peer makes no use of them."""
    told, kind = play(OURS, "send_annotation", server(host).uri("contexts"), "serpent", key, 16)
    assert told["class"] == "ProtocolError"
    assert told["args"] == [f"annotation id {key} is reserved for Pyro itself; use another one"]
    assert kind == "tuple"


@cells
def test_annotations_of_a_method_that_fails(client, host):
    """Those of Pyro come with the next answer, perhaps to somebody else."""
    found = play(client, "annotations_of_failure", server(host).uri("contexts"), "serpent")
    if host == OURS:
        assert found == ["ValueError", ["RESP"], []]
    else:
        assert found[0] == "ValueError"


# --- correlation ids -----------------------------------------------------------------------------


@everywhere
def test_a_correlation_id(client, host, serializer):
    sent, seen = play(client, "correlation", server(host).uri("contexts"), serializer)
    assert sent == seen


CHAINS = [
    chain
    for chain in itertools.product([OURS, PYRO5, PYRO4], repeat=3)
    if chain.count(OURS) in {1, 2}
    and all(OURS in pair or pair[0] == pair[1] for pair in itertools.pairwise(chain))
]


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_a_correlation_id_goes_on_to_nested_calls(chain):
    client, first, second = chain
    sent, there, further = play(
        client,
        "correlation",
        server(first).uri("contexts"),
        "serpent",
        server(second).uri("contexts"),
        "serpent",
    )
    assert sent == there == further


@pytest.mark.parametrize("host", [OURS, None], ids=["ours", "theirs"])
@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_call_without_a_correlation_id_is_given_one(client, host):
    place = server(host or client).uri("contexts")
    first, second, there, further = play(client, "no_correlation", place, "serpent", place)
    assert len({first, second, there}) == 3
    assert there == further, "calls of one origin have one"
    assert {uuid.UUID(text).version for text in (first, second, there)} == {4}


@pytest.mark.parametrize(
    ("dialect", "is_given"), [("pyro5", True), ("pyro4", True), ("native", False)]
)
def test_it_is_that_of_the_whole_call(dialect, is_given):
    class Asked:
        @expose
        def ids(self):
            return [str(current_context.correlation_id) for _ in range(2)]

    with (
        serving({"asked": Asked()}) as served,
        Proxy(served.uri("asked"), dialect=dialect) as proxy,
    ):
        once, again = proxy.ids()
    assert once == again
    assert (once != "None") == is_given


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_annotations_of_a_request_do_not_go_on_to_nested_calls(host):
    """In Pyro they do: there the field is the same for what came and for what is sent."""
    nested, direct = play(
        host, "nested_annotations", server(OURS).uri("contexts"), "serpent",
        server(host).uri("contexts"), "serpent",
    )  # fmt: skip
    assert nested == {}
    assert direct == {"ABCD": "ours"}


# --- resources -----------------------------------------------------------------------------------


@cells
def test_resources_are_closed_when_a_client_is_gone(client, host):
    assert play(client, "resources", server(host).uri("contexts"), "serpent", new_name())


@cells
def test_what_else_a_method_is_told(client, host):
    place = server(host)
    for daemon, kind in (("tcp", "tuple"), ("unix", "str")):
        uri = place.uri("contexts", daemon)
        assert play(client, "call", uri, "serpent", "address_kind") == kind
    seq, serializer_id = play(client, "call", place.uri("contexts"), "json", "identify")
    assert seq > 0
    assert serializer_id in {2, 3}

"""Calls, attributes, exceptions and oneway calls between pyroipc and the released packages."""

from __future__ import annotations

import itertools

import pytest

from tests.interop.peers.library import OURS, PYRO4, PYRO5, SERIALIZERS
from tests.support.pyro_peers import ALL_CELLS, CELLS, new_name, play, server

MARSHAL_IS_LOCAL = (OURS, OURS, "marshal")
EVERYWHERE = [
    (*cell, serializer)
    for cell, serializer in itertools.product(ALL_CELLS, SERIALIZERS)
    if (*cell, serializer) != MARSHAL_IS_LOCAL
]
everywhere = pytest.mark.parametrize(("client", "host", "serializer"), EVERYWHERE)
cells = pytest.mark.parametrize(("client", "host"), CELLS)


def lacks_attributes(client, serializer):
    """Say whether a client of Pyro's own cannot send what has no keyword arguments."""
    return serializer == "marshal" and client != OURS


@everywhere
def test_calls(client, host, serializer):
    assert play(client, "calls", server(host).uri(), serializer) == [
        42,
        {"a": [1, 2.5, None, True], "b": "ü"},
        None,
        3,
        6,
        7,
        [[1, 2], [["x", 3], ["y", 4]]],
        [[], []],
    ]


@everywhere
def test_attributes(client, host, serializer):
    if lacks_attributes(client, serializer):
        return  # AttributeError in the client, whatever the server is
    found = play(client, "attributes", server(host).uri(), serializer)
    assert (found["before"], found["after"], found["constant"]) == (1, [1, "two"], 42)
    broken = found["broken"]
    assert (broken["class"], broken["args"]) == ("ValueError", ["broken property"])
    for refused in ("write constant", "hidden", "raw hidden", "raw private", "raw missing"):
        assert found[refused]["class"] == "AttributeError", refused
    assert found["still there"] == 3


@everywhere
def test_members(client, host, serializer):
    methods, attributes, oneway = play(client, "members", server(host).uri(), serializer)
    assert {"echo", "fail", "note"} < set(methods)
    assert not {"hidden", "_private", "value"} & set(methods)
    assert attributes == ["broken", "constant", "value"]
    assert oneway == ["fail_unheard", "note"]


@everywhere
def test_oneway_calls(client, host, serializer):
    what = new_name()
    answers = play(client, "oneways", server(host).uri(), serializer, what)
    assert answers == [None, None, True, True]


@cells
def test_a_client_may_decide_not_to_wait(client, host):
    assert play(client, "forced_oneway", server(host).uri(), "serpent", 1) == [None, 3]


# --- exceptions ----------------------------------------------------------------------------------

RAISED = {
    "ValueError": ["boom", 5],
    "KeyError": ["key"],
    "ZeroDivisionError": ["division"],
    "FileNotFoundError": [2, "No such file"],
    "StopIteration": [3],
    "NamingError": ["no such name"],
    "PyroError": ["of Pyro"],
}


@everywhere
def test_an_exception(client, host, serializer):
    told, after = play(client, "exception", server(host).uri(), serializer, "ValueError")
    assert (told["class"], told["args"]) == ("ValueError", ["boom", 5])
    assert told["custom"] == "attribute"
    assert "raise error\n" in told["traceback"]
    assert told["traceback"].rstrip().endswith("ValueError: ('boom', 5)")
    assert "| ValueError: ('boom', 5)" in told["shown"]
    assert "emote traceback" in told["shown"]
    assert after == 3


@cells
@pytest.mark.parametrize("kind", RAISED)
def test_exceptions_that_all_know(client, host, kind):
    told, after = play(client, "exception", server(host).uri(), "serpent", kind)
    assert (told["class"], told["args"], told["custom"]) == (kind, RAISED[kind], "attribute")
    assert after == 3


@cells
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_class_that_only_the_server_knows(client, host, serializer):
    told, after = play(client, "exception", server(host).uri(), serializer, "Unknown")
    if client == OURS:  # its name, text and traceback arrive all the same
        assert (told["class"], told["args"]) == ("Unknown", ["only here", 7])
        assert "RemoteError" in told["bases"]
        assert told["traceback"].rstrip().endswith("Unknown: ('only here', 7)")
    else:
        assert told["class"] == "SerializeError"
        assert "Unknown" in told["args"][0]
    assert after == 3


@cells
def test_a_method_that_raises_an_error_of_communication(client, host):
    told, after = play(client, "exception", server(host).uri(), "serpent", "CommunicationError")
    if host == OURS:
        assert (told["class"], told["args"]) == ("CommunicationError", ["a line broke"])
    else:  # Pyro closes the connection, and says nothing
        assert told["class"] == "ConnectionClosedError"
    assert after == 3


@cells
def test_a_method_that_raises_an_error_of_security(client, host):
    told, after = play(client, "exception", server(host).uri(), "serpent", "SecurityError")
    assert (told["class"], told["args"]) == ("SecurityError", ["not for you"])
    assert after == 3, "the connection is of no use any more"


@cells
def test_a_method_that_wants_to_end_the_process(client, host):
    told, after = play(client, "exception", server(host).uri(), "serpent", "SystemExit")
    if host == OURS:  # a client of Pyro would end, were it told as it is
        assert (told["class"], told["args"]) == ("PyroError", ["SystemExit: 3"])
    else:
        assert told["class"] == "ConnectionClosedError"
    assert after == 3


@cells
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_result_that_cannot_be_sent(client, host, serializer):
    told = play(client, "call", server(host).uri(), serializer, "unsendable")
    assert "lock" in str(told["args"]), told
    assert play(client, "call", server(host).uri(), serializer, "add", 1) == 3


@cells
def test_a_method_marked_as_callback_raises(client, host):
    """Pyro closes the connection; here it goes on."""
    told = play(client, "call", server(host).uri(), "serpent", "fail_loudly")
    assert (told["class"], told["args"]) == ("ValueError", ["loud"])


@cells
def test_the_cause_of_an_exception_is_part_of_the_traceback(client, host):
    told = play(client, "call", server(host).uri(), "serpent", "fail_deeply")
    assert "KeyError: 'inner'" in told["traceback"]
    assert "direct cause" in told["traceback"]


@cells
def test_an_object_that_does_not_exist(client, host):
    told = play(client, "call", server(host).uri("nobody"), "serpent", "anything")
    assert told["class"] == "CommunicationError" if client != OURS else "DaemonError"
    assert "unknown object" in told["args"][0]


# --- values --------------------------------------------------------------------------------------


@everywhere
def test_classes_that_travel_as_dicts(client, host, serializer):
    play_as = play(client, "classes", server(host).uri(), serializer)
    assert play_as == ["Point", -1, 2, True]


@cells
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_bytes(client, host, serializer):
    if serializer == "json":
        told = play(client, "call", server(host).uri(), serializer, "echo", b"\x00\xff")
        assert told["class"] == "SerializeError"
    else:
        sent = b"\x00\xff bytes"
        assert play(client, "shown_bytes", server(host).uri(), serializer, sent) == (
            "\x00\xff bytes"
        )


@pytest.mark.parametrize("family", [PYRO5, PYRO4])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_values_arrive_as_they_do_between_two_of_pyro(family, serializer):
    """A peer of Pyro's cannot tell ours from its own by what arrives."""
    values = [(1, 2), [(1,), {"k": (2,)}], {1, 2}, 2**70, float("inf"), "\x00ü€😀", {"a": {}}]
    if serializer in {"serpent", "marshal"}:
        values += [{1: 2, (3, 4): 5}, 1 + 2j, set(), frozenset({1})]
    usual = play(family, "echoes", server(family).uri(), serializer, values)
    assert play(OURS, "echoes", server(family).uri(), serializer, values) == usual
    assert play(family, "echoes", server(OURS).uri(), serializer, values) == usual

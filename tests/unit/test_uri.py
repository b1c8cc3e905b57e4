"""URIs: the grammar of Pyro without its traps, connected sockets, and what travels."""

from __future__ import annotations

import copy
import pickle

import pytest

from pyroipc.errors import PyroError, SerializeError
from pyroipc.serializers import table
from pyroipc.serializers.classes import dict_to_class
from pyroipc.uri import URI

DATA = [name for name in table.names() if table.trust_of(name) == "data"]

GOOD = {
    # text: protocol, object, host, port, sockname, location
    "PYRO:o@h:1": ("PYRO", "o", "h", 1, None, "h:1"),
    "PYRO:a:b,c@h:1": ("PYRO", "a:b,c", "h", 1, None, "h:1"),
    "PYRO:o@[::1]:1": ("PYRO", "o", "::1", 1, None, "[::1]:1"),
    "PYRO:o@[fe80::1%eth0]:1": ("PYRO", "o", "fe80::1%eth0", 1, None, "[fe80::1%eth0]:1"),
    "PYRO:o@./u:/tmp/a b@c": ("PYRO", "o", None, None, "/tmp/a b@c", "./u:/tmp/a b@c"),
    "PYRO:o@./u:\0x": ("PYRO", "o", None, None, "\0x", "./u:\0x"),
    "PYRO:o@<connected-socket>": ("PYRO", "o", None, None, None, "<connected-socket>"),
    "PYRONAME:n": ("PYRONAME", "n", None, None, None, None),
    "PYRONAME:n@h:1": ("PYRONAME", "n", "h", 1, None, "h:1"),
    "PYRONAME:n@./u:x": ("PYRONAME", "n", None, None, "x", "./u:x"),
    "PYROMETA:a,b": ("PYROMETA", {"a", "b"}, None, None, None, None),
    "PYROMETA:a@h:1": ("PYROMETA", {"a"}, "h", 1, None, "h:1"),
}

BAD = {
    "": "invalid uri: .*PYRO:object@host:port",
    "PYRO": "invalid uri",
    "PYRO:": "invalid uri",
    " PYRO:o@h:1": "invalid uri",
    "http:o@h:1": "invalid uri",
    "PYROLOC:o@h:1": r"invalid uri \(protocol\): 'PYROLOC' is not one of PYRO, PYRONAME, PYROMETA",
    "PYROnam\u0117:o": "invalid uri",
    "PYRO:o": "invalid uri: the location is missing.*PYRO:o@localhost:9090",
    "PYRO:o@": "location is missing",
    "PYRO:@h:1": "the object is missing",
    "PYRONAME:@h:1": "the object is missing",
    "PYRONAME:n@": "location is missing",
    "PYRO:o o@h:1": "blanks in the object",
    "PYRO:o\n@h:1": "blanks in the object",
    "PYRO:o@h": "invalid port in uri, port=None",
    "PYRO:o@h:": "invalid port in uri, port=",
    "PYRO:o@[::1]": "invalid port in uri, port=None",
    "PYRO:o@h:abc": "invalid port in uri, port=abc",
    "PYRO:o@h:1:2": "invalid port in uri, port=1:2",
    "PYRO:o@::1:3": "invalid port in uri, port=:1:3",
    "PYRO:o@:5": "host is missing",
    "PYRO:o@h:-1": "port=-1",
    "PYRO:o@h:99999": "port=99999",
    "PYRO:o@h:0": "port=0",
    "PYRO:o@h:+5": r"port=\+5",
    "PYRO:o@h:1_0": "port=1_0",
    "PYRO:o@h: 5": "port= 5",
    "PYRO:o@h:5 ": "port=5 ",
    "PYRO:o@h:5\n": "port=5",
    "PYRO:a@b@h:1": r"invalid uri \(location\): .*no '@'",
    "PYRO:o@[[::1]]:3": "invalid ipv6 address: enclosed in too many brackets",
    "PYRO:o@[host]:3": "the part between brackets must be a numeric ipv6 address",
    "PYRO:o@[::1]:3x": "port=3x",
    "PYRO:o@./u:": r"invalid uri \(location\)",
    "PYRO:o@./u:a:b": r"invalid uri \(location\)",
    "PYRO:o@<connected-socket>:1": "location",
    "PYRONAME:n@h:": "port",
    "PYRONAME:n@<connected-socket>": "only a PYRO uri",
    "PYROMETA:a@<connected-socket>": "only a PYRO uri",
    "PYROMETA:a, b": "blanks",
    "PYROMETA:a,,b": "empty tag",
    "PYROMETA:,": "empty tag",
}  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_parts(text):
    uri = URI(text)
    protocol, name, host, port, sockname, location = GOOD[text]
    assert (uri.protocol, uri.object) == (protocol, name)
    assert (uri.host, uri.port, uri.sockname, uri.location) == (host, port, sockname, location)
    assert uri.is_connected_socket == (location == "<connected-socket>")
    assert str(uri) == text
    assert repr(uri) == f"<pyroipc.URI {text!r}>"


@pytest.mark.parametrize("text", GOOD)
def test_the_same_again(text):
    uri = URI(text)
    again = [
        URI(str(uri)), URI(uri), copy.copy(uri), copy.deepcopy(uri),
        pickle.loads(pickle.dumps(uri)),
    ]  # fmt: skip
    for other in again:
        assert other == uri
        assert hash(other) == hash(uri)
        assert str(other) == text


@pytest.mark.parametrize("text", BAD)
def test_refused(text):
    with pytest.raises(PyroError, match=f"(?s){BAD[text]}"):
        URI(text)


@pytest.mark.parametrize("value", [None, 5, b"PYRO:o@h:1", ["PYRO:o@h:1"]])
def test_only_text(value):
    with pytest.raises(TypeError, match="wrong type"):
        URI(value)
    with pytest.raises(TypeError):
        URI.for_connected_socket(value)


@pytest.mark.parametrize("protocol", ["pyro", "Pyro", "pYRO"])
def test_the_case_of_the_protocol(protocol):
    assert str(URI(f"{protocol}:O@H:1")) == "PYRO:O@H:1"
    assert URI("pyroname:n") == URI("PYRONAME:n")


@pytest.mark.parametrize("text", ["PYRONAME:n@h", "PYROMETA:a@h", "PYRONAME:n@[::1]"])
def test_the_port_of_a_name_server(text):
    assert URI(text).port == 9090
    assert URI(text, ns_port=1234).port == 1234
    assert URI(f"{text}:5", ns_port=1234).port == 5
    assert URI(str(URI(text, ns_port=1234))).port == 1234


def test_the_order_of_tags_does_not_count():
    assert URI("PYROMETA:b,a,b") == URI("PYROMETA:a,b")
    assert hash(URI("PYROMETA:b,a")) == hash(URI("PYROMETA:a,b"))
    assert isinstance(URI("PYROMETA:a").object, frozenset)


def test_inequality():
    assert URI("PYRO:o@h:1") != URI("PYRO:o@H:1")
    assert URI("PYRO:o@h:1") != URI("PYRONAME:o@h:1")
    assert URI("PYRO:o@h:1") != "PYRO:o@h:1"
    assert len({URI("PYRO:o@h:1"), URI("PYRO:o@h:1"), URI("PYROMETA:o")}) == 2


def test_it_cannot_be_changed():
    uri = URI("PYRO:o@h:1")
    for name in ("protocol", "object", "host", "port", "sockname", "location", "other"):
        with pytest.raises(AttributeError):
            setattr(uri, name, "x")
    assert str(uri) == "PYRO:o@h:1"


@pytest.mark.parametrize(
    "object_id",
    ["o", "", "two words", "a@b", "a@h:1", "@", "x@<connected-socket>", "line\nline", "\0", "ä:,"],
)
def test_any_id_behind_a_connected_socket(object_id):
    uri = URI.for_connected_socket(object_id)
    assert uri.is_connected_socket
    assert (uri.host, uri.port, uri.sockname) == (None, None, None)
    assert uri.object == URI(str(uri)).object == object_id
    assert pickle.loads(pickle.dumps(uri)) == uri


def test_unix_locations():
    assert URI.isUnixsockLocation("./u:x")
    assert not URI.isUnixsockLocation("u:1")
    assert not URI.isUnixsockLocation("localhost:1")


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("text", ["PYRO:o@h:1", "PYROMETA:a,b@h:1"])
def test_formats_of_plain_data_carry_it(name, text):
    serializer = table.get(name)
    if name == "marshal":  # it knows no classes inside of containers
        assert serializer.loads(serializer.dumps(URI(text))) == URI(text)
    else:
        assert serializer.loads(serializer.dumps([URI(text)])) == [URI(text)]


@pytest.mark.parametrize("state", [None, 5, ["PYRO", "o", None, "h", 1], "PYRO:o", "http://x"])
def test_a_wrong_state_is_refused(state):
    with pytest.raises(SerializeError, match=r"pyroipc\.URI"):
        dict_to_class({"__class__": "pyroipc.URI", "state": state})
    with pytest.raises(SerializeError):
        dict_to_class({"__class__": "pyroipc.URI"})

"""Locations: text to parts and back, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest

from pyroipc.errors import PyroError
from pyroipc.location import Location

GOOD = {
    "localhost:9090": ("localhost", 9090, None),
    "Host-1.example_x.org.:1": ("Host-1.example_x.org.", 1, None),
    "127.0.0.1:65535": ("127.0.0.1", 65535, None),
    "müller.example:80": ("müller.example", 80, None),
    "[::1]:9090": ("::1", 9090, None),
    "[::]:9090": ("::", 9090, None),
    "[::ffff:1.2.3.4]:9090": ("::ffff:1.2.3.4", 9090, None),
    "[fe80::1%eth0]:9090": ("fe80::1%eth0", 9090, None),
    "[fe80::1%3]:9090": ("fe80::1%3", 9090, None),
    "[fe80::1%eth0.100]:9090": ("fe80::1%eth0.100", 9090, None),
    "./u:/tmp/a": (None, None, "/tmp/a"),
    "./u:relative/ä b@c": (None, None, "relative/ä b@c"),
    "./u:\0abstract": (None, None, "\0abstract"),
}

BAD = {
    "": "host is missing",
    ":5": "host is missing",
    "h": "port=None.*from 1 to 65535.*localhost:9090",
    "h:": "port=.*digits only",
    "h:abc": "port=abc",
    "h:-1": "port=-1",
    "h:+5": r"port=\+5",
    "h:1_0": "port=1_0",
    "h:0": "port=0:.*from 1 to",
    "h:65536": "port=65536",
    "h:080": "port=080",
    "h:" + "1" * 5000: "port=1111",
    "h:\uff15": "port=\uff15",
    "h:5 ": "port=5 ",
    "h: 5": "port= 5",
    "h:5\n": "port=5\n",
    "h:1:2": "port=1:2.*more than one colon",
    "::1:3": r"more than one colon.*\[::1\]:9090",
    " h:5": "blanks",
    "h\t:5": "blanks",
    "h\0:5": "blanks",
    "b@h:1": "no '@'",
    "a/b:1": "no '/'",
    "a%b:1": "no '%'",
    "<connected-socket>:1": "no '<'",
    "[[::1]]:3": "too many brackets",
    "[host]:3": r"numeric ipv6 address, as in .*\[fe80::1%eth0\]:9090, not 'host'",
    "[1.2.3.4]:3": "numeric ipv6 address",
    "[]:3": "numeric ipv6 address",
    "[::1%]:3": "numeric ipv6 address",
    "[::1%a b]:3": "numeric ipv6 address",
    "[::1%a%b]:3": "numeric ipv6 address",
    "[::1/64]:3": "numeric ipv6 address",
    "[:::]:3": "numeric ipv6 address",
    "[::1:3": "not closed",
    "[::1]": "port=None",
    "[::1]:": "port=",
    "[::1]:3x": "port=3x",
    "[::1]x:3": "after the bracket comes the port",
    "[::1]]:3": "after the bracket comes the port",
    "./u:": r"path .* missing.*\./u:/tmp",
    "./u:\0": "missing",
    "./u:a:b": "colon",
    "./u:a\0b": "control characters",
    "./u:a\n": "control characters",
    "./u:a ": "blanks at its ends",
    "./u": "no '/'",
}  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_round_trip(text):
    location = Location.parse(text)
    host, port, sockname = GOOD[text]
    assert (location.host, location.port, location.sockname) == (host, port, sockname)
    assert location.is_unix == (sockname is not None)
    assert str(location) == text
    assert location == Location(host, port, sockname) == Location.parse(str(location))
    assert hash(location) == hash(Location(host, port, sockname))
    assert repr(text) in repr(location)
    assert pickle.loads(pickle.dumps(location)) == location
    assert copy.copy(location) == copy.deepcopy(location) == location


@pytest.mark.parametrize("text", BAD)
def test_refused(text):
    with pytest.raises(PyroError, match=f"(?s){BAD[text]}") as caught:
        Location.parse(text)
    message = str(caught.value)
    assert message.startswith("invalid ")
    assert len(message) < 1000
    assert any(example in message for example in ("localhost:9090", "[::1]:9090", "./u:/tmp"))


def test_a_default_port():
    assert Location.parse("h", default_port=9090) == Location("h", 9090)
    assert Location.parse("[::1]", default_port=9090) == Location("::1", 9090)
    assert Location.parse("h:1", default_port=9090) == Location("h", 1)
    assert Location.parse("./u:x", default_port=9090) == Location(sockname="x")
    with pytest.raises(PyroError, match="port"):
        Location.parse("h:", default_port=9090)


def test_port_zero_where_it_is_asked_for():
    location = Location.parse("h:0", zero_port=True)
    assert location == Location("h", 0, zero_port=True)
    assert location.port == 0
    assert copy.copy(location) == pickle.loads(pickle.dumps(location)) == location
    with pytest.raises(PyroError, match="from 0 to 65535"):
        Location.parse("h:-0", zero_port=True)
    with pytest.raises(PyroError, match="from 0 to 65535"):
        Location("h", -1, zero_port=True)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "neither"),
        ({"port": 5}, "neither a host"),
        ({"host": "h"}, "port is missing"),
        ({"host": "h", "port": 0}, "from 1"),
        ({"host": "[::1]", "port": 5}, "no IPv6 address"),
        ({"host": "h:1", "port": 5}, "no IPv6 address"),
        ({"host": "", "port": 5}, "host is missing"),
        ({"host": "h", "port": 5, "sockname": "x"}, "neither a host nor a port"),
        ({"sockname": ""}, "missing"),
    ],
)
def test_parts_that_make_no_location(parts, message):
    with pytest.raises(PyroError, match=message):
        Location(**parts)


@pytest.mark.parametrize(
    "parts", [{"host": b"h", "port": 5}, {"host": "h", "port": "5"}, {"host": "h", "port": True},
              {"sockname": b"x"}],
)  # fmt: skip
def test_parts_of_other_types(parts):
    with pytest.raises(TypeError):
        Location(**parts)


@pytest.mark.parametrize("text", [None, b"h:5", 5, Location("h", 5)])
def test_only_text_is_parsed(text):
    with pytest.raises(TypeError):
        Location.parse(text)


def test_it_cannot_be_changed():
    location = Location("h", 5)
    for name in ("host", "port", "sockname", "is_unix", "other"):
        with pytest.raises(AttributeError):
            setattr(location, name, "x")
    assert location == Location("h", 5)


def test_inequality():
    assert Location("h", 5) != Location("h", 6)
    assert Location("h", 5) != Location("H", 5)
    assert Location("h", 5) != "h:5"
    assert len({Location("h", 5), Location("h", 5), Location(sockname="h")}) == 2

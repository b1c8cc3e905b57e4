"""Values into JSON, and payloads into plain values."""

from __future__ import annotations

import array
import dataclasses
import datetime
import enum
import fractions
import ipaddress
import json
import pathlib
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal

import numpy
import pytest

import pyroipc
from pyroipc.gateway.plain import Reader, described_failure, json_bytes
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage


class Color(enum.Enum):
    RED = 1


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Plain:
    def __init__(self):
        self.a = 1


Pair = namedtuple("Pair", "left right")
HERE = f"{__name__}."
UTC = datetime.UTC
ID = uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")

VALUES = [
    (None, None),
    (True, True),
    (2**70, 2**70),
    (1.5, 1.5),
    ("ä\n€", "ä\n€"),
    ([1, [2]], [1, [2]]),
    ({"a": 1, "@": 2}, {"a": 1, "@": 2}),
    ((1, (2,)), [1, [2]]),
    ({1}, [1]),
    (frozenset({"x"}), ["x"]),
    ({(1, 2)}, [[1, 2]]),
    (deque([1, 2]), [1, 2]),
    ({1: "a", None: "b", 2.5: "c"}, {"1": "a", "null": "b", "2.5": "c"}),
    (OrderedDict(a=1), {"a": 1}),
    (Counter("aa"), {"a": 2}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (array.array("i", [1, 2]), [1, 2]),
    (float("nan"), None),
    ([float("inf"), {"a": -float("inf")}], [None, {"a": None}]),
    ({"a": (float("nan"), b"x")}, {"a": [None, {"data": "eA==", "encoding": "base64"}]}),
    (b"ab\xff", {"data": "YWL/", "encoding": "base64"}),
    (bytearray(b"a"), {"data": "YQ==", "encoding": "base64"}),
    (1 + 2j, {"__class__": "complex", "real": 1.0, "imag": 2.0}),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.time(1, 2), "01:02:00"),
    (datetime.timedelta(hours=1, milliseconds=1), 3600.001),
    (UTC, "UTC"),
    (zoneinfo.ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
    (Decimal("1.10"), "1.10"),
    (fractions.Fraction(1, 3), "1/3"),
    (ID, str(ID)),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (ipaddress.ip_address("::1"), "::1"),
    (Color.RED, "RED"),
    (Bits.TWO, "TWO"),
    (Point(1, Point(2)),
     {"__class__": HERE + "Point", "x": 1, "y": {"__class__": HERE + "Point", "x": 2, "y": None}}),
    (Plain(), {"__class__": HERE + "Plain", "a": 1}),
    (Pair(1, {2}), [1, [2]]),
    (pyroipc.URI("PYRO:a@b:1"), {"__class__": "pyroipc.URI", "state": "PYRO:a@b:1"}),
    (ValueError("no", {1}),
     {"__class__": "builtins.ValueError", "__exception__": True, "args": ["no", [1]],
      "attributes": {}}),
    ({"__class__": "float", "value": "nan"}, {"__class__": "float", "value": "nan"}),
    ("\ud800 alone", "\ud800 alone"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Give the classes of this module a name that does not depend on how pytest imports it."""
    for cls in (Color, Bits, Point, Plain, Pair):
        monkeypatch.setattr(cls, "__module__", __name__)


@pytest.mark.parametrize(("value", "shown"), VALUES, ids=lambda value: repr(value)[:40])
def test_over_the_wire_into_json(value, shown):
    """As a gateway has it: the typed form of json, read without the classes."""
    typed = table.get("json").for_connection(PeerImage())
    reader = Reader(is_typed=True, refer=lambda data: data)
    plain = reader.loads(memoryview(typed.dumps(value)))
    assert json.loads(json_bytes(plain)) == shown


@pytest.mark.parametrize(("value", "shown"), VALUES, ids=lambda value: repr(value)[:40])
def test_plain_form_is_read_as_it_is(value, shown):
    """As a peer of another dialect sends it."""
    data = json_bytes(shown)
    assert Reader(is_typed=False, refer=lambda data: data).loads(data) == shown


def test_references():
    def refer(data):
        return {"refers": data}

    reader = Reader(is_typed=True, refer=refer)
    data = b'[{"@": "reference", "v": ["ref", "id", 1]}]'
    assert reader.loads(data) == [{"refers": ["ref", "id", 1]}]
    assert Reader(is_typed=False, refer=refer).loads(data)[0]["@"] == "reference"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"\xff", b'{"@": "tuple"}', b'{"@": "nonsense", "v": 1}', b'{"@": [], "v": 1}',
        b'{"@": "dataclass", "v": [1]}', b'{"@": "enum", "v": []}', b'{"@": "namedtuple", "v": 1}',
        b'{"@": "tuple", "v": 1}', b'{"@": "dict", "v": [{}, 1]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read(data):
    with pytest.raises(pyroipc.SerializeError, match=r"json|invalid data"):
        Reader(is_typed=True, refer=lambda data: data).loads(data)


def test_a_payload_cannot_take_more_memory_than_its_size_allows():
    one = b'{"@":"deque","v":[[],null]},'
    data = b"[" + one * 60_000 + b"0]"
    with pytest.raises(pyroipc.SerializeError, match="too much memory"):
        Reader(is_typed=True, refer=lambda data: data).loads(data)


@pytest.mark.parametrize(
    "value",
    [range(3), ..., object, len, 1 << 20_000, {(1, 2): 3}, [object()], lambda: 1],
    ids=["range", "ellipsis", "class", "function", "large int", "key", "object", "lambda"],
)
def test_what_cannot_be_shown(value):
    with pytest.raises(pyroipc.SerializeError):
        json_bytes(value)


def test_circles_and_depth():
    circle = []
    circle.append(circle)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep, [float("nan"), circle]):
        with pytest.raises(pyroipc.SerializeError):
            json_bytes(value)


def test_local_values_too():
    assert json.loads(json_bytes(numpy.arange(3))) == [0, 1, 2]
    assert json.loads(json_bytes(numpy.float32(0.5))) == 0.5


def test_json_has_no_line_ends():
    assert b"\n" not in json_bytes({"a\nb": ["c\n\u2028", {"d": 1}]})


# ----------------------------------------------------------------------------------- exceptions


def test_failure():
    error = ValueError("no", object())
    error.detail = {1: {2}}
    error._pyroTraceback = ["Traceback\n", "secret\n"]
    told = described_failure(error)
    assert told["__class__"] == "builtins.ValueError"
    assert told["__exception__"] is True
    assert told["args"][0] == "no"
    assert told["args"][1].startswith("<object object at")  # what cannot be shown, as its repr
    assert json.loads(json_bytes(told))["attributes"] == {"detail": {"1": [2]}}
    assert "secret" not in repr(told)
    told = described_failure(error, traceback=True)
    assert told["attributes"]["_pyroTraceback"] == ["Traceback\n", "secret\n"]


def test_how_far_a_call_has_come():
    error = pyroipc.ConnectError("refused")
    assert described_failure(error)["attributes"] == {"call_status": "not sent"}
    error = pyroipc.ConnectionClosedError("gone")
    assert described_failure(error)["attributes"] == {"call_status": "unknown"}
    error._pyroTraceback = []  # raised by a method: not about this call
    assert described_failure(error)["attributes"] == {}


def test_errors_of_pyro_have_the_names_that_all_know():
    assert described_failure(pyroipc.NamingError("x"))["__class__"] == "NamingError"
    assert set(described_failure(OSError(2, "no", "/secret"))) == {
        "__class__", "__exception__", "args", "attributes",
    }  # fmt: skip

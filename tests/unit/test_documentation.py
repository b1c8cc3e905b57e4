"""Tables and bytes in the documentation are those of the code."""

from __future__ import annotations

import enum
import re
import sys
import types
from array import array
from collections import OrderedDict
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest

import pyroipc
from pyroipc.context import current_context
from pyroipc.errors import SerializeError
from pyroipc.protocol import state
from pyroipc.protocol.hello import Hello
from pyroipc.serializers import marshal_reader, table
from pyroipc.serializers.base import PeerImage
from pyroipc.wire import message as wire_message
from pyroipc.wire import pyro4, pyro5, pyro_layout
from pyroipc.wire.dialect import SIGNATURES, VERSIONS
from pyroipc.wire.message import Limits
from pyroipc.wire.native import SIGNATURE, Decoder, encode
from pyroipc.wire.refusals import connect_failure
from tests.support.pages import DOCS, blocks, code_of, hex_bytes, matches, table_after

WIRE = "reference/wire-protocol.md"

# ----------------------------------------------------------------------------- wire-protocol.md


def test_kinds():
    documented = {int(row[0]): row[1] for row in table_after(WIRE, "kinds")}
    assert documented == dict(wire_message.KINDS)


def test_flags():
    documented = {code_of(row[0]): row[1] for row in table_after(WIRE, "flags")}
    for value, name in documented.items():
        assert getattr(wire_message, name) == int(value, 16)
    assert sum(int(value, 16) for value in documented) == wire_message.KNOWN_FLAGS


def test_states():
    documented = {}
    for before, event, after in table_after(WIRE, "states"):
        documented.setdefault(before, {})[event] = after
    final = {state.ENDED, state.FAILED}
    code = {key: dict(value) for key, value in state.TRANSITIONS.items() if key not in final}
    assert documented == code


def test_hello_keys():
    documented = [code_of(row[0]) for row in table_after(WIRE, "hello keys")]
    sent = Hello().encode().decode().splitlines()
    assert sorted(documented) == sorted(line.partition("=")[0] for line in sent)


def decoded(data: bytes) -> wire_message.Message:
    decoder = Decoder(Limits())
    decoder.get_buffer()[: len(data)] = data
    decoder.received = len(data)
    found = decoder.advance()
    assert found is not None
    assert not decoder.in_message
    return found


OF_PYRO = [name for name in sorted(blocks(WIRE, "hex")) if name.startswith("pyro")]


@pytest.mark.parametrize("name", sorted(blocks(WIRE, "hex").keys() - OF_PYRO))
def test_bytes_are_those_of_the_code(name):
    data = hex_bytes(WIRE, name)
    found = decoded(data)
    found.payload = bytes(found.payload)
    assert b"".join(encode(found)) == data


def test_request():
    found = decoded(hex_bytes(WIRE, "request"))
    json = table.get("json")
    assert (found.kind, found.serializer_id, found.request_id) == (2, json.id, 2)
    assert bytes(found.payload) == json.dumps_call("calc", "echo", (42,), None)
    assert bytes(decoded(hex_bytes(WIRE, "response")).payload) == json.dumps(42)


def test_full_request():
    found = decoded(hex_bytes(WIRE, "full"))
    assert found.flags == wire_message.ONEWAY | wire_message.DEADLINE | wire_message.CORRELATION
    assert found.correlation_id == bytes(range(16))
    assert found.time_limit == 1.5
    assert {key: bytes(value) for key, value in found.annotations.items()} == {"TRAC": b"abc"}
    call = table.get("json").dumps_call("calc", "clear", (), None)
    assert bytes(found.payload) == call


# ------------------------------------------------------- wire-protocol.md: the dialects of Pyro


def test_dialects():
    documented = {
        name: bytes.fromhex(code_of(head)) for head, name, _ in table_after(WIRE, "dialects")
    }
    assert documented == {"native": SIGNATURE, **SIGNATURES}
    versions = {name: int(version) for _, name, version in table_after(WIRE, "dialects")}
    assert versions == {"native": 1, **VERSIONS}


def test_pyro_types():
    documented = {row[1]: int(row[0]) for row in table_after(WIRE, "pyro types")}
    documented["PING_TYPE"] = documented.pop("PING")
    assert all(getattr(pyro_layout, name) == number for name, number in documented.items())
    assert len(documented) == 6


def test_pyro_flags():
    for row in table_after(WIRE, "pyro flags"):
        name, *values = row[:3]
        types = [getattr(pyro_layout, one.replace("PING", "PING_TYPE")) for one in _types(row[3])]
        ours = getattr(wire_message, name)
        for value, module in zip(values, (pyro5, pyro4), strict=True):
            if value:
                number = int(code_of(value), 16)
                for message_type in range(1, 7):
                    found = module._FLAGS.ours(message_type, number)
                    implied = module._FLAGS.ours(message_type, 0)
                    assert bool(found & ~implied & ours) == (message_type in types), row
    pairs = sum(bool(cell) for row in table_after(WIRE, "pyro flags") for cell in row[1:3])
    assert pairs == len(pyro5._FLAGS._pairs) + len(pyro4._FLAGS._pairs)


def _types(cell):
    everything = {"CONNECT", "CONNECTOK", "CONNECTFAIL", "INVOKE", "RESULT", "PING"}
    if cell.startswith("all"):
        return everything - {"PING"} if "but PING" in cell else everything
    return [word for word in re.findall(r"[A-Z]+", cell) if word in everything]


def test_pyro_serializers():
    rows = table_after(WIRE, "pyro serializers")
    for column, module in ((1, pyro5), (2, pyro4)):
        documented = {int(row[column]): row[0] for row in rows if row[column]}
        assert documented == dict(module.SERIALIZERS)


CHAIN = bytes.fromhex("11112222111122223333222244449999")
CALL = b"# serpent utf-8 python3.2\n('t','echo',(1,),{})"
GARBAGE = "invalid data or unsupported protocol version"


def test_pyro_bytes():
    documented = {name: hex_bytes(WIRE, name) for name in OF_PYRO}
    request = (wire_message.REQUEST, 1, 0, 1, CALL)
    of_pyro5 = pyro5.Pyro5(serving=False).encode(*request, {"ABCD": b"zz"}, CHAIN)
    of_pyro4 = pyro4.Pyro4(serving=False, key=b"secret").encode(*request, None, CHAIN)
    assert documented.pop("pyro5-invoke") == b"".join(of_pyro5)
    assert documented.pop("pyro4-invoke") == b"".join(of_pyro4)
    failure = documented.pop("pyro4-failure")
    assert failure[:24] == connect_failure(48, GARBAGE)[:24]
    assert marshal_reader.read(failure[24:]) == GARBAGE
    assert not documented


# -------------------------------------------------------------------------------- serializers


def test_serializers():
    text = (DOCS / "reference/serializers.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert [(int(number), name, trust) for number, name, trust in rows] == [
        (table.id_of(name), name, table.trust_of(name)) for name in table.names()
    ]


class Color(enum.Enum):
    RED = 1


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and vars(other) == vars(self)

    __hash__ = None


NAMES = {
    "Color": Color, "Point": Point, "array": array, "OrderedDict": OrderedDict, "date": date,
    "datetime": datetime, "timedelta": timedelta, "Decimal": Decimal, "Fraction": Fraction,
    "UUID": UUID,
}  # fmt: skip
FORMATS = ("serpent", "json", "msgpack", "marshal", "pickle")
ARRIVES = table_after("howto/choose-a-serializer.md", "what arrives")


@pytest.fixture
def importable(monkeypatch):
    """Make the two classes those of a module that both sides can import."""
    shapes = types.ModuleType("shapes")
    shapes.Color, shapes.Point = Color, Point
    monkeypatch.setitem(sys.modules, "shapes", shapes)
    for cls in (Color, Point):
        monkeypatch.setattr(cls, "__module__", "shapes")


@pytest.mark.parametrize("row", ARRIVES, ids=lambda row: row[0])
@pytest.mark.usefixtures("importable")
def test_what_arrives(row):
    source, *cells = row
    value = eval(code_of(source), dict(NAMES))
    assert [what_arrives(value, name) for name in FORMATS] == [cell.strip("`") for cell in cells]


def what_arrives(value, name) -> str:
    serializer = table.get(name).for_connection(PeerImage())
    try:
        arrived = serializer.loads(serializer.dumps(value))
    except SerializeError:
        return "×"
    same = type(arrived) is type(value) and arrived == value
    return "·" if same else repr(arrived)


def test_something_arrives():
    assert len(ARRIVES) > 20


# ---------------------------------------------------------------------------------------- API


def test_every_public_name_has_its_place():
    text = (DOCS / "reference/api.md").read_text("utf-8")
    missing = {name for name in pyroipc.__all__ if f"pyroipc.{name}" not in text}
    assert missing == set(pyroipc.errors.__all__)  # a page of their own, made from the module


def test_current_context():
    documented = {code_of(row[0]) for row in table_after("reference/api.md", "current_context")}
    assert documented == {name for name in dir(current_context) if not name.startswith("_")}


# -------------------------------------------------------------------------------- this machinery


@pytest.mark.parametrize(
    ("text", "pattern", "result"),
    [
        ("pid 12\n", "pid ...\n", True),
        ("pid 12\n", "pid 13\n", False),
        ("one\ntwo\n", "one...\n", False),
    ],
)
def test_matches(text, pattern, result):
    assert matches(text, pattern) is result

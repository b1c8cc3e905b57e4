"""Payloads byte for byte as the released Pyro5 5.17 (serpent 1.43, msgpack 1.2.4) writes them."""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import array
import collections
import datetime
import decimal
import enum
import sys
import uuid

import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import table

HEADER = b"# serpent utf-8 python3.2\n"


class Plain:
    def __init__(self):
        self.a = 1
        self.b = "x"


class Slotted:
    __slots__ = ("p", "q")

    def __init__(self):
        self.p = 1
        self.q = (2,)


class State:
    def __getstate__(self):
        return {"s": 1}


for _cls in (Plain, Slotted, State):
    _cls.__module__ = "app"

Colour = enum.Enum("Colour", {"RED": 5})
Number = enum.IntEnum("Number", {"RED": 6})
Point = collections.namedtuple("Point", "a b")


NAIVE = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - they travel as local time


def failure():
    error = ValueError("boom", 5)
    error._pyroTraceback = ["l1\n"]
    error.x = [1]
    return error


SERPENT = [
    (None, b"None"),
    (True, b"True"),
    (-7, b"-7"),
    (2**70, b"1180591620717411303424"),
    (1.5, b"1.5"),
    (float("nan"), b"{'__class__':'float','value':'nan'}"),
    (float("inf"), b"1e30000"),
    (-float("inf"), b"-1e30000"),
    (1 - 2j, b"(1.0-2.0j)"),
    ("it's", b'"it\'s"'),
    ("é\n\t\0€😀", b"'\xc3\xa9\\n\\t\\x00\xe2\x82\xac\xf0\x9f\x98\x80'"),
    ("\udc80", b"'\\udc80'"),
    (b"\x00a", b"{'data': 'AGE=', 'encoding': 'base64'}"),
    (bytearray(b"q"), b"{'data': 'cQ==', 'encoding': 'base64'}"),
    (memoryview(b"z"), b"{'data': 'eg==', 'encoding': 'base64'}"),
    ((1,), b"(1,)"),
    ((), b"()"),
    ({1}, b"{1}"),
    (set(), b"()"),
    (frozenset([2]), b"{2}"),
    ({"a": {"b": [1, 2]}}, b"{'a':{'b':[1,2]}}"),
    ({1: 2}, b"{1:2}"),
    (NAIVE, b"'2020-01-02T03:04:05.000006'"),
    (datetime.date(2020, 1, 2), b"'2020-01-02'"),
    (datetime.time(1, 2), b"'01:02:00'"),
    (datetime.timedelta(seconds=3), b"3.0"),
    (decimal.Decimal("1.50"), b"'1.50'"),
    (uuid.UUID(int=5), b"'00000000-0000-0000-0000-000000000005'"),
    (array.array("i", [1, 2]), b"[1,2]"),
    (
        collections.OrderedDict(a=1),
        b"{'__class__':'collections.OrderedDict','items':[('a',1)]}",
    ),
    (collections.deque([1]), b"[1]"),
    ({"k": 1}.keys(), b"['k']"),
    (Plain(), b"{'a':1,'b':'x','__class__':'app.Plain'}"),
    (Slotted(), b"{'p':1,'q':(2,),'__class__':'app.Slotted'}"),
    (State(), b"{'s':1,'__class__':'app.St'}".replace(b"St'", b"State'")),
    (
        failure(),
        b"{'__class__':'builtins.ValueError','__exception__':True,'args':('boom',5),"
        b"'attributes':{'_pyroTraceback':['l1\\n'],'x':[1]}}",
    ),
    (
        FileNotFoundError(2, "no"),
        b"{'__class__':'builtins.FileNotFoundError','__exception__':True,'args':(2,'no'),"
        b"'attributes':{}}",
    ),
    (Colour.RED, b"5"),
    (Number.RED, b"6"),
    (Point(1, 2), b"(1,2)"),
]

JSON = [
    (None, b"null"),
    (2**70, b"1180591620717411303424"),
    (float("nan"), b"NaN"),
    (float("inf"), b"Infinity"),
    (-float("inf"), b"-Infinity"),
    ("é\n\t\0€😀", b'"\xc3\xa9\\n\\t\\u0000\xe2\x82\xac\xf0\x9f\x98\x80"'),
    ((1,), b"[1]"),
    ({1}, b"[1]"),
    ({"a": {"b": [1, 2]}}, b'{"a": {"b": [1, 2]}}'),
    ({1: 2}, b'{"1": 2}'),
    (NAIVE, b'"2020-01-02T03:04:05.000006"'),
    (datetime.date(2020, 1, 2), b'"2020-01-02"'),
    (decimal.Decimal("1.50"), b'"1.50"'),
    (uuid.UUID(int=5), b'"00000000-0000-0000-0000-000000000005"'),
    (array.array("i", [1, 2]), b"[1, 2]"),
    (collections.OrderedDict(a=1), b'{"a": 1}'),
    (Plain(), b'{"a": 1, "b": "x", "__class__": "app.Plain"}'),
    (Slotted(), b'{"p": 1, "q": [2], "__class__": "app.Slotted"}'),
    (State(), b'{"s": 1}'),
    (
        failure(),
        b'{"__class__": "builtins.ValueError", "__exception__": true, "args": ["boom", 5], '
        b'"attributes": {"_pyroTraceback": ["l1\\n"], "x": [1]}}',
    ),
    (Number.RED, b"6"),
    (Point(1, 2), b"[1, 2]"),
]

MSGPACK = [
    (None, b"\xc0"),
    (-7, b"\xf9"),
    (2**70, b"\xc7\x161" + b"1180591620717411303424"),
    (1.5, b"\xcb?\xf8\x00\x00\x00\x00\x00\x00"),
    ("é\n", b"\xa3\xc3\xa9\n"),
    (b"\x00a", b"\xc4\x02\x00a"),
    (bytearray(b"q"), b"\xc4\x01q"),
    (memoryview(b"z"), b"\xc4\x01z"),
    ((1,), b"\x91\x01"),
    ({1}, b"\x91\x01"),
    ({"a": {"b": [1, 2]}}, b"\x81\xa1a\x81\xa1b\x92\x01\x02"),
    (decimal.Decimal("1.50"), b"\xa41.50"),
    (uuid.UUID(int=5), b"\xd9$00000000-0000-0000-0000-000000000005"),
    (array.array("i", [1, 2]), b"\x92\x01\x02"),
    (Plain(), b"\x83\xa1a\x01\xa1b\xa1x\xa9__class__\xa9app.Plain"),
    (Slotted(), b"\x83\xa1p\x01\xa1q\x91\x02\xa9__class__\xabapp.Slotted"),
    (State(), b"\x81\xa1s\x01"),
    (
        failure(),
        b"\x84\xa9__class__\xb3builtins.ValueError\xad__exception__\xc3\xa4args\x92\xa4boom\x05"
        b"\xaaattributes\x82\xae_pyroTraceback\x91\xa3l1\n\xa1x\x91\x01",
    ),
    (Number.RED, b"\x06"),
    (Point(1, 2), b"\x92\x01\x02"),
]
if sys.byteorder == "little":
    MSGPACK += [
        (1 - 2j, b"\xd80\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00\xc0"),
        (datetime.date(2020, 1, 2), b"\xd73\x92@\x0b\x00\x00\x00\x00\x00"),
    ]

ALL = [
    *(("serpent", value, HEADER + payload) for value, payload in SERPENT),
    *(("json", value, payload) for value, payload in JSON),
    *(("msgpack", value, payload) for value, payload in MSGPACK),
]


@pytest.mark.parametrize(("name", "value", "payload"), ALL)
def test_value(name, value, payload):
    assert table.get(name).dumps(value) == payload


CALLS = [
    ("serpent", HEADER + b"('t','echo',(1,),{'x':'q'})"),
    ("json", b'{"object": "t", "method": "echo", "params": [1], "kwargs": {"x": "q"}}'),
    ("msgpack", b"\x94\xa1t\xa4echo\x91\x01\x81\xa1x\xa1q"),
]


@pytest.mark.parametrize(("name", "payload"), CALLS)
def test_call(name, payload):
    serializer = table.get(name)
    assert serializer.dumps_call("t", "echo", (1,), {"x": "q"}) == payload
    object_id, member, args, kwargs = serializer.loads_call(payload)
    assert (object_id, member, list(args), kwargs) == ("t", "echo", [1], {"x": "q"})


ATTRIBUTES = [
    ("serpent", HEADER + b"('t','__getattr__',('prop',),None)"),
    ("json", b'{"object": "t", "method": "__getattr__", "params": ["prop"], "kwargs": null}'),
    ("msgpack", b"\x94\xa1t\xab__getattr__\x91\xa4prop\xc0"),
]


@pytest.mark.parametrize(("name", "payload"), ATTRIBUTES)
def test_call_without_kwargs(name, payload):
    serializer = table.get(name)
    assert serializer.dumps_call("t", "__getattr__", ("prop",), None) == payload
    assert serializer.loads_call(payload)[3] is None


BATCHES = [
    ("serpent", HEADER + b"('t','<batch>',[('echo',(1,),{}),('err',(),{})],None)"),
    (
        "json",
        b'{"object": "t", "method": "<batch>", "params": [["echo", [1], {}], ["err", [], {}]], '
        b'"kwargs": null}',
    ),
    ("msgpack", b"\x94\xa1t\xa7<batch>\x92\x93\xa4echo\x91\x01\x80\x93\xa3err\x90\x80\xc0"),
]


@pytest.mark.parametrize(("name", "payload"), BATCHES)
def test_batch(name, payload):
    calls = [("echo", (1,), {}), ("err", (), {})]
    assert table.get(name).dumps_call("t", "<batch>", calls, None) == payload
    assert len(table.get(name).loads_call(payload)[2]) == 2


def test_marshal_reads_what_pyro5_writes():
    marshal = table.get("marshal")
    payload = b")\x04\xfa\x01t\xda\x04echo\xdb\x01\x00\x00\x00\xe9\x01\x00\x00\x00\xfb\xda\x01x\xda\x01q0"
    assert marshal.loads_call(payload) == ("t", "echo", [1], {"x": "q"})
    assert (
        marshal.loads(b"\xfa\x1dhmac key config not symmetric") == "hmac key config not symmetric"
    )
    calls = marshal.dumps_call("t", "echo", (1,), {"x": "q"})
    assert marshal.loads_call(calls) == ("t", "echo", [1], {"x": "q"})


def test_pyro5_metadata():
    payload = HEADER + b"{'methods':{'echo','me','addr'},'oneway':(),'attrs':{'p'}}"
    assert table.get("serpent").loads(payload) == {
        "methods": {"echo", "me", "addr"},
        "oneway": (),
        "attrs": {"p"},
    }


REFUSED = [
    *[
        ("serpent", value)
        for value in (..., len, int, object(), test_value, {None: 1}, {(): {...}})
    ],
    *[
        ("json", value)
        for value in (1j, "\udc80", b"x", frozenset([1]), {(1,): 2}, ..., len, int, Colour.RED)
    ],
    *[
        ("msgpack", value)
        for value in ("\udc80", frozenset([1]), ..., len, int, datetime.time(1), Colour.RED)
    ],
    ("msgpack", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
    *[("marshal", value) for value in (len, object(), int, memoryview, [object()], {1: len})],
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refused_when_sending(name, value):
    serializer = table.get(name)
    with pytest.raises(SerializeError):
        serializer.dumps(value)
    with pytest.raises(SerializeError):
        serializer.dumps_call("o", "m", (value,), {})

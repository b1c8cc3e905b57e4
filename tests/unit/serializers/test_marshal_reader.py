"""pyroipc/serializers/marshal_reader.py: short payloads in marshal's format, from strangers."""

# ruff: noqa: E501 - tables of values read best with many on a line

import array
import marshal
import struct
import time

import numpy
import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers.marshal_reader import MAX_BYTES, is_plain, read, write

SHARED = "shared"
PAIR = (1, SHARED)
VALUES = [
    None, True, False, 0, 1, -1, 255, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**62, 2**63, -(2**70), 2**5000,
    0.0, -0.0, 1.5, 1e300, float("inf"), 1 + 2j, complex(-0.0, 1e-300), "", "a", "text" * 80, "é€😀", "\ud800",
    b"", b"bytes", (), (1,), tuple(range(300)), [], [1, [2, "x"]], {}, {"a": {1: None}}, {(1, 2): "t"},
    set(), {1, "x"}, frozenset(), frozenset([(1, 2)]), [PAIR, PAIR, SHARED, SHARED, [SHARED]],
    ("info", "object", "member"),
]  # fmt: skip


def text_of(value):
    return repr(value) if not isinstance(value, set | frozenset) else sorted(map(repr, value))


@pytest.mark.parametrize("version", range(5))
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_marshal_writes_is_read(value, version):
    payload = marshal.dumps(value, version)
    for data in (payload, bytearray(payload), memoryview(payload)):
        back = read(data)
        assert type(back) is type(value)
        assert text_of(back) == text_of(value)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_written_is_what_marshal_reads(value):
    assert text_of(marshal.loads(write(value))) == text_of(value)


def test_texts_as_pyro_sends_them():
    assert read(b"\xfa\x1dhmac key config not symmetric") == "hmac key config not symmetric"
    assert read(b"\xfa\x0einvalid data\r\n") == "invalid data\r\n"
    assert read(b")\x03\xda\x04info\xfa\x01t\xda\x04echo") == ("info", "t", "echo")
    assert read(b"I" + struct.pack("<q", -5)) == -5  # no longer written


REFUSED = {
    "nothing": b"",
    "more than a value": b"NN",
    "cut off": b"u\x05\x00\x00\x00text",
    "negative length": b"s\xff\xff\xff\xff",
    "huge length": b"s\xff\xff\xff\x7f",
    "huge list": b"[\xff\xff\xff\x7f" + b"N" * 100,
    "negative list": b"[\xff\xff\xff\xff",
    "huge int": b"l\xff\xff\xff\x7f",
    "most negative int": b"l\x00\x00\x00\x80",
    "digits of 16 bits": b"l\x01\x00\x00\x00\xff\xff",
    "int with a zero in front": b"l\x02\x00\x00\x00\x01\x00\x00\x00",
    "code": b"c" + bytes(60),
    "ellipsis": b".",
    "stop iteration": b"S",
    "no such type": b"?",
    "reference to nothing": b"r\x00\x00\x00\x00",
    "negative reference": b"\xfa\x01ar\xff\xff\xff\xff",
    "a list that holds itself": b"\xdb\x01\x00\x00\x00r\x00\x00\x00\x00",
    "a tuple that holds itself": b"\xa9\x01r\x00\x00\x00\x00",
    "not ASCII": b"z\x01\xe9",
    "not UTF-8": b"u\x01\x00\x00\x00\xff",
    "no number": b"f\x03abc",
    "a list as a key": b"{[\x00\x00\x00\x00N0",
    "a dict in a set": b"<\x01\x00\x00\x00{0",
    "a dict without an end": b"{NN",
    "a dict with half a pair": b"{N0",
    "too deep": b"[\x01\x00\x00\x00" * 33 + b"N",
    "a reference with a flag": b"\xf2\x00\x00\x00\x00",
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_malformed_payloads_are_refused(payload):
    with pytest.raises(SerializeError, match="marshal payload"):
        read(payload)


def test_nesting():
    assert read(b"[\x01\x00\x00\x00" * 32 + b"N") is not None


def test_size():
    assert read(marshal.dumps("x" * (MAX_BYTES - 5))) == "x" * (MAX_BYTES - 5)
    with pytest.raises(SerializeError, match=f"{MAX_BYTES + 1} bytes"):
        read(marshal.dumps("x" * (MAX_BYTES - 4)))


def test_references_do_not_multiply():
    """A few hundred bytes that stand for 2**30 values, and would be walked over for ever."""
    value = (1,) * 10
    for _ in range(30):
        value = (value, value)
    payload = marshal.dumps(value)
    assert len(payload) < 1000
    started = time.monotonic()
    with pytest.raises(SerializeError, match="too many values"):
        read(payload)
    assert time.monotonic() - started < 2


def test_long_texts_do_not_multiply():
    text = "x" * 60_000
    payload = marshal.dumps([text] * 1000)
    assert len(payload) < MAX_BYTES
    with pytest.raises(SerializeError, match="too many values"):
        read(payload)


def test_keys_that_collide():
    modulus = 2**61 - 1
    payload = marshal.dumps({modulus * i: None for i in range(1, 2000)})
    with pytest.raises(SerializeError, match="same hash"):
        read(payload)


@pytest.mark.parametrize(
    "value",
    [object(), {"a": {1: object()}}, array.array("i", [1]), [numpy.int64(3)], memoryview(b"x"),
     {(1, numpy.float64(2)): 1}, ..., compile("1", "f", "eval"), "x" * MAX_BYTES],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_written(value):
    with pytest.raises(SerializeError, match="marshal cannot encode this"):
        write(value)


def test_what_contains_itself_cannot_be_written():
    value = []
    value.append(value)
    with pytest.raises(SerializeError):
        write(value)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "plain"),
    [(1, True), ([1, {"a": (2.5, None, b"x")}], True), ({1, 2}, True), (Text("x"), False),
     ([1, {"a": Text("x")}], False), ({Text("k"): 1}, False), ([object()], False)],
)  # fmt: skip
def test_is_plain(value, plain):
    assert is_plain(value) is plain

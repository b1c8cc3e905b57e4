"""pyroipc/serializers/msgpack.py: extension types, keys, and the scan before decoding."""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import datetime
import fractions
import math
import os
import pathlib
import struct
import subprocess
import sys

import msgpack
import pytest

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers import table

serializer = table.get("msgpack")
NAIVE = datetime.datetime(2020, 1, 2, 3, 4, 5)  # noqa: DTZ001 - they travel as local time


@pytest.mark.parametrize(
    "value",
    [2**70, -(2**80), 2**64 - 1, -(2**63), 1 - 2j, b"\x00", datetime.date(2020, 2, 29),
     NAIVE, {"a": [1, {"b": None}]}],
)  # fmt: skip
def test_arrives_the_same(value):
    assert serializer.loads(serializer.dumps(value)) == value
    assert serializer.loads_call(serializer.dumps_call("o", "m", (value,), {"k": value})) == (
        "o", "m", [value], {"k": value},
    )  # fmt: skip


def test_memoryview_and_bytearray_arrive_as_bytes():
    assert serializer.loads(serializer.dumps([bytearray(b"a"), memoryview(b"b")])) == [b"a", b"b"]


@pytest.mark.parametrize(
    "value", [{1: "a", -5: {2: 3}}, {None: 1}, {True: 1}, {b"k": {"s": 1, 70000: 2}}, {2**63: 1}]
)
def test_keys_that_pyro_cannot_decode(value):
    assert serializer.loads(serializer.dumps(value)) == value
    long = [value] * 100
    assert serializer.loads(serializer.dumps(long)) == long


@pytest.mark.parametrize("key", [1.5, 1j, 2**70, (1, 2), datetime.date(2020, 1, 1)])
def test_keys_that_could_be_made_to_collide(key):
    for value in ({key: 1}, {1: 1, key: 1}, [{1: {key: 1}}] * 100):
        with pytest.raises(SerializeError):
            serializer.loads(serializer.dumps(value))


def test_numbers_of_other_kinds():
    numpy = pytest.importorskip("numpy")
    values = [numpy.int64(5), numpy.float32(1.5), numpy.complex64(1 + 2j)]
    assert serializer.loads(serializer.dumps(values)) == [5, 1.5, 1 + 2j]
    with pytest.raises(SerializeError, match="Fraction"):
        serializer.dumps(fractions.Fraction(1, 3))


def ext(code, data):
    return msgpack.packb(msgpack.ExtType(code, data))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x91", b"\x01\x02", b"\xa1\xff", b"\xa5ab", b"\x81\x90\x01", b"\xdd\xff\xff\xff\xff",
     b"\xdf\xff\xff\xff\xff\x01", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", ext(0x30, b"short"),
     ext(0x31, b"1/3"), ext(0x31, b"9" * 5000), ext(0x32, struct.pack("d", 1e300)),
     ext(0x32, struct.pack("d", math.nan)), ext(0x33, struct.pack("l", 0)), ext(0x34, b""), ext(5, b"x")],
)  # fmt: skip
def test_refused(payload):
    with pytest.raises(SerializeError):
        serializer.loads(payload)


def test_class_dicts_inside_of_others_are_rebuilt():
    inner = {"__class__": "float", "value": "2.5"}
    error = {"__class__": "ValueError", "__exception__": True, "args": [inner], "attributes": {}}
    assert serializer.loads(msgpack.packb(error)).args == (2.5,)
    with pytest.raises(SecurityError):
        serializer.loads(msgpack.packb([{"__class__": "__main__.X"}]))


LONG = b"\xc0" * 300


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xdd\x00\x0f\xff\xff" * 1000 + LONG * 3000, "claims more items"),
        (b"\xdf\x00\x00\xff\xff" * 1000 + LONG, "claims more items"),
        (b"\x91" * 400 + LONG, "nested deeper"),
        (b"\x81\xa0" * 400 + LONG, "nested deeper"),
        (b"\xdc\x00\x01" * 400 + LONG, "nested deeper"),
        (b"\x80" * 2**20, "invalid msgpack"),
        (b"\xdd\x00\x0f\xff\xfb" + b"\x80" * 0x0FFFFB, "too much memory"),
        (b"\xdd\x00\x0f\xff\xfb" + b"\x90" * 0x0FFFFB, "too much memory"),
        (b"\xdc\x10\x00" + b"\x91\xc1" * 0x1000, "no type 0xc1"),
        (b"\xdc\x10\x00" + b"\x90" * 0xFFF, "IndexError"),
    ],
)
def test_dangerous_payloads(payload, reason):
    with pytest.raises(SerializeError, match=reason):
        serializer.loads(payload)


def test_what_is_scanned_arrives_the_same():
    values = [
        [[] for _ in range(3000)],
        [{} for _ in range(3000)],
        [{"ab": index} for index in range(100_000)],
        [index / 7 for index in range(10_000)],
        [index * 1000 - 5 for index in range(10_000)],
        [1.5, "x" * 40, b"y" * 300, "z" * 70_000, -1, -50, 2**40, None, True, 1j, 2**70] * 100,
        {str(index): {"a": [index]} for index in range(5000)},
        b"\x90" * 100_000,
        [[1.5] * 63 + [[]] + [2.5] * 65] * 30,
    ]
    for value in values:
        assert serializer.loads(serializer.dumps(value)) == value


def test_pure_python_msgpack_gives_the_same_results():
    """The library's fallback: run this file's tests in a process that has only that."""
    if os.environ.get("MSGPACK_PUREPYTHON"):
        return
    here = pathlib.Path(__file__)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", str(here)],
        check=True,
        timeout=55,
        cwd=here.parents[3],
        env={**os.environ, "MSGPACK_PUREPYTHON": "1"},
        stdout=subprocess.DEVNULL,
    )

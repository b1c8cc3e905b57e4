"""Mutated and random payloads: decoded, or one of our errors, in flat memory; nothing else.

Rounds per decoder: a few thousand, or PYROIPC_FUZZ_ROUNDS; the random seed is PYROIPC_FUZZ_SEED
(default 2), and both are in the message of a failure.  Goal G2 is 10 million by hand:
``PYROIPC_FUZZ_ROUNDS=10000000 pytest tests/fuzz -k payload --timeout=0``.
"""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import gc
import marshal
import os
import random
import tracemalloc

import pytest

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers import marshal_reader, table
from pyroipc.serializers.typed import TAGS
from pyroipc.serializers.typed_classes import register_class, unregister_class
from pyroipc.serializers.wrapped import ExceptionWrapper
from tests.support.pyro_manners import PlainManner, Registered
from tests.support.typed_values import CLASSES, SAMPLES, Bits, Color, Customer, Order, Point, typed

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PYROIPC_FUZZ_ROUNDS", "4000"))
SEED = int(os.environ.get("PYROIPC_FUZZ_SEED", "2"))
NAMES = [name for name in table.names() if table.trust_of(name) == "data"]
FORMS = [*NAMES, *(f"{name} typed" for name in NAMES), *(f"{name} Pyro4" for name in NAMES)]

ERROR = ValueError("boom", 5)
ERROR.add_note("note")
VALUES = [
    None, [1, 2.5, -3, 2**70, True], ["a", 'it\'s "x"', "é\n€😀\\"], {"a": {"b": [1, {"c": ()}]}}, ERROR,
    [[[[[[]]]]]], {"__class__": "float", "value": "1"}, [{"x": i, "y": str(i)} for i in range(30)],
    list(range(300)), [i / 3 for i in range(100)], "x" * 500,
]  # fmt: skip
EXTRA = {
    "serpent": [b"{1,2,(3,'x')}", b"[(1.0+2.0j),b'x\\x00',1e30000]", b"# serpent utf-8 python3.2\n ( 1 , )"],
    "json": [b'{"a": NaN, "b": [Infinity, "\\ud800\\n\\""]}', b"[1e5, -0.0, 1E+2]"],
    "msgpack": [
        b"\xd8\x30" + bytes(16), b"\xd7\x32" + bytes(8), b"\xd7\x33" + bytes(8), b"\xc7\x03\x31123",
        b"\xdc\x00\x02\xdf\x00\x00\x00\x01\x05\x06\xde\x00\x00", b"\x82\x01\x02\xc4\x01x\xc0",
    ],
}  # fmt: skip
TOKENS = {
    "serpent": [b"[", b"]", b"(", b")", b"{", b"}", b",", b":", b"'", b'"', b"\\", b"1", b"-", b"e", b"j",
                b"None", b"b'", b"\\x4", b"\\N{", b"\0", b"\xff", b"'__class__':", b"9" * 5000],
    "json": [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u", b"1", b"null", b"NaN", b"\xff",
             b'"__class__":', b"9" * 5000, b"[" * 300, b'{"":' * 300],
    "msgpack": [bytes([code]) for code in (*range(0x80, 0xA2), *range(0xC0, 0xE1), 0xFF)]
    + [b"\x91" * 300, b"\xdd\xff\xff\xff\xff", b"\xdf\x00\xff\xff\xff", b"\xa9__class__"],
}  # fmt: skip


TYPED_VALUES = [
    *SAMPLES, ERROR, ExceptionGroup("g", [ERROR, KeyError((1,))]), Order(1, Customer("a")), [Color.RED, Bits(3)], Point(1, 2),
]  # fmt: skip
TYPED_TOKENS = {
    "serpent": [b"(...,", b"...", b",None)", *(f"(...,{tag!r},".encode() for tag in TAGS)],
    "json": [b'"@":', b',"v":', *(f'{{"@":"{tag}","v":'.encode() for tag in TAGS)],
    "msgpack": [b"\x92\xd4\x54", *(bytes([0x92, 0xD4, 0x54, code]) for code in range(len(TAGS) + 1)),
                b"\xd4\x40a", b"\xd4\x41\xff"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _registered():
    for cls in CLASSES:
        register_class(cls)
    yield
    for cls in CLASSES:
        unregister_class(cls)


def form(name):
    """Return the serializer, its tokens and some valid payloads."""
    name, _, kind = name.partition(" ")
    if not kind:
        return table.get(name), TOKENS[name], corpus(table.get(name), VALUES) + EXTRA[name]
    if kind == "Pyro4":
        serializer = table.get(name).for_pyro(PlainManner(kind))
        wrapper = ExceptionWrapper(ERROR, ["line"])
        seeds = corpus(serializer, [*VALUES, [1, wrapper], [Registered()]])
        errors = [serializer.dumps_error(ERROR, ["line"]), serializer.dumps_blob("o", "m", 5)]
        return serializer, TOKENS[name], seeds + errors
    serializer = typed(name, classes_for=lambda _object_id, _member: {})
    return serializer, TOKENS[name] + TYPED_TOKENS[name], corpus(serializer, TYPED_VALUES)


def corpus(serializer, values):
    calls = [serializer.dumps_call("obj", "member", (value,), {"k": value}) for value in values]
    return [*map(serializer.dumps, values), *calls]


def mutated(chosen, seeds, tokens):
    data = bytearray(chosen.choice(seeds))
    for _ in range(chosen.choice([1, 1, 2, 3, 8])):
        at = chosen.randrange(len(data) + 1)
        kind = chosen.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chosen.randrange(256)
        elif kind == 1:
            data[at:at] = chosen.choice(tokens)
        elif kind == 2:
            del data[at : at + chosen.choice([1, 2, 8, 10_000])]
        elif kind == 3:
            other = chosen.choice(seeds)
            data[at:] = other[chosen.randrange(len(other) + 1) :]
        elif kind == 4 and data:
            data[at % len(data)] ^= 1 << chosen.randrange(8)
        else:
            start = chosen.randrange(len(data) + 1)
            data[at:at] = data[start : start + chosen.choice([1, 4, 30])] * chosen.choice([
                1,
                2,
                20,
            ])
    return bytes(data[:100_000])


def attempt(serializer, data):
    blobs = getattr(serializer, "loads_blob", serializer.loads)
    for load in (serializer.loads, serializer.loads_call, blobs):
        try:
            load(data)
        except (SerializeError, SecurityError):
            pass
        except BaseException as error:
            pytest.fail(
                f"{type(error).__name__}: {error} for {data!r} (seed {SEED}, {ROUNDS} rounds)"
            )


@pytest.mark.parametrize("name", FORMS)
def test_mutated_payloads(name):
    chosen = random.Random(f"{SEED} {name}")
    serializer, tokens, seeds = form(name)
    for _ in range(ROUNDS):
        attempt(serializer, mutated(chosen, seeds, tokens))


@pytest.mark.parametrize("name", FORMS)
def test_random_payloads(name):
    chosen = random.Random(f"{SEED} random {name}")
    serializer, tokens, _ = form(name)
    for _ in range(ROUNDS // 2):
        attempt(serializer, chosen.randbytes(chosen.randrange(60)))
        attempt(serializer, b"".join(chosen.choices(tokens, k=chosen.randrange(30))))


@pytest.mark.parametrize("name", FORMS)
def test_memory_is_flat(name):
    chosen = random.Random(f"{SEED} memory {name}")
    serializer, tokens, seeds = form(name)
    payloads = [mutated(chosen, seeds, tokens) for _ in range(300)]
    for data in payloads:  # fill the caches
        attempt(serializer, data)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(max(3, ROUNDS // 1000)):
            for data in payloads:
                attempt(serializer, data)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


# --- marshal's format, read by ourselves ---------------------------------------------------------

SHARED = ["shared", (1, 2.5)]
MARSHALLED = [
    *(marshal.dumps(value, version) for version in range(5) for value in (
        "invalid data", "é€😀", ("info", "object", "member"), [None, True, -1, 2**70, 1.5, 1 + 2j, b"x"],
        {"a": {1: {2, 3}, (4,): frozenset([5])}}, [SHARED, SHARED, "shared"], list(range(300)), "x" * 300,
    )),
]  # fmt: skip
MARSHAL_TOKENS = [
    *(bytes([byte | flag]) for byte in b"NTFS.iIlgfyxsutaAzZ()[<>{rc0:?" for flag in (0, 0x80)),
    b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4), b"\x01\x00\x00\x00", b"r\x00\x00\x00\x00", b"\xdb\x02\x00\x00\x00",
]  # fmt: skip


def read_marshal(data):
    try:
        marshal_reader.read(data)
    except SerializeError:
        pass
    except BaseException as error:
        pytest.fail(f"{type(error).__name__}: {error} for {data!r} (seed {SEED}, {ROUNDS} rounds)")


def test_mutated_marshal():
    chosen = random.Random(f"{SEED} marshal")
    for _ in range(ROUNDS):
        read_marshal(mutated(chosen, MARSHALLED, MARSHAL_TOKENS))
        read_marshal(b"".join(chosen.choices(MARSHAL_TOKENS, k=chosen.randrange(30))))


def test_memory_of_marshal_is_bounded():
    chosen = random.Random(f"{SEED} marshal memory")
    payloads = [mutated(chosen, MARSHALLED, MARSHAL_TOKENS) for _ in range(300)]
    payloads += [
        b"[\xff\xff\x00\x00" * 30 + b"N" * 65_000,
        b"<\xf0\xff\x00\x00" + b"i1234" * 13_000,
    ]
    for data in payloads:
        read_marshal(data)
    gc.collect()
    tracemalloc.start()
    try:
        for data in payloads:
            read_marshal(data)
        gc.collect()
        left, most = tracemalloc.get_traced_memory()
        assert left < 1 << 20
        assert most < 16 << 20
    finally:
        tracemalloc.stop()

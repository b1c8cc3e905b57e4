"""Large buffers go apart, wherever they are; small ones do not; what arrives is what was sent."""

from __future__ import annotations

import pickle
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import parts as parts_module
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage
from pyroipc.serializers.parts import APART_BYTES, Parts, holds_large
from pyroipc.serializers.typed_classes import register_class, unregister_class
from tests.support.arrays import LARGE, SERIALIZERS, SMALL, check, landed, travelled


@dataclass
class Frame:
    name: str
    image: Any
    more: Any = None


@pytest.fixture(autouse=True)
def _registered():
    register_class(Frame)
    yield
    unregister_class(Frame)


def odd(name, kind):
    """What dill itself changes."""
    if kind == "broadcast":  # numpy does not keep that it is read-only
        return name in {"pickle", "cloudpickle", "dill"}
    return name == "dill" and kind in {"read-only", "big-endian", "empty", "nothing"}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("name", SERIALIZERS)
def test_large_buffers_go_apart(name, kind):
    value = LARGE[kind]
    arrived, apart = travelled(name, value)
    check(value, arrived)
    assert apart == 1
    if kind in {"bytearray", "array"}:
        arrived.append(1)  # nothing of ours holds its memory any more


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("name", SERIALIZERS)
def test_small_buffers_stay(name, kind):
    if odd(name, kind):
        return
    value = SMALL[kind]
    arrived, apart = travelled(name, value)
    check(value, arrived)
    assert not apart


@pytest.mark.parametrize("kind", [*SMALL, *(f"large {kind}" for kind in LARGE)])
@pytest.mark.parametrize("name", SERIALIZERS)
def test_all_of_them_can_stay(name, kind):
    if odd(name, kind.removeprefix("large ")):
        return
    value = LARGE[kind.removeprefix("large ")] if kind.startswith("large") else SMALL[kind]
    serializer = table.get(name).for_connection(PeerImage())
    data = serializer.dumps(value)
    assert type(data) is bytes
    check(value, serializer.loads(data))


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("name", SERIALIZERS)
def test_wherever_they_are(name, kind):
    value = LARGE[kind]
    small = SMALL["ndarray"]
    whole = {"a": [1, (value, small)], "b": Frame("x", value, {"c": [value]}), "d": "text"}
    arrived, apart = travelled(name, whole)
    check(value, arrived["a"][1][0])
    check(small, arrived["a"][1][1])
    check(value, arrived["b"].image)
    check(value, arrived["b"].more["c"][0])
    assert apart in {1, 3}  # pickle sends once what is there three times


@pytest.mark.parametrize("name", SERIALIZERS)
def test_arguments_of_a_call(name):
    serializer = table.get(name).for_connection(PeerImage())
    args = (1, LARGE["ndarray"], [LARGE["bytes"]])
    kwargs = {"x": LARGE["array"], "y": LARGE["bytearray"], "z": None}
    parts = serializer.dumps_call_parts("thing", "echo", args, kwargs)
    assert isinstance(parts, Parts)
    assert len(parts.buffers) == 4
    assert len(parts) == len(parts.payload) + sum(map(len, parts.buffers))
    assert len(parts.payload) < 1000
    object_id, member, got, named = serializer.loads_call_parts(parts.payload, landed(parts))
    assert (object_id, member, got[0], named["z"]) == ("thing", "echo", 1, None)
    check(args[1], got[1])
    check(args[2][0], got[2][0])
    check(kwargs["x"], named["x"])
    check(kwargs["y"], named["y"])


@pytest.mark.parametrize("name", SERIALIZERS)
def test_the_threshold(name):
    for size, apart in ((APART_BYTES - 1, 0), (APART_BYTES, 1)):
        for value in (
            bytes(size),
            bytearray(size),
            np.zeros(size, np.uint8),
            memoryview(bytes(size)),
        ):
            assert travelled(name, value)[1] == apart
            assert travelled(name, [value])[1] == apart


@pytest.mark.parametrize("name", SERIALIZERS)
def test_nothing_is_copied(name):
    """The views are of the sender's own memory."""
    serializer = table.get(name).for_connection(PeerImage())
    numbers = np.arange(APART_BYTES)
    content = bytearray(b"before" * APART_BYTES)
    numbers_array = array("q", range(APART_BYTES))
    for value in (numbers, content, numbers_array, memoryview(bytearray(content))):
        parts = serializer.dumps_call_parts("o", "m", (value, 1), {"x": 2})
        (view,) = parts.buffers
        before = bytes(view[:6])
        memoryview(value).cast("B")[:6] = b"change"
        if not (name == "cloudpickle" and value is content):  # that has to copy it, once
            assert bytes(view[:6]) == b"change" != before
        del view, parts
    block = bytes(APART_BYTES)
    (view,) = serializer.dumps_call_parts("o", "m", ([block],), None).buffers
    assert view.obj is block


@pytest.mark.parametrize("name", SERIALIZERS)
def test_buffers_that_would_be_too_many_stay(name):
    values = [bytes(APART_BYTES) for _ in range(1030)]
    arrived, apart = travelled(name, values)
    assert apart == 1024
    assert len(arrived) == 1030
    assert set(map(type, arrived)) == {bytes}


@pytest.mark.parametrize("name", ["msgpack", "marshal", "pickle", "cloudpickle", "dill"])
def test_those_that_stay_arrive_as_what_they_are(name, monkeypatch):
    monkeypatch.setattr(parts_module, "_MAX_BUFFERS", 1)
    for kind, value in LARGE.items():
        first = bytes(APART_BYTES)
        (same, nested), apart = travelled(name, [first, [value]])
        assert apart == 1, kind
        assert same == first
        check(value, nested[0])
        numbers = np.arange(APART_BYTES).reshape(2, -1).T
        (nested, same), _ = travelled(name, ([value], numbers))
        check(value, nested[0])
        check(numbers, same)


@pytest.mark.parametrize("name", ["pickle", "cloudpickle", "dill"])
def test_whatever_offers_buffers_to_pickle(name):
    arrived, apart = travelled(name, Holder(np.arange(APART_BYTES)))
    assert apart == 1
    assert (arrived.numbers == np.arange(APART_BYTES)).all()


class Holder:
    """As a library would do it that knows of protocol 5 and of nothing else."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __reduce_ex__(self, protocol):
        return make_holder, (pickle.PickleBuffer(self.numbers), str(self.numbers.dtype))


def make_holder(buffer, dtype):
    return Holder(np.frombuffer(buffer, dtype))


@pytest.mark.parametrize("name", ["pickle", "cloudpickle", "dill"])
def test_what_only_cloudpickle_can_do_beside_a_buffer(name):
    function, numbers = travelled(name, (lambda: 5, LARGE["ndarray"]))[0]
    assert function() == 5
    check(LARGE["ndarray"], numbers)
    (arrived, made), apart = travelled(name, (LARGE["bytes"], [memoryview(b"ab"), lambda: 6]))
    assert made[1]() == 6
    assert (type(made[0]), made[0]) == (bytes, b"ab")
    check(LARGE["bytes"], arrived)
    assert apart == 1


@pytest.mark.parametrize("name", SERIALIZERS)
def test_large_texts_and_lists_are_not_encoded_twice(name, monkeypatch):
    serializer = table.get(name).for_connection(PeerImage())
    for value in ("text" * APART_BYTES, list(range(APART_BYTES)), ["ä" * 100] * APART_BYTES):
        data = serializer.dumps_parts(value)
        assert type(data) is bytes
        assert serializer.loads(data) == value


def test_large_bytes_in_a_pickle_are_found_between_the_frames():
    block = bytes(APART_BYTES)
    for inside in (
        block,
        [block],
        (1, block, 2),
        {"a": [[block]]},
        [bytearray(block)],
        ["t" * APART_BYTES, block],
        [149, block, 149, block],
        [list(range(40_000)), block],
    ):
        assert holds_large(pickle.dumps(inside, 5))
        arrived, apart = travelled("pickle", inside)
        assert apart
        assert arrived == inside
    hostile = b"B" + (APART_BYTES).to_bytes(4, "little")
    for outside in (
        "t" * 200_000,
        ["x" * 70_000] * 3,
        list(range(100_000)),
        [hostile] * 9000,
        [b"\x95" * 60_000] * 5,
        [b"x" * (APART_BYTES - 1)] * 4,
    ):
        assert not holds_large(pickle.dumps(outside, 5))
        arrived, apart = travelled("pickle", outside)
        assert not apart
        assert arrived == outside


def test_data_cannot_pose_as_opcodes():
    """What is in a value never moves a buffer, whatever it looks like."""
    block = b"z" * APART_BYTES
    head = b"B" + len(block).to_bytes(4, "little")
    for name in ("pickle", "cloudpickle", "dill"):
        for fill in (APART_BYTES - 100, APART_BYTES - 12, APART_BYTES - 5, APART_BYTES + 3):
            for tail in (head, head[::-1], b"\x8e" + len(block).to_bytes(8, "little")):
                whole = [b"a" * (fill - len(tail)) + tail, "q" * fill, block, 149, tail, block]
                arrived, _ = travelled(name, whole)
                assert arrived == whole


@pytest.mark.parametrize("name", ["serpent", "json", "msgpack", "marshal"])
def test_arrays_of_objects_are_refused_and_the_error_says_what_to_do(name):
    serializer = table.get(name).for_connection(PeerImage())
    objects = np.array([1, None], dtype=object)
    records = np.zeros(3, [("a", object), ("b", "i4")])
    for value in (objects, records):
        with pytest.raises(
            SerializeError, match=r"ndarray \(at argument 0\['a'\]\).*tolist.*pickle"
        ):
            serializer.dumps_call_parts("o", "m", ({"a": value},), None)


def test_arrays_of_objects_can_be_pickled():
    objects = np.array([1, None, "x"], dtype=object)
    for name in ("pickle", "cloudpickle", "dill"):
        arrived, apart = travelled(name, [objects, LARGE["ndarray"]])
        assert (arrived[0] == objects).all()
        assert apart == 1


SCALARS = [
    np.float32(1.5), np.float64("nan"), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True),
    np.float16(2), np.complex64(1 - 2j), np.longdouble("1.1"), np.str_("ä"), np.bytes_(b"a\0b"),
    np.datetime64("2024-02-29"), np.timedelta64(5, "h"), np.datetime64("NaT"), np.void(b"abc"),
    np.zeros(1, [("a", "i4"), ("b", "S3")])[0],
]  # fmt: skip


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", [name for name in SERIALIZERS if name != "dill"])
def test_scalars_of_numpy(name, value):
    for whole in ([value], {"a": (value,)}):
        (arrived,), _ = travelled(name, whole)
        if isinstance(whole, dict):
            arrived = travelled(name, whole)[0]["a"][0]
        check(value, arrived)


def test_references_are_counted_once_when_a_large_buffer_is_found():
    class References:
        types = frozenset()

        def __init__(self):
            self.count = 0
            self.change = 1

        def encode(self, value):
            if isinstance(value, Frame):
                self.count += self.change
                return ["ref", "x", 1]
            return None

        def withdraw(self, data):
            self.count -= self.change

        def take_back(self, dumps, *args):
            self.change = -self.change
            try:
                dumps(*args)
            except Exception:
                pass
            self.change = -self.change

    for name in ("serpent", "json", "msgpack", "marshal"):
        references = References()
        serializer = table.get(name).for_connection(PeerImage(), references)
        for value in (
            [Frame("a", 1), LARGE["bytes"], Frame("b", 2)],
            [Frame("a", 1), [LARGE["ndarray"]], (Frame("b", 2),)],
        ):
            references.count = 0
            assert len(serializer.dumps_call_parts("o", "m", (value,), None).buffers) == 1
            assert references.count == 2, name

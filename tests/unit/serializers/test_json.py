"""pyroipc/serializers/json.py: what JSON can and cannot carry, and the look at its nesting."""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import json
import math
import random
import sys

import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import table

serializer = table.get("json")


def test_what_arrives():
    value = [None, True, 2**70, 1.5, "é😀", (1, 2), {3}, {"a": {"b": []}}]
    assert serializer.loads(serializer.dumps(value)) == [
        None, True, 2**70, 1.5, "é😀", [1, 2], [3], {"a": {"b": []}},
    ]  # fmt: skip
    assert math.isnan(serializer.loads(serializer.dumps(float("nan"))))
    assert serializer.loads(serializer.dumps({1: 2, None: 3})) == {"1": 2, "null": 3}


def test_details_of_decoding():
    assert serializer.loads(b'{"a": 1, "a": 2}') == {"a": 2}
    assert serializer.loads(rb'"\ud800"') == "\ud800"
    assert serializer.loads(b"1e999") == math.inf
    assert serializer.loads(rb'{"\u005f_class__": "float", "value": "1.5"}') == 1.5


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[1,]", b"\xff", b"\xef\xbb\xbf1", b"1 2", b"{'a': 1}", b'"\x01"', b"nul", b"[" * 9,
     b"9" * (sys.get_int_max_str_digits() + 1), "[1]".encode("utf-16"), b'{"__class__": "x"}',
     b'{"__class__": 1}'],
)  # fmt: skip
def test_refused(payload):
    with pytest.raises(SerializeError):
        serializer.loads(payload)


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"5", b"{}", b'{"object": "o", "method": "m", "params": []}', b'["o", "m", [], {}]',
     b'{"object": 1, "method": "m", "params": [], "kwargs": {}}',
     b'{"object": "o", "method": "m", "params": 5, "kwargs": {}}',
     b'{"object": "o", "method": "m", "params": {}, "kwargs": {}}',
     b'{"object": "o", "method": "m", "params": [], "kwargs": [1]}'],
)  # fmt: skip
def test_what_is_no_call(payload):
    with pytest.raises(SerializeError, match="not a call"):
        serializer.loads_call(payload)


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def test_nesting_is_measured_right_around_strings_full_of_brackets():
    chosen = random.Random(4)
    texts = ["", "[", "]", "{[", '"', '\\"[', "\\", "\\\\", '"]"', "é[", '\\\\"', "\n{"]

    def make(depth):
        if depth == 0:
            return chosen.choice([1, *texts])
        inner = [make(depth - 1)] + [chosen.choice(texts) for _ in range(chosen.randrange(4))]
        chosen.shuffle(inner)
        if chosen.random() < 0.5:
            return {chosen.choice(texts) + str(i): item for i, item in enumerate(inner)}
        return inner

    for depth in [*range(150, 201), 201, 202, 250]:
        value = make(depth)
        assert depth_of(value) == depth
        for ascii_only in (True, False):
            payload = json.dumps([value] * 2, ensure_ascii=ascii_only).encode()
            if depth + 1 <= 200:
                assert serializer.loads(payload) == [value] * 2
            else:
                with pytest.raises(SerializeError, match="nested deeper"):
                    serializer.loads(payload)


def test_wide_is_not_deep():
    value = [[] for _ in range(1000)] + [{"a": {}} for _ in range(1000)]
    assert serializer.loads(serializer.dumps(value)) == value

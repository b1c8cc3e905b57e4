"""Which msgpack payloads are dangerous to decode: nesting, false claims, memory and keys.

The library makes room for as many items as a header claims, and one byte can cost 88.  So
payloads in which the bytes that begin containers are many are scanned first, in Python.
"""

from __future__ import annotations

import re

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import MAX_DEPTH

__all__ = ["is_harmless", "scan"]

_COUNT_SAFELY = 200
_BASE_MEMORY = 4 << 20
_MEMORY_PER_BYTE = 56
"""Decoding may take 4 MiB and 56 times the payload; a list of {"ab": 1} takes just that."""
_NOT_CONTAINERS = bytes(
    code for code in range(256) if not (0x80 <= code <= 0x9F or 0xDC <= code <= 0xDF)
)
_NOT_WIDE = bytes(code for code in range(256) if not 0xDC <= code <= 0xDF)


def is_harmless(data: bytes) -> bool:
    """Tell whether there cannot be enough container headers for a dangerous payload."""
    if len(data) <= _COUNT_SAFELY:
        return True
    if len(data.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH:
        return False
    return len(data.translate(None, _NOT_WIDE)) * 8 * len(data) <= _BASE_MEMORY


def _tables() -> tuple[list[int], list[int]]:
    """Make, for each first byte, the whole length of the item and the memory it takes.

    A length of 0 marks containers, and items whose length stands behind the first byte.
    """
    sizes = [1] * 0x80 + [0] * 0x20 + [1 + n for n in range(32)] + [0] * 0x20 + [1] * 0x20
    costs = [0] * 256
    for code in range(0xA2, 0xC0):
        costs[code] = 64 if code < 0xB0 else 80
    for code, size, cost in (
        (0xC0, 1, 0), (0xC2, 1, 0), (0xC3, 1, 0), (0xCA, 5, 32), (0xCB, 9, 32), (0xCC, 2, 0),
        (0xCD, 3, 32), (0xCE, 5, 32), (0xCF, 9, 48), (0xD0, 2, 32), (0xD1, 3, 32), (0xD2, 5, 32),
        (0xD3, 9, 48), (0xD4, 3, 64), (0xD5, 4, 64), (0xD6, 6, 64), (0xD7, 10, 64), (0xD8, 18, 64),
    ):  # fmt: skip
        sizes[code], costs[code] = size, cost
    for code in range(0xE0, 0xFB):
        costs[code] = 32
    return sizes, costs


_SIZES, _COSTS = _tables()
_LENGTHS = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),  # bin
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),  # ext, with its type
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),  # str
}  # fmt: skip
"""First byte -> (bytes of the length field, further bytes before the data)."""
_WIDE = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_KEYS = frozenset({
    *range(0x80), *range(0xA0, 0xC1), *range(0xC2, 0xC7), *range(0xCC, 0xD4),
    *range(0xD9, 0xDC), *range(0xE0, 0x100),
})  # fmt: skip
"""What a key may begin with: int, str, bin, None, bool."""
_TYPED_KEYS = _KEYS | frozenset({
    *range(0x90, 0xA0), 0xDC, 0xDD, *range(0xC7, 0xCC), *range(0xD4, 0xD9),
})  # fmt: skip
"""In the typed form also float, and what arrays and extensions stand for."""
_STRICT_KEYS = frozenset({*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB})
_RUN = 64
_match_numbers = re.compile(
    rb"(?:[\xcb\xcf\xd3].{8}|[\xca\xce\xd2].{4}|[\xcd\xd1]..){64}", re.DOTALL
).match
_NUMBERS = frozenset(b"\xcb\xcf\xd3\xca\xce\xd2\xcd\xd1")


class _Scan:
    """What is known of a payload up to a position."""

    __slots__ = ("budget", "data", "keys", "promised", "strict")

    def __init__(self, data: bytes, keys: frozenset[int]) -> None:
        self.data = data
        self.keys = keys
        self.budget = _BASE_MEMORY + _MEMORY_PER_BYTE * len(data)
        self.promised = 1  # items that the headers so far say are still to come, at most
        self.strict = True  # all keys so far are str or bytes


def scan(data: bytes, *, typed: bool = False) -> bool:
    """Refuse a payload that is dangerous to decode; tell whether all keys are str or bytes.

    Raises:
        SerializeError: nesting, claims, memory or keys are not allowed.
        IndexError: the payload ends too early.
    """
    state = _Scan(data, _TYPED_KEYS if typed else _KEYS)
    stack: list[tuple[int, bool]] = []
    left, is_map = 1, False  # items to come in the innermost container
    position = 0
    memory = 0
    while True:
        while not left:
            if not stack:
                state.budget -= memory
                _check_budget(state)
                return state.strict
            left, is_map = stack.pop()
        code = data[position]
        if is_map and not left & 1 and code not in _STRICT_KEYS:
            _check_key(state, code)
        left -= 1
        size = _SIZES[code]
        if size:
            if left >= _RUN and code in _NUMBERS and not is_map:
                found = _match_numbers(data, position)
                if found is not None:
                    left -= _RUN - 1
                    memory += _RUN * 48
                    position = found.end()
                    continue
            position += size
            memory += _COSTS[code]
        elif code in _LENGTHS:
            position, cost = _skip(data, position)
            memory += cost
        else:
            stack.append((left, is_map))
            position, left, is_map = _enter(state, position, len(stack))


def _skip(data: bytes, position: int) -> tuple[int, int]:
    """Step over a str, bin or ext with a length field: (next position, memory)."""
    field, further = _LENGTHS[data[position]]
    start = position + 1 + field
    length = int.from_bytes(data[position + 1 : start], "big")
    return start + further + length, 80 + 4 * min(length, len(data))


def _enter(state: _Scan, position: int, depth: int) -> tuple[int, int, bool]:
    """Read the header of a container: (next position, items to come, is it a map).

    Raises:
        SerializeError: it breaks a limit.
    """
    data = state.data
    code = data[position]
    if code < 0xA0:
        count, is_map, start = code & 0x0F, code < 0x90, position + 1
    elif code in _WIDE:
        start = position + 1 + _WIDE[code]
        count, is_map = int.from_bytes(data[position + 1 : start], "big"), code >= 0xDE
    else:
        raise SerializeError(f"invalid msgpack payload: there is no type 0x{code:02x}")
    if depth > MAX_DEPTH:
        raise SerializeError(f"the payload is nested deeper than {MAX_DEPTH} levels")
    items = 2 * count if is_map else count
    state.promised += items
    if state.promised > len(data):
        raise SerializeError("the payload claims more items than it has bytes")
    state.budget -= _map_cost(count) if is_map else 80 + 8 * count
    _check_budget(state)
    return start, items, is_map


def _map_cost(count: int) -> int:
    if count == 0:
        return 80
    return 208 if count <= 5 else 208 + 100 * count


def _check_budget(state: _Scan) -> None:
    if state.budget < 0:
        raise SerializeError("the payload would take too much memory")


def _check_key(state: _Scan, code: int) -> None:
    if code not in state.keys:
        raise SerializeError("the payload has keys that are not str, bytes, int, bool or None")
    state.strict = False

"""Short payloads in Python's marshal format <-> plain values, without ``marshal.loads``.

Pyro says in this format why it refuses a connection, and what a blob is, whatever serializer the
peers use; so bytes of strangers have to be read. ``marshal.loads`` can be crashed by such bytes.

A value is one byte that says what it is, and its data; integers are little-endian:

================  ==================================================================
``N`` ``T`` ``F``  None, True, False
``i`` ``I`` ``l``  an int: 4 bytes; 8 bytes; a count and digits of 15 bits (negative count:
                   negative number)
``g`` ``f``        a float: 8 bytes; one byte, the length, and its text
``y`` ``x``        a complex: two floats in one of these forms
``s``              bytes: 4 bytes, the length, and the bytes
``u`` ``t``        str: 4 bytes, the length, and UTF-8 (``t`` was interned)
``a`` ``A``        str: 4 bytes, the length, and ASCII (``A`` was interned)
``z`` ``Z``        the same with one byte for the length
``(`` ``)``        a tuple: 4 bytes or one, the count, and its items
``[`` ``<`` ``>``  a list, a set, a frozenset: 4 bytes, the count, and its items
``{``              a dict: keys and values in turn, then ``0``
``r``              what the value with this number was: 4 bytes
================  ==================================================================

With the highest bit of its first byte set, a value gets the next number, which ``r`` refers to.

Limits: 64 KiB of input, 32 levels, and 2**18 values, those behind each reference included, so that
whoever walks over the result comes to an end.
"""

from __future__ import annotations

import marshal  # noqa: TID251 - only for writing
import struct

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import check_keys, decoding_fault, encoding_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.base import Buffer

__all__ = ["MAX_BYTES", "is_plain", "read", "write"]

MAX_BYTES = 64 << 10
_MAX_LEVELS = 32
_MAX_WEIGHT = 1 << 18
_NUMBERED = 0x80
_unfinished = object()


def read(data: Buffer) -> object:
    """Read the one value that *data* holds; no view of it is kept.

    Raises:
        SerializeError: it is not such a value, or exceeds a limit.
    """
    if len(data) > MAX_BYTES:
        raise SerializeError(
            f"invalid marshal payload: it has {len(data)} bytes, at most {MAX_BYTES} are read here"
        )
    reader = _Reader(bytes(data))
    try:
        value = reader.value(0)
        reader.end()
    except SerializeError:
        raise
    except Exception as error:
        raise SerializeError(decoding_fault("marshal", error)) from error
    return value


def write(value: object) -> bytes:
    """Write what :func:`read` and ``marshal.loads`` can read.

    Raises:
        SerializeError: it is not a plain value, or too large.
    """
    try:
        data = marshal.dumps(value)  # type: ignore[arg-type]
        read(data)
        _check_types(value)
    except Exception as error:
        raise SerializeError(encoding_fault("marshal", value, error)) from error
    return data


def _check_types(value: Any) -> None:
    """Refuse what has a buffer: marshal takes it for bytes.

    Raises:
        TypeError: there is such an object.
    """
    kind = type(value)
    if kind is dict:
        value = [*value, *value.values()]
    elif kind not in _SEQUENCES:
        if kind not in _PLAIN:
            raise TypeError(f"don't know how to serialize class {kind}")
        return
    for item in value:
        _check_types(item)


_SEQUENCES = frozenset({list, tuple, set, frozenset})
_PLAIN = frozenset({str, int, float, complex, bytes, bytearray, bool, type(None)})


def is_plain(value: object) -> bool:
    """Tell whether all parts of a value are exactly of types that are built into Python.

    False is also told of a few that are. Objects that have a buffer, such as arrays, are not
    noticed. It takes a fifth of the time that json takes, and less.
    """
    try:
        marshal.dumps(value)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


class _Reader:
    """One payload, and how far it was read."""

    __slots__ = ("data", "known", "position", "weight")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.weight = 0
        self.known: list[tuple[Any, int]] = []  # the numbered values, and their weights

    def value(self, level: int) -> Any:
        code = self.take(1)[0]
        kind = code & ~_NUMBERED
        weight = self.weight
        if kind in _CONSTANTS:
            self.charge(1)
            return _CONSTANTS[kind]
        if code == _REFERENCE:
            return self.reference()
        number = None
        if code & _NUMBERED:
            number = len(self.known)
            self.known.append((_unfinished, 0))
        self.charge(1)
        if kind in _SCALARS:
            value = _SCALARS[kind](self)
        elif kind in _CONTAINERS:
            if level >= _MAX_LEVELS:
                raise SerializeError(
                    f"invalid marshal payload: it is nested deeper than {_MAX_LEVELS} levels"
                )
            value = _CONTAINERS[kind](self, level + 1)
        else:
            raise SerializeError(f"invalid marshal payload: there is no type 0x{code:02x} here")
        if number is not None:
            self.known[number] = value, self.weight - weight
        return value

    def reference(self) -> Any:
        number = self.integer(4)
        if not 0 <= number < len(self.known) or self.known[number][0] is _unfinished:
            raise SerializeError(f"invalid marshal payload: there is no value {number} yet")
        value, weight = self.known[number]
        self.charge(weight)
        return value

    def charge(self, weight: int) -> None:
        self.weight += weight
        if self.weight > _MAX_WEIGHT:
            raise SerializeError("invalid marshal payload: it stands for too many values")

    def take(self, count: int) -> bytes:
        start = self.position
        if not 0 <= count <= len(self.data) - start:
            raise SerializeError("invalid marshal payload: it ends too early")
        self.position = start + count
        return self.data[start : self.position]

    def block(self, size_of_length: int) -> bytes:
        """Take a length and so many bytes; they count as values, a few at a time."""
        block = self.take(self.integer(size_of_length))
        self.charge(len(block) >> 3)
        return block

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=size > 1)

    def items(self, size_of_count: int, level: int) -> list[Any]:
        count = self.integer(size_of_count)
        if not 0 <= count <= len(self.data) - self.position:
            raise SerializeError("invalid marshal payload: it claims more items than it has bytes")
        return [self.value(level) for _ in range(count)]

    def end(self) -> None:
        if self.position != len(self.data):
            raise SerializeError("invalid marshal payload: it goes on behind its end")


def _digits(reader: _Reader) -> int:
    count = reader.integer(4)
    block = reader.take(2 * abs(count))
    reader.charge(len(block) >> 3)
    digits = struct.unpack(f"<{abs(count)}H", block)
    if not digits:
        return 0
    if max(digits) >= 1 << 15 or not digits[-1]:
        raise SerializeError("invalid marshal payload: an int has impossible digits")
    value = int("".join([f"{digit:015b}" for digit in reversed(digits)]), 2)
    return value if count > 0 else -value


def _float(reader: _Reader) -> float:
    value: float = struct.unpack("<d", reader.take(8))[0]
    return value


def _float_text(reader: _Reader) -> float:
    return float(reader.block(1))


def _text(reader: _Reader) -> str:
    return str(reader.block(4), "utf-8", "surrogatepass")


def _dict(reader: _Reader, level: int) -> dict[Any, Any]:
    keys, values = [], []
    while reader.take(1) != b"0":
        reader.position -= 1
        keys.append(reader.value(level))
        values.append(reader.value(level))
    return dict(zip(check_keys(keys), values, strict=True))


_REFERENCE = ord("r")
_CONSTANTS = {ord("N"): None, ord("T"): True, ord("F"): False}
_SCALARS: dict[int, Callable[[_Reader], Any]] = {
    ord("i"): lambda reader: reader.integer(4),
    ord("I"): lambda reader: reader.integer(8),
    ord("l"): _digits,
    ord("g"): _float,
    ord("f"): _float_text,
    ord("y"): lambda reader: complex(_float(reader), _float(reader)),
    ord("x"): lambda reader: complex(_float_text(reader), _float_text(reader)),
    ord("s"): lambda reader: reader.block(4),
    ord("u"): _text,
    ord("t"): _text,
    ord("a"): lambda reader: str(reader.block(4), "ascii"),
    ord("A"): lambda reader: str(reader.block(4), "ascii"),
    ord("z"): lambda reader: str(reader.block(1), "ascii"),
    ord("Z"): lambda reader: str(reader.block(1), "ascii"),
}
_CONTAINERS: dict[int, Callable[[_Reader, int], Any]] = {
    ord("("): lambda reader, level: tuple(reader.items(4, level)),
    ord(")"): lambda reader, level: tuple(reader.items(1, level)),
    ord("["): lambda reader, level: reader.items(4, level),
    ord("<"): lambda reader, level: set(check_keys(reader.items(4, level))),
    ord(">"): lambda reader, level: frozenset(check_keys(reader.items(4, level))),
    ord("{"): _dict,
}

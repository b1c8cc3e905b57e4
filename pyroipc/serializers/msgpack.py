"""The msgpack format: compact and fast; needs the msgpack library.

Payload: ``packb`` with separate str and bin types; a call is an array of four, ``[object id,
member, args, kwargs]``.  Tuples and sets arrive as lists.  Extension types, as Pyro5 has them
(native byte order: both ends need the same kind of machine):

====  ===================  =====================================================
code  type                 data
====  ===================  =====================================================
0x30  complex              two float64: real, imag
0x31  int beyond 64 bits   its decimal digits in ASCII
0x32  naive datetime       one float64, POSIX timestamp, read as local time
0x33  date                 one C long, proleptic ordinal
====  ===================  =====================================================

The library makes room for as many items as a header claims, and one byte can cost 88.  So
payloads in which the bytes that begin containers are many are scanned first, in Python: nesting,
claims that the rest of the payload cannot fulfil, and the memory it would take.

Keys: str and bytes, as in Pyro5; maps with int, bool or None keys are decoded too, after the
scan has seen that there are no other keys.  Others would let a peer choose keys that collide.
"""

from __future__ import annotations

import re
import struct

import msgpack as library

from pyroipc.errors import PyroError, SecurityError, SerializeError
from pyroipc.serializers.base import (
    MAX_DEPTH,
    Serializer,
    check_keys,
    checked_call,
    decoding_fault,
    encoding_fault,
)
from pyroipc.serializers.classes import class_to_dict, dict_to_class, simple_value
from pyroipc.serializers.culprits import cannot_send, cannot_send_call
from pyroipc.serializers.typed import TAGS, Rebuilder, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyroipc.serializers.base import (
        Buffer,
        ClassesFor,
        DecodedCall,
        PeerImage,
        References,
    )

__all__ = ["MsgpackSerializer"]

_installed: Any = library.version
if _installed < (1, 2, 3):
    raise ImportError("msgpack before 1.2.3 leaks memory and crashes on hostile input")

_pack: Any = library.packb
_unpack: Any = library.unpackb


class MsgpackSerializer(Serializer):
    """MessagePack, id 4."""

    __slots__ = ()

    name = "msgpack"
    id = 4
    trust = "data"

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            packed: bytes = _pack(value, use_bin_type=True, default=_default)
        except SerializeError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("msgpack", value, error)) from error
        return packed

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads.

        Raises:
            SerializeError: the bytes are not a valid payload, or exceed a limit.
            SecurityError: a class in it may never be rebuilt.
        """
        try:
            return _read(data if isinstance(data, bytes) else bytes(data))
        except (SerializeError, SecurityError):
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("msgpack", error)) from error

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self.dumps((object_id, member, args, kwargs))

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self.loads(data))

    def for_connection(
        self,
        peer: PeerImage,
        references: References | None = None,
        classes_for: ClassesFor | None = None,
    ) -> Serializer:
        """Return the typed form: what is sent is what arrives."""
        return TypedMsgpackSerializer(Values(references, classes_for))


class TypedMsgpackSerializer(MsgpackSerializer):
    """What msgpack's form for our own dialect is.

    Extension types: 0x40 a bytearray, its content; 0x41 an int, big-endian
    two's complement; 0x54 the number of a tag in ``typed.TAGS``, as the first item of an array
    that stands for a value: ``[tag, data]``, or ``[tag, item, ...]`` for a tuple.
    """

    __slots__ = ("_values",)

    is_typed = True

    def __init__(self, values: Values) -> None:
        self._values = values

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            packed = self._packed(value)
            if type(value) not in _SCALARS and _find_bin(packed):
                packed = self._with_bytearrays(value, packed)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send("msgpack", self._values, value, error)
        return packed

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads."""
        return self._read(data, is_call=False)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        try:
            call = [object_id, member, list(args), kwargs]
            packed = self._packed(call)
            if (kwargs or not _SCALARS.issuperset(map(type, args))) and _find_bin(packed):
                packed = self._with_bytearrays(call, packed)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send_call("msgpack", self._values, args, kwargs, error)
        return packed

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self._read(data, is_call=True))

    def _packed(self, value: object) -> bytes:
        try:
            packed: bytes = _pack(value, strict_types=True, default=self._default)
        except UnicodeEncodeError:  # a lone surrogate in a text
            return _pack_slowly(value, self._again()._default)
        return packed

    def _again(self) -> TypedMsgpackSerializer:
        return TypedMsgpackSerializer(self._values.again())

    def _default(self, value: Any) -> object:
        kind = type(value)
        if kind is tuple:
            return [_MARKERS["tuple"], *value]
        if kind is int:
            size = value.bit_length() // 8 + 1
            return library.ExtType(_INT, value.to_bytes(size, "big", signed=True))
        if kind is bytearray:
            return library.ExtType(_BYTEARRAY, bytes(value))
        tag, data = self._values.describe(value)
        if tag is not None:
            return [_MARKERS[tag], data]
        return data if type(data) in _NATIVE else self._default(data)

    def _with_bytearrays(self, value: object, packed: bytes) -> bytes:
        """Pack again if there are bytearrays, which the library takes for bytes."""
        walked = _replaced(value)
        if walked is value and _MARK_BYTES not in packed:
            return packed
        default = self._again()._default
        return _pack_slowly(walked, lambda part: _replaced(default(part)))

    def _read(self, data: Buffer, *, is_call: bool) -> object:
        try:
            payload = data if isinstance(data, bytes) else bytes(data)
            return _read_typed(payload, self._values, is_call=is_call)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("msgpack", error)) from error


# ---------------------------------------------------------------------------------------- encoding


def _default(obj: object) -> object:
    """Replace what the library cannot encode by what it can.

    Raises:
        SerializeError: there is nothing to replace it by.
    """
    import datetime
    import numbers

    if isinstance(obj, datetime.datetime):
        if obj.tzinfo is not None:
            raise SerializeError("msgpack cannot encode a datetime with timezone info")
        return library.ExtType(0x32, struct.pack("d", obj.timestamp()))
    if isinstance(obj, datetime.date):
        return library.ExtType(0x33, struct.pack("l", obj.toordinal()))
    plain = simple_value(obj)
    if plain is not obj:
        return plain
    if isinstance(obj, numbers.Number):
        return _number(obj)
    return class_to_dict(obj)


def _number(obj: Any) -> object:
    import numbers

    if isinstance(obj, numbers.Integral):
        return library.ExtType(0x31, str(int(obj)).encode("ascii"))
    if isinstance(obj, numbers.Rational):
        raise SerializeError(f"msgpack cannot encode {type(obj)}")
    if isinstance(obj, numbers.Real):
        return float(obj)
    value = complex(obj)
    return library.ExtType(0x30, struct.pack("dd", value.real, value.imag))


_BYTEARRAY = 0x40
_INT = 0x41
_MARK = 0x54
_MARK_BYTES = bytes([0xD4, _MARK])
_MARKERS = {tag: library.ExtType(_MARK, bytes([number])) for number, tag in enumerate(TAGS)}
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_NATIVE = frozenset({*_SCALARS, list, dict})
_find_bin = re.compile(rb"[\xc4-\xc6]").search
"""Find what may be the header of bytes."""


def _pack_slowly(value: object, default: Callable[[Any], object]) -> bytes:
    packed: bytes = _pack(
        value, strict_types=True, default=default, unicode_errors="surrogatepass"
    )
    return packed


def _replaced(value: Any) -> Any:
    """Return a value without bytearrays in its lists and dicts: itself, if it has none."""
    kind = type(value)
    if kind is bytearray:
        return library.ExtType(_BYTEARRAY, bytes(value))
    if kind is list:
        if _CHANGING.isdisjoint(map(type, value)):
            return value
        items = [_replaced(item) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return items if changed else value
    if kind is dict:
        if _CHANGING.isdisjoint(map(type, value.values())):
            return value
        replaced = {key: _replaced(item) for key, item in value.items()}
        changed = any(replaced[key] is not item for key, item in value.items())
        return replaced if changed else value
    return value


_CHANGING = frozenset({bytearray, list, dict})


# ---------------------------------------------------------------------------------------- decoding


def _extension(code: int, data: bytes) -> object:
    import datetime

    if code == 0x30:
        return complex(*struct.unpack("dd", data))
    if code == 0x31:
        return int(data)
    if code == 0x32:
        return datetime.datetime.fromtimestamp(struct.unpack("d", data)[0])  # noqa: DTZ006 - Pyro's
    if code == 0x33:
        return datetime.date.fromordinal(struct.unpack("l", data)[0])
    raise SerializeError(f"invalid ext code for msgpack: {code}")


def _object(data: dict[str, Any]) -> object:
    return dict_to_class(data) if "__class__" in data else data


_COUNT_SAFELY = 200
_BASE_MEMORY = 4 << 20
_MEMORY_PER_BYTE = 56
"""Decoding may take 4 MiB and 56 times the payload; a list of {"ab": 1} takes just that."""


def _read(data: bytes) -> object:
    plain_keys = len(data) <= _COUNT_SAFELY or not _suspicious(data) or _scan(data)
    hook = _object if b"__class__" in data else None
    if plain_keys:
        try:
            return _unpack(data, raw=False, object_hook=hook, ext_hook=_extension)
        except (SerializeError, SecurityError):
            raise
        except ValueError:
            if _scan(data):  # not because of keys that are ints
                raise
    return _unpack(data, raw=False, object_hook=hook, ext_hook=_extension, strict_map_key=False)


class _Marker:
    """The first item of an array that stands for a value, while it is read."""

    __slots__ = ("tag",)

    def __init__(self, tag: str) -> None:
        self.tag = tag


_MARKS = {bytes([number]): _Marker(tag) for number, tag in enumerate(TAGS)}


class _Reader:
    """Makes the values of one payload of the typed form."""

    __slots__ = ("_open", "_rebuild")

    def __init__(self, rebuilder: Rebuilder) -> None:
        self._rebuild = rebuilder.rebuild
        self._open = 0  # markers that are not the begin of an array yet

    def extension(self, code: int, data: bytes) -> object:
        if code != _MARK:
            return _leaf(code, data)
        self._open += 1
        return _MARKS[data]

    def array(self, items: list[Any]) -> object:
        if not items or type(items[0]) is not _Marker:
            return items
        self._open -= 1
        tag = items[0].tag
        if tag == "tuple":
            del items[0]
            return tuple(items)
        _, data = items
        return self._rebuild(tag, data)

    def check(self) -> None:
        """Refuse what is left over.

        Raises:
            SerializeError: there was a marker that is not the begin of an array.
        """
        if self._open:
            raise SerializeError("invalid msgpack payload: a marker is out of place")


def _leaf(code: int, data: bytes) -> object:
    if code == _INT:
        return int.from_bytes(data, "big", signed=True)
    if code == _BYTEARRAY:
        return bytearray(data)
    raise SerializeError(f"invalid ext code for msgpack: {code}")


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    check_keys([key for key, _ in pairs])
    return dict(pairs)


def _read_typed(data: bytes, values: Values, *, is_call: bool) -> Any:
    """Read a payload of the typed form; only those with other keys than texts are read twice.

    Raises:
        PyroError: a value may not be rebuilt, or the payload exceeds a limit.
        ValueError: the payload is broken.
    """
    strict = len(data) <= _COUNT_SAFELY or not _suspicious(data) or _scan(data, typed=True)
    marked = _MARK_BYTES in data
    if strict:
        try:
            return (
                _read_marked(data, values, is_call)
                if marked
                else _unpack(data, raw=False, ext_hook=_leaf)
            )
        except PyroError:
            raise
        except ValueError as error:
            # A key that is no text; texts with lone surrogates; or a broken payload.
            if _scan(data, typed=True) and not isinstance(error, UnicodeDecodeError):
                raise
    options = {"strict_map_key": False, "unicode_errors": "surrogatepass"}
    if marked:
        return _read_marked(data, values, is_call, object_pairs_hook=_pairs, **options)
    return _unpack(data, raw=False, ext_hook=_leaf, object_pairs_hook=_pairs, **options)


def _read_marked(data: bytes, values: Values, is_call: bool, **options: Any) -> Any:  # noqa: FBT001 - private
    rebuilder = Rebuilder(values, len(data), (lambda: _head_of(data)) if is_call else None)
    reader = _Reader(rebuilder)
    value = _unpack(data, raw=False, ext_hook=reader.extension, list_hook=reader.array, **options)
    reader.check()
    rebuilder.check_head(value)
    return value


def _head_of(data: bytes) -> tuple[object, object]:
    unpacker = library.Unpacker(max_buffer_size=len(data), read_size=len(data))
    unpacker.feed(data)
    unpacker.read_array_header()
    return unpacker.unpack(), unpacker.unpack()


_NOT_CONTAINERS = bytes(
    code for code in range(256) if not (0x80 <= code <= 0x9F or 0xDC <= code <= 0xDF)
)
_NOT_WIDE = bytes(code for code in range(256) if not 0xDC <= code <= 0xDF)


def _suspicious(data: bytes) -> bool:
    """Tell whether there may be enough container headers for a dangerous payload."""
    if len(data.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH:
        return True
    return len(data.translate(None, _NOT_WIDE)) * 8 * len(data) > _BASE_MEMORY


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


def _scan(data: bytes, *, typed: bool = False) -> bool:
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

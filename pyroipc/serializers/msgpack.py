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

Payloads in which the bytes that begin containers are many are scanned first: ``msgpack_scan``.

Keys: str and bytes, as in Pyro5; maps with int, bool or None keys are decoded too, after the
scan has seen that there are no other keys.  Others would let a peer choose keys that collide.
"""

from __future__ import annotations

import re

import msgpack as library

from pyroipc.errors import PyroError, SecurityError, SerializeError
from pyroipc.serializers.base import (
    Serializer,
    check_keys,
    checked_call,
    decoding_fault,
    encoding_fault,
)
from pyroipc.serializers.classes import dict_to_class
from pyroipc.serializers.culprits import cannot_send, cannot_send_call
from pyroipc.serializers.msgpack_extensions import extension, plainer, replace
from pyroipc.serializers.msgpack_scan import is_harmless, scan
from pyroipc.serializers.msgpack_walk import (
    BYTEARRAY,
    INT,
    MARK,
    MARK_BYTES,
    MARKERS,
    look_into,
    replaced,
)
from pyroipc.serializers.parts import APART_BYTES, LargeFoundError, learn_types
from pyroipc.serializers.pyro import PyroForm, PyroValues
from pyroipc.serializers.typed import TAGS, Rebuilder, Values, encode_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.serializers.base import (
        Buffer,
        ClassesFor,
        DecodedCall,
        Manner,
        PeerImage,
        References,
    )
    from pyroipc.serializers.parts import Parts

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
            packed: bytes = _pack(value, use_bin_type=True, default=replace)
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
        learn_types()
        values = Values(references, classes_for)
        return TypedMsgpackSerializer(values.wary(), TypedMsgpackSerializer(values))

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro; see Serializer.for_pyro."""
        return PyroMsgpackSerializer(manner)


class TypedMsgpackSerializer(MsgpackSerializer):
    """What msgpack's form for our own dialect is.

    Extension types: 0x40 a bytearray, its content; 0x41 an int, big-endian
    two's complement; 0x54 the number of a tag in ``typed.TAGS``, as the first item of an array
    that stands for a value: ``[tag, data]``, or ``[tag, item, ...]`` for a tuple.
    """

    __slots__ = ("_inline", "_values")

    is_typed = True

    def __init__(self, values: Values, inline: TypedMsgpackSerializer | None = None) -> None:
        self._values = values
        self._inline = inline  # keeps large buffers; None: this one does

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps."""
        return (self._inline or self).dumps_parts(value)  # type: ignore[return-value]

    def dumps_parts(self, value: object) -> bytes | Parts:
        """Encode one value; see Serializer.dumps_parts.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            if type(value) in _TINY:
                return self._packed(value)
            self._values.apart_all((value,))
            return self._packed_carefully(value)
        except LargeFoundError:
            return encode_apart(TypedMsgpackSerializer, self._values, "dumps_parts", value)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send("msgpack", self._values, value, error)

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads."""
        return self._read(data, is_call=False)

    def loads_parts(self, data: Buffer, buffers: Sequence[Any]) -> object:
        """Decode one value; see Serializer.loads_parts."""
        return self._read(data, buffers, is_call=False)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return (self._inline or self).dumps_call_parts(object_id, member, args, kwargs)  # type: ignore[return-value]

    def dumps_call_parts(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes | Parts:
        """Encode a call; see Serializer.dumps_call_parts.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        try:
            call = [object_id, member, list(args), kwargs]
            if not kwargs and _TINY.issuperset(map(type, args)):
                return self._packed(call)
            self._values.apart_all((*args, *kwargs.values()) if kwargs else args)
            return self._packed_carefully(call)
        except LargeFoundError:
            parts = (object_id, member, args, kwargs)
            return encode_apart(TypedMsgpackSerializer, self._values, "dumps_call_parts", *parts)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send_call("msgpack", self._values, args, kwargs, error)

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self._read(data, is_call=True))

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode a call; see Serializer.loads_call_parts."""
        return checked_call(self._read(data, buffers, is_call=True))

    def _packed(self, value: object) -> bytes:
        try:
            packed: bytes = _pack(value, strict_types=True, default=self._default)
        except (ValueError, BufferError):  # a lone surrogate in a text, a memoryview with gaps
            return self._packed_again(value)
        return packed

    def _packed_carefully(self, value: object) -> bytes:
        """Pack what may hold what the library takes for bytes, or large buffers."""
        if self._values.is_stowing:
            return self._packed_slowly(value)
        packed = self._packed(value)
        if not _find_bin(packed):
            return packed
        if len(packed) >= APART_BYTES and not self._values.keeps_large:
            look_into(value)
        # Again if there are bytearrays, or memoryviews, which the library takes for bytes.
        walked = replaced(value, None)
        if walked is value and MARK_BYTES not in packed:
            return packed
        return self._packed_again(value)

    def _packed_again(self, value: object) -> bytes:
        """Pack what was packed before, or tried, with a look at each value."""
        return TypedMsgpackSerializer(self._values.again())._packed_slowly(value)  # noqa: SLF001

    def _packed_slowly(self, value: object) -> bytes:
        apart = None if self._values.keeps_large else self._values.apart
        packed: bytes = _pack(
            replaced(value, apart),
            strict_types=True,
            default=lambda part: replaced(self._default(part), apart),
            unicode_errors="surrogatepass",
        )
        return packed

    def _default(self, value: Any) -> object:
        kind = type(value)
        if kind is tuple:
            return [MARKERS["tuple"], *value]
        if kind is int:
            size = value.bit_length() // 8 + 1
            return library.ExtType(INT, value.to_bytes(size, "big", signed=True))
        if kind is bytearray:
            return library.ExtType(BYTEARRAY, bytes(value))
        tag, data = self._values.describe(value)
        if tag is not None:
            return [MARKERS[tag], data]
        return data if type(data) in _NATIVE else self._default(data)

    def _read(self, data: Buffer, buffers: Sequence[Any] = (), *, is_call: bool) -> object:
        try:
            payload = data if isinstance(data, bytes) else bytes(data)
            return _read_typed(payload, self._values, buffers, is_call=is_call)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("msgpack", error)) from error


class PyroMsgpackSerializer(PyroForm, MsgpackSerializer):
    """What msgpack's form for peers that are Pyro is.

    The library is told to be strict, so that it asks about subclasses of what it knows as well;
    it also asks about tuples then.
    """

    __slots__ = ("_values",)

    def __init__(self, manner: Manner, *, is_probe: bool = False) -> None:
        self._values = PyroValues(manner, PyroMsgpackSerializer, is_probe=is_probe)

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
            PyroError: what stands for a value cannot be told.
        """
        try:
            packed: bytes = _pack(value, strict_types=True, default=self._default)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("msgpack", value, error)) from error
        return packed

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self.dumps([object_id, member, list(args), kwargs])

    def dumps_error(self, exception: BaseException, lines: list[str] | None) -> bytes:
        """Encode an exception; see PyroForm.dumps_error."""
        return self._values.dumps_error(exception, lines, self.dumps)

    def _default(self, value: Any) -> object:
        kind = type(value)
        if kind is tuple:
            return list(value)
        values = self._values
        if kind not in _REPLACED:
            described = values.describe(value)
            if described is not None:
                return described
            plain = plainer(value)
            if plain is not value:
                return plain
        replaced = replace(value, values.class_to_dict)
        # The library asks only once about a value: nothing may come of it but what it knows.
        return list(replaced) if type(replaced) is tuple else replaced


# ---------------------------------------------------------------------------------------- encoding


_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_TINY = _SCALARS - {bytes}
_NATIVE = frozenset({*_SCALARS, list, dict})
_REPLACED = frozenset({int, complex, set, frozenset})
"""Plain types that the library does not know, or not always."""
_find_bin = re.compile(rb"[\xc4-\xc6]").search
"""Find what may be the header of bytes."""


# ---------------------------------------------------------------------------------------- decoding


def _object(data: dict[str, Any]) -> object:
    return dict_to_class(data) if "__class__" in data else data


def _read(data: bytes) -> object:
    plain_keys = is_harmless(data) or scan(data)
    hook = _object if b"__class__" in data else None
    if plain_keys:
        try:
            return _unpack(data, raw=False, object_hook=hook, ext_hook=extension)
        except (SerializeError, SecurityError):
            raise
        except ValueError:
            if scan(data):  # not because of keys that are ints
                raise
    return _unpack(data, raw=False, object_hook=hook, ext_hook=extension, strict_map_key=False)


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
        if code != MARK:
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
    if code == INT:
        return int.from_bytes(data, "big", signed=True)
    if code == BYTEARRAY:
        return bytearray(data)
    raise SerializeError(f"invalid ext code for msgpack: {code}")


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    check_keys([key for key, _ in pairs])
    return dict(pairs)


def _read_typed(data: bytes, values: Values, buffers: Sequence[Any], *, is_call: bool) -> Any:
    """Read a payload of the typed form; only those with other keys than texts are read twice.

    Raises:
        PyroError: a value may not be rebuilt, or the payload exceeds a limit.
        ValueError: the payload is broken.
    """
    strict = is_harmless(data) or scan(data, typed=True)
    marked = MARK_BYTES in data
    if strict:
        try:
            return (
                _read_marked(data, values, buffers, is_call)
                if marked
                else _unpack(data, raw=False, ext_hook=_leaf)
            )
        except PyroError:
            raise
        except ValueError as error:
            # A key that is no text; texts with lone surrogates; or a broken payload.
            if scan(data, typed=True) and not isinstance(error, UnicodeDecodeError):
                raise
    options = {"strict_map_key": False, "unicode_errors": "surrogatepass"}
    if marked:
        return _read_marked(data, values, buffers, is_call, object_pairs_hook=_pairs, **options)
    return _unpack(data, raw=False, ext_hook=_leaf, object_pairs_hook=_pairs, **options)


def _read_marked(
    data: bytes,
    values: Values,
    buffers: Sequence[Any],
    is_call: bool,  # noqa: FBT001 - private
    **options: Any,
) -> Any:
    head = (lambda: _head_of(data)) if is_call else None
    rebuilder = Rebuilder(values, len(data), head, buffers)
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

"""The marshal format: Python's own, fast, for trusted peers only.

Payload: ``marshal.dumps`` of the value; a call is the tuple ``(object id, member, list of args,
kwargs)``.  Both ends need Pythons whose marshal formats agree.

``marshal.loads`` can be crashed by the bytes it is given, and CPython does not count that as a
fault; hence the trust level ``"code"``, and hence no other limit is worth its price here.

As in Pyro, an instance of a class is turned into a dict where it is the value itself or an
argument; unlike Pyro, also where it is nested in containers, at the price of a second pass.  An
object nested in a container that has a buffer (an array, a numpy scalar) is written as its raw
bytes by marshal itself, without a word.
"""

from __future__ import annotations

import marshal
import re
import sys
from _pickle import Pickler  # it writes nothing here

from pyroipc.errors import PyroError, SecurityError, SerializeError
from pyroipc.serializers.base import (
    MAX_DEPTH,
    Serializer,
    checked_call,
    decoding_fault,
    encoding_fault,
)
from pyroipc.serializers.classes import class_to_dict, recreate, simple_value
from pyroipc.serializers.culprits import cannot_send, cannot_send_call
from pyroipc.serializers.parts import APART_BYTES, LargeFoundError, learn_types
from pyroipc.serializers.pyro import PyroForm, PyroValues
from pyroipc.serializers.typed import Rebuilder, Values, encode_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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

__all__ = ["MarshalSerializer"]


class MarshalSerializer(Serializer):
    """Marshal, id 2."""

    __slots__ = ()

    name = "marshal"
    id = 2
    trust = "code"

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            return _write(_marshallable(value))
        except SerializeError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("marshal", value, error)) from error

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads.

        Raises:
            SerializeError: the bytes are not a valid payload.
            SecurityError: a class in it may never be rebuilt.
        """
        try:
            payload = data if isinstance(data, bytes) else bytes(data)
            value = marshal.loads(payload, **_OPTIONS)
            return recreate(value) if b"__class__" in payload else value
        except (SerializeError, SecurityError):
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("marshal", error)) from error

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
            plain_args = [_marshallable(value) for value in args]
            if kwargs:
                kwargs = {key: _marshallable(value) for key, value in kwargs.items()}
            return _write((object_id, member, plain_args, kwargs))
        except SerializeError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("marshal", args, error)) from error

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
        return TypedMarshalSerializer(values.wary(), TypedMarshalSerializer(values))

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro; see Serializer.for_pyro."""
        return PyroMarshalSerializer(manner)


class TypedMarshalSerializer(MarshalSerializer):
    r"""What marshal's form for our own dialect is.

    A value that marshal knows in all its parts goes as in the plain form.  Any other as ``\\x01``
    and what marshal makes of it when each part that it does not know is replaced by the tuple
    ``(..., tag, data)``; ``...`` itself is one of those then.
    """

    __slots__ = ("_inline", "_values")

    is_typed = True

    def __init__(self, values: Values, inline: TypedMarshalSerializer | None = None) -> None:
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
            surely_plain = type(value) in _TINY
            if not surely_plain:
                self._values.apart_all((value,))
            return self._written(value, surely_plain=surely_plain)
        except LargeFoundError:
            return encode_apart(TypedMarshalSerializer, self._values, "dumps_parts", value)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send("marshal", self._values, value, error)

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
            surely_plain = not kwargs and _TINY.issuperset(map(type, args))
            if not surely_plain:
                self._values.apart_all((*args, *kwargs.values()) if kwargs else args)
            return self._written(
                (object_id, member, list(args), kwargs), surely_plain=surely_plain
            )
        except LargeFoundError:
            call = (object_id, member, args, kwargs)
            return encode_apart(TypedMarshalSerializer, self._values, "dumps_call_parts", *call)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send_call("marshal", self._values, args, kwargs, error)

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self._read(data, is_call=True))

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode a call; see Serializer.loads_call_parts."""
        return checked_call(self._read(data, buffers, is_call=True))

    def _written(self, value: Any, *, surely_plain: bool) -> bytes:
        if not surely_plain and self._values.is_stowing:  # marshal would copy the large ones
            return b"\x01" + marshal.dumps(_tagged(value, self._values, 0))
        try:
            plain = marshal.dumps(value)
        except ValueError:  # "unmarshallable object"
            return b"\x01" + marshal.dumps(_tagged(value, self._values, 0))
        if surely_plain or not _may_hold_buffers(plain):
            return plain
        try:
            tagged = _tagged(value, self._values, 0)
        except RecursionError:  # it contains itself, which marshal can do
            return plain
        return plain if tagged is value else b"\x01" + marshal.dumps(tagged)

    def _read(self, data: Buffer, buffers: Sequence[Any] = (), *, is_call: bool) -> Any:
        try:
            payload = data if isinstance(data, bytes) else bytes(data)
            if payload[:1] != b"\x01":
                return marshal.loads(payload, **_OPTIONS)
            value = marshal.loads(memoryview(payload)[1:], **_OPTIONS)
            head = (lambda: value[:2]) if is_call and type(value) is tuple else None
            rebuilder = Rebuilder(self._values, len(payload), head, buffers)
            return _untagged(value, rebuilder, 0)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("marshal", error)) from error


# What marshal writes for bytes: "s" and four bytes, the length.  It writes the same for whatever
# has a buffer.  Below 16 MiB the last of the four is zero, which is rarely so behind another "s".
_find_bytes = re.compile(rb"s[\s\S]{3}\x00").search
_find_shared_bytes = re.compile(rb"\xf3[\s\S]{3}\x00").search
_SCALARS = frozenset({str, int, float, complex, bytes, bool, type(None)})
_TINY = _SCALARS - {bytes}


def _may_hold_buffers(payload: bytes) -> bool:
    return (
        len(payload) >= 1 << 24
        or _find_bytes(payload) is not None
        or _find_shared_bytes(payload) is not None
    )


def _tagged(value: Any, values: Values, level: int) -> Any:
    """Replace the parts that marshal does not know; return the value itself if it has none.

    Raises:
        SerializeError: a part cannot be sent.
        RecursionError: the value is nested too deep.
    """
    kind = type(value)
    if kind in _SCALARS:
        apart = values.apart(value) if kind is bytes and len(value) >= APART_BYTES else None
        return value if apart is None else (..., *apart)
    if level > MAX_DEPTH:
        raise RecursionError
    level += 1
    surely_plain = _SCALARS if values.keeps_large else _TINY
    if kind is list or kind is tuple:
        if surely_plain.issuperset(map(type, value)):
            return value
        items = [_tagged(item, values, level) for item in value]
        unchanged = all(new is old for new, old in zip(items, value, strict=True))
        return value if unchanged else kind(items)
    if kind is dict and _SCALARS.issuperset(map(type, value)):
        if surely_plain.issuperset(map(type, value.values())):
            return value
        replaced = {key: _tagged(item, values, level) for key, item in value.items()}
        unchanged = all(replaced[key] is item for key, item in value.items())
        return value if unchanged else replaced
    if (kind is set or kind is frozenset) and _SCALARS.issuperset(map(type, value)):
        return value
    tag, data = values.describe(value)
    data = _tagged(data, values, level)
    return data if tag is None else (..., tag, data)


def _untagged(value: Any, rebuilder: Rebuilder, level: int) -> Any:
    """Make the values that the tuples with ``...`` stand for.

    Raises:
        SerializeError: one stands for nothing, or it is nested too deep.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if level > 2 * MAX_DEPTH:
        raise SerializeError("the payload is nested too deep, or contains itself")
    level += 1
    if kind is list:
        return [_untagged(item, rebuilder, level) for item in value]
    if kind is dict:
        return {key: _untagged(item, rebuilder, level) for key, item in value.items()}
    if kind is not tuple:
        return value
    if value and value[0] is ...:
        _, tag, data = value
        return rebuilder.rebuild(tag, _untagged(data, rebuilder, level))
    return tuple([_untagged(item, rebuilder, level) for item in value])


class PyroMarshalSerializer(PyroForm, MarshalSerializer):
    """What marshal's form for peers that are Pyro is.

    Unlike Pyro itself, it looks for objects inside of containers, too, and for what has a buffer.
    """

    __slots__ = ("_values",)

    def __init__(self, manner: Manner, *, is_probe: bool = False) -> None:
        self._values = PyroValues(manner, PyroMarshalSerializer, is_probe=is_probe)

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        return self._written(value, surely_plain=type(value) in _SCALARS)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        surely_plain = not kwargs and _SCALARS.issuperset(map(type, args))
        return self._written((object_id, member, list(args), kwargs), surely_plain=surely_plain)

    def dumps_error(self, exception: BaseException, lines: list[str] | None) -> bytes:
        """Encode an exception; see PyroForm.dumps_error."""
        return self._values.dumps_error(exception, lines, self.dumps)

    def _written(self, value: Any, *, surely_plain: bool) -> bytes:
        try:
            try:
                plain = marshal.dumps(value)
            except ValueError:  # "unmarshallable object"
                return marshal.dumps(_deep(value, self._marshallable))
            if surely_plain or not _may_hold_buffers(plain) or _is_plain(value):
                return plain
            try:
                return marshal.dumps(_deep(value, self._marshallable))
            except RecursionError:  # it contains itself, which marshal can do
                return plain
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("marshal", value, error)) from error

    def _marshallable(self, obj: object) -> object:
        """Turn one value into what marshal knows, asking what stands for it."""
        if type(obj) in _EXACT:
            return obj
        described = self._values.describe(obj)
        if described is None:
            described = _marshallable(obj, self._values.class_to_dict)  # type: ignore[assignment]
        return described


class _NotPlainError(Exception):
    """There is an object that is not exactly of a plain type."""


class _Inspector(Pickler):
    """Looks at all parts of a value in C, as fast as marshal writes them, and keeps nothing.

    A walk in Python takes ten times as long, and what may be bytes is often something else.
    """

    def reducer_override(self, obj: object) -> Any:
        raise _NotPlainError


class _Nowhere:
    __slots__ = ()

    def write(self, data: bytes) -> int:
        return len(data)


def _is_plain(value: object) -> bool:
    inspector = _Inspector(_Nowhere(), 5)
    inspector.fast = True
    try:
        inspector.dump(value)
    except Exception:  # noqa: BLE001 - also what contains itself
        return False
    return True


_OPTIONS: dict[str, Any] = {"allow_code": False} if sys.version_info >= (3, 13) else {}
_CUT_DOWN: tuple[tuple[type, Callable[[Any], object]], ...] = (  # bases of what marshal refuses
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    *((base, base) for base in (complex, bytes, bytearray, list, tuple, dict, frozenset)),
)
_CONTAINERS = frozenset({list, tuple, set, frozenset})
_EXACT = frozenset({
    str, int, float, complex, bytes, bytearray, type(None), bool, type(...),
    tuple, list, set, frozenset, dict,
})  # fmt: skip


def _write(value: Any) -> bytes:
    try:
        return marshal.dumps(value)
    except ValueError:  # "unmarshallable object": look for it in the containers
        return marshal.dumps(_deep(value))


def _marshallable(obj: object, to_dict: Callable[[Any], object] = class_to_dict) -> object:
    """Turn one value into what marshal knows; what is inside a container is left alone."""
    if type(obj) in _EXACT:
        return obj
    for base, cut in _CUT_DOWN:
        if isinstance(obj, base):
            return cut(obj)
    plain = simple_value(obj)
    return to_dict(obj) if plain is obj else plain


def _deep(value: Any, marshallable: Callable[[object], object] = _marshallable) -> Any:
    """Turn a value and what is in its containers into what marshal knows."""
    if type(value) in _SCALARS:
        return value
    value = marshallable(value)
    kind = type(value)
    if kind is dict:
        return {_deep(key, marshallable): _deep(item, marshallable) for key, item in value.items()}
    if kind in _CONTAINERS:
        return kind([_deep(item, marshallable) for item in value])
    return value

"""The JSON format: readable by anything, but without bytes, tuples, sets and int keys.

Payload: JSON in UTF-8, non-ASCII written as it is; a call is the object
``{"object": .., "method": .., "params": [..], "kwargs": {..}}``.  NaN and the infinities travel
as the non-standard words that Python's json module uses.

Decoding is the standard library's, which recurses in C; so the nesting is measured first.  That
also bounds the memory: the most that JSON can ask for at 200 levels is 52 times its length.
"""

from __future__ import annotations

import re
from binascii import b2a_base64 as _base64
from json.decoder import JSONDecoder
from json.encoder import JSONEncoder

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
from pyroipc.serializers.marshal_reader import is_plain
from pyroipc.serializers.parts import LargeFoundError, learn_types
from pyroipc.serializers.pyro import PyroForm, PyroValues, blob_of
from pyroipc.serializers.typed import (
    Rebuilder,
    Values,
    decimal_ints_are_bounded,
    encode_apart,
)

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

__all__ = ["JsonSerializer"]


class JsonSerializer(Serializer):
    """JSON, id 3."""

    __slots__ = ()

    name = "json"
    id = 3
    trust = "data"

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            return _encode(value).encode("utf-8")
        except SerializeError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("json", value, error)) from error

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads.

        Raises:
            SerializeError: the bytes are not a valid payload, or exceed a limit.
            SecurityError: a class in it may never be rebuilt.
        """
        try:
            value, hidden = _read(data)
            return recreate(value) if hidden else value
        except (SerializeError, SecurityError):
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("json", error)) from error

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self.dumps({
            "object": object_id,
            "method": member,
            "params": args,
            "kwargs": kwargs,
        })

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call.

        Raises:
            SerializeError: the bytes are not a valid call, or exceed a limit.
            SecurityError: a class in it may never be rebuilt.
        """
        return _call_of(self.loads(data))

    def for_connection(
        self,
        peer: PeerImage,
        references: References | None = None,
        classes_for: ClassesFor | None = None,
    ) -> Serializer:
        """Return the typed form: what is sent is what arrives."""
        learn_types()
        values = Values(references, classes_for)
        return TypedJsonSerializer(values.wary(), TypedJsonSerializer(values))

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro; see Serializer.for_pyro."""
        return PyroJsonSerializer(manner)


class TypedJsonSerializer(JsonSerializer):
    """What JSON's form for our own dialect is.

    What JSON does not know is the object ``{"@": tag, "v": data}``.  A dict that has the key
    ``"@"``, or keys that are no texts, is one of those.
    """

    __slots__ = ("_inline", "_values")

    is_typed = True

    def __init__(self, values: Values, inline: TypedJsonSerializer | None = None) -> None:
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
            return self._written(value)
        except LargeFoundError:
            return encode_apart(TypedJsonSerializer, self._values, "dumps_parts", value)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send("json", self._values, value, error)

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
        call = {"object": object_id, "method": member, "params": list(args), "kwargs": kwargs}
        try:
            surely_plain = not kwargs and _SCALARS.issuperset(map(type, args))
            return self._written(call, surely_plain=surely_plain)
        except LargeFoundError:
            return encode_apart(
                TypedJsonSerializer,
                self._values,
                "dumps_call_parts",
                object_id,
                member,
                args,
                kwargs,
            )
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send_call("json", self._values, args, kwargs, error)

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return self._read(data, is_call=True)  # type: ignore[no-any-return]

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode a call; see Serializer.loads_call_parts."""
        return self._read(data, buffers, is_call=True)  # type: ignore[no-any-return]

    def _written(self, value: object, *, surely_plain: bool = False) -> bytes:
        scalars = _SCALARS if decimal_ints_are_bounded() else _SURE_SCALARS
        try:
            if surely_plain and scalars is _SCALARS:
                text = _encode_tree(value)
            else:
                text = _encode_tree(_tree(value, self._values, 0, scalars))
        except ValueError:  # an int has too many digits
            if scalars is _SURE_SCALARS:
                raise
            text = _encode_tree(_tree(value, self._values.again(), 0, _SURE_SCALARS))
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogatepass")

    def _read(self, data: Buffer, buffers: Sequence[Any] = (), *, is_call: bool) -> Any:
        try:
            payload = data if isinstance(data, bytes) else bytes(data)
            text = _text_of(payload)
            if b'"@"' not in payload:
                value = _decode(text)
                return _call_of(value) if is_call else value
            head = (lambda: _head_of(text)) if is_call else None
            rebuilder = Rebuilder(self._values, len(payload), head, buffers)
            hook = _hook(rebuilder.rebuild)
            value = JSONDecoder(object_hook=hook).decode(text)
            if is_call:
                value = _call_of(value)
                rebuilder.check_head(value)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("json", error)) from error
        return value


_SCALARS: frozenset[type] = frozenset({str, int, float, bool, type(None)})
_SURE_SCALARS: frozenset[type] = _SCALARS - {int}
"""Those that need no look at them, if an int may be too long for decimal digits."""
_TEXTS = frozenset({str})
_MAX_BITS = 2000


def _tree(value: Any, values: Values, level: int, scalars: frozenset[type]) -> Any:
    """Return what JSON can show: the value itself, or with parts of it replaced.

    Raises:
        SerializeError: a part cannot be sent, or it is nested too deep.
    """
    kind = type(value)
    if kind in scalars or (kind is int and value.bit_length() < _MAX_BITS):
        return value
    if level >= MAX_DEPTH:
        raise SerializeError(
            f"json cannot encode this: it is nested deeper than {MAX_DEPTH} levels, "
            "or contains itself"
        )
    level += 1
    if kind is list:
        if scalars.issuperset(map(type, value)):
            return value
        return [_tree(item, values, level, scalars) for item in value]
    if kind is dict and "@" not in value and _TEXTS.issuperset(map(type, value)):
        if scalars.issuperset(map(type, value.values())):
            return value
        return {key: _tree(item, values, level, scalars) for key, item in value.items()}
    if kind is bytes:
        apart = values.apart(value)
        if apart is None:
            return {"@": "bytes", "v": _base64(value, newline=False).decode("ascii")}
        return {"@": apart[0], "v": apart[1]}
    tag, data = values.describe(value)
    tree = _tree(data, values, level, scalars)
    return tree if tag is None else {"@": tag, "v": tree}


def _hook(rebuild: Callable[[object, Any], object]) -> Callable[[dict[str, Any]], object]:
    def hook(found: dict[str, Any]) -> object:
        if "@" not in found:
            return found
        if len(found) != 2:
            raise SerializeError("invalid json payload: a key '@' is out of place")
        return rebuild(found["@"], found["v"])

    return hook


def _text_of(payload: bytes) -> str:
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:
        _check_depth(payload)
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        return str(payload, "utf-8", "surrogatepass")


def _head_of(text: str) -> tuple[object, object]:
    call = _decode(text)
    return call["object"], call["method"]


def _call_of(call: Any) -> DecodedCall:
    try:  # not in _parts_of: that would be a frame in each call
        parts = call["object"], call["method"], call["params"], call["kwargs"]
    except Exception as error:
        raise SerializeError(_NO_CALL) from error
    return checked_call(parts)


_NO_CALL = "the payload is not a call: an object with object, method, params and kwargs"


def _parts_of(call: Any) -> tuple[Any, Any, Any, Any]:
    try:
        return call["object"], call["method"], call["params"], call["kwargs"]
    except Exception as error:
        raise SerializeError(_NO_CALL) from error


class PyroJsonSerializer(PyroForm, JsonSerializer):
    """What JSON's form for peers that are Pyro is.

    The library writes an instance of a subclass of dict, list, str, int or float without a word.
    Where there is one, it is asked about first, and replaced.
    """

    __slots__ = ("_encode", "_values")

    def __init__(self, manner: Manner, *, is_probe: bool = False) -> None:
        self._values = PyroValues(manner, PyroJsonSerializer, is_probe=is_probe)
        self._encode = _PyroEncoder(self._values).encode

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
        call = {"object": object_id, "method": member, "params": args, "kwargs": kwargs}
        surely_plain = not kwargs and _SCALARS.issuperset(map(type, args))
        return self._written(call, surely_plain=surely_plain)

    def dumps_error(self, exception: BaseException, lines: list[str] | None) -> bytes:
        """Encode an exception; see PyroForm.dumps_error."""
        return self._values.dumps_error(exception, lines, self.dumps)

    def dumps_blob(self, object_id: str, member: str, data: object) -> bytes:
        """Encode the data of a blob; see PyroForm.dumps_blob."""
        return self.dumps({"object": object_id, "method": member, "params": data, "kwargs": {}})

    def loads_blob(self, data: Buffer) -> object:
        """Decode the data of a blob; see PyroForm.loads_blob."""
        return blob_of(_parts_of(self.loads(data)))

    def _written(self, value: object, *, surely_plain: bool) -> bytes:
        try:
            if not surely_plain:
                value = _exact(value, self._values.describe)
            return self._encode(value).encode("utf-8")
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("json", value, error)) from error


class _PyroEncoder(JSONEncoder):
    """The library's encoder, asking what stands for objects."""

    def __init__(self, values: PyroValues) -> None:
        super().__init__(ensure_ascii=False)
        self._values = values

    def default(self, o: Any) -> Any:
        values = self._values
        described: object = values.describe(o)
        if described is None:
            described = _default(o, values.class_to_dict)
        return _exact(described, values.describe)


def _exact(value: Any, describe: Callable[[object], object]) -> Any:
    """Return the value, or one without instances of subclasses of what JSON knows."""
    return value if is_plain(value) else _replaced(value, describe)


def _replaced(value: Any, describe: Callable[[object], object]) -> Any:
    kind = type(value)
    if kind in _SCALARS or not isinstance(value, _KNOWN):
        return value
    if kind not in _EXACT_CONTAINERS:
        described = describe(value)
        if described is not None:
            return _replaced(described, describe)
    if isinstance(value, dict):
        return {key: _replaced(item, describe) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, describe) for item in value]
    return value


_KNOWN = (dict, list, tuple, str, int, float)
_EXACT_CONTAINERS = frozenset({dict, list, tuple})


def _default(obj: object, to_dict: Callable[[Any], object] = class_to_dict) -> object:
    plain = simple_value(obj)
    if plain is not obj:
        return plain
    for base in type(obj).__mro__:
        if base.__module__ == "datetime" and base.__name__ in {"datetime", "date"}:
            return obj.isoformat()  # type: ignore[attr-defined]
    return to_dict(obj)


_encode = JSONEncoder(ensure_ascii=False, default=_default).encode
_encode_tree = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = JSONDecoder().decode


def _read(data: Buffer) -> tuple[Any, bool]:
    """Return the value, and whether the text may contain the word ``__class__``."""
    payload = data if isinstance(data, bytes) else bytes(data)
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:
        _check_depth(payload)
    return _decode(str(payload, "utf-8")), b"__class__" in payload or b"\\u" in payload


_drop_strings = re.compile(rb'"[^"]*+"').sub
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(code for code in range(256) if code not in b'[]{}"')


def _check_depth(payload: bytes) -> None:
    """Refuse what is nested too deep, or unbalanced, without parsing it.

    Each round drops the innermost level everywhere at once.

    Raises:
        SerializeError: there is something left after as many rounds as levels are allowed.
    """
    if b"\\" in payload:
        payload = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side may go: what is inside of a string stays inside, what is not, not.
    brackets = payload.translate(_BRACKETS, _OTHERS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = _drop_strings(b"", brackets)
    for _ in range(MAX_DEPTH):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if brackets:
        raise SerializeError(
            f"the payload is nested deeper than {MAX_DEPTH} levels, or its brackets do not match"
        )

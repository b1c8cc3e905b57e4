"""The JSON format: readable by anything, but without bytes, tuples, sets and int keys.

Payload: JSON in UTF-8, non-ASCII written as it is; a call is the object
``{"object": .., "method": .., "params": [..], "kwargs": {..}}``.  NaN and the infinities travel
as the non-standard words that Python's json module uses.

Decoding is the standard library's, which recurses in C; so the nesting is measured first.  That
also bounds the memory: the most that JSON can ask for at 200 levels is 52 times its length.
"""

from __future__ import annotations

import re
from json.decoder import JSONDecoder
from json.encoder import JSONEncoder

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.base import (
    MAX_DEPTH,
    Serializer,
    checked_call,
    decoding_fault,
    encoding_fault,
)
from pyroipc.serializers.classes import class_to_dict, recreate, simple_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.serializers.base import Buffer, DecodedCall

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
        call: Any = self.loads(data)
        try:
            parts = (call["object"], call["method"], call["params"], call["kwargs"])
        except Exception as error:
            raise SerializeError(
                "the payload is not a call: an object with object, method, params and kwargs"
            ) from error
        return checked_call(parts)


def _default(obj: object) -> object:
    plain = simple_value(obj)
    if plain is not obj:
        return plain
    for base in type(obj).__mro__:
        if base.__module__ == "datetime" and base.__name__ in {"datetime", "date"}:
            return obj.isoformat()  # type: ignore[attr-defined]
    return class_to_dict(obj)


_encode = JSONEncoder(ensure_ascii=False, default=_default).encode
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

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
import sys

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.base import Serializer, checked_call, decoding_fault, encoding_fault
from pyroipc.serializers.classes import class_to_dict, recreate, simple_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyroipc.serializers.base import Buffer, DecodedCall

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


_OPTIONS: dict[str, Any] = {"allow_code": False} if sys.version_info >= (3, 13) else {}
_CUT_DOWN: tuple[tuple[type, Callable[[Any], object]], ...] = (  # bases of what marshal refuses
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    *((base, base) for base in (complex, bytes, bytearray, list, tuple, dict, frozenset)),
)
_EXACT = frozenset({
    str, int, float, complex, bytes, bytearray, type(None), bool, type(...),
    tuple, list, set, frozenset, dict,
})  # fmt: skip


def _write(value: Any) -> bytes:
    try:
        return marshal.dumps(value)
    except ValueError:  # "unmarshallable object": look for it in the containers
        return marshal.dumps(_deep(value))


def _marshallable(obj: object) -> object:
    """Turn one value into what marshal knows; what is inside a container is left alone."""
    if type(obj) in _EXACT:
        return obj
    for base, cut in _CUT_DOWN:
        if isinstance(obj, base):
            return cut(obj)
    plain = simple_value(obj)
    return class_to_dict(obj) if plain is obj else plain


def _deep(value: Any) -> Any:
    value = _marshallable(value)
    kind = type(value)
    if kind is dict:
        return {_deep(key): _deep(item) for key, item in value.items()}
    if kind in {list, tuple, set, frozenset}:
        return kind([_deep(item) for item in value])
    return value

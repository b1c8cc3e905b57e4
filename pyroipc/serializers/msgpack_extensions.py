"""Values that msgpack does not know <-> extension types and plainer values, as Pyro has them.

The table of extension types stands in ``msgpack``.
"""

from __future__ import annotations

import struct

from msgpack import ExtType

from pyroipc.errors import SerializeError
from pyroipc.serializers.classes import class_to_dict, simple_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["extension", "plainer", "replace"]


def replace(obj: object, to_dict: Callable[[Any], object] = class_to_dict) -> object:
    """Replace what the library cannot encode by what it can.

    Args:
        obj: the value.
        to_dict: makes a dict of an instance of a class.

    Raises:
        SerializeError: there is nothing to replace it by.
    """
    import datetime
    import numbers

    if isinstance(obj, datetime.datetime):
        if obj.tzinfo is not None:
            raise SerializeError("msgpack cannot encode a datetime with timezone info")
        return ExtType(0x32, struct.pack("d", obj.timestamp()))
    if isinstance(obj, datetime.date):
        return ExtType(0x33, struct.pack("l", obj.toordinal()))
    plain = simple_value(obj)
    if plain is not obj:
        return plain
    if isinstance(obj, numbers.Number):
        return _number(obj)
    return to_dict(obj)


def _number(obj: Any) -> object:
    import numbers

    if isinstance(obj, numbers.Integral):
        return ExtType(0x31, str(int(obj)).encode("ascii"))
    if isinstance(obj, numbers.Rational):
        raise SerializeError(f"msgpack cannot encode {type(obj)}")
    if isinstance(obj, numbers.Real):
        return float(obj)
    value = complex(obj)
    return ExtType(0x30, struct.pack("dd", value.real, value.imag))


def plainer(value: object) -> object:
    """Return an instance of a subclass of what msgpack knows as one of that, else *value*."""
    for base, cut in _CUT_DOWN:
        if isinstance(value, base):
            return cut(value)
    return value


_CUT_DOWN: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (tuple, list),
    (list, list),
    (dict, dict),
    (bytes, bytes),
    (bytearray, bytes),
)


def extension(code: int, data: bytes) -> object:
    """Return the value of an extension type.

    Raises:
        SerializeError: there is no such type.
        ValueError: the data do not fit it; so OverflowError, OSError, struct.error.
    """
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

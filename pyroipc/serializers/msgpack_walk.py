"""What the msgpack library takes for something else: found in lists and dicts, and replaced."""

from __future__ import annotations

import msgpack as library

from pyroipc.serializers.typed import TAGS
from pyroipc.serializers.typed_buffers import look_for_large

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Apart: TypeAlias = Callable[[object], "tuple[str | None, Any] | None"]

__all__ = ["BYTEARRAY", "INT", "MARK", "MARKERS", "MARK_BYTES", "look_into", "replaced"]

BYTEARRAY = 0x40
INT = 0x41
MARK = 0x54
MARK_BYTES = bytes([0xD4, MARK])
MARKERS = {tag: library.ExtType(MARK, bytes([number])) for number, tag in enumerate(TAGS)}
_REFERENCE = MARKERS["reference"]
_TINY = frozenset({str, int, float, bool, type(None)})


def replaced(value: Any, apart: Apart | None) -> Any:
    """Return a value without bytearrays and memoryviews in its lists and dicts.

    Args:
        value: what is to be packed.
        apart: puts large buffers apart.
    """
    kind = type(value)
    if kind in _BUFFERS:
        return _replaced_buffer(value, apart)
    changing = _CHANGING if apart is None else _CHANGING_APART
    if kind is list:
        if len(value) == 2 and value[0] is _REFERENCE:
            return value  # plain data of ours
        if changing.isdisjoint(map(type, value)):
            return value
        items = [replaced(item, apart) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return items if changed else value
    if kind is dict:
        if changing.isdisjoint(map(type, value.values())):
            return value
        other = {key: replaced(item, apart) for key, item in value.items()}
        changed = any(other[key] is not item for key, item in value.items())
        return other if changed else value
    return value


def _replaced_buffer(value: Any, apart: Apart | None) -> Any:
    if apart is not None:
        described = apart(value)
        if described is not None:
            tag, data = described
            return [MARKERS[tag or ""], data]
    if type(value) is bytes:
        return value
    if type(value) is memoryview and value.readonly:
        return value.tobytes()
    return library.ExtType(BYTEARRAY, bytes(value))


_BUFFERS = frozenset({bytes, bytearray, memoryview})
_CHANGING = frozenset({bytearray, memoryview, list, dict})
_CHANGING_APART = _CHANGING | {bytes}
_LOOKS = 1000


def look_into(value: Any) -> None:
    """Raise if there is a large buffer in containers and attributes, as far as it is worth it.

    Raises:
        LargeFoundError: there is.
    """
    waiting = [value]
    looks = 0
    while waiting and looks < _LOOKS:
        part = waiting.pop()
        looks += 1
        if type(part) in _BUFFERS:
            look_for_large(part)
            continue
        parts = _parts_of(part)
        if not _TINY.issuperset(map(type, parts)):
            waiting += parts[:_LOOKS]


def _parts_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    fields = getattr(type(value), "__dataclass_fields__", ())
    if fields:
        return [getattr(value, name, None) for name in fields]
    attributes = getattr(value, "__dict__", None)
    return list(attributes.values()) if type(attributes) is dict else []

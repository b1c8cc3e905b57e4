"""Pickles whose large buffers are few and easy to find: a result itself, or arguments of a call.

They take less time than :mod:`pyroipc.serializers.pickle_parts`, which has to look at everything.
"""

from __future__ import annotations

from _pickle import dumps as _dumps
from functools import partial

from pyroipc.serializers.parts import (
    APART_BYTES,
    BYTEARRAY,
    BYTES,
    SIZES,
    Stow,
    flat,
    holds_large,
)
from pyroipc.serializers.passengers import find
from pyroipc.serializers.pickle_parts import Wishes, reduce_ndarray, wrapped_parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _pickle import PickleBuffer
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyroipc.serializers.parts import Parts

__all__ = ["dumps_lent", "dumps_quickly"]

_MAX_QUICK = 100
_SMALL = frozenset((int, float, bool, type(None), complex))


def dumps_quickly(value: Any, *, is_call: bool) -> bytes | Parts | None:
    """Pickle a value whose large buffers are the value itself, or arguments of a call.

    Returns:
        None: there are more, or it cannot be pickled so.
    """
    stow = Stow()
    wishes = Wishes(stow)

    def take(buffer: PickleBuffer) -> bool:
        view, form = wishes.of(buffer)
        if len(view) < APART_BYTES:
            return True
        stow.put(view, form)
        return False

    try:
        wrapped = wrapped_parts(value, partial(_in_buffer, wishes), is_call=is_call)
        data = _dumps(wrapped, 5, buffer_callback=take)
    except Exception:  # noqa: BLE001 - whatever it is, it comes again
        return None
    finally:
        wishes.end()
    if len(stow.buffers) > _MAX_QUICK or (len(data) > APART_BYTES and holds_large(data)):
        return None
    return stow.parts(data)


def dumps_lent(call: Any, references: Any) -> bytes | None:
    """Pickle a call whose arguments are numbers, or shared memory that is lent already.

    Returns:
        None: it has others, too.
    """
    object_id, member, args, kwargs = call
    shown: list[Any] = []
    for value in () if kwargs else args:
        if type(value) in _SMALL:
            shown.append(value)
            continue
        passenger = find(value)
        reduced = None if passenger is None else references.reduce_lent(passenger)
        if reduced is None:
            return None
        shown.append(_StandIn(reduced))
    if not shown or len(set(map(id, args))) < len(set(map(id, shown))):
        return None  # what is given twice arrives as one
    return _dumps((object_id, member, tuple(shown), None), 5)


class _StandIn:
    """Stands for an array of numpy, which pickles itself ten times as slowly."""

    __slots__ = ("_reduced",)

    def __init__(self, reduced: Any) -> None:
        self._reduced = reduced

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._reduced


def _wrap_bytes(wishes: Wishes, value: Any) -> Any:
    return wishes.add(memoryview(value), BYTES)


def _wrap_content(wishes: Wishes, value: Any) -> Any:
    view = flat(value)
    return wishes.add(view, BYTES if view.readonly else BYTEARRAY)


def _wrap_array(wishes: Wishes, value: Any) -> Any:
    return value if value.typecode in "uw" else wishes.add(flat(value), ord(value.typecode))


def _wrap_ndarray(wishes: Wishes, value: Any) -> Any:
    return value if value.dtype.hasobject else _StandIn(reduce_ndarray(wishes, value))


_BY_NAME: Mapping[tuple[str, str], Callable[[Wishes, Any], Any]] = {
    ("builtins", "bytes"): _wrap_bytes,
    ("builtins", "bytearray"): _wrap_content,
    ("builtins", "memoryview"): _wrap_content,
    ("mmap", "mmap"): _wrap_content,
    ("array", "array"): _wrap_array,
    ("numpy", "ndarray"): _wrap_ndarray,
}
_by_type: dict[type, Callable[[Wishes, Any], Any]] = {}


def _in_buffer(wishes: Wishes, value: Any) -> Any:
    """Return what stands for a value: itself, unless it is a large buffer."""
    kind = type(value)
    size = SIZES.get(kind)
    if size is None or size(value) < APART_BYTES:
        return value
    wrap = _by_type.get(kind)
    if wrap is None:
        wrap = _BY_NAME.get((kind.__module__, kind.__qualname__), _as_it_is)
        _by_type[kind] = wrap
    return wrap(wishes, value)


def _as_it_is(wishes: Wishes, value: Any) -> Any:
    return value

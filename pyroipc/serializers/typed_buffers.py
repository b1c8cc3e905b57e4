"""Buffers that go apart, and memory maps <-> a tag and plain data, for the typed forms.

=============  ==========================================================================
tag            data
=============  ==========================================================================
``buffer``     ``"bytes"``, ``"bytearray"`` or ``"memory"``; its number. Or ``"array"``, its
               number, type code, size of an item, byte order
=============  ==========================================================================

A memoryview and a memory map arrive as what they hold: bytes, or a bytearray if they are writable.
"""

from __future__ import annotations

import sys

from pyroipc.serializers.parts import (
    APART_BYTES,
    BYTEARRAY,
    BYTES,
    MEMORY,
    SIZES,
    LargeFoundError,
    flat,
    learn_types,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeAlias

    from pyroipc.serializers.parts import Stow
    from pyroipc.serializers.typed_numpy import Block

    Described: TypeAlias = tuple[str | None, Any]

    class Making(Protocol):
        """What these functions use of a ``typed.Rebuilder``."""

        buffers: Sequence[Any]
        taken: set[int]


__all__ = [
    "describe_apart",
    "describe_block",
    "describe_content",
    "look_for_large",
    "rebuilders_of_buffers",
]


def look_for_large(value: Any) -> None:
    """Raise if a value is a buffer that should go apart.

    Raises:
        LargeFoundError: it is.
    """
    size = SIZES.get(type(value))
    if size is not None and size(value) >= APART_BYTES:
        raise LargeFoundError


def describe_apart(value: Any, stow: Stow | None) -> Described | None:
    """Put a buffer apart and describe where it is; None if it is not large, or not one.

    Args:
        value: any value.
        stow: takes it; None: it is only looked for.

    Raises:
        LargeFoundError: there is one, and nobody to take it.
    """
    if stow is None:
        look_for_large(value)
        return None
    cls = type(value)
    size = SIZES.get(cls)
    if size is None or size(value) < APART_BYTES or stow.is_full:
        return None
    if cls is bytes:
        return "buffer", ["bytes", stow.put(memoryview(value), BYTES)]
    if cls.__module__ == "array":
        return _array_apart(value, stow)
    if cls.__module__ == "numpy":  # its memory is put apart when that is described
        return None
    view = flat(value)
    if view.readonly:
        return "buffer", ["bytes", stow.put(view, BYTES)]
    return "buffer", ["bytearray", stow.put(view, BYTEARRAY)]


def _array_apart(value: Any, stow: Stow) -> Described | None:
    code = value.typecode
    if code not in _CODES:
        return None
    number = stow.put(flat(value), ord(code))
    return "buffer", ["array", number, code, value.itemsize, sys.byteorder]


_CODES = frozenset("bBhHiIlLqQfd")


def describe_block(block: Block, stow: Stow | None, *, keeps: bool) -> Described:
    """Describe the memory of an array: apart if it is large, else as bytes.

    Args:
        block: the memory.
        stow: takes it.
        keeps: it stays in any case.

    Raises:
        LargeFoundError: it should go apart, and nobody takes it.
    """
    if keeps or len(block.view) < APART_BYTES or (stow is not None and stow.is_full):
        return None, bytes(block.view)
    if stow is None:
        raise LargeFoundError
    return "buffer", ["memory", stow.put(block.view, MEMORY)]


def describe_content(value: Any) -> Described:
    """Describe a memoryview, or a memory map, as what it holds."""
    learn_types()
    view = memoryview(value)
    return (None, view.tobytes()) if view.readonly else ("bytearray", view.tobytes())


def _rebuild_buffer(rebuilder: Making, data: Any) -> object:
    kind, number, *rest = data
    if type(number) is not int or not 0 <= number < len(rebuilder.buffers):
        raise ValueError("there is no such buffer")
    if number in rebuilder.taken:
        raise ValueError("a buffer is named twice")
    rebuilder.taken.add(number)
    buffer = rebuilder.buffers[number]
    if kind == "array":
        code, size_bytes, order = rest
        return _rebuild_array(buffer, code, size_bytes, order)
    make = {"bytes": bytes, "bytearray": bytearray, "memory": memoryview}[kind]
    if rest:
        raise ValueError("too much data")
    # What was to land as something else is copied: then the sender has made a mistake.
    return buffer if type(buffer) is make else make(buffer)


def _rebuild_array(buffer: Any, code: Any, size_bytes: Any, order: Any) -> object:
    from array import array

    if code not in _CODES or order not in {"little", "big"}:
        raise ValueError("not an array of numbers")
    made = buffer
    if type(made) is not array or made.typecode != code:
        made = array(code)
        made.frombytes(buffer)
    if made.itemsize != size_bytes:
        raise ValueError(f"items of type {code!r} have {made.itemsize} bytes here")
    if order != sys.byteorder:
        made.byteswap()
    return made


rebuilders_of_buffers: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "buffer": (_rebuild_buffer, 100),
}
"""Tag -> how to rebuild, and the memory that one takes."""

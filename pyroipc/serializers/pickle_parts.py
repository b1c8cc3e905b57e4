"""Pickles with their large buffers apart.

Two ways lead out of a pickle. Objects that offer buffers (numpy's arrays, and whatever has a
``__reduce_ex__`` for protocol 5) go through the pickler's ``buffer_callback``; for arrays, memory
maps and the like, which do not do that of themselves or not always, there is a table of reducers.
Large ``bytes`` do not go through it: pickle writes them in-band. But it hands them, unchanged, to
the file that it writes to, behind the opcode that says how long they are; so that file takes them
apart, and puts the opcode of a buffer in place of that one.

Where such an opcode can stand is known for certain: outside of the frames of which a pickle of
protocol 5 is made (PEP 3154), and nothing that is in a value gets there. What does not look as it
should stays in-band, which is never wrong.
"""

from __future__ import annotations

import sys
from _pickle import PickleBuffer, Pickler
from copyreg import dispatch_table

from pyroipc.serializers.parts import (
    APART_BYTES,
    BYTEARRAY,
    BYTES,
    FRAME,
    HEADS,
    MAX_LOOSE,
    MEMORY,
    Stow,
    flat,
    learn_types,
    memory_of,
)
from pyroipc.serializers.passengers import arrived, board, find, knows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from pyroipc.serializers.base import References
    from pyroipc.serializers.parts import Parts

    Reducer: TypeAlias = Callable[[Any], Any]

__all__ = [
    "Collector",
    "Wishes",
    "array_of",
    "drop_buffer",
    "own_reducer",
    "reduce_ndarray",
    "same",
    "wrapped_parts",
]

_NEXT_BUFFER = b"\x97"


def drop_buffer(buffer: PickleBuffer) -> bool:
    """Leave a buffer out of a pickle that nobody reads; a ``buffer_callback``."""
    return False


class Wishes:
    """Buffers that want to land in a form, if they go apart.

    Args:
        stow: takes those.
    """

    __slots__ = ("_wishes", "stow")

    def __init__(self, stow: Stow) -> None:
        self.stow = stow
        self._wishes: dict[int, tuple[PickleBuffer, memoryview, int]] = {}

    def add(self, view: memoryview, form: int) -> PickleBuffer:
        """Return a buffer for the pickler."""
        buffer = PickleBuffer(view)
        self._wishes[id(buffer)] = buffer, view, form
        return buffer

    def of(self, buffer: PickleBuffer) -> tuple[memoryview, int]:
        """Return the memory of a buffer, as bytes, and its form.

        Raises:
            BufferError: there are gaps in it.
        """
        wish = self._wishes.get(id(buffer))
        return (buffer.raw(), MEMORY) if wish is None else wish[1:]

    def end(self) -> None:
        """Let go of the buffers; the views stay.

        A memoryview that another object uses must not be in a cycle that the collector finds: it
        is released all the same, and the interpreter (3.11) crashes.
        """
        while self._wishes:
            self._wishes.popitem()[1][0].release()


class Collector:
    """The file, the ``buffer_callback`` and the table of reducers of one pickler.

    Args:
        table: reduces objects that are referred to; None: there are none.
        references: of the connection.
        is_call: whether the arguments of a call are pickled.
    """

    __slots__ = (
        "_boarding",
        "_frame_bytes",
        "_is_lost",
        "_loose",
        "_pieces",
        "_stow",
        "_wishes",
        "table",
    )

    def __init__(
        self,
        table: Mapping[type, Any] | None = None,
        references: References | None = None,
        *,
        is_call: bool = False,
    ) -> None:
        learn_types()
        self._stow = Stow(is_call=is_call)
        self._wishes = Wishes(self._stow)
        self._boarding = _Boarding(self._stow, references)
        self.table: Any = _Reducers(self._wishes, table, self._boarding)
        self._pieces: list[bytes] = []
        self._frame_bytes = 0  # of the frame that is being written, those that are missing
        self._loose = b""  # what stands outside of the frames, since the last frame or large bytes
        self._is_lost = False

    def dump(self, value: object) -> bytes | Parts:
        """Pickle a value.

        Raises:
            Exception: whatever pickling raises.
        """
        pickler = Pickler(self, 5, buffer_callback=self.take)
        pickler.dispatch_table = self.table
        return self.parts(pickler, value)

    def parts(self, pickler: Any, value: object) -> bytes | Parts:
        """Have a pickler pickle a value that was made with this as its file, and return all.

        Raises:
            Exception: whatever pickling raises.
        """
        try:
            pickler.dump(value)
            return self._stow.parts(b"".join(self._pieces))
        finally:
            self._wishes.end()
            self._stow.clear()

    def wrapped(self, value: Any, *, is_call: bool) -> Any:
        """Return a value, or a call, with a large bytearray, which pickle would copy, in a buffer.

        Deeper inside, pickle has to copy it.
        """
        return wrapped_parts(value, self._wrap, is_call=is_call)

    def _wrap(self, value: Any) -> Any:
        is_large = type(value) is bytearray and len(value) >= APART_BYTES
        return self._wishes.add(memoryview(value), BYTEARRAY) if is_large else value

    def own_reducer(self, cls: type) -> Reducer | None:
        """Return how a class is reduced here; None: as it likes."""
        return own_reducer(cls, self._wishes, self._boarding)

    def take(self, buffer: PickleBuffer) -> bool:
        """Take a buffer apart, or say with True that it goes in-band; a ``buffer_callback``."""
        try:
            view, form = self._wishes.of(buffer)
        except BufferError:
            return True
        if len(view) < APART_BYTES or self._stow.is_full:
            return True
        self._stow.put(view, form)
        return False

    # --- the file ------------------------------------------------------------------------------

    def write(self, piece: Any) -> int:
        """Take a piece of the pickle, or large bytes that belong into it."""
        if type(piece) is PickleBuffer:  # of which nothing more was to go apart
            piece = piece.raw()
        n_bytes = len(piece)
        head = None
        if n_bytes >= APART_BYTES and not (self._is_lost or self._frame_bytes):
            head = _head_of(self._loose, n_bytes)
        if head is None:
            data = bytes(piece)
            self._pieces.append(data)
            self._follow(data)
            return n_bytes
        self._loose = b""
        form = HEADS[len(head)][head[:1]]
        if form is None or self._stow.is_full:
            self._pieces.append(bytes(piece))
        else:
            self._pieces[-1] = self._pieces[-1][: -len(head)] + _NEXT_BUFFER
            self._stow.put(memoryview(piece).cast("B"), form)
        return n_bytes

    def _follow(self, data: bytes) -> None:
        """Follow the frames of what was written."""
        position = 0
        if len(self._pieces) == 1 and data[:1] == b"\x80":
            position = 2  # the number of the protocol
        while position < len(data) and not self._is_lost:
            if self._frame_bytes:
                step = min(self._frame_bytes, len(data) - position)
                self._frame_bytes -= step
                position += step
            elif data[position] == FRAME and not self._loose:
                self._is_lost = position + 9 > len(data)
                self._frame_bytes = int.from_bytes(data[position + 1 : position + 9], "little")
                position += 9
            else:
                self._loose += data[position : position + 16]
                self._is_lost = len(self._loose) > MAX_LOOSE + 9
                position += 16


def _head_of(loose: bytes, n_bytes: int) -> bytes | None:
    """Return the head of a large object at the end of loose opcodes; None: there is none.

    Args:
        loose: what stands between the end of a frame, or of large bytes, and what comes now.
        n_bytes: the length of what comes now.
    """
    for head_bytes, opcodes in HEADS.items():
        if head_bytes <= len(loose) <= head_bytes + MAX_LOOSE:
            head = loose[-head_bytes:]
            if head[:1] in opcodes and int.from_bytes(head[1:], "little") == n_bytes:
                return head
    return None


def wrapped_parts(value: Any, wrap: Callable[[Any], Any], *, is_call: bool) -> Any:
    """Return a value, or a call with its arguments, wrapped."""
    if not is_call:
        return wrap(value)
    object_id, member, args, kwargs = value
    given = args if not kwargs else [*args, *kwargs.values()]
    if len(given) > 1 and len(set(map(id, given))) < len(given):
        return value  # what is given twice arrives as one
    args = tuple(map(wrap, args))
    if kwargs:
        kwargs = {key: wrap(part) for key, part in kwargs.items()}
    return object_id, member, args, kwargs


# --- reducers ----------------------------------------------------------------------------------


class _Reducers(dict[type, "Callable[[Any], Any]"]):
    """The dispatch table of a pickler: how to reduce what holds buffers, and what is referred to.

    It is empty, and so follows what is imported and registered meanwhile.
    """

    __slots__ = ("_boarding", "_table", "_wishes")

    def __init__(
        self, wishes: Wishes, table: Mapping[type, Any] | None, boarding: _Boarding
    ) -> None:
        self._wishes = wishes
        self._table = table
        self._boarding = boarding

    def __missing__(self, cls: type) -> Reducer:
        reducer = own_reducer(cls, self._wishes, self._boarding)
        if reducer is None:
            table = dispatch_table if self._table is None else self._table
            return table[cls]
        self[cls] = reducer
        return reducer


class _Boarding:
    """Where values go that travel as descriptors."""

    __slots__ = ("references", "stow")

    def __init__(self, stow: Stow | None, references: References | None) -> None:
        self.stow = stow
        self.references = references

    def reduce(self, value: Any) -> Any:
        """Reduce such a value; None: it is no such, or is copied.

        Raises:
            SerializeError: it can neither travel nor be copied.
        """
        passenger = find(value)
        if passenger is not None and self.stow is not None and self.stow.is_call:
            lent = None if self.references is None else self.references.reduce_lent(passenger)
            if lent is not None:
                return lent
        boarded = None if passenger is None else board(passenger, self.stow, self.references)
        return None if boarded is None else (arrived, tuple(boarded))


_NOWHERE = _Boarding(None, None)


def own_reducer(
    cls: type, wishes: Wishes | None, boarding: _Boarding = _NOWHERE
) -> Reducer | None:
    """Return how a class is reduced here; None: as it likes.

    Args:
        cls: of a value.
        wishes: takes note of what is to land in a form; None: all stays in-band.
        boarding: takes what travels as a descriptor.
    """
    otherwise = _own_reducer(cls, wishes)
    if not knows(cls):
        return otherwise

    def reduce(value: Any) -> Any:
        reduced = boarding.reduce(value)
        if reduced is not None:
            return reduced
        return value.__reduce_ex__(5) if otherwise is None else otherwise(value)

    return reduce


def _own_reducer(cls: type, wishes: Wishes | None) -> Reducer | None:
    reduce = _OWN.get((cls.__module__, cls.__qualname__))
    if reduce is None or (wishes is None and reduce is not _reduce_content):
        return None
    return lambda value: reduce(wishes, value)


def _reduce_content(wishes: Wishes | None, value: Any) -> Any:
    view = flat(value)
    if wishes is None:
        content: Any = bytes(view) if view.readonly else bytearray(view)
        return same, (content,)
    return same, (wishes.add(view, BYTES if view.readonly else BYTEARRAY),)


def _reduce_array(wishes: Wishes, value: Any) -> Any:
    # In-band, what is pickled as a buffer arrives as bytes or a bytearray.
    is_small = len(value) * value.itemsize < APART_BYTES
    if is_small or wishes.stow.is_full or value.typecode in "uw":
        return value.__reduce_ex__(5)
    return same, (wishes.add(flat(value), ord(value.typecode)),)


def reduce_ndarray(wishes: Wishes, value: Any) -> Any:
    """Reduce an array of numpy; small ones, and those of objects, as they like."""
    if value.nbytes < APART_BYTES or value.dtype.hasobject:
        return value.__reduce_ex__(5)
    order, view = memory_of(value)
    dtype = value.dtype
    if dtype.names is None and dtype.metadata is None:
        text = dtype.str  # dill does not keep the order of bytes of a dtype
        if sys.modules["numpy"].dtype(text) == dtype:
            dtype = text
    return array_of, (wishes.add(view, MEMORY), dtype, value.shape, order)


_OWN: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("builtins", "memoryview"): _reduce_content,
    ("mmap", "mmap"): _reduce_content,
    ("pyroipc.transports.segments", "SharedBuffer"): _reduce_content,
    ("array", "array"): _reduce_array,
    ("numpy", "ndarray"): reduce_ndarray,
}


def same(value: object) -> object:
    """Return a buffer that has landed in the form that was asked for."""
    return value


def array_of(buffer: Any, dtype: Any, shape: tuple[int, ...], order: str) -> object:
    """Return an array of numpy over the memory that has landed."""
    numpy: Any = __import__("numpy")  # as pickle does with what a pickle names
    return numpy.ndarray(shape, dtype, buffer=buffer, order=order)

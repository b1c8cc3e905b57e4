"""Values with their large buffers apart: what is encoded, and beside it views of memory.

A serializer that takes large buffers out of a value returns :class:`Parts` instead of bytes. What
it has taken out travels behind the payload, without being copied, and lands in memory of its own
at the receiver, who gives it to ``loads`` in the same order. Smaller ones are copied into the
payload, which is quicker for them: below about 64 KiB the copy costs less than what goes with a
buffer of its own.

The form of a buffer says in what it is to arrive:

=================  =========================================================
form               the receiver gets
=================  =========================================================
MEMORY             a writable memoryview of memory that nothing else uses
BYTES              bytes
BYTEARRAY          a bytearray
a letter (ASCII)   an ``array.array`` of this type code
=================  =========================================================
"""

from __future__ import annotations

import sys

from pyroipc.errors import SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _pickle import PickleBuffer
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = [
    "APART_BYTES",
    "BYTEARRAY",
    "BYTES",
    "DESCRIPTORS_MAX",
    "FRAME",
    "HEADS",
    "MAX_LOOSE",
    "MEMORY",
    "SIZES",
    "LargeFoundError",
    "Parts",
    "Stow",
    "flat",
    "goes_apart",
    "holds_large",
    "learn_types",
    "memory_of",
    "refuse_large",
]

APART_BYTES = 64 << 10
"""From this size on a buffer goes apart. pickle's C code decides likewise about bytes."""
MEMORY = 0
BYTES = 2
BYTEARRAY = 3
DESCRIPTORS_MAX = 16
_MAX_BUFFERS = 1024
"""More go into the payload: a receiver takes a limited number."""


def _n_bytes(value: Any) -> int:
    return value.nbytes  # type: ignore[no-any-return]


def _n_bytes_of_array(value: Any) -> int:
    return len(value) * value.itemsize  # type: ignore[no-any-return]


def _n_bytes_of_map(value: Any) -> int:
    return 0 if value.closed else len(value)


SIZES: dict[type, Callable[[Any], int]] = {bytes: len, bytearray: len, memoryview: _n_bytes}
"""How large a buffer is, by its exact type; see :func:`learn_types`."""


def learn_types() -> None:
    """Take note of types whose modules were imported meanwhile; nothing is imported here."""
    for module, name, size in (
        ("array", "array", _n_bytes_of_array),
        ("mmap", "mmap", _n_bytes_of_map),
        ("numpy", "ndarray", _n_bytes),
        ("numpy", "memmap", _n_bytes),
        ("pyroipc.transports.segments", "SharedBuffer", _n_bytes_of_map),
    ):
        cls = getattr(sys.modules.get(module), name, None)
        if isinstance(cls, type):
            SIZES.setdefault(cls, size)


def goes_apart(value: Any) -> bool:
    """Say of a buffer, of one of the types in SIZES, whether pickle needs help with it.

    Of a memoryview it does, however small that is.
    """
    return SIZES[type(value)](value) >= APART_BYTES or type(value) is memoryview


class LargeFoundError(Exception):
    """What is being encoded holds a buffer that should go apart."""


def refuse_large(buffer: PickleBuffer) -> bool:
    """Keep a buffer in-band; a ``buffer_callback``.

    Raises:
        LargeFoundError: it is large.
    """
    try:
        if buffer.raw().nbytes >= APART_BYTES:
            raise LargeFoundError
    except BufferError:  # it has gaps, of which pickle says more
        pass
    return True


class Parts:
    """A payload and the buffers that belong to it.

    Has the length of all together, so that one look at that tells that it is no small payload.

    Args:
        payload: what was encoded.
        buffers: views of the sender's memory, as bytes.
        forms: the form of each, as one byte.
        parcel: what holds the descriptors that travel beside it.
    """

    __slots__ = ("_n_bytes", "buffers", "forms", "parcel", "payload")

    def __init__(
        self,
        payload: bytes,
        buffers: list[memoryview],
        forms: bytes,
        parcel: Sequence[Any] = (),
    ) -> None:
        self.payload = payload
        self.buffers = buffers
        self.forms = forms
        self.parcel = parcel
        self._n_bytes = max(APART_BYTES, len(payload) + sum(map(len, buffers)))

    def __len__(self) -> int:
        return self._n_bytes

    def __add__(self, tail: bytes) -> Parts:
        return Parts(self.payload + tail, self.buffers, self.forms, self.parcel)

    def __repr__(self) -> str:
        return f"<payload of {len(self.payload)} bytes and {len(self.buffers)} buffers>"


class Stow:
    """Takes the buffers of one payload."""

    __slots__ = ("_forms", "_parcel", "buffers", "is_call")

    def __init__(self, *, is_call: bool = False) -> None:
        self.is_call = is_call
        """Whether it is of the arguments of a call, which the caller holds until they are sent."""
        self.buffers: list[memoryview] = []
        self._parcel: list[Any] = []
        self._forms = bytearray()

    @property
    def is_full(self) -> bool:
        """Whether it takes no more."""
        return len(self.buffers) >= _MAX_BUFFERS

    def put(self, view: memoryview, form: int) -> int:
        """Take a buffer, as bytes; return its number."""
        self.buffers.append(view)
        self._forms.append(form)
        return len(self.buffers) - 1

    def load(self, holder: Any) -> int:
        """Take what holds a descriptor; return the number of that beside the message.

        Raises:
            SerializeError: there are too many.
        """
        for index, other in enumerate(self._parcel):
            if other is holder:
                return index
        if len(self._parcel) >= DESCRIPTORS_MAX:
            raise SerializeError(
                f"at most {DESCRIPTORS_MAX} descriptors go with one message; make several calls, "
                "or put arrays that belong together into one shared_array"
            )
        self._parcel.append(holder)
        return len(self._parcel) - 1

    def clear(self) -> None:
        """Forget what was taken: the value is encoded anew."""
        self._parcel.clear()
        self.buffers.clear()
        self._forms.clear()

    def parts(self, payload: bytes) -> bytes | Parts:
        """Put the payload and what was taken together."""
        if not self.buffers and not self._parcel:
            return payload
        return Parts(payload, list(self.buffers), bytes(self._forms), tuple(self._parcel))


def flat(value: Any) -> memoryview:
    """Return the memory of a value as bytes, in the order of C; with gaps in it, a copy.

    It can be written to if the value's own memory can.
    """
    view = memoryview(value)
    if not (view.c_contiguous and view.nbytes):  # what is empty cannot be cast
        return memoryview(view.tobytes() if view.readonly else bytearray(view))
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def memory_of(value: Any) -> tuple[str, memoryview]:
    """Return the order of an array without objects, and its memory as bytes."""
    flags = value.flags
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    numpy = sys.modules["numpy"]
    if type(value) is not numpy.ndarray:
        value = value.view(numpy.ndarray)
    if not value.dtype.itemsize or not value.size:
        return order, memoryview(b"")
    # A view, or, once, a copy without gaps.
    line = numpy.ascontiguousarray(value.reshape(-1, order=order))
    view = memoryview(line.view(numpy.uint8))
    return order, view if flags.writeable else view.toreadonly()


# --- large bytes in pickles ---

FRAME = 0x95
HEADS: Mapping[int, Mapping[bytes, int | None]] = {
    5: {b"B": BYTES, b"X": None},
    9: {b"\x8e": BYTES, b"\x96": BYTEARRAY, b"\x8d": None},
}
"""Length of the head of a large object -> the opcode that it begins with -> the form that stands
for it; None: of a text, which stays in-band."""
MAX_LOOSE = 3
"""So many bytes of opcodes are too few for a frame of their own, and may stand before a head."""


def holds_large(data: bytes) -> bool:
    """Say whether a pickle that was made by C's ``dumps`` holds large bytes.

    Only what stands between the frames is looked at; the frames are skipped, which are about as
    many as there are multiples of 64 KiB.
    """
    position, end = 2, len(data)
    while position < end:
        if data[position] == FRAME:
            position += 9 + int.from_bytes(data[position + 1 : position + 9], "little")
            continue
        found = _large_at(data, position)
        if found is None:
            return False
        form, position = found
        if form is not None:
            return True
    return False


def _large_at(data: bytes, position: int) -> tuple[int | None, int] | None:
    """Return form and end of a large object whose head is here, or a little later."""
    for start in range(position, position + MAX_LOOSE + 1):
        for head_bytes, opcodes in HEADS.items():
            content = start + head_bytes
            n_bytes = int.from_bytes(data[start + 1 : content], "little")
            if (
                data[start : start + 1] in opcodes
                and APART_BYTES <= n_bytes <= len(data) - content
            ):
                return opcodes[data[start : start + 1]], content + n_bytes
    return None

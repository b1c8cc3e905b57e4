"""Arrays and buffers in memory that other processes see: how they travel over a connection.

Between local peers only the descriptor of the memory travels, with what the array is: type, shape,
strides, and where in the memory it begins. The receiver maps the memory, once for as long as
somebody there holds it, and makes the same array over it. Everywhere else it is an ordinary array,
which is copied.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from functools import lru_cache, partial
from operator import index
from time import monotonic

from pyroipc.client import janitor, references
from pyroipc.client.forks import after_fork
from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.passengers import Passenger, makers, recognisers
from pyroipc.serializers.typed_numpy import describe_dtype, rebuild_dtype
from pyroipc.settings import config
from pyroipc.transports.segments import (
    SharedBuffer,
    adopt_segment,
    made_segment,
    make_segment,
    owner_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.serializers.passengers import Parcel

__all__ = ["SharedBuffer", "shared_array", "shared_buffer", "shared_owner"]

_DIMENSIONS_MAX = 64
_IDLE_SECONDS = 1.0
_RECENT_MAX = 8


def shared_buffer(n_bytes: int, *, readonly: bool = False) -> SharedBuffer:
    """Make a buffer that lives in memory that other processes can see; it is all 0.

    Passed over a connection to a process of this user on this machine, it is the same memory
    there, and what one end writes the other one sees. Everywhere else its content is copied.

    Args:
        n_bytes: its size.
        readonly: those it is passed to can only read it; this process can write.

    Raises:
        ValueError: the size is less than 1.
        NotImplementedError: this system cannot keep others from writing.
        OSError: there is no memory, or no descriptor left.
    """
    n_bytes = index(n_bytes)
    if n_bytes < 1:
        raise ValueError(f"a shared buffer has at least 1 byte, not {n_bytes}")
    buffer = make_segment(n_bytes)
    if readonly:
        buffer.seal()
    return buffer


def shared_array(
    shape: int | Sequence[int], dtype: Any = float, *, order: str = "C", readonly: bool = False
) -> Any:
    """Make an array of numpy that lives in memory that other processes can see; it is all 0.

    It is an ordinary array. Passed over a connection to a process of this user on this machine,
    it, and any slice of it, is the same memory there. Everywhere else it is copied. What numpy
    computes from it (``array + 1``) is a new array, in ordinary memory.

    Args:
        shape: its lengths.
        dtype: what is in it; no objects.
        order: ``"C"`` or ``"F"``.
        readonly: those it is passed to can only read it; this process can write.

    Raises:
        TypeError: the dtype holds objects.
        ValueError: a length is negative.
        NotImplementedError: this system cannot keep others from writing.
        OSError: there is no memory, or no descriptor left.
        ImportError: numpy is not installed.
    """
    import numpy

    _recognise_arrays()
    made = numpy.dtype(dtype)
    if made.hasobject:
        raise TypeError(f"arrays of objects cannot be shared: {made} holds references to objects")
    lengths = tuple(map(index, shape)) if isinstance(shape, Iterable) else (index(shape),)
    if any(length < 0 for length in lengths):
        raise ValueError(f"a length is negative: {lengths}")
    n_bytes = math.prod(lengths) * made.itemsize
    buffer = shared_buffer(max(1, n_bytes), readonly=readonly)
    view: Any = _bytes_of(buffer)
    layout: Any = order
    return numpy.ndarray(lengths, made, buffer=view, order=layout)


def shared_owner(value: Any) -> SharedBuffer | None:
    """Return the shared buffer in which an array or a view lies; None: in ordinary memory."""
    return owner_of(value)


def _recognise_arrays() -> None:
    """Look at every array that is sent from now on: whether it lies in shared memory."""
    if _ARRAY not in recognisers:
        import numpy

        recognisers[_ARRAY] = _find_array
        references.look_at_type(numpy.ndarray)


def _find_array(value: Any) -> Passenger | None:
    owner = owner_of(value.base)
    if owner is None or _described(value.dtype) is None:
        return None
    return Passenger("array", owner, partial(_describe_array, value, owner))


def _describe_array(value: Any, owner: SharedBuffer) -> list[Any]:
    start = value.__array_interface__["data"][0] - owner.address
    flags = value.flags
    return [
        owner.token,
        len(owner),
        _described(value.dtype),
        list(value.shape),
        None if flags.c_contiguous else list(value.strides),
        start if value.size else 0,
        bool(flags.writeable),
        _is_lent(owner),
    ]


def _is_lent(owner: SharedBuffer) -> bool:
    """Say whether the receiver may keep it for as long as this end does.

    Not what is passed for the first time: it may well be the last.
    """
    was_passed, owner.was_passed = owner.was_passed, True
    return was_passed and made_segment(owner.token) is owner


@lru_cache(maxsize=100)
def _described(dtype: Any) -> str | list[Any] | None:
    """Describe a dtype; None: arrays of it are copied, if that is possible."""
    try:
        return describe_dtype(dtype)
    except SerializeError:
        return None


def _find_buffer(value: SharedBuffer) -> Passenger:
    if value.closed:
        raise SerializeError("a shared buffer cannot be sent: it is closed")
    return Passenger("memory", value, lambda: [value.token, len(value), _is_lent(value)])


def _segment(
    parcel: Parcel, index: Any, token: Any, n_bytes: Any, *, is_lent: bool
) -> SharedBuffer:
    """Return the memory to which a descriptor leads.

    Raises:
        SecurityError: there is something wrong with it.
    """
    if type(token) is not bytes or len(token) != 16 or type(n_bytes) is not int:
        raise SecurityError("this is not how shared memory is described")
    known: SharedBuffer | None = parcel.kept.get(index)
    if known is None:
        number, limit = parcel.take(index), config.SHARED_MEMORY_MAX
        known = parcel.kept[index] = adopt_segment(number, token, n_bytes, limit, _recent.forget)
    if known.token != token or known.n_bytes != n_bytes:
        raise SecurityError("the same shared memory is described in two ways")
    loans = parcel.loans
    is_kept = is_lent and loans is not None and loans.keep(known)
    if not is_kept and made_segment(token) is None:
        _recent.keep(known)
    return known


class _Recent:
    """Maps that were used a moment ago: what was passed once is often passed again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._segments: dict[int, SharedBuffer] = {}
        self._used_at = 0.0

    def keep(self, segment: SharedBuffer) -> None:
        """Keep a map for a moment."""
        with self._lock:
            self._used_at = monotonic()
            if not self._segments:
                janitor.start()
                janitor.later_on(_IDLE_SECONDS, self._tidy)
            self._segments[id(segment)] = segment
            if len(self._segments) > _RECENT_MAX:
                oldest = next(iter(self._segments))
                self._segments.pop(oldest)

    def forget(self) -> None:
        """Keep none any more."""
        with self._lock:
            segments, self._segments = self._segments, {}
        segments.clear()

    def _tidy(self) -> None:
        if monotonic() - self._used_at >= _IDLE_SECONDS:
            self.forget()
        elif self._segments:
            janitor.later_on(_IDLE_SECONDS, self._tidy)


def _after_fork_in_child() -> None:
    global _recent
    _recent = _Recent()


_recent = _Recent()
after_fork.append(_after_fork_in_child)


def _make_buffer(parcel: Parcel, index: int, data: Any) -> SharedBuffer:
    token, n_bytes, is_lent = data
    return _segment(parcel, index, token, n_bytes, is_lent=is_lent)


def _make_array(parcel: Parcel, index: int, data: Any) -> Any:
    # The peer is verified local, so numpy may be imported, as pickle does with what is named.
    import numpy

    token, n_bytes, described, shape, strides, start, writable, is_lent = data
    _recognise_arrays()
    segment = _segment(parcel, index, token, n_bytes, is_lent=is_lent)
    dtype = _dtype_named(described) if type(described) is str else rebuild_dtype(numpy, described)
    _check_extent(n_bytes, dtype.itemsize, shape, strides, start)
    view: Any = _bytes_of(segment)
    steps: Any = None if strides is None else tuple(strides)
    array: Any = numpy.ndarray(tuple(shape), dtype, buffer=view, offset=start, strides=steps)
    if not writable:
        array.flags.writeable = False
    return array


@lru_cache(maxsize=100)
def _dtype_named(described: str) -> Any:
    import numpy

    return rebuild_dtype(numpy, described)


def _bytes_of(segment: SharedBuffer) -> Any:
    """Return an array of the bytes; as long as it is there, the segment cannot be closed.

    An array that is made over the segment, or a memoryview of it, would not keep it open.
    """
    import numpy

    return numpy.frombuffer(segment, numpy.uint8)


def _check_extent(n_bytes: int, item_bytes: int, shape: Any, strides: Any, start: Any) -> None:
    """Refuse an array that is not within its memory.

    Raises:
        SecurityError: it is not.
    """
    steps = [] if strides is None else strides
    is_sane = (
        type(shape) is type(steps) is list
        and len(shape) <= _DIMENSIONS_MAX
        and set(map(type, (*shape, *steps, start))) == {int}
        and min(start, *shape, 0) >= 0
    )
    if is_sane and strides is None:
        is_sane = start + math.prod(shape) * item_bytes <= n_bytes
    elif is_sane and len(shape) != len(steps):
        is_sane = False
    elif is_sane and 0 not in shape:
        reach = [(n - 1) * step for n, step in zip(shape, steps, strict=True)]
        lowest = start + sum(step for step in reach if step < 0)
        highest = start + sum(step for step in reach if step > 0) + item_bytes
        is_sane = lowest >= 0 and highest <= n_bytes
    if not is_sane:
        raise SecurityError(f"an array of shape {shape} does not lie within its {n_bytes} bytes")


_ARRAY = ("numpy", "ndarray")
makers["array"] = _make_array
makers["memory"] = _make_buffer
recognisers["pyroipc.transports.segments", "SharedBuffer"] = _find_buffer
references.look_at_type(SharedBuffer)

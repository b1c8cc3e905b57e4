"""The memory in which out-of-band buffers arrive: of the right size and form, and of nobody else.

Measured for 64 MiB (``docs/project/benchmarks.md`` has today's figures): to touch fresh memory for
the first time takes about as long as to copy into it. So large memory is taken from the system
directly and in huge pages where there are some, and what was used a moment ago, and is not any
more, is used again. ``bytes`` are received straight into the object that the user gets; that goes
through :class:`io.BytesIO`, which lends the memory of the bytes that it holds and gives them out
without a copy.

Towards a peer that is not trusted, memory is not taken because of a claim: until a part of a
buffer has arrived, pages of the system serve that cost nothing before they are written to.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from io import BytesIO
from time import monotonic

from pyroipc.client import janitor
from pyroipc.client.forks import after_fork
from pyroipc.serializers.parts import BYTEARRAY, BYTES
from pyroipc.wire.message import PAYLOAD
from pyroipc.wire.native_bulk import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

    from pyroipc.wire.native_bulk import Landing

__all__ = ["land", "land_warily"]

LARGE_BYTES = 1 << 20
"""From this size on memory is taken from the system, and used again."""
POOL_BYTES = 128 << 20
"""So much is kept to be used again, at most."""
IDLE_SECONDS = 1.0
"""Kept for so long after the last buffer has arrived."""
_PROOF = 16
"""A peer that is not trusted has to send one part in so many of what it claims, before memory is
taken that costs something."""
_SINK_BYTES = 64 << 10
_HUGE_BYTES = 2 << 20
_WORTH_ADVICE_BYTES = 8 << 20
_CODES = frozenset("bBhHiIlLqQfd")


def land(form: int, n_bytes: int) -> Landing:
    """Take the memory for a buffer of a trusted peer.

    If there is none, the buffer is thrown away as it comes, and a :class:`Lost` arrives instead.

    Args:
        form: in which it is wanted.
        n_bytes: its size.

    Raises:
        MemoryError: there is none, not even to throw it away.
    """
    try:
        return _memory_for(form, n_bytes)
    except MemoryError:
        return _Nowhere(n_bytes)


def _memory_for(form: int, n_bytes: int) -> Landing:
    if form in {BYTES, PAYLOAD}:
        return _Bytes(n_bytes)
    if form == BYTEARRAY or n_bytes < LARGE_BYTES or os.name != "posix":
        if chr(form) in _CODES:
            return _Array(chr(form), n_bytes)
        return _Bytearray(form, n_bytes)
    if chr(form) in _CODES:
        return _Array(chr(form), n_bytes)
    return _Block(n_bytes)


def land_warily(form: int, n_bytes: int) -> Landing:
    """Take the memory for a buffer of a peer that is not trusted; otherwise as :func:`land`.

    Raises:
        MemoryError: there is none, not even to throw it away.
    """
    if n_bytes < LARGE_BYTES or os.name != "posix":
        return land(form, n_bytes)
    try:
        return _Cautious(form, n_bytes)
    except MemoryError:
        return _Nowhere(n_bytes)


class _Nowhere:
    """Takes a buffer for which there is no memory, so that what comes behind it is received."""

    __slots__ = ("_n_bytes", "_sink")

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._sink = memoryview(bytearray(_SINK_BYTES))

    def room(self, filled: int) -> memoryview:
        return self._sink

    def finish(self) -> Lost:
        return Lost(self._n_bytes)


class _Bytearray:
    """A bytearray, or any memory."""

    __slots__ = ("_form", "_memory")

    def __init__(self, form: int, n_bytes: int) -> None:
        self._form = form
        self._memory = bytearray(n_bytes)
        if n_bytes >= _WORTH_ADVICE_BYTES:
            _advise_view(memoryview(self._memory))

    def room(self, filled: int) -> memoryview:
        return memoryview(self._memory)[filled:]

    def finish(self) -> Any:
        return self._memory if self._form == BYTEARRAY else memoryview(self._memory)


class _Bytes:
    """Bytes, filled before anybody else sees them."""

    __slots__ = ("_stream", "_view")

    def __init__(self, n_bytes: int) -> None:
        # Nothing else refers to these bytes: so the stream lends their own memory.
        self._stream = BytesIO(bytes(n_bytes))
        self._view = self._stream.getbuffer()
        if n_bytes >= _WORTH_ADVICE_BYTES:
            _advise_view(self._view)

    def room(self, filled: int) -> memoryview:
        return self._view[filled:]

    def finish(self) -> bytes:
        self._view.release()
        return self._stream.getvalue()  # a copy, if somebody has a view of it all the same


class _Array:
    """An ``array.array``; other memory if the bytes are no whole number of its items."""

    __slots__ = ("_memory",)

    def __init__(self, code: str, n_bytes: int) -> None:
        from array import array

        made = array(code, [0])
        count, rest = divmod(n_bytes, made.itemsize)
        self._memory: Any = bytearray(n_bytes) if rest else made * count

    def room(self, filled: int) -> memoryview:
        return memoryview(self._memory).cast("B")[filled:]

    def finish(self) -> Any:
        return self._memory


class _Block:
    """Memory of the system's."""

    __slots__ = ("_view",)

    def __init__(self, n_bytes: int) -> None:
        self._view = memoryview(_pool.take(n_bytes))[:n_bytes]

    def room(self, filled: int) -> memoryview:
        return self._view[filled:]

    def finish(self) -> memoryview:
        return self._view


class _Cautious:
    """Pages that cost nothing yet, until enough has arrived to take the memory for all.

    Args:
        form: in which the buffer is wanted.
        n_bytes: its size.
    """

    __slots__ = ("_form", "_n_bytes", "_real", "_start")

    def __init__(self, form: int, n_bytes: int) -> None:
        self._form = form
        self._n_bytes = n_bytes
        self._start = memoryview(_anonymous(n_bytes // _PROOF))
        self._real: Landing | None = None

    def room(self, filled: int) -> memoryview:
        if self._real is None:
            start = self._start
            if filled < len(start):
                return start[filled:]
            real = land(self._form, self._n_bytes)
            if type(real) is not _Nowhere:
                real.room(0)[: len(start)] = start
            self._real, self._start = real, _NO_BYTES
        return self._real.room(filled)

    def finish(self) -> Any:
        assert self._real is not None
        return self._real.finish()


_NO_BYTES = memoryview(b"")


def _anonymous(n_bytes: int) -> mmap.mmap:
    """Take memory from the system.

    Raises:
        MemoryError: there is none.
    """
    import mmap

    try:
        return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(str(error)) from None


class _Pool:
    """Memory that was received into a moment ago.

    A block that nobody else refers to is free: no view of it is left. What is still in use when
    the pool forgets it belongs to its users alone, and goes with the last of them.

    It forgets all a second after it was last of use. In a process that has threads the janitor
    sees to that. One that has none is given none, because it may want to fork: there the
    collector's next run does it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: list[mmap.mmap] = []
        self._used_at = 0.0
        self._is_watched = False  # by the janitor

    def take(self, n_bytes: int) -> mmap.mmap:
        """Return memory of this size or a little more.

        Raises:
            MemoryError: there is none.
        """
        with self._lock:
            block = self._free(n_bytes)
            if block is None:
                block = _anonymous(n_bytes)
                if n_bytes >= _HUGE_BYTES:
                    _advise(block)
                self._keep(block)
            self._used_at = monotonic()
        return block

    def _free(self, n_bytes: int) -> mmap.mmap | None:
        for index in range(len(self._blocks)):
            block = self._blocks[index]
            # Referred to by the list, by this variable, and by the argument.
            if n_bytes <= len(block) <= n_bytes + n_bytes // 8 and sys.getrefcount(block) == 3:
                self._blocks.append(self._blocks.pop(index))
                return block
        return None

    def _keep(self, block: mmap.mmap) -> None:
        """Keep a block; others go for it, those first that were not used for the longest time."""
        blocks = self._blocks
        if len(block) > POOL_BYTES:
            return
        while blocks and sum(map(len, blocks)) + len(block) > POOL_BYTES:
            del blocks[0]
        if threading.active_count() == 1:
            if _on_collection not in gc.callbacks:
                gc.callbacks.append(_on_collection)
        elif not self._is_watched:
            self._is_watched = True
            janitor.start()
            janitor.later_on(IDLE_SECONDS, self._watch)
        blocks.append(block)

    def _watch(self) -> None:
        with self._lock:
            if monotonic() - self._used_at >= IDLE_SECONDS:
                self._blocks.clear()
                self._is_watched = False
            else:
                janitor.later_on(IDLE_SECONDS, self._watch)

    def tidy(self) -> None:
        """Forget all blocks if none was used for a while; may be called at any moment."""
        if (
            self._blocks
            and monotonic() - self._used_at >= IDLE_SECONDS
            and self._lock.acquire(blocking=False)
        ):
            try:
                self._blocks.clear()
            finally:
                self._lock.release()


def _on_collection(phase: str, facts: object) -> None:
    _pool.tidy()


def _advise(block: mmap.mmap) -> None:
    import mmap

    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        try:
            block.madvise(advice)
        except OSError:
            pass  # this kernel has none


def _advise_view(view: memoryview) -> None:
    """Ask for huge pages for memory that was just taken, and not touched yet.

    Python takes that of large objects from the system, too. Measured for 64 MiB of bytes: touching
    them costs 85 to 110 ms in small pages, 25 to 35 in huge ones.
    """
    if sys.platform != "linux":
        return
    try:
        import ctypes
        from mmap import MADV_HUGEPAGE, PAGESIZE

        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        first = -(-start // PAGESIZE) * PAGESIZE
        n_bytes = (start + len(view) - first) // PAGESIZE * PAGESIZE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(n_bytes), MADV_HUGEPAGE)
    except (ImportError, OSError, AttributeError, TypeError):
        pass  # then it is slower


_pool = _Pool()


def _after_fork_in_child() -> None:
    global _pool
    _pool = _Pool()


after_fork.append(_after_fork_in_child)

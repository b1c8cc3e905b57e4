"""The native dialect: header, optional sections, payload, out-of-band buffers.

All numbers are unsigned and big-endian. A frame is:

======  =====  ====================================================================
offset  bytes  field
======  =====  ====================================================================
0       6      signature: ``PYRO``, then ``I`` and the version, 1
6       1      kind (:mod:`pyroipc.wire.message`)
7       1      serializer id; 0 if the payload is not serialized
8       2      flags
10      2      descriptors that travel beside the frame
12      4      number of out-of-band buffers
16      8      bytes of annotations
24      4      request id
28      8      bytes of payload
36      16     correlation id, only with flag CORRELATION
..      8      time limit in microseconds, only with flag DEADLINE
..      8 n    the size of each of the n out-of-band buffers
..      a      annotations: id (4 ASCII), size (8), value; repeated
..      p      payload
..      b      the out-of-band buffers, one after the other
======  =====  ====================================================================

The fields that seldom change come first: the first 24 bytes of a plain call are always the
same, so that one comparison recognises them and three values make the whole header.

The decoder reads the other dialects, too (:mod:`pyroipc.wire.dialect`). It never raises anything
but :class:`~pyroipc.errors.ProtocolError` or a subclass, whatever the bytes (and SecurityError in
a dialect that signs its messages), and checks every size before it takes memory. It does no I/O:
it lends memory through :meth:`Decoder.get_buffer`, and is told in ``received`` how much arrived.
"""

from __future__ import annotations

import struct

from pyroipc.errors import MessageTooLargeError, ProtocolError, SecurityError
from pyroipc.wire.message import (
    BATCH,
    CORRELATION,
    DEADLINE,
    END,
    ERROR,
    NESTED,
    ONEWAY,
    STREAM,
    Limits,
    Message,
)
from pyroipc.wire.native_layout import (
    ANNOTATION,
    HEADER,
    HEADER_BYTES,
    NATIVE,
    PREFIX,
    SIGNATURE,
    SIZE,
    VERSION,
)

__all__ = [
    "HEADER_BYTES",
    "JOIN_BYTES",
    "SCRATCH_BYTES",
    "SIGNATURE",
    "VERSION",
    "Decoder",
    "encode",
    "encode_plain",
    "join",
    "new_scratch",
    "pack_header",
    "plain_prefix",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.wire.dialect import Dialect
    from pyroipc.wire.message import Buffer

JOIN_BYTES = 16 << 10
"""Up to here header and payload are joined into one piece; beyond, joining costs more than a
second entry in the list given to sendmsg (measured by CPython's multiprocessing as well)."""
SCRATCH_BYTES = 64 << 10

pack_header = HEADER.pack
"""The header of a plain message: its constant prefix, the request id, the size of the payload."""
_unpack_from = HEADER.unpack_from
_new = object.__new__
_MAX_TIME_LIMIT = 1 << 63


def plain_prefix(kind: int, serializer_id: int, flags: int) -> bytes:
    """Make the first 24 bytes of every plain message of this kind, for :func:`encode_plain`."""
    return PREFIX.pack(SIGNATURE, kind, serializer_id, flags, 0, 0, 0)


def encode_plain(prefix: bytes, request_id: int, payload: bytes) -> bytes:
    """Encode a message that has a payload of at most JOIN_BYTES and nothing else."""
    return pack_header(prefix, request_id, len(payload)) + payload


def encode(message: Message) -> list[Buffer]:
    """Encode any message into the buffers to be sent, in order, without copying large ones.

    Raises:
        ProtocolError: an annotation id is not four ASCII characters, or a field is out of range.
    """
    flags = message.flags & ~(CORRELATION | DEADLINE)
    sections: list[Buffer] = []
    if message.correlation_id is not None:
        if len(message.correlation_id) != 16:
            raise ProtocolError("a correlation id has 16 bytes")
        flags |= CORRELATION
        sections.append(message.correlation_id)
    if message.time_limit is not None:
        flags |= DEADLINE
        # In this order max and min also deal with nan and infinity.
        microseconds = min(max(0.0, message.time_limit * 1e6 + 0.5), _MAX_TIME_LIMIT)
        sections.append(SIZE.pack(int(microseconds)))
    views = [_flat(buffer) for buffer in message.buffers]
    sections.extend(SIZE.pack(view.nbytes) for view in views)
    annotations_bytes = 0
    for key, value in (message.annotations or {}).items():
        view = _flat(value)
        sections.append(ANNOTATION.pack(_annotation_id(key), view.nbytes))
        sections.append(view)
        annotations_bytes += ANNOTATION.size + view.nbytes
    payload = message.payload if isinstance(message.payload, bytes) else _flat(message.payload)
    try:
        prefix = PREFIX.pack(
            SIGNATURE,
            message.kind,
            message.serializer_id,
            flags,
            message.descriptors,
            len(views),
            annotations_bytes,
        )
        head = pack_header(prefix, message.request_id, len(payload))
    except struct.error as error:
        raise ProtocolError(f"a field of {message!r} is out of range: {error}") from None
    return join([head, *sections, payload, *views])


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")


def _annotation_id(key: str) -> bytes:
    if len(key) == 4 and key.isascii():
        return key.encode("ascii")
    raise ProtocolError(f"an annotation id is four ASCII characters, not {key!r}")


def join(parts: list[Buffer]) -> list[Buffer]:
    """Join neighbours that are small together, so that few pieces go to the kernel.

    Args:
        parts: bytes, or views of bytes, one after the other.
    """
    joined: list[Buffer] = []
    small: list[Buffer] = []
    small_bytes = 0
    for part in parts:
        n_bytes = len(part)
        if n_bytes + small_bytes > JOIN_BYTES:
            if small:
                joined.append(b"".join(small))
            small, small_bytes = [], 0
            if n_bytes > JOIN_BYTES:
                joined.append(part)
                continue
        if n_bytes:
            small.append(part)
            small_bytes += n_bytes
    if small:
        joined.append(b"".join(small))
    return joined


_USUAL_FLAGS = frozenset((0, ERROR, ONEWAY, NESTED, STREAM, BATCH, END))
_PLAIN: dict[bytes, tuple[int, int, int]] = {}
"""The prefixes of plain messages that were seen, and what they say. There are not many that are
remembered, whatever peers send: kinds times usual flags times 32 serializers."""
_NO_SCRATCH = (bytearray(), memoryview(b""))


def new_scratch() -> tuple[bytearray, memoryview]:
    """Make the memory in which messages arrive that are not large, and a view of it."""
    scratch = bytearray(SCRATCH_BYTES)
    return scratch, memoryview(scratch)


class Decoder:
    """Turns received bytes into messages.

    The reader writes bytes into ``get_buffer()``, stores their number in ``received`` and calls
    :meth:`advance` until it returns None. ``received`` is a plain attribute and not an argument
    so that the number can be stored by the very instruction that took it from the kernel: a
    KeyboardInterrupt right after a system call must not lose count of the stream.

    Args:
        limits: what to accept. May be replaced at any time by assigning ``limits``.
        allocate: makes the memory for a message that does not fit the scratch; takes a size in
            bytes and returns a writable buffer of exactly that size.
        idle: take no memory before something is received: :meth:`borrow` and :meth:`rest`.
    """

    __slots__ = (
        "_allocate",
        "_borrowed",
        "_error",
        "_large",
        "_limits",
        "_plain_bytes",
        "_scratch",
        "_start",
        "_total",
        "buffered",
        "dialect",
        "end",
        "received",
        "scratch",
    )

    def __init__(
        self,
        limits: Limits,
        allocate: Callable[[int], bytearray] = bytearray,
        *,
        idle: bool = False,
    ) -> None:
        self._scratch, self.scratch = _NO_SCRATCH
        self._borrowed = False
        if not idle:
            self._take_scratch()
        self._start = 0
        self.end = 0
        """What lies between the two in the memory in use has arrived and is not decoded yet; while
        ``end`` is 0 the whole ``scratch`` is free."""
        self._large: memoryview | None = None  # the memory of a message too large for the scratch
        self._total = 0  # the size of that message
        self._allocate = allocate
        self._error: ProtocolError | SecurityError | None = None
        self.received = 0
        self.buffered = False
        """True while a complete message may be waiting: call advance before receiving."""
        self.dialect: Dialect = NATIVE
        """How it takes the stream apart."""
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """What this decoder accepts."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._plain_bytes = min(limits.message_bytes, SCRATCH_BYTES) - HEADER_BYTES
        if self.dialect is not NATIVE:
            self._plain_bytes = -1

    def speak(self, dialect: Dialect) -> None:
        """Take the stream apart in another way from here on, what has arrived included."""
        self.dialect = dialect
        self.limits = self._limits
        self._error = None
        self.buffered = self.end > self._start

    @property
    def in_message(self) -> bool:
        """True if a part of a message has arrived; an end of the stream now cuts it off."""
        return self.end > self._start

    def get_buffer(self) -> memoryview:
        """Lend the memory into which the next bytes are to be received; never empty."""
        if self._large is not None:
            return self._large_room(self._large)
        if self._start:
            rest = self.end - self._start
            self._scratch[:rest] = self._scratch[self._start : self.end]
            self.end = rest
            self._start = 0
        return self.scratch[self.end :] if self.end else self.scratch or self._take_scratch()

    def _take_scratch(self) -> memoryview:
        scratch, view = new_scratch()
        self._scratch, self.scratch = scratch, view
        return view

    def borrow(self, scratch: tuple[bytearray, memoryview]) -> None:
        """Receive into memory that somebody lends until :meth:`rest`, unless there is some here.

        Args:
            scratch: what :func:`new_scratch` returned.
        """
        if not self.scratch:
            self._borrowed = True
            self._scratch, self.scratch = scratch

    def rest(self) -> None:
        """Give back what was borrowed, and keep no more memory than what has arrived needs."""
        if self._large is not None or not (self.end or self.received):
            self._borrowed = False
            self._scratch, self.scratch = _NO_SCRATCH
        elif self._borrowed:
            scratch, view = new_scratch()
            rest = self.end + self.received - self._start
            scratch[:rest] = self._scratch[self._start : self.end + self.received]
            # No call from here on: a signal handler could raise.
            self._borrowed = False
            self._scratch, self.scratch = scratch, view
            self.end -= self._start
            self._start = 0

    def advance(self) -> Message | None:
        """Account for ``received`` bytes and return the next complete message, or None.

        Raises:
            ProtocolError: the bytes are not of this dialect, or a limit is exceeded. The decoder
                then stays in error: every later call raises the same.
        """
        # No call may stand between these four statements: a signal handler could raise there. If
        # one raises later, what has arrived still is there, and buffered says so.
        end = self.end + self.received
        self.end = end
        self.buffered = True
        self.received = 0
        start = self._start
        if self._large is None and end - start >= HEADER_BYTES:
            prefix, request_id, payload_bytes = _unpack_from(self._scratch, start)
            plain = _PLAIN.get(prefix)
            if plain is not None and payload_bytes <= self._plain_bytes:
                body = start + HEADER_BYTES
                stop = body + payload_bytes
                if stop <= end:
                    kind, serializer_id, flags = plain
                    # The five assignments that Message(...) would make, without its frame.
                    message = _new(Message)
                    message.kind = kind
                    message.serializer_id = serializer_id
                    message.flags = flags
                    message.request_id = request_id
                    message.payload = self._scratch[body:stop]
                    if stop == end:
                        self._start = self.end = 0
                        self.buffered = False
                    else:
                        self._start = stop
                    return message
        return self._advance_slowly()

    def _advance_slowly(self) -> Message | None:
        """Decode what is not plain, not complete, or not allowed.

        Raises:
            ProtocolError: as :meth:`advance` does.
            SecurityError: so does this.
        """
        if self._error is not None:
            raise self._error
        try:
            message = self._decode_large() if self._large is not None else self._decode_scratch()
        except (ProtocolError, SecurityError) as error:
            self._error = error
            raise
        if message is None or not self.end:
            self.buffered = False
        return message

    def _decode_scratch(self) -> Message | None:
        start, available = self._start, self.end - self._start
        dialect = self.dialect
        header_bytes = dialect.header_bytes
        head = self._scratch[start : start + min(available, header_bytes)]
        if not dialect.may_be_ours(head):
            raise dialect.foreign(bytes(head[:16]))
        if available < header_bytes:
            return None
        layout = dialect.layout(head, self._limits)
        if available < layout.table_stop:
            return None
        layout.read_table(self.scratch[start : start + layout.table_stop], self._limits)
        if layout.total > SCRATCH_BYTES:
            self._take_large(layout.total)
            return self._decode_large()
        if available < layout.total:
            return None
        stop = start + layout.total
        message = layout.message(memoryview(self._scratch[start:stop]))
        if layout.is_plain and message.flags in _USUAL_FLAGS and message.serializer_id < 32:
            _PLAIN[bytes(head[:24])] = (message.kind, message.serializer_id, message.flags)
        if stop == self.end:
            self._start = self.end = 0
        else:
            self._start = stop
            self.buffered = True
        return message

    def _take_large(self, total: int) -> None:
        """Move to memory of the message's own."""
        received = self.end - self._start
        large = self._new_memory(min(total, max(self._limits.eager_bytes, received)))
        large[:received] = self.scratch[self._start : self.end]
        self._start, self.end, self._total = 0, received, total
        self._large = large

    def _new_memory(self, n_bytes: int) -> memoryview:
        try:
            return memoryview(self._allocate(n_bytes))
        except MemoryError:
            text = f"there is no memory for a message of {n_bytes} bytes or more"
            raise MessageTooLargeError(text) from None

    def _large_room(self, large: memoryview) -> memoryview:
        if self.end == len(large):
            grown = self._new_memory(min(self._total, 2 * len(large)))
            grown[: self.end] = large
            self._large = large = grown
        return large[self.end :]

    def _decode_large(self) -> Message | None:
        large = self._large
        if large is None or self.end < self._total:
            return None
        layout = self.dialect.layout(large[: self.dialect.header_bytes], self._limits)
        layout.read_table(large[: layout.table_stop], self._limits)
        message = layout.message(large)
        self._large = None
        self._start = self.end = 0
        return message

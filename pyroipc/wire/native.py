"""The native dialect: header, optional sections, payload; out-of-band buffers in frames behind.

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
..      8 n    of each of the n out-of-band buffers: form (1 byte), size (7)
..      a      annotations: id (4 ASCII), size (8), value; repeated
..      p      payload
======  =====  ====================================================================

The out-of-band buffers come behind it, in frames of kind DATA, whose payload is the next bytes of
them: :mod:`pyroipc.wire.native_bulk`.

The fields that seldom change come first: the first 24 bytes of a plain call are always the
same, so that one comparison recognises them and three values make the whole header.

The decoder reads the other dialects, too (:mod:`pyroipc.wire.dialect`). It never raises anything
but :class:`~pyroipc.errors.ProtocolError` or a subclass, whatever the bytes (and SecurityError in
a dialect that signs its messages), and checks every size before it takes memory. It does no I/O:
it lends memory through :meth:`Decoder.get_buffer`, and is told in ``received`` how much arrived.
"""

from __future__ import annotations

from pyroipc.errors import MessageTooLargeError, ProtocolError, SecurityError
from pyroipc.wire.message import DATA, FullMessage, Limits, Message
from pyroipc.wire.native_bulk import Assembly, LongMessage, PlainLanding
from pyroipc.wire.native_encoder import (
    JOIN_BYTES,
    encode,
    encode_plain,
    pack_header,
    plain_prefix,
)
from pyroipc.wire.native_layout import (
    HEADER,
    HEADER_BYTES,
    NATIVE,
    SIGNATURE,
    USUAL_FLAGS,
    VERSION,
    Layout,
)

__all__ = [
    "HEADER_BYTES",
    "JOIN_BYTES",
    "SCRATCH_BYTES",
    "SIGNATURE",
    "VERSION",
    "Decoder",
    "LongMessage",
    "encode",
    "encode_plain",
    "new_scratch",
    "pack_header",
    "plain_prefix",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.wire.dialect import Dialect
    from pyroipc.wire.dialect import Layout as AnyLayout
    from pyroipc.wire.native_bulk import Land, Place

SCRATCH_BYTES = 64 << 10

_unpack_from = HEADER.unpack_from
_new = object.__new__
_PLAIN: dict[bytes, tuple[int, int, int]] = {}
"""The prefixes of plain messages that were seen, and what they say. There are not many that are
remembered, whatever peers send: kinds times usual flags times 32 serializers."""
_NO_BYTES = memoryview(b"")
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
        land: takes the memory for an out-of-band buffer.
        idle: take no memory before something is received: :meth:`borrow` and :meth:`rest`.
    """

    __slots__ = (
        "_allocate",
        "_borrowed",
        "_claimed",
        "_data_bytes",
        "_error",
        "_land",
        "_large",
        "_limits",
        "_plain_bytes",
        "_scratch",
        "_start",
        "_total",
        "buffered",
        "claim",
        "dialect",
        "end",
        "filling",
        "received",
        "scratch",
    )

    def __init__(
        self,
        limits: Limits,
        allocate: Callable[[int], bytearray] = bytearray,
        *,
        land: Land = PlainLanding,
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
        # The memory of a message too large for the scratch; or that of data, up to where they go
        # together, or none while they are still in the scratch.
        self._large: memoryview | None = None
        self._total = 0  # the size of that message; 0: it is data
        self.filling: Assembly | None = None
        """The message that waits for its data."""
        self._data_bytes = 0  # missing of the frame of data that has begun
        self._land = land
        self._allocate = allocate
        self._error: ProtocolError | SecurityError | None = None
        self.claim: Callable[[Message], object] | None = None
        """Takes in the descriptors that came beside a message; None: there cannot be any."""
        self._claimed: object = None  # what it has returned for the message that is next
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
        self.filling = None
        self.buffered = self.end > self._start

    @property
    def in_message(self) -> bool:
        """True if a part of a message has arrived; an end of the stream now cuts it off."""
        return self.end > self._start or self.filling is not None

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
        if self._large or not (self.end or self.received):
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
            if self._large is None:
                message = self._decode_scratch()
            elif self._total:
                message = self._decode_large()
            else:
                message = self._decode_data()
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
        if isinstance(layout, Layout) and layout.kind == DATA:
            return self._begin_data(layout)
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
        if layout.is_plain and message.flags in USUAL_FLAGS and message.serializer_id < 32:
            _PLAIN[bytes(head[:24])] = (message.kind, message.serializer_id, message.flags)
        opened = self._opened(layout, message)
        # No call from here to the return: a signal handler could raise there.
        self._claimed = None
        if stop == self.end:
            self._start = self.end = 0
        else:
            self._start = stop
            self.buffered = True
        if opened is None:
            return message
        self.filling = opened
        self._total = 0
        self._large = None if opened.at[2] else _NO_BYTES
        return self._go_on()

    def _opened(self, layout: AnyLayout, message: Message) -> Assembly | None:
        """Return what waits for the data of a message; None if it has none.

        Raises:
            ProtocolError: another one waits.
        """
        if not isinstance(layout, Layout) or not isinstance(message, FullMessage):
            return None
        if layout.descriptors and self.claim is not None:
            if self._claimed is None:
                for self._claimed in map(self.claim, (message,)):  # noqa: B020
                    break
            message.parcel = self._claimed
        if not layout.buffers:
            return None
        if self.filling is not None:
            raise ProtocolError("two messages with out-of-band buffers at once")
        return Assembly(message, layout.buffer_sizes, layout.forms, self._land)

    def _go_on(self) -> Message | None:
        """Go on after a frame that gave no message: with data, or what else is in the scratch."""
        if self._large is not None:
            return self._decode_data()
        return self._decode_scratch() if self.end else None

    def _begin_data(self, layout: Layout) -> Message | None:
        """Take in the header of a frame of data.

        Raises:
            ProtocolError: no message waits for them.
        """
        opened = self.filling
        if opened is None or opened.message.request_id != layout.request_id:
            raise ProtocolError("data, and no message of this id waits for them")
        if layout.payload_bytes > opened.at[2]:
            raise ProtocolError("more data than their message has said")
        given_up = layout.flags != 0
        start = self._start + HEADER_BYTES
        if start == self.end:
            start = 0
        # No call from here to the return: a signal handler could raise there.
        self._start = start
        if not start:
            self.end = 0
        if given_up:
            self.filling = None
        else:
            self._data_bytes = layout.payload_bytes
            self._total = 0
            self._large = _NO_BYTES
        return self._go_on()

    def _decode_data(self) -> Message | None:
        """Put data where they belong; None if more are needed."""
        opened = self.filling
        assert opened is not None
        # The memory itself is in no variable here: when it is given out, nobody has a view of it.
        if self._large:
            arrived = self.end - HEADER_BYTES
            if arrived < len(self._large):
                return None
            self._direct(opened, opened.after(opened.at, arrived), self._data_bytes - arrived)
        else:  # there may be some in the scratch
            self._take_from_scratch(opened)
        if self._large:
            return None
        message = None if opened.at[2] else opened.finish()
        # No call from here to the return: a signal handler could raise there.
        self._large = None
        if message is not None:
            self.filling = None
            self.buffered = True
            return message
        return self._go_on()

    def _take_from_scratch(self, opened: Assembly) -> None:
        """Put away what of a frame of data came with its header."""
        while self._data_bytes and self.end > self._start:
            start = self._start
            room = opened.room(opened.at, min(self._data_bytes, self.end - start))
            taken = len(room)
            room[:] = self.scratch[start : start + taken]
            after = opened.after(opened.at, taken)
            # No call from here to the end: a signal handler could raise there.
            opened.at = after
            self._data_bytes -= taken
            if start + taken == self.end:
                self._start = self.end = 0
            else:
                self._start = start + taken
        if self._data_bytes:
            self._direct(opened, opened.at, self._data_bytes)

    def _direct(self, opened: Assembly, at: Place, missing: int) -> None:
        """Have what comes next received where it belongs.

        Args:
            opened: the message.
            at: up to where its data have arrived.
            missing: of the frame of data.
        """
        room = opened.room(at, missing) if missing else _NO_BYTES
        end = HEADER_BYTES if missing else 0
        # No call from here to the end: a signal handler could raise there.
        opened.at = at
        self._data_bytes = missing
        self._large = room
        self._start = 0
        self.end = end  # never 0 while something is under way: then the scratch is not lent

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
        if self._error is not None:
            raise self._error
        if not self._total:
            return large[self.end - HEADER_BYTES :]
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
        opened = self._opened(layout, message)
        # No call from here to the return: a signal handler could raise there.
        self._claimed = None
        self._start = self.end = self._total = 0
        self._large = None
        if opened is None:
            return message
        self.filling = opened
        self._large = None if opened.at[2] else _NO_BYTES
        return self._go_on()

    def forget(self) -> None:
        """Let go of what has arrived of a message: the stream is over, and is read no more."""
        if self._error is None:
            self._error = ProtocolError("this stream is over")
        # So that nothing is taken for the begin of a message any more.
        self._total = HEADER_BYTES
        self._large = _NO_BYTES
        self.filling = self._claimed = None

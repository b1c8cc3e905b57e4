"""Where the parts of a native frame lie, and whether bytes can be one at all.

The layout itself is told in :mod:`pyroipc.wire.native`, which makes frames and reads them.
"""

from __future__ import annotations

import struct

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.wire.dialect import OtherDialectError, is_pyro, named, version_of
from pyroipc.wire.message import (
    BATCH,
    CORRELATION,
    DATA,
    DEADLINE,
    END,
    ERROR,
    GOODBYE,
    HELLO,
    KINDS,
    KNOWN_FLAGS,
    NESTED,
    ONEWAY,
    STAGED,
    STREAM,
    WELCOME,
    FullMessage,
    Limits,
    Message,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.wire.message import Buffer

VERSION = 1
SIGNATURE = b"PYROI" + bytes([VERSION])
HEADER_BYTES = 36
USUAL_FLAGS = frozenset((0, ERROR, ONEWAY, NESTED, STREAM, BATCH, END, STAGED))
"""The flags of messages whose beginnings are remembered."""
HEADER = struct.Struct(">24sIQ")
"""The constant prefix of plain messages of a kind, the request id, the size of the payload."""
PREFIX = struct.Struct(">6sBBHHIQ")
SIZE = struct.Struct(">Q")
SIZE_BITS = 56
"""The size of a buffer; its form stands above these bits."""
ANNOTATION = struct.Struct(">4sQ")
_SEALED = b"PYROH"  # how the connection of a peer begins that uses an HMAC key
_GREETINGS = frozenset((HELLO, WELCOME, GOODBYE))


class Layout:
    """Where the parts of one frame lie, every size checked."""

    __slots__ = (
        "annotations_bytes",
        "buffer_sizes",
        "buffers",
        "descriptors",
        "flags",
        "forms",
        "kind",
        "payload_bytes",
        "request_id",
        "serializer_id",
        "table_start",
        "table_stop",
        "total",
    )

    def __init__(self, head: bytes | bytearray | memoryview, limits: Limits) -> None:
        prefix, self.request_id, self.payload_bytes = HEADER.unpack_from(head)
        (
            _,
            self.kind,
            self.serializer_id,
            self.flags,
            self.descriptors,
            self.buffers,
            self.annotations_bytes,
        ) = PREFIX.unpack(prefix)
        if self.kind not in KINDS:
            raise ProtocolError(f"unknown kind of message: {self.kind}")
        if self.flags & ~KNOWN_FLAGS:
            raise ProtocolError(f"unknown flags: {self.flags & ~KNOWN_FLAGS:#06x}")
        if self.buffers > limits.buffers:
            raise MessageTooLargeError(
                f"message with {self.buffers} out-of-band buffers, at most {limits.buffers}"
            )
        self.table_start = (
            HEADER_BYTES
            + (16 if self.flags & CORRELATION else 0)
            + (8 if self.flags & DEADLINE else 0)
        )
        self.table_stop = self.table_start + 8 * self.buffers
        self.buffer_sizes: list[int] = []
        self.forms = b""
        self.total = self.table_stop + self.annotations_bytes + self.payload_bytes
        """The bytes of the frame; the buffers come after it, in frames of their own."""
        if self.kind == DATA and (
            not self.is_plain
            or self.flags & ~ERROR
            or bool(self.flags) == bool(self.payload_bytes)
        ):
            raise ProtocolError("data with something that data do not have")
        _check_total(self.total, limits)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but a payload."""
        return not (self.annotations_bytes or self.descriptors) and self.table_stop == HEADER_BYTES

    def read_table(self, head: memoryview, limits: Limits) -> None:
        """Read sizes and forms of the buffers; ``head`` reaches to ``table_stop``.

        Raises:
            MessageTooLargeError: together with them the message is too large.
        """
        rows = [SIZE.unpack_from(head, self.table_start + 8 * i)[0] for i in range(self.buffers)]
        self.forms = bytes(row >> SIZE_BITS for row in rows)
        self.buffer_sizes = [row & (1 << SIZE_BITS) - 1 for row in rows]
        _check_total(self.total + sum(self.buffer_sizes), limits)

    def message(self, frame: memoryview) -> Message:
        """Cut the message out of ``frame``, which is complete; its parts are views of it.

        It has no buffers yet.
        """
        annotations_stop = self.table_stop + self.annotations_bytes
        payload_stop = annotations_stop + self.payload_bytes
        payload = frame[annotations_stop:payload_stop]
        if self.is_plain:
            return Message(self.kind, self.serializer_id, self.flags, self.request_id, payload)
        correlation_id = None
        time_limit = None
        offset = HEADER_BYTES
        if self.flags & CORRELATION:
            correlation_id = bytes(frame[offset : offset + 16])
            offset += 16
        if self.flags & DEADLINE:
            time_limit = SIZE.unpack_from(frame, offset)[0] / 1e6
        return FullMessage(
            self.kind,
            self.serializer_id,
            self.flags,
            self.request_id,
            payload,
            annotations=_annotations(frame[self.table_stop : annotations_stop]),
            correlation_id=correlation_id,
            time_limit=time_limit,
            descriptors=self.descriptors,
        )


def _check_total(n_bytes: int, limits: Limits) -> None:
    if n_bytes > limits.message_bytes:
        raise MessageTooLargeError(
            f"message of {n_bytes} bytes, at most {limits.message_bytes} are allowed; "
            f"{limits.setting} raises this limit"
        )


def _annotations(area: memoryview) -> dict[str, Buffer] | None:
    if not area:
        return None
    annotations: dict[str, Buffer] = {}
    offset = 0
    while offset < len(area):
        if len(area) - offset < ANNOTATION.size:
            raise ProtocolError("annotations are cut off in the middle of a header")
        key, n_bytes = ANNOTATION.unpack_from(area, offset)
        offset += ANNOTATION.size
        if n_bytes > len(area) - offset:
            raise ProtocolError("an annotation is longer than the annotations are together")
        if not key.isascii():
            raise ProtocolError("an annotation id is not ASCII")
        annotations[key.decode("ascii")] = area[offset : offset + n_bytes]
        offset += n_bytes
    return annotations


class Native:
    """The native dialect, as a decoder sees it; has no state."""

    __slots__ = ()

    header_bytes = HEADER_BYTES

    def may_be_ours(self, head: bytearray) -> bool:
        """Say whether these first bytes of a frame can be of this dialect, however few they are.

        The greetings keep their layout in all versions, so that peers of different versions can
        tell each other what they are. Five bytes of one of Pyro's dialects may be: with one more
        it is known which of them it is.
        """
        if not SIGNATURE[:5].startswith(head[:5]):
            return len(head) == 5 and is_pyro(head)
        return len(head) < 7 or head[5] == VERSION or head[6] in _GREETINGS

    def foreign(self, head: bytes) -> ProtocolError:
        """Return the error that says what such bytes look like, for people and for detection."""
        version = version_of(head)
        if version is not None:
            return OtherDialectError(f"the peer speaks {named(version)}", version)
        if head[:5] == SIGNATURE[:5]:
            return ProtocolError(
                f"the peer speaks version {head[5]} of the native dialect, this side {VERSION}"
            )
        if head[:5] == _SEALED:
            return ProtocolError("the peer uses an HMAC key, and this side does not")
        if head[:1] == b"\x16":
            return ProtocolError("the peer speaks TLS here, and this side does not")
        return ProtocolError(f"these are not bytes of a Pyro peer: {head!r}")

    def layout(self, head: bytes | bytearray | memoryview, limits: Limits) -> Layout:
        """Say where the parts of a frame lie.

        Raises:
            ProtocolError: it is no frame.
            MessageTooLargeError: it is larger than allowed.
        """
        return Layout(head, limits)


NATIVE = Native()

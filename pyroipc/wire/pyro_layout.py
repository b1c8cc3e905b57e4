"""What the frames of Pyro4 and Pyro5 have in common: message types, flags, annotations.

Both consist of a header, annotation chunks and a payload. Types and flags become those of
:mod:`pyroipc.wire.message`, and back; the sequence number of a message is its request id.

======  =============  ============================================================
type    name           becomes
======  =============  ============================================================
1       CONNECT        a request, with the flag INTRODUCTION
2       CONNECTOK      a welcome, with the flag INTRODUCTION
3       CONNECTFAIL    the same, with the flag ERROR
4       INVOKE         a request
5       RESULT         a response
6       PING           a ping at the end that serves, a pong at the other
======  =============  ============================================================

The size of each annotation is checked against what is left of their area; Pyro4 itself takes what
is there.
"""

from __future__ import annotations

import struct

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    COMPRESSED,
    CORRELATION,
    ERROR,
    INTRODUCTION,
    METADATA,
    ONEWAY,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    WELCOME,
    Message,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyroipc.wire.message import Buffer, Limits

CONNECT, CONNECTOK, CONNECTFAIL, INVOKE, RESULT, PING_TYPE = range(1, 7)
MARSHAL_TEXT = "marshal"
_SERVED = {CONNECT: REQUEST, INVOKE: REQUEST, PING_TYPE: PING}
_ANSWERED = {CONNECTOK: WELCOME, CONNECTFAIL: WELCOME, RESULT: RESPONSE, PING_TYPE: PONG}
_IMPLIED = {
    CONNECT: INTRODUCTION,
    CONNECTOK: INTRODUCTION,
    CONNECTFAIL: INTRODUCTION | ERROR,
}
_MEANT = {
    CONNECT: COMPRESSED | METADATA | CORRELATION,
    CONNECTOK: COMPRESSED | METADATA | CORRELATION,
    CONNECTFAIL: COMPRESSED | CORRELATION,
    INVOKE: ONEWAY | BATCH | BLOB | COMPRESSED | CORRELATION,
    RESULT: ERROR | BATCH | STREAM | COMPRESSED | CORRELATION,
    PING_TYPE: CORRELATION,
}
"""The flags that mean something in a message of a type; others are ignored, as Pyro does."""


def kind_of(message_type: int, *, serving: bool) -> int:
    """Return the kind of a message.

    Raises:
        ProtocolError: this end is never sent such a message.
    """
    kind = (_SERVED if serving else _ANSWERED).get(message_type)
    if kind is None:
        raise ProtocolError(f"invalid msg type {message_type} received")
    return kind


def type_of(kind: int, flags: int) -> int:
    """Return the type of a message of ours."""
    if kind == REQUEST:
        return CONNECT if flags & INTRODUCTION else INVOKE
    if kind == WELCOME:
        return CONNECTFAIL if flags & ERROR else CONNECTOK
    return RESULT if kind == RESPONSE else PING_TYPE


class FlagTable:
    """The flags of one dialect.

    Args:
        pairs: a flag of the dialect, and the one of ours.
    """

    __slots__ = ("_ours", "_pairs")

    def __init__(self, pairs: Mapping[int, int]) -> None:
        self._pairs = tuple(pairs.items())
        self._ours = {
            message_type: [self._translated(message_type, theirs) for theirs in range(128)]
            for message_type in _MEANT
        }

    def _translated(self, message_type: int, theirs: int) -> int:
        ours = 0
        for theirs_bit, ours_bit in self._pairs:
            if theirs & theirs_bit:
                ours |= ours_bit
        # The result that opens a stream is an exception for clients that know no streams.
        if ours & STREAM:
            ours &= ~ERROR
        return ours & _MEANT[message_type] | _IMPLIED.get(message_type, 0)

    def ours(self, message_type: int, theirs: int) -> int:
        """Return our flags of a message, those included that its type stands for."""
        return self._ours[message_type][theirs & 0x7F]

    def theirs(self, message_type: int, ours: int) -> int:
        """Return the flags of the dialect."""
        ours &= _MEANT[message_type]
        if ours & STREAM:
            ours |= ERROR
        theirs = 0
        for theirs_bit, ours_bit in self._pairs:
            if ours & ours_bit:
                theirs |= theirs_bit
        return theirs


def check_sizes(
    sizes: tuple[int, int, int], limits: Limits, head: tuple[int, int, int, int]
) -> None:
    """Refuse a frame that is larger than allowed.

    Args:
        sizes: of the annotations, of the payload, of the frame.
        limits: what is allowed.
        head: kind, serializer id, flags and request id of the frame; they go with the error, so
            that whoever sent it can be told (:func:`refused_frame`).

    Raises:
        MessageTooLargeError: it is.
    """
    annotations_bytes, payload_bytes, total = sizes
    if total > limits.message_bytes:
        error = MessageTooLargeError(
            f"message too large ({annotations_bytes + payload_bytes}, "
            f"max={limits.message_bytes}): {limits.setting} raises this limit"
        )
        kind, serializer_id, flags, request_id = head
        vars(error)["frame"] = Message(kind, serializer_id, flags, request_id, b"")
        raise error


def refused_frame(error: Exception) -> Message | None:
    """Return the frame, without its payload, that an error says is too large; None: none.

    The error tells it once: what it has as attributes would go to the peer.
    """
    frame: Message | None = vars(error).pop("frame", None)
    return frame


def check_correlation(correlation_id: bytes | None) -> None:
    """Refuse a correlation id that is none.

    Raises:
        ProtocolError: it has not 16 bytes.
    """
    if correlation_id is not None and len(correlation_id) != 16:
        raise ProtocolError(f"a correlation id has 16 bytes, not {len(correlation_id)}")


def read_annotations(area: memoryview, header: struct.Struct) -> dict[str, Buffer]:
    """Read the annotation chunks of a frame.

    Raises:
        ProtocolError: one is cut off, or its id is not ASCII.
    """
    annotations: dict[str, Buffer] = {}
    offset = 0
    while offset < len(area):
        if len(area) - offset < header.size:
            raise ProtocolError("annotations are cut off in the middle of a header")
        key, n_bytes = header.unpack_from(area, offset)
        offset += header.size
        if n_bytes > len(area) - offset:
            raise ProtocolError("an annotation is longer than the annotations are together")
        if not key.isascii():
            raise ProtocolError("an annotation id is not ASCII")
        annotations[key.decode("ascii")] = area[offset : offset + n_bytes]
        offset += n_bytes
    return annotations


def write_annotations(
    annotations: Iterable[tuple[str, Buffer]], header: struct.Struct
) -> tuple[list[Buffer], int]:
    """Return the pieces of annotation chunks, and how many bytes they are.

    Raises:
        MessageTooLargeError: a value has no room in a frame.
        ProtocolError: an id is not four ASCII characters.
    """
    pieces: list[Buffer] = []
    total = 0
    for key, value in annotations:
        if len(key) != 4 or not key.isascii():
            raise ProtocolError(f"an annotation id is four ASCII characters, not {key!r}")
        data = bytes(value)
        try:
            pieces.append(header.pack(key.encode("ascii"), len(data)))
        except struct.error:
            raise MessageTooLargeError(
                f"annotation {key!r} of {len(data)} bytes is too large for the peer's protocol; "
                "pass large data as an argument, or as an iterator of parts"
            ) from None
        pieces.append(data)
        total += header.size + len(data)
    return pieces, total

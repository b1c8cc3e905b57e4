"""Messages -> the bytes of the native dialect; :mod:`pyroipc.wire.native` tells what they are."""

from __future__ import annotations

import struct

from pyroipc.errors import ProtocolError
from pyroipc.wire.message import CORRELATION, DEADLINE, FullMessage
from pyroipc.wire.native_bulk import LongMessage
from pyroipc.wire.native_layout import ANNOTATION, HEADER, PREFIX, SIGNATURE, SIZE, SIZE_BITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.wire.message import Buffer, Message

JOIN_BYTES = 16 << 10
"""Up to here header and payload are joined into one piece; beyond, joining costs more than a
second entry in the list given to sendmsg (measured by CPython's multiprocessing as well)."""

pack_header = HEADER.pack
"""The header of a plain message: its constant prefix, the request id, the size of the payload."""
_MAX_TIME_LIMIT = 1 << 63


def plain_prefix(kind: int, serializer_id: int, flags: int) -> bytes:
    """Make the first 24 bytes of every plain message of this kind, for :func:`encode_plain`."""
    return PREFIX.pack(SIGNATURE, kind, serializer_id, flags, 0, 0, 0)


def encode_plain(prefix: bytes, request_id: int, payload: bytes) -> bytes:
    """Encode a message that has a payload of at most JOIN_BYTES and nothing else."""
    return pack_header(prefix, request_id, len(payload)) + payload


def encode(message: Message) -> list[Buffer] | LongMessage:
    """Encode any message, without copying what is large.

    Returns:
        The pieces to be sent, in order; of a message with out-of-band buffers, or with
        descriptors, a LongMessage.

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
    for index, view in enumerate(views):
        form = message.forms[index] if isinstance(message, FullMessage) and message.forms else 0
        sections.append(SIZE.pack(form << SIZE_BITS | view.nbytes))
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
    parts = join([head, *sections, payload])
    if (views or message.parcel) and isinstance(message, FullMessage):
        return LongMessage(message, parts, views)
    return parts


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return view
    # What has gaps, or is empty in several dimensions, cannot be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def _annotation_id(key: str) -> bytes:
    if isinstance(key, str) and len(key) == 4 and key.isascii():
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

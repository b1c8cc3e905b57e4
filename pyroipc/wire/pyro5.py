"""The dialect of Pyro5: version 502.

All numbers are unsigned and big-endian. A frame is:

======  =====  ====================================================================
offset  bytes  field
======  =====  ====================================================================
0       4      ``PYRO``
4       2      version, 502
6       1      message type (:mod:`pyroipc.wire.pyro_layout`)
7       1      serializer id
8       2      flags
10      2      sequence number
12      4      bytes of payload
16      4      bytes of annotations
20      16     correlation id, with flag 0x40; else zeros
36      2      reserved
38      2      0x4DC5
40      a      annotations: id (4 ASCII), size (4), value; repeated
..      p      payload
======  =====  ====================================================================

=====  ==================================  =====  ==================================
flag   meaning                             flag   meaning
=====  ==================================  =====  ==================================
0x01   the payload is an exception         0x10   the result is a stream
0x02   the payload is compressed           0x20   the arguments are a blob
0x04   no answer is wanted                 0x40   there is a correlation id
0x08   a batch
=====  ==================================  =====  ==================================

Facts: the released package, version 5.17.
"""

from __future__ import annotations

import marshal  # noqa: TID251 - writes one text, reads nothing
import struct

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.wire.dialect import (
    MAGIC,
    PYRO5,
    SIGNATURES,
    VERSIONS,
    OtherDialectError,
    may_begin,
    named,
    version_of,
)
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    COMPRESSED,
    CORRELATION,
    ERROR,
    ONEWAY,
    STREAM,
    FullMessage,
    Message,
)
from pyroipc.wire.native_encoder import JOIN_BYTES, join
from pyroipc.wire.pyro_layout import (
    ANSWERED,
    CONNECTFAIL,
    SERVED,
    FlagTable,
    check_correlation,
    check_sizes,
    read_annotations,
    unexpected,
    write_annotations,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyroipc.wire.message import Buffer, Limits

__all__ = ["HEADER_BYTES", "SERIALIZERS", "VERSION", "Pyro5", "encode_failure"]

VERSION = VERSIONS[PYRO5]
HEADER_BYTES = 40
SERIALIZERS: Mapping[int, str] = {1: "serpent", 2: "marshal", 3: "json", 4: "msgpack"}
"""The serializers by the ids that they have here."""
_SIGNATURE = SIGNATURES[PYRO5]
_HEADER = struct.Struct(">4sHBBHHII16sHH")
_ANNOTATION = struct.Struct(">4sI")
_CHECK = 0x4DC5
_NO_CORRELATION = bytes(16)
_MAX_BYTES = (1 << 32) - 1
_FLAGS = FlagTable({
    0x01: ERROR,
    0x02: COMPRESSED,
    0x04: ONEWAY,
    0x08: BATCH,
    0x10: STREAM,
    0x20: BLOB,
    0x40: CORRELATION,
})  # fmt: skip


class _Layout:
    """Where the parts of one frame lie."""

    __slots__ = (
        "_annotations_bytes",
        "_correlation_id",
        "_flags",
        "_kind",
        "_request_id",
        "_serializer_id",
        "total",
    )

    table_stop = HEADER_BYTES
    is_plain = False

    def __init__(self, head: Buffer, limits: Limits, kinds: Mapping[int, int]) -> None:
        (
            _,
            _,
            message_type,
            self._serializer_id,
            flags,
            self._request_id,
            payload_bytes,
            self._annotations_bytes,
            self._correlation_id,
            _,
            check,
        ) = _HEADER.unpack_from(head)
        if check != _CHECK:
            raise ProtocolError("invalid message or protocol version")
        kind = kinds.get(message_type)
        if kind is None:
            raise unexpected(message_type)
        self._kind = kind
        self._flags = _FLAGS.ours[message_type][flags & 0x7F]
        self.total = HEADER_BYTES + self._annotations_bytes + payload_bytes
        if self.total > limits.message_bytes:
            sizes = self._annotations_bytes, payload_bytes, self.total
            head_fields = (kind, self._serializer_id, self._flags, self._request_id)
            check_sizes(sizes, limits, head_fields)

    def read_table(self, head: memoryview, limits: Limits) -> None:
        """Do nothing: there is none."""

    def message(self, frame: memoryview) -> Message:
        """Cut the message out of ``frame``, which is complete."""
        payload_start = HEADER_BYTES + self._annotations_bytes
        flags = self._flags
        correlation_id = self._correlation_id if flags & CORRELATION else None
        flags &= ~CORRELATION
        payload = frame[payload_start:]
        if not self._annotations_bytes and correlation_id is None:
            return Message(self._kind, self._serializer_id, flags, self._request_id, payload)
        annotations = None
        if self._annotations_bytes:
            annotations = read_annotations(frame[HEADER_BYTES:payload_start], _ANNOTATION)
        return FullMessage(
            self._kind,
            self._serializer_id,
            flags,
            self._request_id,
            payload,
            annotations=annotations or None,
            correlation_id=correlation_id,
        )


class Pyro5:
    """One end of a connection in the dialect of Pyro5; has no state.

    Args:
        serving: whether this end answers calls.
    """

    __slots__ = ("_kinds", "_serving")

    name = PYRO5
    family = "Pyro5"
    version = VERSION
    serializers = SERIALIZERS
    header_bytes = HEADER_BYTES

    def __init__(self, *, serving: bool) -> None:
        self._serving = serving
        self._kinds = SERVED if serving else ANSWERED

    @property
    def mirrored(self) -> Pyro5:
        """What the other end of the connection is."""
        return Pyro5(serving=not self._serving)

    def may_be_ours(self, head: bytearray) -> bool:
        """Say whether these first bytes of a frame can be of this dialect."""
        return head[:6] == _SIGNATURE or may_begin(_SIGNATURE, head)

    def foreign(self, head: bytes) -> ProtocolError:
        """Return the error that says what such bytes are."""
        version = version_of(head)
        if version is None:
            return ProtocolError(f"these are not bytes of Pyro5: {head!r}")
        return OtherDialectError(f"the peer speaks {named(version)}, not Pyro5's", version)

    def layout(self, head: Buffer, limits: Limits) -> _Layout:
        """Say where the parts of a frame lie.

        Raises:
            ProtocolError: it is none, or not for this end.
            MessageTooLargeError: it is larger than allowed.
        """
        return _Layout(head, limits, self._kinds)

    def encode(
        self,
        kind: int,
        serializer_id: int,
        flags: int,
        request_id: int,
        payload: Buffer,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
    ) -> list[Buffer]:
        """Encode a message into the buffers to be sent, in order.

        Raises:
            MessageTooLargeError: it is larger than a frame of this dialect can be.
            ProtocolError: an annotation id is not four ASCII characters, or a correlation id not
                16 bytes.
        """
        flags &= ~CORRELATION
        if correlation_id is not None:
            check_correlation(correlation_id)
            flags |= CORRELATION
        pieces: list[Buffer] = []
        annotations_bytes = 0
        if annotations:
            pieces, annotations_bytes = write_annotations(annotations.items(), _ANNOTATION)
        n_bytes = len(payload)
        if n_bytes > _MAX_BYTES or annotations_bytes > _MAX_BYTES:
            raise MessageTooLargeError(
                f"message of {n_bytes} bytes: Pyro5's protocol has no room for more than "
                f"{_MAX_BYTES}; send it in parts, as an iterator"
            )
        message_type, theirs = _FLAGS.heads.get((kind, flags)) or _FLAGS.head_of(kind, flags)
        head = _HEADER.pack(
            MAGIC,
            VERSION,
            message_type,
            serializer_id,
            theirs,
            request_id & 0xFFFF,
            n_bytes,
            annotations_bytes,
            correlation_id or _NO_CORRELATION,
            0,
            _CHECK,
        )
        if not pieces and n_bytes <= JOIN_BYTES - HEADER_BYTES:
            return [head + payload]
        return join([head, *pieces, payload])


def encode_failure(text: str, request_id: int = 0, version: int = VERSION) -> bytes:
    """Encode that a client is not let in, in a format that it reads before it has said which."""
    payload = marshal.dumps(text)
    head = _HEADER.pack(
        MAGIC,
        version,
        CONNECTFAIL,
        2,
        0,
        request_id & 0xFFFF,
        len(payload),
        0,
        _NO_CORRELATION,
        0,
        _CHECK,
    )
    return head + payload

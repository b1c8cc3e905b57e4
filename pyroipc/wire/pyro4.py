"""The dialect of Pyro4: version 48.

All numbers are big-endian, and unsigned but for the size of the payload. A frame is:

======  =====  ====================================================================
offset  bytes  field
======  =====  ====================================================================
0       4      ``PYRO``
4       2      version, 48
6       2      message type (:mod:`pyroipc.wire.pyro_layout`)
8       2      flags
10      2      sequence number
12      4      bytes of payload, signed
16      2      serializer id
18      2      bytes of annotations
20      2      reserved
22      2      checksum: the sum of the other fields from version on, but for the
               reserved one, and 0x34E9
24      a      annotations: id (4 ASCII), size (2), value; repeated
..      p      payload
======  =====  ====================================================================

=====  ==================================  =====  ==================================
flag   meaning                             flag   meaning
=====  ==================================  =====  ==================================
0x01   the payload is an exception         0x10   metadata wanted, or sent
0x02   the payload is compressed           0x20   the result is a stream
0x04   no answer is wanted                 0x40   the arguments are a blob
0x08   a batch
=====  ==================================  =====  ==================================

The correlation id is the annotation CORR. With a key each message has the annotation HMAC: the
HMAC-SHA1 of the payload, and then of the values of the other annotations in the order of their
ids. It covers neither the header nor the ids, and nothing keeps a message from being repeated;
that is how Pyro4 does it, so it is for peers that know nothing better.

Facts: the released package, version 4.82.
"""

from __future__ import annotations

import hmac
import marshal  # noqa: TID251 - writes one text, reads nothing
import struct

from pyroipc.errors import MessageTooLargeError, ProtocolError, SecurityError
from pyroipc.wire.dialect import (
    MAGIC,
    PYRO4,
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
    ERROR,
    METADATA,
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

__all__ = ["HEADER_BYTES", "SERIALIZERS", "VERSION", "Pyro4", "encode_failure"]

VERSION = VERSIONS[PYRO4]
HEADER_BYTES = 24
SERIALIZERS: Mapping[int, str] = {
    1: "serpent",
    2: "json",
    3: "marshal",
    4: "pickle",
    5: "dill",
    6: "msgpack",
    7: "cloudpickle",
}
"""The serializers by the ids that they have here."""
_SIGNATURE = SIGNATURES[PYRO4]
_HEADER = struct.Struct(">4sHHHHiHHHH")
_ANNOTATION = struct.Struct(">4sH")
_CHECK = 0x34E9
_MAX_PAYLOAD = (1 << 31) - 1
_MAX_ANNOTATIONS = (1 << 16) - 1
_FLAGS = FlagTable({
    0x01: ERROR,
    0x02: COMPRESSED,
    0x04: ONEWAY,
    0x08: BATCH,
    0x10: METADATA,
    0x20: STREAM,
    0x40: BLOB,
})  # fmt: skip


class _Layout:
    """Where the parts of one frame lie."""

    __slots__ = (
        "_annotations_bytes",
        "_flags",
        "_key",
        "_kind",
        "_request_id",
        "_serializer_id",
        "total",
    )

    table_stop = HEADER_BYTES
    is_plain = False

    def __init__(self, head: Buffer, limits: Limits, kinds: Mapping[int, int], key: bytes) -> None:
        (
            _,
            version,
            message_type,
            flags,
            self._request_id,
            payload_bytes,
            self._serializer_id,
            self._annotations_bytes,
            _,
            checksum,
        ) = _HEADER.unpack_from(head)
        fields = (
            message_type,
            version,
            payload_bytes,
            self._annotations_bytes,
            self._serializer_id,
            flags,
            self._request_id,
        )
        if checksum != _checksum(*fields):
            raise ProtocolError("header checksum mismatch")
        if payload_bytes < 0:
            raise ProtocolError(f"a message of {payload_bytes} bytes")
        kind = kinds.get(message_type)
        if kind is None:
            raise unexpected(message_type)
        self._kind = kind
        self._flags = _FLAGS.ours[message_type][flags & 0x7F]
        self._key = key
        self.total = HEADER_BYTES + self._annotations_bytes + payload_bytes
        if self.total > limits.message_bytes:
            sizes = self._annotations_bytes, payload_bytes, self.total
            head_fields = (kind, self._serializer_id, self._flags, self._request_id)
            check_sizes(sizes, limits, head_fields)

    def read_table(self, head: memoryview, limits: Limits) -> None:
        """Do nothing: there is none."""

    def message(self, frame: memoryview) -> Message:
        """Cut the message out of ``frame``, which is complete.

        Raises:
            ProtocolError: its annotations make no sense.
            SecurityError: it is not signed with our key, or signed although we have none.
        """
        payload_start = HEADER_BYTES + self._annotations_bytes
        payload = frame[payload_start:]
        if not (self._annotations_bytes or self._key):
            return Message(self._kind, self._serializer_id, self._flags, self._request_id, payload)
        annotations = read_annotations(frame[HEADER_BYTES:payload_start], _ANNOTATION)
        self._verify(payload, annotations)
        correlation = annotations.pop("CORR", None)
        correlation_id = None
        if correlation is not None:
            correlation_id = bytes(correlation)
            check_correlation(correlation_id)
        if not annotations and correlation_id is None:
            return Message(self._kind, self._serializer_id, self._flags, self._request_id, payload)
        return FullMessage(
            self._kind,
            self._serializer_id,
            self._flags,
            self._request_id,
            payload,
            annotations=annotations or None,
            correlation_id=correlation_id,
        )

    def _verify(self, payload: Buffer, annotations: dict[str, Buffer]) -> None:
        signature = annotations.pop("HMAC", None)
        if bool(self._key) != (signature is not None):
            raise SecurityError("hmac key config not symmetric")
        if signature is not None:
            expected = _signature(self._key, payload, annotations)
            if not hmac.compare_digest(expected, bytes(signature)):
                raise SecurityError("message hmac mismatch")


def _checksum(
    message_type: int,
    version: int,
    payload_bytes: int,
    annotations_bytes: int,
    serializer_id: int,
    flags: int,
    request_id: int,
) -> int:
    total = message_type + version + payload_bytes + annotations_bytes + serializer_id
    return (total + flags + request_id + _CHECK) & 0xFFFF


def _signature(key: bytes, payload: Buffer, annotations: Mapping[str, Buffer]) -> bytes:
    signed = hmac.new(key, payload, "sha1")
    for name in sorted(annotations):
        signed.update(annotations[name])
    return signed.digest()


class Pyro4:
    """One end of a connection in the dialect of Pyro4; has no state but the key.

    Args:
        serving: whether this end answers calls.
        key: what both ends have to know; empty: nothing.
    """

    __slots__ = ("_key", "_kinds", "_serving")

    name = PYRO4
    family = "Pyro4"
    version = VERSION
    serializers = SERIALIZERS
    header_bytes = HEADER_BYTES

    def __init__(self, *, serving: bool, key: bytes = b"") -> None:
        self._serving = serving
        self._kinds = SERVED if serving else ANSWERED
        self._key = key

    @property
    def mirrored(self) -> Pyro4:
        """What the other end of the connection is."""
        return Pyro4(serving=not self._serving, key=self._key)

    def may_be_ours(self, head: bytearray) -> bool:
        """Say whether these first bytes of a frame can be of this dialect."""
        return head[:6] == _SIGNATURE or may_begin(_SIGNATURE, head)

    def foreign(self, head: bytes) -> ProtocolError:
        """Return the error that says what such bytes are."""
        version = version_of(head)
        if version is None:
            return ProtocolError(f"these are not bytes of Pyro4: {head!r}")
        return OtherDialectError(f"the peer speaks {named(version)}, not Pyro4's", version)

    def layout(self, head: Buffer, limits: Limits) -> _Layout:
        """Say where the parts of a frame lie.

        Raises:
            ProtocolError: it is none, or not for this end.
            MessageTooLargeError: it is larger than allowed.
        """
        return _Layout(head, limits, self._kinds, self._key)

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
            MessageTooLargeError: the payload has more than 2 GiB, or all annotations together
                have more than 64 KiB.
            ProtocolError: an annotation id is not four ASCII characters, or a correlation id not
                16 bytes.
        """
        values = dict(annotations or {})
        if correlation_id is not None:
            check_correlation(correlation_id)
            values["CORR"] = correlation_id
        if self._key:
            values["HMAC"] = _signature(self._key, payload, values)
        message_type, theirs = _FLAGS.heads.get((kind, flags)) or _FLAGS.head_of(kind, flags)
        return _frame(message_type, VERSION, theirs, request_id, serializer_id, values, payload)


def _frame(
    message_type: int,
    version: int,
    flags: int,
    request_id: int,
    serializer_id: int,
    annotations: Mapping[str, Buffer],
    payload: Buffer,
) -> list[Buffer]:
    pieces: list[Buffer] = []
    annotations_bytes = 0
    if annotations:
        pieces, annotations_bytes = write_annotations(annotations.items(), _ANNOTATION)
    n_bytes = len(payload)
    if n_bytes > _MAX_PAYLOAD:
        raise MessageTooLargeError(
            f"message of {n_bytes} bytes: Pyro4's protocol has no room for 2 GiB; send it in "
            "parts, as an iterator"
        )
    if annotations_bytes > _MAX_ANNOTATIONS:
        raise MessageTooLargeError(
            f"annotations of {annotations_bytes} bytes: in Pyro4's protocol all of them together "
            f"have at most {_MAX_ANNOTATIONS}; pass large data as an argument"
        )
    request_id &= 0xFFFF
    checksum = _checksum(
        message_type, version, n_bytes, annotations_bytes, serializer_id, flags, request_id
    )
    head = _HEADER.pack(
        MAGIC,
        version,
        message_type,
        flags,
        request_id,
        n_bytes,
        serializer_id,
        annotations_bytes,
        0,
        checksum,
    )
    if not pieces and n_bytes <= JOIN_BYTES - HEADER_BYTES:
        return [head + payload]
    return join([head, *pieces, payload])


def encode_failure(text: str, request_id: int = 0, version: int = VERSION) -> bytes:
    """Encode that a client is not let in, in a format that it reads before it has said which."""
    return b"".join(_frame(CONNECTFAIL, version, 0, request_id, 3, {}, marshal.dumps(text)))

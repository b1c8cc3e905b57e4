"""A message of Pyro4's protocol (version 48), for programs that take it apart themselves.

The library does not use this: it has :mod:`pyroipc.wire.pyro4`. The header is ``PYRO``, version,
type, flags, sequence number, bytes of data (signed, 32 bits), serializer id, bytes of annotations,
a reserved number and a checksum, all big-endian, and of 16 bits but for that one. Then come the
annotations (id, size, value) and the data.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from hmac import compare_digest as secure_compare

from pyroipc.compat.pyro4 import constants, errors
from pyroipc.compat.pyro4.configuration import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Self

__all__ = ["Message", "secure_compare"]

MSG_CONNECT = 1
MSG_CONNECTOK = 2
MSG_CONNECTFAIL = 3
MSG_INVOKE = 4
MSG_RESULT = 5
MSG_PING = 6
FLAGS_EXCEPTION = 1 << 0
FLAGS_COMPRESSED = 1 << 1
FLAGS_ONEWAY = 1 << 2
FLAGS_BATCH = 1 << 3
FLAGS_META_ON_CONNECT = 1 << 4
FLAGS_ITEMSTREAMRESULT = 1 << 5
FLAGS_KEEPSERIALIZED = 1 << 6

_SERIALIZER_OF_PING = 42
_CHUNK = struct.Struct("!4sH")
_HMAC = "HMAC"
_UNLIMITED = 2**31 - 1


class Message:
    """One message: made from its parts, or read from a connection.

    Args:
        msgType: one of the ``MSG_`` numbers.
        databytes: the payload.
        serializer_id: how the payload is encoded.
        flags: of the ``FLAGS_`` numbers.
        seq: the sequence number.
        annotations: ids of four characters, and bytes.
        hmac_key: sign the message with this key; the annotation HMAC is added.

    Raises:
        ProtocolError: an annotation has an id of another length.
        MessageTooLargeError: it is larger than MAX_MESSAGE_SIZE.
    """

    __slots__ = (
        "annotations",
        "annotations_size",
        "data",
        "data_size",
        "flags",
        "hmac_key",
        "seq",
        "serializer_id",
        "type",
    )

    header_format = "!4sHHHHiHHHH"
    header_size = struct.calcsize(header_format)
    checksum_magic = 0x34E9

    def __init__(
        self,
        msgType: int,
        databytes: bytes,
        serializer_id: int,
        flags: int,
        seq: int,
        annotations: Mapping[str, bytes] | None = None,
        hmac_key: bytes | None = None,
    ) -> None:
        self.type = msgType
        self.flags = flags
        self.seq = seq
        self.data = databytes
        self.data_size = len(databytes)
        self.serializer_id = serializer_id
        self.annotations: dict[str, bytes] = dict(annotations or {})
        self.hmac_key = hmac_key
        if hmac_key:
            self.annotations[_HMAC] = self.hmac()
        self.annotations_size = sum(_CHUNK.size + len(v) for v in self.annotations.values())
        _check_size(self.data_size + self.annotations_size)

    # --- out -----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the whole message.

        Raises:
            ProtocolError: a number or an annotation does not fit.
        """
        annotations = b"".join(self._chunks())
        fields = (
            constants.PROTOCOL_VERSION,
            self.type,
            self.flags,
            self.seq,
            self.data_size,
            self.serializer_id,
            len(annotations),
        )
        try:
            header = struct.pack(
                self.header_format, b"PYRO", *fields, 0, self._checksum(sum(fields))
            )
        except struct.error as error:
            raise errors.ProtocolError(f"{self!r} does not fit into a message: {error}") from None
        return header + annotations + bytes(self.data)

    def _chunks(self) -> Iterator[bytes]:
        for key, value in self.annotations.items():
            if len(key) != 4 or not key.isascii():
                raise errors.ProtocolError("annotation key must be of length 4")
            if len(value) > 0xFFFF:
                raise errors.ProtocolError(
                    f"the annotation {key} has {len(value)} bytes; in Pyro4's protocol all of a "
                    "message have 65535 at most"
                )
            yield _CHUNK.pack(key.encode("ascii"), len(value)) + bytes(value)

    def _checksum(self, total: int) -> int:
        return (total + self.checksum_magic) & 0xFFFF

    def hmac(self) -> bytes:
        """Return the signature of the data and the annotations, by the key.

        Raises:
            SecurityError: there is no key.
        """
        if not self.hmac_key:
            raise errors.SecurityError("this message has no HMAC key to be signed with")
        signature = hmac.new(self.hmac_key, self.data, digestmod=hashlib.sha1)
        for key in sorted(self.annotations):
            if key != _HMAC:
                signature.update(self.annotations[key])
        return signature.digest()

    def send(self, connection: Any) -> None:
        """Send the message.

        Args:
            connection: a :class:`~pyroipc.compat.pyro4.socketutil.SocketConnection`.

        Raises:
            CommunicationError: it cannot be sent.
        """
        connection.send(self.to_bytes())

    # --- in ------------------------------------------------------------------------------------

    @classmethod
    def from_header(cls, headerData: bytes) -> Self:
        """Make a message from its header; data and annotations are yet to come.

        Args:
            headerData: exactly so many bytes as a header has.

        Raises:
            ProtocolError: it is no header of this protocol.
            MessageTooLargeError: the message is larger than MAX_MESSAGE_SIZE.
        """
        if len(headerData) != cls.header_size:
            raise errors.ProtocolError("header data size mismatch")
        tag, *fields, _, checksum = struct.unpack(cls.header_format, headerData)
        version, kind, flags, seq, data_size, serializer_id, annotations_size = fields
        if tag != b"PYRO" or version != constants.PROTOCOL_VERSION:
            raise errors.ProtocolError("invalid data or unsupported protocol version")
        message = cls(kind, b"", serializer_id, flags, seq)
        if checksum != message._checksum(sum(fields)):
            raise errors.ProtocolError("header checksum mismatch")
        if data_size < 0:
            raise errors.ProtocolError(f"a message of {data_size} bytes")
        _check_size(data_size + annotations_size)
        message.data_size = data_size
        message.annotations_size = annotations_size
        return message

    @classmethod
    def recv(
        cls,
        connection: Any,
        requiredMsgTypes: Sequence[int] | None = None,
        hmac_key: bytes | None = None,
    ) -> Self:
        """Receive a message.

        Args:
            connection: a :class:`~pyroipc.compat.pyro4.socketutil.SocketConnection`; it is closed
                if the message is too large.
            requiredMsgTypes: only these are allowed.
            hmac_key: the message must be signed with this key; None: with none at all.

        Raises:
            CommunicationError: the connection ended.
            MessageTooLargeError: it is larger than MAX_MESSAGE_SIZE.
            ProtocolError: it is no message, or of another type.
            SecurityError: it is signed with another key, or either end has none.
        """
        try:
            message = cls.from_header(connection.recv(cls.header_size))
        except errors.MessageTooLargeError:
            connection.close()
            raise
        if requiredMsgTypes and message.type not in requiredMsgTypes:
            raise errors.ProtocolError(f"invalid msg type {message.type} received")
        message.hmac_key = hmac_key
        chunks = connection.recv(message.annotations_size) if message.annotations_size else b""
        message.annotations = dict(_annotations(chunks))
        message.data = connection.recv(message.data_size) if message.data_size else b""
        message._check_signature()
        return message

    def _check_signature(self) -> None:
        """See that the message is signed if there is a key, and only then.

        Raises:
            SecurityError: it is not so.
        """
        signature = self.annotations.get(_HMAC)
        if (signature is not None) != bool(self.hmac_key):
            raise errors.SecurityError("hmac key config not symmetric")
        if signature is not None and not secure_compare(signature, self.hmac()):
            raise errors.SecurityError("message hmac mismatch")

    @staticmethod
    def ping(pyroConnection: Any, hmac_key: bytes | None = None) -> None:
        """Ask a server that has welcomed this connection whether it is there, and wait for it.

        Raises:
            CommunicationError: it is not.
            SecurityError: it has another key.
        """
        Message(MSG_PING, b"ping", _SERIALIZER_OF_PING, 0, 0, hmac_key=hmac_key).send(
            pyroConnection
        )
        Message.recv(pyroConnection, [MSG_PING], hmac_key)

    def decompress_if_needed(self) -> Self:
        """Unpack the data, if they are compressed; return this message.

        Raises:
            ProtocolError: they are not, or not completely.
            MessageTooLargeError: they are larger than MAX_MESSAGE_SIZE when unpacked.
        """
        if self.flags & FLAGS_COMPRESSED:
            limit = config.MAX_MESSAGE_SIZE or _UNLIMITED
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(self.data, limit + 1)
            except zlib.error as error:
                raise errors.ProtocolError(f"the data cannot be unpacked: {error}") from None
            _check_size(len(data))
            if not unpacker.eof:
                raise errors.ProtocolError("the data cannot be unpacked: their end is missing")
            self.data = data
            self.data_size = len(data)
            self.flags &= ~FLAGS_COMPRESSED
        return self

    def __repr__(self) -> str:
        return (
            f"<Pyro4.message.Message at {id(self):x}; type={self.type} flags={self.flags} "
            f"seq={self.seq} datasize={self.data_size} #ann={len(self.annotations)}>"
        )


def _check_size(total: int) -> None:
    """Refuse what is too large.

    Raises:
        MessageTooLargeError: it is.
    """
    limit = config.MAX_MESSAGE_SIZE or _UNLIMITED
    if total > limit:
        raise errors.MessageTooLargeError(f"max message size exceeded ({total} where max={limit})")


def _annotations(chunks: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut annotations out of what stands between header and data.

    Raises:
        ProtocolError: they do not fill it exactly, or an id is not ASCII.
    """
    place = 0
    while place < len(chunks):
        stop = place + _CHUNK.size
        if stop > len(chunks):
            raise errors.ProtocolError("the annotations end in the middle of one")
        key, size = _CHUNK.unpack_from(chunks, place)
        place = stop + size
        if place > len(chunks) or not key.isascii():
            raise errors.ProtocolError("an annotation is larger than all of them, or has no id")
        yield key.decode("ascii"), bytes(chunks[stop:place])

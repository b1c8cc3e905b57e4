"""``Pyro5.protocol``: messages as bytes and back, for programs that do that for themselves.

====  ====  ============================================
from  size  what (all numbers big-endian)
====  ====  ============================================
0     4     ``PYRO``
4     2     version, 502
6     1     message type
7     1     serializer id
8     2     flags
10    2     sequence number
12    4     length of the data
16    4     length of the annotations
20    16    correlation id, or zeros
36    2     reserved
38    2     magic number, 0x4dc5
====  ====  ============================================

Annotations follow, each with an id of four letters and its length, and then the data. The
connections of pyroipc do not use this; see :mod:`pyroipc.wire`.
"""

from __future__ import annotations

import struct
import zlib

from pyroipc.compat.pyro5._settings import PROTOCOL_VERSION, config
from pyroipc.context import context_in_use, current_context
from pyroipc.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Container, Mapping
    from typing import Final

    from pyroipc.compat.sockets import SocketConnection

__all__ = [
    "FLAGS_BATCH",
    "FLAGS_COMPRESSED",
    "FLAGS_CORR_ID",
    "FLAGS_EXCEPTION",
    "FLAGS_ITEMSTREAMRESULT",
    "FLAGS_KEEPSERIALIZED",
    "FLAGS_ONEWAY",
    "MSG_CONNECT",
    "MSG_CONNECTFAIL",
    "MSG_CONNECTOK",
    "MSG_INVOKE",
    "MSG_PING",
    "MSG_RESULT",
    "PROTOCOL_VERSION",
    "ReceivingMessage",
    "SendingMessage",
    "config",
    "current_context",
    "log_wiredata",
    "recv_stub",
]

MSG_CONNECT: Final = 1
MSG_CONNECTOK: Final = 2
MSG_CONNECTFAIL: Final = 3
MSG_INVOKE: Final = 4
MSG_RESULT: Final = 5
MSG_PING: Final = 6

FLAGS_EXCEPTION: Final = 0x01
FLAGS_COMPRESSED: Final = 0x02
FLAGS_ONEWAY: Final = 0x04
FLAGS_BATCH: Final = 0x08
FLAGS_ITEMSTREAMRESULT: Final = 0x10
FLAGS_KEEPSERIALIZED: Final = 0x20
FLAGS_CORR_ID: Final = 0x40

_HEADER: Final = struct.Struct("!4sHBBHHII16sHH")
_CHUNK: Final = struct.Struct("!4sI")
_TAG: Final = b"PYRO"
_MAGIC: Final = 0x4DC5
_NO_CORRELATION: Final = bytes(16)
_STUB_SIZE: Final = 6
_COMPRESS_ABOVE: Final = 100
_ZLIB_LEVEL: Final = 4
_PING_SERIALIZER: Final = 42


class SendingMessage:
    """A message to be sent: ``data`` is its bytes.

    Args:
        msgtype: one of the ``MSG_`` numbers.
        flags: of the ``FLAGS_`` numbers; whether it is compressed is decided here.
        seq: the sequence number.
        serializer_id: that of the payload.
        payload: the data.
        annotations: bytes by ids of four ASCII letters.

    Raises:
        ProtocolError: an annotation cannot be sent, or the message is too large.
    """

    def __init__(
        self,
        msgtype: int,
        flags: int,
        seq: int,
        serializer_id: int,
        payload: bytes,
        annotations: Mapping[str, bytes | bytearray | memoryview] | None = None,
    ) -> None:
        self.type = msgtype
        self.seq = seq
        self.serializer_id = serializer_id
        context = context_in_use()
        correlation = None if context is None else context.correlation_bytes
        self.corr_id = correlation or _NO_CORRELATION
        flags &= ~FLAGS_COMPRESSED
        if correlation:
            flags |= FLAGS_CORR_ID
        if config.COMPRESSION and len(payload) > _COMPRESS_ABOVE:
            payload = zlib.compress(payload, _ZLIB_LEVEL)
            flags |= FLAGS_COMPRESSED
        self.flags = flags
        chunks = b"".join(_chunk(key, value) for key, value in (annotations or {}).items())
        _check_size(len(payload) + len(chunks))
        header = _HEADER.pack(
            _TAG,
            PROTOCOL_VERSION,
            msgtype,
            serializer_id,
            flags,
            seq,
            len(payload),
            len(chunks),
            self.corr_id,
            0,
            _MAGIC,
        )
        self.data = b"".join((header, chunks, payload))

    @staticmethod
    def ping(pyroConnection: SocketConnection) -> None:
        """Send a ping over a connection, and wait for the answer.

        Raises:
            ProtocolError: something else came.
            CommunicationError: the connection failed.
        """
        ping = SendingMessage(MSG_PING, 0, 0, _PING_SERIALIZER, b"ping")
        pyroConnection.send(ping.data)
        recv_stub(pyroConnection, [MSG_PING])

    def __repr__(self) -> str:
        return _shown(self, len(self.data))


def _chunk(key: str, value: bytes | bytearray | memoryview) -> bytes:
    """Encode one annotation.

    Raises:
        ProtocolError: its id or its value cannot be sent.
    """
    if len(key) != 4 or not key.isascii():
        raise ProtocolError("annotation identifier must be 4 ascii characters")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ProtocolError("annotation data must be bytes, bytearray, or memoryview", type(value))
    data = bytes(value)
    return _CHUNK.pack(key.encode("ascii"), len(data)) + data


def _check_size(size: int) -> None:
    """Refuse what is larger than MAX_MESSAGE_SIZE.

    Raises:
        ProtocolError: it is.
    """
    if size > config.MAX_MESSAGE_SIZE:
        raise ProtocolError(f"message too large ({size}, max={config.MAX_MESSAGE_SIZE})")


def _shown(message: SendingMessage | ReceivingMessage, size: int) -> str:
    cls = type(message).__name__
    return (
        f"<Pyro5.protocol.{cls} at {id(message):#x}; type={message.type} flags={message.flags} "
        f"seq={message.seq} size={size}>"
    )


class ReceivingMessage:
    """A message that was received: ``data`` and ``annotations`` are what was in it.

    Args:
        header: its first 40 bytes.
        payload: annotations and data; None: they are added later.

    Raises:
        ProtocolError: it is no message, or too large.
    """

    def __init__(self, header: bytes, payload: bytes | None = None) -> None:
        self.validate(header)
        if len(header) != _HEADER.size:
            raise ProtocolError(f"a header has {_HEADER.size} bytes, not {len(header)}")
        (
            _,
            _,
            self.type,
            self.serializer_id,
            self.flags,
            self.seq,
            self.data_size,
            self.annotations_size,
            self.corr_id,
            _,
            _,
        ) = _HEADER.unpack(header)
        _check_size(self.data_size + self.annotations_size)
        self.data: bytes | memoryview | None = None
        self.annotations: dict[str, memoryview] = {}
        if payload is not None:
            self.add_payload(payload)

    @staticmethod
    def validate(data: bytes | bytearray) -> None:
        """Look at the first bytes of a message, as far as they are there.

        Raises:
            ValueError: there are fewer than four.
            ProtocolError: no message begins with these.
        """
        if len(data) < len(_TAG):
            raise ValueError("data must be at least 4 bytes to be able to identify")
        if not data.startswith(_TAG):
            raise ProtocolError("invalid data")
        if len(data) >= _STUB_SIZE:
            version = int.from_bytes(data[4:6], "big")
            if version != PROTOCOL_VERSION:
                raise ProtocolError(f"invalid protocol version: {version}")
        if len(data) >= _HEADER.size and int.from_bytes(data[38:40], "big") != _MAGIC:
            raise ProtocolError("invalid magic number")

    def add_payload(self, payload: bytes) -> None:
        """Take the annotations and the data of a message whose header was received before.

        Raises:
            ProtocolError: they are not as the header says, or too large when unpacked.
        """
        if len(payload) != self.annotations_size + self.data_size:
            raise ProtocolError("payload length doesn't match message header")
        view = memoryview(payload)
        self.annotations = _annotations_of(view[: self.annotations_size])
        self.data = view[self.annotations_size :]
        if self.flags & FLAGS_COMPRESSED:
            self.data = _unpacked(self.data)
            self.flags &= ~FLAGS_COMPRESSED
            self.data_size = len(self.data)

    def __repr__(self) -> str:
        return _shown(self, len(self.data or b""))


def _annotations_of(area: memoryview) -> dict[str, memoryview]:
    """Decode annotations.

    Raises:
        ProtocolError: an id is not ASCII, or one is longer than what is there.
    """
    found: dict[str, memoryview] = {}
    while area:
        if len(area) < _CHUNK.size:
            raise ProtocolError("annotations are cut off")
        key, size = _CHUNK.unpack_from(area)
        if size > len(area) - _CHUNK.size or not key.isascii():
            raise ProtocolError("annotations are not as their lengths say, or have a bad id")
        found[key.decode("ascii")] = area[_CHUNK.size : _CHUNK.size + size]
        area = area[_CHUNK.size + size :]
    return found


def _unpacked(data: memoryview) -> bytes:
    """Unpack data, as far as MAX_MESSAGE_SIZE allows.

    Raises:
        ProtocolError: they are no zlib stream, or a longer one.
    """
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, config.MAX_MESSAGE_SIZE)
    except zlib.error as error:
        raise ProtocolError(f"the compressed data are damaged: {error}") from error
    if not stream.eof or stream.unused_data:
        raise ProtocolError(
            f"the compressed data are cut off, or unpack to more than {config.MAX_MESSAGE_SIZE}"
        )
    return found


def recv_stub(
    connection: SocketConnection, accepted_msgtypes: Container[int] | None = None
) -> ReceivingMessage:
    """Receive a message over a connection.

    Args:
        connection: its ``recv`` returns exactly as many bytes as it is asked for.
        accepted_msgtypes: which types are expected; None or none: any.

    Raises:
        ProtocolError: something else came.
        CommunicationError: the connection failed.
    """
    header = connection.recv(_STUB_SIZE)
    ReceivingMessage.validate(header)
    header += connection.recv(_HEADER.size - _STUB_SIZE)
    message = ReceivingMessage(header)
    if accepted_msgtypes and message.type not in accepted_msgtypes:
        expected = ", ".join(map(str, accepted_msgtypes))  # type: ignore[call-overload]
        raise ProtocolError(f"invalid msg type {message.type} received (expected: {expected})")
    message.add_payload(connection.recv(message.annotations_size + message.data_size))
    return message


def log_wiredata(
    logger: logging.Logger, text: str, msg: SendingMessage | ReceivingMessage
) -> None:
    """Write a message into a log, at level DEBUG."""
    logger.debug(
        "%s: msgtype=%d flags=0x%x ser=%d seq=%d size=%d",
        text,
        msg.type,
        msg.flags,
        msg.serializer_id,
        msg.seq,
        len(msg.data or b""),
    )

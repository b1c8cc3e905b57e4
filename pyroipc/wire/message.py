"""One message shape for all dialects: kinds, flags and limits.

A message says what it is (``kind``), which call it belongs to (``request_id``), how its payload
is encoded (``serializer_id``) and carries the payload bytes. What few messages carry
(annotations, a correlation id, a time limit, out-of-band buffers, a count of descriptors) lives
in :class:`FullMessage`, so that a plain call does not pay for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview

HELLO = 1
"""Opens a conversation: versions, features and limits of the sender."""
REQUEST = 2
"""A call; answered by one response, unless ONEWAY is set."""
PING = 3
"""Are you there? Answered by a pong with the same payload, of which 64 bytes are echoed."""
CANCEL = 4
"""The caller no longer wants the answer to its request of this id."""
CREDIT = 5
"""Permission to send further chunks of the stream that the request of this id opened."""
GOODBYE = 6
"""The sender leaves the conversation; the payload says why. The stream may be used again."""
RELEASE = 7
"""The sender has no more use for references that it was given; the payload lists them."""
DATA = 8
"""The next bytes of the out-of-band buffers of the message of this id, which came before; with
ERROR: nothing more of them comes, and the message is not to be heeded."""
OFFER = 9
"""May descriptors come beside messages? Answered by a pong, empty or with a reason against it.
With END: here comes, beside these bytes, the socket over which they will; answered likewise."""
KEPT = 10
"""Shared memory of the receiver, whose token is the payload, stays mapped here: from now on the
token is enough. With END: shared memory of the sender need not be kept any longer."""
LENT = 11
"""Here is shared memory of the sender, to be kept if the receiver can: one descriptor beside it,
and in the payload its token and its size."""

ANSWER = 16
"""The bit of the kinds that answer a message and carry the request id of what they answer."""
WELCOME = 17
"""Answers a hello with the facts of the other side."""
RESPONSE = 18
"""Answers a request: the result of the call, or with ERROR the exception that it raised."""
PONG = 19
"""Answers a ping."""
ITEM = 20
"""One chunk of the items of a stream that a response opened."""

KINDS: Mapping[int, str] = {
    HELLO: "hello",
    REQUEST: "request",
    PING: "ping",
    CANCEL: "cancel",
    CREDIT: "credit",
    GOODBYE: "goodbye",
    RELEASE: "release",
    DATA: "data",
    OFFER: "offer",
    KEPT: "kept",
    LENT: "lent",
    WELCOME: "welcome",
    RESPONSE: "response",
    PONG: "pong",
    ITEM: "item",
}

ERROR = 0x0001
"""The payload of a response is an exception."""
ONEWAY = 0x0002
"""No response is wanted."""
BATCH = 0x0004
"""The payload is a batch of calls, or of results."""
STREAM = 0x0008
"""The response opens a stream of items."""
BLOB = 0x0010
"""The arguments are to be handed on without being decoded."""
COMPRESSED = 0x0020
"""The payload is compressed."""
CORRELATION = 0x0040
"""A correlation id follows the header."""
DEADLINE = 0x0080
"""A time limit follows the header."""
REFUSED = 0x0100
"""Of a goodbye: the hello was not accepted, and the payload says why."""
END = 0x0200
"""Of an item: it is the last of its stream."""

NESTED = 0x0400
"""Of a request: it is made by a call that the receiver waits for. The last four bytes of the
payload are the id of that call's request, so that the thread that waits for it can run this."""

STAGED = 0x2000
"""Of a request: its buffers lie in shared memory that its sender has lent; where, is said at the
end of the payload."""

KNOWN_FLAGS = 0x27FF
"""The flags that a message of the native dialect may have."""

INTRODUCTION = 0x0800
"""Of a request of Pyro's dialects: it opens the conversation, and holds the handshake; of a
welcome there: it answers that."""
METADATA = 0x1000
"""Of an introduction, and its answer, in Pyro4's dialect: with the metadata of an object."""

MEMORY = 0
"""The form of an out-of-band buffer that arrives in any writable memory."""
PAYLOAD = 1
"""The form of a first buffer that is the payload of its message, and arrives in one piece. The
other forms are between the two ends: how the receiver wants to keep what arrives."""


class Message:
    """A plain message: what nearly every call needs, and nothing else.

    ``payload`` belongs to the receiver of the message; it is never overwritten later.
    """

    __slots__ = ("flags", "kind", "payload", "request_id", "serializer_id")

    # What a plain message does not carry; FullMessage has slots for these.
    annotations: Mapping[str, Buffer] | None = None
    correlation_id: bytes | None = None
    time_limit: float | None = None
    buffers: Sequence[Any] = ()
    descriptors: int = 0
    parcel: Any = None

    def __init__(
        self, kind: int, serializer_id: int, flags: int, request_id: int, payload: Buffer
    ) -> None:
        self.kind = kind
        self.serializer_id = serializer_id
        self.flags = flags
        self.request_id = request_id
        self.payload = payload

    def __repr__(self) -> str:
        kind = KINDS.get(self.kind, str(self.kind))
        return (
            f"<{kind} {self.request_id}: serializer {self.serializer_id}, "
            f"flags {self.flags:#06x}, {len(self.payload)} bytes>"
        )


class FullMessage(Message):
    """A message that may carry everything.

    Args:
        annotations: four-letter ASCII id to value, any number and size.
        correlation_id: 16 bytes that tie together all calls of one origin.
        time_limit: seconds that the caller still gives to the call, relative to sending.
        buffers: out-of-band buffers, sent after the payload in this order.
        forms: of those to be sent, the form of each, as one byte; nothing: all are MEMORY.
        descriptors: how many file descriptors travel beside the message.
        parcel: these descriptors: a sequence of what is sent, or what has taken in what came.
    """

    __slots__ = (
        "annotations",
        "buffers",
        "correlation_id",
        "descriptors",
        "forms",
        "parcel",
        "time_limit",
    )

    def __init__(
        self,
        kind: int,
        serializer_id: int,
        flags: int,
        request_id: int,
        payload: Buffer,
        *,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
        time_limit: float | None = None,
        buffers: Sequence[Any] = (),
        forms: bytes = b"",
        descriptors: int = 0,
        parcel: Any = None,
    ) -> None:
        super().__init__(kind, serializer_id, flags, request_id, payload)
        self.annotations = annotations
        self.correlation_id = correlation_id
        self.time_limit = time_limit
        self.buffers = buffers
        self.forms = forms
        self.descriptors = descriptors
        self.parcel = parcel


class Limits:
    """What a decoder accepts, in bytes; checked before memory is taken.

    Args:
        message_bytes: the largest message, header, annotations and buffers included.
        eager_bytes: up to this size the memory of a large message is taken at once; beyond it
            the memory grows with what really arrives, so that a claimed size costs nothing. What
            memory out-of-band buffers get is decided elsewhere (``land`` of the decoder).
        buffers: the largest number of out-of-band buffers of one message.
        setting: the name of the setting that raises ``message_bytes``, for the error text.
    """

    __slots__ = ("buffers", "eager_bytes", "message_bytes", "setting")

    def __init__(
        self,
        message_bytes: int = 64 << 20,
        *,
        eager_bytes: int = 64 << 10,
        buffers: int = 4096,
        setting: str = "MAX_MESSAGE_SIZE",
    ) -> None:
        self.message_bytes = message_bytes
        self.eager_bytes = eager_bytes
        self.buffers = buffers
        self.setting = setting


BEFORE_HELLO = Limits(64 << 10, eager_bytes=64 << 10, buffers=0, setting="the handshake")
"""Towards a peer that has not said hello yet."""

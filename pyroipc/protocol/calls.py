"""What a call is on the wire of the native dialect, for one serializer: requests and responses.

A :class:`CallCodec` is made once per connection and serializer. It binds the functions of the
serializer and the constant part of the headers, so that a call only fills in what differs.
"""

from __future__ import annotations

from pyroipc.errors import (
    BusyError,
    DeadlockError,
    DrainingError,
    MessageTooLargeError,
    ProtocolError,
    SecurityError,
    SerializeError,
)
from pyroipc.protocol.compression import compress, decompress
from pyroipc.serializers.parts import Parts
from pyroipc.serializers.passengers import arriving
from pyroipc.wire.message import (
    COMPRESSED,
    ERROR,
    NESTED,
    ONEWAY,
    PAYLOAD,
    REQUEST,
    RESPONSE,
    STAGED,
    FullMessage,
)
from pyroipc.wire.native import HEADER_BYTES, JOIN_BYTES, encode, plain_prefix
from pyroipc.wire.native_bulk import CHUNK_BYTES, check_landed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    from pyroipc.errors import PyroError
    from pyroipc.serializers.base import Serializer
    from pyroipc.wire.message import Buffer, Message
    from pyroipc.wire.native import LongMessage

    Encoded: TypeAlias = bytes | list[Buffer] | LongMessage
    Payload: TypeAlias = Any  # bytes of any kind, or Parts
    Places: TypeAlias = dict[int, bytes | BaseException]
    BatchParts: TypeAlias = tuple[list[Any], Places, Places]

DAEMON_NAME = "Pyro.Daemon"
"""The object id of the daemon's own object in every daemon."""
GET_ATTRIBUTE = "__getattr__"
SET_ATTRIBUTE = "__setattr__"
"""The members of the call that reads and writes a remote attribute, as Pyro names them."""
STREAM_WINDOW = 4
"""How many chunks of a stream may have been sent and not be taken by the reader."""
BATCH_MEMBER = "<batch>"
"""The member that stands for all calls of a batch, as Pyro names it."""


class CallCodec:
    """Encodes calls and results with one serializer, and compresses them if that is wanted.

    What is encoded is one ``bytes`` object if it is small, else a list of pieces to be sent one
    after the other, or a LongMessage, between whose chunks others may send. ``dumps`` and
    ``dumps_call`` put large buffers apart if the peer can take them so; then they return Parts,
    which have the length of all together, and so are no small payload. ``loads`` and
    ``loads_call`` may be the bare functions of the serializer: what they raise has to go through
    ``load_failed``. The plain call and its plain answer, small and with nothing but their payload,
    are put together where they arise: ``pack_header`` with one of the two prefixes, and the
    payload.
    """

    __slots__ = (
        "_compress",
        "_limit_bytes",
        "_puts_apart",
        "dumps",
        "dumps_call",
        "load_failed",
        "loads",
        "loads_call",
        "nested_prefix",
        "oneway_prefix",
        "plain_bytes",
        "request_prefix",
        "response_prefix",
        "sendable_bytes",
        "serializer",
        "serializer_id",
        "staged_prefix",
        "take_back",
    )

    def __init__(
        self,
        serializer: Serializer,
        take_back: Callable[..., None] | None = None,
        limit_bytes: int = 64 << 20,
    ) -> None:
        self.take_back = take_back or _take_nothing_back
        """Told the function and the arguments with which something was encoded, or failed to be,
        that is not sent."""
        self.plain_bytes = JOIN_BYTES
        """Up to how large a payload is sent as it is, joined to its header and not measured."""
        self.sendable_bytes = limit_bytes
        """How large a message may be that is sent."""
        self._limit_bytes = limit_bytes
        self._compress: range = _NEVER
        self._puts_apart = False
        self.bind(serializer)

    def measure(
        self, limit_bytes: int, compress_from: int | None, *, puts_apart: bool = False
    ) -> None:
        """Take note of what the peer takes.

        Args:
            limit_bytes: how large a message may be, also when it is unpacked.
            compress_from: compress payloads of so many bytes or more; None: none.
            puts_apart: send large buffers out of band. What is compressed stays in one piece.
        """
        self.sendable_bytes = limit_bytes
        self._puts_apart = puts_apart and compress_from is None
        self._bind_dumps()
        self.plain_bytes = min(JOIN_BYTES, limit_bytes - HEADER_BYTES)
        if compress_from is not None:
            self._compress = range(max(1, compress_from), limit_bytes + 1)
            self.plain_bytes = min(self.plain_bytes, self._compress.start - 1)

    def compressed(self, flags: int, payload: Payload) -> tuple[int, Payload]:
        """Return the flags and the payload of a message, compressed if that is wanted.

        The id at the end of a nested request must be found without unpacking anything.
        """
        if (
            self._compress
            and not isinstance(payload, Parts)
            and len(payload) in self._compress
            and not flags & NESTED
        ):
            packed = compress(payload)
            if packed is not None:
                return flags | COMPRESSED, packed
        return flags, payload

    def message(self, kind: int, request_id: int, payload: Payload, flags: int) -> FullMessage:
        """Return a message with a payload; both are yet to be encoded.

        A large payload goes as a buffer, so that others may send in between.
        """
        flags, payload = self.compressed(flags, payload)
        if isinstance(payload, Parts):
            inner, buffers, forms = payload.payload, payload.buffers, payload.forms
            parcel = payload.parcel
        else:
            parcel = ()
            inner, buffers, forms = payload, [], b""
        if len(inner) > CHUNK_BYTES and self._puts_apart:
            buffers, forms = [memoryview(inner), *buffers], bytes([PAYLOAD]) + forms
            inner = b""
        return FullMessage(
            kind,
            self.serializer_id,
            flags,
            request_id,
            inner,
            buffers=buffers,
            forms=forms,
            descriptors=len(parcel),
            parcel=parcel,
        )

    def value_of(self, message: Message) -> Any:
        """Return the value in the payload of a message, and in its buffers.

        Raises:
            MessageTooLargeError: there was no memory for a buffer.
            SerializeError: it cannot be decoded.
        """
        check_landed(message)
        try:
            if not message.buffers and message.parcel is None:
                return self.loads(message.payload)
            with arriving(message.parcel):
                return self.serializer.loads_parts(message.payload, _taken(message))
        except Exception as failure:
            raise self.load_failed(failure) from failure

    def call_reader(self, message: Message) -> Callable[[Buffer], Any]:
        """Return what does for a message with buffers what ``loads_call`` does for others.

        The descriptors beside it are found likewise.
        """
        buffers, parcel = list(_taken(message)), message.parcel
        loads = self.serializer.loads_call_parts

        def read(payload: Buffer) -> Any:
            try:
                with arriving(parcel):
                    return loads(payload, buffers)
            finally:
                buffers.clear()  # they belong to what was made of them

        return read

    def unpack(self, message: Message) -> None:
        """Make a compressed message an ordinary one.

        Raises:
            ProtocolError: it is malformed, or would be too large.
        """
        message.payload = decompress(message.payload, self._limit_bytes)
        message.flags &= ~COMPRESSED

    def bind(self, serializer: Serializer) -> None:
        """Use this serializer from now on."""
        self.serializer = serializer
        self.serializer_id = serializer.id
        bare_loads = type(serializer).bare_loads
        self.loads: Callable[[Buffer], Any] = bare_loads or serializer.loads
        self.loads_call: Callable[[Buffer], Any] = bare_loads or serializer.loads_call
        self.load_failed = serializer.load_failed
        self._bind_dumps()
        (
            self.request_prefix,
            self.nested_prefix,
            self.oneway_prefix,
            self.staged_prefix,
            self.response_prefix,
        ) = _prefixes_of(serializer.id)

    def _bind_dumps(self) -> None:
        serializer = self.serializer
        self.dumps: Callable[..., Any] = serializer.dumps
        self.dumps_call: Callable[..., Any] = serializer.dumps_call
        if self._puts_apart:
            self.dumps = serializer.dumps_parts
            self.dumps_call = serializer.dumps_call_parts

    def batch_calls(self, calls: list[Any]) -> list[Any]:
        """Return the calls of a batch as they are sent: tuples of name, args, kwargs or None."""
        if self.serializer.name in _WITHOUT_TUPLES:
            return [[name, list(args), kwargs] for name, args, kwargs in calls]
        return calls

    def batch_results(self, value: Any) -> BatchParts:
        """Take the answer to a batch apart.

        Returns:
            The results in order; by their places, encoded exceptions instead of results; and, by
            their places, results that are encoded once more.

        Raises:
            SerializeError: it is no such answer.
        """
        match value:
            case [list(results), list(failures), list(encoded)]:
                return results, _by_place(failures), _by_place(encoded)
        raise SerializeError("the answer to a batch does not hold its results")

    def request(
        self,
        request_id: int,
        payload: Payload,
        *,
        flags: int = 0,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
        time_limit: float | None = None,
    ) -> Encoded:
        """Encode a call whose arguments ``dumps_call`` has encoded."""
        message = self.message(REQUEST, request_id, payload, flags)
        message.annotations = annotations
        message.correlation_id = correlation_id
        message.time_limit = time_limit
        return encode(message)

    def response(
        self,
        request_id: int,
        payload: Payload,
        *,
        flags: int = 0,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
    ) -> Encoded:
        """Encode a response whose payload is encoded already."""
        message = self.message(RESPONSE, request_id, payload, flags)
        message.annotations = annotations
        message.correlation_id = correlation_id
        return encode(message)


def _taken(message: Message) -> Sequence[Any]:
    """Take the buffers out of a message: it is kept, and they are given away."""
    buffers = message.buffers
    if isinstance(message, FullMessage):
        message.buffers = ()
    return buffers


_WITHOUT_TUPLES = frozenset(("json", "msgpack"))
"""Formats for which tuples are special: 1000 calls made of lists take them half the time."""


def _by_place(pairs: list[Any]) -> dict[int, bytes | BaseException]:
    """Return a list of places and bytes as a dict.

    Raises:
        SerializeError: it is none.
    """
    found: dict[int, bytes | BaseException] = {}
    for pair in pairs:
        match pair:
            case [int(place), bytes(data)]:
                found[place] = data
            case _:
                raise SerializeError("the answer to a batch does not hold its results")
    return found


_NEVER = range(0)
_prefixes: dict[int, tuple[bytes, bytes, bytes, bytes, bytes]] = {}


def _prefixes_of(serializer_id: int) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return the prefixes of a serializer's plain messages, the same objects for all codecs."""
    found = _prefixes.get(serializer_id)
    if found is None:
        found = _prefixes[serializer_id] = (
            plain_prefix(REQUEST, serializer_id, 0),
            plain_prefix(REQUEST, serializer_id, NESTED),
            plain_prefix(REQUEST, serializer_id, ONEWAY),
            plain_prefix(REQUEST, serializer_id, STAGED),
            plain_prefix(RESPONSE, serializer_id, 0),
        )
    return found


def _take_nothing_back(*args: object) -> None:
    pass


RESERVED_ANNOTATIONS = frozenset(("CORR", "HMAC", "STRM", "BLBI"))
"""Ids that Pyro uses itself, in one dialect or another."""


def check_annotations(annotations: Mapping[str, Buffer] | None) -> None:
    """Refuse annotations of the user's that cannot be sent, or whose ids are not his to use.

    Raises:
        ProtocolError: an id is reserved, or a value is no buffer. (That ids are four ASCII
            characters is seen in ``wire``.)
    """
    if not annotations:
        return
    if not RESERVED_ANNOTATIONS.isdisjoint(annotations):
        taken = ", ".join(sorted(RESERVED_ANNOTATIONS.intersection(annotations)))
        raise ProtocolError(f"annotation id {taken} is reserved for Pyro itself; use another one")
    for key, value in annotations.items():
        if type(value) is not bytes:
            try:
                memoryview(value)
            except (TypeError, ValueError, BufferError) as error:
                raise ProtocolError(f"annotation {key!r} holds no bytes: {error}") from None


def parent_of(message: Message) -> int:
    """Return the id of the call on whose behalf a NESTED request is made."""
    return int.from_bytes(message.payload[-4:], "big")


def drop_parent(message: Message) -> None:
    """Make a NESTED request an ordinary one."""
    message.flags &= ~NESTED
    message.payload = message.payload[:-4]


def refusal(request_id: int, error: BaseException) -> Encoded:
    """Encode an error about a request whose serializer is not accepted: plain text, id 0."""
    text = f"{type(error).__name__}: {error}"
    return encode(FullMessage(RESPONSE, 0, ERROR, request_id, text.encode(errors="replace")))


def read_refusal(payload: Buffer) -> PyroError:
    """Read the error that :func:`refusal` encoded."""
    name, _, text = bytes(payload).decode(errors="replace").partition(": ")
    told: dict[str, type[PyroError]] = {
        "BusyError": BusyError,
        "DeadlockError": DeadlockError,
        "DrainingError": DrainingError,
    }
    if name in told:
        return told[name](text)
    kinds: dict[str, type[PyroError]] = {
        "MessageTooLargeError": MessageTooLargeError,
        "SecurityError": SecurityError,
        "SerializeError": SerializeError,
    }
    return kinds.get(name, ProtocolError)(f"refused by the peer: {text}")

"""A session with a peer that is Pyro: what differs from one with our own.

There is no hello. A client introduces itself with the first message, which holds its handshake and
the id of its object, and the server answers with what the object exposes. Over a connected socket
there is not even that. Nobody says goodbye: a conversation ends with the stream. Streams of items
are asked for, one item after the other. Nothing refers to objects over the connection.

The state of the connection (:mod:`pyroipc.protocol.state`) is used as far as it goes: an
introduction stands for the hello.
"""

from __future__ import annotations

from itertools import count, islice, repeat
from operator import and_
from time import monotonic

from pyroipc.client.pyro.codecs import PyroCodecs
from pyroipc.client.pyro.manner import PyroManner
from pyroipc.client.requests import fetch
from pyroipc.client.session import Session
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    ProtocolError,
    PyroError,
    SecurityError,
    TimeoutError,
)
from pyroipc.protocol import state as states
from pyroipc.protocol.hello import Hello
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.wire.dialect import PYRO4, OtherDialectError
from pyroipc.wire.message import (
    COMPRESSED,
    ERROR,
    INTRODUCTION,
    METADATA,
    ONEWAY,
    PING,
    PONG,
    REQUEST,
    WELCOME,
)
from pyroipc.wire.pyro_layout import refused_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from pyroipc.client.proxy import Proxy
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel
    from pyroipc.wire.message import Buffer, Message
    from pyroipc.wire.pyro4 import Pyro4
    from pyroipc.wire.pyro5 import Pyro5

_INTRODUCTION_ID = 0
"""As for a proxy of Pyro that has made no call; a refusal that answers nothing has it, too."""
_DUMMY_SERIALIZER = 42
_IDLE_SECONDS = 0.02
_SEQUENCE_MASK = 0xFFFF


def make_dialect(name: str, *, serving: bool, key: bytes = b"") -> Pyro4 | Pyro5:
    """Return what puts the messages of a dialect together, and takes them apart.

    Args:
        name: of the dialect.
        serving: whether this end answers calls.
        key: what both ends have to know; empty: nothing.

    Raises:
        SecurityError: the dialect has no way to use a key.
    """
    if name == PYRO4:
        from pyroipc.wire.pyro4 import Pyro4

        return Pyro4(serving=serving, key=key)
    if key:
        raise SecurityError(
            "Pyro5's protocol knows no HMAC key, so the peer cannot prove to have it; use TLS "
            "with client certificates, or pyroipc at both ends"
        )
    from pyroipc.wire.pyro5 import Pyro5

    return Pyro5(serving=serving)


class PyroSession(Session):
    """One connection with a peer that is Pyro, for any number of threads.

    Args:
        channel: a connected channel that nobody else reads; what its decoder has is kept.
        settings: read now; later changes do not matter.
        dialect: of the peer.
        introduces: whether the client introduces itself; False over a connected socket.
    """

    __slots__ = ("_introduces", "_pyro", "_used_at")

    def __init__(
        self,
        channel: StreamChannel,
        settings: Settings,
        dialect: Pyro4 | Pyro5,
        *,
        introduces: bool,
    ) -> None:
        super().__init__(channel, settings)
        self._pyro = dialect
        self._introduces = introduces
        self._used_at = 0.0  # when the last call began, by the monotonic clock
        self.ids = map(and_, count(1), repeat(_SEQUENCE_MASK))  # type: ignore[assignment]
        self.codecs = PyroCodecs(
            channel.peer,
            dialect,
            PyroManner(dialect.family, self),
            limit_bytes=self._limits.message_bytes,
            compress_from=settings.COMPRESS_FROM if settings.COMPRESSION else None,
        )
        channel.decoder.speak(dialect)
        if not introduces:
            self.welcome()

    @property
    def dialect(self) -> str:
        """``"pyro5"`` or ``"pyro4"``."""
        return self._pyro.name

    @property
    def family(self) -> str:
        """``"Pyro5"`` or ``"Pyro4"``."""
        return self._pyro.family

    @property
    def introduces(self) -> bool:
        """Whether a client introduces itself before it calls."""
        return self._introduces

    def next_id(self) -> int:
        """Return the id of a new request: a sequence number that nothing waits for.

        There are so few of them that one comes again while its answer may still be on its way.

        Raises:
            CommunicationError: all of them are in use.
        """
        for number in islice(self.ids, _SEQUENCE_MASK + 1):
            abandoned = self._abandoned
            if not (
                number in self.waiters
                or number in self.sinks
                or (abandoned is not None and number in abandoned)
            ):
                return number
        raise CommunicationError(
            f"{_SEQUENCE_MASK + 1} calls over this connection were not answered; no number is left"
        )

    # --- the beginning ---------------------------------------------------------------------------

    def listen(self) -> None:
        """Take requests from now on; the first one is the introduction, where there is one."""
        self.is_open = True

    def welcome(self) -> None:
        """Begin the conversation: whoever had to has introduced himself."""
        hello = Hello(
            library=f"{self._pyro.family} (protocol version {self._pyro.version})",
            python="",
            protocol=self._pyro.version,
            features=("objects",),
            serializers=self.codecs.accepted,
            pid=0,
        )
        self._converse(hello, states.RECEIVE_HELLO)

    def open(self, deadline: float | None = None) -> None:
        """Open the conversation again over a connected socket.

        Raises:
            ConnectionClosedError: the stream has ended, or this is a connection to an address.
            ForkedConnectionError: this session was inherited through a fork.
        """
        self.check()
        if self._introduces and not self.is_open:
            raise ConnectionClosedError("this connection was closed")
        if not self.is_open:
            self.welcome()

    def introduce(
        self,
        codec: CallCodec,
        facts: dict[str, Any],
        annotations: Mapping[str, Buffer],
        correlation_id: bytes | None,
        deadline: float | None,
    ) -> tuple[Any, Message]:
        """Introduce a client; return what the server answers, and the message that it came in.

        Args:
            codec: that of the client.
            facts: ``object``, the id of what it is about to call, and ``handshake``, for the
                server to look at.
            annotations: to go with it.
            correlation_id: of the call that it is made for.
            deadline: absolute, by the monotonic clock.

        Raises:
            CommunicationError: the server refuses, and says why.
            ConnectionClosedError: the server closed the connection.
            ProtocolError: it answers nonsense, or speaks another dialect.
            TimeoutError: it does not answer in time.
        """
        assert isinstance(codec, PyroCodec)
        self.decoder.limits = self._limits  # this end has chosen its peer
        payload = codec.dumps(facts)
        flags, packed = codec.compressed(INTRODUCTION | METADATA, payload)
        data = self._pyro.encode(
            REQUEST,
            codec.serializer_id,
            flags,
            _INTRODUCTION_ID,
            packed,
            annotations or None,
            correlation_id,
        )
        if self._handshake_seconds is not None and deadline is None:
            deadline = monotonic() + self._handshake_seconds
        try:
            message = self.exchange(_INTRODUCTION_ID, data, deadline)
        except TimeoutError:
            raise TimeoutError(
                f"the connection was taken, but no answer of {self.family} came in time"
            ) from None
        if message.kind != WELCOME:
            raise self.broken(ProtocolError(f"the peer answers an introduction with {message!r}"))
        if message.flags & COMPRESSED:
            codec.unpack(message)
        if message.flags & ERROR:
            raise CommunicationError(f"connection rejected: {self._why_not(message, codec)}")
        if message.serializer_id != codec.serializer_id:
            raise ProtocolError(f"invalid serializer in response: {message.serializer_id}")
        try:
            answer = codec.loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure
        self.welcome()
        return answer, message

    def _why_not(self, message: Message, codec: CallCodec) -> str:
        codecs = self.codecs
        assert isinstance(codecs, PyroCodecs)
        try:
            return codecs.read_failure(message, codec)
        except PyroError as error:
            return f"({error})"

    # --- calls -----------------------------------------------------------------------------------

    def exchange(self, request_id: int, data: Encoded, deadline: float | None) -> Message:
        """Send a message and wait for its answer.

        A server that is Pyro says no goodbye when it lets a client go that was idle, or ends. So
        whether the stream has ended is looked at before anything is sent over one that was idle:
        then it is certain that the call has not begun, and it is made over a new connection.

        Raises:
            ConnectionClosedError, ProtocolError: the connection is of no more use.
            TimeoutError: the deadline passed; the connection stays in step.
        """
        before, self._used_at = self._used_at, monotonic()
        if self._used_at - before > _IDLE_SECONDS and self._introduces and self.is_open:
            fetch(self)
            self.check()
        return super().exchange(request_id, data, deadline)

    def note_failure(self, error: Exception) -> None:
        """Close the connection, if the server does that now: then the next call finds it closed.

        Pyro does so behind an exception that has to do with communication or security.
        """
        closes = isinstance(error, CommunicationError | SecurityError) and self._introduces
        if closes and not self.waiters and not self.lead.locked():
            self.hang_up()

    # --- the end ---------------------------------------------------------------------------------

    @property
    def has_left(self) -> bool:
        """Whether there is no conversation any more."""
        return not self.is_open

    def leave(self, reason: str, *, busy: bool = False) -> None:
        """End the conversation at this end; the peer is told nothing."""
        if self.is_open:
            self.is_open = False
            self._fail_calls(ConnectionClosedError(f"this end left the conversation: {reason}"))

    def _tell_why(self, error: PyroError) -> None:
        """Tell a client why its connection is given up, as far as it can read that.

        That is so while it waits to be let in, or for the answer to a request that is too large.
        """
        frame = refused_frame(error)
        if not self.is_served or self.is_over:
            return
        if isinstance(error, OtherDialectError) and error.version is not None:
            super()._tell_why(error)
            return
        codecs = self.codecs
        assert isinstance(codecs, PyroCodecs)
        if self.peer_hello is None:
            data = codecs.failure(str(error)[:1000], _INTRODUCTION_ID)
        elif frame is not None and not frame.flags & ONEWAY:
            data = codecs.refusal(frame, error)
        else:
            return
        self._say_last(data)

    # --- what arrives ----------------------------------------------------------------------------

    def ping(self, request_id: int) -> Encoded:
        """Encode a message that the peer answers at once."""
        return self._pyro.encode(PING, _DUMMY_SERIALIZER, 0, request_id, b"ping")

    def _pong(self, message: Message) -> Encoded:
        if self.peer_hello is None:
            raise ProtocolError("invalid msg type 6 received (expected: 1)")
        return self._pyro.encode(PONG, message.serializer_id, 0, message.request_id, b"pong")

    def _expect_items(self, request_id: int) -> None:
        """Do nothing: items are asked for."""

    def _forget_items(self, request_id: int) -> None:
        """Do nothing: the server drops a stream that nobody reads when it is too old."""

    def open_stream(self, proxy: Proxy[Any], codec: CallCodec, message: Message) -> Iterator[Any]:
        """Return what iterates over the stream that an answer has opened.

        Raises:
            ProtocolError: the server does not send streams.
        """
        from pyroipc.client.pyro.streams import open_stream

        return open_stream(proxy, self, message)

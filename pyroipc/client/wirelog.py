"""The wire log: every message that goes over a connection, for the setting LOGWIRE.

A channel and a decoder that note what passes, to the logger ``pyroipc.wire`` at level DEBUG: kind,
id, serializer, flags and sizes. What is in the messages is not noted, for it may be secret. They
are put in place of the ordinary ones when a connection is made; without the setting there is
nothing in the way.
"""

from __future__ import annotations

from pyroipc import logs
from pyroipc.errors import ProtocolError, SecurityError
from pyroipc.transports.stream import ConnectionChannel, PartlySentError, StreamChannel
from pyroipc.wire.message import Limits
from pyroipc.wire.native import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Callable, Sequence

    from pyroipc.transports.sending import Cargo
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.dialect import Dialect
    from pyroipc.wire.message import Buffer, Message

_EVERYTHING = Limits(1 << 62, buffers=1 << 31)


class LoggingDecoder(Decoder):
    """A decoder that notes the messages that it returns."""

    __slots__ = ("fd",)

    fd: int
    """The descriptor of the connection, which tells it from others."""

    def advance(self) -> Message | None:
        """Return the next message, as :meth:`Decoder.advance` does."""
        message = super().advance()
        if message is not None:
            logs.get("wire").debug("%d <- %r", self.fd, message)
        return message


class _Nowhere:
    """Takes the bytes of a buffer, and keeps none."""

    __slots__ = ()

    def __init__(self, form: int, n_bytes: int) -> None:
        pass

    def room(self, filled: int) -> memoryview:
        return _discarded

    def finish(self) -> bytes:
        return b""


_discarded = memoryview(bytearray(64 << 10))


class _Sent:
    """Notes what is sent: it reads the bytes as the peer will.

    Args:
        fd: the descriptor of the connection.
        incoming: reads what the peer sends; it knows the dialect.
    """

    __slots__ = ("_decoder", "_fd", "_incoming", "_spoken")

    def __init__(self, fd: int, incoming: Decoder) -> None:
        self._fd = fd
        self._incoming = incoming
        self._begin()

    def _begin(self) -> None:
        self._spoken = self._incoming.dialect
        self._decoder = Decoder(_EVERYTHING, land=_Nowhere)
        mirrored: Dialect | None = getattr(self._spoken, "mirrored", None)
        if mirrored is not None:
            self._decoder.speak(mirrored)

    def note(self, parts: Sequence[Buffer]) -> None:
        """Note the messages that these bytes complete."""
        if self._incoming.dialect is not self._spoken:
            self._begin()
        try:
            self._note(parts)
        except (ProtocolError, SecurityError) as error:  # a refusal in a dialect of the peer's
            logs.get("wire").debug("%d -> something else (%s)", self._fd, error)
            self._begin()

    def _note(self, parts: Sequence[Buffer]) -> None:
        decoder = self._decoder
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                room = decoder.get_buffer()
                decoder.received = n_bytes = min(len(room), len(rest))
                room[:n_bytes] = rest[:n_bytes]
                rest = rest[n_bytes:]
                while (message := decoder.advance()) is not None:
                    logs.get("wire").debug("%d -> %r", self._fd, message)


class _Logging(StreamChannel):
    """A channel that notes the messages that it sends."""

    __slots__ = ("_sent_messages",)

    def __init__(
        self, sock: socket.socket, peer: Peer, decoder: Decoder, *, owned: bool = False
    ) -> None:
        super().__init__(sock, peer, decoder, owned=owned)
        self._sent_messages = _Sent(sock.fileno(), decoder)
        if isinstance(decoder, LoggingDecoder):
            decoder.fd = sock.fileno()

    def send_now(self, data: bytes) -> bool:
        """Send as :meth:`StreamChannel.send_now` does.

        Raises:
            PartlySentError: a part of it was sent.
        """
        try:
            is_sent = super().send_now(data)
        except PartlySentError:
            self._sent_messages.note((data,))
            raise
        if is_sent:
            self._sent_messages.note((data,))
        return is_sent

    def send_parts(
        self,
        parts: Sequence[Buffer],
        deadline: float | None = None,
        meanwhile: Callable[[], bool] | None = None,
        cargo: Cargo | None = None,
    ) -> None:
        """Send as :meth:`StreamChannel.send_parts` does."""
        self._sent_messages.note(parts)
        super().send_parts(parts, deadline, meanwhile, cargo)

    def send_what_goes(self, parts: Sequence[Buffer]) -> bool:
        """Send as :meth:`StreamChannel.send_what_goes` does."""
        self._sent_messages.note(parts)
        return super().send_what_goes(parts)


class LoggingChannel(_Logging):
    """A channel over a user's socket, or an end of a pair."""

    __slots__ = ()


class LoggingConnectionChannel(_Logging, ConnectionChannel):
    """A channel over a socket that nobody else has."""

    __slots__ = ()

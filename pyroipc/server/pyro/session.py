"""One conversation with a client that is Pyro, seen from the hosting side.

Only what differs from one with our own: the introduction, batches, blobs, and streams that are
asked for.
"""

from __future__ import annotations

from pyroipc.context import CallContext, running
from pyroipc.errors import ConnectionClosedError, MessageTooLargeError, ProtocolError, PyroError
from pyroipc.protocol.blobs import SerializedBlob
from pyroipc.protocol.compression import decompress
from pyroipc.protocol.pyro_blobs import ANNOTATION, BlobForm, read_description
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.serializers.exceptions import safe_text
from pyroipc.server.batches import NO_ITERATORS, drop_frames
from pyroipc.server.pyro.batches import run_batch
from pyroipc.server.session import ServerSession
from pyroipc.wire.message import (
    BATCH,
    BEFORE_HELLO,
    BLOB,
    COMPRESSED,
    INTRODUCTION,
    METADATA,
    ONEWAY,
    STREAM,
    FullMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.pyro.codecs import PyroCodecs
    from pyroipc.client.pyro.session import PyroSession
    from pyroipc.protocol.calls import CallCodec, Encoded, Payload
    from pyroipc.server.connection import Connection
    from pyroipc.wire.message import Buffer, Message

__all__ = ["PyroServerSession"]


class PyroServerSession(ServerSession):
    """Answers the requests of one client that is Pyro."""

    __slots__ = ("_chances",)

    _codecs: PyroCodecs

    @property
    def _session(self) -> PyroSession:
        assert self._connection is not None
        session: PyroSession = self._connection.session  # type: ignore[assignment]
        return session

    def serve(self, connection: Connection, *, wants_handshake: bool) -> None:
        """Serve another client from now on; see :meth:`ServerSession.serve`."""
        super().serve(connection, wants_handshake=wants_handshake)
        introduces = wants_handshake or connection.session.peer_hello is None
        self._chances = [None] if introduces else []  # of two threads one can take what is there

    def handle(self, message: Message) -> Encoded | None:
        """Answer one request, or the introduction.

        Returns:
            What to send; None: nothing.
        """
        if message.flags & INTRODUCTION:
            return self._introduce(message)
        assert self._connection is not None
        if self._connection.session.peer_hello is None:
            self.refuse()
            text = "invalid msg type 4 received (expected: 1)"
            return self._codecs.failure(text, message.request_id)
        return super().handle(message)

    # --- the introduction ------------------------------------------------------------------------

    def _introduce(self, message: Message) -> Encoded | None:
        running.set((message, self._connection))
        known = None
        try:
            self._take_chance()
            codec = self._codecs.get(message.serializer_id)
            known = codec.serializer_id
            facts = self._read(codec, message)
            assert self._connection is not None
            answer = self._connection.daemon.validateHandshake(
                self._connection, facts["handshake"]
            )
            welcome = self._welcome(codec, message, facts, answer)
            if self.is_refused:  # because of what came after it
                raise ProtocolError("nothing may follow an introduction before its answer")
            self.admit()
            self._session.welcome()  # unless the connection has failed meanwhile
        except ConnectionClosedError:  # which means that he is told nothing
            self.refuse()
            return []
        except BaseException as error:  # noqa: BLE001 - of the user's hook, too: he is told why
            self.refuse()
            text = _text_of(error)
            drop_frames(error)
            return self._codecs.failure(text, message.request_id, known)
        return welcome

    def _take_chance(self) -> None:
        """Take note of an introduction; there is one, and none where it is not wanted.

        Raises:
            ProtocolError: it is one too many.
        """
        try:
            self._chances.pop()
        except IndexError:
            raise ProtocolError("invalid msg type 1 received") from None

    def _read(self, codec: CallCodec, message: Message) -> dict[str, Any]:
        """Return what an introduction holds.

        Raises:
            ProtocolError: it is none.
            SerializeError: it cannot be read.
        """
        if message.flags & COMPRESSED:
            message.payload = _unpacked(message.payload)
            message.flags &= ~COMPRESSED
        try:
            facts = codec.loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure
        wanted = {"handshake", "object"} if self._tells(message) else {"handshake"}
        if not isinstance(facts, dict) or not wanted <= facts.keys():
            raise ProtocolError(f"an introduction holds {' and '.join(sorted(wanted))}")
        return facts

    def _tells(self, message: Message) -> bool:
        """Say whether the client wants to know what the object exposes."""
        return self._session.family == "Pyro5" or bool(message.flags & METADATA)

    def _welcome(
        self, codec: CallCodec, message: Message, facts: dict[str, Any], answer: Any
    ) -> Encoded:
        flags = INTRODUCTION
        if self._tells(message):
            members: dict[str, Any] = dict(self.dispatcher.entry(facts["object"]).metadata())
            if self._session.family == "Pyro5":
                members = {key: set(names) for key, names in members.items()}
            else:
                flags |= METADATA
            answer = {"handshake": answer, "meta": members}
        return self._answer(codec, message, codec.dumps(answer), flags)

    # --- calls -----------------------------------------------------------------------------------

    def _handle_unusual(self, codec: CallCodec, message: Message) -> Encoded | None:
        """Deal with what is not a plain call; None if it is one after all."""
        if message.flags & COMPRESSED:
            codec.unpack(message)
        if message.flags & (BATCH | BLOB) and (self.wants_handshake or self.is_refused):
            self._find_handshake("", "")
        if message.flags & BATCH:

            def report(error: BaseException, call: Any) -> None:
                self._note_error(error, message, call)

            payload = run_batch(self.dispatcher, codec, message, report, detailed=self._detailed)
            return [] if message.flags & ONEWAY else self._answer(codec, message, payload, BATCH)
        if message.flags & BLOB:
            object_id, member, blob = self._receive_blob(codec, message)
            value = (self._find or self.dispatcher.find)(object_id, member)(blob)
            if message.flags & ONEWAY:
                return []
            if type(value) not in NO_ITERATORS and hasattr(type(value), "__next__"):
                stream_id = self.host.open_stream(message, codec, value)
                return self._answer(codec, message, stream_id, STREAM)
            return self._answer(codec, message, codec.dumps(value))
        return None

    def _receive_blob(self, codec: CallCodec, message: Message) -> tuple[str, str, SerializedBlob]:
        annotations = dict(message.annotations or {})
        info, object_id, member = read_description(annotations.pop(ANNOTATION, None))
        if isinstance(message, FullMessage):
            message.annotations = annotations  # the user is shown his own
        blob = SerializedBlob(info, message.payload, is_blob=True)
        assert isinstance(codec, PyroCodec)
        blob.bind(BlobForm(codec.form, self._session.dialect))
        return object_id, member, blob

    def _answer(
        self, codec: CallCodec, message: Message, payload: Payload, flags: int = 0
    ) -> Encoded:
        """Encode an answer; one that opens a stream has its id as an annotation.

        Raises:
            ProtocolError: an annotation has an id that cannot be.
        """
        if not flags & STREAM:
            if self._annotations is None and type(running.get()) is not CallContext:
                correlation_id = message.correlation_id
                return codec.response(
                    message.request_id, payload, flags=flags, correlation_id=correlation_id
                )
            return super()._answer(codec, message, payload, flags)
        assert isinstance(payload, bytes)
        annotations = {**self._answer_annotations(), "STRM": payload}
        # For clients that know no streams.
        told = codec.dumps(ProtocolError("result of call is an iterator"))
        return codec.response(
            message.request_id,
            told,
            flags=flags,
            annotations=annotations,
            correlation_id=message.correlation_id,
        )


def _unpacked(payload: Buffer) -> bytes:
    """Unpack an introduction: that of somebody who is not let in yet.

    Raises:
        MessageTooLargeError: it is larger than one may be.
        ProtocolError: it is malformed.
    """
    limit = BEFORE_HELLO.message_bytes
    try:
        return decompress(payload, limit)
    except MessageTooLargeError:
        raise MessageTooLargeError(
            f"an introduction of {len(payload)} bytes unpacks to more than the {limit} bytes that "
            "it may have"
        ) from None


def _text_of(error: BaseException) -> str:
    text = safe_text(error)
    return text if isinstance(error, PyroError) or text else type(error).__name__

"""One conversation with a client that is Pyro, seen from the hosting side.

Only what differs from one with our own: the introduction, batches, blobs, and streams that are
asked for.
"""

from __future__ import annotations

from pyroipc.client.pyro.blobs import ANNOTATION, BlobForm, read_description
from pyroipc.context import running
from pyroipc.errors import ConnectionClosedError, ProtocolError, PyroError
from pyroipc.protocol.blobs import SerializedBlob
from pyroipc.server.batches import NO_ITERATORS, drop_frames
from pyroipc.server.pyro.batches import run_batch
from pyroipc.server.session import ServerSession
from pyroipc.wire.message import (
    BATCH,
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
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.wire.message import Message

__all__ = ["PyroServerSession"]


class PyroServerSession(ServerSession):
    """Answers the requests of one client that is Pyro."""

    __slots__ = ()

    _codecs: PyroCodecs

    @property
    def _session(self) -> PyroSession:
        assert self._connection is not None
        session: PyroSession = self._connection.session  # type: ignore[assignment]
        return session

    def handle(self, message: Message) -> Encoded | None:
        """Answer one request, or the introduction.

        Returns:
            What to send; None: nothing.
        """
        if message.flags & INTRODUCTION:
            return self._introduce(message)
        if self._session.peer_hello is None:
            self.refuse()
            text = "invalid msg type 4 received (expected: 1)"
            return self._codecs.failure(text, message.request_id)
        return super().handle(message)

    # --- the introduction ------------------------------------------------------------------------

    def _introduce(self, message: Message) -> Encoded | None:
        running.set((message, self._connection))  # type: ignore[arg-type]
        known = None
        try:
            if self._session.peer_hello is not None and not self.wants_handshake:
                raise ProtocolError("invalid msg type 1 received")
            codec = self._codecs.get(message.serializer_id)
            known = codec.serializer_id
            facts = self._read(codec, message)
            assert self._connection is not None
            answer = self._connection.daemon.validateHandshake(
                self._connection, facts["handshake"]
            )
            welcome = self._welcome(codec, message, facts, answer)
        except ConnectionClosedError:  # which means that he is told nothing
            self.refuse()
            return []
        except Exception as error:  # noqa: BLE001 - of the user's hook, too: it is why he is refused
            self.refuse()
            text = _text_of(error)
            drop_frames(error)
            return self._codecs.failure(text, message.request_id, known)
        self.admit()
        self._session.welcome()
        return welcome

    def _read(self, codec: CallCodec, message: Message) -> dict[str, Any]:
        """Return what an introduction holds.

        Raises:
            ProtocolError: it is none.
            SerializeError: it cannot be read.
        """
        if message.flags & COMPRESSED:
            codec.unpack(message)
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
                payload = self.host.open_stream(message, codec, value)
                return self._answer(codec, message, payload, STREAM)
            return self._answer(codec, message, codec.dumps(value))
        return None

    def _receive_blob(self, codec: CallCodec, message: Message) -> tuple[str, str, SerializedBlob]:
        annotations = dict(message.annotations or {})
        info, object_id, member = read_description(annotations.pop(ANNOTATION, None))
        if isinstance(message, FullMessage):
            message.annotations = annotations  # the user is shown his own
        blob = SerializedBlob(info, message.payload, is_blob=True)
        blob.bind(BlobForm(codec.serializer, self._session.dialect))
        return object_id, member, blob

    def _answer(
        self, codec: CallCodec, message: Message, payload: bytes, flags: int = 0
    ) -> Encoded:
        """Encode an answer; one that opens a stream has its id as an annotation.

        Raises:
            ProtocolError: an annotation has an id that cannot be.
        """
        if not flags & STREAM:
            return super()._answer(codec, message, payload, flags)
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


def _text_of(error: Exception) -> str:
    return str(error) if isinstance(error, PyroError) or str(error) else type(error).__name__

"""One conversation seen from the hosting side: a request in, the bytes of its answer out.

No I/O: a loop receives the message, calls :meth:`ServerSession.handle`, and sends what it
returns. Exceptions of the user's method, whatever their class, become answers; nothing that a
method raises ends a loop or a worker.
"""

from __future__ import annotations

from pyroipc.context import CallContext, running
from pyroipc.errors import CommunicationError, ProtocolError, SerializeError
from pyroipc.protocol.calls import DAEMON_NAME, check_annotations, drop_parent
from pyroipc.server.batches import NO_ITERATORS, drop_frames, is_iterator, run_batch
from pyroipc.server.blobs import receive_blob
from pyroipc.wire.message import BATCH, BLOB, COMPRESSED, ERROR, NESTED, ONEWAY, STAGED, STREAM
from pyroipc.wire.native import pack_header
from pyroipc.wire.native_bulk import check_landed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from pyroipc.protocol.calls import CallCodec, Encoded, Payload
    from pyroipc.server.connection import Connection
    from pyroipc.server.dispatcher import Dispatcher
    from pyroipc.server.registry import Entry
    from pyroipc.wire.message import Buffer, Message

    class Codecs(Protocol):
        """The codecs of a connection."""

        by_key: dict[str | int, CallCodec]
        """Those in use, also by serializer id."""

        def get(self, key: str | int) -> CallCodec:
            """Return the codec of a serializer id, or raise if it is not accepted."""
            ...

        def refusal(self, message: Message, error: BaseException) -> Encoded:
            """Encode the answer to a request that cannot be answered with its serializer."""
            ...

    class Host(Protocol):
        """What else has to do with a connection."""

        streams: Any
        """Those of the connection."""

        def open_stream(self, message: Message, codec: CallCodec, iterator: Any) -> Payload:
            """Take an iterator that a method has returned; return the payload of the answer."""
            ...

        def unstage(self, message: Message) -> Message:
            """Return a request with its buffers, which lie in memory that the peer has lent."""
            ...

        def report(
            self, error: BaseException, member: str, args: Any, kwargs: Any, *, loud: bool
        ) -> None:
            """Take note of what a method raised, and how it was called.

            ``loud``: nobody else hears of it, or the method is marked with ``@callback``.
            """

        def wait_elsewhere(self, chain: bytes, what: str) -> AbstractContextManager[None]:
            """Note that a call of this client waits for another connection."""
            ...


_UNUSUAL = BATCH | BLOB | NESTED | STREAM | COMPRESSED | ERROR | STAGED
_NOT_YET = ERROR | STREAM


class ServerSession:
    """Answers the requests of one conversation.

    Args:
        dispatcher: finds what a request means.
        codecs: those of the connection.
        host: what else has to do with the connection.
        annotations: returns what to add to the annotations of every answer; None: nothing.
        detailed_traceback: whether remote tracebacks show the values of local variables.
    """

    __slots__ = (
        "_annotations",
        "_codecs",
        "_connection",
        "_detailed",
        "_entries",
        "_find",
        "dispatcher",
        "host",
        "interrupted",
        "is_refused",
        "wants_handshake",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        codecs: Codecs,
        host: Host,
        *,
        annotations: Callable[[], Mapping[str, Buffer]] | None = None,
        detailed_traceback: bool = False,
    ) -> None:
        self.dispatcher = dispatcher
        self._entries: Mapping[str, Entry] = dispatcher.entries
        # Another way to find a member than the dispatcher's; None: that one. No bound method of
        # it is kept, for there are many connections, and each has one of these.
        self._find: Callable[[str, str], Callable[..., Any]] | None = None
        self._codecs = codecs
        self.host = host
        """What else has to do with the connection."""
        self._connection: Connection | None = None
        self.wants_handshake = False
        """Whether a client has yet to be admitted."""
        self.is_refused = False
        """Whether it was refused: then the conversation is to end."""
        self.interrupted = 0
        """The id of the last request whose method raised KeyboardInterrupt."""
        self._annotations = annotations
        self._detailed = detailed_traceback

    def serve(self, connection: Connection, *, wants_handshake: bool) -> None:
        """Serve another client from now on.

        Args:
            connection: what ``current_context.client`` shows.
            wants_handshake: whether it is served nothing before it is admitted.
        """
        self._connection = connection
        self.is_refused = False
        self.wants_handshake = wants_handshake
        self._entries = {} if wants_handshake else self.dispatcher.entries
        self._find = self._find_handshake if wants_handshake else None

    def _find_handshake(self, object_id: str, member: str) -> Callable[..., Any]:
        """Return the one method that a client may call that was not admitted yet.

        Raises:
            CommunicationError: another one is asked for.
        """
        if (object_id, member) == (DAEMON_NAME, "connect") and not self.is_refused:
            return self.dispatcher.find(object_id, member)
        raise CommunicationError("this daemon wants a handshake before it serves anything")

    def find_home(self, object_id: str) -> Any:
        """Return the object itself to which the peer has sent a reference home.

        Raises:
            CommunicationError: the client was not admitted yet.
            SerializeError: it is not here, or is made for each call.
        """
        if self.wants_handshake or self.is_refused:
            self._find_handshake("", "")
        return self.dispatcher.find_home(object_id)

    def find_entry(self, object_id: str) -> Entry | None:
        """Say what an id means without any reference; None: nothing."""
        return self.dispatcher.entries.get(object_id)

    def classes_for(self, object_id: str, member: str) -> Mapping[str, type]:
        """Say which classes the annotations of a member name."""
        return self.dispatcher.classes_for(object_id, member)

    def admit(self) -> None:
        """Serve the client whatever it asks for."""
        self.wants_handshake = False
        self._entries = self.dispatcher.entries
        self._find = None

    def refuse(self) -> None:
        """Serve the client nothing any more."""
        self.is_refused = True
        self._entries = {}
        self._find = self._find_handshake

    def handle(self, message: Message) -> Encoded | None:
        """Run the call that a request asks for; return its encoded answer, None for oneway.

        Raises:
            ProtocolError: never, like all others: what goes wrong is an answer too.
            SerializeError: nor this.
        """
        # Not reset afterwards: each request sets its own, and it holds no arguments or results.
        running.set((message, self._connection))
        codec = None
        call: Any = ()
        try:
            codecs = self._codecs
            codec = codecs.by_key.get(message.serializer_id) or codecs.get(message.serializer_id)
            loads_call, dumps = codec.loads_call, codec.dumps  # see RemoteMethod on locals
            if message.flags & _UNUSUAL or message.buffers or message.descriptors:
                message = self._with_buffers(message)
                special = self._handle_unusual(codec, message)
                if special is not None:
                    return special
                is_plain = not message.buffers and message.parcel is None
                loads_call = loads_call if is_plain else codec.call_reader(message)
            try:
                object_id, member, args, kwargs = call = loads_call(message.payload)
            except Exception as failure:
                raise codec.load_failed(failure) from failure
            message.payload = b""
            try:
                method = self._entries[object_id].methods[member]
            except (KeyError, TypeError):  # not so plain, or not there at all
                method = (self._find or self.dispatcher.find)(object_id, member)
            value = method(*args, **kwargs) if kwargs else method(*args)
            if message.flags & ONEWAY:
                return None
            if type(value) not in NO_ITERATORS and is_iterator(value, self.dispatcher.references):
                payload = self.host.open_stream(message, codec, value)
                return self._answer(codec, message, payload, STREAM)
            try:
                payload = dumps(value)
            except SerializeError:
                codec.take_back(dumps, value)
                raise
            n_bytes = len(payload)
            if (
                message.flags
                or n_bytes > codec.plain_bytes
                or type(running.get()) is CallContext
                or self._annotations is not None
            ):
                return self._answer(codec, message, payload)
            prefix = codec.response_prefix
            return pack_header(prefix, message.request_id, n_bytes) + payload  # type: ignore[no-any-return]
        except BaseException as error:  # noqa: BLE001 - what a method raises is an answer
            return self._failed(codec, message, error, call)

    def _with_buffers(self, message: Message) -> Message:
        return self.host.unstage(message) if message.flags & STAGED else message

    def _handle_unusual(self, codec: CallCodec, message: Message) -> Encoded | None:
        """Deal with what is not a plain call; None if it is one after all.

        Raises:
            ProtocolError: this version cannot do what is asked for.
            MessageTooLargeError: there was no memory for a buffer.
        """
        check_landed(message)
        if message.flags & NESTED:
            drop_parent(message)
        if message.flags & COMPRESSED:
            codec.unpack(message)
        if (
            message.flags & _NOT_YET
            or (message.descriptors and (message.parcel is None or message.flags & BLOB))
            or (message.buffers and message.flags & BLOB)
        ):
            raise ProtocolError(f"not supported by this version: {message!r}")
        if message.flags & (BATCH | BLOB) and (self.wants_handshake or self.is_refused):
            self._find_handshake("", "")
        if message.flags & BATCH:

            def report(error: BaseException, call: Any) -> None:
                self._note_error(error, message, call)

            payload = run_batch(self.dispatcher, codec, message, report, detailed=self._detailed)
            return [] if message.flags & ONEWAY else self._answer(codec, message, payload, BATCH)
        if message.flags & BLOB:
            object_id, member, blob = receive_blob(codec, message)
            value = (self._find or self.dispatcher.find)(object_id, member)(blob)
            if message.flags & ONEWAY:
                return []
            if type(value) not in NO_ITERATORS and is_iterator(value, self.dispatcher.references):
                payload = self.host.open_stream(message, codec, value)
                return self._answer(codec, message, payload, STREAM)
            return self._answer(codec, message, codec.dumps(value))
        return None

    def _answer(
        self, codec: CallCodec, message: Message, payload: Payload, flags: int = 0
    ) -> Encoded:
        """Encode an answer with the annotations that the method, or the daemon, adds.

        Raises:
            ProtocolError: an annotation has an id that cannot be.
        """
        return codec.response(
            message.request_id,
            payload,
            flags=flags,
            annotations=self._answer_annotations() or None,
            correlation_id=message.correlation_id,
        )

    def _answer_annotations(self) -> dict[str, Buffer]:
        """Return the annotations that the method, or the daemon, adds to an answer.

        Raises:
            ProtocolError: one has an id that cannot be.
        """
        context = running.get()
        annotations: dict[str, Buffer] = {}
        if self._annotations is not None:
            annotations.update(self._annotations())
        if type(context) is CallContext:
            annotations.update(context.response_annotations)
        check_annotations(annotations)
        return annotations

    def _failed(
        self, codec: CallCodec | None, message: Message, error: BaseException, call: Any
    ) -> Encoded | None:
        try:
            self._note_error(error, message, call)
            if message.flags & ONEWAY:
                return None
            if codec is None:
                return self._codecs.refusal(message, error)
            from pyroipc.protocol.remote_errors import dump_error  # when first needed

            payload = dump_error(error, codec.serializer, detailed=self._detailed)
            try:
                return self._answer(codec, message, payload, ERROR)
            except Exception as wrong:  # noqa: BLE001 - the user's annotations: then without them
                return self._codecs.refusal(message, wrong)
        finally:
            if message.parcel is not None:
                message.parcel.close()
            drop_frames(error)
            del error

    def _note_error(self, error: BaseException, message: Message, call: Any) -> None:
        """Tell this end of an exception, as the daemon wants it."""
        if isinstance(error, KeyboardInterrupt):
            self.interrupted = message.request_id
        oneway = bool(message.flags & ONEWAY)
        member, args, kwargs = call[1:] if len(call) == 4 else ("?", (), {})
        loud = oneway or (len(call) == 4 and self.dispatcher.is_callback(call[0], member))
        self.host.report(error, member, args, kwargs or {}, loud=loud)

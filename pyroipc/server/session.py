"""One conversation seen from the hosting side: a request in, the bytes of its answer out.

No I/O: a loop receives the message, calls :meth:`ServerSession.handle`, and sends what it
returns. Exceptions of the user's method, whatever their class, become answers; nothing that a
method raises ends a loop or a worker.
"""

from __future__ import annotations

from pyroipc.context import CallContext, running
from pyroipc.errors import ProtocolError
from pyroipc.protocol.calls import refusal
from pyroipc.wire.message import BATCH, BLOB, COMPRESSED, ERROR, ONEWAY, STREAM
from pyroipc.wire.native import JOIN_BYTES, pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.server.dispatcher import Dispatcher
    from pyroipc.wire.message import Message

_NOT_YET = BATCH | BLOB | STREAM | COMPRESSED | ERROR


class ServerSession:
    """Answers the requests of one conversation.

    Args:
        dispatcher: finds what a request means.
        codecs: the codecs in use, by serializer id.
        codec: returns the codec of a serializer id, or raises if it is not accepted.
        client: what ``current_context.client`` shows.
        log_error: told about exceptions of oneway calls, which nobody else hears of.
        detailed_traceback: whether remote tracebacks show the values of local variables.
    """

    __slots__ = (
        "_client",
        "_codec",
        "_codecs",
        "_detailed",
        "_entries",
        "_find",
        "_log_error",
        "dispatcher",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        codecs: Mapping[str | int, CallCodec],
        codec: Callable[[int], CallCodec],
        client: Any,
        log_error: Callable[[BaseException], None],
        *,
        detailed_traceback: bool = False,
    ) -> None:
        self.dispatcher = dispatcher
        self._entries = dispatcher.entries
        self._find = dispatcher.find
        self._codecs = codecs
        self._codec = codec
        self._client = client
        self._log_error = log_error
        self._detailed = detailed_traceback

    def handle(self, message: Message) -> Encoded | None:
        """Run the call that a request asks for; return its encoded answer, None for oneway.

        Raises:
            ProtocolError: never, like all others: what goes wrong is an answer too.
        """
        # Not reset afterwards: each request sets its own, and it holds no arguments or results.
        running.set((message, self._client))
        codec = None
        try:
            codec = self._codecs.get(message.serializer_id) or self._codec(message.serializer_id)
            if message.flags & _NOT_YET or message.buffers or message.descriptors:
                raise ProtocolError(f"not supported by this version: {message!r}")
            loads_call, dumps = codec.loads_call, codec.dumps  # see RemoteMethod on locals
            try:
                object_id, member, args, kwargs = loads_call(message.payload)
            except Exception as failure:
                raise codec.load_failed(failure) from failure
            message.payload = b""
            try:
                method = self._entries[object_id].methods[member]
            except (KeyError, TypeError):  # not so plain, or not there at all
                method = self._find(object_id, member)
            value = method(*args, **kwargs) if kwargs else method(*args)
            if message.flags & ONEWAY:
                return None
            payload = dumps(value)
            n_bytes = len(payload)
            if message.flags or n_bytes > JOIN_BYTES or type(running.get()) is CallContext:
                return self._answer(codec, message, payload)
            return pack_header(codec.response_prefix, message.request_id, n_bytes) + payload
        except BaseException as error:  # noqa: BLE001 - what a method raises is an answer
            return self._failed(codec, message, error)

    def _answer(
        self, codec: CallCodec, message: Message, payload: bytes, *, error: bool = False
    ) -> Encoded:
        context = running.get()
        annotations = context.response_annotations if type(context) is CallContext else None
        return codec.response(
            message.request_id,
            payload,
            error=error,
            annotations=annotations,
            correlation_id=message.correlation_id,
        )

    def _failed(
        self, codec: CallCodec | None, message: Message, error: BaseException
    ) -> Encoded | None:
        try:
            if message.flags & ONEWAY:
                self._log_error(error)
                return None
            if codec is None:
                return refusal(message.request_id, error)
            from pyroipc.protocol.remote_errors import dump_error  # when first needed

            payload = dump_error(error, codec.serializer, detailed=self._detailed)
            return self._answer(codec, message, payload, error=True)
        finally:
            error.__traceback__ = None  # it holds frames, and they hold what the method held
            del error

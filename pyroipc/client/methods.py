"""The methods of a proxy: what happens between the call of a method and its result."""

from __future__ import annotations

from threading import Event
from time import monotonic

from pyroipc.client.conversation import ID_MASK
from pyroipc.context import context_in_use, current_context, running
from pyroipc.errors import (
    BusyError,
    CommunicationError,
    ConnectError,
    ConnectionClosedError,
    MessageTooLargeError,
    ProtocolError,
    SerializeError,
    TimeoutError,
)
from pyroipc.protocol.blobs import BlobError
from pyroipc.protocol.calls import check_annotations, read_refusal
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    CORRELATION,
    DEADLINE,
    ERROR,
    NESTED,
    ONEWAY,
    RESPONSE,
    STREAM,
    Message,
)
from pyroipc.wire.native import JOIN_BYTES, pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from inspect import Signature
    from typing import Any

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.errors import PyroError
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.wire.message import Buffer

_RETRY_SECONDS_MAX = 2.0
RESPONSE_FLAGS = ERROR | CORRELATION | DEADLINE | STREAM | BATCH


class RemoteMethod:
    """A method of a remote object, bound to its proxy; call it like a local one.

    It has the signature and the docstring of the remote method; they are fetched when somebody
    asks (``help``, ``inspect.signature``).
    """

    __slots__ = (
        "__name__",
        "__self__",
        "_codec",
        "_exchange",
        "_ids",
        "_object_id",
        "_session",
    )

    def __init__(self, proxy: Proxy[Any], name: str, codec: CallCodec, session: Session) -> None:
        self.__self__ = proxy
        self.__name__ = name
        self._object_id = proxy._pyroObjectId
        self._codec = codec
        self._session = session
        self._ids = session.ids
        self._exchange = session.exchange

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote method and wait for its result.

        Raises:
            SerializeError: an argument cannot be encoded.
            MessageTooLargeError: the arguments are too large; for all others see
                :meth:`Proxy._pyroInvoke`.
        """
        if running.get() is not None or not self._session.is_open:
            return self._call_in_context(args, kwargs)
        codec = self._codec
        # Functions that are attributes of instances go through local variables on this path: the
        # interpreter (3.11) has a fast way to load an attribute, but not to call one of these.
        dumps_call, exchange, loads = codec.dumps_call, self._exchange, codec.loads
        try:
            payload = dumps_call(self._object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            if isinstance(error, BlobError):
                return self.__self__._pyroInvoke(self.__name__, args, kwargs)
            self._take_back(error, args, kwargs)
            raise
        n_bytes = len(payload)
        if n_bytes > JOIN_BYTES:
            try:
                return self.__self__._pyro_send_encoded(codec, payload)
            except MessageTooLargeError as error:
                if error.call_status == "not sent":
                    self._take_back(error, args, kwargs)
                raise
        request_id = next(self._ids) & ID_MASK
        data = pack_header(codec.request_prefix, request_id, n_bytes) + payload
        try:
            message = exchange(request_id, data, None)
        except ConnectionClosedError as error:
            return self.__self__._pyro_call_again(error, self.__name__, args, kwargs)
        if (
            message.flags
            or message.kind != RESPONSE
            or message.serializer_id != codec.serializer_id
            or type(message) is not Message
        ):
            return read_result(self.__self__, codec, message)
        try:
            return loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure

    def _call_in_context(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Call while a context is in use; a plain call back to the caller has a short way.
        context = running.get()
        session = self._session
        if not session.is_open:
            return self._call_anew(args, kwargs)
        if (
            type(context) is not tuple
            or context[1].session is not session
            or type(context[0]) is not Message
        ):
            return self.__self__._pyroInvoke(self.__name__, args, kwargs)
        codec = self._codec
        try:
            payload = codec.dumps_call(self._object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            if isinstance(error, BlobError):
                return self.__self__._pyroInvoke(self.__name__, args, kwargs)
            self._take_back(error, args, kwargs)
            raise
        payload += context[0].request_id.to_bytes(4, "big")
        request_id = next(self._ids) & ID_MASK
        if len(payload) > JOIN_BYTES:
            data: Encoded = codec.request(request_id, payload, flags=NESTED)
            session.check_size(data)
        else:
            data = pack_header(codec.nested_prefix, request_id, len(payload)) + payload
        message = session.exchange(request_id, data, None)
        if (
            message.flags
            or message.kind != RESPONSE
            or message.serializer_id != codec.serializer_id
            or type(message) is not Message
        ):
            return read_result(self.__self__, codec, message)
        try:
            return codec.loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure

    def _call_anew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Call when the conversation has ended: it begins again, perhaps over a new connection.
        proxy = self.__self__
        try:
            return proxy._pyroInvoke(self.__name__, args, kwargs)
        finally:
            session = proxy._pyro_session
            if session is not None and session is not self._session and session.is_open:
                self._object_id = proxy._pyroObjectId
                self._codec = proxy._pyro_codec()
                self._ids = session.ids
                self._exchange = session.exchange
                self._session = session

    def _take_back(
        self, error: ProtocolError, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Take note that a call was not sent, and none of the references in its arguments."""
        error.call_status = "not sent"
        self._session.references.take_back(
            self._codec.dumps_call, self._object_id, self.__name__, args, kwargs or None
        )

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the remote method, but do not wait: return a future for its result.

        Any number of such calls may be under way on one connection, and no thread waits for them.
        The future is a :class:`concurrent.futures.Future`; cancelling it tells nobody, and its
        result is dropped. The functions given to ``add_done_callback`` are called by a thread of
        the library's own, one after the other.

        Raises:
            CommunicationError: the call could not be sent.
        """
        from pyroipc.client.futures import submit_call

        return submit_call(self.__self__, self.__name__, args, kwargs)

    # With __get__ and without __set__ this counts as a routine for help() and inspect.
    def __get__(self, instance: object, owner: type | None = None) -> RemoteMethod:
        return self

    @property
    def __signature__(self) -> Signature:
        from pyroipc.client.signatures import read_signature

        return read_signature(self.__self__._pyroDocumentation()["signatures"].get(self.__name__))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.__self__._pyroDocumentation()["docs"].get(self.__name__)

    def __repr__(self) -> str:
        return f"<remote method {self._object_id}.{self.__name__}>"


class OnewayMethod(RemoteMethod):
    """A remote method whose callers do not wait."""

    __slots__ = ()
    # Without this the class had a docstring of its own.
    __doc__ = RemoteMethod.__dict__["__doc__"]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Call the remote method.

        Raises:
            SerializeError: an argument cannot be encoded; for all others see
                :meth:`Proxy._pyroInvoke`.
        """
        session = self._session
        if not session.is_open:
            self._call_anew(args, kwargs)
            return
        if running.get() is not None:
            self.__self__._pyroInvoke(self.__name__, args, kwargs)
            return
        codec = self._codec
        try:
            payload = codec.dumps_call(self._object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            if isinstance(error, BlobError):
                self.__self__._pyroInvoke(self.__name__, args, kwargs)
                return
            self._take_back(error, args, kwargs)
            raise
        n_bytes = len(payload)
        request_id = next(self._ids) & ID_MASK
        if n_bytes > JOIN_BYTES:
            data: Encoded = codec.request(request_id, payload, flags=ONEWAY)
            session.check_size(data)
        else:
            data = pack_header(codec.oneway_prefix, request_id, n_bytes) + payload
        session.post(data, None)


class SpecialMethod(RemoteMethod):
    """A remote method that is called with a deadline, with hooks of a subclass, or repeatedly."""

    __slots__ = ()
    __doc__ = RemoteMethod.__dict__["__doc__"]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote method; see :class:`Proxy` for the errors."""
        proxy = self.__self__
        pause = proxy._pyro_settings.RETRY_SECONDS
        for _ in range(proxy._pyroMaxRetries):
            try:
                return proxy._pyroInvoke(self.__name__, args, kwargs)
            except (ConnectionClosedError, ConnectError, BusyError, TimeoutError):
                pass  # and again
            Event().wait(pause)
            pause = min(2 * pause, _RETRY_SECONDS_MAX)
        return proxy._pyroInvoke(self.__name__, args, kwargs)


def invoke(
    proxy: Proxy[Any],
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
    flags: int,
    object_id: str | None,
) -> Any:
    """Make a call with everything that the context and the proxy ask for; see ``_pyroInvoke``.

    Raises:
        CommunicationError: the conversation failed, or the call could not be sent.
        ConnectionClosedError: the connection ended.
        BlobError: a blob is not the only argument.
    """
    timeout = proxy._pyroTimeout
    deadline = None if timeout is None else monotonic() + timeout
    try:
        return _invoke(proxy, member, args, kwargs, flags, object_id, deadline)
    except ConnectionClosedError as error:
        if not may_repeat(proxy, error):
            raise
    return _invoke(proxy, member, args, kwargs, flags, object_id, deadline)


def may_repeat(proxy: Proxy[Any], error: ConnectionClosedError) -> bool:
    """Say whether a call may be made again over a new connection, without anybody asking for it.

    That is so if the daemon said goodbye before it began the call, as when it was restarted.
    """
    return proxy._pyro_line is not None and error.call_status in ("not sent", "not started")


def _invoke(
    proxy: Proxy[Any],
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
    flags: int,
    object_id: str | None,
    deadline: float | None,
) -> Any:
    session = proxy._pyro_connected(deadline)
    codec = None
    called = object_id or proxy._pyroObjectId
    try:
        session.open(deadline)
        codec = proxy._pyro_codec()
        own = None
        try:
            payload = codec.dumps_call(called, member, args, kwargs)
        except BlobError:
            from pyroipc.client.blobs import encode_blob, find_blob

            blob = find_blob(args, kwargs)
            if blob is None:
                raise
            codec, payload, own = encode_blob(proxy, blob, called, member)
            flags |= BLOB
        request_id = session.next_id()
        data = encode_request(proxy, codec, request_id, payload, flags, own)
        session.check_size(data)
    except CommunicationError as error:
        error.call_status = "not sent"
        if codec is not None:
            session.references.take_back(codec.dumps_call, called, member, args, kwargs)
        raise
    if flags & ONEWAY:
        session.post(data, deadline)
        return None
    with waiting(session, object_id or proxy._pyroObjectId, member):
        message = session.exchange(request_id, data, deadline)
    return read_result(proxy, codec, message)


class _NotWaiting:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


_not_waiting = _NotWaiting()


def waiting(session: Session, object_id: str, member: str) -> AbstractContextManager[None]:
    """Say, as a context manager, to whoever runs the current call that it waits for another one.

    Nobody need know about a call that runs in no call, or that goes back to the caller.
    """
    context = context_in_use()
    if context is None or context.message is None or context.client.session is session:
        return _not_waiting
    note = context.client.wait_elsewhere
    if note is None or context.correlation_bytes is None:
        return _not_waiting
    hello = session.peer_hello
    where = f" in process {hello.pid}" if hello is not None else ""
    noted: AbstractContextManager[None] = note(
        context.correlation_bytes, f"{object_id}.{member}{where}"
    )
    return noted


def encode_request(
    proxy: Proxy[Any],
    codec: CallCodec,
    request_id: int,
    payload: bytes,
    flags: int = 0,
    own: Mapping[str, Buffer] | None = None,
) -> Encoded:
    """Encode a request with what the context of this thread and the proxy add to it.

    Inside a call that a daemon runs, only the correlation id goes on to nested calls: the
    annotations of the request were meant for this end. A call back to the peer whose request is
    running says so.

    Args:
        proxy: what is called.
        codec: that of the call.
        request_id: that of the call.
        payload: what the codec made.
        flags: of the message.
        own: annotations of this library's.

    Raises:
        ProtocolError: an annotation has an id that cannot be.
    """
    annotations: dict[str, Buffer] = dict(proxy._pyroAnnotations())
    correlation_id = None
    context = context_in_use()
    if context is not None:
        correlation_id = context.correlation_bytes
        message = context.message
        if message is None:
            annotations.update(context.annotations)
            context.response_annotations = {}
        elif context.client.session is proxy._pyro_session:
            if not flags & ONEWAY:
                flags |= NESTED
                payload += message.request_id.to_bytes(4, "big")
        elif correlation_id is None:
            # So that a call that comes back by way of others is known when it does.
            correlation_id = context.correlation_bytes = new_chain()
    check_annotations(annotations)
    if own:
        annotations.update(own)
    return codec.request(
        request_id,
        payload,
        flags=flags,
        annotations=annotations or None,
        correlation_id=correlation_id,
        time_limit=proxy._pyroTimeout,
    )


def new_chain() -> bytes:
    """Return a new correlation id."""
    from os import urandom

    data = bytearray(urandom(16))
    data[6] = data[6] & 0x0F | 0x40  # a UUID of version 4
    data[8] = data[8] & 0x3F | 0x80
    return bytes(data)


def read_result(proxy: Proxy[Any], codec: CallCodec, message: Message) -> Any:
    """Return what an answer says, or raise it.

    Raises:
        ProtocolError: it is no answer to a request.
        SerializeError: it cannot be decoded.
        Exception: what the remote method raised.
    """
    if (
        message.kind != RESPONSE
        or message.flags & ~RESPONSE_FLAGS
        or message.buffers
        or message.descriptors
    ):
        raise ProtocolError(f"the answer is not one that this version understands: {message!r}")
    take_annotations(proxy, message)
    if message.serializer_id != codec.serializer.id:
        if message.serializer_id == 0 and message.flags & ERROR:
            refused: PyroError = read_refusal(message.payload)
            raise refused
        raise ProtocolError(
            f"the answer is encoded with serializer {message.serializer_id}, "
            f"the request was with {codec.serializer.id}"
        )
    if message.flags & ERROR:
        from pyroipc.protocol.remote_errors import load_error  # when first needed

        error: Exception = load_error(message.payload, codec.serializer)
        raise error
    if message.flags & STREAM:
        from pyroipc.client.streams import open_stream

        return open_stream(proxy, codec, message)
    try:
        return codec.loads(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure


def take_annotations(proxy: Proxy[Any], message: Message) -> None:
    """Show what came with an answer; not inside a call, where the field is for its own answer."""
    annotations = message.annotations
    context = context_in_use()
    if context is None:
        if annotations:
            current_context.response_annotations = annotations
    elif context.message is None:
        context.response_annotations = annotations or {}
    if annotations:
        proxy._pyroResponseAnnotations(annotations, message.kind)

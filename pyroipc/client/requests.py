"""Requests and answers of a proxy: what goes with the arguments, and what comes with a result.

Between the methods of a proxy and its session. Nothing here sends or waits.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from contextvars import Context
from os import urandom

from pyroipc.context import context_in_use, current_context, running
from pyroipc.errors import CommunicationError, ProtocolError, PyroError
from pyroipc.protocol.blobs import BlobError
from pyroipc.protocol.calls import check_annotations, read_refusal
from pyroipc.serializers.passengers import encoded_unheld
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    COMPRESSED,
    CORRELATION,
    DEADLINE,
    ERROR,
    NESTED,
    ONEWAY,
    RESPONSE,
    STREAM,
    Message,
)
from pyroipc.wire.native import pack_header
from pyroipc.wire.native_bulk import check_landed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.serializers.parts import Parts
    from pyroipc.wire.message import Buffer

__all__ = [
    "encode_call",
    "encode_request",
    "fetch",
    "forget_annotations",
    "read_apart",
    "read_result",
    "take_annotations",
    "waiting",
]

_RESPONSE_FLAGS = ERROR | CORRELATION | DEADLINE | STREAM | BATCH | COMPRESSED


# --- out ---------------------------------------------------------------------------------------


def encode_call(
    proxy: Proxy[Any],
    session: Session,
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
    flags: int = 0,
    object_id: str | None = None,
    *,
    is_held: bool = False,
) -> tuple[CallCodec, int, Encoded]:
    """Encode a call of a member with everything that the context and the proxy ask for.

    Args:
        proxy: that of the object.
        session: its connection; a conversation is going on.
        member: the name of the member.
        args: positional arguments.
        kwargs: keyword arguments; None: there are none, or it is an attribute.
        flags: of the message.
        object_id: another object of the same daemon.
        is_held: whether the caller holds the arguments until the answer is here.

    Returns:
        The codec of the answer, the id of the request, and the request.

    Raises:
        CommunicationError: it cannot be sent.
        BlobError: a blob is not the only argument.
    """
    called = object_id or proxy._pyroObjectId
    own = codec = None
    try:
        codec = proxy._pyro_codec(session)
        try:
            if is_held:
                payload = codec.dumps_call(called, member, args, kwargs)
            else:
                payload = encoded_unheld(codec.dumps_call, called, member, args, kwargs)
        except BlobError:
            from pyroipc.client.blobs import encode_blob, find_blob

            blob = find_blob(args, kwargs)
            if blob is None:
                raise
            codec, payload, own = encode_blob(codec, session, blob, called, member)
            flags |= BLOB
        request_id = session.next_id()
        data = encode_request(proxy, session, codec, request_id, payload, flags, own)
        session.check_size(data)
    except CommunicationError as error:
        error.call_status = "not sent"
        if codec is not None:
            session.references.take_back(codec.dumps_call, called, member, args, kwargs)
        raise
    return codec, request_id, data


def encode_request(
    proxy: Proxy[Any],
    session: Session,
    codec: CallCodec,
    request_id: int,
    payload: bytes | Parts,
    flags: int = 0,
    own: Mapping[str, Buffer] | None = None,
) -> Encoded:
    """Encode a request with what the context of this thread and the proxy add to it.

    Inside a call that a daemon runs, only the correlation id goes on to nested calls: the
    annotations of the request were meant for this end. A call back to the peer whose request is
    running says so.

    Args:
        proxy: what is called.
        session: its connection.
        codec: that of the call.
        request_id: that of the call.
        payload: what the codec made.
        flags: of the message.
        own: annotations of this library's.

    Raises:
        ProtocolError: an annotation has an id that cannot be.
    """
    annotations: Mapping[str, Buffer] = proxy._pyroAnnotations()
    correlation_id = None
    context = context_in_use()
    if context is not None:
        correlation_id = context.correlation_bytes
        message = context.message
        if message is None:
            annotations = {**annotations, **context.annotations}
        elif context.client.session is session:
            if not flags & ONEWAY:
                flags |= NESTED
                payload += message.request_id.to_bytes(4, "big")
        elif correlation_id is None:
            # So that a call that comes back by way of others is known when it does.
            correlation_id = context.correlation_bytes = _new_chain()
    time_limit = proxy._pyroTimeout
    plain = not (annotations or flags or own or correlation_id) and time_limit is None
    if plain and len(payload) <= codec.plain_bytes and isinstance(payload, bytes):
        return pack_header(codec.request_prefix, request_id, len(payload)) + payload
    check_annotations(annotations)
    if own:
        annotations = {**annotations, **own}
    return codec.request(
        request_id,
        payload,
        flags=flags,
        annotations=annotations or None,
        correlation_id=correlation_id,
        time_limit=time_limit,
    )


def forget_annotations() -> None:
    """Show none any more, since a call begins; not inside a call, where they are its own."""
    context = context_in_use()
    if context is not None and context.message is None:
        context.response_annotations = {}


def waiting(session: Session, object_id: str, member: str) -> AbstractContextManager[None]:
    """Say, as a context manager, to whoever runs the current call that it waits for another one.

    Nobody need know about a call that runs in no call, or that goes back to the caller.
    """
    context = context_in_use()
    if context is None or context.message is None or context.client.session is session:
        return _not_waiting
    if context.correlation_bytes is None:
        return _not_waiting
    hello = session.peer_hello
    where = f" in process {hello.pid}" if hello is not None else ""
    noted: AbstractContextManager[None] = context.client.wait_elsewhere(
        context.correlation_bytes, f"{object_id}.{member}{where}"
    )
    return noted


class _NotWaiting:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


_not_waiting = _NotWaiting()


def _new_chain() -> bytes:
    """Return a new correlation id."""
    data = bytearray(urandom(16))
    data[6] = data[6] & 0x0F | 0x40  # a UUID of version 4
    data[8] = data[8] & 0x3F | 0x80
    return bytes(data)


# --- in ----------------------------------------------------------------------------------------


def fetch(session: Session) -> None:
    """Receive what is there, if nobody else does that.

    A goodbye that has come is noticed then, before something is sent that nobody would read.
    """
    if not session.is_served:
        try:
            session.receive_now()
        except PyroError as error:
            session.broken(error)


def read_result(proxy: Proxy[Any], session: Session, codec: CallCodec, message: Message) -> Any:
    """Return what an answer says, or raise it.

    Args:
        proxy: what was called.
        session: over which the answer came.
        codec: that of the call.
        message: the answer.

    Raises:
        ProtocolError: it is no answer to a request.
        MessageTooLargeError: there was no memory for a buffer.
        SerializeError: it cannot be decoded.
        Exception: what the remote method raised.
    """  # noqa: DOC501 - what a function returns
    check_landed(message)
    if (
        message.kind != RESPONSE
        or message.flags & ~_RESPONSE_FLAGS
        or (message.descriptors and message.parcel is None)
    ):
        raise ProtocolError(f"the answer is not one that this version understands: {message!r}")
    if message.annotations or running.get() is not None:
        take_annotations(proxy, message)
    if message.serializer_id != codec.serializer_id:
        if message.serializer_id == 0 and message.flags & ERROR:
            raise read_refusal(message.payload)
        raise ProtocolError(
            f"the answer is encoded with serializer {message.serializer_id}, "
            f"the request was with {codec.serializer_id}"
        )
    if message.flags & COMPRESSED:
        codec.unpack(message)
    if message.flags & ERROR:
        from pyroipc.protocol.remote_errors import load_error  # when first needed

        raise _noted(session, load_error(message.payload, codec.serializer))
    if message.flags & STREAM:
        return session.open_stream(proxy, codec, message)
    return codec.value_of(message)


def _noted(session: Session, error: Exception) -> Exception:
    # A frame that raised what it has in a variable would be kept, and its callers' arguments with
    # it, until the garbage collector comes. So here and wherever else errors are raised.
    session.note_failure(error)
    return error


def read_apart(proxy: Proxy[Any], session: Session, codec: CallCodec, message: Message) -> Any:
    """Return what an answer says, or raise it, on a thread that need not be the caller's.

    Its annotations are shown to the proxy, but not in the context of this thread.

    Raises:
        ProtocolError: it is no answer to a request.
        SerializeError: it cannot be decoded.
        Exception: what the remote method raised.
    """
    if (
        message.flags
        or message.kind != RESPONSE
        or message.serializer_id != codec.serializer_id
        or type(message) is not Message
    ):
        return Context().run(read_result, proxy, session, codec, message)
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

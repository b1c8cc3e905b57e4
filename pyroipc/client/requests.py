"""Requests and answers of a proxy: what goes with the arguments, and what comes with a result.

Between the methods of a proxy and its session. Nothing here sends, receives or waits.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from contextvars import Context
from os import urandom

from pyroipc.context import context_in_use
from pyroipc.errors import CommunicationError, ProtocolError
from pyroipc.protocol.blobs import BlobError
from pyroipc.protocol.calls import check_annotations, read_refusal
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    CORRELATION,
    DEADLINE,
    ERROR,
    NESTED,
    RESPONSE,
    STREAM,
    Message,
)
from pyroipc.wire.native import JOIN_BYTES, pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.wire.message import Buffer

__all__ = ["encode_call", "read_apart", "waiting"]

_RESPONSE_FLAGS = ERROR | CORRELATION | DEADLINE | STREAM | BATCH


def encode_call(
    proxy: Proxy[Any],
    session: Session,
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
) -> tuple[CallCodec, int, Encoded]:
    """Encode a call of a method with everything that the context and the proxy ask for.

    Args:
        proxy: that of the object.
        session: its connection; a conversation is going on.
        member: the name of the method.
        args: positional arguments.
        kwargs: keyword arguments.

    Returns:
        The codec of the answer, the id of the request, and the request.

    Raises:
        CommunicationError: it cannot be sent.
        BlobError: a blob is not the only argument.
    """
    codec = proxy._pyro_codec()
    called = proxy._pyroObjectId
    flags, own = 0, None
    try:
        try:
            payload = codec.dumps_call(called, member, args, kwargs or None)
        except BlobError:
            from pyroipc.client.blobs import encode_blob, find_blob

            blob = find_blob(args, kwargs)
            if blob is None:
                raise
            codec, payload, own = encode_blob(proxy, blob, called, member)
            flags = BLOB
        request_id = session.next_id()
        data = _with_context(proxy, codec, request_id, payload, flags, own)
        if not isinstance(data, bytes):  # what is small is joined
            session.check_size(data)
    except CommunicationError as error:
        error.call_status = "not sent"
        session.references.take_back(codec.dumps_call, called, member, args, kwargs or None)
        raise
    return codec, request_id, data


def _with_context(
    proxy: Proxy[Any],
    codec: CallCodec,
    request_id: int,
    payload: bytes,
    flags: int,
    own: Mapping[str, Buffer] | None,
) -> Encoded:
    """Encode a request, with what the context of this thread and the proxy add to it.

    Inside a call that a daemon runs, only the correlation id goes on to nested calls: the
    annotations of the request were meant for this end.

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
        elif context.client.session is proxy._pyro_session:
            flags |= NESTED
            payload += message.request_id.to_bytes(4, "big")
        elif correlation_id is None:
            # So that a call that comes back by way of others is known when it does.
            correlation_id = context.correlation_bytes = _new_chain()
    time_limit = proxy._pyroTimeout
    plain = not (annotations or flags or correlation_id) and time_limit is None
    if plain and len(payload) <= JOIN_BYTES:
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


def read_apart(proxy: Proxy[Any], codec: CallCodec, message: Message) -> Any:
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
        return Context().run(_read, proxy, codec, message)
    try:
        return codec.loads(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure


def _read(proxy: Proxy[Any], codec: CallCodec, message: Message) -> Any:
    if (
        message.kind != RESPONSE
        or message.flags & ~_RESPONSE_FLAGS
        or message.buffers
        or message.descriptors
    ):
        raise ProtocolError(f"the answer is not one that this version understands: {message!r}")
    if message.annotations:
        proxy._pyroResponseAnnotations(message.annotations, message.kind)
    if message.serializer_id != codec.serializer.id:
        if message.serializer_id == 0 and message.flags & ERROR:
            raise read_refusal(message.payload)
        raise ProtocolError(
            f"the answer is encoded with serializer {message.serializer_id}, "
            f"the request was with {codec.serializer.id}"
        )
    if message.flags & ERROR:
        from pyroipc.protocol.remote_errors import load_error  # when first needed

        raise load_error(message.payload, codec.serializer)
    if message.flags & STREAM:
        from pyroipc.client.streams import open_stream

        return open_stream(proxy, codec, message)
    try:
        return codec.loads(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure

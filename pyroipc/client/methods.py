"""The methods of a proxy: what happens between the call of a method and its result."""

from __future__ import annotations

from threading import Event

from pyroipc.client.calling import is_worth_a_retry, may_repeat, pauses
from pyroipc.client.conversation import ID_MASK
from pyroipc.client.requests import fetch, read_result
from pyroipc.context import running
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    MessageTooLargeError,
    ProtocolError,
    SerializeError,
)
from pyroipc.protocol.blobs import BlobError
from pyroipc.serializers.parts import Parts
from pyroipc.serializers.passengers import encoded_unheld
from pyroipc.wire.message import NESTED, ONEWAY, RESPONSE, Message
from pyroipc.wire.native import pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from inspect import Signature
    from typing import Any, TypeAlias

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec, Encoded

    Road: TypeAlias = tuple[str, CallCodec, Session, Iterator[int], Callable[..., Message]]


class RemoteMethod:
    """A method of a remote object, bound to its proxy; call it like a local one.

    It has the signature and the docstring of the remote method; they are fetched when somebody
    asks (``help``, ``inspect.signature``).
    """

    __slots__ = ("__name__", "__self__", "_road")

    def __init__(self, proxy: Proxy[Any], name: str, codec: CallCodec, session: Session) -> None:
        self.__self__ = proxy
        self.__name__ = name
        self._take_road(codec, session)

    def _take_road(self, codec: CallCodec, session: Session) -> None:
        # One attribute, so that a thread that calls meanwhile sees all of it or nothing.
        self._road: Road = (
            self.__self__._pyroObjectId,
            codec,
            session,
            session.ids,
            session.exchange,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote method and wait for its result.

        Raises:
            SerializeError: an argument cannot be encoded.
            ConnectionClosedError: the connection was lost; for all others see
                :meth:`Proxy._pyroInvoke`.
        """
        object_id, codec, session, ids, exchange = self._road
        if running.get() is not None or not session.is_open:
            return self._call_in_context(args, kwargs)
        # Functions that are attributes of instances go through local variables on this path: the
        # interpreter (3.11) has a fast way to load an attribute, but not to call one of these.
        dumps_call, loads = codec.dumps_call, codec.loads
        try:
            payload = dumps_call(object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            if isinstance(error, BlobError):
                return self.__self__._pyroInvoke(self.__name__, args, kwargs)
            self._take_back(error, args, kwargs)
            raise
        n_bytes = len(payload)
        if n_bytes > codec.plain_bytes:
            return self._call_large(payload, args, kwargs)
        request_id = next(ids) & ID_MASK
        data = pack_header(codec.request_prefix, request_id, n_bytes) + payload
        try:
            message = exchange(request_id, data, None)
        except ConnectionClosedError as error:
            if may_repeat(self.__self__, error):  # else it may have been begun
                return self._call_anew(args, kwargs)
            raise
        if (
            message.flags
            or message.kind != RESPONSE
            or message.serializer_id != codec.serializer_id
            or type(message) is not Message
        ):
            return read_result(self.__self__, session, codec, message)
        try:
            return loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure

    def _call_in_context(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Call while a context is in use; a plain call back to the caller has a short way.
        context = running.get()
        object_id, codec, session, ids, exchange = self._road
        if not session.is_open:
            return self._call_anew(args, kwargs)
        if (
            type(context) is not tuple
            or context[1].session is not session
            or type(context[0]) is not Message
        ):
            return self.__self__._pyroInvoke(self.__name__, args, kwargs)
        try:
            payload = codec.dumps_call(object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            if isinstance(error, BlobError):
                return self.__self__._pyroInvoke(self.__name__, args, kwargs)
            self._take_back(error, args, kwargs)
            raise
        payload += context[0].request_id.to_bytes(4, "big")
        request_id = next(ids) & ID_MASK
        if len(payload) > codec.plain_bytes:
            data: Encoded = codec.request(request_id, payload, flags=NESTED)
            session.check_size(data)
        else:
            data = pack_header(codec.nested_prefix, request_id, len(payload)) + payload
        message = exchange(request_id, data, None)
        if (
            message.flags
            or message.kind != RESPONSE
            or message.serializer_id != codec.serializer_id
            or type(message) is not Message
        ):
            return read_result(self.__self__, session, codec, message)
        try:
            return codec.loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure

    def _call_large(
        self, payload: bytes | Parts, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # Send a call whose arguments are encoded already, and too large to be joined.
        _, codec, session, ids, exchange = self._road
        berth = None
        request_id = next(ids) & ID_MASK
        data: Encoded
        try:
            if isinstance(payload, Parts):
                take = session.courier.staging.take
                for berth in map(take, (payload,), (codec.sendable_bytes,)):  # noqa: B007
                    break
            if berth is None:
                data = codec.request(request_id, payload)
                session.check_size(data)
            else:
                data = pack_header(codec.staged_prefix, request_id, len(berth.payload))
                data += berth.payload
            message = exchange(request_id, data, None)
            if berth is not None:
                berth.leave()
        except MessageTooLargeError as error:
            self._take_back(error, args, kwargs)
            raise
        except ConnectionClosedError as error:
            if may_repeat(self.__self__, error):
                return self._call_anew(args, kwargs)
            raise
        except BaseException:
            if berth is not None:
                berth.abandon()
            raise
        return read_result(self.__self__, session, codec, message)

    def _call_anew(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Call when the conversation has ended: it begins again, perhaps over a new connection.
        proxy = self.__self__
        value = proxy._pyroInvoke(self.__name__, args, kwargs)
        session = proxy._pyroConnection
        if session is not None and session is not self._road[2]:
            self._take_road(proxy._pyro_codec(session), session)
        return value

    def _take_back(
        self, error: ProtocolError, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Take note that a call was not sent, and none of the references in its arguments."""
        error.call_status = "not sent"
        object_id, codec, session, _, _ = self._road
        session.references.take_back(
            codec.dumps_call, object_id, self.__name__, args, kwargs or None
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
        if self.__self__._pyroMaxRetries:
            from pyroipc.client.repeats import submit_repeatedly

            return submit_repeatedly(self.__self__, self.__name__, args, kwargs)
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
        return f"<remote method {self.__self__._pyroObjectId}.{self.__name__}>"


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
        object_id, codec, session, ids, _ = self._road
        if self.__self__._pyro_line is not None:
            fetch(session)  # a daemon may have said goodbye while nobody listened
        if not session.is_open:
            self._call_anew(args, kwargs)
            return
        if running.get() is not None:
            self.__self__._pyroInvoke(self.__name__, args, kwargs)
            return
        try:
            call = object_id, self.__name__, args, kwargs or None
            payload = encoded_unheld(codec.dumps_call, *call)
        except SerializeError as error:
            if isinstance(error, BlobError):
                self.__self__._pyroInvoke(self.__name__, args, kwargs)
                return
            self._take_back(error, args, kwargs)
            raise
        n_bytes = len(payload)
        request_id = next(ids) & ID_MASK
        if n_bytes > codec.plain_bytes:
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
        """Call the remote method; see :class:`Proxy` for the errors.

        Raises:
            CommunicationError: as often as ``_pyroMaxRetries`` says, and once more.
        """
        proxy = self.__self__
        for pause in pauses(proxy):
            try:
                return proxy._pyroInvoke(self.__name__, args, kwargs)
            except CommunicationError as error:
                if not is_worth_a_retry(error):
                    raise
            Event().wait(pause)
        return proxy._pyroInvoke(self.__name__, args, kwargs)

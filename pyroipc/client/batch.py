"""Batches: many calls of one object in one request."""

from __future__ import annotations

from time import monotonic

from pyroipc.client.calling import may_repeat, open_session
from pyroipc.client.requests import (
    encode_request,
    fetch,
    forget_annotations,
    take_annotations,
    waiting,
)
from pyroipc.errors import CommunicationError, ConnectionClosedError, PyroError, SerializeError
from pyroipc.protocol.calls import (
    BATCH_MEMBER,
    GET_ATTRIBUTE,
    SET_ATTRIBUTE,
    read_refusal,
)
from pyroipc.serializers.passengers import encoded_unheld
from pyroipc.wire.message import BATCH, COMPRESSED, ERROR, ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self, TypeAlias

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec, Places
    from pyroipc.wire.message import Message

    Call: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any] | None]

__all__ = ["BatchProxy", "BatchResults", "batch", "encode_batch", "invoke_batch", "read_batch"]


class BatchResults:
    """The results of a batch, in the order of the calls: an iterator, with a length.

    Where a call failed, ``next`` raises what it raised; the results after it can still be fetched
    with another ``next``. After a method has raised, the calls that follow it were not made, and
    have no results. (A member that does not exist, or a result that cannot be sent, spoils only
    its own place.)
    """

    __slots__ = ("_codec", "_encoded", "_failures", "_rest", "_results")

    def __init__(
        self,
        codec: CallCodec,
        results: list[Any],
        failures: Places,
        encoded: Places,
    ) -> None:
        self._codec = codec
        self._results = results
        self._failures = failures
        self._encoded = encoded
        self._rest: Iterator[Any]
        if failures or encoded:
            self._rest = iter(range(len(results)))
        else:
            self._rest = iter(results)

    def __iter__(self) -> Iterator[Any]:
        if self._failures or self._encoded:
            return self
        return self._rest  # goes on where this does, at the speed of a list

    def __next__(self) -> Any:
        if not (self._failures or self._encoded):
            return next(self._rest)
        place = next(self._rest)
        failure = self._failures.get(place)
        if isinstance(failure, BaseException):
            raise failure
        if failure is not None:
            from pyroipc.protocol.remote_errors import load_error  # when first needed

            raise load_error(failure, self._codec.serializer)
        encoded = self._encoded.get(place)
        if encoded is None:
            return self._results[place]
        assert not isinstance(encoded, BaseException)
        try:
            return self._codec.loads(encoded)
        except Exception as failed:
            raise self._codec.load_failed(failed) from failed

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"<results of {len(self)} calls, {len(self._failures)} of them failed>"


class BatchProxy:
    """Collects calls of a remote object, and makes them all with one request.

    Calling a method only notes the call; so does reading or setting a remote attribute. Calling
    the batch itself sends what was collected. It can be used again afterwards.

    Args:
        proxy: the proxy of the object.

    Not for use by several threads at once.
    """

    __slots__ = ("__dict__",)

    def __init__(self, proxy: Proxy[Any]) -> None:
        self.__dict__.update(_pyro_proxy=proxy, _pyro_calls=[])

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_pyro", "__")):
            raise AttributeError(name)
        proxy, calls = self._pyro_proxy, self._pyro_calls
        proxy._pyroBind()  # to know which names are attributes
        if name in proxy._pyroAttrs:
            calls.append((GET_ATTRIBUTE, (name,), None))
            return None
        method = self.__dict__[name] = _collector(calls.append, name)
        return method

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(("_pyro", "__")):
            raise AttributeError(f"{name} is a setting of the proxy, and not of a batch")
        self._pyro_calls.append((SET_ATTRIBUTE, (name, value), None))

    def __call__(
        self,
        oneway: bool = False,  # noqa: FBT001, FBT002 - as in Pyro
        asynchronous: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Make the calls that were collected.

        Args:
            oneway: do not wait for results, and have none.
            asynchronous: return a ``FutureResult`` for the results at once.

        Returns:
            The results, in order, as :class:`BatchResults`; None with ``oneway``.

        Raises:
            CommunicationError: as for a call.
            DaemonError: unknown object.
            PyroError: both arguments are true, which makes no sense.
        """
        if oneway and asynchronous:
            raise PyroError("async oneway calls make no sense")
        if asynchronous:
            from pyroipc.client.futures import submit_batch

            return submit_batch(self)
        calls = self._pyro_take()
        try:
            return self._pyro_proxy._pyroInvokeBatch(calls, oneway)
        except CommunicationError as error:
            if error.call_status == "not sent":
                self._pyro_calls[:0] = calls
            raise

    def _pyro_take(self) -> list[Call]:
        calls = list(self._pyro_calls)
        self._pyro_calls.clear()
        return calls

    def __copy__(self) -> BatchProxy:
        twin = BatchProxy(self._pyro_proxy)
        twin._pyro_calls.extend(self._pyro_calls)
        return twin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Do nothing: a batch is sent by calling it."""

    def __len__(self) -> int:
        return len(self._pyro_calls)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<batch of {len(self)} calls for {self._pyro_proxy!r}>"


def _collector(append: Callable[[Call], None], name: str) -> Callable[..., None]:
    def collect(*args: Any, **kwargs: Any) -> None:
        append((name, args, kwargs or None))

    collect.__name__ = name
    return collect


def batch(proxy: Proxy[Any]) -> BatchProxy:
    """Return an object that collects calls, to be made together; as ``BatchProxy(proxy)``."""
    return BatchProxy(proxy)


def encode_batch(
    proxy: Proxy[Any], session: Session, calls: list[Call], flags: int, request_id: int
) -> tuple[CallCodec, Any]:
    """Encode the request of a batch; return its codec, too.

    Raises:
        CommunicationError: it cannot be sent.
    """
    codec = proxy._pyro_codec(session)
    sent = codec.batch_calls(calls)
    call = proxy._pyroObjectId, BATCH_MEMBER, sent, None
    try:
        payload = encoded_unheld(codec.dumps_call, *call)
        data = encode_request(proxy, session, codec, request_id, payload, BATCH | flags)
        session.check_size(data)
    except CommunicationError as error:
        error.call_status = "not sent"
        session.references.take_back(codec.dumps_call, *call)
        raise
    return codec, data


def read_batch(
    proxy: Proxy[Any], session: Session, codec: CallCodec, message: Message
) -> BatchResults:
    """Return the results that an answer holds.

    Raises:
        SerializeError: it cannot be decoded.
        Exception: what went wrong with the batch as a whole.
    """
    take_annotations(proxy, message)
    if message.flags & COMPRESSED:
        codec.unpack(message)
    if message.flags & ERROR:
        error: Exception
        if message.serializer_id == 0:
            error = read_refusal(message.payload)
        else:
            from pyroipc.protocol.remote_errors import load_error  # when first needed

            error = load_error(message.payload, codec.serializer)
        session.note_failure(error)
        raise error
    value = codec.value_of(message)
    if not message.flags & BATCH:
        raise SerializeError("the answer to a batch does not hold its results")
    return BatchResults(codec, *codec.batch_results(value))


def invoke_batch(proxy: Proxy[Any], calls: list[Call], *, oneway: bool) -> BatchResults | None:
    """Make the calls of a batch; see ``Proxy._pyroInvokeBatch``.

    Raises:
        CommunicationError: the conversation failed, or the calls could not be sent.
        ConnectionClosedError: the connection ended.
    """
    timeout = proxy._pyroTimeout
    deadline = None if timeout is None else monotonic() + timeout
    try:
        return _invoke_batch(proxy, calls, deadline, oneway=oneway)
    except ConnectionClosedError as error:
        if not may_repeat(proxy, error):
            raise
    return _invoke_batch(proxy, calls, deadline, oneway=oneway)


def _invoke_batch(
    proxy: Proxy[Any], calls: list[Call], deadline: float | None, *, oneway: bool
) -> BatchResults | None:
    session = open_session(proxy, deadline)
    if oneway and proxy._pyro_line is not None:
        fetch(session)  # a daemon may have said goodbye while nobody listened
        session = open_session(proxy, deadline)
    forget_annotations()
    request_id = session.next_id()
    codec, data = encode_batch(proxy, session, calls, ONEWAY if oneway else 0, request_id)
    if oneway:
        session.post(data, deadline)
        return None
    with waiting(session, proxy._pyroObjectId, BATCH_MEMBER):
        message = session.exchange(request_id, data, deadline)
    return read_batch(proxy, session, codec, message)

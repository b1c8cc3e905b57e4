"""Batches of clients that are Pyro: a list of calls in, a list of results out.

A method that raises ends the batch, and the last result is its exception. A member that does not
exist does the same here, so that the client learns what was done before; in Pyro it spoils the
whole batch.
"""

from __future__ import annotations

from pyroipc.errors import ProtocolError, SerializeError
from pyroipc.protocol.calls import BATCH_MEMBER
from pyroipc.protocol.tracebacks import lines_to_send
from pyroipc.serializers.wrapped import ExceptionWrapper
from pyroipc.server.batches import NO_ITERATORS
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.batches import Report
    from pyroipc.server.dispatcher import Dispatcher
    from pyroipc.wire.message import Message

__all__ = ["run_batch"]


def run_batch(
    dispatcher: Dispatcher, codec: CallCodec, message: Message, report: Report, *, detailed: bool
) -> bytes:
    """Run the calls of a batch; return the payload of the answer, b"" if none is wanted.

    Raises:
        ProtocolError: the payload is not a batch.
        DaemonError: unknown object.
        SerializeError: the payload cannot be decoded, or a result cannot be encoded.
    """
    try:
        object_id, member, calls, _ = codec.loads_call(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure
    message.payload = b""
    if member != BATCH_MEMBER or type(calls) not in (list, tuple):
        raise ProtocolError("the payload of a batch is not a batch of calls")
    find = dispatcher.finder(object_id)
    results: list[Any] = []
    for call in calls:
        name, args, kwargs = _checked(call)
        try:
            results.append(_result(find(name), name, args, kwargs))
        except BaseException as error:  # noqa: BLE001 - what a method raises is a result
            report(error, (object_id, name, args, kwargs))
            lines = lines_to_send(error, detailed=detailed)
            results.append(ExceptionWrapper(error, lines))
            break
    return b"" if message.flags & ONEWAY else codec.dumps(results)


def _result(method: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
    value = method(*args, **kwargs) if kwargs else method(*args)
    if type(value) not in NO_ITERATORS and hasattr(type(value), "__next__"):
        close = getattr(value, "close", None)
        if callable(close):
            close()
        raise SerializeError(f"{name} returns an iterator, and a batch cannot carry one")
    return value


def _checked(call: Any) -> tuple[str, Any, dict[str, Any]]:
    """Return one call of a batch.

    Raises:
        ProtocolError: it is none.
    """
    match call:
        case [str(name), [*args], dict(kwargs)]:
            return name, args, kwargs
        case [str(name), [*args], None]:
            return name, args, {}
    raise ProtocolError("the payload of a batch is not a batch of calls")

"""Batches at the hosting end: many calls in one request, their results in one answer.

The payload of the answer is a list of two: the results of the calls that were run, in order, and
what failed: lists of a place and the bytes of an encoded exception. A method that raises ends the
batch, as in Pyro: calls that follow may count on it. A member that does not exist, or a result that
cannot be sent, spoils only its own place.
"""

from __future__ import annotations

from pyroipc.errors import ProtocolError, SerializeError
from pyroipc.protocol.calls import BATCH_MEMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.dispatcher import Dispatcher
    from pyroipc.wire.message import Message


# Results of these types are surely no iterators; for others their class is looked at.
NO_ITERATORS = frozenset({
    type(None), bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset,
})  # fmt: skip


def run_batch(
    dispatcher: Dispatcher, codec: CallCodec, message: Message, *, detailed: bool
) -> bytes:
    """Run the calls of a batch; return the payload of the answer.

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
    append = results.append
    failures: dict[int, bytes] = {}
    methods: dict[str, Callable[..., Any]] = {}
    for call in calls:
        name, args, kwargs = call
        method = methods.get(name)
        if method is None:
            try:
                method = methods[name] = find(name)
            except AttributeError as error:
                failures[len(results)] = _encoded(codec, error, detailed=detailed)
                append(None)
                continue
        try:
            value = method(*args, **kwargs) if kwargs else method(*args)
            if type(value) not in NO_ITERATORS and hasattr(type(value), "__next__"):
                raise TypeError(f"{name} returns an iterator, and a batch cannot carry one")
            append(value)
        except BaseException as error:  # noqa: BLE001 - what a method raises is a result
            failures[len(results)] = _encoded(codec, error, detailed=detailed)
            append(None)
            break
    try:
        return codec.dumps([results, [[*failure] for failure in failures.items()]])
    except SerializeError:
        codec.take_back(codec.dumps, [results, []])
        _leave_out(codec, results, failures, detailed=detailed)
        return codec.dumps([results, [[*failure] for failure in failures.items()]])


def _leave_out(
    codec: CallCodec, results: list[Any], failures: dict[int, bytes], *, detailed: bool
) -> None:
    """Replace the results that cannot be sent by errors that say why."""
    for place, value in enumerate(results):
        try:
            codec.dumps(value)
            codec.take_back(codec.dumps, value)  # it was only a try
        except SerializeError as error:
            codec.take_back(codec.dumps, value)
            results[place] = None
            failures[place] = _encoded(codec, error, detailed=detailed)


def _encoded(codec: CallCodec, error: BaseException, *, detailed: bool) -> bytes:
    from pyroipc.protocol.remote_errors import dump_error  # when first needed

    try:
        return dump_error(error, codec.serializer, detailed=detailed)
    finally:
        drop_frames(error)


def drop_frames(error: BaseException) -> None:
    """Let go of the frames that an exception and its causes hold, and of what is in them.

    There are circles among them, so that it all lived until the collector runs.
    """
    known: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if known is None:
            return
        known.__traceback__ = None
        known = known.__cause__ or known.__context__


_CAUSES_MAX = 100

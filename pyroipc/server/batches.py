"""Batches at the hosting end: many calls in one request, their results in one answer.

The payload of the answer is a list of three. First the results of the calls that were run, in
order, as far as they cannot change: numbers, texts, bytes. Any other result is encoded as soon as
the method has returned it, because the calls that follow may change it; the third list has places
and what was encoded. The second has places and encoded exceptions.

A method that raises ends the batch, as in Pyro: calls that follow may count on it. A member that
does not exist, or a result that cannot be sent, spoils only its own place.
"""

from __future__ import annotations

from pyroipc.errors import ProtocolError, SerializeError
from pyroipc.protocol.calls import BATCH_MEMBER, GET_ATTRIBUTE, SET_ATTRIBUTE
from pyroipc.serializers.passengers import knows
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from pyroipc.client.references import References
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.dispatcher import Dispatcher
    from pyroipc.server.registry import Entry
    from pyroipc.wire.message import Message

    Report: TypeAlias = Callable[[BaseException, tuple[Any, ...]], None]


# Results of these types are surely no iterators; for others their class is looked at.
NO_ITERATORS = frozenset({
    type(None), bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set,
    frozenset,
})  # fmt: skip


def is_iterator(value: object, references: References | None = None) -> bool:
    """Say whether a result is to be streamed.

    An open file travels itself, where the peer can be given it; elsewhere its lines are streamed.

    Args:
        value: a result.
        references: of the connection; None: it is one of many results.
    """
    if not hasattr(type(value), "__next__"):
        return False
    travels = knows(type(value)) and (references is None or references.why_not_carried() is None)
    return not travels


_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of results that no call can change any more."""
_ATTRIBUTE_CALLS = frozenset({GET_ATTRIBUTE, SET_ATTRIBUTE})


class _Answer:
    """What becomes of the calls of a batch.

    Args:
        codec: encodes it.
        detailed: whether tracebacks show the values of local variables.
        report: told of each exception, and how the method was called.
    """

    def __init__(self, codec: CallCodec, report: Report, *, detailed: bool) -> None:
        self._codec = codec
        self._detailed = detailed
        self._report = report
        self.results: list[Any] = []
        self._failures: list[list[Any]] = []
        self._encoded: list[list[Any]] = []

    def add_changeable(self, value: Any, call: tuple[Any, ...]) -> None:
        """Add a result that might still change, or why it cannot be sent."""
        codec = self._codec
        if type(value) not in NO_ITERATORS and is_iterator(value):
            close = getattr(value, "close", None)
            if callable(close):
                close()
            text = f"{call[1]} returns an iterator, and a batch cannot carry one"
            self.add_failure(SerializeError(text), call)
            return
        try:
            payload = codec.serializer.dumps(value)
        except SerializeError as error:
            codec.take_back(codec.serializer.dumps, value)
            self.add_failure(error, call)
            return
        self._encoded.append([len(self.results), payload])
        self.results.append(None)

    def add_failure(self, error: BaseException, call: tuple[Any, ...]) -> None:
        """Add what a call has raised instead of a result."""
        self._report(error, call)
        payload = _encoded(self._codec, error, detailed=self._detailed)
        self._failures.append([len(self.results), payload])
        self.results.append(None)

    def encode(self) -> Any:
        """Return the payload.

        Raises:
            SerializeError: something in it cannot be encoded after all.
        """
        codec = self._codec
        try:
            return codec.dumps([self.results, self._failures, self._encoded])
        except SerializeError:
            pass
        for place, value in enumerate(self.results):
            try:
                codec.dumps(value)
            except SerializeError as error:
                self.results[place] = None
                payload = _encoded(codec, error, detailed=self._detailed)
                self._failures.append([place, payload])
        return codec.dumps([self.results, self._failures, self._encoded])


def run_batch(
    dispatcher: Dispatcher, codec: CallCodec, message: Message, report: Report, *, detailed: bool
) -> Any:
    """Run the calls of a batch; return the payload of the answer, b"" if none is wanted.

    Raises:
        ProtocolError: the payload is not a batch.
        DaemonError: unknown object.
        SerializeError: the payload cannot be decoded, or a result cannot be encoded.
    """
    try:
        is_plain = not message.buffers and message.parcel is None
        loads_call = codec.loads_call if is_plain else codec.call_reader(message)
        object_id, member, calls, _ = loads_call(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure
    message.payload = b""
    if member != BATCH_MEMBER or type(calls) not in (list, tuple):
        raise ProtocolError("the payload of a batch is not a batch of calls")
    find = dispatcher.finder(object_id)
    answer = _Answer(codec, report, detailed=detailed)
    append = answer.results.append
    methods: dict[str, Callable[..., Any]] = {}
    wanted = not message.flags & ONEWAY
    for call in calls:
        name, args, kwargs = call
        method = methods.get(name)
        if method is None:
            try:
                method = find(name)
                _check_attribute(dispatcher.entry(object_id), name, args)
            except AttributeError as error:
                answer.add_failure(error, (object_id, name, args, kwargs))
                continue
            if name not in _ATTRIBUTE_CALLS:
                methods[name] = method
        try:
            value = method(*args, **kwargs) if kwargs else method(*args)
        except BaseException as error:  # noqa: BLE001 - what a method raises is a result
            answer.add_failure(error, (object_id, name, args, kwargs))
            break
        if type(value) in _FIXED:
            append(value)
        elif wanted:
            answer.add_changeable(value, (object_id, name, args, kwargs))
    return answer.encode() if wanted else b""


def _check_attribute(entry: Entry, call: str, args: Sequence[Any]) -> None:
    """If this call reads or writes an attribute, look whether it may, without doing it.

    Raises:
        AttributeError: it may not.
    """
    if call not in _ATTRIBUTE_CALLS:
        return
    name = args[0] if args else None
    member = entry.members.get(name) if isinstance(name, str) else None
    if member is None or (member.getter is None and member.setter is None):
        raise entry.not_exposed(name)
    if call == GET_ATTRIBUTE and member.getter is None:
        raise entry.not_exposed(name)
    if call == SET_ATTRIBUTE and member.setter is None:
        raise AttributeError(f"attribute {name!r} is read-only for remote callers")


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
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _CAUSES_MAX:
        known = waiting.pop()
        if known is not None and id(known) not in seen:
            seen.add(id(known))
            known.__traceback__ = None
            waiting += [known.__context__, known.__cause__]


_CAUSES_MAX = 100

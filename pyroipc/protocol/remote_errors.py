"""Exceptions <-> the payload of an error response, and how a remote exception looks to a caller.

Four forms. Those for peers that are Pyro know by themselves what such a peer can rebuild
(``serializers/pyro.py``). The plain forms of the serializers that carry only data send Pyro's dict
(``serializers/exceptions.py``). Their typed forms send a description in plain data
(``serializers/typed_exceptions.py``), the pickle family one that holds pickles
(``pickled_errors.py``); of both, each part may fail to be encoded or decoded without losing the
others. In none does the class's own ``__init__`` run at the receiver: it belongs to the side that
raised.

The description of the typed forms travels as a list: ``FORMAT``, the description, the lines of the
traceback. A part of it is a list: one plain value, or the encoded value (None if that failed) and
its text, which stands in for what cannot be decoded.

What the caller gets is always an Exception, so that a remote SystemExit or KeyboardInterrupt ends
nobody's process::

    exc                     of the class that was raised, or of a RemoteError that is also the
                            nearest base class known here
    exc._pyroTraceback      the remote traceback: a list of lines
    exc.__cause__           a RemoteTraceback: its text is the remote traceback with all causes
                            and notes, so that it prints above the local one
        .remote_cause       what was the ``__cause__`` of the exception where it was raised
        .remote_context     its ``__context__`` there
    exc.__context__         one of those two, if there was one
"""

from __future__ import annotations

from pyroipc.errors import PyroError, SerializeError
from pyroipc.protocol.tracebacks import (
    RemoteTraceback,
    excepthook,
    format_traceback,
    get_pyro_traceback,
    lines_to_send,
    text_of,
)
from pyroipc.serializers.exceptions import (
    base_names,
    exception_to_dict,
    rebuild_exception,
    wire_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.base import Buffer, Serializer

__all__ = [
    "RemoteTraceback",
    "dress_error",
    "dump_error",
    "excepthook",
    "format_traceback",
    "get_pyro_traceback",
    "load_error",
]

_FAILURES = (Exception, SystemExit, GeneratorExit)
_PLAIN = frozenset({bytes, str, int, float, bool, type(None)})
FORMAT = "pyroipc error 2"
_MAX_TEXT = 2000
_MAX_ENCODED_PARTS = 100
"""Each is decoded by itself, with memory of its own; more than that arrive as texts."""


def dump_error(
    exception: BaseException, serializer: Serializer, *, detailed: bool = False
) -> bytes:
    """Encode an exception that a method raised; the exception is neither changed nor kept.

    Parts that cannot be encoded (an argument, an attribute, the class) arrive as their repr.

    Args:
        exception: what was raised, with its traceback.
        serializer: the one of the call.
        detailed: put the values of local variables into the traceback. They may contain secrets.

    Raises:
        SerializeError: not even a description of plain texts can be encoded.
    """
    lines = lines_to_send(exception, detailed=detailed)
    dumps_error = getattr(serializer, "dumps_error", None)
    if dumps_error is not None:
        payload: bytes = dumps_error(exception, lines)
        return payload
    if getattr(serializer, "carries_classes", False):
        from pyroipc.protocol.pickled_errors import dump_pickled

        return dump_pickled(exception, serializer, lines)
    if serializer.is_typed:
        return _dump_described(exception, serializer, lines)
    try:
        described = exception_to_dict(exception)
        if not _is_plain(described["args"]) or not _is_plain(described["attributes"]):

            def probe(value: object) -> object:
                return _is_plain(value) or serializer.loads(serializer.dumps(value))

            described = exception_to_dict(exception, probe)
        described["attributes"]["_pyroTraceback"] = lines
        return serializer.dumps(described)
    except _FAILURES:
        return serializer.dumps(_text_only(exception, lines))


def _dump_described(exception: BaseException, serializer: Serializer, lines: list[str]) -> bytes:
    from pyroipc.serializers.typed_exceptions import describe_exception

    encoded = 0

    def part(value: object) -> list[object]:
        nonlocal encoded
        if type(value) in _PLAIN:
            return [value]
        data = None
        if encoded < _MAX_ENCODED_PARTS:
            try:
                data = serializer.dumps(value)
                encoded += 1
            except _FAILURES:
                pass
        return [data, text_of(value, as_repr=True)[:_MAX_TEXT]]

    try:
        return serializer.dumps([FORMAT, describe_exception(exception, part), lines])
    except _FAILURES:
        cls = type(exception)
        told = {
            "class": wire_name(cls),
            "bases": base_names(cls),
            "args": [[text_of(exception)]],
        }
        return serializer.dumps([FORMAT, told, lines])


def _load_described(
    payload: object, serializer: Serializer
) -> tuple[Exception, object, BaseException | None, BaseException | None]:
    from pyroipc.serializers.typed_exceptions import rebuild_described, relatives_of

    if not (isinstance(payload, list) and len(payload) == 3 and payload[0] == FORMAT):
        raise SerializeError(_unexpected(payload))
    _, described, lines = payload
    value_of = _part_reader(serializer)
    try:
        # Its own cause and context hang on the RemoteTraceback, see _dressed.
        alone = {key: value for key, value in described.items() if key not in {"cause", "context"}}
        exception = rebuild_described(alone, value_of)
        cause, context = relatives_of(described, value_of)
    except _FAILURES as failure:
        raise SerializeError(
            f"the description of a remote exception cannot be read: {failure!r:.500}"
        ) from failure
    return exception, lines, cause, context


def _part_reader(serializer: Serializer) -> Callable[[Any], object]:
    decoded = 0

    def value_of(part: Any) -> object:
        nonlocal decoded
        if len(part) == 1:
            return part[0]
        data, text = part
        decoded += data is not None
        if data is None or decoded > _MAX_ENCODED_PARTS:
            return text
        try:
            return serializer.loads(data)
        except PyroError:
            return text

    return value_of


def _unexpected(value: object) -> str:
    return f"an exception was expected in an error response, a {type(value).__name__} came"


def _is_plain(value: object) -> bool:
    """Tell whether a value surely passes every serializer; nothing nested is looked at."""
    if type(value) is tuple:
        return all(type(item) in _PLAIN for item in value)
    if type(value) is dict:
        return all(type(item) in _PLAIN for item in value.values())
    return type(value) in _PLAIN


def _text_only(exception: BaseException, lines: list[str]) -> dict[str, Any]:
    cls = type(exception)
    return {
        "__class__": wire_name(cls),
        "__exception__": True,
        "args": (text_of(exception),),
        "attributes": {"_pyroTraceback": lines},
        "bases": [wire_name(base) for base in cls.__mro__[1:] if issubclass(base, Exception)],
    }


def load_error(data: Buffer, serializer: Serializer) -> Exception:
    """Decode what :func:`dump_error` made; to be raised by the caller of this function.

    Args:
        data: the payload; no view of it is kept.
        serializer: the one of the call.

    Returns:
        The exception as the top of this module describes it, without a traceback yet.

    Raises:
        SerializeError: the payload does not describe an exception.
        SecurityError: something in it may never be rebuilt.
    """
    loads_error = getattr(serializer, "loads_error", None)
    if loads_error is not None:
        return dress_error(loads_error(data))
    if getattr(serializer, "carries_classes", False):
        from pyroipc.protocol.pickled_errors import load_pickled

        exception, lines, cause, context = load_pickled(serializer.loads(data), serializer)
    elif serializer.is_typed:
        payload = serializer.loads(data)
        exception, lines, cause, context = _load_described(payload, serializer)
    else:
        return dress_error(serializer.loads(data))
    return _dressed(exception, lines, cause, context)


def dress_error(value: object) -> Exception:
    """Make what a Pyro peer sent as an exception one that is to be raised to a caller.

    Args:
        value: the decoded exception, or its dict; also the one in an ``ExceptionWrapper``.

    Returns:
        The exception as the top of this module describes it. What was to end a process, such as
        SystemExit, arrives as a RemoteError.

    Raises:
        SerializeError: it is no exception.
    """
    if isinstance(value, BaseException) and not isinstance(value, Exception):
        value = {
            "__class__": wire_name(type(value)),
            "args": value.args,
            "attributes": dict(vars(value)),
        }
    if isinstance(value, dict):
        value = rebuild_exception(value)
    if not isinstance(value, Exception):
        raise SerializeError(_unexpected(value))
    return _dressed(value, vars(value).get("_pyroTraceback"), None, None)


def _dressed(
    exception: Exception,
    lines: object,
    cause: BaseException | None,
    context: BaseException | None,
) -> Exception:
    """Give an exception its remote traceback, as text and as its cause."""
    texts = (
        [line for line in lines if type(line) is str] if isinstance(lines, list | tuple) else []
    )
    told = RemoteTraceback("".join(texts))
    told.remote_cause = cause
    told.remote_context = context
    # The slots of BaseException itself: a class may have a __setattr__ of its own.
    BaseException.__dict__["__dict__"].__get__(exception)["_pyroTraceback"] = texts
    BaseException.__dict__["__context__"].__set__(exception, cause or context)
    BaseException.__dict__["__cause__"].__set__(exception, told if texts else None)
    return exception

"""Why a value cannot be pickled, and which part of it is at fault; why bytes cannot be loaded.

Imported when something has failed: a process for which all goes well does without.
"""

from __future__ import annotations

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.base import CallParts
from pyroipc.serializers.pickle_references import FAILURES, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from pyroipc.serializers.base import Serializer

__all__ = ["cannot_dump", "cannot_load"]

_MAX_ATTEMPTS = 200  # picklings in search of the part that cannot be sent
_MAX_STEPS = 8  # steps of the path to it


def cannot_dump(
    serializer: Serializer,
    value: object,
    failure: BaseException,
    dumps: Callable[[object], bytes],
) -> NoReturn:
    """Say why a value cannot be pickled, and which part of it is at fault.

    Raises:
        SerializeError: always.
    """
    if isinstance(failure, SerializeError):
        raise failure
    # cloudpickle has an error of its own for what is nested too deeply, from a RecursionError.
    too_deep = isinstance(failure, RecursionError) or isinstance(failure.__cause__, RecursionError)
    path, culprit = "", value
    if not isinstance(failure, MemoryError):
        path, culprit = _culprit_of(value, dumps, 1 if too_deep else _MAX_STEPS)
    if too_deep:
        reason, advice = "it is nested too deeply", "send a flatter structure"
    else:
        reason = f"{type(failure).__name__}: {_text_of(failure)}"
        advice = (
            "send plain data, give the class __reduce__ or __getstate__, or keep the object "
            "where it is and call its methods there"
        )
    what = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
    raise SerializeError(
        f"cannot send an object of type {what}{path and f' (at {path})'} with "
        f"{serializer.name}: {reason}; {advice}"
    ) from failure


def _culprit_of(
    value: object, dumps: Callable[[object], bytes], max_steps: int
) -> tuple[str, object]:
    """Follow the first part that cannot be pickled, as far down as parts have names."""
    path = ""
    attempts = 0
    for _ in range(max_steps):
        for step, part in _parts_of(value):
            attempts += 1
            if attempts > _MAX_ATTEMPTS:
                return path, value
            try:
                dumps(part)
            except FAILURES:
                path += step
                value = part
                break
        else:
            break
    return path, value


def _parts_of(value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, CallParts):
        args = [(f"argument {index}", part) for index, part in enumerate(value[2])]
        kwargs = [(f"argument {name!r}", part) for name, part in (value[3] or {}).items()]
        return args + kwargs
    if isinstance(value, list | tuple):
        return [(f"[{index}]", part) for index, part in enumerate(value[:_MAX_ATTEMPTS])]
    if isinstance(value, dict):
        return [
            (f"[{key!r}]" if type(key) in PLAIN else "[...]", part) for key, part in value.items()
        ]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        return [(f".{key}", part) for key, part in attributes.items()]
    return ()


def cannot_load(name: str, failure: BaseException) -> NoReturn:
    """Say why bytes cannot be loaded.

    Raises:
        SerializeError: always, unless it was a SecurityError.
        SecurityError: it was one.
    """
    if isinstance(failure, SecurityError | SerializeError):
        raise failure
    reason = f"{type(failure).__name__}: {_text_of(failure)}"
    if isinstance(failure, AttributeError | ImportError):
        advice = (
            "; a class or function that the sender has does not exist in this process: define it "
            "in a module that both can import, and start both from the same version of it"
        )
    elif isinstance(failure, RecursionError):
        advice = "; the value is nested too deeply, send a flatter structure"
    else:
        advice = ""
    raise SerializeError(f"cannot load what came as {name}: {reason}{advice}") from failure


def _text_of(failure: BaseException) -> str:
    try:
        return str(failure)
    except FAILURES:
        return "(its text cannot be had)"

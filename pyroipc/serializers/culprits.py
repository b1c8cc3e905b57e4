"""Which part of a value cannot be sent: the path to it, for the typed forms.

Looked for after encoding has failed, by describing part after part in the order in which they
would be written; so it costs nothing as long as all goes well.
"""

from __future__ import annotations

from pyroipc.errors import PyroError, SerializeError
from pyroipc.serializers.base import MAX_DEPTH, encoding_fault
from pyroipc.serializers.parts import Stow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, NoReturn, TypeAlias

    from pyroipc.serializers.typed import Values

    Describe: TypeAlias = Callable[[Any], tuple[str | None, Any]]
    Step: TypeAlias = tuple[str, Any]

__all__ = ["cannot_send", "cannot_send_call"]

_SCALARS = frozenset({str, int, float, bool, type(None), bytes, complex})
_SEQUENCES = frozenset({"tuple", "namedtuple", "deque"})
_MAPPINGS = frozenset({"dict", "OrderedDict", "Counter", "defaultdict"})
_MAX_KEY = 40


def cannot_send(name: str, values: Values, value: object, error: Exception) -> NoReturn:
    """Say why the format called *name* cannot encode *value*, and where in it the reason is.

    Raises:
        SerializeError: always; *error* itself if it is one of a special kind.
    """
    _raise(name, values, [("", value)], value, error)


def cannot_send_call(
    name: str,
    values: Values,
    args: Sequence[object],
    kwargs: dict[str, object] | None,
    error: Exception,
) -> NoReturn:
    """Say which argument of a call cannot be encoded, and where in it the reason is.

    Raises:
        SerializeError: always; *error* itself if it is one of a special kind.
    """
    steps = [(f"argument {index}", value) for index, value in enumerate(args)]
    steps += [(f"argument {key!r}", value) for key, value in (kwargs or {}).items()]
    _raise(name, values, steps, args, error)


def _raise(
    name: str, values: Values, steps: list[Step], whole: object, error: Exception
) -> NoReturn:
    try:
        if isinstance(error, PyroError) and type(error) is not SerializeError:
            raise error
        found = None
        if not isinstance(error, RecursionError):
            again = values.again(withdrawn=True)
            if values.is_stowing:  # what goes apart, or beside, is not at fault
                again = again.stowing(Stow())
            found = _locate(again.describe, steps)
        if found is None:
            if isinstance(error, SerializeError):
                raise error
            raise SerializeError(encoding_fault(name, whole, error)) from error
        path, culprit, reason = found
        what = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
        raise SerializeError(
            f"cannot send an object of type {what}{path and f' (at {path})'} with {name}: {reason}"
        ) from error
    finally:
        del error  # see client/requests._noted


def _locate(describe: Describe, steps: list[Step]) -> tuple[str, object, str] | None:
    """Find the first part that cannot be described, its path, and what is wrong with it."""
    seen: set[int] = set()
    kept: list[object] = []  # so that no id is used twice
    waiting = [(path, value, 0) for path, value in reversed(steps)]
    while waiting:
        path, value, level = waiting.pop()
        kind = type(value)
        if kind in _SCALARS or id(value) in seen:
            continue
        if level > MAX_DEPTH:
            return None
        seen.add(id(value))
        kept.append(value)
        try:
            tag, data = ("list", None) if kind is list else describe(value)
        except Exception as error:  # noqa: BLE001 - whatever a converter raises, it is why
            is_plain = isinstance(error, SerializeError)
            return path, value, str(error) if is_plain else f"{type(error).__name__}: {error}"
        parts = [
            (path + step, part, level + 1)
            for step, part in _steps(value, tag, data)
            if type(part) not in _SCALARS
        ]
        waiting += reversed(parts)
    return None


def _steps(value: Any, tag: str | None, data: Any) -> Iterator[Step]:
    """Yield the parts of a value that was described as *tag* and *data*."""
    if tag == "list" or tag in _SEQUENCES:
        return ((f"[{index}]", part) for index, part in enumerate(value))
    if tag in _MAPPINGS:
        return _steps_of_mapping(value)
    if tag == "set" or tag == "frozenset":
        return (("{...}", part) for part in value)
    if tag == "class" or tag == "dataclass":
        attributes = data if tag == "class" else data[1]
        return ((f".{key}", part) for key, part in attributes.items())
    if tag == "exception":
        return _steps_of_exception("", data)
    return iter([("", data)] if tag is None else [])


def _steps_of_mapping(mapping: Any) -> Iterator[Step]:
    for key, part in mapping.items():
        yield f" (key {_short(key)})", key
        yield f"[{_short(key)}]", part


def _steps_of_exception(path: str, described: Any) -> Iterator[Step]:
    for index, part in enumerate(described.get("args", ())):
        yield f"{path}.args[{index}]", part
    for key, part in {**described.get("state", {}), **described.get("slots", {})}.items():
        yield f"{path}.{key}", part
    for key in ("cause", "context"):
        if key in described:
            yield from _steps_of_exception(f"{path}.__{key}__", described[key])
    for index, member in enumerate(described.get("members", ())):
        yield from _steps_of_exception(f"{path}.exceptions[{index}]", member)


def _short(key: object) -> str:
    if type(key) not in _SCALARS:
        return "..."
    text = repr(key)
    return text if len(text) <= _MAX_KEY else text[:_MAX_KEY] + "..."

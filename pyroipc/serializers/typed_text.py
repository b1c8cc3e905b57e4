"""Values -> the text of serpent's typed form: literals, and ``(...,tag,data)`` for the rest.

No plain value looks like that, because ``...`` itself is written as ``(...,'...',None)``.  bytes
are literals here, an int of more than 600 digits goes as hexadecimal text under a tag, since
Python may refuse to read that many decimal ones.  ``literal`` reads it.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import MAX_DEPTH
from pyroipc.serializers.literal import parse
from pyroipc.serializers.parts import APART_BYTES
from pyroipc.serializers.typed import Values, decimal_ints_are_bounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Writer: TypeAlias = Callable[[Any, list[str], int, Values], None]

__all__ = ["head_of", "write"]

_MAX_BITS = 2000
_LARGE = 1 << _MAX_BITS
_INFINITY = float("inf")


def write(value: Any, out: list[str], level: int, values: Values) -> None:
    """Append the text of a value to *out*.

    Args:
        value: any value.
        out: pieces of text.
        level: how many containers the value is in.
        values: describes what has no literal.

    Raises:
        SerializeError: a part cannot be sent, or it is nested too deep.
    """
    writer = _WRITERS.get(type(value))
    if writer is not None:
        writer(value, out, level, values)
        return
    tag, data = values.describe(value)
    _write_described(tag, data, out, level, values)


def _write_described(
    tag: str | None, data: Any, out: list[str], level: int, values: Values
) -> None:
    _check_level(level)
    if tag is not None:
        out.append(f"(...,{tag!r},")
    write(data, out, level + 1, values)
    if tag is not None:
        out.append(")")


def _check_level(level: int) -> None:
    if level >= MAX_DEPTH:
        raise SerializeError(
            f"serpent cannot encode this: it is nested deeper than {MAX_DEPTH} levels, "
            "or contains itself"
        )


def _write_by_repr(value: Any, out: list[str], level: int, values: Values) -> None:
    out.append(repr(value))


def _write_bytes(value: bytes, out: list[str], level: int, values: Values) -> None:
    if len(value) >= APART_BYTES:
        apart = values.apart(value)
        if apart is not None:
            _write_described(*apart, out, level, values)
            return
    out.append(repr(value))


def _write_int(value: int, out: list[str], level: int, values: Values) -> None:
    if -_LARGE < value < _LARGE:
        out.append(repr(value))
    else:
        _write_described("int", f"{value:x}", out, level, values)


def _write_float(value: float, out: list[str], level: int, values: Values) -> None:
    if -_INFINITY < value < _INFINITY:
        out.append(repr(value))
    elif value != value:
        _write_described("float", "nan", out, level, values)
    else:
        out.append("1e30000" if value > 0 else "-1e30000")


def _write_complex(value: complex, out: list[str], level: int, values: Values) -> None:
    text = repr(value)
    if "n" in text:  # inf, nan
        _write_described("complex", [value.real, value.imag], out, level, values)
    else:
        out.append(text)


def _write_list(value: list[Any], out: list[str], level: int, values: Values) -> None:
    if not value:
        out.append("[]")
        return
    _check_level(level)
    if len(value) > _MANY:
        text = _uniform(value)
        if text:
            out.append(text)
            return
    out.append("[")
    _write_items(value, out, level, values)
    out[-1] = "]"


_MANY = 8


def _uniform(value: list[Any]) -> str:
    """Write a list of numbers or texts at once; nothing if it is another list."""
    kinds = set(map(type, value))
    if len(kinds) > 1:
        return ""
    kind = kinds.pop()
    if kind is str:
        return f"[{','.join(map(repr, value))}]"
    if kind is int and decimal_ints_are_bounded():
        try:
            return repr(value).replace(", ", ",")
        except ValueError:  # too many digits
            return ""
    if kind is float:
        text = repr(value).replace(", ", ",")
        return "" if "n" in text else text
    return ""


def _write_items(items: Any, out: list[str], level: int, values: Values) -> None:
    """Write items, each with a comma behind it."""
    level += 1
    for item in items:
        writer = _WRITERS.get(type(item))
        if writer is not None:
            writer(item, out, level, values)
        else:
            write(item, out, level, values)
        out.append(",")


def _write_tuple(value: tuple[Any, ...], out: list[str], level: int, values: Values) -> None:
    if not value:
        out.append("()")
        return
    _check_level(level)
    out.append("(")
    _write_items(value, out, level, values)
    if len(value) == 1:
        out.append(")")
    else:
        out[-1] = ")"


def _write_set(value: set[Any], out: list[str], level: int, values: Values) -> None:
    if not value:
        _write_described("set", [], out, level, values)
        return
    _check_level(level)
    out.append("{")
    _write_items(value, out, level, values)
    out[-1] = "}"


def _write_dict(value: dict[Any, Any], out: list[str], level: int, values: Values) -> None:
    if not value:
        out.append("{}")
        return
    _check_level(level)
    level += 1
    before = "{"
    for key, item in value.items():
        if type(key) is str:
            out.append(f"{before}{key!r}:")
        else:
            out.append(before)
            write(key, out, level, values)
            out.append(":")
        write(item, out, level, values)
        before = ","
    out.append("}")


_WRITERS: dict[type, Writer] = {
    type(None): _write_by_repr, bool: _write_by_repr, str: _write_by_repr, bytes: _write_bytes,
    int: _write_int, float: _write_float, complex: _write_complex,
    list: _write_list, tuple: _write_tuple, set: _write_set, dict: _write_dict,
}  # fmt: skip


def head_of(text: str, start: int) -> tuple[object, object]:
    """Return object id and member of the text of a call; it is read a second time.

    Raises:
        SerializeError: it is not a call.
    """
    call = parse(text, start, lambda _tag, _data: object())
    if type(call) is not tuple or len(call) != 4:
        raise SerializeError("the payload is not a call")
    return call[0], call[1]

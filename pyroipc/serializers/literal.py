r"""The text of a serpent payload -> values, without ``ast`` and without recursion.

What is read is the subset of Python literals that serpent writes: None, True, False, int, float
(``1e30000`` is infinite), complex as ``(1.0+2.0j)``, str, bytes literals, tuple, list, set and
dict, with any white space between them.  ``()`` is all that serpent has for an empty set.  In
the typed form, a tuple that begins with ``...`` stands for a value that has no literal.

How: one compiled pattern cuts the text into tokens at C speed.  A token is as large as it can
be: a bracket with the comma behind it, a key with its colon, a run of numbers, a run of strings
without escapes.  One loop then puts values into the innermost open container.  The pattern never
backtracks (possessive repeats), and what it cannot read it swallows to the end as one empty
token, so that the time is linear whatever the text.

Limits: 200 levels; memory in proportion to the text; digits of an int as ``sys.set_int_max_str_
digits`` says; keys that do not collide on purpose.

Measured on CPython 3.11: a call of 26 characters takes 5 us, ``serpent.loads`` 13 to 22 us.
"""

from __future__ import annotations

import re
from itertools import chain

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import MAX_DEPTH, check_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["parse"]

_ESCAPE = r"""\\(?:[\\'"abfnrtvxuUN]|[0-3][0-7]{0,2}|[4-7][0-7]?+(?![0-7]))"""
_find_tokens = re.compile(
    r"""(
      '[^'\\\n\r\0]*+'(?: : | (?:,'[^'\\\n\r\0]*+'(?!:))*+ ,?+ )      # 'key':   'a','b',
    | '[^'\\\n\r\0]*+ (?:ESCAPE[^'\\\n\r\0]*+)*+ '[:,]?+                # with escapes
    | "[^"\\\n\r\0]*+ (?:ESCAPE[^"\\\n\r\0]*+)*+ "[:,]?+
    | -?[0-9][-+.ej0-9,]*+                                             # 1   2.5,3,
    | \(\) | \[\] | \{\}
    | [\])}],?+
    | \.\.\.,?+
    | [(\[{:,]
    | (?:None|True|False),?+
    | b(?: '[^'\\\n\r\0]*+ (?:ESCAPE[^'\\\n\r\0]*+)*+ '
         | "[^"\\\n\r\0]*+ (?:ESCAPE[^"\\\n\r\0]*+)*+ " ) [:,]?+
    | [ \t\n\r]++
    ) | (?s:.+)""".replace("ESCAPE", _ESCAPE),
    re.VERBOSE,
).findall

_DIGITS = frozenset("-0123456789")
_OPENERS = frozenset("([{")
_CLOSERS = frozenset(")]}")
_CONSTANTS = {"None": None, "True": True, "False": False}
_COSTS = {"(": 72, "[": 112, "{": 248, "()": 8, "[]": 80, "{}": 88}
"""Bytes that a container takes at most, its contents beyond the first few left out."""
_SMALL_SET = 4
_ELEMENT_COST = 110
"""Bytes that an element of a larger set takes at most, just after the set has grown."""
_BASE_MEMORY = 4 << 20
_MEMORY_PER_CHARACTER = 50
"""Containers may take 4 MiB and 50 times the length of the text; the worst that people send,
a list of empty lists, takes 27 times."""
_WINDOW = 1 << 16
"""Tokens are cut this many characters at a time, so that they never take much memory."""


# One loop, for speed: its state would have to travel to a function and back for each token.
def parse(  # noqa: C901, PLR0912, PLR0915
    text: str, start: int = 0, rebuild: Callable[[Any, Any], Any] | None = None
) -> Any:
    """Read the one literal that *text* holds from index *start* on.

    Args:
        text: the payload.
        start: where the literal begins.
        rebuild: makes the value of ``(...,tag,data)``; without it, ``...`` is refused.

    Raises:
        SerializeError: it is not such a literal, or exceeds a limit.
        ValueError: a number is malformed or has too many digits.
        IndexError: there are more closing brackets than opening ones.
        TypeError: a key or an element of a set is not hashable.
    """
    budget = _BASE_MEMORY + _MEMORY_PER_CHARACTER * len(text)
    stack: list[tuple[list[Any], str, int]] = []
    # The innermost container: its items, its bracket, how many colons were seen.
    items: list[Any] = []
    bracket = ""
    colons = 0
    ready = True  # a value may come: at the start, after a comma or a colon
    for token in _tokens(text, start):
        first = token[:1]
        if first == "'" and "\\" not in token:
            if not ready:
                _refuse(token)
            last = token[-1]
            body = token[1:-1] if last == "'" else token[1:-2]
            if "'" in body:
                items += body.split("','")
            else:
                items.append(body)
            ready = last != "'"
            if last == ":":
                colons += len(items) & 1 or _refuse(token)
        elif first in _DIGITS:
            if not ready:
                _refuse(token)
            if token.isdigit():
                items.append(int(token))
                ready = False
            else:
                items += _numbers(token)
                ready = token[-1] == ","
        elif first in _CLOSERS:
            value = _close(bracket + first, items, colons, ready)
            items, bracket, colons = stack.pop()
            if rebuild is not None and type(value) is tuple and value and value[0] is _MARK:
                value = _rebuilt(rebuild, value)
            items.append(value)
            ready = len(token) == 2
            if type(value) is set and len(value) > _SMALL_SET:
                budget -= _ELEMENT_COST * len(value)
                if budget < 0:
                    _refuse_memory()
        elif token in _COSTS:
            if not ready:
                _refuse(token)
            budget -= _COSTS[token]
            if budget < 0:
                _refuse_memory()
            if token in _OPENERS:
                if len(stack) >= MAX_DEPTH:
                    raise SerializeError(f"the payload is nested deeper than {MAX_DEPTH} levels")
                stack.append((items, bracket, colons))
                items, bracket, colons = [], token, 0
            else:
                items.append(_EMPTY[token]())
                ready = False
        elif first == ",":
            ready = not ready or _refuse(token)
        elif first == ":":
            ready = not ready or _refuse(token)
            colons += len(items) & 1 or _refuse(token)
        elif first == ".":
            # Only as the first of several in a tuple, so that it is never left over.
            if rebuild is None or not ready or bracket != "(" or items or token[-1] != ",":
                _refuse(token)
            items.append(_MARK)
        elif not first.isspace():
            if not ready:
                _refuse(token)
            ready = token[-1:] in {",", ":"}
            items.append(_scalar(token[:-1] if ready else token))
            if token[-1:] == ":":
                colons += len(items) & 1 or _refuse(token)
    if stack or colons or ready or len(items) != 1:
        raise SerializeError("invalid serpent payload: it ends too early or too late")
    return items[0]


class _Mark:
    """What ``...`` is while a payload is read."""

    __slots__ = ()


_MARK = _Mark()


def _rebuilt(rebuild: Callable[[Any, Any], Any], marked: tuple[Any, ...]) -> Any:
    if len(marked) != 3:
        _refuse("...")
    return rebuild(marked[1], marked[2])


_EMPTY: dict[str, type] = {"()": tuple, "[]": list, "{}": dict}


def _tokens(text: str, start: int) -> Iterable[str]:
    if len(text) - start <= _WINDOW:
        found: list[str] = _find_tokens(text, start)
        return found
    return chain.from_iterable(_windows(text, start))


def _windows(text: str, start: int) -> Iterator[list[str]]:
    """Cut a long text in windows; the last token of a window may be cut off, so it waits."""
    size = _WINDOW
    while start + size < len(text):
        tokens: list[str] = _find_tokens(text, start, start + size)
        tokens.pop()
        if tokens:
            start += sum(map(len, tokens))
            size = _WINDOW
            yield tokens
        else:
            size *= 2
    yield _find_tokens(text, start)


def _close(brackets: str, items: list[Any], colons: int, ready: bool) -> Any:  # noqa: FBT001 - hot
    """Make the container whose closing bracket was read."""
    if brackets == "{}" and (colons or not items):
        if colons * 2 != len(items):
            _refuse("}")
        keys = items[::2]
        check_keys(keys)
        return dict(zip(keys, items[1::2], strict=True))
    if colons or (ready and not items and brackets == "{}"):
        _refuse(":")
    if brackets == "[]":
        return items
    if brackets == "()":
        return items[0] if len(items) == 1 and not ready else tuple(items)
    if brackets == "{}":
        check_keys(items)
        return set(items)
    return _refuse(brackets)


def _numbers(token: str) -> list[Any]:
    """Read a run of numbers, which may end in a comma."""
    body = token[:-1] if token[-1] == "," else token
    if "," not in body:
        return [_number(body)]
    parts = body.split(",")
    if "j" in token:
        return [_number(part) for part in parts]
    dots = token.count(".")
    if dots == len(parts):
        return list(map(float, parts))
    if not dots and "e" not in token:
        return list(map(int, parts))
    return [_number(part) for part in parts]


def _number(part: str) -> int | float | complex:
    if part[-1:] == "j":
        return complex(part)
    return float(part) if "." in part or "e" in part else int(part)


def _scalar(token: str) -> Any:
    """Read a constant, a string in double quotes or with escapes, or a bytes literal."""
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    if token[:1] == "b":
        if not token.isascii() or re.search(r"\\[uUN]", token.replace("\\\\", "")):
            _refuse(token)
        return _unescaped(token[2:-1]).encode("latin-1")
    if token[:1] not in {"'", '"'}:
        _refuse(token)
    return _unescaped(token[1:-1])


def _unescaped(body: str) -> str:
    r"""Resolve escapes: text outside of Latin-1 becomes escapes itself, then all are resolved.

    The pattern has let no ``\`` pass that is not the begin of a valid kind of escape.
    """
    if "\\" not in body:
        return body
    return body.encode("latin-1", "backslashreplace").decode("unicode_escape")


def _refuse_memory() -> Any:
    raise SerializeError("the payload would take too much memory")


def _refuse(token: str) -> Any:
    raise SerializeError(f"invalid serpent payload near {token[:20]!r}")

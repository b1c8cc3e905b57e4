"""Regular expressions from clients, matched so that nobody has to wait for them.

Python's engine tries one way after the other, and holds the interpreter's lock meanwhile: with a
pattern such as ``(a+)+b`` one short name stops the whole process for hours. So a pattern is taken
apart before it is used, and only matched if the number of ways is bounded:

=============================  ================================================================
what may repeat                characters, classes of them, and sequences of these; nothing that
                               repeats itself or branches
what may not be used           references to groups, conditions, and looking ahead or back
how many ways there may be     the product of what each repetition and branch allows, for a name
                               of this length, is about a million at most: some milliseconds
how long it may take           a second in all; other threads run between two names
=============================  ================================================================

A repetition at the very end, like that of ``test.*``, costs nothing: a match there needs no other
way. All that people usually write for names passes. What does not gets a NamingError that says
which part it is.
"""

from __future__ import annotations

import re
from time import monotonic

from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

__all__ = ["Pattern"]

LENGTH_MAX: Final = 256
WAYS_MAX: Final = 1_100_000
SECONDS_MAX: Final = 1.0
_SHOWN = 100

_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_FREE = frozenset({"AT"})  # ^, $, \b: they take no character
_REFUSED = {
    "ASSERT": "looks ahead or back",
    "ASSERT_NOT": "looks ahead or back",
    "ATOMIC_GROUP": "has an atomic group",
    "GROUPREF": "refers to a group",
    "GROUPREF_EXISTS": "has a condition",
    "GROUPREF_IGNORE": "refers to a group",
}


class Pattern:
    """A regular expression that a client has sent.

    Args:
        text: matched at the beginning of a name, as by ``re.match``.

    Raises:
        NamingError: it is none, too long, or may take too long to match.
        TypeError: it is no text.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a regex is a str, not {type(text).__name__}")
        if len(text) > LENGTH_MAX:
            raise NamingError(
                f"a regex has at most {LENGTH_MAX} characters, not {len(text)}: {text!r:.{_SHOWN}}"
            )
        self.text = text
        try:
            self._match: Callable[[str], object] = re.compile(text).match
            self._factors = _factors(_parse(text))
        except (re.error, OverflowError, RecursionError) as error:
            raise NamingError(f"invalid regex: {text!r:.{_SHOWN}}: {error}") from None

    def matching(self, names: Iterable[str]) -> list[str]:
        """Return those names that match, in their order.

        Raises:
            NamingError: there are too many ways to match one of them, or it takes too long.
        """
        end = monotonic() + SECONDS_MAX
        longest = self._longest()
        found = []
        for name in names:
            if len(name) > longest:
                raise NamingError(
                    f"the regex {self.text!r:.{_SHOWN}} may take too long on a name of "
                    f"{len(name)} characters: use fewer repetitions, or a prefix"
                )
            if self._match(name) is not None:
                found.append(name)
            if monotonic() > end:
                raise NamingError(
                    f"the regex {self.text!r:.{_SHOWN}} took longer than {SECONDS_MAX:g} s: use "
                    "fewer repetitions, or a prefix"
                )
        return found

    def _longest(self) -> float:
        """Return the length of the longest name for which there are few enough ways."""
        longest: float = float("inf")
        if self._ways(4096) <= WAYS_MAX:
            return longest
        low, high = 0, 4096
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._ways(middle) <= WAYS_MAX else (low, middle)
        return low

    def _ways(self, length: int) -> int:
        ways = 1
        for factor in self._factors:
            ways *= min(factor, length + 1)
            if ways > WAYS_MAX:
                break
        return ways


def _parse(text: str) -> list[tuple[Any, Any]]:
    # The only place where the structure of a pattern is to be had. Should a future Python have it
    # elsewhere, patterns are refused, and nothing else breaks.
    try:
        from re import _parser  # type: ignore[attr-defined]
    except ImportError:
        raise NamingError("this Python cannot take a regex apart; use a prefix") from None
    return list(_parser.parse(text))


def _factors(items: list[tuple[Any, Any]], *, is_end: bool = True) -> list[int]:
    """Return, for each choice in a pattern, how many ways it has at the most.

    Args:
        items: what the parser has made of it.
        is_end: nothing comes after them, so that the first match is one.

    Raises:
        NamingError: the number of ways is not bounded.
    """
    factors: list[int] = []
    for index, (code, value) in enumerate(items):
        last = is_end and index == len(items) - 1
        name = str(code)
        if name in _SINGLE or name in _FREE:
            continue
        if name in _REPEATS:
            factors += _factors_of_repeat(value, is_end=last)
        elif name == "SUBPATTERN":
            factors += _factors(list(value[-1]), is_end=last)
        elif name == "BRANCH":
            # Each of them is tried in turn, so what they have in them adds up.
            factors.append(len(value[1]))
            for branch in value[1]:
                factors += _factors(list(branch), is_end=last)
        else:
            _refuse(f"it {_REFUSED.get(name, f'has {name.lower()} in it')}")
    return factors


def _factors_of_repeat(value: tuple[Any, Any, Any], *, is_end: bool) -> list[int]:
    least, most, body = int(value[0]), int(value[1]), list(value[2])
    if most <= 1:
        return [2, *_factors(body, is_end=is_end)]
    if not all(_is_fixed(item) for item in body):
        _refuse("something repeats that repeats itself, or branches")
    work = [least] if least > 1 and not is_end else []  # what has to be looked at each time
    return work if is_end or least == most else [*work, most - least + 1]


def _is_fixed(item: tuple[Any, Any]) -> bool:
    """Say whether a part of a pattern always takes the same number of characters, in one way."""
    name = str(item[0])
    if name == "SUBPATTERN":
        return all(map(_is_fixed, item[1][-1]))
    return name in _SINGLE


def _refuse(why: str) -> None:
    """Refuse a pattern.

    Raises:
        NamingError: always.
    """
    raise NamingError(f"this regex may take too long to match: {why}; use a simpler one")

r"""The pattern of the names that are exposed, and whether a name is one of them.

A pattern is a regular expression for a whole name, and not only for its beginning: what exposes
``http.shop`` must not expose ``http.shop-admin``. But the patterns that Pyro's users write are
prefixes: ``http\.``, or ``Pyro\.|test\.``. So:

===========================  =====================================================================
a pattern                    exposes
===========================  =====================================================================
``http\.shop``               this name, and no other
``http\.``                   names that begin with this: it ends in an escaped dot
``test\.|shop``              of alternatives on the outside, each by itself: those that begin with
                             ``test.``, and the name ``shop``
``http\.[a-z]+``             names that match from their beginning to their end
empty                        every name
===========================  =====================================================================
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

__all__ = ["NAME_BYTES_MAX", "ExposedNames"]

NAME_BYTES_MAX: Final = 1024
"""What a name server takes; a pattern is not tried on anything longer."""

_FLAGS = re.compile(r"\(\?[aimsu]+\)")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


class ExposedNames:
    """The names that a pattern exposes.

    Args:
        pattern: as the module describes it.

    Raises:
        TypeError: it is no text.
        ValueError: it is no regular expression.
    """

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise TypeError(f"the pattern of names is a str, not {type(pattern).__name__}")
        self.pattern = pattern
        flags = _FLAGS.match(pattern)
        head = flags[0] if flags else ""
        body = pattern[len(head) :]
        try:
            re.compile(body)  # what is wrong with it is told in the user's own words
            whole = head + "|".join(map(_whole, _alternatives(body)))
            self._fullmatch = re.compile(whole).fullmatch
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"the pattern of names {pattern!r:.200} is no regular expression: {error}"
            ) from None

    def __contains__(self, name: str) -> bool:
        if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
            return False
        return not self.pattern or self._fullmatch(name) is not None


def _alternatives(pattern: str) -> Iterator[list[str]]:
    """Yield what stands between the bars that are in no group and in no class, in pieces.

    Raises:
        re.error: there is a comment with brackets in it, which would be taken for groups.
    """
    pieces: list[str] = []
    depth = 0
    for piece in _PIECE.findall(pattern):
        if piece == "|" and not depth:
            yield pieces
            pieces = []
            continue
        depth += (piece == "(") - (piece == ")")
        pieces.append(piece)
    if depth:
        raise re.error("its brackets do not match")
    yield pieces


def _whole(pieces: list[str]) -> str:
    is_prefix = pieces[-1:] in ([r"\."], ["[.]"])
    return f"(?:{''.join(pieces)}){'(?s:.*)' if is_prefix else ''}"

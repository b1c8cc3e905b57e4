"""The text of a signature -> ``inspect.Signature``, without running any of it.

What comes from a peer is only parsed: literal defaults become values, whatever else stands there
keeps its text.
"""

from __future__ import annotations

import ast
import re
from inspect import Parameter, Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_TEXT_MAX = 4000
"""Longer texts are not parsed: nobody wrote such a signature, and the parser recurses."""

_NESTING_MAX = 200
# What makes the parser recurse, in C: too much of it would overflow the stack of a thread.
_NESTING = re.compile(r"[(\[{~+*.-]|\b(?:not|lambda|if|await)\b")

# The repr of an object that has no literal, such as <object object at 0x7f00>, as a default.
_OPAQUE = re.compile(r"(?<==)\s?<[^<>]*(?:<[^<>]*>[^<>]*)*>")
_PLACEHOLDER = re.compile(r"_opaque_(\d+)_")


class SourceText:
    """The default of a parameter that is no literal: its repr is the text that stood there."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceText) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


_UNKNOWN = Signature([
    Parameter("args", Parameter.VAR_POSITIONAL),
    Parameter("kwargs", Parameter.VAR_KEYWORD),
])


def read_signature(text: str | None) -> Signature:
    """Read the text of a signature such as ``(a, b: int = 3, *, c=None) -> str``.

    Args:
        text: as ``str(inspect.signature(f))`` writes it; None if nothing is known.

    Returns:
        The signature: literal defaults as values, other defaults as :class:`SourceText`,
        annotations as strings. ``(*args, **kwargs)`` if there is no text or it cannot be read.
    """
    if (
        not isinstance(text, str)
        or len(text) > _TEXT_MAX
        or len(_NESTING.findall(text)) > _NESTING_MAX
    ):
        return _UNKNOWN
    reader = _Reader(text, ())
    definition = _parsed(reader.source)
    if definition is None:
        reader = _Reader(_OPAQUE.sub(_Placeholders(), text), _OPAQUE.findall(text))
        definition = _parsed(reader.source)
    if definition is None:
        return _UNKNOWN
    try:
        return Signature(
            list(reader.parameters(definition.args)),
            return_annotation=reader.annotation(definition.returns),
        )
    except (ValueError, RecursionError, MemoryError):  # a name twice, say
        return _UNKNOWN


class _Placeholders:
    """Numbers the replacements of one substitution."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, _: re.Match[str]) -> str:
        self._count += 1
        return f"_opaque_{self._count - 1}_"


def _parsed(source: str) -> ast.FunctionDef | None:
    """Parse the source of one function that does nothing, and nothing beside it."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        return None
    definition = body[0]
    does_nothing = len(definition.body) == 1 and isinstance(definition.body[0], ast.Pass)
    return definition if does_nothing else None


class _Reader:
    """Turns the parts of a parsed signature into those of a Signature."""

    def __init__(self, text: str, opaque: tuple[str, ...] | list[str]) -> None:
        self.source = f"def f{text}: pass" if text.startswith("(") else ""
        self._opaque = opaque

    def parameters(self, arguments: ast.arguments) -> Iterator[Parameter]:
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
        defaults.extend(arguments.defaults)
        for index, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
            only = index < len(arguments.posonlyargs)
            kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
            yield self._parameter(argument, kind, default)
        if arguments.vararg is not None:
            yield self._parameter(arguments.vararg, Parameter.VAR_POSITIONAL, None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            yield self._parameter(argument, Parameter.KEYWORD_ONLY, default)
        if arguments.kwarg is not None:
            yield self._parameter(arguments.kwarg, Parameter.VAR_KEYWORD, None)

    def _parameter(self, argument: ast.arg, kind: Any, default: ast.expr | None) -> Parameter:
        return Parameter(
            argument.arg,
            kind,
            default=Parameter.empty if default is None else self._value(default),
            annotation=self.annotation(argument.annotation),
        )

    def annotation(self, node: ast.expr | None) -> Any:
        """Return an annotation as text; one that was a string already without its quotes."""
        if node is None:
            return Signature.empty
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self._text(node)

    def _value(self, node: ast.expr) -> Any:
        text = self._text(node)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return SourceText(text)
        # A string in which something was mistaken for an object stays the text that it was.
        return SourceText(text) if self._opaque and _PLACEHOLDER.search(repr(value)) else value

    def _text(self, node: ast.expr) -> str:
        text = ast.get_source_segment(self.source, node) or ""
        return _PLACEHOLDER.sub(self._original, text)

    def _original(self, match: re.Match[str]) -> str:
        index = int(match[1])
        return self._opaque[index].strip() if index < len(self._opaque) else match[0]

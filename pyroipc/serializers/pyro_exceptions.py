"""Exceptions -> what a peer that is Pyro can rebuild.

Such a peer calls the class that an exception names with its args and sets the attributes. It
knows the builtin exceptions, those of Pyro, and those for which its program has registered a
converter; anything else makes the whole response unreadable. So an exception travels

* as ``module.Name`` if its class belongs to a program or to a library of others: only the peer's
  program can say whether it knows that;
* else under the name of the nearest of its classes that the peer knows and can make from the args
  as they arrive there. If its text would get lost by that, the text is what it has as args.

What is no Exception (SystemExit, KeyboardInterrupt) goes as PyroError, for it would end the peer.
"""

from __future__ import annotations

import builtins
import sys

from pyroipc import errors
from pyroipc.serializers.exceptions import (
    OWN_PREFIXES,
    PYRO_NAMES,
    exception_to_dict,
    known_exception,
    safe_text,
    wire_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Roundtrip = Callable[[Any], Any]
    Known = tuple[str, type[Exception]]

__all__ = [
    "as_known",
    "describe_for_pyro",
    "is_users",
    "substitute_for",
    "text_of_substitute",
    "text_with_class",
    "travels_everywhere",
]

_MAX_BITS = 2000
_STANDARD = sys.stdlib_module_names | {"pyroipc"}
_CHAINS = errors.RemoteError.__mro__


def describe_for_pyro(
    exception: BaseException, family: str, roundtrip: Roundtrip | None
) -> dict[str, Any]:
    """Return the class dict of an exception.

    Args:
        exception: is not changed.
        family: of the peer, ``"Pyro4"`` or ``"Pyro5"``.
        roundtrip: encodes a value and decodes it again. With it, each arg and attribute that
            cannot be sent is replaced by its repr, and the args are tried out.
    """
    if not isinstance(exception, Exception):
        return _described("PyroError", (text_with_class(exception),))
    described = exception_to_dict(exception, None if roundtrip is None else _probe(roundtrip))
    if not is_users(type(exception)):
        described["args"] += _filenames(exception, described["args"])
        arriving = _arriving(described["args"], roundtrip)
        described["__class__"], _, text = as_known(exception, family, arriving)
        if text is not None:
            described["args"] = (text,)
    return described


def as_known(
    exception: Exception, family: str, args: Sequence[object]
) -> tuple[str, type[Exception], str | None]:
    """Find the nearest class of an exception that a peer knows and can make from its args.

    Returns:
        The name and the class; the text that is to be the only arg, or None: take the args.
    """
    cls, text = type(exception), safe_text(exception)
    for name, known in _known_classes(cls, family):
        try:
            made = known(*args)
            same_text = known is cls or str(made) == text
        except Exception:  # noqa: BLE001, S112 - it wants other args
            continue
        return name, known, None if same_text else text
    return "PyroError", errors.PyroError, text


def _filenames(exception: Exception, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the further args of an OSError that has taken them away from its args."""
    if not isinstance(exception, OSError) or len(args) != 2:
        return ()
    names = (exception.filename, exception.filename2)
    if not isinstance(names[0], str):
        return ()
    return (names[0], None, names[1]) if isinstance(names[1], str) else names[:1]


def _probe(roundtrip: Roundtrip) -> Roundtrip:
    def probe(value: object) -> object:
        return travels_everywhere(value) or roundtrip(value)

    return probe


def _arriving(args: tuple[Any, ...], roundtrip: Roundtrip | None) -> list[Any]:
    if roundtrip is None or all(map(travels_everywhere, args)):
        return list(args)
    arrived: list[Any] = roundtrip(list(args))
    return arrived


def substitute_for(exception: BaseException, failure: BaseException) -> dict[str, Any]:
    """Return the class dict of what is sent if *exception* itself cannot be."""
    return _described("PyroError", (text_of_substitute(exception, failure),))


def text_of_substitute(exception: BaseException, failure: BaseException) -> str:
    """Return what is told of an exception that cannot be sent, in Pyro's words."""
    return (
        f"Error serializing exception: {safe_text(failure)}. Original exception: "
        f"{type(exception)}: {safe_text(exception)}"
    )


def _described(name: str, args: tuple[str, ...]) -> dict[str, Any]:
    return {"__class__": name, "__exception__": True, "args": args, "attributes": {}}


def text_with_class(exception: BaseException) -> str:
    """Return the text of an exception behind the name of its class."""
    text = safe_text(exception)
    return type(exception).__qualname__ + (f": {text}" if text else "")


def travels_everywhere(value: object) -> bool:
    """Tell whether every format can surely send a value; nothing nested is looked at."""
    kind = type(value)
    if kind is str:
        return value.isascii()  # type: ignore[attr-defined, no-any-return]
    if kind is int:
        return value.bit_length() < _MAX_BITS  # type: ignore[attr-defined, no-any-return]
    return kind is float or kind is bool or value is None


def is_users(cls: type[BaseException]) -> bool:
    """Tell whether a class is one that only a program can know, not Python or Pyro."""
    name = wire_name(cls)
    module = name.rpartition(".")[0]
    return (
        bool(module) and module not in OWN_PREFIXES and module.partition(".")[0] not in _STANDARD
    )


def _known_classes(cls: type[BaseException], family: str) -> Iterator[Known]:
    """Yield the classes of an exception that a peer knows, the nearest first, with their names."""
    left_out: tuple[type, ...] = ()
    if issubclass(cls, errors.RemoteError):
        if cls.remote_class:
            own = known_exception(cls.remote_class)
            if own is not None:
                yield from _known_classes(own, family)
        left_out = _CHAINS
    for base in cls.__mro__:
        if base not in left_out and issubclass(base, Exception):
            name = _name_of(base, family)
            if name is not None:
                yield name, base
    yield "PyroError", errors.PyroError


def _name_of(cls: type[Exception], family: str) -> str | None:
    """Return the name under which the peer knows a class; None if it does not."""
    module, short = cls.__module__, cls.__name__
    if issubclass(cls, BaseExceptionGroup):  # the exceptions in its args arrive as dicts
        return None
    if module == "builtins" and getattr(builtins, short, None) is cls:
        return f"builtins.{short}"
    if module in OWN_PREFIXES and short in PYRO_NAMES:
        return short
    if module == "sqlite3" and short.endswith("Error"):
        return f"sqlite3.{short}"
    if family == "Pyro5" and module == "struct" and short == "error":
        return "struct.error"
    return None

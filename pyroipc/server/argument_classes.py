"""The annotations of a function -> the dataclasses, enums and namedtuples it may be sent.

What a method says that it takes, a peer may send: those classes, and the ones that the fields of
its dataclasses and namedtuples name.  Texts are resolved as ``typing.get_type_hints`` does, each
for itself: what cannot be resolved here is left out, and values of it are refused as unknown.
"""

from __future__ import annotations

import sys

from pyroipc.serializers.typed_classes import class_name, is_data_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any
    from weakref import WeakKeyDictionary

__all__ = ["classes_of"]

_MAX_CLASSES = 1000
_known: WeakKeyDictionary[Any, Mapping[str, type]] | None = None


def classes_of(function: Callable[..., Any]) -> Mapping[str, type]:
    """Return the classes that the annotations of the parameters of a function name, by their name.

    The name is ``module.Qualname``, or the one given to register_class.  Never raises because of
    an annotation.

    Args:
        function: a function or a method.
    """
    global _known
    if _known is None:
        from weakref import WeakKeyDictionary

        _known = WeakKeyDictionary()
    function = getattr(function, "__func__", function)
    try:
        return _known[function]
    except (KeyError, TypeError):
        found = _find_classes(function)
    try:
        _known[function] = found
    except TypeError:  # cannot be referred to weakly, or is not hashable
        pass
    return found


def _find_classes(function: Any) -> Mapping[str, type]:
    found: dict[str, type] = {}
    annotated = _unwrapped(function)
    waiting = list(_hints(annotated, getattr(annotated, "__globals__", {}), {}, of_function=True))
    seen: list[object] = []
    while waiting and len(seen) < _MAX_CLASSES:
        hint = waiting.pop()
        if any(hint is other for other in seen):
            continue
        seen.append(hint)
        if is_data_class(hint):
            assert isinstance(hint, type)
            found[class_name(hint)] = hint
            waiting += _hints_of_class(hint)
        else:
            try:
                waiting += _parts(hint)
            except Exception:  # noqa: BLE001, S112 - an annotation may be any object
                continue
    return found


def _unwrapped(function: Any) -> Any:
    """Follow ``__wrapped__`` to the function that has the annotations."""
    for _ in range(100):
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            break
        function = wrapped
    return function


def _hints_of_class(cls: type) -> Iterator[object]:
    """Yield the resolved annotations of the fields of a class and its bases."""
    for base in cls.__mro__:
        if base.__module__ != "builtins":
            module = sys.modules.get(base.__module__)
            yield from _hints(base, getattr(module, "__dict__", {}), dict(vars(base)))


def _hints(
    owner: Any, names: dict[str, Any], local_names: dict[str, Any], *, of_function: bool = False
) -> Iterator[object]:
    """Yield the annotations of a function's parameters or of a class, as far as they resolve."""
    try:
        annotations = owner.__annotations__ if of_function else vars(owner).get("__annotations__")
        if annotations is None and not of_function:
            annotations = owner.__annotations__  # Python 3.14 makes them when asked
    except Exception:  # noqa: BLE001 - lazy annotations may raise anything
        return
    if of_function:
        local_names = _closure_of(owner)
    for name, hint in dict(annotations or {}).items():
        if name != "return" or not of_function:
            yield _resolved(hint, names, local_names)


def _closure_of(function: Any) -> dict[str, Any]:
    """Return the variables around a function that it uses, for classes made in functions."""
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


def _resolved(hint: object, names: dict[str, Any], local_names: dict[str, Any]) -> object:
    """Return an annotation without texts in it; None if that cannot be done."""
    import typing

    if isinstance(hint, type) and not hasattr(hint, "__origin__"):
        return hint
    holder = type("_Holder", (), {"__annotations__": {"hint": hint}, "__module__": __name__})
    try:
        return typing.get_type_hints(holder, names, local_names, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001 - a name that is imported for type checkers only, and so on
        return None


def _parts(hint: object) -> Iterator[object]:
    """Yield what an annotation is made of: the X of list[X], X | None, Annotated[X, ...]."""
    import typing

    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield typing.get_args(hint)[0]
        return
    if origin is typing.Literal:
        for value in typing.get_args(hint):
            yield type(value)
        return
    for part in typing.get_args(hint):
        if isinstance(part, list):  # of a Callable
            yield from part
        else:
            yield part
    if origin is not None:
        yield origin  # a generic dataclass
    if isinstance(hint, typing.TypeVar):
        yield hint.__bound__
        yield from hint.__constraints__
    elif isinstance(hint, typing.NewType):
        yield hint.__supertype__
    else:
        yield getattr(hint, "__value__", None)  # the right side of a ``type`` statement

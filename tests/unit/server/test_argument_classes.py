"""pyroipc/server/argument_classes.py: which classes the annotations of a function name."""

# ruff: noqa: E501 - tables read best with several values on a line

from __future__ import annotations

import enum
import functools
import gc
import typing
import weakref
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union

import pytest

from pyroipc.serializers.typed_classes import register_class, unregister_class
from pyroipc.server.argument_classes import classes_of

if typing.TYPE_CHECKING:
    from nowhere import Missing


class Color(enum.Enum):
    RED = 1


@dataclass
class Leaf:
    color: Color


class Pair(NamedTuple):
    left: Leaf
    right: int


@dataclass
class Tree:
    children: list[Tree]
    pair: Pair | None
    other: Missing


@dataclass
class Sub(Tree):
    pass


T = TypeVar("T", bound=Leaf)


@dataclass
class Box(Generic[T]):
    content: T


Leaves = list[Leaf]


def names(function):
    found = classes_of(function)
    assert all(key == f"{cls.__module__}.{cls.__qualname__}" for key, cls in found.items())
    return {cls.__name__ for cls in found.values()}


def nothing(a, b: int, c: str | None = None, *d: float, e: Any, **f: dict[str, object]): ...
def direct(a: Leaf): ...
def transitive(a: Tree): ...
def inherited(a: Sub): ...
def variadic(*a: Color, **b: Pair): ...
def result(a: int) -> Tree: ...
def alias(a: Leaves): ...
def bound(a: T): ...
def generic(a: Box[Leaf]): ...
def literal(a: Literal[Color.RED]): ...
def callback(a: typing.Callable[[Leaf], None]): ...
def partly(a: Missing, b: Color, c: list[Missing], d: does.not_.exist): ...  # noqa: F821


WRAPPERS = [
    list[Color], dict[str, Color], dict[Color, int], tuple[Color, ...], tuple[int, Color], set[Color], Color | None,
    Optional[Color], Union[int, Color], Annotated[Color, "x"], Annotated[list[Color] | None, 5], typing.List[Color],  # noqa: UP006, UP007, UP045
    "Color", "list[Color]", typing.Sequence["Color"], list["Color"], type[Color], typing.Iterable[dict[int, list[Color]]],
]  # fmt: skip


@pytest.mark.parametrize("hint", WRAPPERS, ids=str)
def test_annotations_of_all_shapes(hint):
    def function(a): ...

    function.__annotations__ = {"a": hint}
    assert names(function) == {"Color"}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (nothing, set()), (direct, {"Leaf", "Color"}), (transitive, {"Tree", "Pair", "Leaf", "Color"}),
        (inherited, {"Sub", "Tree", "Pair", "Leaf", "Color"}), (variadic, {"Color", "Pair", "Leaf"}), (result, set()),
        (alias, {"Leaf", "Color"}), (bound, {"Leaf", "Color"}), (generic, {"Box", "Leaf", "Color"}), (literal, {"Color"}),
        (callback, {"Leaf", "Color"}), (partly, {"Color"}), (print, set()), (functools.partial(direct), set()), (5, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_is_found(function, expected):
    assert names(function) == expected


def test_methods_and_wrapped_functions():
    class Shop:
        def order(self, leaf: Leaf): ...

        @functools.wraps(order)
        def wrapped(self, *args): ...

    assert names(Shop().order) == names(Shop.order) == names(Shop.wrapped) == {"Leaf", "Color"}


def test_classes_of_a_function_that_the_closure_knows():
    @dataclass
    class Local:
        a: int

    def function(a: Local):
        return Local

    assert classes_of(function) == {f"{__name__}.{Local.__qualname__}": Local}


def test_a_registered_name_counts():
    register_class(Color, "my.Color")
    try:

        def function(a: Color): ...

        assert classes_of(function) == {"my.Color": Color}
    finally:
        unregister_class(Color)


def test_found_once_and_held_no_longer_than_the_function():
    def function(a: Color): ...

    assert classes_of(function) is classes_of(function)
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None


def test_annotations_that_misbehave():
    class Odd:
        __origin__ = property(lambda self: 1 / 0)

        def __getattr__(self, name):
            raise LookupError(name)

    def function(a, b): ...

    for hint in (Odd(), "1 / 0", "(", "__import__('nowhere_at_all')", 5, [Color], lambda: 1):
        function.__annotations__ = {"a": hint}

        def fresh(a): ...

        fresh.__annotations__ = {"a": hint, "b": Color}
        assert names(fresh) == {"Color"}

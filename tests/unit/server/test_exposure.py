"""Which members may be called: the exact set, whatever the order of the decorators."""

from __future__ import annotations

import functools
import random
import string
from typing import ClassVar

import pytest

from pyroipc.errors import DaemonError
from pyroipc.server.dispatcher import Dispatcher, Instances
from pyroipc.server.exposure import (
    METHOD,
    PROPERTY,
    behavior,
    expose,
    exposed_members,
    is_private_name,
    oneway,
)
from pyroipc.server.registry import Registry


def names(cls, **options):
    return set(exposed_members(cls, **options))


class Base:
    @expose
    def inherited(self):
        return "inherited"

    def hidden(self):
        raise AssertionError

    @expose
    def overridden(self):
        raise AssertionError


@expose
class Whole(Base):
    attribute = 5
    functions = (len,)

    class Inner:
        pass

    def method(self):
        return "method"

    def _private(self):
        raise AssertionError

    def __mangled(self):
        raise AssertionError

    def __len__(self):
        return 7

    def __getattr__(self, name):
        raise AttributeError(name)

    @staticmethod
    def static():
        return "static"

    @classmethod
    def klass(cls):
        return cls.__name__

    @property
    def prop(self):
        return "prop"

    @oneway
    def silent(self):
        return None

    def overridden(self):
        return "mine"


class Parts:
    def hidden(self):
        raise AssertionError

    @expose
    @staticmethod
    def static_inside():
        return 1

    @staticmethod
    @expose
    def static_outside():
        return 1

    @expose
    @classmethod
    def class_inside(cls):
        return 1

    @classmethod
    @expose
    def class_outside(cls):
        return 1

    @expose
    @oneway
    def oneway_inside(self):
        return 1

    @oneway
    @expose
    def oneway_outside(self):
        return 1

    @expose
    @property
    def read(self):
        return 1

    @property
    @expose
    def read_function(self):
        return 1

    @expose
    @property
    def read_only(self):
        return 1

    @expose
    @property
    def both(self):
        return self._written

    @both.setter
    def both(self, value):
        self._written = value

    @property
    def write_only(self):
        raise AssertionError("the getter of an unexposed property ran")

    @expose
    @write_only.setter
    def write_only(self, value):
        self._written = value

    @property
    def trap(self):
        raise AssertionError("the getter of an unexposed property ran")


class Child(Parts):
    def static_inside(self):
        raise AssertionError("overridden without @expose")

    def added(self):
        raise AssertionError


def test_a_class():
    assert names(Whole) == {
        "inherited", "method", "__len__", "static", "klass", "prop", "silent", "overridden",
    }  # fmt: skip


def test_single_members():
    assert names(Parts) == {
        "static_inside", "static_outside", "class_inside", "class_outside", "oneway_inside",
        "oneway_outside", "read", "read_function", "read_only", "both", "write_only",
    }  # fmt: skip


def test_inheritance():
    assert names(Base) == {"inherited", "overridden"}
    assert names(Child) == names(Parts) - {"static_inside"}


def test_a_setter_that_is_inherited_is_not_exposed_with_the_getter():
    class Closed:
        @property
        def value(self):
            raise AssertionError

        @value.setter
        def value(self, value):
            raise AssertionError

    class Opened(Closed):
        @expose
        @Closed.value.getter
        def value(self):
            return 1

    member = exposed_members(Opened)["value"]
    assert member.setter is None
    assert member.getter(Opened()) == 1
    assert names(Closed) == set()


def test_kinds_and_oneway():
    table = exposed_members(Parts)
    assert {name for name, m in table.items() if m.kind == PROPERTY} == {
        "read", "read_function", "read_only", "both", "write_only",
    }  # fmt: skip
    assert {name for name, m in table.items() if m.oneway} == {"oneway_inside", "oneway_outside"}
    assert all(m.kind in {METHOD, PROPERTY} for m in table.values())
    assert table["read_only"].setter is None
    assert table["write_only"].getter is None


def test_a_class_without_marks_is_closed_or_all_public():
    class Plain:
        attribute = 5

        def method(self):
            return 1

        def _private(self):
            raise AssertionError

        @property
        def prop(self):
            return 2

        @staticmethod
        def static():
            return 3

        def __iter__(self):
            return iter(())

        def __repr__(self):
            return ""

    assert names(Plain) == set()
    assert names(Plain, public=True) == {"method", "prop", "static", "__iter__"}
    assert names(Parts, public=True) == names(Parts), "marks count"
    assert names(Child, public=True) == names(Child)
    assert names(int) == set()
    assert names(type) == set()


def test_user_classes_are_not_written_to():
    before = set(vars(Parts))
    exposed_members(Parts)
    assert set(vars(Parts)) == before


def test_wraps_keeps_the_mark():
    def loud(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    class Wrapped:
        @loud
        @expose
        def inside(self):
            return 1

        @expose
        @loud
        def outside(self):
            return 1

        @loud
        def not_at_all(self):
            raise AssertionError

    assert names(Wrapped) == {"inside", "outside"}


@pytest.mark.parametrize(
    "name", ["_x", "__x", "__init__", "__getattr__", "__reduce__", "__call__"]
)
def test_private_names_cannot_be_exposed(name):
    def function(self):
        raise AssertionError

    function.__name__ = name
    with pytest.raises(AttributeError, match="private"):
        expose(function)
    assert is_private_name(name)


@pytest.mark.parametrize("thing", [5, "text", None, property()])
def test_what_cannot_be_exposed(thing):
    with pytest.raises(AttributeError):
        expose(thing)


def test_behavior_checks_its_arguments():
    with pytest.raises(TypeError, match=r"parentheses|arguments"):
        behavior(Parts)
    with pytest.raises(ValueError, match=r"percall"):
        behavior(instance_mode="sometimes")
    with pytest.raises(TypeError):
        behavior(instance_creator=5)
    with pytest.raises(TypeError):
        behavior()(lambda: None)


# --- through the choke point ------------------------------------------------------------------


class Watched(Parts):
    """Notes whatever is looked up on its instances."""

    looked_up: ClassVar[list[str]] = []

    def __getattribute__(self, name):
        if not name.startswith("_written"):
            Watched.looked_up.append(name)
        return super().__getattribute__(name)


@pytest.fixture
def dispatcher():
    registry = Registry()
    registry.register(Watched(), "object")
    registry.register(Parts, "class")
    return Dispatcher(registry, Instances())


def hostile_names():
    chance = random.Random(3)
    alphabet = string.ascii_letters + "_" * 20 + ".:()[]<>/\\ \x00\n" + "äλ\ud800"
    made = {"".join(chance.choices(alphabet, k=chance.randint(0, 30))) for _ in range(500)}
    return sorted(
        made
        | set(dir(Parts))
        | set(dir(type))
        | {"a.b", "read.__class__", "__class__.__bases__", "hidden", "trap", "_Parts__x", "self"}
    )


@pytest.mark.parametrize("target", ["object", "class"])
def test_hostile_names_reach_nothing(dispatcher, target):
    """G24."""
    Watched.looked_up.clear()
    exposed = names(Parts)
    methods = {name for name, m in exposed_members(Parts).items() if m.kind == METHOD}
    refused = 0
    for name in hostile_names():
        if name not in methods and name not in {"__getattr__", "__setattr__"}:
            with pytest.raises(AttributeError, match=r"exposed: .*read_only"):
                dispatcher.find(target, name)
            refused += 1
        if name not in exposed or name in methods:
            with pytest.raises(AttributeError):
                dispatcher.find(target, "__getattr__")(name)
            with pytest.raises(AttributeError):
                dispatcher.find(target, "__setattr__")(name, 1)
    assert refused > 500
    assert set(Watched.looked_up) <= {"__class__"}


@pytest.mark.parametrize("name", [None, 5, b"read", ["read"], {"read": 1}, ("read",), 1.5])
def test_names_that_are_no_text(dispatcher, name):
    for call in (
        lambda: dispatcher.find("object", name),
        lambda: dispatcher.find("object", "__getattr__")(name),
        lambda: dispatcher.find("object", "__setattr__")(name, 1),
    ):
        with pytest.raises(AttributeError):
            call()
    with pytest.raises(DaemonError):
        dispatcher.find(name, "read")


def test_properties_through_the_choke_point(dispatcher):
    get, put = dispatcher.find("object", "__getattr__"), dispatcher.find("object", "__setattr__")
    assert get("read") == 1
    assert get("read_only") == 1
    with pytest.raises(AttributeError, match="read-only"):
        put("read_only", 2)
    with pytest.raises(AttributeError):
        get("write_only")
    put("write_only", 5)
    assert get("both") == 5
    put("both", 6)
    assert get("both") == 6
    with pytest.raises(AttributeError):
        get("trap")
    with pytest.raises(AttributeError):
        get("oneway_inside")


def test_what_the_instance_holds_does_not_count(dispatcher):
    thing = Parts()
    thing.oneway_inside = lambda: pytest.fail("the attribute of the instance ran")
    thing.extra = lambda: pytest.fail("the attribute of the instance ran")
    registry = Registry()
    registry.register(thing, "x")
    find = Dispatcher(registry, Instances()).find
    assert find("x", "oneway_inside")() == 1
    with pytest.raises(AttributeError):
        find("x", "extra")

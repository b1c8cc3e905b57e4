"""An interface is the allow-list of an object whose class nobody may edit."""

from __future__ import annotations

import abc
import collections.abc
import dataclasses
import functools
import typing
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import pytest

from pyroipc.server.exposure import METHOD, PROPERTY, callback, expose, oneway
from pyroipc.server.registry import Entry, Registry
from tests.support.dispatching import dispatcher_for, find, read, write

T = TypeVar("T")


def table(target, interface):
    return Entry("it", target, interface=interface).members


class Engine:
    """Stands for a class of somebody else's."""

    limit = 9

    def __init__(self):
        self.speed = 1
        self.secret = "secret"

    def start(self, key="k"):
        return f"started with {key}"

    def explode(self):
        raise AssertionError

    @expose
    def marked(self):
        raise AssertionError("a mark on the class ran past the interface")

    def _private(self):
        raise AssertionError

    @staticmethod
    def static():
        return "static"

    @classmethod
    def klass(cls):
        return cls.__name__

    again = functools.partialmethod(start, "again")

    @property
    def temperature(self):
        return 20

    @property
    def level(self):
        return self.secret

    @level.setter
    def level(self, value):
        self.secret = value

    @functools.cached_property
    def cached(self):
        return "cached"

    def __len__(self):
        return 4

    def __iter__(self):
        raise AssertionError


class Whole:
    def start(self): ...
    def static(self): ...
    def klass(self): ...
    def again(self): ...
    def _private(self): ...
    def __len__(self): ...
    def __init__(self): ...
    @property
    def temperature(self): ...
    @property
    def level(self): ...
    @level.setter
    def level(self, value): ...
    @property
    def cached(self): ...
    @property
    def speed(self): ...

    constant = 5

    class Nested:
        pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def start(self): ...

    @property
    @abc.abstractmethod
    def level(self): ...


class Base(Protocol):
    def start(self) -> str: ...


class Derived(Base, Protocol[T]):
    speed: int
    level: str
    temperature: Final[int]
    limit: ClassVar[int]

    def static(self) -> T: ...


@pytest.mark.parametrize(
    ("interface", "names"),
    [
        (Whole, {"start", "static", "klass", "again", "__len__", "temperature", "level", "cached",
                 "speed"}),
        (Abstract, {"start", "level"}),
        (Base, {"start"}),
        (Derived, {"start", "speed", "level", "temperature", "limit", "static"}),
        (collections.abc.Sized, {"__len__"}),
    ],
)  # fmt: skip
def test_the_interface_is_the_allow_list(interface, names):
    assert set(table(Engine(), interface)) == names
    assert set(table(Engine, interface)) == names
    dispatcher = dispatcher_for(Engine(), interface=interface)
    for name in set(dir(Engine)) | {"speed", "secret"}:
        if name not in names:
            if name not in {"__getattr__", "__setattr__"}:  # they read and write attributes
                with pytest.raises(AttributeError, match="exposed: "):
                    dispatcher.find("it", name)
            for access in (("__getattr__", (name,)), ("__setattr__", (name, 1))):
                with pytest.raises(AttributeError, match="exposed: "):
                    dispatcher.find("it", access[0])(*access[1])


def test_members_are_those_of_the_object():
    dispatcher = dispatcher_for(Engine(), interface=Whole)
    for name, args, result in [
        ("start", (), "started with k"), ("start", ("x",), "started with x"),
        ("again", (), "started with again"), ("static", (), "static"), ("klass", (), "Engine"),
        ("__len__", (), 4),
    ]:  # fmt: skip
        assert dispatcher.find("it", name)(*args) == result
    get, put = dispatcher.find("it", "__getattr__"), dispatcher.find("it", "__setattr__")
    assert (get("temperature"), get("level"), get("cached"), get("speed")) == (
        20, "secret", "cached", 1,
    )  # fmt: skip
    put("level", "new")
    assert get("level") == "new"
    for name in ("temperature", "cached", "speed"):
        with pytest.raises(AttributeError, match="read-only"):
            put(name, 5)


def test_an_interface_without_setter_closes_that_of_the_object():
    assert read(Engine(), "level", interface=Abstract) == "secret"
    with pytest.raises(AttributeError, match="read-only"):
        write(Engine(), "level", 1, interface=Abstract)


def test_annotations_of_a_protocol_can_be_assigned():
    engine = Engine()
    for name, value in [("speed", 5), ("level", "x")]:
        write(engine, name, value, interface=Derived)
        assert read(engine, name, interface=Derived) == getattr(engine, name) == value
    assert read(engine, "limit", interface=Derived) == 9
    for name in ("temperature", "limit"):
        with pytest.raises(AttributeError, match="read-only"):
            write(engine, name, 5, interface=Derived)


def test_annotations_of_other_classes_are_for_reading():
    class Annotated:
        speed: int
        limit: int = 3
        _hidden: int

    assert read(Engine(), "speed", interface=Annotated) == 1
    assert read(Engine(), "limit", interface=Annotated) == 9
    with pytest.raises(AttributeError, match="read-only"):
        write(Engine(), "speed", 2, interface=Annotated)
    assert set(table(Engine(), Annotated)) == {"speed", "limit"}


def test_annotations_that_are_objects():
    Late = type(
        "Late",
        (Protocol,),
        {"__annotations__": {"speed": int, "limit": typing.ClassVar[int], "level": Final[str]}},
    )
    writable = {name for name, m in table(Engine(), Late).items() if m.setter is not None}
    assert writable == {"speed"}


def test_a_class_is_registered():
    dispatcher = dispatcher_for(Engine, interface=Derived)
    assert dispatcher.find("it", "start")() == "started with k"
    dispatcher.find("it", "__setattr__")("speed", 7)
    assert dispatcher.find("it", "__getattr__")("speed") == 7, "one instance per conversation"


class Slotted:
    __slots__ = ("speed", "unset")

    def __init__(self):
        self.speed = 3


@dataclasses.dataclass
class Data:
    speed: int
    note: str = dataclasses.field(default="", init=False)


class Speed(Protocol):
    speed: int


@pytest.mark.parametrize("make", [Slotted, lambda: Data(3)])
def test_attributes_of_other_kinds(make):
    target = make()
    assert read(target, "speed", interface=Speed) == 3
    write(target, "speed", 4, interface=Speed)
    assert target.speed == 4


def test_builtin_classes():
    class Growing(Protocol):
        def append(self, item: Any) -> None: ...
        def __len__(self) -> int: ...

    target = [1]
    dispatcher = dispatcher_for(target, interface=Growing)
    dispatcher.find("it", "append")(5)
    assert target == [1, 5]
    assert dispatcher.find("it", "__len__")() == 2
    with pytest.raises(AttributeError, match="exposed: __len__, append"):
        dispatcher.find("it", "pop")

    class Complex(Protocol):
        @property
        def real(self) -> float: ...

    assert read(5j, "real", interface=Complex) == 0


def test_marks_of_the_interface_count():
    class Marked:
        @oneway
        def start(self): ...
        @callback
        def static(self): ...

    class Silent(Engine):
        @oneway
        def klass(self):
            raise AssertionError

    members = table(Engine(), Marked)
    assert (members["start"].oneway, members["start"].callback) == (True, False)
    assert (members["static"].oneway, members["static"].callback) == (False, True)
    assert table(Silent(), Whole)["klass"].oneway
    assert all(m.kind in {METHOD, PROPERTY} for m in members.values())


# ------------------------------------------------------------------------------- what is refused


class TooMuch(Protocol):
    acceleration: int

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def temperature(self) -> int: ...
    def limit(self) -> int: ...

    @property
    def explode(self) -> int: ...
    @property
    def brand(self) -> str: ...


def test_what_is_missing_is_listed():
    registry = Registry()
    with pytest.raises(TypeError) as caught:
        registry.register(Engine(), "it", interface=TooMuch)
    message = str(caught.value)
    assert message.startswith("'Engine' does not have what the interface 'TooMuch' names: ")
    for problem in ("explode (is a method)", "limit (is no method)", "stop", "temperature (is no"):
        assert problem in message
    assert "start" not in message
    assert registry.entries == {}
    assert registry.find(Engine) is None


def test_attributes_that_an_object_lacks():
    class Lacking(Protocol):
        acceleration: int

        @property
        def brand(self) -> str: ...
        @property
        def speed(self) -> int: ...

    with pytest.raises(TypeError, match=r"names: acceleration, brand$"):
        table(Engine(), Lacking)
    engine = Engine()
    engine.acceleration = engine.brand = 5
    assert set(table(engine, Lacking)) == {"acceleration", "brand", "speed"}
    with pytest.raises(TypeError, match=r"names: acceleration, brand$"):
        table(Engine(), Lacking)  # the next one of this class is looked at too
    assert set(table(Engine, Lacking)) == set(Lacking.__annotations__) | {"brand", "speed"}


def test_a_setter_that_the_object_lacks():
    class Setting:
        @property
        def temperature(self): ...
        @temperature.setter
        def temperature(self, value): ...

    with pytest.raises(TypeError, match=r"temperature \(has no setter\)"):
        table(Engine(), Setting)

    class WriteOnly:
        write_only = property(None, lambda self, value: None)

    class Reading(Protocol):
        write_only: int

    with pytest.raises(TypeError, match=r"write_only \(cannot be read\)"):
        table(WriteOnly(), Reading)
    assert table(WriteOnly(), WriteOnly)["write_only"].getter is None


@pytest.mark.parametrize("interface", [5, "Whole", Derived[int], Whole(), object(), [Whole]])
def test_what_is_no_interface(interface):
    with pytest.raises(TypeError, match="an interface is a class"):
        table(Engine(), interface)


@pytest.mark.parametrize("interface", [object, Protocol, abc.ABC, Generic, type("Empty", (), {})])
def test_interfaces_that_name_nothing(interface):
    with pytest.raises(TypeError, match="names no public"):
        table(Engine(), interface)


def test_classes_are_never_members():
    class Holder:
        class Nested:
            pass

        made_by = staticmethod(Nested)

    class Asking:
        def Nested(self): ...
        def made_by(self): ...

    class Reading:
        Nested: Any
        made_by: Any

    for interface in (Asking, Reading):
        with pytest.raises(TypeError, match=r"Nested \(is .*\), made_by \(is "):
            table(Holder(), interface)


def test_an_attribute_that_is_a_method():
    class Callback(Protocol):
        start: collections.abc.Callable[[str], str]

    assert find(Engine(), "start", interface=Callback)("x") == "started with x"


def test_a_member_that_an_interface_takes_back():
    class Less(Whole):
        start = None

    assert "start" not in table(Engine(), Less)
    with pytest.raises(AttributeError):
        find(Engine(), "start", interface=Less)


def test_nothing_runs_when_an_interface_is_read():
    class Loud(type):
        def __getattribute__(cls, name):
            if name not in {"__class__", "__isabstractmethod__"}:
                raise AssertionError(f"the metaclass was asked for {name}")
            return super().__getattribute__(name)

        def __instancecheck__(cls, instance):
            raise AssertionError

        def __subclasscheck__(cls, subclass):
            raise AssertionError

    class Interface(metaclass=Loud):
        speed: int

        def start(self): ...

    class Delegating:
        def __init__(self):
            object.__setattr__(self, "speed", 1)

        def start(self):
            return 1

        def __getattr__(self, name):
            raise AssertionError(f"looked up: {name}")

    assert set(table(Delegating(), Interface)) == {"speed", "start"}
    with pytest.raises(TypeError, match="names: limit, speed"):
        table(
            type("Other", (Delegating,), {"__init__": lambda self: None})(),
            type("More", (Interface,), {"__annotations__": {"limit": int}}),
        )


def test_typing_extensions_of_the_library():
    assert set(table(5, typing.SupportsInt)) == {"__int__"}
    assert find(5, "__int__", interface=typing.SupportsInt)() == 5

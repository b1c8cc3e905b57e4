"""Which members may be called: the exact set, whatever the order of the decorators."""

from __future__ import annotations

import functools

import pytest

from pyroipc.server.exposure import (
    METHOD,
    PROPERTY,
    behavior,
    callback,
    expose,
    exposed_members,
    forget_members,
    is_private_name,
    oneway,
)
from tests.support.dispatching import dispatcher_for, find, read, write


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


# ------------------------------------------------------------------------------- properties


def _get_shared(self):
    return self._shared


def _set_shared(self, value):
    self._shared = value


class Called:
    """``expose`` called as a function."""

    def _get(self):
        return self._value

    def _set(self, value):
        self._value = value

    both = expose(property(_get, _set))
    read_only = expose(property(_get))
    write_only = expose(property(None, _set))
    anonymous = expose(property(lambda self: 5))
    afterwards = property(_get_shared, _set_shared)
    hidden = property(lambda self: pytest.fail("the getter of an unexposed property ran"))


class CalledOnOwn:
    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value

    value = expose(value)


def test_expose_called_on_a_property_marks_both_accessors():
    assert names(Called) == {"both", "read_only", "write_only", "anonymous"}
    dispatcher = dispatcher_for(Called())
    get, put = dispatcher.find("it", "__getattr__"), dispatcher.find("it", "__setattr__")
    put("both", 1)
    assert get("both") == get("read_only") == 1
    put("write_only", 2)
    assert get("both") == 2
    assert get("anonymous") == 5
    for name in ("read_only", "anonymous"):
        with pytest.raises(AttributeError, match=f"{name!r} is read-only"):
            put(name, 3)
    with pytest.raises(AttributeError, match="can only be assigned"):
        get("write_only")


def test_expose_called_afterwards():
    expose(Called.afterwards)
    table = {name: m for name, m in vars(Called).items() if isinstance(m, property)}
    assert table["afterwards"].fget._pyroExposed
    assert table["afterwards"].fset._pyroExposed

    class Late(Called):
        pass

    assert "afterwards" in names(Late)
    member = exposed_members(CalledOnOwn)["value"]
    assert member.getter is not None
    assert member.setter is not None


def test_a_private_property_cannot_be_exposed():
    with pytest.raises(AttributeError, match="'_value'"):

        class _Decorated:
            @expose
            @property
            def _value(self):
                raise AssertionError

    class Named:
        def _get(self):
            raise AssertionError

        _value = expose(property(_get, _get))

    assert names(Named) == set()


class Guarded:
    """A base whose setter is its own business."""

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        raise AssertionError("the setter of the base ran")


def test_the_setter_of_a_base_stays_closed():
    class Getter(Guarded):
        @expose
        @Guarded.value.getter
        def value(self):
            return 1

    @expose
    class Whole(Guarded):
        @Guarded.value.getter
        def value(self):
            return 1

    def make():
        class Guarded(globals()["Guarded"]):  # of the same name as its base
            @expose
            @globals()["Guarded"].value.getter
            def value(self):
                return 1

        Guarded.value.fget.__qualname__ = "Guarded.value"
        return Guarded

    for cls in (Getter, Whole, make()):
        assert read(cls(), "value") == 1
        with pytest.raises(AttributeError, match="read-only"):
            write(cls(), "value", 2)
        assert exposed_members(cls)["value"].setter is None
    assert names(Guarded) == set()
    assert not hasattr(Guarded.value.fset, "_pyroExposed")


def test_a_setter_added_to_the_property_of_a_base():
    class Setter(Guarded):
        @expose
        @Guarded.value.setter
        def value(self, value):
            self._value = value

    thing = Setter()
    write(thing, "value", 7)
    assert thing.value == 7
    with pytest.raises(AttributeError, match="can only be assigned"):
        read(thing, "value")
    assert names(Guarded) == set()


def test_attributes_cannot_be_deleted():
    class Deletable:
        @property
        def value(self):
            return 1

        @value.deleter
        def value(self):
            raise AssertionError("the deleter ran")

    expose(Deletable)
    for name in ("__delattr__", "__delete__", "__delitem__"):
        with pytest.raises(AttributeError):
            find(Deletable(), name)


# ---------------------------------------------------------------------------- kinds of members


class Metaclass(type):
    def of_the_metaclass(cls):
        raise AssertionError

    expose(of_the_metaclass)

    def __getattr__(cls, name):
        raise AssertionError(f"the metaclass was asked for {name}")

    def __eq__(cls, other):
        raise AssertionError("classes were compared")

    __hash__ = None


@expose
class Kinds(metaclass=Metaclass):
    __slots__ = ("__dict__", "slot")
    constant = 5
    table: dict[str, int] = {}  # noqa: RUF012
    instance = functools.partial(pytest.fail, "a callable instance ran")

    class Nested:
        def method(self):
            raise AssertionError

    made_by = staticmethod(Nested)
    clock = staticmethod(len)  # takes no marks itself

    def method(self, factor=1):
        return 2 * factor

    tripled = functools.partialmethod(method, 3)
    lambda_function = lambda self: "lambda"  # noqa: E731

    @functools.cached_property
    def cached(self):
        self.runs = getattr(self, "runs", 0) + 1
        return self.runs

    @functools.singledispatchmethod
    def single(self, value):
        return "any"

    @single.register
    def _(self, value: int):
        return "int"

    async def coroutine(self):
        return "awaited"

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return key

    def __contains__(self, key):
        return key == 1

    def __iter__(self):
        return iter("ab")

    def __call__(self):
        raise AssertionError

    def __eq__(self, other):
        raise AssertionError

    __hash__ = None


def test_kinds_of_members():
    assert names(Kinds) == {
        "method", "tripled", "lambda_function", "cached", "single", "coroutine", "clock",
        "__len__", "__getitem__", "__contains__", "__iter__",
    }  # fmt: skip
    assert not hasattr(Kinds.__dict__["Nested"], "_pyroExposed")
    assert not hasattr(len, "_pyroExposed")


@pytest.mark.parametrize("target", [Kinds, Kinds()], ids=["class", "object"])
def test_kinds_are_called(target):
    dispatcher = dispatcher_for(target)
    for name, args, result in [
        ("method", (5,), 10), ("tripled", (), 6), ("lambda_function", (), "lambda"),
        ("single", (5,), "int"), ("single", ("",), "any"), ("clock", ("abc",), 3),
        ("__len__", (), 3), ("__getitem__", ("k",), "k"), ("__contains__", (1,), True),
    ]:  # fmt: skip
        assert dispatcher.find("it", name)(*args) == result, name
    assert list(dispatcher.find("it", "__iter__")()) == ["a", "b"]
    get, put = dispatcher.find("it", "__getattr__"), dispatcher.find("it", "__setattr__")
    assert (get("cached"), get("cached")) == (1, 1)
    with pytest.raises(AttributeError, match="read-only"):
        put("cached", 2)
    for name in ("slot", "constant", "table", "Nested", "made_by", "of_the_metaclass", "mro"):
        with pytest.raises(AttributeError, match="missing or not exposed"):
            dispatcher.find("it", name)
        with pytest.raises(AttributeError):
            get(name)


def test_an_async_method_returns_a_coroutine():
    coroutine = find(Kinds(), "coroutine")()
    with pytest.raises(StopIteration, match="awaited"):
        coroutine.send(None)


def test_single_members_of_functools():
    class Single:
        def add(self, a, b):
            return a + b

        marked = expose(functools.partialmethod(add, 1))
        unmarked = functools.partialmethod(add, 1)

        @expose
        @functools.cached_property
        def above(self):
            return "above"

        @functools.cached_property
        @expose
        def below(self):
            return "below"

        @functools.cached_property
        def not_marked(self):
            raise AssertionError

        @expose
        def exposed(self):
            return 1

        bound = functools.partialmethod(exposed)

    assert names(Single) == {"marked", "above", "below", "exposed"}
    assert find(Single(), "marked")(2) == 3
    assert read(Single(), "above") == "above"
    with pytest.raises(AttributeError, match="an attribute, to be read"):
        find(Single(), "above")


def test_abstract_members():
    import abc

    @expose
    class Abstract(abc.ABC):
        @abc.abstractmethod
        def method(self):
            raise AssertionError

        @property
        @abc.abstractmethod
        def value(self):
            raise AssertionError

    class Concrete(Abstract):
        def method(self):
            raise AssertionError("an override is not exposed by itself")

        @property
        def value(self):
            raise AssertionError("an override is not exposed by itself")

    assert names(Abstract) == {"method", "value"}
    assert names(Concrete) == set()
    assert names(expose(Concrete)) == set(), "the table of a class is made once"

    @expose
    class Marked(Abstract):
        def method(self):
            return 1

        value = property(lambda self: 2)

    assert names(Marked) == {"method", "value"}


def test_marks_that_come_late():
    class Late:
        def method(self):
            return 1

    assert names(Late) == set()
    expose(Late)
    assert names(Late) == set()
    forget_members(Late)
    assert names(Late) == {"method"}
    forget_members(type("Unknown", (), {}))


def test_a_class_marks_its_own_members_only():
    class First:
        def inherited(self):
            raise AssertionError

        value = property(lambda self: pytest.fail("inherited"))

    @expose
    class Second(First):
        def own(self):
            return 1

    class Third(Second):
        def later(self):
            raise AssertionError

        own_too = Second.own

    assert names(First) == set()
    assert names(Second) == {"own"}
    assert names(Third) == {"own", "own_too"}


def test_a_member_that_was_taken_away():
    class Without(Base):
        inherited = None
        overridden = property(lambda self: pytest.fail("not exposed"))

    assert names(Without) == set()


def test_dataclasses():
    import dataclasses

    @expose
    @dataclasses.dataclass(order=True)
    class Data:
        value: int = 5

        def __post_init__(self):
            self.value += 1

        def method(self):
            return self.value

    assert names(Data) == {"method"}
    assert names(Data, public=True) == {"method"}


def test_callback_and_oneway():
    class Listening:
        @expose
        @callback
        def inside(self):
            raise AssertionError

        @callback
        @expose
        @oneway
        def outside(self):
            raise AssertionError

        @expose
        def neither(self):
            raise AssertionError

        @callback
        def not_exposed(self):
            raise AssertionError

    table = exposed_members(Listening)
    assert {name: (m.callback, m.oneway) for name, m in table.items()} == {
        "inside": (True, False), "outside": (True, True), "neither": (False, False),
    }  # fmt: skip
    assert Listening.inside._pyroCallback is True
    with pytest.raises(AttributeError, match="takes no attributes"):
        callback(len)
    with pytest.raises(AttributeError, match="takes no attributes"):
        oneway(property(lambda self: 1))


# ----------------------------------------------------------------------- nothing of theirs runs


class Tripwire:
    """Reports whatever is looked up on it."""

    def __getattribute__(self, name):
        raise AssertionError(f"looked up: {name}")

    def __get__(self, instance, owner):
        raise AssertionError("bound")


class WithTripwires:
    wire = Tripwire()

    def __getattr__(self, name):
        raise AssertionError(f"looked up: {name}")

    @property
    def __dict__(self):
        raise AssertionError("the dictionary was looked up")

    @property
    def __class__(self):
        raise AssertionError("the class was looked up")

    @expose
    def method(self):
        return 1


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("make", [lambda: WithTripwires, WithTripwires], ids=["class", "object"])
def test_no_code_of_the_object_runs(make, public):
    dispatcher = dispatcher_for(make(), public=public)
    assert dispatcher.find("it", "method")() == 1
    for name in ("wire", "missing", "__dict__", "__class__"):
        with pytest.raises(AttributeError, match="exposed: method"):
            dispatcher.find("it", name)
        with pytest.raises(AttributeError, match="exposed: method"):
            dispatcher.find("it", "__getattr__")(name)


def test_descriptors_of_users_are_not_bound_at_registration():
    class Descriptor:
        def __init__(self):
            self._pyroExposed = True
            self.bound = 0

        def __get__(self, instance, owner):
            self.bound += 1
            return lambda: "ran"

        def __call__(self):
            raise AssertionError

    class Described:
        member = Descriptor()

    dispatcher = dispatcher_for(Described())
    assert vars(Described)["member"].bound == 0
    assert dispatcher.find("it", "member")() == "ran"
    assert vars(Described)["member"].bound == 1


# ------------------------------------------------------------------------------------ the error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("methd", "did you mean 'method'?"),
        ("Method", "did you mean 'method'?"),
        ("static_", "did you mean 'static'?"),
        ("_private", "is private"),
        ("__init__", "is private"),
        ("prop", "is an attribute, to be read or assigned, and cannot be called"),
        ("zzz", "is missing or not exposed; exposed: __len__, inherited, klass, method"),
    ],
)
def test_what_the_error_says(name, message):
    with pytest.raises(AttributeError) as caught:
        find(Whole(), name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"'Whole' member {name!r} is")
    assert "exposed: __len__, inherited, klass, method, overridden, prop," in str(caught.value)


def test_reading_a_method():
    for access in (lambda: read(Whole(), "method"), lambda: write(Whole(), "method", 1)):
        with pytest.raises(AttributeError, match="is a method, to be called"):
            access()


def test_the_error_stays_short():
    Many = type("Many", (), {f"member{i}": expose(lambda self: 1) for i in range(1000)})
    with pytest.raises(AttributeError, match=r"member\d+ and 900 more$") as caught:
        find(Many(), "x" * 100_000)
    assert len(str(caught.value)) < 2000
    with pytest.raises(AttributeError, match="exposed: nothing"):
        find(object(), "x")

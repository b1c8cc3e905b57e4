"""G24: whatever name a peer sends, only what is exposed runs; getters and setters included."""

from __future__ import annotations

import random
import string
import typing

import pytest

from pyroipc.errors import DaemonError
from pyroipc.server.exposure import METHOD, expose
from pyroipc.server.registry import Registry
from tests.support.dispatching import dispatcher_of

ran = []


def tell(name, result=None):
    def method(self, *args, **kwargs):
        ran.append(name)
        return result

    method.__name__ = name
    return method


class Plain:
    """Half of it is exposed, and every part tells when it runs."""

    def __init__(self):
        self.on_the_instance = tell("on_the_instance")

    def __getattribute__(self, name):
        if name != "on_the_instance":
            ran.append(f"looked up {name}")
        return object.__getattribute__(self, name)

    def __getattr__(self, name):
        ran.append(f"asked for {name}")
        raise AttributeError(name)

    def __setattr__(self, name, value):
        ran.append(f"assigned {name}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        ran.append(f"deleted {name}")

    method = expose(tell("method"))
    hidden = tell("hidden")
    _private = tell("_private")
    __mangled = tell("__mangled")
    __len__ = expose(tell("__len__", 1))
    __getitem__ = tell("__getitem__")
    __call__ = tell("__call__")
    __custom__ = tell("__custom__")
    both = expose(property(tell("get both"), tell("set both")))
    read_only = expose(property(tell("get read_only")))
    write_only = expose(property(None, tell("set write_only")))
    trap = property(tell("get trap"), tell("set trap"), tell("delete trap"))

    @staticmethod
    def static():
        ran.append("static")

    @classmethod
    def klass(cls):
        ran.append("klass")

    class Nested:
        def __init__(self, *args):
            ran.append("Nested")


class Child(Plain):
    def method(self):
        ran.append("override")

    later = expose(tell("later"))


class Interface(typing.Protocol):
    on_the_instance: typing.Any

    def hidden(self) -> None: ...
    @property
    def trap(self) -> None: ...


CASES = {
    "object": (lambda: Plain(), {}, {"method", "__len__"},
               {"both", "read_only"}, {"both", "write_only"}),
    "class": (lambda: Plain, {}, {"method", "__len__"},
              {"both", "read_only"}, {"both", "write_only"}),
    "child": (lambda: Child(), {}, {"later", "__len__"},
              {"both", "read_only"}, {"both", "write_only"}),
    "public": (lambda: Plain(), {"public": True}, {"method", "__len__"},
               {"both", "read_only"}, {"both", "write_only"}),
    "interface": (lambda: Plain(), {"interface": Interface}, {"hidden"},
                  {"trap", "on_the_instance"}, {"on_the_instance"}),
}  # fmt: skip


def hostile_names():
    chance = random.Random(3)
    alphabet = string.ascii_letters + "_" * 20 + ".:()[]<>/\\ \x00\n" + "äλ\ud800"
    made = {"".join(chance.choices(alphabet, k=chance.randint(0, 30))) for _ in range(550)}
    known = {*dir(Plain), *dir(Child), *dir(type), *dir(Plain.Nested), "on_the_instance"}
    near = {change(name) for name in known for change in (
        str.upper, lambda n: n + " ", lambda n: "_" + n, lambda n: n + "\0", lambda n: n * 2,
        lambda n: f"both.{n}", lambda n: f"{n}.__class__", lambda n: f"__{n}__",
    )}  # fmt: skip
    return sorted(made | known | near | {"method.__globals__", "self", "", "__getattr__"})


def outcome(call, *args):
    """Call it; say whether that was refused, and what ran in the object."""
    ran.clear()
    try:
        call(*args)
    except AttributeError:
        return "refused", list(ran)
    return "ran", list(ran)


@pytest.mark.parametrize("case", CASES)
def test_only_what_is_exposed_runs(case):
    make, options, methods, readable, writable = CASES[case]
    registry = Registry()
    target = make()
    ran.clear()
    registry.register(target, "it", **options)
    assert ran == [], "registering runs nothing"
    dispatcher = dispatcher_of(registry)
    get, put = dispatcher.find("it", "__getattr__"), dispatcher.find("it", "__setattr__")
    get(min(readable - {"on_the_instance"}))  # the instance of a class is made now

    def call(name):
        dispatcher.find("it", name)()

    names = hostile_names()
    assert len(names) > 1000
    for name in names:
        if name not in {"__getattr__", "__setattr__"}:
            expected = ("ran", [name]) if name in methods else ("refused", [])
            assert outcome(call, name) == expected, name
        if name == "on_the_instance" and name in writable:
            continue
        expected = ("ran", [f"get {name}"]) if name in readable else ("refused", [])
        assert outcome(get, name) == expected, name
        expected = ("ran", [f"set {name}"]) if name in writable else ("refused", [])
        assert outcome(put, name, 1) == expected, name
    if "on_the_instance" in writable:
        assert outcome(lambda: put("on_the_instance", 5)) == ("ran", ["assigned on_the_instance"])
        assert get("on_the_instance") == 5


@pytest.mark.parametrize("case", CASES)
def test_the_table_has_nothing_more(case):
    make, options, methods, readable, writable = CASES[case]
    entry = Registry().register(make(), "it", **options)
    assert {name for name, m in entry.members.items() if m.kind == METHOD} == methods
    assert set(entry.methods) <= methods
    attributes = [m for m in entry.members.values() if m.kind != METHOD]
    assert {m.name for m in attributes if m.getter} == readable
    assert {m.name for m in attributes if m.setter} == writable


class Text(str):
    """A name that is not what it looks like."""

    __slots__ = ()

    def __eq__(self, other):
        return True

    def __hash__(self):
        return hash("method")


@pytest.mark.parametrize(
    "name", [None, 5, b"method", ["method"], {"method": 1}, ("method",), 1.5, object()]
)
def test_names_that_are_no_text(name):
    registry = Registry()
    registry.register(Plain(), "it")
    dispatcher = dispatcher_of(registry)
    for call in (
        lambda: dispatcher.find("it", name),
        lambda: dispatcher.find("it", "__getattr__")(name),
        lambda: dispatcher.find("it", "__setattr__")(name, 1),
    ):
        assert outcome(call) == ("refused", [])
    with pytest.raises(DaemonError):
        dispatcher.find(name, "method")


def test_a_name_that_equals_everything_gets_no_more_than_its_hash():
    registry = Registry()
    registry.register(Plain(), "it")
    dispatcher = dispatcher_of(registry)
    assert outcome(lambda: dispatcher.find("it", Text("hidden"))())[1] in ([], ["method"])


def test_what_the_instance_holds_does_not_count():
    thing = Plain()
    object.__setattr__(thing, "method", lambda: pytest.fail("the attribute of the instance ran"))
    object.__setattr__(thing, "extra", lambda: pytest.fail("the attribute of the instance ran"))
    registry = Registry()
    registry.register(thing, "it")
    dispatcher = dispatcher_of(registry)
    assert outcome(lambda: dispatcher.find("it", "method")()) == ("ran", ["method"])
    assert outcome(lambda: dispatcher.find("it", "extra")()) == ("refused", [])

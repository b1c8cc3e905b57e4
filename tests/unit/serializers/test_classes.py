"""pyroipc/serializers/classes.py: registries, and what may be rebuilt from a dict."""

import random
import string
import sys

import pytest

from pyroipc.errors import NamingError, PyroError, RemoteError, SecurityError, SerializeError
from pyroipc.serializers import classes, table

PLAIN_FORMATS = ["serpent", "json", "msgpack", "marshal"]


class Thing:
    def __init__(self, size):
        self.size = size

    def __eq__(self, other):
        return type(other) is type(self) and other.size == self.size

    __hash__ = None


class SubThing(Thing):
    pass


@pytest.fixture
def registered():
    classes.register_class_to_dict(Thing, lambda thing: {"__class__": "t.Thing", "n": thing.size})
    classes.register_dict_to_class("t.Thing", lambda _name, data: Thing(data["n"]))
    yield
    classes.unregister_class_to_dict(Thing)
    classes.unregister_dict_to_class("t.Thing")


@pytest.mark.parametrize("name", PLAIN_FORMATS)
@pytest.mark.usefixtures("registered")
def test_converters_both_ways(name):
    serializer = table.get(name)
    assert serializer.loads(serializer.dumps(Thing(3))) == Thing(3)
    assert serializer.loads(serializer.dumps(SubThing(4))) == Thing(4)
    nested = serializer.loads(serializer.dumps([{"a": [Thing(5)]}]))
    assert nested == [{"a": [Thing(5)]}]
    call = serializer.dumps_call("o", "m", (Thing(1), [Thing(2)]), {"k": Thing(3)})
    _, _, args, kwargs = serializer.loads_call(call)
    assert list(args) == [Thing(1), [Thing(2)]]
    assert kwargs == {"k": Thing(3)}


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_after_unregistering_the_class_is_unknown(name):
    serializer = table.get(name)
    payload = serializer.dumps(Thing(3))
    with pytest.raises(SerializeError, match="unsupported serialized class"):
        serializer.loads(payload)


def test_unregistering_the_unknown_is_ignored():
    classes.unregister_class_to_dict(Thing)
    classes.unregister_dict_to_class("nobody")


def test_serpent_may_be_left_out():
    classes.register_class_to_dict(Thing, lambda thing: {"n": thing.size}, serpent_too=False)
    try:
        assert table.get("json").loads(table.get("json").dumps(Thing(3))) == {"n": 3}
        assert b"'size':3" in table.get("serpent").dumps(Thing(3))
    finally:
        classes.unregister_class_to_dict(Thing)


def test_first_registered_ancestor_wins():
    classes.register_class_to_dict(Thing, lambda _: {"__class__": "first"})
    classes.register_class_to_dict(SubThing, lambda _: {"__class__": "second"})
    try:
        assert classes.class_to_dict(SubThing(1)) == {"__class__": "first"}
    finally:
        classes.unregister_class_to_dict(Thing)
        classes.unregister_class_to_dict(SubThing)


def test_our_registrations_do_not_reach_other_users_of_serpent():
    import serpent

    before = dict(serpent._special_classes_registry)
    classes.register_class_to_dict(Thing, lambda thing: {"n": thing.size})
    try:
        assert dict(serpent._special_classes_registry) == before
        assert b"size" in serpent.dumps(Thing(1))
        serpent.register_class(Thing, lambda *_: 1 / 0)
        assert table.get("serpent").loads(table.get("serpent").dumps(Thing(1))) == {"n": 1}
    finally:
        serpent.unregister_class(Thing)
        classes.unregister_class_to_dict(Thing)


def test_the_object_is_never_changed():
    class Registered:
        def __init__(self):
            self.value = 1
            self._pyroDaemon = "daemon"

    thing = Registered()
    described = classes.class_to_dict(thing)
    assert thing._pyroDaemon == "daemon"
    described["value"] = 2
    assert thing.value == 1


@pytest.mark.parametrize("value", [set(), {}, (), [], len, int, sys, object(), lambda: None, 5])
def test_what_has_no_attributes_is_refused(value):
    with pytest.raises(SerializeError, match="don't know how to serialize"):
        classes.class_to_dict(value)


def test_slots_of_all_ancestors():
    class Base:
        __slots__ = "a"

    class Derived(Base):
        __slots__ = ("b", "unset")

    thing = Derived()
    thing.a, thing.b = 1, 2
    described = classes.class_to_dict(thing)
    described.pop("__class__")
    assert described == {"a": 1, "b": 2}


def test_double_underscores_are_refused_unless_registered():
    data = {"__class__": "__main__.Thing", "n": 1}
    with pytest.raises(SecurityError, match="double underscores"):
        classes.dict_to_class(data)
    classes.register_dict_to_class("__main__.Thing", lambda _name, data: Thing(data["n"]))
    try:
        assert classes.dict_to_class(data) == Thing(1)
    finally:
        classes.unregister_dict_to_class("__main__.Thing")


def test_builtin_rules_rank_behind_the_application(monkeypatch):
    monkeypatch.setattr(classes, "_builtin_from_dict", dict(classes._builtin_from_dict))
    monkeypatch.setattr(classes, "_builtin_to_dict", {})
    classes.register_builtin("Pyro5.core.URI", lambda _name, data: ("uri", data["state"]))
    classes.register_builtin_class(
        Thing, lambda thing: {"__class__": "Pyro5.core.URI", "state": thing.size}
    )
    try:
        for name in PLAIN_FORMATS:
            serializer = table.get(name)
            assert serializer.loads(serializer.dumps(Thing(7))) == ("uri", 7)
        classes.register_dict_to_class("Pyro5.core.URI", lambda *_: "mine")
        assert classes.dict_to_class({"__class__": "Pyro5.core.URI"}) == "mine"
    finally:
        classes.unregister_dict_to_class("Pyro5.core.URI")
        monkeypatch.undo()
        classes._refresh_serpent()


def test_failing_converter_is_a_serialize_error():
    classes.register_dict_to_class("bad", lambda *_: 1 / 0)
    try:
        with pytest.raises(SerializeError, match=r"cannot rebuild .*'bad'.*division"):
            classes.dict_to_class({"__class__": "bad"})
    finally:
        classes.unregister_dict_to_class("bad")


@pytest.mark.parametrize("name", [5, None, [], {"a": 1}, True])
def test_name_that_is_no_string(name):
    with pytest.raises(SerializeError):
        classes.dict_to_class({"__class__": name})


def test_name_as_bytes():
    assert classes.dict_to_class({"__class__": b"float", "value": "2.5"}) == 2.5


def test_pyro_errors_need_no_exception_mark():
    rebuilt = classes.dict_to_class({"__class__": "Pyro5.errors.NamingError", "args": ["x"]})
    assert type(rebuilt) is NamingError
    assert rebuilt.args == ("x",)
    assert isinstance(rebuilt, PyroError)


def test_members_of_class_dicts_stay_raw_for_converters_but_not_in_exceptions():
    inner = {"__class__": "float", "value": "1.0"}
    classes.register_dict_to_class("outer", lambda _name, data: data["inner"])
    try:
        assert classes.recreate([{"__class__": "outer", "inner": inner}]) == [inner]
    finally:
        classes.unregister_dict_to_class("outer")
    error = {"__class__": "ValueError", "__exception__": True, "args": (inner,)}
    assert classes.recreate((error,))[0].args == (1.0,)


def test_recreate_bounds_depth_and_cycles():
    cycle = []
    cycle.append(cycle)
    with pytest.raises(SerializeError, match="deeper than 200"):
        classes.recreate(cycle)


def test_ten_thousand_random_names_import_and_reach_nothing():
    chosen = random.Random(26)
    before = set(sys.modules)
    roots = ["os", "builtins", "subprocess", "pyroipc", "Pyro5", "Pyro5.errors", "sqlite3", "x"]
    leaves = [
        "system",
        "exec",
        "__import__",
        "Popen",
        "errors",
        "util.JsonSerializer",
        "Connection",
    ]
    refused = 0
    for _ in range(10_000):
        tail = "".join(chosen.choices(string.ascii_letters + "._", k=chosen.randrange(8)))
        name = f"{chosen.choice(roots)}.{chosen.choice(leaves)}{tail}"
        data = {
            "__class__": name,
            chosen.choice(["state", "args", "x"]): chosen.choice([(), 1, "a"]),
        }
        if chosen.random() < 0.3:
            data["__exception__"] = chosen.choice([True, 1, "yes"])
        try:
            value = classes.dict_to_class(data)
        except (SerializeError, SecurityError):
            refused += 1
        else:
            assert isinstance(value, RemoteError), name
    assert refused > 5000
    assert set(sys.modules) == before

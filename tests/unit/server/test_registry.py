"""Registration: ids, replacement, weak entries; nothing is written to the objects."""

from __future__ import annotations

import gc
import threading
import typing
import weakref

import pytest

from pyroipc.errors import DaemonError
from pyroipc.server.dispatcher import make_instance
from pyroipc.server.exposure import behavior, expose
from pyroipc.server.registry import Registry
from tests.support.dispatching import dispatcher_of, instances


@expose
class Thing:
    def name(self):
        return type(self).__name__

    @property
    def value(self):
        return 1


@pytest.fixture
def registry():
    return Registry()


def test_objects_without_attributes_of_their_own(registry):
    for target in (5, "text", None, object(), (1, 2)):
        registry.register(target, repr(target))
    assert len(registry.entries) == 5


def test_ids_are_unique_and_unguessable(registry):
    ids = {registry.register(object(), None).object_id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(object_id) >= 32 for object_id in ids)


def test_an_id_or_an_object_twice(registry):
    thing = Thing()
    registry.register(thing, "a")
    with pytest.raises(DaemonError, match="'a'"):
        registry.register(Thing(), "a")
    with pytest.raises(DaemonError, match="'a'"):
        registry.register(thing, "b")
    assert registry.register(thing, "b", force=True).object_id == "b"
    other = Thing()
    registry.register(other, "a", force=True)
    assert registry.find(other) is registry.get("a")


def test_force_moves_an_object_to_its_new_id(registry):
    thing, other = Thing(), Thing()
    registry.register(thing, "a")
    registry.register(thing, "b", force=True)
    assert set(registry.entries) == {"b"}
    assert registry.find(thing) is registry.get("b")
    registry.register(other, "b", force=True)
    assert registry.find(thing) is None
    assert registry.find(other) is registry.get("b")
    registry.register(thing, "c")
    registry.register(thing, "b", force=True)
    assert set(registry.entries) == {"b"}
    assert registry.find(other) is None
    again = registry.register(thing, "b", force=True)
    assert registry.find(thing) is again is registry.get("b")


def test_what_is_refused_leaves_nothing_behind(registry):
    thing, other = Thing(), Thing()
    registry.register(thing, "a")
    for target, object_id in ((other, "a"), (thing, "b"), (thing, "a"), (thing, None)):
        with pytest.raises(DaemonError, match="force=True"):
            registry.register(target, object_id)
    assert set(registry.entries) == {"a"}
    assert registry.find(other) is None
    registry.register(other, "b")


def test_after_unregistering_all_is_free_again(registry):
    thing = Thing()
    for target in (thing, "a"):
        registry.register(thing, "a")
        registry.unregister(target)
        assert registry.find(thing) is None
    registry.register(thing, "b")
    registry.clear()
    assert registry.find(thing) is None
    registry.register(thing, "c")
    registry.entries.clear()
    assert registry.find(thing) is None
    assert registry.find(registry.register(thing, "d").target()) is registry.get("d")


def test_a_class_and_its_instances_together(registry):
    registry.register(Thing, "class")
    registry.register(Thing(), "one")
    registry.register(Thing(), "two")
    assert registry.get("class").is_class
    assert not registry.get("class").methods


def test_equal_objects_are_not_the_same(registry):
    class Equal(Thing):
        def __eq__(self, other):
            raise AssertionError("comparison ran")

        __hash__ = None

    one, two = Equal(), Equal()
    registry.register(one, "a")
    registry.register(two, "b", weak=True)
    assert registry.find(two) is registry.get("b")
    assert registry.find(Equal()) is None
    registry.unregister(one)
    assert set(registry.entries) == {"b"}


def test_falsy_objects(registry):
    class Falsy(Thing):
        def __bool__(self):
            return False

        def __len__(self):
            return 0

    for weak in (False, True):
        falsy = Falsy()
        entry = registry.register(falsy, "a", weak=weak)
        assert registry.find(falsy) is entry
        assert dispatcher_of(registry).find("a", "name")() == "Falsy"
        registry.unregister(falsy)


def test_find_asks_no_other_object(registry):
    """It is a lookup, however many objects there are."""
    things = [Thing() for _ in range(1000)]
    entries = [registry.register(thing, None) for thing in things]

    def never():
        raise AssertionError("another entry was looked at")

    for entry in entries[:-1]:
        entry.target = never
    assert registry.find(things[-1]) is entries[-1]
    assert registry.find(Thing()) is None


@pytest.mark.parametrize("object_id", [5, b"a", ("a",), 1.5])
def test_ids_are_text(registry, object_id):
    with pytest.raises(TypeError):
        registry.register(Thing(), object_id)
    with pytest.raises(DaemonError):
        registry.get(object_id)


def test_unregister(registry):
    thing = Thing()
    registry.register(thing, "a")
    registry.unregister(thing)
    with pytest.raises(DaemonError, match="unknown object 'a'"):
        registry.get("a")
    registry.unregister("never was there")
    with pytest.raises(DaemonError):
        registry.unregister(thing)
    with pytest.raises(ValueError):
        registry.unregister(None)


def test_weak_entries_go_with_their_object(registry):
    thing = Thing()
    entry = registry.register(thing, "a", weak=True)
    assert not entry.methods
    assert dispatcher_of(registry).find("a", "name")() == "Thing"
    del thing
    gc.collect()
    assert "a" not in registry.entries
    with pytest.raises(TypeError):
        registry.register(Thing, "b", weak=True)


def test_a_weak_entry_that_was_replaced_takes_nothing_with_it(registry):
    thing, other = Thing(), Thing()
    registry.register(thing, "a", weak=True)
    registry.register(other, "a", force=True)
    del thing
    gc.collect()
    assert registry.find(other) is registry.get("a")


def test_metadata(registry):
    registry.register(Thing(), "a")
    assert registry.get("a").metadata() == {"methods": ["name"], "oneway": [], "attrs": ["value"]}


def test_instance_creators(registry):
    made = []

    @behavior(instance_mode="percall", instance_creator=lambda cls: made.append(cls) or cls())
    class Made(Thing):
        pass

    entry = registry.register(Made, "a")
    assert isinstance(make_instance(entry), Made)
    assert made == [Made]

    @behavior(instance_creator=lambda cls: 5)
    class Wrong(Thing):
        pass

    with pytest.raises(TypeError, match="returned a int"):
        make_instance(registry.register(Wrong, "b"))


def test_falsy_instances_are_made_once(registry):
    class Falsy(Thing):
        def __bool__(self):
            return False

    entry = registry.register(Falsy, "a")
    made = instances()
    assert made.get(entry) is made.get(entry)


# ------------------------------------------------------------------------------------------ weak


class Slots:
    __slots__ = ()


@pytest.mark.parametrize("target", [5, "text", None, (), Slots(), [1]])
def test_what_takes_no_weak_references(registry, target):
    with pytest.raises(TypeError, match=r"cannot be registered weakly.*__weakref__"):
        registry.register(target, "a", weak=True)
    assert not registry.entries
    assert registry.find(target) is None


def test_a_call_keeps_a_weak_object_alive(registry):
    thing = Thing()
    gone = weakref.ref(thing)
    registry.register(thing, "a", weak=True)
    method = dispatcher_of(registry).find("a", "name")
    del thing
    gc.collect()
    assert method() == "Thing"
    assert "a" in registry.entries
    del method
    assert gone() is None
    assert not registry.entries


def test_the_id_of_a_dead_object_means_nothing(registry):
    """CPython gives the same address again at once."""
    addresses = set()
    for number in range(200):
        thing = Thing()
        addresses.add(id(thing))
        assert registry.find(thing) is None
        registry.register(thing, str(number), weak=True)
        assert registry.find(thing) is registry.get(str(number))
        del thing
        assert not registry.entries
    assert len(addresses) < 200
    assert not registry._claims


def test_a_weak_object_in_a_cycle(registry):
    thing = Thing()
    thing.myself = thing
    registry.register(thing, "a", weak=True)
    del thing
    gc.collect()
    assert not registry.entries
    assert not registry._claims


def test_a_weak_object_that_was_unregistered_leaves_its_id_alone(registry):
    thing, other = Thing(), Thing()
    registry.register(thing, "a", weak=True)
    registry.unregister("a")
    registry.register(other, "a")
    del thing
    gc.collect()
    assert registry.find(other) is registry.get("a")


def test_a_registry_goes_without_the_collector():
    gc.disable()
    try:
        registry, thing = Registry(), Thing()
        registry.register(thing, "a", weak=True)
        registry.register(Thing(), "b")
        gone = weakref.ref(registry)
        del registry
        assert gone() is None
    finally:
        gc.enable()
    del thing  # nobody is there to be told


# --------------------------------------------------------------------------------- tables, keys


class Named(typing.Protocol):
    def name(self) -> str: ...


def test_class_keys(registry):
    key = registry.register(Thing(), None).class_key
    assert isinstance(key, int)
    assert registry.register(Thing(), None).class_key == key
    assert registry.register(Thing, None).class_key == key
    assert Registry().register(Thing(), None, weak=False).class_key == key
    others = [
        registry.register(Thing(), None, public=True).class_key,
        registry.register(Thing(), None, interface=Named).class_key,
        registry.register(type("Thing", (Thing,), {})(), None).class_key,
    ]
    assert len({key, *others}) == 4
    assert registry.register(Thing(), None, interface=Named).class_key == others[1]
    assert registry.register(Thing, "again", force=True, interface=Named).class_key == others[1]


def test_an_interface_that_is_not_met_registers_nothing(registry):
    thing = Thing()
    with pytest.raises(TypeError, match="names: pop"):
        registry.register(thing, "a", interface=type("Popping", (), {"pop": lambda self: 1}))
    assert not registry.entries
    assert registry.find(thing) is None


# --------------------------------------------------------------------------------------- threads


def run_at_once(*functions):
    start = threading.Barrier(len(functions))
    failures = []

    def run(function):
        start.wait()
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_of_many_that_want_an_id_one_gets_it(registry):
    for number in range(50):
        object_id = str(number)
        failures = run_at_once(
            *[lambda: registry.register(Thing(), object_id) for _ in range(6)]  # noqa: B023
        )
        assert len(failures) == 5
        assert {type(error) for error in failures} == {DaemonError}
    assert len(registry.entries) == len(registry._claims) == 50


def test_of_many_that_register_an_object_one_does(registry):
    for _ in range(50):
        thing = Thing()
        failures = run_at_once(*[lambda: registry.register(thing, None) for _ in range(6)])  # noqa: B023
        assert len(failures) == 5
        entry = registry.find(thing)
        assert [e for e in registry.entries.values() if e.target() is thing] == [entry]


def test_threads_register_while_others_call(registry):
    registry.register(Thing(), "there")
    dispatcher = dispatcher_of(registry)
    done = threading.Event()

    def register():
        for _ in range(300):
            thing = Thing()
            entry = registry.register(thing, None, weak=True)
            assert registry.find(thing) is entry
            registry.register(thing, "moved", force=True, weak=True)
            registry.unregister("moved")
            del thing, entry
        done.set()

    def call():
        while not done.is_set():
            assert dispatcher.find("there", "name")() == "Thing"
            assert "there" in sorted(registry.entries)

    assert run_at_once(register, call, call) == []
    assert set(registry.entries) == {"there"}
    assert len(registry._claims) == 1

"""Registration: ids, replacement, weak entries; nothing is written to the objects."""

from __future__ import annotations

import gc

import pytest

from pyroipc.errors import DaemonError
from pyroipc.server.dispatcher import Dispatcher, Instances, make_instance
from pyroipc.server.exposure import behavior, expose
from pyroipc.server.registry import Registry


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

    registry.register(Equal(), "a")
    registry.register(Equal(), "b")


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
    assert Dispatcher(registry, Instances()).find("a", "name")() == "Thing"
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
    instances = Instances()
    assert instances.get(entry) is instances.get(entry)

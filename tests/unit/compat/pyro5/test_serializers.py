"""Serializers of Pyro5 as objects: round trips, and the registries of classes."""

from __future__ import annotations

import pytest

import pyroipc
from pyroipc.compat.pyro5 import serializers
from pyroipc.compat.pyro5.api import SerializerBase

ALL = sorted(serializers.serializers.items())


class Thing:
    def __init__(self, size):
        self.size = size


@pytest.fixture
def registered():
    SerializerBase.register_class_to_dict(Thing, lambda x: {"__class__": "Thing", "s": x.size})
    SerializerBase.register_dict_to_class("Thing", lambda name, data: Thing(data["s"]))
    yield
    SerializerBase.unregister_class_to_dict(Thing)
    SerializerBase.unregister_dict_to_class("Thing")


def test_which_there_are():
    assert {name: serializer.serializer_id for name, serializer in ALL} == {
        "serpent": 1, "marshal": 2, "json": 3, "msgpack": 4
    }  # fmt: skip
    assert serializers.serializers_by_id[3] is serializers.serializers["json"]
    assert serializers.SerpentSerializer() == serializers.SerpentSerializer()
    assert serializers.SerpentSerializer() != serializers.JsonSerializer()
    assert len({serializers.SerpentSerializer(), serializers.JsonSerializer()}) == 2


@pytest.mark.parametrize(("name", "serializer"), ALL)
def test_values_and_calls(name, serializer):
    value = {"a": [1, None, "ü", 1.5]}
    data = serializer.dumps(value)
    assert type(data) is bytes
    assert serializer.loads(data) == serializer.loads(memoryview(data)) == value
    call = serializer.dumpsCall("object", "method", (1, [2]), {"k": 3})
    object_id, method, args, kwargs = serializer.loadsCall(call)
    assert (object_id, method, list(args), kwargs) == ("object", "method", [1, [2]], {"k": 3})
    assert list(serializer.loadsCall(serializer.dumpsCall("o", "m", [], None)))[3] is None


@pytest.mark.parametrize(("name", "serializer"), ALL)
@pytest.mark.parametrize(
    "value",
    [pyroipc.URI("PYRO:a@b:1"), pyroipc.Proxy("PYRO:a@b:1"), pyroipc.NamingError("x")],
)
def test_objects_of_the_library(name, serializer, value):
    found = serializer.loads(serializer.dumps(value))
    assert type(found) is type(value)
    assert str(found) == str(value) or found == value


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("name", "serializer"), ALL)
def test_classes_of_ones_own(name, serializer):
    found = serializer.loads(serializer.dumps(Thing(5)))
    assert (type(found), found.size) == (Thing, 5)
    assert SerializerBase.class_to_dict(Thing(6)) == {"__class__": "Thing", "s": 6}
    assert SerializerBase.dict_to_class({"__class__": "Thing", "s": 7}).size == 7
    assert serializer.recreate_classes([{"__class__": "Thing", "s": 8}])[0].size == 8


def test_what_nobody_knows():
    with pytest.raises(pyroipc.SerializeError, match="unsupported serialized class"):
        SerializerBase.dict_to_class({"__class__": "Thing"})
    with pytest.raises(pyroipc.SerializeError, match="don't know how to serialize"):
        SerializerBase.class_to_dict(5)
    for data in (b"", b"\xff\xfe", b"{"):
        with pytest.raises(pyroipc.SerializeError):
            serializers.serializers["json"].loads(data)


def test_the_base_class_does_nothing_itself():
    base = SerializerBase()
    assert base.serializer_id == 0
    for attempt in (
        lambda: base.dumps(1), lambda: base.loads(b""), lambda: base.loadsCall(b""),
        lambda: base.dumpsCall("o", "m", (), {}),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match="implement in subclass"):
            attempt()


def test_replacing_by_type_is_refused_with_an_explanation():
    with pytest.raises(NotImplementedError, match="register_class_to_dict says as which dict"):
        serializers.JsonSerializer.register_type_replacement(Thing, str)


def test_making_exceptions():
    data = {"args": ("no", 5), "attributes": {"shelf": 7}}
    made = SerializerBase.make_exception(ValueError, data)
    assert (type(made), made.args, made.shelf) == (ValueError, ("no", 5), 7)

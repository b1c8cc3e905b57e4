"""``Pyro4.util``: serializers, tracebacks, and what an object exposes."""

from __future__ import annotations

import sys

import pytest

from pyroipc.compat.pyro4 import core, errors, util
from pyroipc.compat.pyro4.configuration import config


class Mixed:
    number: int = 3
    """Neither a method nor a property."""

    def plain(self):
        return "plain"

    @property
    def door(self):
        return 1

    @door.setter
    def door(self, value):
        self._door = value

    @core.expose
    @property
    def shown(self):
        return 2

    @core.expose
    @core.oneway
    def told(self):
        return "told"

    def _private(self):
        return "private"

    class Inner:
        pass


def test_exposed_members_of_class_and_object():
    expected = {"methods": {"told"}, "oneway": {"told"}, "attrs": {"shown"}}
    assert util.get_exposed_members(Mixed) == expected
    assert util.get_exposed_members(Mixed()) == expected


def test_all_public_members():
    assert util.get_exposed_members(Mixed, only_exposed=False) == {
        "methods": {"told", "plain"},
        "oneway": {"told"},
        "attrs": {"shown", "door"},
    }


def test_exposed_members_as_lists():
    assert util.get_exposed_members(Mixed, as_lists=True) == {
        "methods": ["told"],
        "oneway": ["told"],
        "attrs": ["shown"],
    }


def test_nothing_is_exposed():
    nothing = {"methods": set(), "oneway": set(), "attrs": set()}
    assert util.get_exposed_members(object) == nothing
    assert util.get_exposed_members(object, only_exposed=False) == nothing


def test_what_is_known_of_a_class_is_forgotten_on_demand():
    class Changing:
        def method(self):
            pass

    assert util.get_exposed_members(Changing)["methods"] == set()
    core.expose(Changing.method)
    assert util.get_exposed_members(Changing)["methods"] == set()
    assert util.get_exposed_members(Changing, use_cache=False)["methods"] == {"method"}


def test_attributes_are_found_only_if_they_are_exposed():
    mixed = Mixed()
    assert util.getAttribute(mixed, "told")() == "told"
    for name, text in [
        ("plain", "unexposed attribute 'plain'"),
        ("shown", "unexposed attribute 'shown'"),
        ("_private", "private attribute '_private'"),
        ("__init__", "private attribute '__init__'"),
        ("nothing", "no attribute 'nothing'"),
    ]:
        with pytest.raises(AttributeError, match=text):
            util.getAttribute(mixed, name)
    config.REQUIRE_EXPOSE = False
    assert util.getAttribute(mixed, "plain")() == "plain"


def test_properties_are_read_and_assigned_only_if_they_are_exposed():
    mixed = Mixed()
    assert util.get_exposed_property_value(mixed, "shown") == 2
    assert util.get_exposed_property_value(mixed, "door", only_exposed=False) == 1
    util.set_exposed_property_value(mixed, "door", 5, only_exposed=False)
    assert mixed._door == 5
    for failing in (
        lambda: util.get_exposed_property_value(mixed, "door"),
        lambda: util.get_exposed_property_value(mixed, "told"),
        lambda: util.get_exposed_property_value(mixed, "number", only_exposed=False),
        lambda: util.set_exposed_property_value(mixed, "shown", 1),
        lambda: util.set_exposed_property_value(mixed, "nothing", 1),
    ):
        with pytest.raises(AttributeError, match="unexposed or unknown remote attribute"):
            failing()


def test_private_names():
    private = ["_a", "__a", "____", "__init__", "__dict__", "__call__"]
    assert [name for name in [*private, "a", "__len__"] if util.is_private_attribute(name)] == (
        private
    )


# ------------------------------------------------------------------------------------ tracebacks


def test_the_remote_traceback_has_the_words_of_pyro4():
    try:
        raise ValueError("here")
    except ValueError as error:
        error._pyroTraceback = ["Traceback there:\n", "  line\nValueError: there\n"]
        lines = util.getPyroTraceback()
        again = util.getPyroTraceback(*sys.exc_info())
    assert "".join(lines) == "".join(again)
    assert "".join(lines).endswith(
        "ValueError: here\n"
        " +--- This exception occured remotely (Pyro) - Remote traceback:"
        "\n | Traceback there:"
        "\n |   line"
        "\n | ValueError: there"
        "\n +--- End of remote traceback\n"
    )


def test_a_traceback_may_show_values():
    def fail(secret):
        raise ValueError(secret)

    try:
        fail("xyzzy")
    except ValueError:
        plain, detailed = (
            "".join(util.formatTraceback(detailed=detailed)) for detailed in (False, True)
        )
    assert "Local values" not in plain
    assert "secret = 'xyzzy'" in detailed


def test_what_is_no_class_is_refused():
    with pytest.raises(TypeError):
        util.getPyroTraceback(ValueError("x"))


def test_excepthook(capsys):
    error = ValueError("here")
    error._pyroTraceback = ["there\n"]
    util.excepthook(ValueError, error, None)
    assert "occured remotely" in capsys.readouterr().err


def test_all_exceptions():
    assert util.all_exceptions["ZeroDivisionError"] is ZeroDivisionError
    assert util.all_exceptions["NamingError"] is errors.NamingError
    assert util.all_exceptions["TimeoutError"] is errors.TimeoutError


# ----------------------------------------------------------------------------------- serializers

NUMBERS = {
    "serpent": 1,
    "json": 2,
    "marshal": 3,
    "pickle": 4,
    "dill": 5,
    "msgpack": 6,
    "cloudpickle": 7,
}


@pytest.mark.parametrize(("name", "number"), NUMBERS.items())
def test_serializers_by_name_and_number(name, number):
    found = util.get_serializer(name)
    assert found.serializer_id == number
    assert util.get_serializer_by_id(number) is found
    assert found == type(found)()


def test_unknown_serializers():
    with pytest.raises(errors.SerializeError, match="'yaml' is unknown"):
        util.get_serializer("yaml")
    with pytest.raises(errors.SerializeError, match="no serializer available for id 99"):
        util.get_serializer_by_id(99)
    with pytest.raises(NotImplementedError):
        util.SerializerBase().dumps(1)


# Made by the released Pyro4 4.82.
CALLS = {
    "serpent": b"# serpent utf-8 python3.2\n('o','m',(1,),{'x':2})",
    "json": b'{"object": "o", "method": "m", "params": [1], "kwargs": {"x": 2}}',
    "msgpack": b"\x94\xa1o\xa1m\x91\x01\x81\xa1x\x02",
}
URIS = {
    "serpent": b"# serpent utf-8 python3.2\n"
    b"{'__class__':'Pyro4.core.URI','state':('PYRO','a',None,'b',1)}",
    "json": b'{"__class__": "Pyro4.core.URI", "state": ["PYRO", "a", null, "b", 1]}',
    "msgpack": b"\x82\xa9__class__\xaePyro4.core.URI\xa5state\x95\xa4PYRO\xa1a\xc0\xa1b\x01",
}


@pytest.mark.parametrize("name", CALLS)
def test_golden_bytes(name):
    serializer = util.get_serializer(name)
    assert serializer.serializeCall("o", "m", (1,), {"x": 2}) == (CALLS[name], False)
    uri = core.URI("PYRO:a@b:1")
    assert serializer.serializeData(uri) == (URIS[name], False)
    assert serializer.deserializeData(URIS[name]) == uri


@pytest.mark.parametrize("name", ["serpent", "json", "marshal", "msgpack", "pickle"])
def test_round_trips(name):
    serializer = util.get_serializer(name)
    obj, method, vargs, kwargs = serializer.deserializeCall(
        *serializer.serializeCall("o", "m", (1, "ü"), {"x": [2.5, None]})
    )
    assert (obj, method, list(vargs), kwargs) == ("o", "m", [1, "ü"], {"x": [2.5, None]})
    error = serializer.loads(serializer.dumps(ValueError(3)))
    assert type(error) is ValueError
    assert error.args == (3,)


def test_long_data_are_compressed_where_it_helps():
    serializer = util.get_serializer("json")
    data, compressed = serializer.serializeData("x" * 1000, compress=True)
    assert compressed
    assert len(data) < 100
    assert serializer.deserializeData(data, compressed=True) == "x" * 1000
    assert serializer.serializeData("x", compress=True) == (b'"x"', False)
    call, compressed = serializer.serializeCall("o", "m", ("x" * 1000,), {}, compress=True)
    assert serializer.deserializeCall(call, compressed)[2] == ["x" * 1000]


def test_what_unpacks_to_more_than_a_message_may_have_is_refused():
    serializer = util.get_serializer("json")
    data, _ = serializer.serializeData("x" * 100_000, compress=True)
    config.MAX_MESSAGE_SIZE = 1000
    with pytest.raises(errors.MessageTooLargeError):
        serializer.deserializeData(data, compressed=True)


def test_classes_are_described_and_rebuilt():
    base = util.SerializerBase
    assert base.class_to_dict(core.URI("PYRO:a@b:1")) == {
        "__class__": "Pyro4.core.URI",
        "state": ("PYRO", "a", None, "b", 1),
    }
    with pytest.raises(errors.SerializeError, match="unsupported serialized class"):
        base.dict_to_class({"__class__": "no.such.Class"})
    with pytest.raises(errors.SecurityError):
        base.dict_to_class({"__class__": "no.__such__"})

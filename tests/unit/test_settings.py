"""Settings: types, the environment, and helpful refusals."""

from __future__ import annotations

import copy
import pickle
import re
import warnings

import pytest

from pyroipc import settings
from pyroipc.errors import PyroError
from pyroipc.settings import Settings
from tests.support.snippets import ROOT, run_python

MIB = 1024 * 1024


@pytest.fixture
def items():
    return Settings(use_environment=False)


def test_defaults(items):
    assert items.as_dict() == {
        "SERIALIZER": "serpent",
        "LOCAL_SERIALIZER": "pickle",
        "MAX_MESSAGE_SIZE": 64 * MIB,
        "LOCAL_MAX_MESSAGE_SIZE": 16 * 1024 * MIB,
        "COMMTIMEOUT": 0.0,
        "HANDSHAKE_TIMEOUT": 10.0,
        "MAX_RETRIES": 0,
        "SERVERTYPE": "thread",
        "ONEWAY_QUEUE": 1024,
        "SPIN_SECONDS": 50e-6,
        "DETAILED_TRACEBACK": False,
        "ITER_STREAMING": True,
        "ITER_STREAM_LINGER": 30.0,
        "ITER_STREAM_LIFETIME": 0.0,
    }


def test_every_item_is_annotated_and_documented(items):
    source = (ROOT / "pyroipc" / "settings.py").read_text(encoding="utf-8")
    for name, value in items.as_dict().items():
        assert Settings.__annotations__[name] == type(value).__name__
        documented = re.search(rf'^    {name}: \w+\n    """(.*?)"""', source, re.M | re.S)
        assert documented, name
        assert "Default" in documented[1], name


def test_unknown_item(items):
    with pytest.raises(
        AttributeError, match=r"no setting 'COMTIMEOUT'; did you mean COMMTIMEOUT\?"
    ):
        items.COMTIMEOUT = 1.0
    with pytest.raises(AttributeError, match="did you mean SERIALIZER"):
        items.serializer = "json"
    with pytest.raises(AttributeError, match=r"no setting 'XYZ'$"):
        items.XYZ = 1
    with pytest.raises(AttributeError):
        items.XYZ  # noqa: B018


def test_items_cannot_be_deleted(items):
    with pytest.raises(AttributeError, match="reset"):
        del items.SERIALIZER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMMTIMEOUT", "5"),
        ("COMMTIMEOUT", True),
        ("COMMTIMEOUT", None),
        ("MAX_MESSAGE_SIZE", 1.5),
        ("MAX_MESSAGE_SIZE", False),
        ("SERIALIZER", 3),
        ("SERIALIZER", b"json"),
        ("DETAILED_TRACEBACK", 1),
        ("DETAILED_TRACEBACK", "yes"),
    ],
)
def test_wrong_type(items, name, value):
    before = items.as_dict()
    with pytest.raises(TypeError, match=name):
        setattr(items, name, value)
    assert items.as_dict() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMMTIMEOUT", -1.0),
        ("COMMTIMEOUT", float("nan")),
        ("COMMTIMEOUT", float("inf")),
        ("SPIN_SECONDS", -1e-9),
        ("MAX_MESSAGE_SIZE", 0),
        ("MAX_MESSAGE_SIZE", -1),
        ("ONEWAY_QUEUE", 0),
        ("SERIALIZER", ""),
    ],
)
def test_out_of_range(items, name, value):
    before = items.as_dict()
    with pytest.raises(ValueError, match=name):
        setattr(items, name, value)
    assert items.as_dict() == before


def test_int_becomes_float_where_the_item_is_one(items):
    items.COMMTIMEOUT = 5
    assert type(items.COMMTIMEOUT) is float
    assert items.COMMTIMEOUT == 5.0


def test_environment(monkeypatch):
    monkeypatch.setenv("PYRO_SERIALIZER", " json ")
    monkeypatch.setenv("PYRO_COMMTIMEOUT", "2.5")
    monkeypatch.setenv("PYRO_MAX_MESSAGE_SIZE", "1000")
    items = Settings()
    assert (items.SERIALIZER, items.COMMTIMEOUT, items.MAX_MESSAGE_SIZE) == ("json", 2.5, 1000)
    items.reset(use_environment=False)
    assert items.as_dict() == Settings(use_environment=False).as_dict()
    items.reset()
    assert items.SERIALIZER == "json"


@pytest.mark.parametrize("word", ["1", "yes", "on", "true", "TRUE", "On"])
def test_true_words(monkeypatch, word):
    monkeypatch.setenv("PYRO_DETAILED_TRACEBACK", word)
    assert Settings().DETAILED_TRACEBACK is True


@pytest.mark.parametrize("word", ["0", "no", "off", "false", "FALSE", "Off"])
def test_false_words(monkeypatch, word):
    monkeypatch.setenv("PYRO_DETAILED_TRACEBACK", word)
    assert Settings().DETAILED_TRACEBACK is False


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("PYRO_DETAILED_TRACEBACK", "maybe", "'maybe' is none of 1, yes"),
        ("PYRO_DETAILED_TRACEBACK", "", "'' is none of 1, yes"),
        ("PYRO_COMMTIMEOUT", "soon", "'soon' is not a number"),
        ("PYRO_COMMTIMEOUT", "nan", "must be finite"),
        ("PYRO_COMMTIMEOUT", "-1", "at least 0.0"),
        ("PYRO_MAX_MESSAGE_SIZE", "64.5", "'64.5' is not a whole number"),
        ("PYRO_MAX_MESSAGE_SIZE", "0", "at least 1"),
        ("PYRO_SERIALIZER", "", "not the empty string"),
    ],
)
def test_bad_value_in_the_environment(monkeypatch, items, variable, text, says):
    monkeypatch.setenv("PYRO_LOCAL_SERIALIZER", "json")
    monkeypatch.setenv(variable, text)
    with pytest.raises(PyroError, match=rf"{variable}.*{re.escape(says)}"):
        items.reset()
    assert items.as_dict() == Settings(use_environment=False).as_dict()


def test_unknown_variable_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(settings, "_warned", set())
    monkeypatch.setenv("PYRO_SERIALISER", "json")
    with pytest.warns(RuntimeWarning, match="PYRO_SERIALISER .*did you mean PYRO_SERIALIZER?"):
        items = Settings()
    assert items.SERIALIZER == "serpent"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items.reset()
        Settings()


def test_environment_reaches_the_default_instance():
    finished = run_python(
        "import pyroipc; print(pyroipc.config.SERIALIZER)",
        environment={"PYRO_SERIALIZER": "msgpack"},
    )
    assert finished == (0, "msgpack\n", "")


def test_import_of_the_package_survives_a_bad_environment():
    finished = run_python(
        "import pyroipc; print(pyroipc.PyroError.__name__)",
        environment={"PYRO_COMMTIMEOUT": "soon"},
    )
    assert finished == (0, "PyroError\n", "")


def test_copies_are_independent(monkeypatch, items):
    items.SERIALIZER = "json"
    monkeypatch.setenv("PYRO_SERIALIZER", "msgpack")
    for twin in (items.copy(), copy.copy(items), pickle.loads(pickle.dumps(items))):
        assert twin.as_dict() == items.as_dict()
        twin.SERIALIZER = "serpent"
        assert items.SERIALIZER == "json"


def test_dump_and_repr(items):
    assert repr(items) == "<Settings as by default>"
    items.SERIALIZER = "json"
    lines = items.dump().splitlines()
    assert "SERIALIZER = 'json'   # changed" in lines
    assert "COMMTIMEOUT = 0.0" in lines
    assert len(lines) == len(items.as_dict())
    assert repr(items) == "<Settings SERIALIZER='json'>"

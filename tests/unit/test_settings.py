"""Settings: types, the environment, and helpful refusals."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
import sys
import warnings

import pytest

from pyroipc.errors import PyroError
from pyroipc.settings import Settings, values
from tests.support.pages import code_of, table_after
from tests.support.snippets import ROOT, run_python

MIB = 1024 * 1024


@pytest.fixture
def items():
    return Settings(use_environment=False)


NAMES = list(Settings(use_environment=False).as_dict())
SECRETS = ["HMAC_KEY", "SSL_SERVERKEYPASSWD", "SSL_CLIENTKEYPASSWD"]


@pytest.mark.parametrize("name", NAMES)
def test_every_item_is_annotated_and_documented(items, name):
    value = getattr(items, name)
    kinds = {type(None): "str | None", list: "list[str]"}
    assert Settings.__annotations__[name] == kinds.get(type(value), type(value).__name__)
    source = (ROOT / "pyroipc" / "settings" / "__init__.py").read_text(encoding="utf-8")
    documented = re.search(rf'^    {name}: [^\n]+\n    """(.*?)"""', source, re.M | re.S)
    assert documented
    assert "Default" in documented[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_default_can_be_assigned(items, name):
    default = getattr(items, name)
    setattr(items, name, default)
    assert getattr(items, name) == default
    assert type(getattr(items, name)) is type(default)


def default_of(cell: str):
    """Return the value that a cell of the table in the documentation names."""
    number = re.fullmatch(r"(\d+) ([MG])iB", cell)
    if number:
        return int(number[1]) * MIB * (1024 if number[2] == "G" else 1)
    return ast.literal_eval(code_of(cell))


def test_the_reference_lists_the_items_and_their_defaults(items):
    rows = table_after("reference/settings.md", "settings")
    documented = {code_of(name): default_of(default) for name, default, *_ in rows}
    assert list(documented.items()) == list(items.as_dict().items())
    assert len(rows) == len(documented)


PYROS_DEFAULTS = """
    import json
    from Pyro4.configuration import Configuration as Four
    from Pyro5.configure import Configuration as Five
    four, five = Four(), Five()
    print(json.dumps([
        {name: getattr(it, name, None) for name in it.__slots__} for it in (five, four)
    ], default=sorted))
"""


def test_the_reference_compares_with_the_pyros_as_they_are(items):
    """The columns say: the same, or another default, or nothing where Pyro has no such item."""
    finished = run_python(PYROS_DEFAULTS, options=())
    assert finished.returncode == 0, finished.stderr
    five, four = json.loads(finished.stdout)
    # Read by Pyro4 from the environment only.
    four.update(LOGFILE="pyro.log", LOGLEVEL=None, HMAC_KEY=None)
    for name, default, *columns in table_after("reference/settings.md", "settings"):
        for cell, pyro in zip(columns, (five, four), strict=True):
            item, own = code_of(name), default_of(default)
            if cell == "":
                assert item not in pyro
            elif cell == "same":
                assert pyro[item] == own, item
            else:
                assert pyro[item] == default_of(cell) != own, item


def test_no_item_of_pyro5_is_missing():
    finished = run_python(PYROS_DEFAULTS, options=())
    assert set(json.loads(finished.stdout)[0]) <= set(NAMES)


def test_no_item_of_pyro4_is_missing_without_a_reason(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyroipc.compat.pyro4", raising=False)  # which has them
    finished = run_python(PYROS_DEFAULTS, options=())
    missing = set(json.loads(finished.stdout)[1]) - set(NAMES)
    documented = {code_of(row[0]) for row in table_after("reference/settings.md", "gone")}
    assert missing == documented
    for name in missing:
        monkeypatch.setattr(values, "_warned", set())
        with pytest.raises(AttributeError, match=rf"no setting '{name}': .{{20}}"):
            setattr(Settings(use_environment=False), name, 1)
        monkeypatch.setenv(f"PYRO_{name}", "1")
        with pytest.warns(RuntimeWarning, match=rf"PYRO_{name} .*: .{{20}}.*; it is ignored"):
            Settings()
        monkeypatch.delenv(f"PYRO_{name}")


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
        ("NATHOST", 5),
        ("NATPORT", None),
        ("BROADCAST_ADDRS", "10.0.0.255"),
        ("BROADCAST_ADDRS", ["10.0.0.255", 5]),
        ("BROADCAST_ADDRS", None),
        ("SERIALIZERS_ACCEPTED", {"json": 1}),
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
        ("NS_HOST", ""),
        ("COMMTIMEOUT", 10**400),
        ("POLLTIMEOUT", 0.0),
        ("NS_PORT", 0),
        ("NS_PORT", 65536),
        ("NATPORT", -1),
        ("NATPORT", 65536),
        ("SOCK_BUFFER", -1),
        ("SOCK_BUFFER", 2**31),
        ("PREFER_IP_VERSION", 5),
        ("PREFER_IP_VERSION", -4),
        ("SERVERTYPE", "threads"),
        ("SERVERTYPE", ""),
    ],
)
def test_out_of_range(items, name, value):
    before = items.as_dict()
    with pytest.raises(ValueError, match=name):
        setattr(items, name, value)
    assert items.as_dict() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", ""),
        ("NATHOST", "pyro.example.org"),
        ("NATHOST", None),
        ("NATPORT", 0),
        ("NATPORT", 65535),
        ("NS_PORT", 65535),
        ("COMPRESS_FROM", 0),
        ("SOCK_BUFFER", 0),
        ("SOCK_KEEPALIVE", 0.0),
        ("POLLTIMEOUT", 0.01),
        ("PREFER_IP_VERSION", 4),
        ("PREFER_IP_VERSION", 6),
        ("SERVERTYPE", "multiplex"),
        ("SSL_CACERTS", ""),
        ("BROADCAST_ADDRS", []),
        ("LOCAL_MAX_MESSAGE_SIZE", 2**63),
    ],
)
def test_in_range(items, name, value):
    setattr(items, name, value)
    assert getattr(items, name) == value


def test_choices_are_told(items):
    with pytest.raises(ValueError, match=r"^PREFER_IP_VERSION must be 0, 4 or 6, not 5$"):
        items.PREFER_IP_VERSION = 5
    with pytest.raises(ValueError, match=r"^SERVERTYPE must be 'thread' or 'multiplex', not 'x'$"):
        items.SERVERTYPE = "x"
    with pytest.raises(ValueError, match=r"^NATPORT must be from 0 to 65535, not 70000$"):
        items.NATPORT = 70000


def test_lists_take_any_collection_of_texts_and_keep_a_copy(items):
    addresses = ["10.0.0.255"]
    items.BROADCAST_ADDRS = addresses
    addresses.append("spoiled")
    assert items.BROADCAST_ADDRS == ["10.0.0.255"]
    items.SERIALIZERS_ACCEPTED = {"serpent", "json"}  # as Pyro4 has it
    assert items.SERIALIZERS_ACCEPTED == ["json", "serpent"]


def test_an_empty_text_is_none_where_none_is_possible(items):
    items.NATHOST = ""
    assert items.NATHOST is None


def test_changing_a_list_changes_nobody_else(items):
    items.BROADCAST_ADDRS.append("10.0.0.255")
    twin = items.copy()
    twin.BROADCAST_ADDRS.append("10.1.0.255")
    items.as_dict()["BROADCAST_ADDRS"].append("10.2.0.255")
    items.changed()["BROADCAST_ADDRS"].append("10.3.0.255")
    assert items.BROADCAST_ADDRS == ["<broadcast>", "0.0.0.0", "10.0.0.255"]
    assert Settings(use_environment=False).BROADCAST_ADDRS == ["<broadcast>", "0.0.0.0"]
    items.reset(use_environment=False)
    assert items.BROADCAST_ADDRS == ["<broadcast>", "0.0.0.0"]


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


def test_lists_and_missing_texts_in_the_environment(monkeypatch):
    monkeypatch.setenv("PYRO_BROADCAST_ADDRS", " 10.0.0.255 ,, <broadcast>,")
    monkeypatch.setenv("PYRO_SERIALIZERS_ACCEPTED", "")
    monkeypatch.setenv("PYRO_NATHOST", "pyro.example.org")
    monkeypatch.setenv("PYRO_NS_BCHOST", "")
    monkeypatch.setenv("PYRO_HOST", "")
    items = Settings()
    assert items.BROADCAST_ADDRS == ["10.0.0.255", "<broadcast>"]
    assert items.SERIALIZERS_ACCEPTED == []
    assert (items.NATHOST, items.NS_BCHOST, items.HOST) == ("pyro.example.org", None, "")


def test_blanks_are_part_of_a_secret(monkeypatch):
    monkeypatch.setenv("PYRO_HMAC_KEY", " a b ")
    assert Settings().HMAC_KEY == " a b "


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
        ("PYRO_PREFER_IP_VERSION", "5", "must be 0, 4 or 6"),
        ("PYRO_SERVERTYPE", "threads", "must be 'thread' or 'multiplex'"),
        ("PYRO_NS_PORT", "http", "'http' is not a whole number"),
        ("PYRO_NS_PORT", "65536", "from 1 to 65535"),
    ],
)
def test_bad_value_in_the_environment(monkeypatch, items, variable, text, says):
    monkeypatch.setenv("PYRO_LOCAL_SERIALIZER", "json")
    monkeypatch.setenv(variable, text)
    with pytest.raises(PyroError, match=rf"{variable}.*{re.escape(says)}"):
        items.reset()
    assert items.as_dict() == Settings(use_environment=False).as_dict()


def test_unknown_variable_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(values, "_warned", set())
    monkeypatch.setenv("PYRO_SERIALISER", "json")
    with pytest.warns(RuntimeWarning, match="PYRO_SERIALISER .*did you mean PYRO_SERIALIZER?"):
        items = Settings()
    assert items.SERIALIZER == "serpent"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items.reset()
        Settings()


def test_variables_of_the_tools_are_left_to_them(monkeypatch):
    monkeypatch.setenv("PYRO_HTTPGATEWAY_KEY", "secret")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
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
    items.HMAC_KEY = "secret"
    monkeypatch.setenv("PYRO_SERIALIZER", "msgpack")
    twins = (
        items.copy(),
        copy.copy(items),
        copy.deepcopy(items),
        pickle.loads(pickle.dumps(items)),
    )
    for twin in twins:
        assert twin.as_dict() == items.as_dict()
        assert twin.source("SERIALIZER") == "assigned"
        twin.SERIALIZER = "serpent"
        twin.COMMTIMEOUT = 1
        assert items.SERIALIZER == "json"
        assert items.source("COMMTIMEOUT") == "default"


def test_sources(monkeypatch, items):
    monkeypatch.setenv("PYRO_COMMTIMEOUT", "0.0")
    assert items.source("COMMTIMEOUT") == "default"
    items.COMMTIMEOUT = 1
    assert items.source("COMMTIMEOUT") == "assigned"
    with pytest.raises(ValueError):
        items.MAX_RETRIES = -1
    assert items.source("MAX_RETRIES") == "default"
    items.reset()
    assert items.source("COMMTIMEOUT") == "environment PYRO_COMMTIMEOUT"
    assert items.copy().source("COMMTIMEOUT") == "environment PYRO_COMMTIMEOUT"
    items.reset(use_environment=False)
    assert items.source("COMMTIMEOUT") == "default"
    with pytest.raises(AttributeError, match=r"did you mean COMMTIMEOUT\?"):
        items.source("COMTIMEOUT")


def test_changed(items):
    assert items.changed() == {}
    items.COMMTIMEOUT = 5
    items.MAX_RETRIES = 0  # as it is
    items.HMAC_KEY = "secret"
    assert items.changed() == {"HMAC_KEY": "secret", "COMMTIMEOUT": 5.0}
    assert items.changed(secrets=False) == {"COMMTIMEOUT": 5.0}


def test_dump_and_repr(items):
    assert repr(items) == "<Settings as by default>"
    items.SERIALIZER = "json"
    lines = items.dump().splitlines()
    assert "SERIALIZER = 'json'   # changed" in lines
    assert "COMMTIMEOUT = 0.0" in lines
    assert len(lines) == len(items.as_dict())
    assert repr(items) == "<Settings SERIALIZER='json'>"


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_never_shown(items, name):
    assert f"{name} = ''" in items.dump().splitlines()
    setattr(items, name, "hush-hush")
    with pytest.raises(TypeError, match=f"^{name} must be of type str, not bytes$"):
        setattr(items, name, b"hush-hush")
    assert items.as_dict()[name] == "hush-hush"
    assert items.shown()[name] == "***"
    assert f"{name} = '***'   # changed" in items.dump().splitlines()
    assert repr(items) == f"<Settings {name}='***'>"
    assert "hush" not in items.dump()

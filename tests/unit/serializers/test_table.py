"""pyroipc/serializers/table.py: lazy, and helpful when it cannot serve."""

import subprocess
import sys

import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage

IDS = {
    "serpent": 1,
    "marshal": 2,
    "json": 3,
    "msgpack": 4,
    "pickle": 16,
    "cloudpickle": 17,
    "dill": 18,
}


def test_ids_are_for_ever():
    assert {name: table.id_of(name) for name in table.names()} == IDS
    assert all(table.name_of(number) == name for name, number in IDS.items())


def test_only_formats_that_cannot_run_code_are_trusted_as_data():
    trusted = {name for name in table.names() if table.trust_of(name) == "data"}
    assert trusted == {"serpent", "json", "msgpack"}


def test_same_instance_every_time_by_name_and_by_id():
    assert table.get("json") is table.get("json") is table.get_by_id(3)


@pytest.mark.parametrize("ask", [table.get, table.id_of, table.trust_of])
def test_unknown_name_gives_a_hint(ask):
    with pytest.raises(SerializeError, match="did you mean 'serpent'"):
        ask("Serpant")
    with pytest.raises(SerializeError, match=r"known are: serpent, .*json"):
        ask("qqqq")


@pytest.mark.parametrize("name", ["json;x", "", None, 3])
def test_odd_names_are_refused(name):
    with pytest.raises(SerializeError):
        table.get(name)


@pytest.mark.parametrize("number", [0, 5, 255, -1, None, "1"])
def test_unknown_id(number):
    with pytest.raises(SerializeError, match="unknown serializer id"):
        table.get_by_id(number)


@pytest.mark.parametrize("name", ["serpent", "msgpack", "cloudpickle", "dill"])
def test_missing_library_names_the_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)  # importing it now raises ImportError
    monkeypatch.delitem(sys.modules, table._TABLE[name][2].partition(":")[0], raising=False)
    for room in ("by_value", "dill_names"):  # they may have imported the library before
        monkeypatch.delitem(sys.modules, f"pyroipc.serializers.{room}", raising=False)
        monkeypatch.delattr(f"pyroipc.serializers.{room}", raising=False)
    monkeypatch.setattr(table, "_loaded", {})
    with pytest.raises(SerializeError, match=f"pip install .*{name}"):
        table.get(name).dumps(lambda: None)  # some import their library only now


def test_questions_import_no_plug_in():
    script = (
        "import sys\n"
        "from pyroipc.serializers import table\n"
        "for name in table.names():\n"
        "    table.id_of(name), table.trust_of(name), table.name_of(table.id_of(name))\n"
        "plug_ins = {'pyroipc.serializers.' + name for name in table.names()}\n"
        "libraries = {'json', 'pickle', 'serpent', 'msgpack', 'cloudpickle', 'dill', 'difflib'}\n"
        "assert not (plug_ins | libraries) & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-I", "-c", _with_path(script)], check=True, timeout=30)


def _with_path(script):
    return (
        f"import sys; sys.path.insert(0, {sys.path[0]!r}); sys.path[1:1] = {sys.path[1:]!r}\n"
        + script
    )


def test_for_connection_gives_the_typed_form_of_plain_formats():
    for name in ("serpent", "json", "msgpack", "marshal"):
        serializer = table.get(name)
        typed = serializer.for_connection(PeerImage(shares_main=True, generation=1))
        assert (typed.is_typed, serializer.is_typed) == (True, False)
        assert (typed.name, typed.id, typed.trust) == (
            serializer.name, serializer.id, serializer.trust,
        )  # fmt: skip


def test_repr():
    assert repr(table.get("json")) == "<serializer 'json' id=3 trust=data>"
    assert repr(PeerImage()) == "PeerImage(shares_main=False, generation=0)"

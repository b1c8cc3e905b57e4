"""pyroipc/naming/storage/table.py: which storage a text names, and base.py: prefixes."""

import subprocess
import sys

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming.storage import table
from pyroipc.naming.storage.base import prefix_end


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("memory", "MemoryStorage"),
        ("sqlite:{}/a.db", "SqliteStorage"),
        ("sql:{}/a.db", "SqliteStorage"),
        ("{}/a.db", "SqliteStorage"),
        ("etcd:127.0.0.1:1", "EtcdStorage"),
    ],
)
def test_a_text_names_a_storage(text, kind, tmp_path):
    storage = table.open_storage(text.format(tmp_path))
    storage.close()
    assert type(storage).__name__ == kind


def test_paths_of_the_home_and_of_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    table.open_storage("~/home.db").close()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    storage = table.open_storage("sqlite:here.db")
    monkeypatch.chdir(tmp_path)  # what is open stays where it is
    assert storage.count() == 0
    storage.close()
    assert {path.name for path in tmp_path.iterdir()} == {"home.db", "here"}
    assert (tmp_path / "here" / "here.db").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "known are: memory, sqlite:/path/of/file, etcd:"),
        ("redis:host", "known are: memory"),
        ("Memory", "did you mean 'memory'"),
        ("sqlight:/a", "did you mean 'sqlite:/path/of/file'"),
        ("etcd3:host", "did you mean 'etcd:host:2379,host2:2379'"),
        ("dbm:/a", "no more.*sqlite:/path/of/file"),
        ("memory:x", "written 'memory', alone"),
        ("sqlite:", "no file"),
        ("sqlite::memory:", "no file; .*'memory'"),
        ("sqlite:/a\0b", "NUL"),
        ("etcd:", "not understood.*etcd:host:2379"),
        ("etcd:host:port", "not understood"),
        ("etcd:a:1,,b:2", "not understood"),
        ("etcd:a:0", "not understood"),
        ("etcd:a:1/\ud800", "surrogate"),
        ("etcd:a:1/x/names", "call it something else"),
    ],
)
def test_what_is_no_storage_gets_a_hint(text, words):
    with pytest.raises(NamingError, match=words):
        table.open_storage(text)


@pytest.mark.parametrize("text", [None, 3, b"memory"])
def test_a_storage_is_named_by_a_text(text):
    with pytest.raises(TypeError, match="named by a str"):
        table.open_storage(text)


def test_the_library_of_etcd_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyroipc.naming.storage.etcd", raising=False)
    monkeypatch.delitem(sys.modules, "pyroipc.naming.storage.etcd_cluster", raising=False)
    monkeypatch.setitem(sys.modules, "etcd3gw.client", None)
    with pytest.raises(NamingError, match='pip install "etcd3gw"'):
        table.open_storage("etcd:host")


def test_nothing_is_loaded_before_it_is_needed():
    code = (
        "import sys\n"
        "from pyroipc.naming.storage.table import open_storage\n"
        "open_storage('memory').close()\n"
        "assert not {'sqlite3', 'requests', 'etcd3gw'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("ab", "ac"),
        ("\ud7ff", "\ue000"),
        ("a\uffff", "a\U00010000"),
        ("\U0010ffff", None),
        ("a\U0010ffff\U0010ffff", "b"),
    ],
)
def test_the_end_of_a_prefix(prefix, end):
    assert prefix_end(prefix) == end

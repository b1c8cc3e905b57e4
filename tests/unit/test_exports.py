"""The front door: what ``import pyroipc`` offers, where it comes from, and what it costs."""

from __future__ import annotations

import ast
import pkgutil
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import pyroipc
from tests.support.snippets import ROOT, run_python

EXPORTS = pyroipc._WHERE
HEAVY = {"asyncio", "ssl", "sqlite3", "multiprocessing", "concurrent", "xml", "email", "http"}


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_name_is_the_object_of_its_room(name):
    module, _, attribute = EXPORTS[name].partition(":")
    assert getattr(pyroipc, name) is getattr(import_module(module), attribute)


def test_all_and_the_table_agree():
    assert sorted(pyroipc.__all__) == sorted([*EXPORTS, "__version__"])
    assert len(set(pyroipc.__all__)) == len(pyroipc.__all__)


def test_editors_see_the_same_names_from_the_same_rooms():
    tree = ast.parse(Path(pyroipc.__file__).read_text(encoding="utf-8"))
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: f"{statement.module}:{alias.name}"
        for statement in block.body
        for alias in statement.names
    }
    assert seen == EXPORTS


def test_every_error_is_exported():
    errors = import_module("pyroipc.errors").__all__
    assert {f"pyroipc.errors:{name}" for name in errors} <= set(EXPORTS.values())


def test_no_name_is_also_a_module():
    modules = {module.name for module in pkgutil.iter_modules(pyroipc.__path__)}
    assert not modules & set(pyroipc.__all__)


def test_dir_lists_names_that_were_not_used_yet():
    finished = run_python("import pyroipc; print(*dir(pyroipc))")
    assert set(pyroipc.__all__) <= set(finished.stdout.split()), finished


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'pyroipc' has no attribute 'Demon'"):
        pyroipc.Demon  # noqa: B018


def test_import_loads_next_to_nothing():
    finished = run_python(
        """
        import sys
        before = set(sys.modules)
        import pyroipc
        print(*sorted(set(sys.modules) - before))
        """
    )
    assert finished.stderr == ""
    own = {"pyroipc", "pyroipc.serializers", "pyroipc.serializers.main_names"}
    assert set(finished.stdout.split()) <= {"__future__", *own}


def test_no_name_loads_a_heavy_module():
    finished = run_python(
        """
        import sys
        import pyroipc
        before = set(sys.modules)
        # Futures are those of concurrent.futures.
        for name in set(pyroipc.__all__) - {"Future", "FutureResult", "asyncproxy"}:
            getattr(pyroipc, name)
        print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
        """
    )
    assert finished.stderr == ""
    assert not HEAVY & set(finished.stdout.split())


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pyroipc.__version__ == project["version"]


def test_the_package_says_that_it_is_typed():
    assert (Path(pyroipc.__file__).parent / "py.typed").is_file()

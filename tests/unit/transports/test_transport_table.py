"""pyroipc/transports/table.py and base.py: lazy, and helpful when it cannot serve."""

from __future__ import annotations

import pytest

from pyroipc.errors import PyroError
from pyroipc.transports import table
from pyroipc.transports.base import Options
from tests.support.snippets import run_python


def test_the_same_source_every_time():
    for name in table.names():
        source = table.get(name)
        assert source is table.get(name)
        assert source.name == name
        assert repr(source) == f"<source {name!r}>"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tpc", "did you mean 'tcp'"),
        ("Unix", "did you mean 'unix'"),
        ("qqqq", "known are: tcp, unix"),
        (None, "known are"),
        ([], "known are"),
    ],
)
def test_unknown_names(name, hint):
    with pytest.raises(PyroError, match="unknown transport") as caught:
        table.get(name)
    assert hint in str(caught.value)


def test_questions_import_no_plug_in_and_none_imports_the_large_modules():
    finished = run_python(
        """
        import sys
        from pyroipc.transports import table
        table.names()
        assert not {"pyroipc.transports.tcp", "pyroipc.transports.unix"} & set(sys.modules)
        for name in table.names():
            table.get(name)
        large = {"socket", "selectors", "ssl", "asyncio", "logging", "ipaddress", "difflib"}
        print(sorted(large & set(sys.modules)))
        """
    )
    assert (finished.stdout, finished.stderr) == ("[]\n", "")


def test_options_show_themselves():
    options = Options(prefer_ip_version=6, nodelay=False)
    assert repr(options).startswith("Options(backlog=512, buffer_bytes=0, keepalive_seconds=60.0")
    assert "prefer_ip_version=6" in repr(options)
    with pytest.raises(AttributeError):
        options.no_delay = True

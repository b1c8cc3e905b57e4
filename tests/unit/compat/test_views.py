"""``config`` of a shim: Pyro's names on the settings of pyroipc, and no copy of them."""

from __future__ import annotations

import logging

import pytest

from pyroipc.compat.pyro5._settings import Configuration
from pyroipc.compat.views import ConfigView, Idle, Item
from pyroipc.settings import Settings
from tests.support.snippets import run_python


class View(ConfigView):
    __slots__ = ()
    ITEMS = {  # noqa: RUF012
        "TIMEOUT": Item("COMMTIMEOUT", shown=lambda s: s * 1000, stored=lambda ms: ms / 1000),
        "HOST": Item("HOST"),
        "MAX_RETRIES": Item("MAX_RETRIES", default=3),
        "FLAVOUR": Idle("vanilla", "there is only one"),
        "COLOUR": Idle("white", "there is only one"),
    }  # fmt: skip


@pytest.fixture
def settings():
    return Settings(use_environment=False)


def test_what_is_set_in_the_one_is_set_in_the_other(settings):
    view = View(settings)
    view.HOST = "here"
    assert settings.HOST == "here"
    settings.HOST = "there"
    assert view.HOST == "there"
    view.TIMEOUT = 1500
    assert settings.COMMTIMEOUT == 1.5
    assert view.TIMEOUT == 1500


def test_a_default_of_pyro_is_for_what_nobody_has_set(settings):
    assert View(settings).MAX_RETRIES == 3
    assert settings.MAX_RETRIES == 3
    other = Settings(use_environment=False)
    other.MAX_RETRIES = 7
    assert View(other).MAX_RETRIES == 7


def test_proxies_speak_the_dialect_of_the_program(settings, monkeypatch):
    monkeypatch.setattr(ConfigView, "_dialects", {"pyro5"})  # and not that of other tests
    Configuration(settings)
    assert settings.DIALECT == "pyro5"
    other = Settings(use_environment=False)
    other.DIALECT = "native"
    Configuration(other)
    assert other.DIALECT == "native"


def test_with_programs_of_two_kinds_they_find_out():
    finished = run_python("""
        import pyroipc
        from pyroipc.compat.views import ConfigView

        class Older(ConfigView):
            _dialect = "pyro4"

        older = Older.on_config()
        print(pyroipc.config.DIALECT, pyroipc.config.source("DIALECT"))
        from pyroipc.compat import Pyro5
        print(pyroipc.config.DIALECT)
        older._reset(False)
        print(pyroipc.config.DIALECT)
        pyroipc.config.DIALECT = "pyro4"
        older._copy(), Pyro5.config.copy()
        print(pyroipc.config.DIALECT, Pyro5.config.copy()._settings.DIALECT)
    """)
    assert finished.stderr == ""
    assert finished.stdout.split() == ["pyro4", "default", "auto", "auto", "pyro4", "pyro4"]


def test_reset_and_copy(settings):
    view = View(settings)
    view.HOST, view.MAX_RETRIES, view.FLAVOUR = "here", 5, "plain"
    twin = view._copy()
    view._reset(use_environment=False)
    assert view._as_dict() == {
        "TIMEOUT": 0.0, "HOST": "localhost", "MAX_RETRIES": 3, "FLAVOUR": "vanilla",
        "COLOUR": "white",
    }  # fmt: skip
    assert (twin.HOST, twin.MAX_RETRIES, twin.FLAVOUR) == ("here", 5, "plain")
    twin.HOST = "elsewhere"
    assert settings.HOST == "localhost"


def test_an_item_that_does_nothing_says_so_once(settings, caplog):
    view = View(settings)
    with caplog.at_level(logging.WARNING, "pyroipc.compat"):
        view.COLOUR = "white"
        assert caplog.messages == []
        view.COLOUR = "red"
        view.COLOUR = View(settings).COLOUR = "blue"
    assert caplog.messages == ["the item COLOUR = 'red' has no effect here: there is only one"]
    assert view.COLOUR == "blue"


def test_other_names_do_not_exist(settings):
    view = View(settings)
    for name in ("SIZE", "COMMTIMEOUT", "timeout"):
        with pytest.raises(AttributeError, match=f"'View' object has no attribute '{name}'"):
            setattr(view, name, 1)
        with pytest.raises(AttributeError, match=f"'View' object has no attribute '{name}'"):
            getattr(view, name)
    assert set(View.ITEMS) <= set(dir(view))


def test_pyro5_has_the_items_of_the_released_package():
    finished = run_python("""
        import Pyro5

        print(sorted(Pyro5.config.as_dict()))
        print({k: v for k, v in Pyro5.config.as_dict().items() if k != "SOCK_NODELAY"})
    """)
    names, values = map(eval, finished.stdout.splitlines())
    ours = Configuration(Settings(use_environment=False)).as_dict()
    assert sorted(ours) == names
    assert ours.pop("SOCK_NODELAY") is True  # without it the last piece can wait for 40 ms
    assert ours.pop("LOGFILE") == "{stderr}"  # no file is made that nobody has named
    assert values.pop("LOGFILE") == "pyro5.log"
    assert ours == values


def test_pyro5_config_is_pyroipc_config():
    finished = run_python("""
        import pyroipc
        from pyroipc.compat import Pyro5
        from pyroipc.compat.pyro5 import api, configure

        assert Pyro5.config is api.config is configure.global_config
        Pyro5.config.SERIALIZER = "json"
        Pyro5.config.COMMTIMEOUT = 3
        Pyro5.config.LOGLEVEL = None
        print(pyroipc.config.SERIALIZER, pyroipc.config.COMMTIMEOUT)
        pyroipc.config.NS_PORT = 1234
        print(Pyro5.config.NS_PORT, Pyro5.api.URI("PYRONAME:x@h").port)
        Pyro5.config.COMMTIMEOUT = None
        twin = Pyro5.config.copy()
        twin.HOST = "other"
        print(Pyro5.config.HOST, twin.SERIALIZER, type(twin).__name__, twin.COMMTIMEOUT)
        Pyro5.config.reset(False)
        print(pyroipc.config.SERIALIZER, pyroipc.config.MAX_MESSAGE_SIZE == 2**30)
    """, environment={"PYRO_LOGFILE": "{stderr}"})  # fmt: skip
    assert finished.stderr == ""
    assert finished.stdout.splitlines() == [
        "json 3.0", "1234 1234", "localhost json Configuration 0.0", "serpent True"
    ]  # fmt: skip


def test_the_environment_counts_in_pyro5_too():
    finished = run_python(
        """
        from pyroipc.compat import Pyro5

        print(Pyro5.config.MAX_MESSAGE_SIZE, Pyro5.config.BROADCAST_ADDRS, Pyro5.config.SSL)
        print(Pyro5.configure.Configuration().MAX_MESSAGE_SIZE)
        Pyro5.config.reset(use_environment=False)
        print(Pyro5.config.SSL)
        """,
        environment={
            "PYRO_MAX_MESSAGE_SIZE": "9999",
            "PYRO_BROADCAST_ADDRS": "a, b",
            "PYRO_SSL": "yes",
        },
    )
    assert finished.stdout.splitlines() == ["9999 ['a', 'b'] True", "9999", "False"]


def test_dump_shows_what_pyro5_shows(settings):
    view = Configuration(settings)
    settings.SSL_SERVERKEYPASSWD = "hush"
    lines = view.dump().splitlines()
    assert lines[0] == "Pyro version: 5.17"
    assert lines[1].endswith("pyroipc/compat/pyro5")
    assert lines[2].startswith("Python version: CPython 3.")
    assert lines[3] == "Protocol version: 502"
    assert lines[4] == "Currently active configuration settings:"
    assert lines[5:] == sorted(lines[5:])
    assert "MAX_MESSAGE_SIZE = 1073741824" in lines
    assert "LOGLEVEL = None" in lines
    assert "SSL_SERVERKEYPASSWD = ***" in lines
    assert view.as_dict()["SSL_SERVERKEYPASSWD"] == "hush"

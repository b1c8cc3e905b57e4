"""One module object under two names, whatever the order of imports, and never the real package."""

from __future__ import annotations

import pickle

import pytest

import pyroipc
from pyroipc.compat.aliases import install_as
from tests.support.snippets import run_python

INSTALLED = """
    import sys
    from pyroipc.compat import install_as

    install_as("Pyro5")
"""


def printed(code, **options):
    finished = run_python(code, **options)
    assert finished.stderr == ""
    assert finished.returncode == 0
    return finished.stdout.splitlines()


def run_installed(code):
    import textwrap

    return printed(textwrap.dedent(INSTALLED) + textwrap.dedent(code))


@pytest.mark.parametrize("name", ["pyro5", "Pyro6", "", "Pyro5.api", "pyroipc", None])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="stand in for Pyro4 or Pyro5, not for"):
        install_as(name)


def test_every_way_to_import_gives_the_same_modules():
    assert run_installed("""
        import Pyro5.api
        import Pyro5.utils.echoserver
        from Pyro5 import errors
        from Pyro5.api import Proxy
        import Pyro5.core as core
        import pyroipc
        import pyroipc.compat.pyro5.api, pyroipc.compat.pyro5.utils.echoserver
        from pyroipc.compat import Pyro5 as shim
        from pyroipc.compat.pyro5 import api, core as new_core

        assert Pyro5 is shim is sys.modules["pyroipc.compat.pyro5"]
        assert Pyro5.api is api is sys.modules["pyroipc.compat.pyro5.api"]
        assert api is sys.modules["Pyro5.api"]
        assert Pyro5.core is core is new_core
        assert Pyro5.errors is errors
        assert Pyro5.utils.echoserver is sys.modules["pyroipc.compat.pyro5.utils.echoserver"]
        assert Proxy is api.Proxy is pyroipc.Proxy
        assert errors.PyroError is pyroipc.PyroError
        from Pyro5.api import *
        assert expose is pyroipc.expose
        print("same")
    """) == ["same"]  # fmt: skip


def test_the_new_name_may_come_first():
    assert printed("""
        import pyroipc.compat.pyro5.api as api
        from pyroipc.compat import install_as

        install_as("Pyro5")
        import Pyro5.api
        print(Pyro5.api is api)
    """) == ["True"]


def test_a_module_keeps_its_own_name_and_can_be_reloaded():
    assert run_installed("""
        import importlib
        import importlib.util
        import Pyro5.core

        before = Pyro5.core
        before.mark = 1
        print(Pyro5.core.__name__, Pyro5.core.__spec__.name, Pyro5.core.__package__)
        print(importlib.util.find_spec("Pyro5.core") is Pyro5.core.__spec__)
        old = Pyro5.core.URI
        assert importlib.reload(Pyro5.core) is before is sys.modules["Pyro5.core"]
        print(before.mark, before.URI is old)
    """) == [
        "pyroipc.compat.pyro5.core pyroipc.compat.pyro5.core pyroipc.compat.pyro5",
        "True",
        "1 False",
    ]


def test_a_module_that_was_forgotten_is_not_made_again():
    assert run_installed("""
        import Pyro5.core

        before = Pyro5.core
        del sys.modules["Pyro5.core"], sys.modules["Pyro5"]
        import Pyro5.core
        print(Pyro5.core is before)
    """) == ["True"]


def test_what_has_no_stand_in_is_not_taken_from_the_real_package():
    assert run_installed("""
        import importlib.util

        for name in ("Pyro5.svr_threads", "Pyro5.nothing", "Pyro5.api.nothing"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                text = str(error)
                print(error.name, "pyroipc stands in" in text or "not a package" in text)
        print([name for name in sys.modules if name.startswith("Pyro5.svr")])
    """) == [
        "Pyro5.svr_threads True", "Pyro5.nothing True", "Pyro5.api.nothing True", "[]"
    ]  # fmt: skip


def test_it_is_idempotent_and_any_thread_may_call_it():
    assert run_installed("""
        import threading

        start = threading.Barrier(8)
        def install():
            start.wait()
            install_as("Pyro5")
            install_as("Pyro4")
            import Pyro5.server
        threads = [threading.Thread(target=install) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print([finder.old for finder in sys.meta_path if hasattr(finder, "old")])
    """) == ["['Pyro4', 'Pyro5']"]


def test_it_is_refused_when_the_real_package_is_there():
    finished = run_python("""
        import Pyro5.core
        from pyroipc.compat import install_as

        install_as("Pyro5")
    """)
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("pyroipc.errors.PyroError: Pyro5 has been imported already, from /")
    assert "call install_as('Pyro5') before" in last


def test_the_other_package_may_be_the_real_one():
    lines = printed(
        """
        from pyroipc.compat import install_as
        import Pyro5.core

        install_as("Pyro4")
        import pyroipc.compat.pyro5.core
        print(Pyro5.core.__name__, Pyro5.core is pyroipc.compat.pyro5.core)
        """,
    )
    assert lines == ["Pyro5.core False"]


def test_pickles_name_what_every_process_has():
    lines = run_installed("""
        import pickle
        import Pyro5.api

        print(pickle.dumps(Pyro5.api.URI("PYRO:a@b:1")).hex())
        print(pickle.dumps(Pyro5.errors.NamingError("x")).hex())
    """)
    uri, error = (pickle.loads(bytes.fromhex(line)) for line in lines)
    assert uri == pyroipc.URI("PYRO:a@b:1")
    assert type(error) is pyroipc.NamingError


def test_pickles_of_the_real_package_can_be_read():
    (line,) = printed("""
        import pickle
        import Pyro5.core

        uris = [Pyro5.core.URI(text) for text in
                ("PYRO:a@b:1", "PYRO:a@[::1]:2", "PYRO:a@./u:x", "PYRONAME:n", "PYROMETA:b,a@h")]
        print(pickle.dumps(uris).hex())
    """)
    assert run_installed(f"""
        import pickle

        print(*pickle.loads(bytes.fromhex({line!r})))
    """) == ["PYRO:a@b:1 PYRO:a@[::1]:2 PYRO:a@./u:x PYRONAME:n PYROMETA:a,b@h:9090"]


def test_old_names_can_be_run_and_read():
    assert run_installed("""
        import inspect
        import runpy

        got = runpy.run_module("Pyro5.configure", run_name="elsewhere")
        print(got["__version__"], got["__name__"])
        import Pyro5.configure
        print(inspect.getsource(Pyro5.configure).splitlines()[0][:20])
        loader = sys.meta_path[0].find_spec("Pyro5.configure", None).loader
        source = loader.get_source("Pyro5.configure")
        print(loader.is_package("Pyro5.configure"), "def dump" in source)
    """) == ["5.17 elsewhere", '"""``Pyro5.configure', "False True"]


def test_what_led_from_pyro4_to_pyro5_leads_to_all_of_pyro4():
    assert run_installed("""
        from Pyro5.compatibility import Pyro4 as one
        import Pyro5.compatibility.Pyro4
        import Pyro4 as other
        from pyroipc.compat import Pyro4

        assert one is other is Pyro4 is Pyro5.compatibility.Pyro4
        print(one.__name__, Pyro4.config is one.config)
    """) == ["pyroipc.compat.pyro4 True"]


def test_the_front_door():
    import pyroipc.compat

    assert pyroipc.compat.install_as is install_as
    assert {"Pyro4", "Pyro5", "install_as"} <= set(dir(pyroipc.compat))
    with pytest.raises(AttributeError, match="no attribute 'Pyro3'"):
        pyroipc.compat.Pyro3  # noqa: B018


def test_importing_it_loads_little():
    """A program pays for it at each start; the server's half only if it is a server."""
    lines = printed("""
        import sys
        from pyroipc.compat import install_as

        install_as("Pyro5")
        import Pyro5.api
        print(len([name for name in sys.modules if name.startswith("pyroipc")]) < 30)
        for name in ("pyroipc.server.daemon", "pyroipc.client.proxy", "logging", "asyncio", "ssl"):
            print(name in sys.modules)
        Pyro5.api.Proxy
        print("pyroipc.server.daemon" in sys.modules)
    """)
    assert lines == ["True", *["False"] * 6]

"""``python -m pyroipc.compat Pyro5 program.py`` is what ``python program.py`` was."""

from __future__ import annotations

import pytest

from tests.support.snippets import run_module

PROGRAM = """
import sys
import helper
import Pyro5.api

class Thing:
    pass

print(__name__, __file__, sys.argv, __spec__)
print(sys.modules["__main__"].Thing is Thing, helper.__name__)
print(Pyro5.api.Proxy.__module__)
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "helper.py").write_text("")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_file(program):
    finished = run_module("pyroipc.compat", "Pyro5", str(program), "-x", "two words")
    assert finished.stderr == ""
    assert finished.returncode == 0
    assert finished.stdout.splitlines() == [
        f"__main__ {program} {[str(program), '-x', 'two words']} None",
        "True helper",
        "pyroipc.client.proxy",
    ]


def test_a_module():
    finished = run_module("pyroipc.compat", "Pyro5", "-m", "Pyro5.configure", options=())
    assert finished.returncode == 0
    assert finished.stdout.startswith("Pyro version: 5.17\nLoaded from: ")


def test_a_directory(tmp_path, program):
    (tmp_path / "__main__.py").write_text(program.read_text())
    finished = run_module("pyroipc.compat", "Pyro5", str(tmp_path))
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[1:] == ["True helper", "pyroipc.client.proxy"]


@pytest.mark.parametrize(
    ("ending", "status", "printed"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("def f(:", 1, "SyntaxError: invalid syntax\n"),
    ],
)
def test_how_the_program_ends(tmp_path, ending, status, printed):
    path = tmp_path / "program.py"
    path.write_text(ending)
    finished = run_module("pyroipc.compat", "Pyro5", str(path))
    assert finished.returncode == status
    assert finished.stderr.endswith(printed)


def test_threads_that_outlive_the_last_line_find_their_classes(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import pickle, threading\n"
        "class Thing: pass\n"
        "def later():\n"
        "    threading.main_thread().join()\n"
        "    print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)\n"
        "threading.Thread(target=later).start()\n"
    )
    finished = run_module("pyroipc.compat", "Pyro5", str(path))
    assert (finished.returncode, finished.stdout) == (0, "True\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "which package is it for?"),
        (("Pyro6", "x.py"), "pyroipc can stand in for Pyro4 or Pyro5, not for 'Pyro6'"),
        (("Pyro5",), "which program is to run?"),
        (("Pyro5", "-m"), "which program is to run?"),
        (("Pyro5", "/no/such/file.py"), "there is no file '/no/such/file.py'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, complaint):
    finished = run_module("pyroipc.compat", *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("usage: python -m pyroipc.compat {Pyro4,Pyro5} program.py")
    assert finished.stderr.endswith(f"\nerror: {complaint}\n")


def test_help():
    finished = run_module("pyroipc.compat", "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "as it stands" in finished.stdout

"""Classes of the main module; scripts, ``-c``, prompts; interpreters and their options."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.snippets import ROOT, run_python, run_script

SCRIPT = """
import sys
import pyroipc

class Point:
    def __init__(self, x):
        self.x = x

class Calculator:
    "Made in main."
    def __init__(self, total):
        self.total_ = total

    def add(self, number):
        self.total_ += helper(number)
        return self.total_

    def move(self, point):
        return Point(point.x + 1)

    def fail(self):
        raise Oops("no")

class Oops(Exception):
    pass

def helper(number):
    return number * FACTOR

FACTOR = 2
for start in ("fork", "spawn", "forkserver"):
    with pyroipc.spawn(Calculator, 10, start=start) as calc:
        assert calc.add(1) == 12
        point = calc.move(Point(3))
        assert type(point) is Point and point.x == 4
        try:
            calc.fail()
        except Oops as error:
            print(start, error)
"""
PRINTED = "fork no\nspawn no\nforkserver no\n"


def test_a_script_without_a_guard(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert run_script(path) == (0, PRINTED, "")


def test_code_from_the_command_line():
    assert run_python(SCRIPT) == (0, PRINTED, "")


def test_code_at_a_prompt():
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-q"],
        input=SCRIPT.replace("\n\n", "\n#\n"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    if finished.stdout == "":  # code without an empty line after each block is no prompt's input
        code = f"exec({SCRIPT!r})\n"
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-q", "-i", "-c", code],
            input="",
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
            check=False,
        )
    assert finished.stdout == PRINTED


def test_modules_next_to_the_script(tmp_path):
    (tmp_path / "neighbour.py").write_text(
        "class Neighbour:\n    def name(self):\n        return __name__\n"
    )
    path = tmp_path / "script.py"
    path.write_text(
        "import pyroipc, neighbour\n"
        "for start in ('spawn', 'forkserver'):\n"
        "    with pyroipc.spawn(neighbour.Neighbour, start=start) as n:\n"
        "        print(n.name())\n"
    )
    assert run_script(path, cwd="/") == (0, "neighbour\nneighbour\n", "")


def test_options_of_the_interpreter_travel():
    finished = run_python(
        """
        import sys, pyroipc

        class Asker:
            def ask(self):
                import sys
                return sys.flags.optimize, sys.warnoptions, sys.argv[1:], sys.flags.utf8_mode

        with pyroipc.spawn(Asker, start="spawn") as asker:
            print(asker.ask())
        """,
        "argument",
        options=["-O", "-W", "error", "-X", "utf8"],
    )
    assert finished == (0, "(1, ['error'], ['argument'], 1)\n", "")


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_strict_interpreters(start):
    """With every warning on and fatal, in a process with threads, nothing is heard."""
    finished = run_python(
        """
        import sys, threading, pyroipc
        from tests.support.spawned import Counter
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        for number in range(3):
            with pyroipc.spawn(Counter, number, start=sys.argv[1]) as counter:
                assert counter.add(1) == number + 1
            dropped = pyroipc.spawn(Counter, start=sys.argv[1])
            del dropped
            import gc
            gc.collect()
        left = pyroipc.spawn(Counter, where="thread")
        stop.set()
        """,
        start,
        options=["-X", "dev", "-W", "error"],
    )
    assert finished == (0, "", "")


def test_a_pickled_or_copied_handle_is_a_proxy():
    finished = run_python(
        """
        import copy, pickle, pyroipc
        from tests.support.spawned import Counter
        with pyroipc.spawn(Counter) as counter:
            for twin in (pickle.loads(pickle.dumps(counter)), copy.copy(counter)):
                print(type(twin).__name__, twin == counter, twin.add(1) == counter.add(0))
        """
    )
    assert finished.stdout.split() == ["Proxy", "True", "True"] * 2

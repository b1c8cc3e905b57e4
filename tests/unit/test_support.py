"""The tools of the tests find what they are there to find."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from tests.support.leaks import lasting_differences, resources
from tests.support.snippets import run_python, run_script
from tests.support.waiting import wait_until


def test_nothing_left():
    before = resources()
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    assert lasting_differences(before) == []


def test_open_descriptor_is_found():
    before = resources()
    read, write = os.pipe()
    try:
        found = lasting_differences(before, timeout=0)
    finally:
        os.close(read)
        os.close(write)
    assert [line.split(" (")[0] for line in found] == [
        f"new descriptor: {number}" for number in sorted((read, write))
    ]


def test_closed_descriptor_is_found():
    read, write = os.pipe()
    before = resources()
    os.close(read)
    os.close(write)
    assert len(lasting_differences(before, timeout=0)) == 2


def test_thread_is_found():
    before = resources()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left over")
    thread.start()
    found = lasting_differences(before, timeout=0)
    stop.set()
    thread.join()
    assert found == ["new thread: left over"]


@pytest.mark.skipif(sys.platform != "linux", reason="children are seen on Linux only")
def test_child_and_zombie_are_found():
    before = resources()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        running = lasting_differences(before, timeout=0)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        dead = lasting_differences(before, timeout=0)
    assert any(line.startswith(f"new child: {child.pid} (") for line in running)
    assert any(line.startswith(f"new child: {child.pid} (zombie of ") for line in dead)
    assert lasting_differences(before) == []


def test_snippet_returns_what_it_printed():
    code = """
        import sys
        print("out", sys.argv[1])
        print("err", file=sys.stderr)
        sys.exit(3)
    """
    assert run_python(code, "ä") == (3, "out ä\n", "err\n")


def test_snippet_sees_warnings_as_errors():
    finished = run_python("import warnings; warnings.warn('tut tut')")
    assert finished.returncode == 1
    assert "UserWarning: tut tut" in finished.stderr


def test_script_that_hangs_is_killed(tmp_path):
    script = tmp_path / "hang.py"
    script.write_text("print('begun', flush=True)\nimport signal; signal.pause()\n")
    with pytest.raises(AssertionError, match=r"(?s)still running after .*begun"):
        run_script(script, timeout=1.0)


def test_snippet_that_leaves_a_child_fails():
    code = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        child.returncode = 0        # so that nobody warns of it
    """
    with pytest.raises(AssertionError, match="or something that it started"):
        run_python(code, timeout=1.0)


def test_waiting_ends_at_once_or_fails():
    wait_until(lambda: True, "true is true", timeout=0)
    with pytest.raises(AssertionError, match="in vain until false is true"):
        wait_until(lambda: False, "false is true", timeout=0.01)

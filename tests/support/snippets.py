"""Pieces of Python that run in a fresh interpreter, with a time limit.

For whatever a test must not do in its own process: fork, die, change signal handlers, look at what
an import loads, or hang.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]

WARNINGS_ARE_ERRORS = ("-W", "error")


class Finished(NamedTuple):
    """How a process ended: minus the signal's number if one killed it."""

    returncode: int
    stdout: str
    stderr: str


def run_python(
    code: str,
    *arguments: str,
    timeout: float = 20.0,
    options: Sequence[str] = WARNINGS_ARE_ERRORS,
    environment: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
) -> Finished:
    """Run a piece of code (it is dedented) and return how it ended and what it printed.

    ``arguments`` are its ``sys.argv[1:]``; ``options`` are the interpreter's; ``environment`` is
    added to that of this process, without its ``PYRO_*`` variables. See ``run_script`` for the
    time limit.
    """
    command = [*options, "-c", textwrap.dedent(code), *arguments]
    return _run(command, timeout, environment, cwd)


def run_script(
    path: Path | str,
    *arguments: str,
    timeout: float = 20.0,
    options: Sequence[str] = WARNINGS_ARE_ERRORS,
    environment: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
) -> Finished:
    """Run a file and return how it ended and what it printed.

    It has ended when the process *and* everybody who inherited its output has. If that takes
    longer than ``timeout`` seconds, the whole process group is killed and the test fails with
    what was printed so far. So a child that outlives its parent is found, too.
    """
    return _run([*options, str(path), *arguments], timeout, environment, cwd)


def run_module(
    name: str, *arguments: str, timeout: float = 20.0, options: Sequence[str] = WARNINGS_ARE_ERRORS
) -> Finished:
    """Run ``python -m name`` and return how it ended and what it printed."""
    return _run([*options, "-m", name, *arguments], timeout, None, None)


def _run(
    command: list[str],
    timeout: float,
    environment: Mapping[str, str] | None,
    cwd: Path | str | None,
) -> Finished:
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(environment),
        cwd=cwd or ROOT,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    )
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException as error:
            _kill_group(process.pid)
            stdout, stderr = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise AssertionError(
                f"still running after {timeout} s, or something that it started is.\n"
                f"--- stdout\n{stdout}\n--- stderr\n{stderr}"
            ) from None
    return Finished(process.returncode, stdout, stderr)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _environment(additions: Mapping[str, str] | None) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["PYTHONIOENCODING"] = "utf-8"
    environment.update(additions or {})
    return environment

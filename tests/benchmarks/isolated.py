"""Each section runs in a fresh interpreter: a small heap, one thread, its own CPUs, a time limit.

Its main module is no file, so a child that multiprocessing starts afresh has none to load.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.efforts import EFFORTS

ROOT = Path(__file__).resolve().parents[2]
MODEL_SECTIONS = ("batches", "oneways", "futures", "streams", "callbacks")
NETWORK_SECTIONS = (
    "network_echo",
    "network_load",
    "network_memory",
    "network_connect",
    "network_silence",
    "interop",
)
GROUPS = {"model": MODEL_SECTIONS, "network": NETWORK_SECTIONS}
"""Names for several sections."""
SECTIONS = (
    "frames",
    "latency",
    "threads",
    "startup",
    "peers",
    *MODEL_SECTIONS,
    *NETWORK_SECTIONS,
    "bulk",
    "shared",
    "throughput",
)
_CODE = "from tests.benchmarks.isolated import main; main()"


class SectionError(Exception):
    """A section failed, or took longer than it may."""


def run_section(name: str, effort: str) -> Any:
    """Run one section in an interpreter of its own; return what its ``measure`` returns.

    Nothing that it started is left when this returns or raises.

    Raises:
        SectionError: with what the section printed.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, name, effort],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=_environment(),
        text=True,
        start_new_session=True,
    )
    limit = EFFORTS[effort].limit_seconds
    with process:
        try:
            # Ends when everybody who inherited the output is gone, too.
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _kill(process)
            _, errors = process.communicate()
            raise SectionError(f"{name} took longer than {limit:g} s\n{errors}") from None
        finally:
            _kill(process)
    if process.returncode or errors:
        raise SectionError(f"{name} failed (exit code {process.returncode})\n{errors}")
    return json.loads(output)


def _environment() -> dict[str, str]:
    """Return the environment without what makes us, or any Python, behave in an unusual way.

    Above all PYTHONDONTWRITEBYTECODE: whatever is not installed would be compiled in every child.
    """
    return {
        key: value
        for key, value in os.environ.items()
        if key in {"PYTHONPATH", "PYTHONHOME"} or not key.startswith(("PYRO_", "PYTHON"))
    }


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Run the section that the command line names, and print its result."""
    name, effort = sys.argv[1:]
    section = importlib.import_module(f"tests.benchmarks.{name}")
    result = section.measure(EFFORTS[effort])
    json.dump(result, sys.stdout)

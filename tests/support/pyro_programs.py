"""Programs written for Pyro, run as they stand: on the released package, or on pyroipc."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from tests.support.commands import Command
from tests.support.snippets import ROOT

PYROIPC = "pyroipc"


class Program(Command):
    """A program that runs.

    Args:
        on: ``"pyroipc"``, or the name of the released package.
        package: for which one it was written.
        arguments: the file, or ``-m`` and a module, and what the program is told.
        environment: what is added to that of this process.
    """

    def __init__(self, on, package, *arguments, environment=None):
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
        command = [sys.executable, "-W", "ignore", *map(str, arguments)]
        if on == PYROIPC:
            command[1:3] = ["-W", "error", "-m", "pyroipc.compat", package]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
            env={
                **variables,
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                **(environment or {}),
            },
        )  # fmt: skip
        self.printed = ""


@contextlib.contextmanager
def running(on, package, *arguments, environment=None):
    """Run a program; kill it at the end, if it still runs."""
    program = Program(on, package, *arguments, environment=environment)
    with program.process:
        try:
            yield program
        finally:
            program.process.kill()


def output_of(on, package, *arguments, environment=None):
    """Run a program to its end, which has to be a good one; return the lines that it printed."""
    with running(on, package, *arguments, environment=environment) as program:
        status = program.end()
    assert status == 0, program.printed
    return program.printed.splitlines()

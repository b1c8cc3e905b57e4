"""Commands as processes of their own, which are read from while they run."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
from time import monotonic

from tests.support.snippets import ROOT

PATIENCE = 15.0


class Command:
    """A module that is run as a program; it ends when it is told to.

    ``host`` is one of the namespaces that tests.support.namespaces makes.
    """

    def __init__(self, *arguments, environment=None, host=None):
        strict = ("-W", "error") if arguments[0] == "pyroipc" else ()
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
        command = [sys.executable, *strict, "-m", *arguments]
        self.process = subprocess.Popen(
            command if host is None else host.command("-m", *arguments),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
            env={**variables, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )  # fmt: skip
        self.printed = ""

    def read_until(self, pattern):
        """Read what it prints until that matches; return the match."""
        fd = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        end = monotonic() + PATIENCE
        while not (found := re.search(pattern, self.printed, re.MULTILINE)):
            assert poll.poll(max(0.0, end - monotonic()) * 1000), self.printed
            data = os.read(fd, 4096)
            assert data, f"it has ended: {self.printed}"
            self.printed += data.decode()
        return found

    def end(self):
        """Wait for its end; return its exit status. What else it printed is in ``printed``."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.printed += rest.decode()
        return self.process.returncode


@contextlib.contextmanager
def running(*arguments, environment=None, host=None):
    """Run a command; kill it at the end, if it still runs."""
    command = Command(*arguments, environment=environment, host=host)
    with command.process:
        try:
            yield command
        finally:
            command.process.kill()

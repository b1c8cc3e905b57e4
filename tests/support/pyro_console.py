"""A process with Pyro4 or Pyro5 in it that does what it is told, one piece of Python at a time.

What there is for these pieces to use stands in ``_names``. The process imports nothing of pyroipc:
nothing at the top of this module does, either.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import select
import subprocess
import sys
import threading
import warnings
from time import monotonic

from tests.support.snippets import ROOT

PATIENCE = 15.0


class PeerError(Exception):
    """A piece raised something: ``name`` is the class with its module."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name = name


class Console:
    """A process that was told to import a package.

    Args:
        package: ``"Pyro4"`` or ``"Pyro5"``.
        environment: what is added to that of this process.
        command: makes the command line of Python from its arguments; None: here.
    """

    def __init__(self, package, environment=None, command=None):
        self.package = package
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
        arguments = ["-m", "tests.support.pyro_console", package]
        self._process = subprocess.Popen(
            [sys.executable, *arguments] if command is None else command(*arguments),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT,
            env={**variables, "PYTHONPATH": str(ROOT), **(environment or {})},
        )  # fmt: skip
        self._received = b""

    def do(self, piece, **names):
        """Have statements run, or return the value of an expression.

        Values are those that Python writes as literals; URIs become a text with their class.

        Raises:
            PeerError: something was raised.
        """
        assert self._process.stdin is not None
        request = json.dumps([piece, {name: repr(value) for name, value in names.items()}])
        self._process.stdin.write(request.encode() + b"\n")
        answer = json.loads(self._line())
        if "error" in answer:
            raise PeerError(*answer["error"])
        return ast.literal_eval(answer["value"])

    def _line(self):
        fd = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        end = monotonic() + PATIENCE
        while b"\n" not in self._received:
            assert poll.poll(max(0.0, end - monotonic()) * 1000), "the console says nothing"
            data = os.read(fd, 65536)
            assert data, "the console has ended"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def close(self):
        """End it."""
        with self._process:
            self._process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ----------------------------------------------------------------------- in the other process


def _names(package):
    """Return what pieces can use, under one name for both packages."""
    pyro = importlib.import_module({"Pyro5": "Pyro5.api"}.get(package, package))
    naming = importlib.import_module("Pyro5.nameserver" if package == "Pyro5" else "Pyro4.naming")
    nsc = importlib.import_module(f"{package}.nsc")

    @pyro.expose
    class Thing:
        def where(self):
            return package

    def serve(name="thing", **options):
        """Run a daemon with a thing in it; return its URI."""
        daemon = pyro.Daemon(**options)
        uri = daemon.register(Thing(), name)
        threading.Thread(target=daemon.requestLoop, daemon=True).start()
        return uri

    def printed(*arguments):
        """Return what the command nsc prints."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            nsc.main(list(arguments))
        return out.getvalue().splitlines()

    return {
        "pyro": pyro,
        "config": pyro.config,
        "naming": naming,
        "locate": getattr(pyro, "locate_ns", None) or pyro.locateNS,
        "URI": pyro.URI,
        "serve": serve,
        "printed": printed,
    }


def _literal(value, uri_class):
    """Return a value as one that Python writes as a literal."""
    if isinstance(value, uri_class):
        return f"{uri_class.__module__}:{value}"
    if isinstance(value, dict):
        return {key: _literal(item, uri_class) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(_literal(item, uri_class) for item in value)
    return value


def _run(piece, names):
    try:
        code = compile(piece, "<piece>", "eval")
    except SyntaxError:
        exec(piece, names)
        return None
    return eval(code, names)


def main():
    warnings.simplefilter("ignore")  # Pyro4 uses what newer Pythons do not like
    names = _names(sys.argv[1])
    for line in sys.stdin:
        piece, given = json.loads(line)
        names.update({name: ast.literal_eval(text) for name, text in given.items()})
        try:
            answer = {"value": repr(_literal(_run(piece, names), names["URI"]))}
        except BaseException as error:
            name = f"{type(error).__module__}.{type(error).__name__}"
            answer = {"error": [name, str(error)]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

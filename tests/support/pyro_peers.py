"""Live peers: programs that serve or call with Pyro4, Pyro5 or pyroipc.

They are started when a test first needs them, and stay until the tests of this process end.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
import json
import os
import pickle
import select
import subprocess
import sys
import tempfile

from tests.interop.peers import scenarios
from tests.interop.peers.library import KEY, OURS, PYRO4, PYRO5, SERIALIZERS, Library
from tests.support.networks import has_ipv6
from tests.support.snippets import ROOT

PATIENCE = 20.0
_stack = contextlib.ExitStack()
_names = itertools.count()


def new_name(what="name"):
    """Return a text that no other test has used."""
    return f"{what} {os.getpid()} {next(_names)}"


def _start(module, argument, *, library, pipe=True, pass_fds=(), settings=None):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
    strict = "error" if library == OURS else "ignore"
    return subprocess.Popen(
        [sys.executable, "-W", strict, "-m", f"tests.interop.peers.{module}", argument],
        cwd=ROOT, env=variables | (settings or {}), pass_fds=pass_fds,
        stdin=subprocess.PIPE if pipe else None, stdout=subprocess.PIPE,
    )  # fmt: skip


class Server:
    """A program that serves; ``process`` is that program.

    ``places`` are the locations that its daemons publish, and ``inner`` the ports they listen at.
    """

    def __init__(self, library, daemons, settings=None, *, pass_fds=(), until_end=False):
        self.library = library
        told = {
            "library": library,
            "daemons": daemons,
            "settings": settings or {},
            "until_end": until_end,
        }
        self.process = _start("serve", json.dumps(told), library=library, pass_fds=pass_fds)
        poll = select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), "the server does not start"
        line = self.process.stdout.readline()
        assert line, "the server could not start"
        self.places, self.inner = json.loads(line)

    def uri(self, object_id="basics", daemon="tcp"):
        """Return the URI of one of its objects."""
        return f"PYRO:{object_id}@{self.places[daemon]}"

    def port(self, daemon="tcp"):
        """Return the port of one of its daemons."""
        return int(self.places[daemon].rpartition(":")[2])

    def end(self):
        """Have it end; whatever it does, it is gone then."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def serving(library, daemons=None, settings=None, **options):
    """Run a server of a test's own."""
    server = Server(library, daemons or {"tcp": {"host": "localhost"}}, settings, **options)
    try:
        yield server
    finally:
        server.end()


class Player:
    """A program that plays the client, with a library; it inherits ``pass_fds``."""

    def __init__(self, library, pass_fds=()):
        self.library = library
        self._process = _start("work", library, library=library, pass_fds=pass_fds)

    def play(self, name, *args, **kwargs):
        """Have it run a scenario; return what that returns."""
        data = pickle.dumps((name, args, kwargs))
        self._process.stdin.write(b"%d\n%s" % (len(data), data))
        self._process.stdin.flush()
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        assert poll.poll(PATIENCE * 1000), f"{name} takes too long in {self.library}"
        stdout = self._process.stdout
        went_well, value = pickle.loads(stdout.read(int(stdout.readline())))
        assert went_well, f"{name} in {self.library}:\n{value}"
        return value

    def end(self):
        """End it."""
        self._process.kill()
        self._process.communicate()


class OwnPlayer:
    """Plays the client with pyroipc, in this process."""

    library = OURS

    def __init__(self):
        self._lib = Library(OURS)

    def play(self, name, *args, **kwargs):
        """Run a scenario; return what that returns."""
        function = getattr(scenarios, name)
        return contextvars.Context().run(function, self._lib, *args, **kwargs)

    def end(self):
        """Do nothing."""


@contextlib.contextmanager
def playing(library, *pass_fds):
    """Run a client of a test's own."""
    player = Player(library, pass_fds)
    try:
        yield player
    finally:
        player.end()


@functools.cache
def server(library):
    """Return the server of a library that all tests share."""
    directory = _stack.enter_context(tempfile.TemporaryDirectory(prefix="pyroipc-"))
    daemons = {
        "tcp": {"host": "localhost"},
        "unix": {"unixsocket": f"{directory}/daemon.sock"},
        "guarded": {"host": "localhost", "guarded": True},
        "nat": {"host": "localhost", "nathost": "outside.example", "natport": 5555},
    }
    if has_ipv6:
        daemons["ipv6"] = {"host": "::1"}
    if library != PYRO5:
        daemons["keyed"] = {"host": "localhost", "key": KEY}
    settings = {"SERIALIZERS_ACCEPTED": [*SERIALIZERS]} if library == OURS else {}
    found = Server(library, daemons, settings)
    _stack.callback(found.end)
    return found


@functools.cache
def player(library):
    """Return the client of a library that all tests share."""
    found = OwnPlayer() if library == OURS else Player(library)
    _stack.callback(found.end)
    return found


def play(library, name, *args, **kwargs):
    """Have the client of a library run a scenario."""
    return player(library).play(name, *args, **kwargs)


def stop_shared():
    """End all programs that tests share."""
    server.cache_clear()
    player.cache_clear()
    _stack.close()


CELLS = [(OURS, PYRO5), (OURS, PYRO4), (PYRO5, OURS), (PYRO4, OURS)]
"""Which client with which server: all where exactly one of them is ours."""
ALL_CELLS = [*CELLS, (PYRO5, PYRO5), (PYRO4, PYRO4), (OURS, OURS)]
"""Those where both are the same, too: then the scenario shows what is usual."""

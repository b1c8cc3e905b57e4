"""Name servers of Pyro4 and Pyro5 in processes of their own, and objects that they lead to."""

from __future__ import annotations

import contextlib

import pyroipc
from pyroipc.client.resolve import forget_name_servers
from tests.support.daemons import settings as changed_settings
from tests.support.hosts import Worker
from tests.support.pyro_programs import running

PYRO4, PYRO5 = "Pyro4", "Pyro5"
BOTH = (PYRO4, PYRO5)
MODULES = {PYRO4: "Pyro4.naming", PYRO5: "Pyro5.nameserver"}
ONE, TWO = "PYRO:one@192.0.2.1:9001", "PYRO:two@192.0.2.2:9002"


@pyroipc.expose
class Thing:
    """What our daemons serve."""

    def where(self):
        return "pyroipc"


@contextlib.contextmanager
def serving(**options):
    """Serve a thing in a thread; yield the daemon and the URI."""
    daemon = pyroipc.Daemon("127.0.0.1", settings=changed_settings(), **options)
    uri = daemon.register(Thing(), "thing")
    loop = Worker(daemon.requestLoop)
    try:
        yield daemon, uri
    finally:
        daemon.shutdown()
        loop.result()
        daemon.close()


class Theirs:
    """A name server of a package, in a process of its own.

    ``settings`` are what a client of ours needs to find it.
    """

    def __init__(self, package, program, **settings):
        self.package = package
        self.program = program
        pattern = r"^URI = (PYRO:Pyro.NameServer@(?:(\S+):(\d+)|(\./u:\S+)))$"
        self.uri, self.host, port, self.unix = program.read_until(pattern).groups()
        self.port = int(port or 0)
        where = (
            {"NS_HOST": self.unix} if self.unix else {"NS_HOST": "localhost", "NS_PORT": self.port}
        )
        self.settings = changed_settings(BROADCAST_ADDRS=[], **where, **settings)

    def locate(self):
        """Return a proxy that is connected to it."""
        return pyroipc.locate_ns(settings=self.settings)

    def proxy(self, uri):
        """Return a proxy that looks names up here."""
        return pyroipc.Proxy(uri, settings=self.settings)

    def resolve(self, uri, delay=0.0):
        """Look a name up here."""
        return pyroipc.resolve(uri, delay, settings=self.settings)

    def kill(self):
        """Kill it, and wait until it is gone."""
        self.program.process.kill()
        self.program.process.wait()


@contextlib.contextmanager
def their_name_server(package, *options, environment=None, port=0, **settings):
    """Run a name server of a package."""
    arguments = ("-m", MODULES[package], "-p", port, *options)
    with running(package, package, *arguments, environment=environment) as program:
        try:
            yield Theirs(package, program, **settings)
        finally:
            forget_name_servers()

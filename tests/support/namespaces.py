"""Several hosts on one machine: network namespaces of Linux, with cables between them.

A :class:`Host` is a namespace that ``ip netns`` makes. Its programs are :class:`Console` s: Python
processes that take one expression at a time and answer with its value, so that a test can have
things done on one host and then on another. What there is for these expressions to use stands at
the end of this module.

Nothing leaves the namespaces: their cables go to each other only, and they are deleted at the end,
with all that is in them. Only root can make them, with iproute2; see :func:`why_not`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

from tests.support.snippets import ROOT, WARNINGS_ARE_ERRORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PATIENCE = 15.0
_ETC = Path("/etc/netns")
_numbers = itertools.count()


@functools.cache
def why_not() -> str | None:
    """Say why there can be no namespaces here, or None if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root of Linux makes network namespaces"
    if shutil.which("ip") is None:
        return "there is no command ip (Debian's package iproute2)"
    name = f"pyroipc-{os.getpid()}-try"
    made = subprocess.run(("ip", "netns", "add", name), capture_output=True, text=True)
    if made.returncode:
        return f"ip netns does not work here: {made.stderr.strip()}"
    bridge = ("ip", "-n", name, "link", "add", "br0", "type", "bridge")
    tried = subprocess.run(bridge, capture_output=True, text=True)
    subprocess.run(("ip", "netns", "del", name), check=True)
    return f"no bridges here: {tried.stderr.strip()}" if tried.returncode else None


class Network:
    """A set of hosts; a context manager that deletes them."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def host(self, *, names: dict[str, str] | None = None) -> Host:
        """Make a host; ``names`` are addresses for its hosts file, each with the name it has."""
        host = Host(f"pyroipc-{os.getpid()}-{next(_numbers)}")
        if names is not None:  # before the first program: it sees what is there when it starts
            self._stack.callback(host.forget_names)
            host.know_names(names)
        self._stack.callback(host.delete)
        host.ip("link", "set", "lo", "up")
        return host

    def cable(self, one: Host, other: Host) -> tuple[str, str]:
        """Connect two hosts; return the names of their new interfaces, which are up."""
        names = one.new_interface(), other.new_interface()
        _ip(
            "link", "add", names[0], "netns", one.name,
            "type", "veth", "peer", "name", names[1], "netns", other.name,
        )  # fmt: skip
        for host, name in zip((one, other), names, strict=True):
            host.ip("link", "set", name, "addrgenmode", "none")
            host.ip("link", "set", name, "up")
        return names

    def switch(self) -> Switch:
        """Make a switch, into which hosts can be plugged."""
        return Switch(self, self.host())


class Switch:
    """A switch: hosts that are plugged in are in one network, until their cables are cut."""

    def __init__(self, network: Network, host: Host) -> None:
        self._network = network
        self._host = host
        self._ports: dict[str, str] = {}
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("link", "set", "br0", "up")

    def plug_in(self, host: Host, *addresses: str) -> str:
        """Connect a host, and give it addresses (with ``/length``); return its interface."""
        own, port = self._network.cable(host, self._host)
        self._host.ip("link", "set", port, "master", "br0")
        self._ports[host.name] = port
        for address in addresses:
            host.add_address(own, address)
        return own

    def cut(self, host: Host) -> None:
        """Cut the cable of a host; neither end is told anything."""
        self._host.ip("link", "set", self._ports[host.name], "down")

    def mend(self, host: Host) -> None:
        """Put the cable right."""
        self._host.ip("link", "set", self._ports[host.name], "up")


class Host:
    """One namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._consoles: list[Console] = []
        self._interfaces = itertools.count()
        _ip("netns", "add", name)

    def delete(self) -> None:
        """End its programs and delete it, with its interfaces."""
        for console in self._consoles:
            console.close()
        _ip("netns", "del", self.name)

    def know_names(self, names: dict[str, str]) -> None:
        """Give it a hosts file of its own."""
        directory = _ETC / self.name
        directory.mkdir(parents=True)
        lines = ["127.0.0.1 localhost", *(f"{host} {name}" for host, name in names.items())]
        (directory / "hosts").write_text("\n".join(lines) + "\n")

    def forget_names(self) -> None:
        """Remove the hosts file."""
        shutil.rmtree(_ETC / self.name, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may have theirs there
            _ETC.rmdir()

    def new_interface(self) -> str:
        """Return a name for one more interface."""
        return f"eth{next(self._interfaces)}"

    def ip(self, *arguments: str) -> None:
        """Run the command ip in here."""
        _ip("-n", self.name, *arguments)

    def add_address(self, interface: str, address: str) -> None:
        """Give an interface an address, with ``/length``; an IPv6 one can be used at once."""
        at_once = ("nodad",) if ":" in address else ()
        self.ip("address", "add", address, "dev", interface, *at_once)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Run Python with these arguments; return its exit status and what it printed."""
        finished = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT,
            env=_environment(environment or {}),
        )  # fmt: skip
        assert not finished.stderr, finished.stderr
        return finished.returncode, finished.stdout

    def doctor(self, uri: str, *options: str, **settings: str) -> dict[str, Any]:
        """Have ``pyroipc doctor`` look at a URI from here; return its report."""
        environment = {f"PYRO_{name}": value for name, value in settings.items()}
        arguments = ("-m", "pyroipc", "doctor", "--json", *options, uri)
        status, printed = self.run(*arguments, environment=environment)
        report: dict[str, Any] = json.loads(printed)
        assert report["exit_status"] == status
        return report

    def console(self) -> Console:
        """Start a program that evaluates expressions."""
        console = Console(self)
        self._consoles.append(console)
        return console

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs Python in here."""
        return [
            "ip", "netns", "exec", self.name, sys.executable, *WARNINGS_ARE_ERRORS, *arguments,
        ]  # fmt: skip


class ConsoleError(Exception):
    """An expression raised something, of the class ``name``, after so many ``seconds``."""

    def __init__(self, name: str, text: str, status: str | None, seconds: float) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.call_status = status
        self.seconds = seconds


class Console:
    """A Python process on a host that evaluates what it is asked."""

    def __init__(self, host: Host) -> None:
        self._process = subprocess.Popen(
            host.command("-m", "tests.support.namespaces"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            cwd=ROOT, env=_environment({}),
        )  # fmt: skip
        self._received = b""

    def ask(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Return the value of an expression.

        Raises:
            ConsoleError: it raised something.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(expression).encode() + b"\n")
        answer = json.loads(self._line(timeout))
        if "error" in answer:
            raise ConsoleError(**answer["error"])
        return ast.literal_eval(answer["value"])

    def _line(self, timeout: float) -> bytes:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        end = monotonic() + timeout
        while b"\n" not in self._received:
            if not poll.poll(max(0.0, end - monotonic()) * 1000):
                raise AssertionError(f"no answer from {self._process.args} in {timeout} s")
            data = os.read(fd, 65536)
            assert data, f"{self._process.args} has ended"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()


def _ip(*arguments: str) -> None:
    done = subprocess.run(("ip", *arguments), capture_output=True, text=True)
    assert not done.returncode, f"ip {' '.join(arguments)}: {done.stderr}"


def _environment(additions: dict[str, str]) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYRO_")}
    return {**environment, "PYTHONPATH": str(ROOT), **additions}


# --------------------------------------------------- what expressions in a console can use


def serve(object_id: str = "thing", **options: Any) -> str:
    """Run a daemon with a thing in a thread; names in capitals are settings. Return its URI."""
    import pyroipc
    from tests.support.hosts import Worker

    events = Events()

    @pyroipc.expose
    class Thing:
        def ping(self) -> str:
            return "pong"

        def wait(self) -> str:
            events.called.set()
            events.released.wait()
            return "released"

        def other(self) -> object:
            return other

        def use(self, thing: Any) -> Any:
            with thing:
                return thing.ping()

    class Daemon(pyroipc.Daemon):
        def clientDisconnect(self, conn: object) -> None:
            events.gone.set()

    changes = {name: options.pop(name) for name in list(options) if name.isupper()}
    daemon = Daemon(settings=_settings(changes), **options)
    other = Thing()
    daemon.register(other, f"other-{object_id}")
    uri = daemon.register(Thing(), object_id)
    served[object_id] = daemon, events
    Worker(daemon.requestLoop)
    return str(uri)


class Events:
    """What has happened to a thing and its daemon."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.released = threading.Event()
        self.gone = threading.Event()


def uri_inside(object_id: str = "thing") -> str:
    """Return the URI of a thing that is valid inside of a router."""
    return str(served[object_id][0].uriFor(object_id, nat=False))


def locations(object_id: str = "thing") -> list[str]:
    """Return the addresses at which the daemon of a thing listens."""
    return [str(location) for location in served[object_id][0].locations]


def wait_for(event: str, object_id: str = "thing") -> bool:
    """Wait until something has happened; say whether it has."""
    happened: bool = getattr(served[object_id][1], event).wait(PATIENCE)
    return happened


def release(object_id: str = "thing") -> None:
    """Have the calls of ``wait`` end."""
    served[object_id][1].released.set()


def call(uri: str, member: str = "ping", **settings: Any) -> Any:
    """Call a method over a connection of its own."""
    with proxy(uri, **settings) as found:
        return getattr(found, member)()


def hand_on(uri: str, to: str) -> Any:
    """Get another object from one, and give it to a third party, which calls it."""
    with proxy(uri) as giver, proxy(to) as taker, giver.other() as thing:
        return taker.use(thing)


def proxy(uri: str, **settings: Any) -> Any:
    """Return a proxy with settings of its own."""
    import pyroipc

    return pyroipc.Proxy(uri, settings=_settings(settings))


def begin(uri: str, member: str, **settings: Any) -> None:
    """Begin a call in a thread; ``outcome`` waits for its end."""
    from tests.support.hosts import Worker

    caller = proxy(uri, **settings)
    begun[uri] = caller, Worker(lambda: getattr(caller, member)())


def outcome(uri: str) -> Any:
    """Wait for the end of the call that was begun; return or raise what it does."""
    return begun[uri][1].result(PATIENCE)


def call_again(uri: str) -> Any:
    """Make a call by the same proxy with which one was begun."""
    return begun[uri][0].ping()


def forward(here: tuple[str, int], there: tuple[str, int]) -> None:
    """Do what a router does with a forwarded port: hand bytes on, both ways, without an end."""
    listener = socket.create_server(here)

    def accept() -> None:
        while True:
            outer, _ = listener.accept()
            inner = socket.create_connection(there)
            threading.Thread(target=_hand_on_bytes, args=(outer, inner), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _hand_on_bytes(outer: socket.socket, inner: socket.socket) -> None:
    with outer, inner, contextlib.suppress(OSError):
        while True:
            for source in select.select((outer, inner), (), ())[0]:
                data = source.recv(65536)
                if not data:
                    return
                (inner if source is outer else outer).sendall(data)


def _settings(changes: dict[str, Any]) -> Any:
    from pyroipc.settings import Settings

    settings = Settings(use_environment=False)
    for name, value in changes.items():
        setattr(settings, name, value)
    return settings


served: dict[str, tuple[Any, Events]] = {}
begun: dict[str, tuple[Any, Any]] = {}


def _answers() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        begun = monotonic()
        try:
            yield {"value": repr(eval(json.loads(line), globals()))}
        except Exception as error:
            yield {
                "error": {
                    "name": type(error).__name__,
                    "text": str(error),
                    "status": getattr(error, "call_status", None),
                    "seconds": monotonic() - begun,
                }
            }


if __name__ == "__main__":
    for _answer in _answers():
        print(json.dumps(_answer), flush=True)

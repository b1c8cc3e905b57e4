"""The same small call by other libraries, each over a socket pair to a forked child.

Only ``multiprocessing.managers`` cannot take a connected socket: it has its unix socket. Everybody
gets the bound method beforehand, and its fastest serializer beside serpent, the safe one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
from multiprocessing.managers import BaseManager

from tests.benchmarks.children import MODES, Placement, forked, modes_here
from tests.benchmarks.hosts import Echo
from tests.benchmarks.local import pipe, pyroipc_echo
from tests.benchmarks.rounds import in_turns, pooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.rounds import Call

    Contestant = Callable[[Placement], AbstractContextManager[Call]]


class EchoManager(BaseManager):
    """A manager that hosts an echo."""


EchoManager.register("Echo", Echo)


@contextlib.contextmanager
def manager(placement: Placement) -> Iterator[Call]:
    """``multiprocessing.managers``, over the unix socket that it makes."""
    with_fork = multiprocessing.get_context("fork")
    hosting = EchoManager(ctx=with_fork)
    hosting.start(initializer=placement.settle_child)
    try:
        yield hosting.Echo().echo
    finally:
        hosting.shutdown()


@contextlib.contextmanager
def pyro(package: Any, placement: Placement, serializer: str) -> Iterator[Call]:
    """Pyro4 or Pyro5, with a connected socket."""
    near, far = socket.socketpair()

    def serve() -> None:
        near.close()
        daemon = package.Daemon(connected_socket=far)
        daemon.register(package.expose(type("Echo", (), {"echo": Echo.echo}))(), "echo")
        daemon.requestLoop()

    with near, far, forked(serve, placement):
        far.close()
        with package.Proxy("echo", connected_socket=near) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy.echo


def pyro4(placement: Placement, serializer: str) -> AbstractContextManager[Call]:
    """Pyro4; its daemon must be told to accept pickle."""
    import Pyro4

    Pyro4.config.SERIALIZERS_ACCEPTED = {"pickle", "marshal", "serpent"}
    return pyro(Pyro4, placement, serializer)


def pyro5(placement: Placement, serializer: str) -> AbstractContextManager[Call]:
    """Pyro5."""
    import Pyro5.api

    return pyro(Pyro5.api, placement, serializer)


@contextlib.contextmanager
def rpyc(placement: Placement) -> Iterator[Call]:
    """RPyC, a service over a connected socket."""
    import rpyc as library

    class EchoService(library.Service):
        exposed_echo = Echo.echo

    near, far = socket.socketpair()

    def serve() -> None:
        near.close()
        library.connect_stream(library.SocketStream(far), EchoService).serve_all()

    with near, far, forked(serve, placement):
        far.close()
        connection = library.connect_stream(library.SocketStream(near))
        try:
            yield connection.root.echo
        finally:
            connection.close()


CONTESTANTS: dict[str, Contestant] = {
    **{
        f"pyroipc, {name}": lambda placement, name=name: pyroipc_echo(placement, name)
        for name in ("pickle", "marshal", "msgpack", "json", "serpent")
    },
    "multiprocessing.Pipe": pipe,
    "multiprocessing.managers": manager,
    **{
        f"Pyro4, {name}": lambda placement, name=name: pyro4(placement, name)
        for name in ("pickle", "marshal", "serpent")
    },
    **{
        f"Pyro5, {name}": lambda placement, name=name: pyro5(placement, name)
        for name in ("msgpack", "marshal", "serpent")
    },
    "RPyC": rpyc,
}
BASELINE = "multiprocessing.Pipe"


def measure(effort: Effort) -> dict[str, dict[str, list[float]]]:
    """Return, for each mode and each contestant that is installed, µs of a call per round."""
    present = {name: make for name, make in CONTESTANTS.items() if _is_installed(name)}
    return {
        mode: pooled([_launch(mode, present, effort) for _ in range(effort.peer_launches)])
        for mode in MODES
        if mode in modes_here()
    }


def _is_installed(name: str) -> bool:
    package = name.partition(",")[0]
    try:
        if package in {"Pyro4", "Pyro5", "RPyC"}:
            __import__(package.lower() if package == "RPyC" else package)
    except ImportError:
        return False
    return True


def _launch(mode: str, present: dict[str, Contestant], effort: Effort) -> dict[str, list[float]]:
    placement = Placement(mode)
    with contextlib.ExitStack() as stack:
        contestants = {
            name: stack.enter_context(make(placement)) for name, make in present.items()
        }
        with placement.settled_parent():
            return in_turns(contestants, effort.peer_rounds, effort.segment_seconds)

"""``Pyro5.utils.echoserver``: an object that answers calls of all kinds, and serves itself.

Run as a program, it is registered as ``test.echoserver``.
"""

from __future__ import annotations

import sys
import threading
import time

from pyroipc.compat.pyro5 import core, nameserver
from pyroipc.compat.pyro5._settings import config
from pyroipc.compat.pyro5.server import Daemon
from pyroipc.server.exposure import expose, oneway

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyroipc.naming.broadcast import BroadcastServer

__all__ = ["EchoServer", "NameServer", "main", "start_nameserver"]

_OBJECT_NAME = "test.echoserver"
_SLOW_SECONDS = 5.0


@expose
class EchoServer:
    """The object. While :attr:`verbose` is true it prints each call."""

    _verbose = False
    _must_shutdown = False

    def __init__(self) -> None:
        self._ended = threading.Event()  # the slow methods wait for it, and for nothing else

    def echo(self, message: Any) -> Any:
        """Return the message."""
        self._say(f"echo: {message!r}")
        return message

    def error(self) -> None:
        """Raise an exception.

        Raises:
            ValueError: always.
        """
        self._say("error: generating exception")
        raise ValueError("this is the generated error from echoserver echo() method")

    def error_with_text(self) -> None:
        """Raise an exception with a message.

        Raises:
            ValueError: always.
        """
        self._say("error: generating exception")
        raise ValueError("the message of the error")

    @oneway
    def oneway_echo(self, message: Any) -> str:
        """Take a message; the caller does not wait."""
        self._say(f"oneway_echo: {message!r}")
        return "bogus return value"

    def slow(self) -> str:
        """Answer after five seconds."""
        self._wait("slow")
        return "Finally, an answer!"

    @oneway
    def oneway_slow(self) -> str:
        """Wait for five seconds; the caller does not."""
        self._wait("oneway_slow")
        return "bogus return value"

    def _private(self) -> str:
        """Be out of reach: the name is private."""
        return "should not be allowed"

    def __private(self) -> str:
        """Be out of reach as well."""
        return "should not be allowed"

    def __dunder__(self) -> str:
        """Show that a name of this kind may be called."""
        return "should be allowed (dunder)"

    def generator(self) -> Iterator[str]:
        """Give three items, one by one."""
        yield "one"
        yield "two"
        yield "three"

    def nan(self) -> float:
        """Return the number that is none."""
        return float("nan")

    def inf(self) -> float:
        """Return infinity."""
        return float("inf")

    def shutdown(self) -> None:
        """End the echo server."""
        self._say("shutting down")
        self._must_shutdown = True
        self._ended.set()

    @property
    def verbose(self) -> bool:
        """Whether each call is printed."""
        return self._verbose

    @verbose.setter
    def verbose(self, onoff: bool) -> None:
        self._verbose = bool(onoff)

    def _wait(self, method: str) -> None:
        self._say(f"{method}: waiting a bit...")
        self._ended.wait(_SLOW_SECONDS)
        self._say(f"{method}: returning result")

    def _say(self, text: str) -> None:
        if self._verbose:
            encoding = sys.stdout.encoding or "ascii"
            shown = text.encode(encoding, "backslashreplace").decode(encoding)
            print(f"{time.asctime()} - {shown}", flush=True)


class NameServer(threading.Thread):
    """A name server on a thread of its own; ``started`` is set when ``uri`` can be used.

    Args:
        hostname: where it listens.
    """

    def __init__(self, hostname: str) -> None:
        super().__init__(daemon=True, name="NameServer")
        self.hostname = hostname
        self.started = threading.Event()
        self.uri: core.URI | None = None
        self.ns_daemon: nameserver.NameServerDaemon | None = None
        self.bc_server: BroadcastServer | None = None

    def run(self) -> None:
        """Serve."""
        try:
            self.uri, self.ns_daemon, self.bc_server = nameserver.start_ns(self.hostname)
        finally:
            self.started.set()
        if self.bc_server is not None:
            self.bc_server.runInThread()
        self.ns_daemon.requestLoop()


def start_nameserver(host: str) -> NameServer:
    """Start a name server; return its thread as soon as it can be used.

    Raises:
        RuntimeError: it could not be started; its thread has told why.
    """
    thread = NameServer(host)
    thread.start()
    thread.started.wait()
    if thread.uri is None:
        raise RuntimeError("the name server could not be started")
    return thread


def main(
    args: Sequence[str] | None = None, returnWithoutLooping: bool = False
) -> tuple[Daemon, EchoServer, core.URI] | None:
    """Serve an echo server until somebody calls its ``shutdown``, or Ctrl-C.

    Args:
        args: the command line.
        returnWithoutLooping: return the daemon, the object and its URI instead of serving.
    """
    options = _options(args)

    def say(text: str) -> None:
        if not options.quiet:
            print(text, flush=True)

    say("Starting Pyro's built-in test echo server.")
    config.SERVERTYPE = "multiplex"
    name_server = start_nameserver(options.host) if options.nameserver else None
    daemon = Daemon(host=options.host, port=options.port, unixsocket=options.unixsocket)
    echo = EchoServer()
    echo.verbose = options.verbose
    uri = daemon.register(echo, _OBJECT_NAME)
    if options.naming or options.nameserver:
        _register(options.host, name_server, uri, say)
    say(f"object name: {_OBJECT_NAME}")
    say(f"echo uri: {uri}")
    say("echoserver running.")
    if returnWithoutLooping:
        return daemon, echo, core.URI(uri)
    with daemon:
        daemon.requestLoop(lambda: not echo._must_shutdown)
    return None


def _register(host: str, own: NameServer | None, uri: Any, say: Any) -> None:
    """Register the echo server.

    Raises:
        NamingError: there is no name server.
    """
    if own is None:
        ns = core.locate_ns()
    else:
        assert own.uri is not None
        assert own.uri.host is not None
        ns = core.locate_ns(own.uri.host, own.uri.port)
    with ns:
        ns.register(_OBJECT_NAME, uri)
        say(f"using name server at {ns._pyroUri}")
    if own is not None:
        if own.bc_server is None:
            say("not using a broadcast server")
        else:
            say(f"using broadcast server at {own.bc_server.locationStr}")


def _options(args: Sequence[str] | None) -> Any:
    from argparse import ArgumentParser

    parser = ArgumentParser(
        prog="echoserver", description="Pyro test echo/nameserver command line launcher."
    )
    parser.add_argument(
        "-H",
        "--host",
        default="localhost",
        help="hostname to bind server on (default=%(default)s)",
    )
    parser.add_argument("-p", "--port", type=int, default=0, help="port to bind server on")
    parser.add_argument("-u", "--unixsocket", help="Unix domain socket name to bind server on")
    parser.add_argument("-n", "--naming", action="store_true", help="register with nameserver")
    parser.add_argument("-N", "--nameserver", action="store_true", help="also start a nameserver")
    parser.add_argument("-v", "--verbose", action="store_true", help="verbose output")
    parser.add_argument("-q", "--quiet", action="store_true", help="don't output anything")
    options = parser.parse_args(args)
    if options.quiet:
        options.verbose = False
    if options.unixsocket:
        options.host = None
    return options


if __name__ == "__main__":
    main()

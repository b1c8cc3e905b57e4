"""``Pyro4.test.echoserver``: an object that answers calls of all kinds, and serves itself.

Run as a program, it is registered as ``test.echoserver``.
"""

from __future__ import annotations

import sys
import threading
import time

from pyroipc.compat.pyro4 import core, keys, naming
from pyroipc.compat.pyro4.configuration import config
from pyroipc.naming.launch import printing_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence
    from typing import Any, Final

    from pyroipc.naming.broadcast import BroadcastServer
    from pyroipc.naming.server import NameServerDaemon
    from pyroipc.uri import URI

__all__ = ["EchoServer", "NameServer", "main", "startNameServer"]

_NAME: Final = "test.echoserver"
_SLOW_SECONDS: Final = 5.0


@core.expose
class EchoServer:
    """The object; it prints each call while :attr:`verbose` is true."""

    _verbose = False
    _must_shutdown = False

    def __init__(self) -> None:
        self._shut_down = threading.Event()

    def echo(self, message: Any) -> Any:
        """Return the message."""
        self._say("echo: %r", message)
        return message

    def error(self) -> None:
        """Raise an exception.

        Raises:
            ValueError: always.
        """
        self._say("error: generating exception")
        raise ValueError("expected error from echoserver error() method")

    def error_with_text(self) -> None:
        """Raise an exception with a message.

        Raises:
            ValueError: always.
        """
        self._say("error: generating exception")
        raise ValueError("the message of the error")

    @core.oneway
    def oneway_echo(self, message: Any) -> str:
        """Take the message; nobody waits for what is returned."""
        self._say("oneway_echo: %r", message)
        return "bogus return value"

    def slow(self) -> str:
        """Return a text after five seconds."""
        self._dawdle("slow")
        return "Finally, an answer!"

    @core.oneway
    def oneway_slow(self) -> str:
        """Take five seconds; nobody waits for that."""
        self._dawdle("oneway_slow")
        return "bogus return value"

    def generator(self) -> Iterator[str]:
        """Give three texts, one by one."""
        yield from ("one", "two", "three")

    def nan(self) -> float:
        """Return what is not a number."""
        return float("nan")

    def inf(self) -> float:
        """Return what is larger than all numbers."""
        return float("inf")

    def __dunder__(self) -> str:
        """Return a text; such a name may be called."""
        return "should be allowed (dunder)"

    def _private(self) -> str:
        return "should not be allowed"

    def __private(self) -> str:
        return "should not be allowed"

    def shutdown(self) -> None:
        """Have the program end."""
        self._say("shutting down")
        self._must_shutdown = True
        self._shut_down.set()

    @property
    def verbose(self) -> bool:
        """Whether each call is printed."""
        return self._verbose

    @verbose.setter
    def verbose(self, onoff: bool) -> None:
        self._verbose = bool(onoff)

    def _dawdle(self, method: str) -> None:
        self._say(f"{method}: waiting a bit...")
        self._shut_down.wait(_SLOW_SECONDS)
        self._say(f"{method}: returning result")

    def _say(self, text: str, *values: Any) -> None:
        if self._verbose:
            line = text % values if values else text
            encoding = sys.stdout.encoding or "ascii"
            shown = line.encode(encoding, "backslashreplace").decode(encoding)
            print(f"{time.asctime()} - {shown}", flush=True)


class NameServer(threading.Thread):
    """A name server on a thread of its own.

    Args:
        hostname: where it listens.
        hmac: what its clients have to know.
    """

    def __init__(self, hostname: str | None, hmac: bytes | str | None = None) -> None:
        super().__init__(name="NameServer", daemon=True)
        self.hostname = hostname
        self.hmac = hmac
        self.started = threading.Event()
        self.failure: BaseException | None = None
        self.uri: URI | None = None
        self.ns_daemon: NameServerDaemon | None = None
        self.bc_server: BroadcastServer | None = None

    def run(self) -> None:
        """Start it, tell that it is there, and serve."""
        try:
            self.uri, self.ns_daemon, self.bc_server = naming.startNS(
                self.hostname, hmac=self.hmac
            )
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self.failure = error
            return
        finally:
            self.started.set()
        if self.bc_server is not None:
            self.bc_server.runInThread()
        self.ns_daemon.requestLoop()


def startNameServer(host: str | None, hmac: bytes | str | None = None) -> NameServer:
    """Start a name server on a thread; return that when it can be used.

    Args:
        host: where it listens.
        hmac: what its clients have to know.

    Raises:
        PyroError: it could not be started.
    """
    thread = NameServer(host, hmac)
    thread.start()
    thread.started.wait()
    if thread.failure is not None:
        raise thread.failure
    return thread


def main(
    args: Sequence[str] | None = None, returnWithoutLooping: bool = False
) -> tuple[core.Daemon, EchoServer, URI] | None:
    """Serve an echo server until somebody calls its ``shutdown``, or Ctrl-C.

    Args:
        args: the command line.
        returnWithoutLooping: return the daemon, the object and its URI instead of serving.

    Raises:
        NamingError: it is to be registered, and there is no name server.
    """
    options = _options(args)
    key = keys.chosen(options)
    lines = ["Starting Pyro's built-in test echo server."]
    if not key:
        lines.append(keys.WARNING)
    config.SERVERTYPE = "multiplex"
    own = startNameServer(options.host, key) if options.nameserver else None
    daemon = core.Daemon(options.host, options.port, options.unixsocket)
    if key:
        daemon._pyroHmacKey = key
    echo = EchoServer()
    echo.verbose = options.verbose
    uri = daemon.register(echo, _NAME)
    told = _register(uri, own, key) if own is not None or options.naming else _NO_NAMES
    if options.verbose:
        lines += told
    lines += [f"object name: {_NAME}", f"echo uri: {uri}", "echoserver running."]
    if options.quiet and not options.verbose:
        lines.clear()
    if returnWithoutLooping:
        print(*lines, sep="\n", end="\n" if lines else "", flush=True)
        return daemon, echo, uri
    with daemon:
        daemon.requestLoop(printing_first(lines, lambda: not echo._must_shutdown))
    return None


_NO_NAMES: Final = ["not using a name server."]


def _register(uri: URI, own: NameServer | None, key: str | None) -> list[str]:
    """Register the echo server with the name server; return what there is to be told."""
    where: tuple[str | None, int | None] = (None, None)
    if own is not None and own.uri is not None:
        where = own.uri.host, own.uri.port
    with core.locateNS(*where, hmac_key=key) as ns:
        ns.register(_NAME, uri)
        lines = [f"using name server at {ns._pyroUri}"]
    if own is not None:
        if own.bc_server is None:
            lines.append("not using a broadcast server")
        else:
            lines.append(f"using broadcast server at {own.bc_server.locationStr}")
    return lines


def _options(args: Sequence[str] | None) -> Namespace:
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="echoserver.py")
    add = parser.add_argument
    add("-H", "--host", default="localhost", help="hostname to bind server on (%(default)s)")
    add("-p", "--port", type=int, default=0, help="port to bind server on")
    add("-u", "--unixsocket", help="Unix domain socket name to bind server on")
    add("-n", "--naming", action="store_true", help="register with nameserver")
    add("-N", "--nameserver", action="store_true", help="also start a nameserver")
    add("-v", "--verbose", action="store_true", help="verbose output")
    add("-q", "--quiet", action="store_true", help="don't output anything")
    keys.add_option(parser)
    return parser.parse_args(args)


if __name__ == "__main__":
    main()

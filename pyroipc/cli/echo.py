"""``pyroipc echo``: a daemon with an object that answers calls, to try a network or a client with.

It is Pyro's test echo server: the same object id, the same members. :class:`EchoServer` can be
registered in any daemon.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack

import pyroipc
from pyroipc.cli import listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    from pyroipc.settings import Settings

OBJECT_NAME = "test.echoserver"
"""The id under which the object is registered."""
_SLOW_SECONDS = 5.0


@pyroipc.expose
class EchoServer:
    """The object: answers calls of all kinds.

    Args:
        on_shutdown: called when a client calls :meth:`shutdown`; None: nothing happens then.

    While :attr:`verbose` is true each call is printed.
    """

    def __init__(self, on_shutdown: Callable[[], None] | None = None) -> None:
        self._on_shutdown = on_shutdown
        self._verbose = False
        self._ended = threading.Event()  # slow methods wait for it, and for nothing else

    def echo(self, message: object) -> object:
        """Return the message."""
        self._say(f"echo: {message!r}")
        return message

    def error(self) -> None:
        """Raise an exception.

        Raises:
            ValueError: always.
        """
        self._say("error: raising an exception")
        raise ValueError("this is the generated error from echoserver error() method")

    def error_with_text(self) -> None:
        """Raise an exception with a message.

        Raises:
            ValueError: always.
        """
        self._say("error_with_text: raising an exception")
        raise ValueError("the message of the error")

    @pyroipc.oneway
    def oneway_echo(self, message: object) -> str:
        """Take the message; the caller does not wait."""
        self._say(f"oneway_echo: {message!r}")
        return "bogus return value"

    def slow(self) -> str:
        """Return a message after five seconds."""
        self._wait("slow")
        return "Finally, an answer!"

    @pyroipc.oneway
    def oneway_slow(self) -> str:
        """Wait for five seconds; the caller does not."""
        self._wait("oneway_slow")
        return "bogus return value"

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

    def __dunder__(self) -> str:
        """Return a text: a name like this one may be called."""
        return "should be allowed (dunder)"

    def _private(self) -> str:
        return "should not be allowed"

    def shutdown(self) -> None:
        """End the echo server."""
        self._say("shutting down")
        self._ended.set()
        if self._on_shutdown is not None:
            self._on_shutdown()

    @property
    def verbose(self) -> bool:
        """Whether each call is printed."""
        return self._verbose

    @verbose.setter
    def verbose(self, verbose: bool) -> None:
        self._verbose = bool(verbose)

    def _wait(self, method: str) -> None:
        self._say(f"{method}: waiting a bit...")
        self._ended.wait(_SLOW_SECONDS)
        self._say(f"{method}: returning result")

    def _say(self, text: str) -> None:
        if self._verbose:
            encoding = sys.stdout.encoding or "ascii"
            shown = text.encode(encoding, "backslashreplace").decode(encoding)
            print(f"{time.asctime()} - {shown}", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument("-H", "--host", help="where to listen (default: the setting HOST)")
    parser.add_argument("-p", "--port", type=int, default=0, help="default: any free one")
    parser.add_argument("-u", "--unixsocket", metavar="PATH", help="listen at a unix socket")
    parser.add_argument(
        "-n", "--naming", action="store_true", help="register it with the name server"
    )
    parser.add_argument(
        "-N",
        "--nameserver",
        action="store_true",
        help="also start a name server, at the setting NS_PORT, and register it there",
    )
    listening.add_nat(parser)
    parser.add_argument(
        "-s", "--servertype", choices=("thread", "multiplex"), help="default: as the settings say"
    )
    listening.add_certificates(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="print each call")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """Serve until a client calls ``shutdown``, or a signal ends the process.

    Raises:
        PyroError: the address cannot be listened at, a file cannot be used, or no name server can
            be found.
    """
    from pyroipc.naming.launch import printing_first
    from pyroipc.settings import config

    settings = config.copy()
    if options.servertype:
        settings.SERVERTYPE = options.servertype
    tls = listening.tls_of(options, settings)
    with ExitStack() as stack:
        try:
            daemon = pyroipc.Daemon(
                options.host,
                options.port,
                options.unixsocket,
                options.nathost,
                options.natport,
                tls=tls,
                settings=settings,
            )
        except ValueError as error:  # options that do not go together
            print(f"pyroipc echo: {error}", file=sys.stderr)
            return 1
        stack.enter_context(daemon)
        echo = EchoServer(daemon.shutdown)
        echo.verbose = options.verbose
        uri = daemon.register(echo, OBJECT_NAME)
        lines = list(_described(daemon, uri, settings))
        if options.nameserver:
            lines += _start_name_server(daemon, options.host, tls, settings, stack)
        elif options.naming:
            _publish(daemon, settings, stack)
        if options.nameserver or options.naming:
            lines.append(f"name: PYRONAME:{OBJECT_NAME}")
        lines.append("echoserver running.")
        if options.quiet and not options.verbose:
            lines.clear()
        daemon.requestLoop(printing_first(lines))
    return 0


def _publish(daemon: pyroipc.Daemon, settings: Settings, stack: ExitStack) -> None:
    """Register the echo server with the name server, until the end.

    Raises:
        NamingError: there is none.
    """
    import warnings

    with warnings.catch_warnings(record=True) as advice:
        warnings.simplefilter("always")
        names = pyroipc.publish(daemon, {OBJECT_NAME: OBJECT_NAME}, settings=settings)
    stack.enter_context(names)
    for warning in advice:
        print(f"pyroipc echo: {warning.message}", file=sys.stderr)


def _start_name_server(
    daemon: pyroipc.Daemon,
    host: str | None,
    tls: ssl.SSLContext | None,
    settings: Settings,
    stack: ExitStack,
) -> Iterable[str]:
    """Have the loop of a daemon run a name server, too, which knows the echo server.

    Returns:
        What is to be printed about it.

    Raises:
        DaemonError: its address is in use.
    """
    from pyroipc.naming.launch import described, start_ns

    uri, names, responder = start_ns(host, settings=settings, tls=tls)
    stack.enter_context(names)
    daemon.combine(names)
    if responder is not None:
        stack.enter_context(responder)
        daemon.combine(responder)
    names.nameserver.register(OBJECT_NAME, daemon.uriFor(OBJECT_NAME))
    return described(uri, names, responder)


def _described(daemon: pyroipc.Daemon, uri: pyroipc.URI, settings: Settings) -> Iterable[str]:
    yield "Starting Pyro's built-in test echo server."
    if settings.HMAC_KEY:
        yield "Clients need the HMAC key."
    if daemon.natLocationStr:
        yield f"listening at: {daemon.locationStr}"
    yield f"object name: {OBJECT_NAME}"
    yield f"echo uri: {uri}"

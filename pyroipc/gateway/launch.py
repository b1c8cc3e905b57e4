"""The command that runs a gateway, also as the programs of Pyro4 and Pyro5 knew theirs."""

from __future__ import annotations

import argparse
import os
import sys

from pyroipc.errors import PyroError
from pyroipc.gateway.app import NAMES, Gateway
from pyroipc.gateway.server import GatewayServer
from pyroipc.server.termination import handling_signals
from pyroipc.settings import config
from pyroipc.transports import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final, Literal, TypeAlias

    from pyroipc.settings import Settings

    Manner: TypeAlias = Literal["pyroipc", "pyro4", "pyro5"]

__all__ = ["KEY_VARIABLE", "add_arguments", "described", "main", "run", "serve"]

KEY_VARIABLE: Final = "PYRO_HTTPGATEWAY_KEY"
"""The environment variable with the gateway key."""
_THREADS: Final = 64
_SECONDS: Final = 30.0
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def main(argv: Sequence[str] | None = None, *, manner: Manner = "pyroipc") -> int:
    """Run a gateway until Ctrl-C or SIGTERM; return the exit status.

    Args:
        argv: the arguments after the command's name; None takes those of this process.
        manner: whose command this is: which options it has, and which time limit without ``-t``.
    """
    parser = argparse.ArgumentParser(description="Call Python objects over HTTP and JSON.")
    add_arguments(parser, manner=manner)
    options = parser.parse_args(argv)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except PyroError as error:
        print(f"{parser.prog}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1


def add_arguments(parser: argparse.ArgumentParser, *, manner: Manner = "pyroipc") -> None:
    """Add the options of the command to its parser.

    Args:
        parser: what they are added to.
        manner: whose command this is.
    """
    add = parser.add_argument
    add("-H", "--host", default="localhost", help="where to listen (default: %(default)s)")
    add("-p", "--port", type=int, default=8080, help="0: any free one (default: %(default)s)")
    add(
        "-e",
        "--expose",
        metavar="REGEX",
        default=NAMES,
        help="which names are exposed: it has to match a whole name; one that ends in an escaped "
        "dot matches names that begin with it (default: %(default)s)",
    )
    add(
        "-g",
        "--gatewaykey",
        metavar="KEY",
        help=f"what clients must know; better in the variable {KEY_VARIABLE}, since everybody on "
        "this machine can see the arguments of a command",
    )
    add(
        "-t",
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=_SECONDS if manner == "pyroipc" else None,
        help="how long a call may take; 0: as long as it takes (default: "
        f"{f'{_SECONDS:g}' if manner == 'pyroipc' else 'the setting COMMTIMEOUT'})",
    )
    parser.set_defaults(prog=parser.prog, pyrokey=None)
    if manner == "pyro4":
        add(
            "-k",
            "--pyrokey",
            metavar="KEY",
            help="the HMAC key of the daemons; better in the variable PYRO_HMAC_KEY",
        )
    add(
        "-c",
        "--cors",
        metavar="ORIGINS",
        default="",
        help="the sites whose pages may call: '*', or such as https://shop.example,... "
        "(default: only the gateway's own page)",
    )
    _add_more(parser)


def _add_more(parser: argparse.ArgumentParser) -> None:
    """Add the options that Pyro's commands do not have."""
    add = parser.add_argument
    add("-n", "--ns-host", metavar="HOST", help="where the name server is (default: NS_HOST)")
    add("--ns-port", metavar="PORT", type=int, help="its port (default: the setting NS_PORT)")
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which the gateway may be asked, besides those of this machine; '*': "
        "any, as it is if other machines can connect",
    )
    add(
        "--no-query-key",
        action="store_true",
        help="do not take the key from the query, where proxies write it into their logs",
    )
    add(
        "--tracebacks",
        action="store_true",
        help="tell clients the remote tracebacks of exceptions",
    )
    add(
        "--threads",
        metavar="N",
        type=int,
        default=_THREADS,
        help="how many requests are served at once (default: %(default)s)",
    )
    add("-q", "--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """Run a gateway as these options say; return the exit status.

    Raises:
        PyroError: nobody can listen at the address.
    """
    try:
        gateway = _gateway_of(options)
    except ValueError as error:  # values out of range, options that do not go together
        print(f"{options.prog}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    with gateway:
        server = GatewayServer(gateway, options.host, options.port, threads=options.threads)
        for advice in _advice(options, gateway):
            print(f"Warning: {advice}", file=sys.stderr)  # noqa: T201
        serve(gateway, server, verbose=not options.quiet)
    return 0


def serve(gateway: Gateway, server: GatewayServer, *, verbose: bool = True) -> None:
    """Serve a gateway until SIGTERM, Ctrl-C, or ``server.stop()``.

    Args:
        gateway: the application of the server.
        server: listens already.
        verbose: print where it is, and what it exposes.
    """
    with handling_signals(server.stop, lambda: True):
        if verbose:
            for line in described(gateway, server):
                print(line, flush=True)  # noqa: T201
        server.serve()


def described(gateway: Gateway, server: GatewayServer) -> Iterator[str]:
    """Yield the lines that tell where a gateway is, as Pyro prints them."""
    if gateway.ns_regex:
        yield f"Exposing objects with names matching:  {gateway.ns_regex}"
    else:
        yield "Warning: exposing all objects (no expose regex set)"
    try:
        yield f"Connected to name server at:  {gateway.locate()}"
    except PyroError:
        yield "Not yet connected to a name server."
    yield f"Pyro HTTP gateway running on {server.url}"


def _gateway_of(options: argparse.Namespace) -> Gateway:
    """Return the gateway that these options describe.

    Raises:
        ValueError: they do not go together, or one has a value that it cannot have.
    """
    if options.threads < 1:
        raise ValueError(f"--threads: at least 1, not {options.threads}")
    return Gateway(
        options.expose,
        _secret("gatewaykey", options.gatewaykey, KEY_VARIABLE),
        options.timeout,
        _secret("pyrokey", options.pyrokey, "PYRO_HMAC_KEY") if options.pyrokey else None,
        options.cors,
        query_key=not options.no_query_key,
        tracebacks=options.tracebacks,
        hosts=_hosts(options.host, options.allow_host),
        settings=_settings(options),
    )


def _secret(option: str, given: str | None, variable: str) -> str | None:
    """Return a key from an option or from the environment.

    Raises:
        ValueError: it is in both.
    """
    found = os.environ.get(variable)
    if given and found:
        raise ValueError(
            f"there is a key both in the option --{option} and in the environment variable "
            f"{variable}: use one of them"
        )
    return given or found or None


def _hosts(host: str, allowed: Iterable[str]) -> list[str]:
    """Return the names under which the gateway may be asked; none: any."""
    more = list(allowed)
    if "*" in more or (not more and not addresses.is_loopback(host)):
        return []
    return [*_LOOPBACK, host, *more]


def _settings(options: argparse.Namespace) -> Settings:
    settings = config.copy()
    if options.ns_host:
        settings.NS_HOST = options.ns_host
        settings.BROADCAST_ADDRS = []  # who says where it is means nowhere else
    if options.ns_port is not None:
        settings.NS_PORT = options.ns_port
    return settings


def _advice(options: argparse.Namespace, gateway: Gateway) -> Iterator[str]:
    if options.gatewaykey:
        yield (
            "a key among the arguments can be seen by everybody on this machine; use the "
            f"environment variable {KEY_VARIABLE}"
        )
    if options.pyrokey:
        yield (
            "a key among the arguments can be seen by everybody on this machine; use the "
            "environment variable PYRO_HMAC_KEY"
        )
    if not gateway.gateway_key and not addresses.is_loopback(options.host):
        yield "other machines can connect, and there is no gateway key: everybody may call"

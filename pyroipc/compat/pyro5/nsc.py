"""``Pyro5.nsc``: the command that asks a name server, and changes what it knows."""

from __future__ import annotations

from argparse import ArgumentParser

from pyroipc.compat import ns_commands
from pyroipc.compat.ns_commands import COMMANDS
from pyroipc.compat.pyro5 import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["handle_command", "main"]


def handle_command(namesrv: Any, cmd: str, args: Sequence[str]) -> None:
    """Do what a command says, and print the answer.

    Raises:
        SystemExit: the arguments make no sense.
        Exception: what the name server answered, after it was printed.
    """
    ns_commands.handle_command(namesrv, cmd, args)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 1 if something went wrong."""
    parser = ArgumentParser(prog="nsc", description="Pyro name server control utility.")
    parser.add_argument("-n", "--host", default="", help="hostname of the NS")
    parser.add_argument(
        "-p", "--port", type=int, help="port of the NS (or bc-port if host isn't specified)"
    )
    parser.add_argument("-u", "--unixsocket", help="Unix domain socket name of the NS")
    parser.add_argument("-v", "--verbose", action="store_true", help="verbose output")
    parser.add_argument("command", choices=list(COMMANDS))
    options, rest = parser.parse_known_args(args)
    return ns_commands.main(options, rest, core.locate_ns)


if __name__ == "__main__":
    raise SystemExit(main())

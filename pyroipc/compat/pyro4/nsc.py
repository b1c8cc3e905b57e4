"""``Pyro4.nsc``: ask a name server on the command line, and change what it knows.

The exit status is 1 if no name server is found, or if it refuses something.
"""

from __future__ import annotations

from pyroipc.compat import ns_commands
from pyroipc.compat.pyro4 import keys, naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["handleCommand", "main"]


def _show(found: Mapping[str, Any], title: str = "") -> None:
    print("--------START LIST", title)
    for name in sorted(found):
        uri, metadata = found[name]
        print(name, "-->", uri)
        if metadata:
            print("    metadata:", list(metadata))
    print("--------END LIST", title)


def _list(ns: Any, args: Sequence[str]) -> None:
    if args:
        _show(ns.list(prefix=args[0], return_metadata=True), f"- prefix '{args[0]}'")
    else:
        _show(ns.list(return_metadata=True))


def _listmatching(ns: Any, args: Sequence[str]) -> None:
    ns_commands._expect(len(args) == 1, "requires one argument: pattern")
    _show(ns.list(regex=args[0], return_metadata=True), f"- regex '{args[0]}'")


def _listmeta_all(ns: Any, args: Sequence[str]) -> None:
    ns_commands._expect(bool(args), "requires at least one metadata tag argument")
    _show(ns.list(metadata_all=set(args), return_metadata=True), " - searched by metadata")


def _listmeta_any(ns: Any, args: Sequence[str]) -> None:
    ns_commands._expect(bool(args), "requires at least one metadata tag argument")
    _show(ns.list(metadata_any=set(args), return_metadata=True), " - searched by metadata")


def _lookup(ns: Any, args: Sequence[str]) -> None:
    ns_commands._expect(len(args) == 1, "requires one argument: name")
    uri, metadata = ns.lookup(args[0], return_metadata=True)
    print(uri)
    if metadata:
        print("metadata:", list(metadata))


_SHARED = ("register", "remove", "removematching", "setmeta", "ping")
_COMMANDS = {
    "list": _list,
    "listmatching": _listmatching,
    "listmeta_all": _listmeta_all,
    "listmeta_any": _listmeta_any,
    "lookup": _lookup,
    **{name: ns_commands.COMMANDS[name] for name in _SHARED},
}


def handleCommand(nameserver: Any, options: Namespace, args: Sequence[str]) -> None:
    """Do what a command says, and print the answer.

    Args:
        nameserver: a proxy of the name server.
        options: is not used.
        args: the command, and its arguments.

    Raises:
        SystemExit: the arguments make no sense.
        Exception: what the name server answered, after it was printed.
    """
    ns_commands.handle_command(nameserver, args[0], args[1:], _COMMANDS)


def main(args: Sequence[str] | None = None) -> int:
    """Find the name server, and do what the command line says; return the exit status."""
    from argparse import ArgumentParser

    parser = ArgumentParser(
        prog="nsc.py",
        usage="%(prog)s [options] command [arguments]",
        epilog=f"commands: {' '.join(_COMMANDS)}",
    )
    parser.add_argument("-n", "--host", help="hostname of the NS")
    parser.add_argument(
        "-p", "--port", type=int, help="port of the NS (or bc-port if host isn't specified)"
    )
    parser.add_argument("-u", "--unixsocket", help="Unix domain socket name of the NS")
    keys.add_option(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="verbose output")
    parser.add_argument("command", choices=list(_COMMANDS))
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args(args)
    key = keys.chosen(options)

    def locate(host: str | None, port: int | None) -> Any:
        return naming.locateNS(host, port, hmac_key=key)

    return ns_commands.main(options, options.arguments, locate, _COMMANDS)


if __name__ == "__main__":
    raise SystemExit(main())

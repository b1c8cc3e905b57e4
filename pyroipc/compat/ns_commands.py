"""The command line of Pyro's ``nsc`` into calls of a name server, and answers into its lines.

The exit status is 0, and 1 if there is no name server or the name server refuses something. Pyro
ends with 0 if it finds none; programs that look at the status want to know.
"""

from __future__ import annotations

import sys

from pyroipc.errors import NamingError, PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["COMMANDS", "handle_command", "main"]


def _show(found: Mapping[str, Any], title: str = "") -> None:
    print("--------START LIST", title)
    for name in sorted(found):
        uri, tags = found[name]
        print(f"{name} --> {uri}")
        if tags:
            print("    metadata:", _tags(tags))
    print("--------END LIST", title)


def _tags(tags: Iterable[str]) -> set[str]:
    return set(tags)


def _list(ns: Any, args: Sequence[str]) -> None:
    if args:
        _show(ns.list(prefix=args[0], return_metadata=True), f"- prefix '{args[0]}'")
    else:
        _show(ns.list(return_metadata=True))


def _listmatching(ns: Any, args: Sequence[str]) -> None:
    _expect(len(args) == 1, "requires one argument: pattern")
    _show(ns.list(regex=args[0], return_metadata=True), f"- regex '{args[0]}'")


def _yplookup_all(ns: Any, args: Sequence[str]) -> None:
    _expect(bool(args), "requires at least one metadata tag argument")
    _show(ns.yplookup(meta_all=set(args), return_metadata=True), " - searched by metadata")


def _yplookup_any(ns: Any, args: Sequence[str]) -> None:
    _expect(bool(args), "requires at least one metadata tag argument")
    _show(ns.yplookup(meta_any=set(args), return_metadata=True), " - searched by metadata")


def _lookup(ns: Any, args: Sequence[str]) -> None:
    _expect(len(args) == 1, "requires one argument: name")
    uri, tags = ns.lookup(args[0], return_metadata=True)
    print(uri)
    if tags:
        print("metadata:", _tags(tags))


def _register(ns: Any, args: Sequence[str]) -> None:
    _expect(len(args) == 2, "requires two arguments: name uri")
    ns.register(args[0], args[1], safe=True)
    print(f"Registered {args[0]}")


def _remove(ns: Any, args: Sequence[str]) -> None:
    _expect(len(args) == 1, "requires one argument: name")
    if ns.remove(args[0]) > 0:
        print(f"Removed {args[0]}")
    else:
        print("Nothing removed")


def _removematching(ns: Any, args: Sequence[str]) -> None:
    _expect(len(args) == 1, "requires one argument: pattern")
    print(
        "Potentially removing lots of items from the Name server. Are you sure (y/n)?",
        end="",
        flush=True,
    )
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        print(f"{ns.remove(regex=args[0])} items removed.")


def _setmeta(ns: Any, args: Sequence[str]) -> None:
    _expect(bool(args), "requires arguments: uri and zero or more meta tags")
    name, *tags = args
    ns.set_metadata(name, set(tags))
    print("Metadata updated" if tags else "Metadata cleared")


def _ping(ns: Any, args: Sequence[str]) -> None:
    ns.ping()
    print("Name server ping ok.")


def _expect(is_right: bool, text: str) -> None:
    """End the program if its arguments make no sense.

    Raises:
        SystemExit: they do not.
    """
    if not is_right:
        raise SystemExit(text)


COMMANDS: dict[str, Callable[[Any, Sequence[str]], None]] = {
    "list": _list,
    "lookup": _lookup,
    "register": _register,
    "remove": _remove,
    "removematching": _removematching,
    "listmatching": _listmatching,
    "yplookup_all": _yplookup_all,
    "yplookup_any": _yplookup_any,
    "setmeta": _setmeta,
    "ping": _ping,
}


def handle_command(
    namesrv: Any,
    cmd: str,
    args: Sequence[str],
    commands: Mapping[str, Callable[[Any, Sequence[str]], None]] = COMMANDS,
) -> None:
    """Do what a command says, and print the answer.

    Args:
        namesrv: a proxy of the name server.
        cmd: the command.
        args: its arguments.
        commands: what there is.

    Raises:
        SystemExit: the arguments make no sense.
        Exception: what the name server answered, after it was printed.
    """
    try:
        commands[cmd](namesrv, args)
    except Exception as error:
        print(f"Error: {type(error).__name__} - {error}")
        raise


def main(
    options: argparse.Namespace,
    args: Sequence[str],
    locate: Callable[[Any, int | None], Any],
    commands: Mapping[str, Callable[[Any, Sequence[str]], None]] = COMMANDS,
) -> int:
    """Find the name server, and do what the command line says.

    Args:
        options: ``host``, ``port``, ``unixsocket``, ``verbose``, ``command``.
        args: the arguments of the command.
        locate: finds the name server, given a host and a port.
        commands: what there is.

    Returns:
        The exit status.
    """
    host = f"./u:{options.unixsocket}" if options.unixsocket else options.host
    if options.verbose:
        print("Locating name server...")
    try:
        ns = locate(host, options.port)
    except NamingError as error:
        print(f"Error: {error}")
        return 1
    with ns:
        if options.verbose:
            print("Name server found:", ns._pyroUri)
        try:
            handle_command(ns, options.command, args, commands)
        except PyroError:
            return 1  # it was printed
    if options.verbose:
        print("Done.")
    return 0

"""``pyroipc nsc``: ask a name server, and change what it knows.

The exit status says what was found: 0 done; 1 there is no such name, or nothing matched; 3 no name
server can be reached. (2 is a wrong command line, as everywhere.) What is asked for is printed to
the standard output, everything else to the error output.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic

from pyroipc.cli import names_shown
from pyroipc.errors import CommunicationError, NamingError, PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyroipc.client.name_server import NameServerProxy
    from pyroipc.settings import Settings

    Command: TypeAlias = Callable[[NameServerProxy, argparse.Namespace], int]

_DONE, _NOT_FOUND, _NO_NAME_SERVER = 0, 1, 3
_RESERVED = "Pyro."
_USUAL_SECONDS = 10.0
_PAUSE = 0.5
_AT_ONCE = 200
"""How many names are removed in one request, before progress is shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options and commands of this subcommand to its parser."""
    _add_options(parser, suppressed=False)
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary, *arguments in _ACTIONS:
        action = commands.add_parser(name, help=summary, description=summary)
        _add_options(action, suppressed=True)
        for names, options in arguments:
            action.add_argument(*names, **options)


def _add_options(parser: argparse.ArgumentParser, *, suppressed: bool) -> None:
    """Add the options that may stand before an action or behind it.

    Args:
        parser: what they are added to.
        suppressed: behind it, what is not given must not replace what was given before.
    """
    from argparse import SUPPRESS, BooleanOptionalAction

    def default(value: Any) -> Any:
        return SUPPRESS if suppressed else value

    yes, no = True, False

    parser.add_argument(
        "-n", "-H", "--host", default=default(None),
        help="where the name server is (default: as the settings say, then a broadcast)",
    )  # fmt: skip
    parser.add_argument(
        "-p", "--port", type=_port, default=default(None),
        help="its port (default: the setting NS_PORT); without a host, that of broadcasts, too",
    )  # fmt: skip
    parser.add_argument(
        "-u", "--unixsocket", metavar="PATH", default=default(None), help="it is at a unix socket"
    )
    parser.add_argument(
        "--broadcast", action=BooleanOptionalAction, default=default(yes),
        help="whether to ask in the networks, if nothing else leads to it",
    )  # fmt: skip
    parser.add_argument(
        "--answer-within", metavar="SECONDS", type=_seconds, default=default(_USUAL_SECONDS),
        help=f"how long to wait for an answer of the name server (default: {_USUAL_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", default=default(no), help="print JSON, for programs"
    )


def run(options: argparse.Namespace) -> int:
    """Do what the action is; return the exit status.

    Raises:
        PyroError: the name server refuses it, or the settings are wrong.
    """
    names_shown.print_anything()
    if options.unixsocket is not None and (options.host is not None or options.port is not None):
        print("pyroipc nsc: a name server is at a host or at a unix socket", file=sys.stderr)
        return 2
    if options.action == "wait":
        return _wait(options)
    try:
        ns = _locate(options)
    except NamingError as error:
        return _complain(error)
    with ns:
        try:
            return _COMMANDS[options.action](ns, options)
        except CommunicationError as error:
            return _complain(error)


def _complain(error: PyroError) -> int:
    print(f"pyroipc nsc: {names_shown.printable(str(error))}", file=sys.stderr)
    return _NO_NAME_SERVER


def _locate(options: argparse.Namespace, deadline: float | None = None) -> NameServerProxy:
    """Find the name server; the caller closes the proxy.

    Raises:
        NamingError: there is none.
    """
    from pyroipc.client.name_server import NameServerProxy
    from pyroipc.client.search import Search, location_of
    from pyroipc.settings import config

    settings: Settings = config.copy()
    settings.COMMTIMEOUT = options.answer_within
    end = monotonic() + options.answer_within
    search = Search(NameServerProxy, settings, end if deadline is None else min(end, deadline))
    host = options.host or None
    if options.unixsocket is not None:
        host = f"./u:{options.unixsocket}"
    found: NameServerProxy
    if host is None:
        found = search.anywhere(options.port, broadcast=options.broadcast)
    else:
        found = search.at(location_of(host, options.port, settings))
    return found


# ------------------------------------------------------------------------------- the actions


def _ping(ns: NameServerProxy, options: argparse.Namespace) -> int:
    begin = monotonic()
    ns.ping()
    seconds = monotonic() - begin
    if options.json:
        names_shown.print_json({"uri": str(ns._pyroUri), "seconds": seconds})  # noqa: SLF001
    else:
        print(f"Name server ping ok: {ns._pyroUri}, {seconds * 1e3:.2f} ms")  # noqa: SLF001
    return _DONE


def _list(ns: NameServerProxy, options: argparse.Namespace) -> int:
    return _show(ns.list(prefix=options.prefix or None, return_metadata=True), options)


def _listmatching(ns: NameServerProxy, options: argparse.Namespace) -> int:
    return _show(ns.list(regex=options.regex, return_metadata=True), options)


def _yplookup_all(ns: NameServerProxy, options: argparse.Namespace) -> int:
    return _show(ns.yplookup(meta_all=options.tags), options)


def _yplookup_any(ns: NameServerProxy, options: argparse.Namespace) -> int:
    return _show(ns.yplookup(meta_any=options.tags), options)


def _show(found: dict[str, Any], options: argparse.Namespace) -> int:
    if options.json:
        names_shown.print_json(names_shown.as_data(found))
    elif found:
        names_shown.print_table(found)
    if found:
        return _DONE
    print("pyroipc nsc: nothing matches", file=sys.stderr)
    return _NOT_FOUND


def _lookup(ns: NameServerProxy, options: argparse.Namespace) -> int:
    uri, metadata = ns.lookup(options.name, return_metadata=True)
    names_shown.print_entry(options.name, str(uri), metadata, as_json=options.json)
    return _DONE


def _register(ns: NameServerProxy, options: argparse.Namespace) -> int:
    import warnings

    with warnings.catch_warnings(record=True) as advice:
        warnings.simplefilter("always")
        ns.register(
            options.name,
            options.uri,
            not options.replace,
            options.tags or None,
            ttl=options.ttl,
        )
    for warning in advice:
        print(f"pyroipc nsc: {names_shown.printable(str(warning.message))}", file=sys.stderr)
    if options.json:
        names_shown.print_json({"name": options.name, "uri": options.uri})
    else:
        print(f"Registered {names_shown.printable(options.name)}")
    return _DONE


def _remove(ns: NameServerProxy, options: argparse.Namespace) -> int:
    return _report_removed(ns.remove(options.name), options)


def _removematching(ns: NameServerProxy, options: argparse.Namespace) -> int:
    names = [name for name in sorted(ns.list(regex=options.regex)) if not _is_reserved(name)]
    if names and not options.yes and not _is_sure(names):
        print("pyroipc nsc: nothing was removed", file=sys.stderr)
        return _NOT_FOUND
    return _report_removed(_remove_all(ns, names), options)


def _is_reserved(name: str) -> bool:
    return name.startswith(_RESERVED)


def _is_sure(names: list[str]) -> bool:
    shown = ", ".join(map(names_shown.printable, names[:5])) + (", ..." if len(names) > 5 else "")
    plural = "" if len(names) == 1 else "s"
    print(
        f"Remove {len(names)} name{plural} ({shown})? [y/N] ", end="", file=sys.stderr, flush=True
    )
    answer = sys.stdin.readline()
    if not answer:  # nobody is there to be asked
        print("\npyroipc nsc: give -y if you are sure", file=sys.stderr)
    return answer.strip().lower() in {"y", "yes"}


def _remove_all(ns: NameServerProxy, names: list[str]) -> int:
    """Remove many names, and show how far that is; return how many were there."""
    from pyroipc.client.batch import batch

    removed = 0
    progress = names_shown.Progress("removed", len(names))
    with progress:
        for start in range(0, len(names), _AT_ONCE):
            removals = batch(ns)
            for name in names[start : start + _AT_ONCE]:
                removals.remove(name)
            removed += sum(removals())
            progress.show(removed)
    return removed


def _report_removed(number: int, options: argparse.Namespace) -> int:
    if options.json:
        names_shown.print_json({"removed": number})
    elif number:
        print(f"Removed {number} name{'' if number == 1 else 's'}")
    if number:
        return _DONE
    print("pyroipc nsc: nothing matches, so nothing was removed", file=sys.stderr)
    return _NOT_FOUND


def _setmeta(ns: NameServerProxy, options: argparse.Namespace) -> int:
    ns.set_metadata(options.name, options.tags)
    if options.json:
        names_shown.print_json({"name": options.name, "metadata": sorted(set(options.tags))})
    else:
        print("Metadata updated" if options.tags else "Metadata cleared")
    return _DONE


def _wait(options: argparse.Namespace) -> int:
    """Wait for a name; meanwhile, also for the name server."""
    deadline = None if options.timeout is None else monotonic() + options.timeout
    failure: PyroError
    said = ""
    while True:
        try:
            with _locate(options, deadline) as ns:
                return _wait_at(ns, options, deadline)
        except (NamingError, CommunicationError) as error:
            failure = error
        if deadline is not None and monotonic() >= deadline:
            return _complain(failure)
        if not said:
            said = f"pyroipc nsc: no name server yet: {failure}"
            print(names_shown.printable(said), file=sys.stderr)
        _pause(deadline)


def _wait_at(ns: NameServerProxy, options: argparse.Namespace, deadline: float | None) -> int:
    """Wait for a name at a name server.

    Raises:
        CommunicationError: the name server is gone.
    """
    while True:
        try:
            return _lookup(ns, options)
        except NamingError as error:
            if deadline is not None and monotonic() >= deadline:
                print(f"pyroipc nsc: {names_shown.printable(str(error))}", file=sys.stderr)
                return _NOT_FOUND
        _pause(deadline)


def _pause(deadline: float | None, seconds: float = _PAUSE) -> None:
    if deadline is not None:
        seconds = min(seconds, max(0.0, deadline - monotonic()))
    threading.Event().wait(seconds)


def _watch(ns: NameServerProxy, options: argparse.Namespace) -> int:
    """Print what there is and what changes, until Ctrl-C."""
    known: dict[str, Any] = {}
    is_there = True
    while True:
        try:
            found = ns.list(prefix=options.prefix or None, return_metadata=True)
        except CommunicationError as error:
            if is_there:
                _complain(error)
            is_there = False
        else:
            if not is_there:
                print("pyroipc nsc: the name server answers again", file=sys.stderr)
            is_there = True
            names_shown.print_changes(known, found, as_json=options.json)
            known = found
        _pause(None, options.interval)


# --------------------------------------------------------------------------- the command line


def _port(text: str) -> int:
    """Read a port.

    Raises:
        ValueError: it is none.
    """
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(text)
    return port


def _seconds(text: str) -> float:
    """Read a number of seconds.

    Raises:
        ValueError: it is none, or out of range.
    """
    seconds = float(text)
    if not 0 < seconds < threading.TIMEOUT_MAX:  # false for nan, too
        raise ValueError(text)
    return seconds


_port.__name__, _seconds.__name__ = "port", "number of seconds"  # argparse shows them

_NAME = (("name",), {"metavar": "NAME"})
_PREFIX = (("prefix",), {"metavar": "PREFIX", "nargs": "?", "help": "what the names begin with"})
_REGEX = (
    ("regex",),
    {"metavar": "REGEX", "help": "a regular expression, for the beginning of the names"},
)
_TAGS = (("tags",), {"metavar": "TAG", "nargs": "+"})
_TTL = {"metavar": "SECONDS", "type": _seconds, "help": "the name goes after so long"}
_TIMEOUT = {"metavar": "SECONDS", "type": _seconds, "help": "how long to wait (default: for ever)"}
_INTERVAL = {"metavar": "SECONDS", "type": _seconds, "default": 1.0, "help": "between two looks"}

#   name, summary, arguments of argparse: names and options
_ACTIONS: tuple[Any, ...] = (
    ("ping", "see whether it answers"),
    ("list", "print the names, where their objects are, and their metadata", _PREFIX),
    ("listmatching", "the same, for names that match an expression", _REGEX),
    ("lookup", "print where the object of a name is", _NAME),
    (
        "register",
        "register a name",
        _NAME,
        (("uri",), {"metavar": "URI", "help": "where its object is"}),
        (("tags",), {"metavar": "TAG", "nargs": "*", "help": "metadata to find it by"}),
        (("--replace",), {"action": "store_true", "help": "also if the name is taken"}),
        (("--ttl",), _TTL),
    ),
    ("remove", "remove a name", _NAME),
    (
        "removematching",
        "remove the names that match an expression",
        _REGEX,
        (("-y", "--yes"), {"action": "store_true", "help": "do not ask whether you are sure"}),
    ),
    (
        "setmeta",
        "replace the metadata of a name",
        _NAME,
        (("tags",), {"metavar": "TAG", "nargs": "*", "help": "none: they are cleared"}),
    ),
    ("yplookup_all", "print the names that have all of some tags", _TAGS),
    ("yplookup_any", "print the names that have one of some tags", _TAGS),
    ("wait", "wait until a name is registered, and print it", _NAME, (("--timeout",), _TIMEOUT)),
    (
        "watch",
        "print what there is, and then what changes, until Ctrl-C",
        _PREFIX,
        (("--interval",), _INTERVAL),
    ),
)
_COMMANDS: dict[str, Command] = {
    "ping": _ping,
    "list": _list,
    "listmatching": _listmatching,
    "lookup": _lookup,
    "register": _register,
    "remove": _remove,
    "removematching": _removematching,
    "setmeta": _setmeta,
    "yplookup_all": _yplookup_all,
    "yplookup_any": _yplookup_any,
    "watch": _watch,
}

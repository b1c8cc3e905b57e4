"""The command ``pyroipc`` and its subcommands.

A subcommand is a module of this room with ``add_arguments(parser)`` and ``run(options) -> int``,
and one line in the table below. It is imported when it is called for.
"""

from __future__ import annotations

import argparse
import os
import sys

import pyroipc
from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["full_parser", "main"]

# name: (module, what it does)
COMMANDS = {
    "completion": ("pyroipc.cli.completion", "print a script with which a shell completes words"),
    "config": ("pyroipc.cli.config", "print the settings, and where each value is from"),
    "demo": ("pyroipc.cli.demo", "call an object in a child process, time a call, kill the child"),
    "doctor": (
        "pyroipc.cli.doctor",
        "find out why an object cannot be found or called, or how well it can",
    ),
    "echo": ("pyroipc.cli.echo", "run an object that answers calls, to try things out with"),
    "gateway": ("pyroipc.cli.gateway", "serve objects over HTTP and JSON, by their names"),
    "ns": ("pyroipc.cli.ns", "run a name server"),
    "nsc": ("pyroipc.cli.nsc", "ask a name server, and change what it knows"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments after the command's name; None takes those of this process.

    Returns:
        0 if all went well, 1 after an error that was printed, 130 after Ctrl-C; subcommands have
        others of their own.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = _parser(arguments).parse_args(arguments)
    command = _load(COMMANDS[options.command][0])
    try:
        status: int = command.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does. Python flushes it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PyroError as error:
        print(f"pyroipc {options.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status


def full_parser() -> argparse.ArgumentParser:
    """Return the parser with the arguments of all subcommands."""
    return _parser(list(COMMANDS))


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pyroipc", description="Call Python objects in other processes as if they were here."
    )
    parser.add_argument("--version", action="version", version=f"pyroipc {pyroipc.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in arguments:
            _load(module).add_arguments(subparser)
    return parser


def _load(module: str) -> ModuleType:
    import importlib

    return importlib.import_module(module)

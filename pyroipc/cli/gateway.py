"""``pyroipc gateway``: an HTTP server through which objects can be called by their names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    from pyroipc.gateway import launch

    launch.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status.

    Raises:
        PyroError: nobody can listen at the address.
    """
    from pyroipc.gateway import launch

    return launch.run(options)

"""The short way to a server: objects in, the lines that tell where they are out."""

from __future__ import annotations

from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.server.daemon import Daemon


def check(*, use_ns: bool) -> None:
    """Refuse what this version cannot do.

    Raises:
        NamingError: the name server was to be used.
    """
    if use_ns:
        raise NamingError(
            "this version has no name server yet: leave out use_ns (or ns), and give clients the "
            "URIs that are printed"
        )


def publish(daemon: Daemon, objects: Mapping[Any, str | None], *, verbose: bool) -> None:
    """Register objects, and print what Pyro prints.

    Args:
        daemon: where to register them.
        objects: objects or classes, and their ids.
        verbose: print.

    Raises:
        DaemonError: an object cannot be registered.
    """
    for thing, object_id in objects.items():
        uri = daemon.register(thing, object_id)
        if verbose:
            _say(f"Object {thing!r}:\n    uri = {uri}")
    if verbose:
        _say("Pyro daemon running.")


def _say(text: str) -> None:
    # Whoever reads this from a pipe waits for it, and the loop does not end soon.
    print(text, flush=True)  # noqa: T201

"""The short way to a server: objects in, the lines that tell where they are out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.server.daemon import Daemon


def publish(
    daemon: Daemon, objects: Mapping[Any, str | None], *, use_ns: bool, verbose: bool
) -> None:
    """Register objects, in the name server too if that is wanted, and print what Pyro prints.

    Args:
        daemon: where to register them.
        objects: objects or classes; and their ids, or with ``use_ns`` their names in the name
            server.
        use_ns: register the names in the name server; the ids are then made.
        verbose: print.

    Raises:
        DaemonError: an object cannot be registered.
        NamingError: no name server was found, or it does not take a name.
    """
    if use_ns:
        from pyroipc.client.name_server import NameServerProxy
        from pyroipc.client.search import Search

        with Search(NameServerProxy, daemon.settings).anywhere() as ns:
            for thing, name in objects.items():
                uri = daemon.register(thing)
                if name:
                    ns.register(name, uri)
                if verbose:
                    _say(f"Object {thing!r}:\n    uri = {uri}\n    name = {name}")
    else:
        for thing, object_id in objects.items():
            uri = daemon.register(thing, object_id)
            if verbose:
                _say(f"Object {thing!r}:\n    uri = {uri}")
    if verbose:
        _say("Pyro daemon running.")


def _say(text: str) -> None:
    # Whoever reads this from a pipe waits for it, and the loop does not end soon.
    print(text, flush=True)  # noqa: T201

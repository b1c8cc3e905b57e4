"""The name server of pyroipc into Pyro's: its classes, the lines it prints, its command line.

The daemon behaves as those of :mod:`pyroipc.compat.daemons`; the entry of the name server itself
has the tag that Pyro gives it, besides pyroipc's.
"""

from __future__ import annotations

from pyroipc.compat.daemons import CompatDaemon, always
from pyroipc.naming import launch
from pyroipc.naming.server import NAMESERVER_NAME, NameServerDaemon
from pyroipc.naming.storage.base import Entry
from pyroipc.settings import config
from pyroipc.transports import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ClassVar

    from pyroipc.location import Location
    from pyroipc.naming.broadcast import BroadcastServer
    from pyroipc.uri import URI

__all__ = ["CompatNameServerDaemon", "described", "start_ns_loop"]


class CompatNameServerDaemon(NameServerDaemon, CompatDaemon):
    """The base of the name server daemons of the shims."""

    _own_tag: ClassVar[str] = ""
    """The tag that Pyro's name server gives its own entry."""

    def __init__(
        self,
        host: object = None,
        port: int | None = None,
        unixsocket: str | None = None,
        nathost: object = None,
        natport: int | None = None,
        storage: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            host,  # type: ignore[arg-type]  # its base takes it
            port,
            unixsocket,
            nathost,  # type: ignore[arg-type]
            natport,
            storage,
            **options,
        )
        own = self.nameserver._own
        assert own is not None
        tags = own.metadata | {self._own_tag}
        self.nameserver._own = Entry(NAMESERVER_NAME, own.uri, tags, None)

    def requestLoop(self, loopCondition: Callable[[], bool] | None = always) -> None:
        """Serve until ``shutdown``, Ctrl-C, or while the condition holds."""
        super().requestLoop(loopCondition)


def start_ns_loop(
    started: tuple[URI, NameServerDaemon, BroadcastServer | None],
    condition: Callable[[], bool] | None,
) -> None:
    """Run a name server until Ctrl-C, SIGTERM, or while the condition holds; print Pyro's lines.

    Args:
        started: what :func:`pyroipc.naming.launch.start_ns` returned.
        condition: as ``requestLoop`` takes it.
    """
    uri, daemon, responder = started
    try:
        if responder is not None:
            daemon.combine(responder)
        lines = described(uri, daemon, responder)
        daemon.requestLoop(launch.printing_first(lines, condition))
    finally:
        if responder is not None:
            responder.close()
        daemon.close()
    print("NS shut down.", flush=True)


def described(
    uri: URI, daemon: NameServerDaemon, responder: BroadcastServer | None
) -> Iterable[str]:
    """Yield the lines that Pyro's name server prints when it starts."""
    location = daemon.locations[0]
    if responder is not None:
        yield f"Broadcast server running on {responder.locationStr}"
    elif location.host is not None:
        if ":" in location.host:
            yield "Not starting broadcast server for IPv6."
        elif addresses.is_loopback(location.host):
            yield "Not starting broadcast server for localhost."
    entries = daemon.nameserver.count() - 1
    if daemon.nameserver.storage.persistent and entries:
        yield f"Persistent store contains {entries} existing registrations."
    yield f"NS running on {location} ({_address_of(location)})"
    if daemon.natLocationStr is None:
        yield f"URI = {uri}"
    else:
        yield f"internal URI = {daemon.uriFor(NAMESERVER_NAME, nat=False)}"
        yield f"external URI = {uri}"


def _address_of(location: Location) -> str:
    if location.host is None:
        return "Unix domain socket"
    if ":" in location.host or addresses.is_wildcard(location.host):
        return location.host
    try:
        return str(addresses.resolve(location.host, 0, config.PREFER_IP_VERSION)[0][0])
    except OSError:
        return location.host

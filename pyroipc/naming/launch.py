"""Starting a name server: its daemon, and what answers broadcasts."""

# ruff: noqa: FBT001, FBT002, N803 - as in Pyro

from __future__ import annotations

from pyroipc.naming.broadcast import BroadcastServer
from pyroipc.naming.server import NAMESERVER_NAME, NameServerDaemon
from pyroipc.settings import config
from pyroipc.transports import addresses
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pyroipc.naming.dns_sd import Announcement
    from pyroipc.settings import Settings

__all__ = ["described", "printing_first", "start_ns", "start_ns_loop"]


def start_ns(
    host: str | None = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: str | None = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: str | None = None,
    natport: int | None = None,
    storage: str | None = None,
    *,
    daemon_class: type[NameServerDaemon] = NameServerDaemon,
    settings: Settings = config,
    **options: Any,
) -> tuple[URI, NameServerDaemon, BroadcastServer | None]:
    """Make a name server; it works as soon as the loop of its daemon runs.

    Args:
        host: as :class:`pyroipc.Daemon` takes it; ``""``: all addresses. None: the setting HOST.
        port: None: the setting NS_PORT.
        enableBroadcast: also make what answers broadcasts, unless nobody else can connect.
        bchost: where it listens. None: the setting NS_BCHOST, or at all addresses.
        bcport: its port. None: the setting NS_BCPORT.
        unixsocket: the path of a unix socket, instead of host and port.
        nathost: the host that clients outside of a router use.
        natport: the port that they use.
        storage: ``"memory"``, ``"sqlite:/path"`` or ``"etcd:host:port,..."``. None: memory.
        daemon_class: makes the daemon.
        settings: read once, now.
        options: what else :class:`pyroipc.naming.server.NameServerDaemon` takes.

    Returns:
        The URI, the daemon, and what answers broadcasts or None. That one has to be given to
        ``daemon.combine``, or started by its ``runInThread``; both have to be closed.

    Raises:
        DaemonError: an address cannot be listened at.
        NamingError: the storage cannot be used.
    """
    daemon = daemon_class(
        host, port, unixsocket, nathost, natport, storage, settings=settings, **options
    )
    responder: BroadcastServer | None = None
    try:
        uris = _broadcast_uris(daemon) if enableBroadcast else []
        if uris:
            responder = BroadcastServer(uris[0], bchost, bcport, more=uris[1:], settings=settings)
        return daemon.uriFor(NAMESERVER_NAME), daemon, responder
    except BaseException:
        daemon.close()
        raise


def start_ns_loop(
    host: str | None = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: str | None = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: str | None = None,
    natport: int | None = None,
    storage: str | None = None,
    loopCondition: Callable[[], bool] | None = None,
    *,
    verbose: bool = True,
    settings: Settings = config,
    **options: Any,
) -> None:
    """Run a name server until Ctrl-C, SIGTERM, or while the condition holds.

    Args:
        host: this and the following are as :func:`start_ns` takes them.
        port: see there.
        enableBroadcast: see there.
        bchost: see there.
        bcport: see there.
        unixsocket: see there.
        nathost: see there.
        natport: see there.
        storage: see there.
        loopCondition: as :meth:`pyroipc.Daemon.requestLoop` takes it.
        verbose: print where it is.
        settings: read once, now.
        options: as there.

    With the setting NS_DNS_SD it also announces itself, see :mod:`pyroipc.naming.dns_sd`.

    Raises:
        DaemonError: an address cannot be listened at.
        NamingError: the storage cannot be used, or DNS-SD was asked for and cannot be.
    """
    uri, daemon, responder = start_ns(
        host,
        port,
        enableBroadcast,
        bchost,
        bcport,
        unixsocket,
        nathost,
        natport,
        storage,
        settings=settings,
        **options,
    )
    announcement: Announcement | None = None
    condition = loopCondition
    try:
        if responder is not None:
            daemon.combine(responder)
        if settings.NS_DNS_SD:
            from pyroipc.naming import dns_sd

            announcement = dns_sd.Announcement(daemon)
        if verbose:
            names = announcement.names if announcement is not None else ()
            lines = described(
                uri, daemon, responder, wanted_broadcast=enableBroadcast, announced=names
            )
            condition = printing_first(lines, condition)
        daemon.requestLoop(condition)
    finally:
        if announcement is not None:
            announcement.close()
        if responder is not None:
            responder.close()
        daemon.close()
    if verbose:
        print("NS shut down.", flush=True)  # noqa: T201


def printing_first(
    lines: Iterable[str], condition: Callable[[], bool] | None = None
) -> Callable[[], bool]:
    """Return a condition for a request loop, which prints something as soon as the loop runs.

    Whoever waits for these lines, to send requests or a signal, finds the loop ready for both.

    Args:
        lines: what to print.
        condition: what decides whether the loop goes on; None: it does.
    """
    waiting = list(lines)

    def go_on() -> bool:
        while waiting:
            print(waiting.pop(0), flush=True)  # noqa: T201 - for the user who has started it
        return condition is None or condition()

    return go_on


def described(
    uri: URI,
    daemon: NameServerDaemon,
    responder: BroadcastServer | None,
    *,
    wanted_broadcast: bool = True,
    announced: Iterable[str] = (),
) -> Iterable[str]:
    """Yield the lines that tell where a name server is, as Pyro prints them."""
    if responder is not None:
        yield f"Broadcast server running on {responder.locationStr}"
    elif wanted_broadcast:
        yield "Not starting broadcast server: only this machine, or only IPv6, can connect."
    for name in announced:
        yield f"Announced by DNS-SD as {name}"
    entries = daemon.nameserver.count() - 1
    if daemon.nameserver.storage.persistent and entries:
        yield f"Persistent store contains {entries} existing registrations."
    yield f"NS running on {', '.join(map(str, daemon.locations))}"
    if daemon.natLocationStr is None:
        yield f"URI = {uri}"
    else:
        yield f"internal URI = {daemon.uriFor(NAMESERVER_NAME, nat=False)}"
        yield f"external URI = {uri}"


def _broadcast_uris(daemon: NameServerDaemon) -> list[URI]:
    """Return the URIs inside of a router that somebody who broadcasts could use."""
    found = []
    for location in daemon.locations:
        host = location.host
        if host is not None and host != "::" and not addresses.is_loopback(host):
            if ":" not in host:
                found.append(URI(f"PYRO:{NAMESERVER_NAME}@{location}"))
        elif host == "::" and daemon.settings.PREFER_IP_VERSION != 6:  # it takes IPv4, too
            found.append(URI(f"PYRO:{NAMESERVER_NAME}@0.0.0.0:{location.port}"))
    return found

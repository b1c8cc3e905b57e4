"""Announces a name server by DNS-SD, so that clients find it where broadcasts do not reach.

The service has the type ``_pyro-ns._tcp``, the name of the machine and the port as its name, and
the addresses at which other machines can connect. Inside of a router, these are the ones inside.
Clients look for it with the setting NS_DNS_SD; see :mod:`pyroipc.client.dns_sd`. The library that
does it is the extra ``zeroconf``.
"""

from __future__ import annotations

import _socket as socket

from pyroipc.client.dns_sd import SERVICE_TYPE, open_zeroconf
from pyroipc.errors import ConnectError, NamingError
from pyroipc.transports import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from pyroipc.naming.server import NameServerDaemon

__all__ = ["Announcement"]

_VERSION = {"txtvers": "1"}
_LABEL_BYTES_MAX = 40
"""Of the machine's name; with a port and a number behind it, it is a label of at most 63."""


class Announcement:
    """A name server's announcement, which lasts until :meth:`close`. A context manager.

    To make it takes about a second and a half: others are asked first whether they use the name,
    and then another one is taken.

    Args:
        daemon: the name server.
        interfaces: the addresses of the interfaces to announce it at, which are also the only ones
            of the name server's addresses that are named then; None: all of them.

    Raises:
        NamingError: other machines cannot connect to the name server, the library is not
            installed, or there is no network.
    """

    def __init__(
        self, daemon: NameServerDaemon, *, interfaces: Sequence[str] | None = None
    ) -> None:
        ports = _hosts_by_port(daemon, interfaces)
        if not ports:
            raise NamingError(
                f"{daemon.locationStr} cannot be announced by DNS-SD: only this machine can "
                "connect there"
            )
        self._zeroconf = open_zeroconf(interfaces)
        self.names: list[str] = []
        """What it is announced as."""
        try:
            for port, hosts in ports.items():
                self.names.append(self._announce(port, hosts))
        except BaseException:
            self.close()
            raise

    def _announce(self, port: int, hosts: list[str]) -> str:
        import zeroconf

        machine = _label()
        info = zeroconf.ServiceInfo(
            SERVICE_TYPE,
            f"{machine}-{port}.{SERVICE_TYPE}",
            port=port,
            parsed_addresses=hosts,
            properties=_VERSION,
            # Not the name of the machine: that is for its own responder, if there is one.
            server=f"{machine}-pyro-ns-{port}.local.",
        )
        try:
            self._zeroconf.register_service(info, allow_name_change=True)
        except (OSError, RuntimeError, zeroconf.Error) as error:
            text = str(error) or type(error).__name__
            raise NamingError(f"the name server cannot be announced by DNS-SD: {text}") from error
        return info.name.removesuffix(f".{SERVICE_TYPE}")

    def close(self) -> None:
        """Take it back; any number of times."""
        self._zeroconf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pyroipc.naming.dns_sd.Announcement of {', '.join(self.names)}>"


def _label() -> str:
    """Return the name of this machine as a label of DNS: a few bytes, without dots."""
    name = socket.gethostname().partition(".")[0].encode()[:_LABEL_BYTES_MAX]
    return name.decode(errors="ignore") or "pyro"


def _hosts_by_port(
    daemon: NameServerDaemon, interfaces: Sequence[str] | None
) -> dict[int, list[str]]:
    """Return the numeric addresses at which others can connect, for each port."""
    found: dict[int, list[str]] = {}
    for location in daemon.locations:
        if location.host is None or location.port is None:
            continue
        for host in _numeric(location.host):
            usable = host in interfaces if interfaces is not None else _is_of_use(host)
            if usable and host not in found.setdefault(location.port, []):
                found[location.port].append(host)
    return {port: hosts for port, hosts in found.items() if hosts}


def _is_of_use(host: str) -> bool:
    return not addresses.is_loopback(host) and "%" not in host


def _numeric(host: str) -> list[str]:
    if addresses.is_wildcard(host):
        own = addresses.reachable_hosts()
        return own if ":" in host else [one for one in own if addresses.ip_version(one) == 4]
    try:
        return [address[0] for address in addresses.resolve(host, 0)]
    except ConnectError:  # it listens there, so it was one once
        return []

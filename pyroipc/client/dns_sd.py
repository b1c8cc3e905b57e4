"""Looking for a name server by DNS-SD: multicast DNS, which also works in IPv6 networks.

A name server that announces itself (:mod:`pyroipc.naming.dns_sd`) is a service of the type
``_pyro-ns._tcp``. As with broadcasts, whoever is in the network can answer and nothing proves who
it was: what is found is a hint. That is why this happens only with the setting NS_DNS_SD. The
library that does it is the extra ``zeroconf``.
"""

from __future__ import annotations

import queue
from time import monotonic

from pyroipc.client.broadcasting import NAMESERVER_NAME
from pyroipc.errors import NamingError, PyroError
from pyroipc.location import Location
from pyroipc.transports import addresses
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import Final

    from zeroconf import Zeroconf

__all__ = ["SERVICE_TYPE", "browse", "open_zeroconf"]

SERVICE_TYPE: Final = "_pyro-ns._tcp.local."
"""What name servers announce themselves as."""

_SECONDS = 3.0
_DETAILS_SECONDS = 1.0
_ANSWERS_MAX = 16
"""What comes after so many different addresses is not looked at."""


def browse(
    deadline: float | None = None, *, interfaces: Sequence[str] | None = None
) -> Generator[URI, None, None]:
    """Look for name servers; yield each different address as soon as it is known.

    Args:
        deadline: absolute, by the monotonic clock; it all ends after 3 seconds at the latest.
        interfaces: the addresses of the interfaces to ask at; None: all of them.

    Raises:
        NamingError: the library is not installed, or there is no network.
    """
    end = monotonic() + _SECONDS
    if deadline is not None:
        end = min(end, deadline)
    zeroconf = open_zeroconf(interfaces)
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        stop = _start(zeroconf, names.put)
        try:
            yield from _browse(zeroconf, names, end)
        finally:
            stop()
    finally:
        zeroconf.close()


def open_zeroconf(interfaces: Sequence[str] | None = None) -> Zeroconf:
    """Open the sockets for multicast DNS; the caller closes what is returned.

    Args:
        interfaces: the addresses of the interfaces to use; None: all of them.

    Raises:
        NamingError: the library is not installed, or there is no network.
    """
    try:
        import zeroconf
    except ImportError as error:
        raise NamingError(
            f"DNS-SD needs the library zeroconf ({error}); "
            'install it: pip install "pyroipc[zeroconf]"'
        ) from error
    chosen = zeroconf.InterfaceChoice.All if interfaces is None else list(interfaces)
    versions = [zeroconf.IPVersion.All, zeroconf.IPVersion.V4Only]
    if interfaces is not None:
        only_ipv4 = all(addresses.ip_version(host) == 4 for host in interfaces)
        versions = [versions[only_ipv4]]
    reason: Exception | None = None
    for version in versions:  # the second one is for machines without IPv6
        try:
            return zeroconf.Zeroconf(interfaces=chosen, ip_version=version)
        except (OSError, RuntimeError, zeroconf.Error) as error:
            reason = error
    raise NamingError(
        f"multicast DNS cannot be used here: {reason}; is this machine in a network?"
    ) from reason


def _start(zeroconf: Zeroconf, found: Callable[[str], None]) -> Callable[[], None]:
    """Begin to look for services; return what ends that."""
    from zeroconf import ServiceBrowser, ServiceStateChange

    def take(name: str, state_change: ServiceStateChange, **_: object) -> None:
        if state_change is not ServiceStateChange.Removed:
            found(name)

    return ServiceBrowser(zeroconf, SERVICE_TYPE, handlers=[take]).cancel


def _browse(zeroconf: Zeroconf, names: queue.SimpleQueue[str], end: float) -> Iterator[URI]:
    seen: set[URI] = set()
    while (rest := end - monotonic()) > 0 and len(seen) < _ANSWERS_MAX:
        try:
            name = names.get(timeout=rest)
        except queue.Empty:
            return
        for uri in _uris_of(zeroconf, name, min(end - monotonic(), _DETAILS_SECONDS)):
            if uri not in seen and len(seen) < _ANSWERS_MAX:
                seen.add(uri)
                yield uri


def _uris_of(zeroconf: Zeroconf, name: str, seconds: float) -> list[URI]:
    """Return where an announced name server is, without what makes no sense."""
    try:
        info = zeroconf.get_service_info(SERVICE_TYPE, name, max(1, int(seconds * 1000)))
    except Exception:  # noqa: BLE001 - a name that the library cannot read is no name server
        return []
    if info is None:
        return []
    found: list[URI] = []
    for host in info.parsed_scoped_addresses():
        try:
            uri = URI(f"PYRO:{NAMESERVER_NAME}@{Location(host, info.port or 0)}")
        except PyroError:
            continue
        if not addresses.is_wildcard(host):
            found.append(uri)
    return found

"""``Pyro5.core``: addresses of objects, and finding them with the name server."""

from __future__ import annotations

from pyroipc.compat.locations import CompatURI
from pyroipc.compat.pyro5._settings import config
from pyroipc.naming import client as naming
from pyroipc.naming.client import type_meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Final

    from pyroipc.client.name_server import NameServerProxy

__all__ = [
    "DAEMON_NAME",
    "NAMESERVER_NAME",
    "URI",
    "config",
    "locate_ns",
    "resolve",
    "type_meta",
]

DAEMON_NAME: Final = "Pyro.Daemon"
NAMESERVER_NAME: Final = "Pyro.NameServer"


class URI(CompatURI):
    """The address of an object."""

    __slots__ = ()

    _shown_as = "Pyro5.core.URI"


def locate_ns(
    host: str | ipaddress.IPv4Address | ipaddress.IPv6Address = "",
    port: int | None = None,
    broadcast: bool = True,
) -> NameServerProxy:
    """Find a name server, and return a proxy that is connected to it.

    Args:
        host: where it is; empty: the setting NS_HOST is tried, and then a broadcast.
        port: its port; without a host, also that of the broadcast.
        broadcast: whether to ask in the networks if nothing else helps.

    Raises:
        NamingError: none was found.
    """
    return naming.locate_ns(host, port, broadcast)


def resolve(uri: str | URI, delay_time: float = 0.0) -> URI:
    """Return the URI that leads to an object, for a PYRONAME or PYROMETA.

    Args:
        uri: a URI, or its text; one with an address is returned as it is.
        delay_time: how many seconds to wait for a name that is not there yet; 0: as the setting
            NS_LOOKUP_DELAY says.

    Raises:
        NamingError: nobody knows the name, or no name server was found.
        TypeError: this is no URI.
    """
    return URI(naming.resolve(uri, delay_time))

"""``Pyro4.naming``: the name server. Run as a program, it is one."""

from __future__ import annotations

from pyroipc.compat.nameservers import CompatNameServerDaemon, described
from pyroipc.compat.pyro4 import core, keys
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.daemons import Daemon
from pyroipc.compat.pyro4.nameservers import NameServer, locateNS, resolve
from pyroipc.compat.pyro4.naming_storage import MemoryStorage
from pyroipc.errors import NamingError, ProtocolError, PyroError
from pyroipc.naming import broadcast, launch
from pyroipc.naming.client import type_meta
from pyroipc.settings import config as settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyroipc.naming.names import Limits
    from pyroipc.naming.server import NameServerDaemon as OwnDaemon
    from pyroipc.naming.storage.base import Storage
    from pyroipc.uri import URI

__all__ = [
    "BroadcastServer",
    "MemoryStorage",
    "NameServer",
    "NameServerDaemon",
    "NamingError",
    "ProtocolError",
    "PyroError",
    "config",
    "core",
    "locateNS",
    "main",
    "resolve",
    "startNS",
    "startNSloop",
    "type_meta",
]


class NameServerDaemon(CompatNameServerDaemon, Daemon):
    """A daemon with a name server in it.

    Args:
        host: as :class:`Daemon` takes it.
        port: None: the item NS_PORT.
        unixsocket: as there; so are nathost and natport.
        storage: ``"memory"``, ``"sql:file"``, or another storage of pyroipc.
        options: what else :class:`pyroipc.naming.server.NameServerDaemon` takes.

    Raises:
        OSError: the address cannot be listened at.
        NamingError: the storage cannot be used.
    """

    _shown_as = "Pyro4.naming.NameServerDaemon"
    _own_tag = "class:Pyro4.naming.NameServer"

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        unixsocket: str | None = None,
        nathost: str | None = None,
        natport: int | None = None,
        storage: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(host, port, unixsocket, nathost, natport, storage, **options)

    def _make_nameserver(self, storage: str | Storage, limits: Limits | None) -> NameServer:
        return NameServer(storage, limits=limits)


class BroadcastServer(broadcast.BroadcastServer):
    """Answers those who ask the whole network for a name server.

    Args:
        nsUri: the URI of the name server.
        bchost: the address to be asked at; None: the item NS_BCHOST, or all of them.
        bcport: the port; None: the item NS_BCPORT.
        ipv6: must be False: there are no broadcasts in IPv6.
        options: what else :class:`pyroipc.naming.broadcast.BroadcastServer` takes.

    Raises:
        DaemonError: the address cannot be had.
        NamingError: the name server cannot be found by broadcast.
    """

    def __init__(
        self,
        nsUri: str | URI,
        bchost: str | None = None,
        bcport: int | None = None,
        ipv6: bool = False,
        **options: Any,
    ) -> None:
        if ipv6:
            raise NamingError("there are no broadcasts in IPv6: let clients know NS_HOST instead")
        super().__init__(nsUri, bchost, bcport, **options)


def startNS(
    host: str | None = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: str | None = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: str | None = None,
    natport: int | None = None,
    storage: str | None = None,
    hmac: bytes | str | None = None,
) -> tuple[URI, OwnDaemon, broadcast.BroadcastServer | None]:
    """Make a name server; it works as soon as the loop of its daemon runs.

    Args:
        host: where it listens.
        port: None: the item NS_PORT.
        enableBroadcast: also make what answers broadcasts, unless nobody else can connect.
        bchost: where that listens.
        bcport: its port.
        unixsocket: a unix socket to listen at, instead of host and port.
        nathost: the host that clients outside of a router use.
        natport: the port that they use.
        storage: ``"memory"``, ``"sql:file"``, or another storage of pyroipc.
        hmac: what clients have to know.

    Returns:
        The URI, the daemon, and what answers broadcasts or None.

    Raises:
        OSError: an address cannot be listened at.
        NamingError: the storage cannot be used.
    """
    return launch.start_ns(
        host,
        port,
        enableBroadcast,
        bchost,
        bcport,
        unixsocket,
        nathost,
        natport,
        storage,
        daemon_class=NameServerDaemon,
        hmac_key=hmac,
    )


def startNSloop(
    host: str | None = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: str | None = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: str | None = None,
    natport: int | None = None,
    storage: str | None = None,
    hmac: bytes | str | None = None,
) -> None:
    """Run a name server until Ctrl-C or SIGTERM, and print where it is.

    Args:
        host: this and the following are as :func:`startNS` takes them.
        port: see there.
        enableBroadcast: see there.
        bchost: see there.
        bcport: see there.
        unixsocket: see there.
        nathost: see there.
        natport: see there.
        storage: see there.
        hmac: see there.

    Raises:
        OSError: an address cannot be listened at.
        NamingError: the storage cannot be used.
    """
    uri, daemon, responder = startNS(
        host, port, enableBroadcast, bchost, bcport, unixsocket, nathost, natport, storage, hmac
    )
    try:
        if responder is not None:
            daemon.combine(responder)
        has_key = bool(hmac or settings.HMAC_KEY)
        lines = _lines(uri, daemon, responder, has_key=has_key)
        daemon.requestLoop(launch.printing_first(lines))
    finally:
        if responder is not None:
            responder.close()
        daemon.close()
    print("NS shut down.", flush=True)


def _lines(
    uri: URI,
    daemon: OwnDaemon,
    responder: broadcast.BroadcastServer | None,
    *,
    has_key: bool,
) -> Iterator[str]:
    for line in described(uri, daemon, responder):
        if not has_key and line.startswith(("URI = ", "internal URI = ")):
            yield keys.WARNING
        yield line


def main(args: Sequence[str] | None = None) -> None:
    """Run a name server, as the command line says."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="naming.py")
    parser.add_argument("-n", "--host", help="hostname to bind server on")
    parser.add_argument("-p", "--port", type=int, help="port to bind server on (0=random)")
    parser.add_argument("-u", "--unixsocket", help="Unix domain socket name to bind server on")
    parser.add_argument(
        "-s", "--storage", default="memory", help="Storage system to use (memory, sql:file)"
    )
    parser.add_argument("--bchost", help='hostname to bind broadcast server on (default is "")')
    parser.add_argument("--bcport", type=int, help="port to bind broadcast server on (0=random)")
    parser.add_argument("--nathost", help="external hostname in case of NAT")
    parser.add_argument("--natport", type=int, help="external port in case of NAT")
    parser.add_argument("-x", "--nobc", action="store_true", help="don't start a broadcast server")
    keys.add_option(parser)
    options = parser.parse_args(args)
    startNSloop(
        options.host,
        options.port,
        not options.nobc,
        options.bchost,
        options.bcport,
        options.unixsocket,
        options.nathost,
        options.natport,
        options.storage,
        keys.chosen(options),
    )


if __name__ == "__main__":
    main()

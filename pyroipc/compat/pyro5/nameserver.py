"""``Pyro5.nameserver``: the name server. Run as a program, it is one."""

from __future__ import annotations

from pyroipc.compat import nameservers
from pyroipc.compat.daemons import always
from pyroipc.compat.nameservers import CompatNameServerDaemon
from pyroipc.compat.pyro5._settings import config
from pyroipc.compat.pyro5.core import URI
from pyroipc.compat.pyro5.server import Daemon
from pyroipc.errors import NamingError, ProtocolError, PyroError
from pyroipc.naming import launch
from pyroipc.naming.broadcast import BroadcastServer
from pyroipc.naming.client import lookup, yplookup
from pyroipc.naming.server import NameServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BroadcastServer",
    "NameServer",
    "NameServerDaemon",
    "NamingError",
    "ProtocolError",
    "PyroError",
    "config",
    "lookup",
    "main",
    "start_ns",
    "start_ns_loop",
    "yplookup",
]


class NameServerDaemon(CompatNameServerDaemon, Daemon):
    """A daemon with a name server in it."""

    _shown_as = "Pyro5.nameserver.NameServerDaemon"
    _uri_class = URI
    _own_tag = "class:Pyro5.nameserver.NameServer"


def start_ns(
    host: object = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: object = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: object = None,
    natport: int | None = None,
    storage: str | None = None,
) -> tuple[URI, NameServerDaemon, BroadcastServer | None]:
    """Make a name server; it works as soon as the loop of its daemon runs.

    Args:
        host: where it listens.
        port: None: the setting NS_PORT.
        enableBroadcast: also make what answers broadcasts, unless nobody else can connect.
        bchost: where that listens.
        bcport: its port.
        unixsocket: a unix socket to listen at, instead of host and port.
        nathost: the host that clients outside of a router use.
        natport: the port that they use.
        storage: ``"memory"``, ``"sql:file"``, or another storage of pyroipc.

    Returns:
        The URI, the daemon, and what answers broadcasts or None.

    Raises:
        DaemonError: an address cannot be listened at; it is an OSError as well.
        NamingError: the storage cannot be used.
    """
    uri, daemon, responder = launch.start_ns(
        host,  # type: ignore[arg-type]  # the daemon takes it
        port,
        enableBroadcast,
        None if bchost is None else str(bchost),
        bcport,
        unixsocket,
        nathost,  # type: ignore[arg-type]
        natport,
        storage,
        daemon_class=NameServerDaemon,
    )
    assert isinstance(daemon, NameServerDaemon)
    return URI(uri), daemon, responder


def start_ns_loop(
    host: object = None,
    port: int | None = None,
    enableBroadcast: bool = True,
    bchost: object = None,
    bcport: int | None = None,
    unixsocket: str | None = None,
    nathost: object = None,
    natport: int | None = None,
    storage: str | None = None,
    loopCondition: Callable[[], bool] = always,
) -> None:
    """Run a name server until Ctrl-C, SIGTERM, or while the condition holds; print where it is.

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
        loopCondition: as ``Daemon.requestLoop`` takes it.

    Raises:
        DaemonError: an address cannot be listened at; it is an OSError as well.
        NamingError: the storage cannot be used.
    """
    started = start_ns(
        host, port, enableBroadcast, bchost, bcport, unixsocket, nathost, natport, storage
    )
    nameservers.start_ns_loop(started, loopCondition)


def main(args: Sequence[str] | None = None) -> None:
    """Run a name server, as the command line says."""
    from argparse import ArgumentParser

    parser = ArgumentParser(
        prog="nameserver", description="Pyro name server command line launcher."
    )
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
    options = parser.parse_args(args)
    start_ns_loop(
        options.host,
        options.port,
        not options.nobc,
        options.bchost,
        options.bcport,
        options.unixsocket,
        options.nathost,
        options.natport,
        options.storage,
    )


if __name__ == "__main__":
    main()

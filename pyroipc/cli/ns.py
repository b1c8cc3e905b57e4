"""``pyroipc ns``: a name server, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys

from pyroipc.cli import listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument(
        "-n", "-H", "--host", help='where to listen; "": all addresses (default: the setting HOST)'
    )
    parser.add_argument(
        "-p", "--port", type=int, help="0: any free one (default: the setting NS_PORT)"
    )
    parser.add_argument("-u", "--unixsocket", metavar="PATH", help="listen at a unix socket")
    parser.add_argument(
        "-s",
        "--storage",
        default="memory",
        help="where the names are: memory, sqlite:/path/of/file or etcd:host:2379,... "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--bchost", metavar="HOST", help="where to listen for broadcasts (default: everywhere)"
    )
    parser.add_argument(
        "--bcport", metavar="PORT", type=int, help="their port (default: the setting NS_BCPORT)"
    )
    parser.add_argument("-x", "--nobc", action="store_true", help="do not answer broadcasts")
    parser.add_argument(
        "--dns-sd",
        action="store_true",
        help="announce it by DNS-SD, too (needs the extra zeroconf)",
    )
    listening.add_nat(parser)
    listening.add_certificates(parser)
    parser.add_argument(
        "--ttl",
        metavar="SECONDS",
        type=float,
        help="the lease time of names that are registered without one (default: they stay)",
    )
    parser.add_argument(
        "--autoclean",
        metavar="SECONDS",
        type=float,
        help="how often names are dropped whose servers are gone (default: never)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """Run a name server until it is told to end; return the exit status.

    Raises:
        PyroError: an address cannot be listened at, or the storage or a file cannot be used.
    """
    from pyroipc.naming.launch import start_ns_loop
    from pyroipc.naming.names import Limits
    from pyroipc.settings import config

    settings = config.copy()
    if options.dns_sd:
        settings.NS_DNS_SD = True
    try:
        if options.autoclean is not None:
            settings.NS_AUTOCLEAN = options.autoclean
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
            verbose=not options.quiet,
            settings=settings,
            tls=listening.tls_of(options, settings),
            limits=Limits(usual_ttl=options.ttl),
        )
    except ValueError as error:  # values out of range, options that do not go together
        print(f"pyroipc ns: {error}", file=sys.stderr)
        return 1
    return 0

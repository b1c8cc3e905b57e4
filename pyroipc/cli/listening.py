"""The options of the commands that listen: where, and with which certificate.

An HMAC key is none of them: the arguments of a process can be seen by everybody on the machine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import ssl

    from pyroipc.settings import Settings

__all__ = ["add_certificates", "add_nat", "tls_of"]


def add_nat(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is behind a router."""
    parser.add_argument("--nathost", help="the host that is published for clients behind a router")
    parser.add_argument("--natport", type=int, help="the port that is published for them")


def add_certificates(parser: argparse.ArgumentParser) -> None:
    """Add the options for TLS."""
    parser.add_argument("--cert", metavar="FILE", help="use TLS, with this certificate")
    parser.add_argument("--key", metavar="FILE", help="its private key, if not in the same file")
    parser.add_argument(
        "--cacerts", metavar="PATH", help="let in only clients whose certificate these have signed"
    )


def tls_of(options: argparse.Namespace, settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the options ask for; None: as the settings say.

    Raises:
        SecurityError: a file cannot be used.
    """
    if not options.cert:
        return None
    from pyroipc.transports.tls_contexts import server_context

    return server_context(
        options.cert,
        key=options.key or "",
        password=settings.SSL_SERVERKEYPASSWD,
        authorities=options.cacerts or settings.SSL_CACERTS,
        require_client_certificate=bool(options.cacerts) or settings.SSL_REQUIRECLIENTCERT,
    )

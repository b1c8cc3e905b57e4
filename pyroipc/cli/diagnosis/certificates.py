"""The certificate of a TLS server, also of one that is not trusted here.

Python only takes a certificate apart that it has verified. So one that was refused is fetched
first, unverified, and then everything is done once more with nothing trusted but this very
certificate. Nothing is sent over these connections.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from time import monotonic

from pyroipc.client.connecting import options_of
from pyroipc.errors import PyroError, SecurityError
from pyroipc.transports import descriptors, table
from pyroipc.transports.coated import CoatedSocket
from pyroipc.transports.tls import TlsCoat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.location import Location
    from pyroipc.settings import Settings

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, for which ssl has no name
_SOON_DAYS = 14


class _Watched(ssl.SSLContext):
    """A context that remembers the connection that was made with it."""

    made: ssl.SSLObject | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Make a connection, as any context does."""
        self.made = super().wrap_bio(*args, **kwargs)
        return self.made


def speaks_tls(location: Location, settings: Settings, deadline: float) -> bool:
    """Say whether a server answers when it is offered TLS, whatever its certificate."""
    return _shake_hands(location, settings, _trusting(), deadline) is not None


def describe_untrusted(location: Location, settings: Settings, deadline: float) -> dict[str, Any]:
    """Return what is in the certificate of a server that is not trusted; empty: no idea."""
    context = _trusting()
    now = monotonic()
    if _shake_hands(location, settings, context, (now + deadline) / 2) is None:
        return {}
    assert context.made is not None
    try:
        encoded = context.made.getpeercert(binary_form=True)
    except ValueError:  # the server has refused us before it showed any
        return {}
    if encoded is None:
        return {}
    context = _Watched(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=encoded)
    except ssl.SSLError:
        return {}
    flags = context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.verify_flags = ssl.VerifyFlags(flags)
    certificate = _shake_hands(location, settings, context, deadline)
    return describe(certificate) if certificate else {}


def _trusting() -> _Watched:
    """Make a context for looking only."""
    context = _Watched(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shake_hands(
    location: Location, settings: Settings, context: ssl.SSLContext, deadline: float
) -> dict[str, Any] | None:
    """Return the certificate, empty if it was not verified; None: no TLS, or not in time."""
    try:
        sock = table.connect(location, options_of(settings), deadline)
    except PyroError:
        return None
    try:
        coat = TlsCoat(context, server_side=False, server_hostname=location.host or "")
        CoatedSocket(sock, coat).handshake(deadline)
    except PyroError as error:
        refused = isinstance(error, SecurityError) and "has refused the TLS" in str(error)
        return {} if refused else None
    else:
        return coat.getpeercert()
    finally:
        descriptors.close(sock)


def describe(certificate: dict[str, Any]) -> dict[str, Any]:
    """Turn a certificate of :mod:`ssl` into plain facts."""
    until = str(certificate.get("notAfter", ""))
    names = [name for _, name in certificate.get("subjectAltName", ())]
    facts: dict[str, Any] = {
        "subject": _name(certificate.get("subject", ())),
        "issuer": _name(certificate.get("issuer", ())),
        "names": names,
        "valid_until": until,
    }
    if until:
        end = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
        facts["days_left"] = (end - datetime.now(UTC)).days
    return facts


def in_words(facts: dict[str, Any]) -> str:
    """Say what is in a certificate."""
    names = ", ".join(facts["names"][:5]) or "no name"
    text = f"certificate for {names} (subject: {facts['subject']}), by {facts['issuer']}"
    return f"{text}, valid until {facts['valid_until']}"


def ends_soon(facts: dict[str, Any]) -> bool:
    """Say whether somebody should renew it now."""
    days: int = facts.get("days_left", _SOON_DAYS)
    return days < _SOON_DAYS


def _name(parts: Any) -> str:
    return ", ".join(str(value) for group in parts for _, value in group) or "nobody"

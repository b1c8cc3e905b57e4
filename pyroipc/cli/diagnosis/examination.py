"""The steps of an examination, one after the other, until one fails."""

from __future__ import annotations

from time import monotonic

from pyroipc.cli.diagnosis import conversation, daemons, places
from pyroipc.cli.diagnosis.findings import NOT_REACHED, WRONG_HERE, Findings
from pyroipc.client.resolve import resolve
from pyroipc.errors import PyroError
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.cli.diagnosis.places import Reached
    from pyroipc.settings import Settings


def examine(text: str, settings: Settings, seconds: float) -> Findings:
    """Find out whether a proxy with these settings could call the object of a URI.

    Args:
        text: the URI.
        settings: those that the proxy would have.
        seconds: how long all of it may take.

    Returns:
        What was found; never an error, whatever is at the other end.
    """
    deadline = monotonic() + seconds
    findings = Findings(text)
    uri = _read(text, settings, findings, deadline)
    if uri is None or uri.address is None:
        return findings
    tried = places.candidates(uri.address, settings, findings, deadline)
    if not tried:
        return findings
    now = monotonic()
    # Half of the time that is left is for the conversation.
    reached = places.reach(tried, settings, findings, now + (deadline - now) / 2)
    if reached:
        _talk(uri, reached[0], settings, findings, deadline)
    return findings


def _read(text: str, settings: Settings, findings: Findings, deadline: float) -> URI | None:
    """Read the URI, and look its name up if it has one."""
    try:
        uri = URI(text, ns_port=settings.NS_PORT)
    except PyroError as error:
        findings.fail_by("uri", WRONG_HERE, error)
        return None
    if uri.is_connected_socket:
        findings.fail(
            "uri",
            WRONG_HERE,
            f"{uri} has no address: the object can be called over the daemon's own socket only",
            "have the daemon listen: Daemon(host=...) or Daemon(unixsocket=...)",
        )
        return None
    findings.ok("uri", str(uri), protocol=uri.protocol, location=uri.location)
    if uri.protocol == "PYRO":
        return uri
    try:
        found = resolve(uri, settings, deadline)
    except PyroError as error:
        findings.fail_by("name", NOT_REACHED, error)
        return None
    findings.ok("name", f"the name server says {found}", resolved=str(found))
    return found


def _talk(
    uri: URI, reached: Reached, settings: Settings, findings: Findings, deadline: float
) -> None:
    session = conversation.converse(reached.location, uri.host or "", settings, findings, deadline)
    if session is None:
        return
    try:
        assert session.peer_hello is not None
        fits = daemons.compare(session.peer_hello, session, settings, findings)
        if daemons.measure(session, findings, reached.seconds, deadline) and fits:
            daemons.look_at_object(session, str(uri.object), settings, findings, deadline)
    finally:
        session.close()

"""The steps of an examination, one after the other, until one fails."""

from __future__ import annotations

from time import monotonic

from pyroipc.cli.diagnosis import conversation, daemons, places, registrations, surroundings
from pyroipc.cli.diagnosis.findings import (
    FAILED,
    NO_CONVERSATION,
    NOT_REACHED,
    WELL,
    WRONG_HERE,
    Findings,
)
from pyroipc.client.broadcasting import NAMESERVER_NAME
from pyroipc.client.resolve import forget_name_servers, resolve
from pyroipc.errors import PyroError
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.cli.diagnosis.places import Reached
    from pyroipc.settings import Settings

_LEAST_SECONDS = 0.5


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


def examine_surroundings(settings: Settings, seconds: float) -> Findings:
    """Find out whether names can be looked up with these settings, and where they lead.

    Args:
        settings: those that a proxy would have.
        seconds: how long all of it may take.

    Returns:
        What was found; never an error, whatever is at the other end.
    """
    deadline = monotonic() + seconds
    findings = Findings(None)
    surroundings.look_at_host(findings, deadline)
    now = monotonic()
    # Half of the time that is left is for what the name server knows.
    ns = surroundings.find_name_server(settings, findings, now + (deadline - now) / 2)
    if ns is None:
        _explain_no_name_server(settings, findings, now + (deadline - now) * 3 / 4)
        return findings
    try:
        registrations.look_at_names(ns, settings, findings, deadline)
    finally:
        ns._pyroRelease()  # noqa: SLF001 - Pyro's name
        forget_name_servers()
    return findings


def _explain_no_name_server(settings: Settings, findings: Findings, deadline: float) -> None:
    """Note who is there instead, at the first of the places where the settings say."""
    if findings.exit_status:
        return
    first = settings.NS_HOST.partition(",")[0].strip()
    try:
        place = URI(f"PYRONAME:{NAMESERVER_NAME}@{first}", ns_port=settings.NS_PORT).address
    except PyroError as error:
        findings.fail_by("settings", WRONG_HERE, error)
        return
    uri = f"PYRO:{NAMESERVER_NAME}@{place}"
    there = examine(uri, settings, max(_LEAST_SECONDS, deadline - monotonic()))
    if there.exit_status in {WELL, NOT_REACHED}:
        findings.fail(
            "name server",
            NOT_REACHED,
            "there is no name server, neither where the settings say nor by broadcast",
            "start one (pyroipc ns), or say where it is: PYRO_NS_HOST and PYRO_NS_PORT",
        )
    for one in there.found:
        if one.status == FAILED and there.exit_status != NOT_REACHED:
            findings.add(one, min(there.exit_status, NO_CONVERSATION))


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
    finally:
        forget_name_servers()
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

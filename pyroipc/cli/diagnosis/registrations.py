"""What a name server knows: whether the object of each name can be called, or why not.

Names that lead to the same place are looked at over one connection. Several places are looked at
at once, because one that does not answer takes all the time it is given.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from pyroipc.cli.diagnosis import conversation, daemons, places
from pyroipc.cli.diagnosis.findings import FAILED, NO_CALLS, WARNING, Finding, Findings, told
from pyroipc.client.resolve import resolve
from pyroipc.errors import PyroError
from pyroipc.naming.names import advice_on, is_reserved
from pyroipc.transports import addresses
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from pyroipc.client.name_server import NameServerProxy
    from pyroipc.location import Location
    from pyroipc.settings import Settings

    Targets: TypeAlias = dict[str, URI]

_AT_ONCE = 16
_NAMES_MAX = 1000
_LEAST_SECONDS = 0.5
_WELL_SHOWN = 50
"""So many names that are in order get a line of their own."""


def look_at_names(
    ns: NameServerProxy, settings: Settings, findings: Findings, deadline: float
) -> None:
    """Note for each name in a name server whether its object can be called."""
    ns._pyroTimeout = max(_LEAST_SECONDS, deadline - monotonic())  # noqa: SLF001 - Pyro's name
    try:
        entries = ns.list()
    except PyroError as error:
        findings.fail_by("names", NO_CALLS, error)
        return
    names = [name for name in sorted(entries) if not is_reserved(name)]
    if not names:
        findings.ok("names", "the name server knows no objects but itself", names=0)
        return
    findings.ok("names", f"the name server knows {_counted(len(names))}", names=len(names))
    if len(names) > _NAMES_MAX:
        findings.warn("names", f"only the first {_NAMES_MAX} of them are looked at")
        names = names[:_NAMES_MAX]
    by_place: dict[Location, Targets] = {}
    for name in names:
        uri = _target_of(name, str(entries[name]), settings, findings, deadline)
        if uri is not None and uri.address is not None:
            by_place.setdefault(uri.address, {})[name] = uri
    is_public = not addresses.is_loopback(ns._pyroUri.host or "localhost")  # noqa: SLF001
    _look_at_places(by_place, settings, findings, deadline, is_public=is_public)


def _target_of(
    name: str, text: str, settings: Settings, findings: Findings, deadline: float
) -> URI | None:
    """Return where a name leads in the end."""
    try:
        uri = resolve(URI(text, ns_port=settings.NS_PORT), settings, deadline, 0.0)
    except PyroError as error:
        reason, advice = told(error)
        findings.fail("name", NO_CALLS, f"{name}: {reason}", advice, name=name, uri=text)
        return None
    return uri


def _look_at_places(
    by_place: dict[Location, Targets],
    settings: Settings,
    findings: Findings,
    deadline: float,
    *,
    is_public: bool,
) -> None:
    rounds = -(-len(by_place) // _AT_ONCE)
    seconds = max(_LEAST_SECONDS, (deadline - monotonic()) / max(1, rounds))

    def look(place: Location) -> list[Finding]:
        end = monotonic() + seconds
        return _look_at_place(place, by_place[place], settings, end, is_public=is_public)

    with ThreadPoolExecutor(min(_AT_ONCE, len(by_place)) or 1, "pyroipc-doctor") as pool:
        looked = [finding for found in pool.map(look, by_place) for finding in found]
    well = 0
    for finding in sorted(looked, key=lambda one: one.facts["name"]):
        if finding.status not in {FAILED, WARNING}:
            well += 1
            if well > _WELL_SHOWN:
                continue
        findings.add(finding, NO_CALLS)
    if well > _WELL_SHOWN:
        findings.ok("name", f"{_counted(well - _WELL_SHOWN)} more can be called")


def _look_at_place(
    place: Location, targets: Targets, settings: Settings, deadline: float, *, is_public: bool
) -> list[Finding]:
    """Look at the objects at a place; return one finding for each name."""
    found = Findings(str(place))
    session = None
    tried = places.candidates(place, settings, found, deadline)
    if tried:
        now = monotonic()
        reached = places.reach(tried, settings, found, now + (deadline - now) / 2)
        if reached:
            host = place.host or ""
            where = reached[0].location
            session = conversation.converse(where, host, settings, found, deadline)
    if session is None:
        return [_verdict(name, uri, found, is_public=is_public) for name, uri in targets.items()]
    verdicts = []
    try:
        for name, uri in targets.items():
            one = Findings(str(uri))
            daemons.look_for_object(session, str(uri.object), settings, one, deadline)
            verdicts.append(_verdict(name, uri, one, is_public=is_public))
    finally:
        session.close()
    return verdicts


def _verdict(name: str, uri: URI, found: Findings, *, is_public: bool) -> Finding:
    """Say in one line what was found out about a name."""
    facts = {"name": name, "uri": str(uri)}
    failure = next((one for one in found.found if one.status == FAILED), None)
    if failure is not None:
        facts["step"] = failure.step
        text = f"{name} ({uri}): {failure.text}"
        return Finding("name", FAILED, text, failure.advice, facts)
    advice = advice_on(name, uri.address) if is_public else None
    if advice is not None:
        text, _, more = advice.partition(". ")
        return Finding("name", WARNING, f"{name} can be called here, but {text}", [more], facts)
    return Finding("name", "ok", f"{name} can be called at {uri.location}", (), facts)


def _counted(number: int) -> str:
    return f"{number} name{'' if number == 1 else 's'}"

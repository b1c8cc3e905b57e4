"""What proxies without an address need: this machine's name and networks, and a name server."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import closing
from time import monotonic

from pyroipc.cli.diagnosis.findings import WRONG_HERE, told
from pyroipc.client.broadcasting import ask
from pyroipc.client.name_server import NameServerProxy
from pyroipc.client.search import Search
from pyroipc.errors import ConnectError, NamingError, PyroError
from pyroipc.transports import addresses
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyroipc.cli.diagnosis.findings import Findings
    from pyroipc.settings import Settings
    from pyroipc.uri import URI

_ANSWERS_SHOWN = 8
_LOOK_UP_SECONDS = 3.0


def look_at_host(findings: Findings, deadline: float) -> None:
    """Note what this machine is called, where that leads, and in which networks it is."""
    name = socket.gethostname()
    found: list[tuple[list[str], str | None] | ConnectError] = []
    done = threading.Event()

    def look_up() -> None:  # nothing can end that, but one can stop waiting
        try:
            hosts = [address[0] for address in addresses.resolve(name, 0)]
            found.append((list(dict.fromkeys(hosts)), addresses.dns_warning(name)))
        except ConnectError as error:
            found.append(error)
        finally:
            done.set()

    threading.Thread(target=look_up, name="pyroipc-look-up", daemon=True).start()
    done.wait(min(_LOOK_UP_SECONDS, max(0.0, deadline - monotonic())))
    _note_host(name, found[0] if found else None, findings)
    _note_interfaces(findings)


def _note_host(
    name: str, found: tuple[list[str], str | None] | ConnectError | None, findings: Findings
) -> None:
    advice = f"give {name} its network address in DNS or in the hosts file"
    if found is None:
        findings.warn(
            "host",
            f"looking up {name}, the name of this machine, takes too long: no DNS answers",
            "see what `getent hosts` says, and whether /etc/resolv.conf names servers that can "
            "be reached",
            host=name,
        )
    elif isinstance(found, ConnectError):
        text = f"this machine is called {name}, but does not know itself by this name"
        findings.warn("host", text, advice, host=name, error=told(found)[0])
    else:
        hosts, warning = found
        facts = {"host": name, "addresses": hosts}
        findings.ok("host", f"this machine is called {name}: {', '.join(hosts)}", **facts)
        if warning is not None:
            findings.warn("host", *told(ConnectError(warning)))


def _note_interfaces(findings: Findings) -> None:
    hosts = addresses.reachable_hosts()
    facts = {"addresses": hosts}
    if hosts:
        findings.ok("interfaces", f"other machines can use {', '.join(hosts)}", **facts)
    else:
        findings.warn(
            "interfaces",
            "this machine is in no network: only its own programs can call each other",
            f"see what `{'ip' if sys.platform == 'linux' else 'ifconfig'}` says of its interfaces",
            **facts,
        )


# --------------------------------------------------------------------------- the name server


def find_name_server(
    settings: Settings, findings: Findings, deadline: float
) -> NameServerProxy | None:
    """Look for name servers in each of the ways that there are.

    Returns:
        One of them, which the caller closes; None: there is none.
    """
    now = monotonic()
    configured = _by_address(settings, findings, now + (deadline - now) / 3)
    heard = _by_broadcast(settings, findings, now + (deadline - now) * 2 / 3)
    if settings.NS_DNS_SD:
        heard = heard or _by_dns_sd(settings, findings, now + (deadline - now) * 2 / 3)
    if configured is not None and heard is not None:
        heard._pyroRelease()  # noqa: SLF001 - Pyro's name
    return configured or heard


def _by_address(settings: Settings, findings: Findings, deadline: float) -> NameServerProxy | None:
    where = f"NS_HOST={settings.NS_HOST}, NS_PORT={settings.NS_PORT}"
    search = Search(NameServerProxy, settings, deadline)
    try:
        found: NameServerProxy = search.anywhere(broadcast=False)
    except NamingError as error:
        findings.warn("name server", f"none where the settings say ({where})", _reason(error))
        return None
    except PyroError as error:  # what this end would use for a conversation
        findings.fail_by("settings", WRONG_HERE, error)
        return None
    uri = found._pyroUri  # noqa: SLF001 - Pyro's name
    library, dialect = _kind_of(found)
    text = f"one answers at {uri.location} ({where}): {library}"
    findings.ok("name server", text, uri=str(uri), library=library, dialect=dialect)
    return found


def _by_broadcast(
    settings: Settings, findings: Findings, deadline: float
) -> NameServerProxy | None:
    targets, port = settings.BROADCAST_ADDRS, settings.NS_BCPORT
    if not targets or settings.PREFER_IP_VERSION == 6:
        findings.ok(
            "broadcast", "not used: the settings BROADCAST_ADDRS, PREFER_IP_VERSION say so"
        )
        return None
    with closing(ask(targets, port, deadline)) as answers:
        found = _try_answers("broadcast", answers, settings, findings, deadline)
    if found == []:
        findings.warn(
            "broadcast",
            f"nobody answers at port {port} ({', '.join(targets)})",
            "broadcasts do not leave the network, and nobody answers them for a name server that "
            "listens at loopback, a unix socket or IPv6 only; firewalls must let UDP pass",
            port=port,
        )
    return found[0] if found else None


def _by_dns_sd(settings: Settings, findings: Findings, deadline: float) -> NameServerProxy | None:
    from pyroipc.client.dns_sd import browse

    try:
        with closing(browse(deadline)) as answers:
            found = _try_answers("dns-sd", answers, settings, findings, deadline)
    except NamingError as error:
        findings.fail_by("dns-sd", WRONG_HERE, error)
        return None
    if found == []:
        findings.warn(
            "dns-sd", "nobody answers", "name servers announce themselves with pyroipc ns --dns-sd"
        )
    return found[0] if found else None


def _try_answers(
    step: str,
    answers: Iterable[URI],
    settings: Settings,
    findings: Findings,
    deadline: float,
) -> list[NameServerProxy] | None:
    """Note who answers; return at most one that can be called, or None if none can."""
    found: list[NameServerProxy] | None = []
    for number, uri in enumerate(answers):
        if number >= _ANSWERS_SHOWN:
            break
        assert uri.address is not None
        try:
            proxy = Search(NameServerProxy, settings, deadline).at(uri.address)
        except PyroError as error:
            text = f"{uri.location} answers, but is no name server that can be called"
            findings.warn(step, text, _reason(error), uri=str(uri))
            found = found or None
            continue
        library, dialect = _kind_of(proxy)
        text = f"a name server answers: {uri.location}: {library}"
        findings.ok(step, text, uri=str(uri), library=library, dialect=dialect)
        if found:
            proxy._pyroRelease()  # noqa: SLF001 - Pyro's name
        else:
            found = [proxy]
    return found


def _kind_of(ns: NameServerProxy) -> tuple[str, str]:
    """Return what a name server is, and the dialect that it speaks."""
    session = ns._pyroConnection  # noqa: SLF001 - Pyro's name
    if session is None or session.peer_hello is None:  # it has ended meanwhile
        return "it has gone since", NATIVE
    return session.peer_hello.library, session.dialect


def _reason(error: PyroError) -> str:
    """Return what a search has found out, without what the doctor says itself."""
    text = str(error).removeprefix("failed to locate the name server; tried ")
    return text.partition(". Start one")[0]

"""The place in a URI: which addresses it has, what is odd about them, which can be reached."""

from __future__ import annotations

import errno
import os
import stat
import threading
from ipaddress import ip_address
from time import monotonic
from typing import NamedTuple

from pyroipc.cli.diagnosis.findings import NOT_REACHED, told
from pyroipc.client.connecting import options_of
from pyroipc.errors import CommunicationError, ConnectError
from pyroipc.location import Location
from pyroipc.transports import addresses, descriptors, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.cli.diagnosis.findings import Findings
    from pyroipc.settings import Settings
    from pyroipc.transports.addresses import SocketAddress

_LOCAL_ONLY = (
    "for other machines the daemon has to listen at an address of the network, as in "
    'Daemon(host="192.0.2.7"), or at all of them: Daemon(host="0.0.0.0")'
)
_NAT = (
    "this is a private address, valid inside of its own network only; if the daemon is behind a "
    "router (NAT), have it publish the address outside: Daemon(nathost=..., natport=...)"
)
_FAMILIES = (
    "client and server must have one version of IP in common: see which addresses the daemon "
    "listens at (daemon.locations), or set PREFER_IP_VERSION to the version that works"
)


class Reached(NamedTuple):
    """An address at which somebody accepts connections."""

    location: Location
    seconds: float
    """How long it took to connect."""


# ------------------------------------------------------------------------------- addresses


def candidates(
    location: Location, settings: Settings, findings: Findings, deadline: float
) -> list[Location]:
    """Return the addresses that a proxy would try, in this order; note what is odd about them."""
    if location.is_unix:
        return [location] if _look_at_file(location, findings) else []
    host, port = location.host or "", location.port or 0
    found = _LookUp(host, port).wait(deadline)
    if isinstance(found, ConnectError):
        findings.fail_by("address", NOT_REACHED, found, host=host)
        return []
    if found is None:
        findings.fail(
            "address",
            NOT_REACHED,
            f"looking up {host!r} takes too long: no name server (DNS) answers",
            "see what `getent hosts` says, and whether /etc/resolv.conf names servers that can be "
            "reached; or use a numeric address",
            host=host,
        )
        return []
    every, warning = found
    version = settings.PREFER_IP_VERSION
    used = [address for address in every if _version(address) == version] or every
    shown = ", ".join(f"{address[0]} (IPv{_version(address)})" for address in used)
    facts = {
        "host": host,
        "addresses": [address[0] for address in every],
        "used": [address[0] for address in used],
        "prefer_ip_version": version,
    }
    text = f"{host} is {shown}" if shown.partition(" ")[0] != host else shown
    if len(used) < len(every):
        text += f"; PREFER_IP_VERSION={version} leaves out the other addresses"
    findings.ok("address", text, **facts)
    _remark(host, used, version, warning, findings)
    return [_location_of(host, address) for address in used]


class _LookUp:
    """Looks a host up in a thread of its own: nothing can end that, but one can stop waiting."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._result: tuple[list[SocketAddress], str | None] | ConnectError | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name="pyroipc-look-up", daemon=True).start()

    def _run(self) -> None:
        try:
            found = addresses.resolve(self._host, self._port)
            self._result = found, addresses.dns_warning(self._host)
        except ConnectError as error:
            self._result = error
        finally:
            self._done.set()

    def wait(
        self, deadline: float
    ) -> tuple[list[SocketAddress], str | None] | ConnectError | None:
        """Return the addresses and a warning, an error, or None if it takes too long."""
        self._done.wait(max(0.0, deadline - monotonic()))
        return self._result


def _version(address: SocketAddress) -> int:
    return 4 if len(address) == 2 else 6


def _location_of(host: str, address: SocketAddress) -> Location:
    if addresses.ip_version(host):
        return Location(host, address[1])
    scope = f"%{address[3]}" if len(address) == 4 and address[3] else ""
    return Location(address[0] + scope, address[1])


def _remark(
    host: str,
    used: list[SocketAddress],
    version: int,
    dns_warning: str | None,
    findings: Findings,
) -> None:
    """Warn of addresses that are of no use, or not to everybody."""
    if dns_warning is not None:
        findings.warn("address", *told(ConnectError(dns_warning)))
    elif addresses.is_wildcard(host):
        findings.warn(
            "address",
            f"{host} means all addresses of a machine that listens; nobody can connect to it, "
            "but some systems take it for this machine",
            "use the name or an address of the daemon's machine; a daemon at all addresses "
            "publishes another host with Daemon(nathost=...)",
        )
    elif all(addresses.is_loopback(address[0]) for address in used):
        findings.warn("address", f"{host} leads to this machine itself only", _LOCAL_ONLY)
    is_other = version and all(_version(address) != version for address in used)
    if is_other and not addresses.ip_version(host):
        findings.warn(
            "address",
            f"{host} has no IPv{version} address, although PREFER_IP_VERSION is {version}",
            "give the host one (DNS, hosts file), or set PREFER_IP_VERSION=0",
        )
    for address in used:
        if ip_address(address[0].partition("%")[0]).is_link_local:
            _remark_on_link_local(host, address, findings)


def _remark_on_link_local(host: str, address: SocketAddress, findings: Findings) -> None:
    if len(address) == 4 and not address[3]:
        findings.warn(
            "address",
            f"{address[0]} is a link-local address: without the name of an interface nobody "
            "knows which of this machine's networks is meant",
            f"name the interface of this machine behind a %, as in [{address[0]}%eth0]",
        )
        return
    findings.warn(
        "address",
        f"{host} is a link-local address, valid in one network segment only",
        "the name behind the % is that of an interface of this machine; other machines have to "
        "put their own there"
        if "%" in host
        else "",
    )


# ----------------------------------------------------------------------------- unix sockets


def _look_at_file(location: Location, findings: Findings) -> bool:
    """Note what is at the path of a unix socket; False: nothing that one could connect to."""
    path = location.sockname or ""
    if path.startswith("\0"):
        findings.ok("address", "an abstract unix socket, which has no file", path=ascii(path))
        return True
    facts: dict[str, Any] = {"path": path, "absolute": os.path.abspath(path)}
    try:
        status = os.stat(path)
    except OSError as error:
        findings.fail(
            "address", NOT_REACHED, *_why_no_file(path, error), error=error.strerror, **facts
        )
        return False
    mode = stat.S_IMODE(status.st_mode)
    facts.update(uid=status.st_uid, mode=f"{mode:04o}")
    if not stat.S_ISSOCK(status.st_mode):
        findings.fail(
            "address",
            NOT_REACHED,
            f"{path} is no socket, but another file",
            "is this the path that the daemon listens at?",
            **facts,
        )
        return False
    findings.ok(
        "address", f"a socket of user {status.st_uid} with the permissions {mode:04o}", **facts
    )
    if not os.path.isabs(path):
        findings.warn(
            "address",
            f"the path is relative: it is found from the directory {os.getcwd()} only",
            "let the daemon listen at an absolute path",
        )
    return True


def _why_no_file(path: str, error: OSError) -> tuple[str, str]:
    directory = os.path.dirname(os.path.abspath(path))
    if error.errno == errno.EACCES:
        return (
            f"{path} cannot be looked at: a directory of the path is closed to this user",
            f"who may go into {directory}? (namei -l shows the permissions on the way)",
        )
    if error.errno == errno.ENOENT and os.path.isdir(directory):
        return (
            f"there is no file {path}",
            "is the daemon running, and is this its path? It removes the file when it is closed",
        )
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"there is no directory {directory}", "is the path written correctly?"
    return f"{path} cannot be looked at: {error.strerror}", "is the path written correctly?"


# ------------------------------------------------------------------------------- connecting


def reach(
    tried: list[Location], settings: Settings, findings: Findings, deadline: float
) -> list[Reached]:
    """Connect to each address; note which answer, and why the others do not."""
    reached: list[Reached] = []
    failed: list[tuple[Location, CommunicationError]] = []
    table.get("unix" if tried[0].is_unix else "tcp")  # to load it is not to connect
    for index, location in enumerate(tried):
        begin = monotonic()
        share = begin + max(0.0, deadline - begin) / (len(tried) - index)
        try:
            sock = table.connect(location, options_of(settings), share)
        except CommunicationError as error:
            failed.append((location, error))
            continue
        seconds = monotonic() - begin
        own = "" if location.is_unix else f" from {sock.getsockname()[0]}"
        descriptors.close(sock)
        reached.append(Reached(location, seconds))
        findings.ok(
            "connect",
            f"{location} accepts connections ({seconds * 1e3:.1f} ms{own})",
            location=str(location),
            seconds=seconds,
        )
    for location, failure in failed:
        _note_failure(location, failure, findings, others=bool(reached))
    if not reached:
        _what_to_check(tried, findings)
    return reached


def _note_failure(
    location: Location, error: CommunicationError, findings: Findings, *, others: bool
) -> None:
    text, advice = told(error)
    cause = error.__cause__
    facts = {
        "location": str(location),
        "error": type(error).__name__,
        "errno": errno.errorcode.get(getattr(cause, "errno", None) or 0),
    }
    if others:
        findings.warn("connect", f"{text}, although another address answers", _FAMILIES, **facts)
        return
    hints = [advice]
    if _is_private(location.host or "") and facts["errno"] != "ECONNREFUSED":
        hints.append(_NAT)
    findings.fail("connect", NOT_REACHED, text, *hints, **facts)


def _is_private(host: str) -> bool:
    if not addresses.ip_version(host) or addresses.is_wildcard(host):
        return False
    address = ip_address(host.partition("%")[0])
    return address.is_private and not address.is_loopback and not address.is_link_local


def _what_to_check(tried: list[Location], findings: Findings) -> None:
    """Name what has to be looked at from elsewhere."""
    location = tried[0]
    if location.is_unix:
        findings.check_by_hand(
            "is the process of the daemon alive, and does its request loop run?",
            "does it run on this machine, and see the same files (containers have their own)?",
        )
        return
    host, port = location.host or "", location.port
    findings.check_by_hand(
        f"does a daemon listen on port {port} of its machine, and at an address that is valid "
        "here? ss -ltn; in its program: print(daemon.locations)",
        "is the URI that of the daemon as it runs now? With port=0 it gets another port each time",
    )
    if addresses.is_loopback(host):
        return
    findings.check_by_hand(
        "does it listen at 127.0.0.1, ::1 or localhost? Then only its own machine can connect",
        f"does the machine answer at all? ping {host}",
        f"does the port let you pass? nc -vz {host} {port}",
        "is there a firewall or packet filter on the server, on this machine, or between them?",
        "is the server behind a router with NAT? It needs a forwarded port, nathost and natport",
    )

"""Hosts into addresses, and what is known about an address without asking anybody.

Names are looked up by the system, which may take as long as it likes: no deadline can end that.
A numeric address is never looked up.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import struct

from pyroipc.errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

_DISCARD = 9  # a port to point a datagram socket at; nothing is sent
_FAR_AWAY = ("192.0.2.1", "2001:db8::1")  # reserved for documentation: they lead to the way out
_SIOCGIFADDR = 0x8915
_INET6_TABLE = "/proc/net/if_inet6"
_GLOBAL_SCOPE = "00"


def ip_version(host: str) -> int:
    """Return 4 or 6 for a numeric address, and 0 for a name. A ``%scope`` is allowed."""
    if _packed(socket.AF_INET, host) is not None:
        return 4
    if _packed(socket.AF_INET6, host.partition("%")[0]) is not None:
        return 6
    return 0


def is_wildcard(host: str) -> bool:
    """Say whether a host means all addresses of a machine: ``0.0.0.0``, ``::`` or empty."""
    packed = _address(host)
    return not host or (packed is not None and not any(packed))


def is_loopback(host: str) -> bool:
    """Say whether a host can be reached from its own machine only, without looking it up.

    So are 127.*, ::1, ``localhost`` and the names that end in ``.localhost``. For a name that the
    system takes for one of these addresses there is :func:`dns_warning`.
    """
    packed = _address(host)
    if packed is not None:
        return packed[0] == 127 if len(packed) == 4 else packed == b"\0" * 15 + b"\1"
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def family_of(address: SocketAddress) -> int:
    """Return the family of a socket address: IPv6 ones have four parts."""
    return socket.AF_INET if len(address) == 2 else socket.AF_INET6


def resolve(host: str, port: int, version: int = 0) -> list[SocketAddress]:
    """Look a host up; return its addresses in the order of the system, at least one.

    Args:
        host: a name or a numeric address.
        port: the port of the addresses.
        version: 4 or 6: only the addresses of a name that have this version, if it has any;
            0: all. A numeric address decides for itself.

    Raises:
        ConnectError: the name is unknown, or nobody can be asked about it.
    """
    found: list[SocketAddress] = []
    for family, _, _, _, address in _look_up(host, port):
        if family in (socket.AF_INET, socket.AF_INET6) and address not in found:
            found.append(address)  # type: ignore[arg-type]  # these two families' are such tuples
    if not found:
        raise ConnectError(
            f"the host {host!r} has neither an IPv4 nor an IPv6 address; use a name or an address "
            "that has one"
        )
    wanted = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version)
    return [address for address in found if family_of(address) == wanted] or found


def shown(address: SocketAddress) -> str:
    """Write an address as in a location, with its port."""
    host, port = address[:2]
    return f"[{host}]:{port}" if len(address) == 4 else f"{host}:{port}"


def interface_towards(host: str) -> str:
    """Return the address of this machine from which packets to a host leave; none is sent.

    Raises:
        ConnectError: the host is unknown, or no network leads there.
    """
    reason: OSError | None = None
    for address in resolve(host, _DISCARD):
        try:
            return _own_address(address)
        except OSError as error:
            reason = error
    raise ConnectError(
        f"no network of this machine leads to {host!r} "
        f"({reason.strerror if reason else 'unknown'}); look at its interfaces and routes"
    ) from reason


def reachable_hosts() -> list[str]:
    """Return addresses of this machine that others could use, the most likely ones first.

    As far as they can be found out; empty if there is no network. Loopback and link-local
    addresses are none of them.
    """
    found: dict[str, None] = {}  # a set that keeps the order
    for host in (*_ways_out(), *_ipv4_of_interfaces(), *_ipv6_of_interfaces(), *_named()):
        if not is_loopback(host) and not is_wildcard(host) and not _is_link_local(host):
            found[host] = None
    return list(found)


def dns_warning(host: str) -> str | None:
    """Return a warning if the name of a machine leads to its loopback interface, or None.

    A daemon that listens there cannot be reached from other machines, although its location looks
    as if it could. An unknown name gives no warning: whoever uses it gets an error.
    """
    if not host or ip_version(host) or is_loopback(host):
        return None
    try:
        addresses = resolve(host, 0)
    except ConnectError:
        return None
    for address in addresses:
        if is_loopback(address[0]):
            return (
                f"weird DNS setup: {host} resolves to localhost ({address[0]}), so other machines "
                f"cannot connect; give {host} its network address in DNS or in the hosts file, "
                "or have the daemon listen at a numeric address"
            )
    return None


def _packed(family: int, host: str) -> bytes | None:
    try:
        return socket.inet_pton(family, host)
    except (OSError, ValueError):  # no address; or a NUL or a surrogate in it
        return None


def _address(host: str) -> bytes | None:
    """Return the bytes of a numeric address; those of IPv4 if it is IPv4 written as IPv6."""
    packed = _packed(socket.AF_INET, host)
    if packed is None:
        packed = _packed(socket.AF_INET6, host.partition("%")[0])
        if packed is not None and packed.startswith(b"\0" * 10 + b"\xff\xff"):
            return packed[12:]
    return packed


def _is_link_local(host: str) -> bool:
    packed = _address(host)
    if packed is None:
        return False
    if len(packed) == 4:
        return packed[:2] == b"\xa9\xfe"  # 169.254
    return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def _look_up(host: str, port: int) -> list[tuple[int, int, int, str, object]]:
    """Ask the system for the addresses of a host.

    Raises:
        ConnectError: it knows none.
    """
    # A str goes through the codec "idna", which takes milliseconds to import; plain names need
    # it not.
    asked = host.encode() if host.isascii() else host
    try:
        return socket.getaddrinfo(asked, port, 0, socket.SOCK_STREAM)  # type: ignore[return-value]
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            advice = "the name server does not answer: try again, or use a numeric address"
        elif "%" in host:
            advice = "is the scope behind the % the name of an interface of this machine?"
        else:
            advice = "check how it is written, or use a numeric address"
        reason = f"{error.strerror}".lower()
        raise ConnectError(f"the host {host!r} cannot be found ({reason}); {advice}") from error
    except (OSError, ValueError) as error:  # ValueError: NUL characters, labels that are too long
        raise ConnectError(
            f"the host {host!r} cannot be looked up ({error}); check how it is written"
        ) from error


def _own_address(address: SocketAddress) -> str:
    """Return the own address of a datagram socket that points at another.

    Raises:
        OSError: no network leads there.
    """
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    try:
        sock.connect(address)
        host: str = sock.getsockname()[0]
        return host
    finally:
        sock.close()


def _ways_out() -> list[str]:
    found = []
    for host in _FAR_AWAY:
        try:
            found.append(interface_towards(host))
        except ConnectError:
            pass  # this machine has no such network
    return found


def _ipv4_of_interfaces() -> list[str]:
    """Return the first IPv4 address of each interface, where the system can be asked (Linux)."""
    try:
        import fcntl

        names = [name for _, name in socket.if_nameindex()]
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except (ImportError, OSError):
        return []
    found = []
    try:
        for name in names:
            request = struct.pack("16s24x", name.encode())
            try:
                answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # it has none, or this is no Linux
            found.append(socket.inet_ntop(socket.AF_INET, answer[20:24]))
    finally:
        sock.close()
    return found


def _ipv6_of_interfaces() -> list[str]:
    """Return the global IPv6 addresses, where the system lists them (Linux)."""
    try:
        with open(_INET6_TABLE, encoding="ascii") as table:
            rows = [line.split() for line in table]
    except OSError:
        return []
    return [
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))
        for row in rows
        if len(row) == 6 and row[3] == _GLOBAL_SCOPE
    ]


def _named() -> list[str]:
    try:
        return [address[0] for address in resolve(socket.gethostname(), 0)]
    except (ConnectError, OSError):
        return []  # the name of this machine is unknown to itself

"""Where a server listens: ``host:port``, ``[::1]:port`` or ``./u:path``, and back to text.

Text becomes a :class:`Location` or an error that says what is wrong with it and how it is
written. Nothing is looked up: whether a host exists is the business of the transports. The form
of the text is Pyro's, but stricter: a port is plain digits from 1 to 65535, a host is not empty,
and there are no blanks anywhere except inside the path of a unix socket.
"""

from __future__ import annotations

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

UNIX_PREFIX = "./u:"
"""What the location of a unix socket begins with."""

_NOT_IN_HOSTS = frozenset("@[]<>/\\%")
_SHOWN = 200


class Location:
    """A place where a server listens: a host and a port, or the path of a unix socket.

    Immutable. Two are equal if their parts are: nothing is looked up or normalised, so
    ``localhost`` and ``127.0.0.1`` differ.

    Args:
        host: a name or a numeric address; IPv6 without brackets, with or without ``%scope``.
        port: 1 to 65535; given if and only if there is a host.
        sockname: the path of a unix socket, instead of host and port. A leading NUL character
            makes it an abstract name of Linux.
        zero_port: also accept port 0, "any free port".

    Raises:
        PyroError: a part is missing, out of range, or has characters that it cannot have.
        TypeError: a part is of another type.
    """

    __slots__ = ("_parts",)

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        sockname: str | None = None,
        *,
        zero_port: bool = False,
    ) -> None:
        problem = _problem(host, port, sockname, zero_port=zero_port)
        if problem:
            raise PyroError(f"invalid location: {problem}")
        self._parts = (host, port, sockname)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        default_port: int | None = None,
        zero_port: bool = False,
        part_of: str = "location",
    ) -> Location:
        """Read a location from text.

        Args:
            text: ``host:port``, ``[ipv6]:port`` or ``./u:path``.
            default_port: the port if the text has none; None: it must have one.
            zero_port: also accept port 0.
            part_of: what the errors call the text that it comes from.

        Raises:
            PyroError: the text is no location; the error shows one.
            TypeError: it is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"a location is a str, not {type(text).__name__}")
        if text.startswith(UNIX_PREFIX):
            sockname = text[len(UNIX_PREFIX) :]
            problem = _path_problem(sockname)
            if problem:
                _refuse(text, part_of, problem)
            return cls(sockname=sockname)
        host, port_text = _split(text, part_of)
        problem = _host_problem(host)
        if problem:
            _refuse(text, part_of, problem)
        if port_text is None and default_port is not None:
            port = default_port
        else:
            port = _port(port_text, part_of, zero_port=zero_port)
        return cls(host, port, zero_port=zero_port)

    @property
    def host(self) -> str | None:
        """A name or numeric address, IPv6 without brackets; None for a unix socket."""
        return self._parts[0]

    @property
    def port(self) -> int | None:
        """The port; None for a unix socket."""
        return self._parts[1]

    @property
    def sockname(self) -> str | None:
        """The path of a unix socket, or None."""
        return self._parts[2]

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return self._parts[2] is not None

    def __str__(self) -> str:
        host, port, sockname = self._parts
        if host is None:
            return f"{UNIX_PREFIX}{sockname}"
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __repr__(self) -> str:
        return f"<pyroipc.Location {str(self)!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Location):
            return NotImplemented
        return (self.host, self.port, self.sockname) == (other.host, other.port, other.sockname)

    def __hash__(self) -> int:
        return hash(self._parts)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, self._parts


def _restore(host: str | None, port: int | None, sockname: str | None) -> Location:
    return Location(host, port, sockname, zero_port=True)


def _refuse(text: str, part_of: str, problem: str) -> NoReturn:
    """Raise the error for a text that is no location.

    Raises:
        PyroError: always.
    """
    where = "" if part_of == "location" else " (location)"
    raise PyroError(f"invalid {part_of}{where}: {problem}, in {text!r:.{_SHOWN}}")


def _split(text: str, part_of: str) -> tuple[str, str | None]:
    """Take the text of host and port apart; the port is None if there is not even a colon.

    Raises:
        PyroError: the brackets or colons are not where they belong.
    """
    if not text.startswith("["):
        host, colon, port = text.partition(":")
        if ":" in port:
            raise PyroError(
                f"invalid port in {part_of}, port={port:.{_SHOWN}}: there is more than one colon; "
                "an IPv6 address is written in brackets, as in [::1]:9090"
            )
        return host, port if colon else None
    if text.startswith("[["):
        raise PyroError(
            f"invalid ipv6 address: enclosed in too many brackets, in {text!r:.{_SHOWN}}; "
            "write it as in [::1]:9090"
        )
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        _refuse(text, part_of, "the bracket of the IPv6 address is not closed, as in [::1]:9090")
    if ":" not in host or not _is_ipv6(host):
        raise PyroError(
            "invalid ipv6 address: the part between brackets must be a numeric ipv6 address, "
            f"as in [::1]:9090 or [fe80::1%eth0]:9090, not {host!r:.{_SHOWN}}"
        )
    if rest and not rest.startswith(":"):
        _refuse(text, part_of, "after the bracket comes the port, as in [::1]:9090")
    return host, rest[1:] if rest else None


def _port(text: str | None, part_of: str, *, zero_port: bool) -> int:
    if text and len(text) <= 5 and text.isascii() and text.isdigit():
        port = int(text)
        if str(port) == text and not _port_problem(port, zero_port=zero_port):
            return port
    raise PyroError(
        f"invalid port in {part_of}, port={text!s:.{_SHOWN}}: a port is a number from "
        f"{0 if zero_port else 1} to 65535, digits only, as in localhost:9090"
    )


def _problem(host: object, port: object, sockname: object, *, zero_port: bool) -> str | None:
    """Say what is wrong with the parts of a location, or None.

    Raises:
        TypeError: a part is of another type.
    """
    for name, value, kind in (
        ("host", host, str),
        ("port", port, int),
        ("sockname", sockname, str),
    ):
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"the {name} is of type {type(value).__name__}, not {kind.__name__}")
    if isinstance(sockname, str):
        if host is not None or port is not None:
            return "a unix socket has a path, and neither a host nor a port"
        return _path_problem(sockname)
    if not isinstance(host, str):
        return "there is neither a host nor the path of a unix socket"
    if not isinstance(port, int):
        return "the port is missing, as in localhost:9090"
    return _host_problem(host) or _port_problem(port, zero_port=zero_port)


def _port_problem(port: int, *, zero_port: bool) -> str | None:
    lowest = 0 if zero_port else 1
    if lowest <= port <= 65535:
        return None
    return f"a port is a number from {lowest} to 65535, not {port}"


def _host_problem(host: str) -> str | None:
    if not host:
        return "the host is missing, as in localhost:9090"
    if ":" in host:
        if _is_ipv6(host):
            return None
        return f"{host!r:.{_SHOWN}} is no IPv6 address, such as ::1 or fe80::1%eth0"
    wrong = sorted(_NOT_IN_HOSTS.intersection(host))
    if wrong:
        return f"a host has no {wrong[0]!r} in it; write host:port, as in localhost:9090"
    if not _is_printed(host) or " " in host:
        return "a host has no blanks in it; write host:port, as in localhost:9090"
    return None


def _path_problem(path: str) -> str | None:
    name = path.removeprefix("\0")
    if not name:
        return "the path of the unix socket is missing, as in ./u:/tmp/server.sock"
    if ":" in name:
        return "the path of a unix socket has no colon in it, as in ./u:/tmp/server.sock"
    if name != name.strip() or any(character < " " or character == "\x7f" for character in name):
        return (
            "the path of a unix socket has no control characters in it, and no blanks at its "
            "ends, as in ./u:/tmp/server.sock"
        )
    return None


def _is_printed(text: str) -> bool:
    return text.isprintable() and not any(map(str.isspace, text))


def _is_ipv6(host: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address  # few need it

    address, percent, scope = host.partition("%")
    if percent and (not scope or not _is_printed(scope) or _NOT_IN_HOSTS.intersection(scope)):
        return False
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return True

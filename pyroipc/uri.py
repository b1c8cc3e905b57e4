"""Addresses of objects: ``PYRO:``, ``PYRONAME:`` and ``PYROMETA:`` text <-> :class:`URI`.

==================================  =======================================================
``PYRO:object@location``            an object of the server at this location
``PYRO:object@<connected-socket>``  an object behind a connected socket, which has no address
``PYRONAME:name[@location]``        an object by the name that a name server knows
``PYROMETA:tag,tag[@location]``     an object by its tags in a name server
==================================  =======================================================

The location is that of :mod:`pyroipc.location`; without one, the name server is searched for.
The grammar is Pyro's: the object is one or more characters without blanks and ``@``. Behind a
connected socket it is any text, because such ids never had to be written in a URI: everything
between ``PYRO:`` and the last ``@<connected-socket>`` is the id.
"""

from __future__ import annotations

from pyroipc.errors import PyroError
from pyroipc.location import UNIX_PREFIX, Location
from pyroipc.serializers import classes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

CONNECTED_SOCKET = "<connected-socket>"
"""The location of an object behind a connected socket."""
NS_PORT = 9090
"""The port of a name server whose URI tells none."""

_PROTOCOLS = ("PYRO", "PYRONAME", "PYROMETA")
_EXAMPLES = "PYRO:object@host:port, PYRONAME:name or PYROMETA:tag,tag"
_SHOWN = 200


class URI:
    """The address of an object.

    Immutable, hashable, and equal to another URI of the same parts.

    Args:
        uri: its text, such as ``"PYRO:calculator@localhost:9090"``, or another URI.
        ns_port: the port if a PYRONAME or PYROMETA has a host without one.

    Raises:
        PyroError: the text is no URI; the error says why.
        TypeError: it is neither text nor a URI.
    """

    __slots__ = ("_location", "_object", "_protocol")

    _protocol: str
    _object: str | frozenset[str]
    _location: Location | None

    def __init__(self, uri: str | URI, *, ns_port: int = NS_PORT) -> None:
        if isinstance(uri, URI):
            self._protocol, self._object, self._location = uri.protocol, uri.object, uri.address
            return
        if not isinstance(uri, str):
            raise TypeError(
                f"uri parameter object is of wrong type: {type(uri).__name__}, not a str or a URI"
            )
        self._protocol, rest = _split_protocol(uri)
        if rest.endswith("@" + CONNECTED_SOCKET):
            if self._protocol != "PYRO":
                raise PyroError(
                    f"invalid uri (location): only a PYRO uri can be at {CONNECTED_SOCKET}, "
                    f"in {uri!r:.{_SHOWN}}"
                )
            self._object = rest.removesuffix("@" + CONNECTED_SOCKET)
            self._location = None
            return
        name, at, location = rest.partition("@")
        self._object = _object_of(self._protocol, name, uri)
        self._location = None
        if at or self._protocol == "PYRO":
            if not location:
                raise PyroError(
                    f"invalid uri: the location is missing, in {uri!r:.{_SHOWN}}; "
                    f"write it as in {self._protocol}:{name:.{_SHOWN}}@localhost:9090"
                )
            port = None if self._protocol == "PYRO" else ns_port
            self._location = Location.parse(location, default_port=port, part_of="uri")

    @classmethod
    def for_connected_socket(cls, object_id: str) -> Self:
        """Return the URI of an object behind a connected socket.

        Args:
            object_id: any text; the URI's text leads back to it, whatever is in it.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(object_id, str):
            raise TypeError(f"an object id is a str, not {type(object_id).__name__}")
        return cls(f"PYRO:{object_id}@{CONNECTED_SOCKET}")

    @staticmethod
    def isUnixsockLocation(location: str) -> bool:  # noqa: N802 - Pyro's name
        """Say whether the text of a location is that of a unix socket."""
        return location.startswith(UNIX_PREFIX)

    def asString(self) -> str:  # noqa: N802 - so is this
        """Return the text of the URI, as ``str`` does."""
        return str(self)

    @property
    def protocol(self) -> str:
        """``"PYRO"``, ``"PYRONAME"`` or ``"PYROMETA"``."""
        return self._protocol

    @property
    def object(self) -> str | frozenset[str]:
        """The object id, the name in the name server, or for PYROMETA the set of tags."""
        return self._object

    @property
    def sockname(self) -> str | None:
        """The path of a unix socket, or None."""
        return None if self._location is None else self._location.sockname

    @property
    def host(self) -> str | None:
        """A name or numeric address (IPv6 without brackets), or None."""
        return None if self._location is None else self._location.host

    @property
    def port(self) -> int | None:
        """The port, or None."""
        return None if self._location is None else self._location.port

    @property
    def location(self) -> str | None:
        """The text after the ``@``, or None if there is none."""
        if self._location is not None:
            return str(self._location)
        return CONNECTED_SOCKET if self._protocol == "PYRO" else None

    @property
    def address(self) -> Location | None:
        """The location as an object, or None if there is none."""
        return self._location

    @property
    def is_connected_socket(self) -> bool:
        """Whether the object is behind a connected socket: it cannot be reached by address."""
        return self._protocol == "PYRO" and self._location is None

    def __str__(self) -> str:
        name = self._object if isinstance(self._object, str) else ",".join(sorted(self._object))
        location = self.location
        return f"{self._protocol}:{name}" + (f"@{location}" if location else "")

    def __repr__(self) -> str:
        return f"<pyroipc.URI {str(self)!r}>"

    def __eq__(self, other: Any) -> bool:
        return str(self) == str(other) if isinstance(other, URI) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._protocol, self._object, self._location))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


def _split_protocol(uri: str) -> tuple[str, str]:
    protocol, colon, rest = uri.partition(":")
    upper = protocol.upper() if protocol.isascii() else ""
    if not colon or not rest or not upper.startswith("PYRO"):
        raise PyroError(f"invalid uri: {uri!r:.{_SHOWN}}; write {_EXAMPLES}")
    if upper not in _PROTOCOLS:
        raise PyroError(
            f"invalid uri (protocol): {protocol!r:.{_SHOWN}} is not one of {', '.join(_PROTOCOLS)}"
        )
    return upper, rest


def _object_of(protocol: str, name: str, uri: str) -> str | frozenset[str]:
    if name.split() != [name]:
        problem = "there are blanks in the object" if name else "the object is missing"
        raise PyroError(f"invalid uri: {problem}, in {uri!r:.{_SHOWN}}; write {_EXAMPLES}")
    if protocol != "PYROMETA":
        return name
    tags = frozenset(name.split(","))
    if "" in tags:
        raise PyroError(
            f"invalid uri: there is an empty tag in {uri!r:.{_SHOWN}}; write PYROMETA:tag,tag"
        )
    return tags


# For the serializers that know only plain data. A peer that has the text has the URI.
classes.register_builtin_class(URI, lambda uri: {"__class__": "pyroipc.URI", "state": str(uri)})
classes.register_builtin("pyroipc.URI", lambda _name, data: URI(data["state"]))

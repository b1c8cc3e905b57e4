"""What a name server takes: names, URIs, tags, lease times; what it refuses, and why.

Types that are wrong are a TypeError, as in Pyro. Everything else is a NamingError that names the
value. The limits are there because anybody who can connect may register anything.
"""

from __future__ import annotations

from pyroipc.errors import NamingError, PyroError
from pyroipc.transports import addresses
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from pyroipc.location import Location

__all__ = [
    "Limits",
    "advice_on",
    "checked_metadata",
    "checked_name",
    "checked_ttl",
    "checked_uri",
    "is_reserved",
]

RESERVED_PREFIX: Final = "Pyro."
LEAST_TTL: Final = 1.0
MOST_TTL: Final = 366 * 24 * 3600.0
_SHOWN = 100


class Limits:
    """How much a name server takes.

    Args:
        name_bytes: the longest name, in UTF-8.
        uri_bytes: the longest URI, in UTF-8.
        tags: the most tags of an entry.
        tag_bytes: the longest tag, in UTF-8.
        entries: the most entries.
        entries_per_connection: the most new names that one connection may register, apart from
            those that it has removed again.
        usual_ttl: the lease time of an entry that is registered without one, in seconds; None: it
            stays.

    Raises:
        NamingError: the usual ttl is out of bounds.
    """

    __slots__ = (
        "entries",
        "entries_per_connection",
        "name_bytes",
        "tag_bytes",
        "tags",
        "uri_bytes",
        "usual_ttl",
    )

    def __init__(
        self,
        *,
        name_bytes: int = 1024,
        uri_bytes: int = 1024,
        tags: int = 64,
        tag_bytes: int = 256,
        entries: int = 1_000_000,
        entries_per_connection: int = 200_000,
        usual_ttl: float | None = None,
    ) -> None:
        self.name_bytes = name_bytes
        self.uri_bytes = uri_bytes
        self.tags = tags
        self.tag_bytes = tag_bytes
        self.entries = entries
        self.entries_per_connection = entries_per_connection
        self.usual_ttl = checked_ttl(usual_ttl)


def is_reserved(name: str) -> bool:
    """Say whether a name is not for clients to write."""
    return name.startswith(RESERVED_PREFIX)


def checked_name(name: object, limits: Limits) -> str:
    """Return a name that can be registered.

    Raises:
        NamingError: it is empty, too long, or has characters that no name has.
        TypeError: it is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    _check_text("name", name, limits.name_bytes)
    return name


def checked_uri(uri: object, limits: Limits) -> URI:
    """Return the URI that is to be registered.

    Raises:
        NamingError: it is none, too long, or of an object that nobody else can reach.
        TypeError: it is neither a text nor a URI.
    """
    if not isinstance(uri, str | URI):
        raise TypeError(f"only URIs or strings can be registered, not {type(uri).__name__}")
    _check_text("URI", str(uri), limits.uri_bytes)
    try:
        found = URI(uri)
    except PyroError as error:
        raise NamingError(str(error)) from None
    if found.is_connected_socket:
        raise NamingError(
            f"{found!s:.{_SHOWN}} cannot be registered: only the process at the other end of the "
            "socket reaches it; register the object in a daemon that listens"
        )
    return found


def checked_metadata(metadata: Any, limits: Limits) -> frozenset[str]:
    """Return tags as a set.

    Raises:
        NamingError: there are too many, or one is empty, too long, or has wrong characters.
        TypeError: they are a single text, or no texts.
    """
    if metadata is None:
        return frozenset()
    if isinstance(metadata, str):
        raise TypeError(
            f"metadata should not be a str, but another iterable (set, list, etc): "
            f"{metadata!r:.{_SHOWN}}"
        )
    if not isinstance(metadata, list | tuple | set | frozenset):
        raise TypeError(f"metadata is a list or set of texts, not {type(metadata).__name__}")
    for tag in metadata:
        if not isinstance(tag, str):
            raise TypeError(f"metadata are texts, not {type(tag).__name__}: {tag!r:.{_SHOWN}}")
        _check_text("metadata tag", tag, limits.tag_bytes)
    tags = frozenset(metadata)
    if len(tags) > limits.tags:
        raise NamingError(f"an entry has at most {limits.tags} metadata tags, not {len(tags)}")
    return tags


def checked_ttl(ttl: object) -> float | None:
    """Return a lease time in seconds, or None.

    Raises:
        NamingError: it is too short or too long.
        TypeError: it is no number.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl is a number of seconds or None, not {ttl!r:.{_SHOWN}}")
    if not LEAST_TTL <= ttl <= MOST_TTL:  # nan, too
        raise NamingError(
            f"a ttl is from {LEAST_TTL:g} to {MOST_TTL:g} seconds, not {ttl!r:.{_SHOWN}}"
        )
    return float(ttl)


def _check_text(what: str, text: str, limit: int) -> None:
    """Check what any text has to be.

    Raises:
        NamingError: it is not.
    """
    if not text:
        raise NamingError(f"the {what} is empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise NamingError(f"the {what} {text!a:.{_SHOWN}} cannot be written in UTF-8") from None
    if size > limit:
        raise NamingError(f"a {what} has at most {limit} bytes, not {size}: {text!r:.{_SHOWN}}...")
    if any(character < " " or character == "\x7f" for character in text):
        raise NamingError(f"the {what} {text!r:.{_SHOWN}} has control characters in it")


def advice_on(name: str, location: Location | None) -> str | None:
    """Return what is wrong with a location for clients on other machines; None: nothing.

    Args:
        name: what is to be registered.
        location: where its object is; None: at a place that a name server knows.
    """
    if location is None:
        return None
    host = location.host
    if host is None:
        what = "at a unix socket"
    elif addresses.is_wildcard(host):
        what = f"at {host}, which means all addresses and is none"
    elif addresses.is_loopback(host):
        what = f"at {host}, which every machine takes for itself"
    else:
        return None
    return (
        f"{name!r} was registered {what}: clients on other machines cannot connect to "
        f"{location}. Give its daemon the address of this machine, with host= or the setting "
        "HOST, or the one outside of a router, with nathost= or the setting NATHOST"
    )

"""Name -> source of connections, imported only when it is asked for.

A new source is one file and one line here.
"""

from __future__ import annotations

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket

    from pyroipc.location import Location
    from pyroipc.transports.base import Listener, Options, Source

__all__ = ["connect", "get", "listen", "names"]

#   name     module:attribute
_TABLE: dict[str, str] = {
    "tcp": "pyroipc.transports.tcp:SOURCE",
    "unix": "pyroipc.transports.unix:SOURCE",
}
_loaded: dict[str, Source] = {}


def names() -> tuple[str, ...]:
    """Return the names of all sources."""
    return tuple(_TABLE)


def get(name: str) -> Source:
    """Return the source called *name*.

    Raises:
        PyroError: there is none of that name.
    """
    found = _loaded.get(name) if isinstance(name, str) else None
    if found is None:
        found = _loaded.setdefault(name, _load(name))
    return found


def connect(location: Location, options: Options, deadline: float | None = None) -> socket.socket:
    """Connect to a location.

    Args:
        location: host and port, or the path of a unix socket.
        options: how the socket is set up.
        deadline: absolute, by the monotonic clock; None: as long as the kernel tries.

    Returns:
        A blocking socket that is in the table of descriptors: the caller closes it with
        ``descriptors.close``.

    Raises:
        ConnectError: the location is unknown, refuses, or cannot be reached.
        TimeoutError: the deadline passed; ``call_status`` is "not sent".
    """
    return get("unix" if location.is_unix else "tcp").connect(location, options, deadline)


def listen(location: Location, options: Options) -> list[Listener]:
    """Listen at a location: one listener for each address that it has.

    Raises:
        DaemonError: the location is unknown, taken, or not allowed.
    """
    return get("unix" if location.is_unix else "tcp").listen(location, options)


def _load(name: str) -> Source:
    try:
        where = _TABLE[name]
    except (KeyError, TypeError):
        raise PyroError(_unknown(name)) from None
    module_name, _, attribute = where.partition(":")
    source: Source = getattr(__import__(module_name, fromlist=(attribute,)), attribute)
    return source


def _unknown(name: object) -> str:
    import difflib

    close = difflib.get_close_matches(str(name).lower(), _TABLE, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(_TABLE)}"
    return f"unknown transport {name!r:.100}; {hint}"

"""Names into addresses: a PYRONAME or PYROMETA URI into the PYRO URI of an object."""

from __future__ import annotations

from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.settings import Settings
    from pyroipc.uri import URI


def resolve(uri: URI, settings: Settings, deadline: float | None = None) -> URI:
    """Return the URI that leads to an object.

    Args:
        uri: any URI; one that leads there already is returned.
        settings: say where the name server is.
        deadline: absolute, by the monotonic clock; None: none.

    Raises:
        NamingError: the name is not known, or no name server was found.
    """
    if uri.protocol == "PYRO":
        return uri
    raise NamingError(
        f"{uri} cannot be looked up: this version has no name server yet; give the object's own "
        "URI, as register() returns it"
    )

"""Which dialect the daemon at an address speaks.

Whoever does not know speaks the native one. A daemon of Pyro refuses that, and its refusal begins
with the version of its own protocol. What was found out is remembered for the address, until
connecting there fails.
"""

from __future__ import annotations

from pyroipc.errors import VersionMismatchError
from pyroipc.wire.dialect import NAMES, NATIVE, VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.location import Location
    from pyroipc.settings import Settings
    from pyroipc.wire.dialect import OtherDialectError

AUTO = "auto"
"""Find out."""
_KNOWN_MAX = 1000
_known: dict[str, str] = {}


def chosen(dialect: str | None, settings: Settings) -> str:
    """Return the dialect that a user means, or AUTO; None: as the settings say.

    Raises:
        ValueError: there is none of that name.
    """
    found = settings.DIALECT if dialect is None else dialect
    if found != AUTO and found not in NAMES:
        raise ValueError(f"dialect must be {AUTO!r}, {', '.join(map(repr, NAMES))}, not {found!r}")
    return found


def first_guess(location: Location) -> str:
    """Return the dialect to begin with at an address."""
    return _known.get(str(location), NATIVE)


def learn(location: Location, error: OtherDialectError) -> str:
    """Return the dialect that a daemon speaks, according to its refusal; remember it.

    Raises:
        VersionMismatchError: nobody here speaks that version of it.
    """
    dialect = error.dialect
    if dialect is None:
        spoken = ", ".join(f"{version} ({name})" for name, version in VERSIONS.items())
        raise VersionMismatchError(
            f"{error}; this side speaks the versions {spoken}, and its own"
        ) from None
    if len(_known) >= _KNOWN_MAX:
        _known.pop(next(iter(_known)), None)
    _known[str(location)] = dialect
    return dialect


def forget(location: Location) -> None:
    """Begin anew with the daemon at an address: it may be another one by now."""
    if _known:
        _known.pop(str(location), None)

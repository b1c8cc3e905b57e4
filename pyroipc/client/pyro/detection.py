"""Which dialect the daemon at an address speaks.

Whoever does not know speaks the native one. A daemon of Pyro refuses that, and its refusal begins
with the version of its own protocol. What was found out is remembered for the address, until
connecting there fails, a connection breaks, or some minutes have passed: a daemon of pyroipc that
has taken the place of one of Pyro speaks its dialect, too, and refuses nobody.

With an HMAC key the refusal of a Pyro4 is believed only if that key has signed it, and what was
found out without that key does not count. Its signatures protect less than ours, so that an
attacker in between would like nothing better than two ends of ours that use them.
"""

from __future__ import annotations

from time import monotonic

from pyroipc.errors import ProtocolError, SecurityError, VersionMismatchError
from pyroipc.wire.dialect import NAMES, NATIVE, VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.location import Location
    from pyroipc.settings import Settings
    from pyroipc.wire.dialect import OtherDialectError

AUTO = "auto"
"""Find out."""
_KNOWN_MAX = 1000
_KNOWN_SECONDS = 600.0
# By location: the dialect, the key it was proven by, and until when to believe it.
_known: dict[str, tuple[str, bytes, float]] = {}
_REFUSAL = "invalid data or unsupported protocol version"
"""What a Pyro4 says to whoever speaks another dialect. No daemon of ours ever signs that."""


def chosen(dialect: str | None, settings: Settings) -> str:
    """Return the dialect that a user means, or AUTO; None: as the settings say.

    Raises:
        ValueError: there is none of that name.
    """
    found = settings.DIALECT if dialect is None else dialect
    if found != AUTO and found not in NAMES:
        raise ValueError(f"dialect must be {AUTO!r}, {', '.join(map(repr, NAMES))}, not {found!r}")
    return found


def first_guess(location: Location, hmac_key: bytes = b"") -> str:
    """Return the dialect to begin with at an address.

    Args:
        location: the address.
        hmac_key: what both ends have to know; empty: nothing.
    """
    dialect, key, until = _known.get(str(location), (NATIVE, hmac_key, 0.0))
    return dialect if key == hmac_key and monotonic() < until else NATIVE


def learn(location: Location, error: OtherDialectError, hmac_key: bytes = b"") -> str:
    """Return the dialect that a daemon speaks, according to its refusal; remember it.

    Args:
        location: of the daemon.
        error: says what it speaks.
        hmac_key: what has signed the refusal; empty: nothing.

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
    _known[str(location)] = dialect, hmac_key, monotonic() + _KNOWN_SECONDS
    return dialect


def check_signed(refusal: bytes, hmac_key: bytes) -> None:
    """Refuse to believe that a daemon is Pyro4 unless it has the key.

    Args:
        refusal: how it has answered to the native dialect.
        hmac_key: what both ends have to know.

    Raises:
        SecurityError: it does not show that it has the key.
    """
    problem = _doubt(refusal, hmac_key)
    if problem:
        raise SecurityError(
            f"the daemon answers as a Pyro4 does, but {problem}. If it is one, and has the same "
            "HMAC key, say so: dialect='pyro4', or the setting DIALECT"
        )


def _doubt(refusal: bytes, hmac_key: bytes) -> str:
    """Return why a refusal does not prove that its sender is a Pyro4 with the key; "": it does."""
    from pyroipc.serializers.marshal_reader import read
    from pyroipc.wire.message import BEFORE_HELLO, ERROR, INTRODUCTION, WELCOME
    from pyroipc.wire.native import Decoder
    from pyroipc.wire.pyro4 import Pyro4

    decoder = Decoder(BEFORE_HELLO)
    decoder.speak(Pyro4(serving=False, key=hmac_key))
    room = decoder.get_buffer()
    decoder.received = n_bytes = min(len(refusal), len(room))
    room[:n_bytes] = refusal[:n_bytes]
    try:
        message = decoder.advance()
        if message is None:
            return "says no more"
        if (message.kind, message.flags) != (WELCOME, ERROR | INTRODUCTION):
            return "in no way that one would"
        text = read(message.payload)
    except SecurityError as error:
        return f"is not known to have the key: {error}"
    except ProtocolError as error:
        return f"makes no sense: {error}"
    return "" if text == _REFUSAL else f"says something else: {text!r:.500}"


def forget(location: Location) -> None:
    """Begin anew with the daemon at an address: it may be another one by now."""
    if _known:
        _known.pop(str(location), None)

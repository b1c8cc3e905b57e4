"""The hello: what two sides tell each other before the first call.

A hello and a welcome carry lines of ``key=value`` in UTF-8. Unknown keys are ignored, so that
newer versions can say more. ``protocol`` is the version of the native dialect; the rest tells
people what they connected, and the other side what it may send.

=================  ==========================================================================
key                value
=================  ==========================================================================
library            name and version, such as ``pyroipc 0.1.0``
python             implementation and version, such as ``cpython 3.11.7``
protocol           the version of the native dialect
features           names of optional abilities, separated by commas
serializers        names of the serializers that the sender accepts, separated by commas
max-message-bytes  the largest message that the sender accepts
pid                process id of the sender
session            a random token of the sender's end, the same as long as that lives
cpus               bit mask of the CPUs that the sender may use, in hexadecimal
image              descent of the sender's interpreter: tells forks of one process apart
=================  ==========================================================================
"""

from __future__ import annotations

import os
import sys

from pyroipc import __version__
from pyroipc.errors import ProtocolError, VersionMismatchError
from pyroipc.protocol.compression import FEATURE
from pyroipc.wire.native import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyroipc.wire.message import Buffer

LIBRARY = f"pyroipc {__version__}"
PYTHON = f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}"
BUFFERS = "buffers"
"""How a peer says that it takes out-of-band buffers."""
DESCRIPTORS = "descriptors"
"""How a peer says that it takes descriptors beside messages."""
FEATURES = ("ping", FEATURE, BUFFERS)
_MAX_LINES = 64


class Hello:
    """The facts that one side tells about itself."""

    __slots__ = (
        "cpus",
        "features",
        "image",
        "library",
        "max_message_bytes",
        "pid",
        "protocol",
        "python",
        "serializers",
        "session",
    )

    def __init__(
        self,
        *,
        library: str = LIBRARY,
        python: str = PYTHON,
        protocol: int = VERSION,
        features: Iterable[str] = FEATURES,
        serializers: Iterable[str] = (),
        max_message_bytes: int = 0,
        pid: int | None = None,
        image: str = "",
        cpus: int = 0,
        session: str = "",
    ) -> None:
        self.library = library
        self.python = python
        self.protocol = protocol
        self.features = frozenset(features)
        self.serializers = frozenset(serializers)
        self.max_message_bytes = max_message_bytes
        self.pid = os.getpid() if pid is None else pid
        self.image = image
        self.cpus = cpus
        self.session = session

    def describe(self) -> str:
        """Say in words what this side is, for error messages."""
        return f"{self.library} (protocol {self.protocol}, {self.python}, process {self.pid})"

    def encode(self) -> bytes:
        """Make the payload of a hello or a welcome."""
        facts = {
            "library": self.library,
            "python": self.python,
            "protocol": self.protocol,
            "features": ",".join(sorted(self.features)),
            "serializers": ",".join(sorted(self.serializers)),
            "max-message-bytes": self.max_message_bytes,
            "pid": self.pid,
            "image": self.image,
            "cpus": f"{self.cpus:x}",
            "session": self.session,
        }
        return "".join(f"{key}={value}\n" for key, value in facts.items()).encode()

    @classmethod
    def decode(cls, payload: Buffer) -> Hello:
        """Read the payload of a hello or a welcome.

        Raises:
            ProtocolError: it is not of this form.
            VersionMismatchError: the peer speaks another version; the text names both sides.
        """
        try:
            lines = bytes(payload).decode().split("\n", _MAX_LINES)[:_MAX_LINES]
            facts = dict(line.split("=", 1) for line in lines if line)
            hello = cls(
                library=_same(LIBRARY, facts["library"]),
                python=_same(PYTHON, facts["python"]),
                protocol=_number(facts["protocol"], 1 << 32),
                features=_names(facts.get("features", "")),
                serializers=_names(facts.get("serializers", "")),
                max_message_bytes=_number(facts.get("max-message-bytes", "0"), 1 << 64),
                pid=_number(facts.get("pid", "0"), 1 << 31),
                image=facts.get("image", ""),
                cpus=_number(facts.get("cpus", "0"), 1 << 16384, base=16),
                session=facts.get("session", ""),
            )
        except (ValueError, KeyError) as error:
            raise ProtocolError(f"the peer's hello cannot be read: {error!r}") from None
        if hello.protocol != VERSION:
            raise VersionMismatchError(
                f"this side is {cls().describe()}, the peer is {hello.describe()}; "
                "install the same major version of pyroipc on both"
            )
        return hello


def _same(ours: str, theirs: str) -> str:
    """Return a text that a peer sent; our own object if it is the same."""
    return ours if ours == theirs else theirs


_known_texts: dict[str, frozenset[str]] = {}
_KNOWN_MAX = 64


def _names(text: str) -> frozenset[str]:
    """Return the names in a list; the same object for the same text, for the peers are many."""
    names = _known_texts.get(text)
    if names is None:
        names = frozenset(name for name in text.split(",") if name)
        if len(_known_texts) < _KNOWN_MAX and len(text) < 1000:
            _known_texts[text] = names
    return names


def _number(text: str, limit: int, base: int = 10) -> int:
    number = int(text, base)
    if not 0 <= number < limit:
        raise ValueError(f"{text[:40]} is out of range")
    return number

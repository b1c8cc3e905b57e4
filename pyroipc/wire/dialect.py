"""What a dialect is: the way in which the messages of one kind of peer look as bytes.

There are three. The native one (:mod:`pyroipc.wire.native`) is what two ends of pyroipc speak;
:mod:`pyroipc.wire.pyro5` and :mod:`pyroipc.wire.pyro4` are those of the libraries of these names.
All begin with the letters ``PYRO`` and a version, so that the first six bytes of a stream tell
which one it is:

================  ==========  ================================================================
bytes             dialect
================  ==========  ================================================================
``PYRO`` I 01     native      version 1
``PYRO`` 01 F6    pyro5       version 502
``PYRO`` 00 30    pyro4       version 48
================  ==========  ================================================================

A decoder that finds another dialect than its own raises :class:`OtherDialectError`, and can be
told to speak that one; the bytes that it has are then read again.
"""

from __future__ import annotations

from pyroipc.errors import ProtocolError, VersionMismatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from pyroipc.wire.message import Buffer, Limits, Message

    class Layout(Protocol):
        """Where the parts of one frame lie, every size checked against the limits."""

        total: int
        """The size of the frame."""
        table_stop: int
        """Where what has to be read before the size is known ends."""

        @property
        def is_plain(self) -> bool:
            """Whether there is nothing but a payload, in a frame of the native dialect."""
            ...

        def read_table(self, head: memoryview, limits: Limits) -> None:
            """Read what stands before ``table_stop``."""

        def message(self, frame: memoryview) -> Message:
            """Cut the message out of a complete frame; its parts are views of it."""
            ...

    class Dialect(Protocol):
        """How a decoder takes a stream apart."""

        header_bytes: int
        """How much of a frame has to be there before it has a layout."""

        def may_be_ours(self, head: bytearray) -> bool:
            """Say whether these first bytes of a frame can be of this dialect."""
            ...

        def foreign(self, head: bytes) -> ProtocolError:
            """Return the error that says what such bytes are."""
            ...

        def layout(self, head: Buffer, limits: Limits) -> Layout:
            """Say where the parts of a frame lie whose header this is."""
            ...


MAGIC = b"PYRO"
NATIVE = "native"
PYRO5 = "pyro5"
PYRO4 = "pyro4"
NAMES = (NATIVE, PYRO5, PYRO4)
"""The dialects, by the names that users give them."""
VERSIONS: Mapping[str, int] = {PYRO5: 502, PYRO4: 48}
"""The versions of Pyro's protocol that are spoken here."""
SIGNATURES: Mapping[str, bytes] = {
    name: MAGIC + version.to_bytes(2, "big") for name, version in VERSIONS.items()
}
"""How a stream of each of Pyro's dialects begins."""
HEAD_BYTES = 6
"""So many bytes tell the dialect."""
_OURS = ord("I")
_SEALED = ord("H")
_PYRO5_VERSIONS = range(500, 600)


class OtherDialectError(VersionMismatchError):
    """The peer speaks another dialect than was expected.

    Attributes:
        version: that of Pyro's protocol which it speaks; None: it speaks the native one.
    """

    def __init__(self, text: str, version: int | None = None) -> None:
        super().__init__(text)
        self.version = version

    @property
    def dialect(self) -> str | None:
        """The name of the dialect; None: one that nobody here speaks."""
        version = self.__dict__.get("version")
        if version is None:
            return NATIVE
        return next((name for name, known in VERSIONS.items() if known == version), None)


class Closed:
    """Stands for the native dialect where that is not accepted: takes no stream apart.

    Args:
        accepted: the names of the dialects that are.
    """

    __slots__ = ("_accepted",)

    header_bytes = HEAD_BYTES

    def __init__(self, accepted: Iterable[str]) -> None:
        self._accepted = tuple(accepted)

    def may_be_ours(self, head: bytearray) -> bool:
        """Say whether more is needed to know what this is."""
        return len(head) < HEAD_BYTES and MAGIC.startswith(head[:4])

    def foreign(self, head: bytes) -> ProtocolError:
        """Return the error that says what such bytes are.

        A client of our own is answered as one of Pyro would be: so it learns what is spoken here.
        """
        version = version_of(head)
        if version is None:
            version = VERSIONS.get(self._accepted[0], VERSIONS[PYRO5])
            return OtherDialectError("this daemon does not speak the native dialect", version)
        return OtherDialectError(f"the peer speaks {named(version)}", version)

    def layout(self, head: Buffer, limits: Limits) -> Layout:
        """Never called: nothing is of this dialect.

        Raises:
            ProtocolError: always.
        """
        raise self.foreign(bytes(head))


def is_pyro(head: bytes | bytearray) -> bool:
    """Say whether a stream begins like one of Pyro, or may yet turn out to."""
    return head[:4] == MAGIC and (len(head) == 4 or head[4] not in (_OURS, _SEALED))


def may_begin(signature: bytes, head: bytes | bytearray) -> bool:
    """Say whether a frame that begins like this can be of the dialect with this signature.

    Five bytes of another dialect can be, too: with one more it is known which of them it is.
    """
    return signature.startswith(head[:HEAD_BYTES]) or (len(head) == 5 and is_pyro(head))


def version_of(head: bytes | bytearray) -> int | None:
    """Return the version of Pyro's protocol that a stream begins with; None: it is none of it."""
    if len(head) < HEAD_BYTES or not is_pyro(head):
        return None
    return int.from_bytes(head[4:6], "big")


def named(version: int) -> str:
    """Say which library speaks a version of Pyro's protocol."""
    if version in _PYRO5_VERSIONS:
        return f"Pyro5 (protocol version {version})"
    if 40 <= version < 500:
        return f"Pyro4 (protocol version {version})"
    return f"Pyro's protocol version {version}"

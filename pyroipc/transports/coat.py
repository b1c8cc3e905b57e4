"""What a coat is: plain bytes into protected ones and back, with no socket inside.

There are two, TLS (:mod:`pyroipc.transports.tls`) and signed records
(:mod:`pyroipc.transports.seal`). A :class:`~pyroipc.transports.coated.CoatedSocket` puts one over
a socket, stores in its attributes what the system calls did, and waits for nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview
    Refusal: TypeAlias = bytes | Callable[[bytes], bytes]

CHUNK_BYTES = 64 << 10
"""How many plain bytes a coat takes at once, and about how many raw ones it is given at once."""
_NO_BYTES = memoryview(b"")
# The layout of a frame is the business of pyroipc.wire.native; this much of it is needed here.
_SIGNATURE = b"PYROI\x01"
_GOODBYE = b"\x06"
_HEADER_BYTES = 36
_GOODBYE_BYTES = 1024


class Coat:
    """The state of one end, and the contract of its transformations; none of them waits.

    Whoever holds it, a :class:`CoatedSocket`, lets one thread at a time into the methods.
    """

    name = "coat"
    """What users call it, for texts of errors."""

    __slots__ = (
        "arrived",
        "ended",
        "handshake_done",
        "hungry",
        "outgoing",
        "outgoing_start",
        "plain",
        "plain_start",
        "taken",
        "wanted",
    )

    def __init__(self) -> None:
        self.handshake_done = False
        self.arrived: bytes | int = 0
        """Raw bytes from the peer, stored here by the reader; empty ones are the end of the
        stream. A number says that there are none, or that they were digested."""
        self.wanted = CHUNK_BYTES
        """How many raw bytes the reader may store in ``arrived``."""
        self.hungry = True
        """Nothing can be done before more raw bytes arrive."""
        self.plain = _NO_BYTES
        """Plain bytes for the reader, who counts in ``plain_start`` how many he has taken."""
        self.plain_start = 0
        self.ended = False
        """The peer has said that nothing comes any more."""
        self.outgoing = b""
        """Raw bytes for the peer; ``outgoing_start`` counts how many of them were sent."""
        self.outgoing_start = 0
        self.taken = 0
        """How many bytes the last write took. The writer sets it to 0 when they were sent."""

    def advance(self) -> bool:
        """Digest what arrived, go on with the handshake, and make plain bytes if none are left.

        Returns:
            Whether there are plain bytes, or the end. If not, more raw bytes are needed.

        Raises:
            SecurityError: the peer is not who it should be, or bytes were changed on the way.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended where it may not.
        """
        raise NotImplementedError

    def write(self, data: memoryview) -> None:
        """Take plain bytes: all of them, or by raising none.

        To be called when the handshake is done and nothing is outgoing. Leaves in ``taken`` how
        many there were.

        Args:
            data: at most CHUNK_BYTES, and at least one.
        """
        raise NotImplementedError

    def collect(self) -> None:
        """Move raw bytes that are still inside to ``outgoing``; settle what was interrupted."""

    def farewell(self) -> None:
        """Make the raw bytes that tell the peer that nothing comes any more, if possible."""


def refusal_to(refusal: Refusal, head: bytes) -> bytes:
    """Return the raw bytes for a client that wears no coat, and began with ``head``."""
    return refusal if isinstance(refusal, bytes) else refusal(head)


def native_goodbye(head: bytes, *, ended: bool) -> str | None:
    """Read why a peer without a coat says goodbye, in case it does.

    Args:
        head: the first raw bytes that it sent.
        ended: nothing comes any more.

    Returns:
        Text to put behind an error's own: empty if the bytes are no goodbye of the native dialect;
        None if more bytes are needed to know.
    """
    start = head[: len(_SIGNATURE)]
    if not _SIGNATURE.startswith(start):
        return ""
    if len(head) < _HEADER_BYTES:
        return "" if ended or head[6:7] not in {b"", _GOODBYE} else None
    if head[6:7] != _GOODBYE:
        return ""
    n_bytes = min(int.from_bytes(head[28:36], "big"), _GOODBYE_BYTES)
    reason = head[_HEADER_BYTES : _HEADER_BYTES + n_bytes]
    if len(reason) < n_bytes and not ended:
        return None
    return f"; it says: {reason.decode(errors='replace')}"


def gather(buffers: Iterable[Buffer]) -> memoryview:
    """Return the first bytes of the pieces as one, at most CHUNK_BYTES; joined if need be."""
    parts: list[memoryview] = []
    room = CHUNK_BYTES
    for buffer in buffers:
        part = memoryview(buffer).cast("B")[:room]
        if part:
            parts.append(part)
            room -= len(part)
            if not room:
                break
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

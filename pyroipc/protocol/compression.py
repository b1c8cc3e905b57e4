"""Compressed payloads: a zlib stream in place of the payload, marked by the flag COMPRESSED.

Only payloads are compressed, and only if that makes them smaller; headers, annotations and
buffers are not. Whoever unpacks says beforehand how large the result may be at most, and no more
memory than that is taken, whatever the stream holds. A stream that is cut off, or followed by
something else, is an error.
"""

from __future__ import annotations

from pyroipc.errors import MessageTooLargeError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.wire.message import Buffer

FEATURE = "compression"
"""How a peer says in its hello that it understands this."""
_LEVEL = 4  # as in Pyro: the higher ones take much longer for little


def compress(payload: Buffer) -> bytes | None:
    """Return the payload compressed, or None if that is no smaller."""
    import zlib  # when it is first needed

    packed = zlib.compress(payload, _LEVEL)
    return packed if len(packed) < len(payload) else None


def decompress(payload: Buffer, limit_bytes: int) -> bytes:
    """Return what a compressed payload holds.

    Args:
        payload: what :func:`compress` returned.
        limit_bytes: how large the result may be.

    Raises:
        MessageTooLargeError: it is larger.
        ProtocolError: this is no whole zlib stream, or there is something behind it.
    """
    import zlib

    stream = zlib.decompressobj()
    try:
        found = stream.decompress(payload, limit_bytes + 1)
    except zlib.error as error:
        raise ProtocolError(f"a compressed payload cannot be unpacked: {error}") from None
    if len(found) > limit_bytes:
        raise MessageTooLargeError(
            f"a payload of {len(payload)} bytes unpacks to more than the {limit_bytes} bytes that "
            "a message may have; MAX_MESSAGE_SIZE raises this limit"
        )
    if not stream.eof or stream.unused_data:
        raise ProtocolError("a compressed payload is cut off, or something follows it")
    return found

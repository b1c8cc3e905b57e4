"""Messages for tests: made by hypothesis, taken apart for comparison, fed to a decoder."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from hypothesis import strategies as st

from pyroipc.errors import ProtocolError
from pyroipc.wire.message import (
    BATCH,
    BLOB,
    COMPRESSED,
    DATA,
    END,
    ERROR,
    KINDS,
    ONEWAY,
    REFUSED,
    STREAM,
    FullMessage,
    Limits,
    Message,
)
from pyroipc.wire.native import Decoder, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FREE_FLAGS = ERROR | ONEWAY | BATCH | STREAM | BLOB | COMPRESSED | REFUSED | END
"""The flags that a sender may set at will: they do not say that a section follows."""


class Facts(NamedTuple):
    """All that a message says, in comparable form."""

    kind: int
    serializer_id: int
    flags: int
    request_id: int
    payload: bytes
    annotations: dict[str, bytes]
    correlation_id: bytes | None
    time_limit: float | None
    buffers: list[bytes]
    descriptors: int


def facts_of(message: Message) -> Facts:
    """Copy what a message says; flags without those that only announce a section."""
    return Facts(
        message.kind,
        message.serializer_id,
        message.flags & FREE_FLAGS,
        message.request_id,
        bytes(message.payload),
        {key: bytes(value) for key, value in (message.annotations or {}).items()},
        message.correlation_id,
        message.time_limit,
        [bytes(buffer) for buffer in message.buffers],
        message.descriptors,
    )


def frame(message: Message) -> bytes:
    """Encode a message into one piece."""
    return b"".join(encode(message))


def plain(
    kind: int, request_id: int, payload: bytes, serializer: int = 3, flags: int = 0
) -> bytes:
    """Encode a message without sections into one piece."""
    return frame(Message(kind, serializer, flags, request_id, payload))


def write(decoder: Decoder, data: bytes | memoryview) -> int:
    """Receive as much of ``data`` as one receive would; return how much that was."""
    room = decoder.get_buffer()
    assert len(room) > 0, "the decoder lends no memory"
    size = min(len(room), len(data))
    room[:size] = data[:size]
    decoder.received = size
    return size


def feed(decoder: Decoder, pieces: Iterable[bytes]) -> list[Facts]:
    """Feed pieces as a reader does, and return the messages that came out."""
    found = []
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[write(decoder, rest) :]
            while (message := decoder.advance()) is not None:
                found.append(facts_of(message))
    return found


def outcome(limits: Limits, pieces: Iterable[bytes]) -> tuple[list[Facts], type | None]:
    """Feed pieces; return the messages before the first error, and the class of the error."""
    decoder = Decoder(limits)
    found: list[Facts] = []
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[write(decoder, rest) :]
                while (message := decoder.advance()) is not None:
                    found.append(facts_of(message))
            except ProtocolError as error:
                return found, type(error)
    return found, None


def splits(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut data at these offsets (taken modulo its length)."""
    offsets = sorted({cut % (len(data) + 1) for cut in cuts})
    edges = [0, *offsets, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if b > a]


def bytewise(data: bytes) -> list[bytes]:
    """Cut data into single bytes."""
    return [data[i : i + 1] for i in range(len(data))]


payloads = st.binary(max_size=200)
annotation_ids = st.text(st.characters(min_codepoint=0, max_codepoint=127), min_size=4, max_size=4)
buffers = st.one_of(
    st.binary(max_size=100),
    st.binary(max_size=100).map(bytearray),
    st.binary(max_size=100).map(memoryview),
)

KINDS_OF_MESSAGES = sorted(set(KINDS) - {DATA})  # data are parts of one

plain_messages = st.builds(
    Message,
    st.sampled_from(KINDS_OF_MESSAGES),
    st.integers(0, 255),
    st.integers(0, FREE_FLAGS).map(lambda flags: flags & FREE_FLAGS),
    st.integers(0, 0xFFFFFFFF),
    payloads,
)
full_messages = st.builds(
    FullMessage,
    st.sampled_from(KINDS_OF_MESSAGES),
    st.integers(0, 255),
    st.integers(0, FREE_FLAGS).map(lambda flags: flags & FREE_FLAGS),
    st.integers(0, 0xFFFFFFFF),
    buffers,
    annotations=st.none() | st.dictionaries(annotation_ids, buffers, max_size=4),
    correlation_id=st.none() | st.binary(min_size=16, max_size=16),
    time_limit=st.none() | st.integers(0, 10**12).map(lambda n: n / 1e6),
    buffers=st.lists(buffers, max_size=4),
    descriptors=st.integers(0, 0xFFFF),
)
messages = plain_messages | full_messages

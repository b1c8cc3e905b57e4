"""What takes the messages that no thread waits for."""

from __future__ import annotations

import pytest

from pyroipc.client.waiters import Chunks
from pyroipc.errors import ConnectionClosedError, ProtocolError
from pyroipc.protocol.calls import STREAM_WINDOW
from pyroipc.wire.message import ITEM, Message


def chunk(payload: bytes = b"") -> Message:
    return Message(ITEM, 3, 0, 1, payload)


def test_chunks_in_order():
    chunks = Chunks()
    assert not chunks.is_ready
    first, second = chunk(b"1"), chunk(b"2")
    chunks.deliver(first)
    chunks.deliver(second)
    assert chunks.is_ready
    assert (chunks.take(), chunks.take()) == (b"1", b"2")
    assert not chunks.is_ready


def test_a_chunk_that_is_delivered_again():
    """A signal handler has raised while it was delivered: it comes once more, taken or not."""
    chunks = Chunks()
    first, second = chunk(b"1"), chunk(b"2")
    chunks.deliver(first)
    chunks.deliver(first)
    assert chunks.take() == b"1"
    chunks.deliver(first)
    assert not chunks.is_ready
    chunks.deliver(second)
    assert chunks.take() == b"2"
    assert first.payload == second.payload == b"", "what was taken is not kept"


def test_more_than_the_window():
    chunks = Chunks()
    for _ in range(STREAM_WINDOW + 1):  # the end comes beyond it
        chunks.deliver(chunk())
    with pytest.raises(ProtocolError, match="more items than"):
        chunks.deliver(chunk())


def test_failure_comes_after_what_has_arrived():
    chunks = Chunks()
    chunks.deliver(chunk(b"1"))
    chunks.fail(ConnectionClosedError("gone"))
    assert chunks.is_ready
    assert chunks.take() == b"1"
    assert chunks.is_ready
    assert isinstance(chunks.error, ConnectionClosedError)

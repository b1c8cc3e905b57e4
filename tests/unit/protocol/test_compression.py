"""Compression is bounded: a small payload that unpacks to a huge one takes no memory."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.protocol.calls import CallCodec
from pyroipc.protocol.compression import compress, decompress
from pyroipc.serializers import table
from pyroipc.wire.message import COMPRESSED, NESTED, ONEWAY, REQUEST, Limits
from pyroipc.wire.native import Decoder

MIB = 1 << 20


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_there_and_back(data, times):
    payload = data * times
    packed = compress(payload)
    if packed is None:
        assert len(zlib.compress(payload, 4)) >= len(payload)
    else:
        assert len(packed) < len(payload)
        assert decompress(packed, len(payload)) == payload
        with pytest.raises(MessageTooLargeError, match="MAX_MESSAGE_SIZE"):
            decompress(packed, len(payload) - 1)


def test_a_bomb_takes_no_memory():
    bomb = zlib.compress(bytes(200 * MIB), 9)
    assert len(bomb) < MIB
    tracemalloc.start()
    with pytest.raises(MessageTooLargeError):
        decompress(bomb, MIB)
    assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    tracemalloc.stop()


@given(st.binary(max_size=200))
def test_only_our_errors(data):
    try:
        decompress(data, 1000)
    except ProtocolError:
        pass


def test_a_stream_that_is_cut_off_or_has_a_tail_is_refused():
    packed = compress(b"text " * 1000)
    for wrong in (packed[:-1], packed[: len(packed) // 2], packed + b"x", packed + packed, b""):
        with pytest.raises(ProtocolError):
            decompress(wrong, 1 << 20)


def message_of(encoded):
    decoder = Decoder(Limits(1 << 30))
    for part in encoded:
        view = memoryview(part)
        while view:
            room = decoder.get_buffer()
            decoder.received = n_bytes = min(len(room), len(view))
            room[:n_bytes] = view[:n_bytes]
            view = view[n_bytes:]
            message = decoder.advance()
    assert message is not None
    return message


@pytest.fixture
def codec():
    made = CallCodec(table.get("json"), limit_bytes=100_000)
    made.measure(50_000, 100)
    return made


@pytest.mark.parametrize(
    ("n_bytes", "flags", "is_packed"),
    [
        (99, 0, False),
        (100, 0, True),
        (50_000, ONEWAY, True),
        (50_001, 0, False),
        (200, NESTED, False),
    ],
)
def test_which_payloads_are_packed(codec, n_bytes, flags, is_packed):
    payload = b"a" * n_bytes
    message = message_of(codec.request(7, payload, flags=flags))
    assert message.kind == REQUEST
    assert bool(message.flags & COMPRESSED) == is_packed
    if is_packed:
        assert len(message.payload) < n_bytes
        codec.unpack(message)
        assert message.flags == flags
    assert bytes(message.payload) == payload


def test_what_does_not_get_smaller_stays_as_it_is(codec):
    payload = bytes(range(256))
    message = message_of(codec.response(7, payload))
    assert not message.flags & COMPRESSED
    assert bytes(message.payload) == payload


def test_small_payloads_below_the_bound_go_the_plain_way(codec):
    assert codec.plain_bytes == 99
    assert CallCodec(table.get("json")).plain_bytes == 16 << 10

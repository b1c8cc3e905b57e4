"""Out-of-band buffers on the wire: in chunks, with other messages between, whole or not at all."""

from __future__ import annotations

import struct
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.wire.message import (
    BEFORE_HELLO,
    DATA,
    END,
    ERROR,
    PAYLOAD,
    REQUEST,
    RESPONSE,
    FullMessage,
    Limits,
)
from pyroipc.wire.native import HEADER_BYTES, SIGNATURE, Decoder, encode
from pyroipc.wire.pyro4 import Pyro4
from pyroipc.wire.pyro5 import Pyro5
from tests.support.messages import (
    bytewise,
    facts_of,
    feed,
    frame,
    outcome,
    plain,
    plain_messages,
    splits,
    write,
)
from tests.support.searching import examples

ROOMY = Limits(1 << 30)
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)
long_messages = st.builds(
    FullMessage,
    st.sampled_from([REQUEST, RESPONSE]),
    st.integers(1, 31),
    st.just(0),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=50),
    annotations=st.none() | st.just({"ABCD": b"note"}),
    buffers=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
)


def header(kind, request_id, payload_bytes, flags=0, n_buffers=0):
    return struct.pack(
        ">6sBBHHIQIQ", SIGNATURE, kind, 0, flags, 0, n_buffers, 0, request_id, payload_bytes
    )


def lots(message, most_bytes):
    long = encode(message)
    long.chunk_bytes = most_bytes
    return [b"".join(long.chunk(number)) for number in range(long.count)]


@given(long_messages, st.integers(1, 400), st.lists(plain_messages, max_size=6), cuts)
def test_others_may_go_between_the_chunks(long, most_bytes, others, offsets):
    pieces, expected = [], []
    waiting = list(others)
    for lot in lots(long, most_bytes):
        pieces.append(lot)
        if waiting:
            expected.append(waiting.pop(0))
            pieces.append(frame(expected[-1]))
    # It is complete with its last chunk, before whatever comes then.
    expected.insert(max(0, len(lots(long, most_bytes)) - 1), long)
    expected = [facts_of(message) for message in expected]
    data = b"".join(pieces)
    assert sorted(feed(Decoder(ROOMY), [data])) == sorted(expected)
    assert feed(Decoder(ROOMY), splits(data, offsets)) == feed(Decoder(ROOMY), [data])
    assert feed(Decoder(ROOMY), pieces)[-1:] == feed(Decoder(ROOMY), bytewise(data))[-1:]


@given(long_messages, long_messages, st.integers(1, 400))
@examples(50)
def test_one_after_the_other(first, second, most_bytes):
    data = b"".join(lots(first, most_bytes) + lots(second, most_bytes))
    decoder = Decoder(ROOMY)
    assert feed(decoder, [data]) == [facts_of(first), facts_of(second)]
    assert not decoder.in_message


SIZES = [0, 1, 4096, (64 << 10) - 36, 64 << 10, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most_bytes", [1 << 16, 1 << 20, 1 << 30])
def test_sizes_around_the_thresholds(size, most_bytes):
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[content, b"x", content])
    after = plain(REQUEST, 6, b"next")
    data = b"".join(lots(sent, most_bytes))
    for pieces in (
        [data + after],
        [data[:-1], data[-1:] + after],
        [data[:100], data[100:], after],
    ):
        first, second = feed(Decoder(ROOMY), pieces)
        assert first == facts_of(sent)
        assert (second.request_id, second.payload) == (6, b"next")


def test_data_are_received_where_they_stay():
    landed = []

    class Landing:
        def __init__(self, form, n_bytes):
            landed.append((form, n_bytes))
            self.memory = bytearray(n_bytes)
            self.filled_by_hand = 0

        def room(self, filled):
            return memoryview(self.memory)[filled:]

        def finish(self):
            return self.memory

    n_bytes = 200_000
    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[bytes(n_bytes), b"y"], forms=b"\x07d")
    decoder = Decoder(ROOMY, land=Landing)
    (data,) = lots(sent, 1 << 20)
    used = write(decoder, data)
    assert decoder.advance() is None
    room = decoder.get_buffer()
    assert len(room) == n_bytes - (used - HEADER_BYTES * 2 - 16 - 4)
    assert landed == [(7, n_bytes)], "the second takes no memory before it comes"
    room[:] = data[used : used + len(room)]
    decoder.received = len(room)
    assert decoder.advance() is None
    decoder.get_buffer()[:1] = b"y"
    decoder.received = 1
    message = decoder.advance()
    assert message.buffers[0] is room.obj
    assert landed == [(7, n_bytes), (ord("d"), 1)]
    assert not decoder.in_message


def test_the_payload_may_come_as_a_buffer():
    form = bytes([PAYLOAD])
    sent = FullMessage(REQUEST, 3, 0, 5, b"", buffers=[b"p" * 5000, b"b"], forms=form + b"\0")
    (got,) = feed(Decoder(ROOMY), [b"".join(lots(sent, 1000))])
    assert (got.payload, got.buffers) == (b"p" * 5000, [b"b"])


def test_what_is_given_up_never_comes():
    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[bytes(5000)])
    first, *_ = lots(sent, 1000)
    end = encode(sent).give_up()
    again = frame(sent)
    decoder = Decoder(ROOMY)
    for data in (first + end + again, end[:0] + first + end + again):
        assert feed(decoder, [data]) == [facts_of(sent)]
        assert not decoder.in_message
    assert feed(Decoder(ROOMY), bytewise(first + end + again)) == [facts_of(sent)]


@pytest.mark.parametrize(
    "data",
    [
        header(DATA, 5, 10) + bytes(10),  # of nothing
        header(DATA, 5, 0, ERROR),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 5, 10),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 6, 9),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 5, 0),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 5, 9, END),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 5, 9, ERROR),
        header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9) + header(DATA, 5, 9, 0x40),
        header(REQUEST, 5, 0, n_buffers=1)
        + struct.pack(">Q", 9)
        + header(DATA, 5, 9, n_buffers=1),
        (header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9)) * 2,
    ],
)
def test_rules_of_data(data):
    assert outcome(ROOMY, [data]) == ([], ProtocolError)
    assert outcome(ROOMY, bytewise(data)) == ([], ProtocolError)


def test_buffers_before_the_hello_are_refused():
    data = header(REQUEST, 5, 0, n_buffers=1) + struct.pack(">Q", 9)
    assert outcome(BEFORE_HELLO, [data])[1] is MessageTooLargeError


def test_a_claim_takes_no_memory_and_is_checked_first():
    limits = Limits(100 << 20)
    table = struct.pack(">QQ", 60 << 20, 30 << 20)
    decoder = Decoder(limits)
    tracemalloc.start()
    try:
        write(decoder, header(REQUEST, 5, 0, n_buffers=2) + table)
        assert decoder.advance() is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    table = struct.pack(">QQ", 60 << 20, 41 << 20)
    with pytest.raises(MessageTooLargeError):
        feed(Decoder(limits), [header(REQUEST, 5, 0, n_buffers=2) + table])


def test_no_memory_is_a_typed_error():
    def land(form, n_bytes):
        raise MemoryError

    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[bytes(5000)])
    with pytest.raises(MessageTooLargeError, match="no memory for a buffer of 5000 bytes"):
        feed(Decoder(ROOMY, land=land), [frame(sent)])


def test_what_has_arrived_can_be_forgotten():
    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[bytes(500_000)])
    decoder = Decoder(ROOMY)
    feed(decoder, [frame(sent)[:200_000]])
    assert decoder.in_message
    decoder.forget()
    for use in (decoder.advance, decoder.get_buffer):
        with pytest.raises(ProtocolError, match="over"):
            use()


class Interrupted(Exception):
    pass


def test_it_never_loses_count_when_a_signal_handler_raises():
    """As Ctrl-C does, wherever the interpreter looks for signals."""
    sent = FullMessage(REQUEST, 3, 0, 5, b"call", buffers=[bytes(range(200)), b"", b"z" * 100])
    other = plain(RESPONSE, 9, b"other")
    first, second, *rest = lots(sent, 130)
    data = first + other + second + b"".join(rest) + other
    expected = feed(Decoder(ROOMY), [data])
    assert len(expected) == 3
    pieces = splits(data, [50, 100, 150, 300])
    for moment in range(1, 2000):
        if not interrupted_once(pieces, moment, expected):
            break
    assert 100 < moment < 1999


def interrupted_once(pieces, moment, expected):
    decoder = Decoder(ROOMY)
    found, count = [], 0

    def profile(frame, event, arg):
        nonlocal count
        # The interpreter looks for signals when a function begins, and when one in C has ended.
        if event != "return" and "pyroipc/wire" in frame.f_code.co_filename:
            count += 1
            if count == moment:
                sys.setprofile(None)
                raise Interrupted

    def advance():
        try:
            sys.setprofile(profile)
            try:
                message = decoder.advance()
            finally:
                sys.setprofile(None)
        except Interrupted:
            # As those do who receive.
            message = decoder.advance() if decoder.buffered or decoder.received else None
        return message

    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[write(decoder, rest) :]
            while (message := advance()) is not None:
                found.append(facts_of(message))
    assert found == expected, moment
    return count >= moment


@pytest.mark.parametrize("dialect", [Pyro5(serving=True), Pyro4(serving=True)])
def test_other_dialects_know_no_buffers(dialect):
    message = FullMessage(REQUEST, 1, 0, 7, b"call", buffers=[b"12345"])
    for bytes_of_ours in (b"".join(encode(message)), header(DATA, 7, 5) + b"12345"):
        decoder = Decoder(ROOMY)
        decoder.speak(dialect)
        with pytest.raises(ProtocolError):
            feed(decoder, [bytes_of_ours])
        assert decoder.filling is None


def test_a_message_that_waits_for_its_data_ends_with_its_dialect():
    decoder = Decoder(ROOMY)
    write(decoder, header(REQUEST, 7, 0, n_buffers=1) + struct.pack(">Q", 5))
    assert decoder.advance() is None
    assert decoder.in_message
    decoder.speak(Pyro5(serving=True))
    assert not decoder.in_message

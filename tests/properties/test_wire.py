"""The native dialect: what is encoded arrives, however cut; whatever arrives, nothing breaks."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.wire.message import BEFORE_HELLO, KINDS, REQUEST, FullMessage, Limits, Message
from pyroipc.wire.native import (
    HEADER_BYTES,
    JOIN_BYTES,
    SCRATCH_BYTES,
    SIGNATURE,
    VERSION,
    Decoder,
    encode,
    encode_plain,
    plain_prefix,
)
from tests.support.messages import (
    bytewise,
    facts_of,
    feed,
    frame,
    full_messages,
    messages,
    outcome,
    plain,
    plain_messages,
    splits,
    write,
)
from tests.support.searching import examples

ROOMY = Limits(1 << 30)
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)


def header(kind=REQUEST, serializer=3, flags=0, descriptors=0, n=0, notes=0, rid=1, payload=0):
    return struct.pack(
        ">6sBBHHIQIQ", SIGNATURE, kind, serializer, flags, descriptors, n, notes, rid, payload
    )


@given(st.lists(messages, min_size=1, max_size=5), cuts)
def test_messages_survive_any_split(sent, offsets):
    data = b"".join(frame(message) for message in sent)
    assert feed(Decoder(ROOMY), splits(data, offsets)) == [facts_of(message) for message in sent]


@given(messages)
@examples(50)
def test_a_message_survives_byte_by_byte(sent):
    decoder = Decoder(ROOMY)
    assert feed(decoder, bytewise(frame(sent))) == [facts_of(sent)]
    assert not decoder.in_message


@given(messages, messages)
@examples(50)
def test_whole_or_with_trailing_bytes_of_the_next(first, second):
    data, rest = frame(first), frame(second)
    for n in {0, 1, HEADER_BYTES - 1, len(rest) - 1}:
        decoder = Decoder(ROOMY)
        assert feed(decoder, [data + rest[:n]])[:1] == [facts_of(first)]
        assert decoder.in_message == (n > 0)
        assert feed(decoder, [rest[n:]]) == [facts_of(second)]
        assert not decoder.in_message


@given(plain_messages)
def test_the_short_way_makes_the_same_bytes(message):
    prefix = plain_prefix(message.kind, message.serializer_id, message.flags)
    assert encode_plain(prefix, message.request_id, message.payload) == frame(message)


@given(full_messages)
def test_a_decoded_message_is_encoded_to_the_same_bytes(message):
    data = frame(message)
    decoder = Decoder(ROOMY)
    assert write(decoder, data) == len(data)
    assert frame(decoder.advance()) == data


@given(messages)
def test_a_payload_is_never_overwritten(message):
    decoder = Decoder(ROOMY)
    write(decoder, frame(message))
    first = decoder.advance()
    before = facts_of(first)
    feed(decoder, [plain(REQUEST, 7, b"\xff" * 5000) * 3])
    assert facts_of(first) == before == facts_of(message)


THRESHOLDS = sorted(
    {
        0,
        1,
        *(size + step - fixed for size in (JOIN_BYTES, SCRATCH_BYTES) for step in (-1, 0, 1)
          for fixed in (0, HEADER_BYTES)),
        (1 << 20) - HEADER_BYTES,
        (1 << 20) - HEADER_BYTES + 1,
        (3 << 20) + 1,
    }
)  # fmt: skip


@pytest.mark.parametrize("eager_bytes", [0, 1 << 20, 1 << 30], ids=["grow", "default", "eager"])
@pytest.mark.parametrize("size", THRESHOLDS)
def test_sizes_around_the_thresholds(size, eager_bytes):
    payload = bytes(range(256)) * (size // 256 + 1)
    sent = Message(REQUEST, 3, 0, 5, payload[:size])
    data = frame(sent)
    after = plain(REQUEST, 6, b"next")
    limits = Limits(1 << 30, eager_bytes=eager_bytes)
    for pieces in ([data + after], [data[:-1], data[-1:] + after], [data[:36], data[36:], after]):
        first, second = feed(Decoder(limits), pieces)
        assert first == facts_of(sent)
        assert (second.request_id, second.payload) == (6, b"next")


@pytest.mark.parametrize("size", [size for size in THRESHOLDS if size <= SCRATCH_BYTES])
def test_every_section_around_the_thresholds(size):
    sent = FullMessage(
        REQUEST,
        3,
        0,
        5,
        b"p" * size,
        annotations={"ABCD": b"a" * size, "EFGH": b""},
        correlation_id=b"c" * 16,
        time_limit=1.5,
        buffers=[b"b" * size, b"", bytearray(size)],
        descriptors=3,
    )
    data = frame(sent)
    assert feed(Decoder(ROOMY), [data, data]) == [facts_of(sent)] * 2
    assert feed(Decoder(ROOMY), splits(data, [61, len(data) // 2])) == [facts_of(sent)]


def test_large_parts_are_not_copied_by_the_encoder():
    payload = bytes(JOIN_BYTES + 1)
    array = bytearray(1 << 20)
    long = encode(FullMessage(REQUEST, 3, 0, 1, payload, buffers=[array, b"tail"]))
    assert long.count == 2
    first, second = long.chunk(0), long.chunk(1)
    assert any(part is payload for part in first)
    assert any(isinstance(part, memoryview) and part.obj is array for part in first)
    head = HEADER_BYTES + 16
    assert [len(part) for part in first] == [head, len(payload), HEADER_BYTES, len(array)]
    assert [len(part) for part in second] == [HEADER_BYTES, 4]
    assert len(long) == head + len(payload) + len(array) + 4


def test_small_parts_are_joined_into_one():
    message = FullMessage(REQUEST, 3, 0, 1, b"p" * 5000, annotations={"ABCD": b"x" * 5000})
    assert len(encode(message)) == 1


def test_arrays_travel_as_their_bytes():
    numbers = memoryview(struct.pack("4d", 1, 2, 3, 4)).cast("d")
    (arrived,) = feed(Decoder(ROOMY), [frame(FullMessage(REQUEST, 3, 0, 1, numbers))])
    assert arrived.payload == numbers.tobytes()


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [HEADER_BYTES, 1000, SCRATCH_BYTES, SCRATCH_BYTES + 1, 1 << 20])
def test_the_limit_counts_the_whole_message(limit):
    for limits in (
        Limits(limit),
        Limits(limit, eager_bytes=0),
        Limits(limit, eager_bytes=1 << 30),
    ):
        data = plain(REQUEST, 1, bytes(limit - HEADER_BYTES))
        for pieces in ([data], [data[:30], data[30:]], [data, data]):
            assert outcome(limits, pieces)[1] is None
        over = plain(REQUEST, 1, bytes(limit - HEADER_BYTES + 1))
        for pieces in ([over], [over[:HEADER_BYTES]], [data, over]):
            assert outcome(limits, pieces)[1] is MessageTooLargeError


@pytest.mark.parametrize(
    "over",
    [
        header(payload=1001 - HEADER_BYTES),
        header(notes=1001 - HEADER_BYTES),
        header(n=1, payload=1001 - HEADER_BYTES - 8),
        header(flags=0x40, payload=1001 - HEADER_BYTES - 16),
        header(flags=0x80, payload=1001 - HEADER_BYTES - 8),
        header(n=1) + struct.pack(">Q", 1001 - HEADER_BYTES - 8),
        header(n=2) + struct.pack(">QQ", 500, 501 - HEADER_BYTES - 16),
        header(n=1) + struct.pack(">Q", (1 << 64) - 1),
        header(payload=(1 << 64) - 1, notes=(1 << 64) - 1),
    ],
)
def test_every_part_counts(over):
    limits = Limits(1000)
    assert outcome(limits, [over])[1] is MessageTooLargeError
    assert outcome(limits, bytewise(over))[1] is MessageTooLargeError


def test_the_error_names_the_setting():
    decoder = Decoder(Limits(100, setting="MAX_MESSAGE_SIZE"))
    write(decoder, header(payload=1000))
    with pytest.raises(MessageTooLargeError, match=r"1036 bytes.*100.*MAX_MESSAGE_SIZE"):
        decoder.advance()


def test_number_of_buffers_is_limited():
    limits = Limits(1 << 20, buffers=3)
    assert outcome(limits, [header(n=4)])[1] is MessageTooLargeError
    sent = FullMessage(REQUEST, 3, 0, 1, b"", buffers=[b"1", b"2", b"3"])
    assert outcome(limits, [frame(sent)]) == ([facts_of(sent)], None)


def test_most_buffers_that_are_allowed_by_default():
    sent = FullMessage(REQUEST, 3, 0, 1, b"x", buffers=[b"b"] * Limits().buffers)
    assert feed(Decoder(Limits()), splits(frame(sent), [100, 5000])) == [facts_of(sent)]


def test_limits_may_change_between_messages():
    decoder = Decoder(BEFORE_HELLO)
    data = plain(REQUEST, 1, bytes(BEFORE_HELLO.message_bytes))
    decoder.limits = ROOMY
    assert len(feed(decoder, [data])) == 1
    decoder.limits = Limits(1000)
    with pytest.raises(MessageTooLargeError):
        feed(decoder, [data])


@pytest.mark.parametrize("known", [False, True], ids=["first", "after a plain one"])
def test_a_claim_without_data_takes_no_memory(known):
    limits = Limits()
    decoder = Decoder(limits)
    if known:
        feed(decoder, [plain(REQUEST, 1, b"warm"), plain(REQUEST, 2, b"warm")])
    claim = header(payload=limits.message_bytes - HEADER_BYTES)
    tracemalloc.start()
    try:
        write(decoder, claim)
        assert decoder.advance() is None
        decoder.get_buffer()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limits.eager_bytes + (64 << 10)


def test_memory_grows_with_what_arrives():
    limits = Limits(64 << 20)
    decoder = Decoder(limits)
    data = header(payload=limits.message_bytes - HEADER_BYTES) + bytes(3 << 20)
    tracemalloc.start()
    try:
        assert feed(decoder, [data]) == []
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held <= 8 << 20


# --- whatever the bytes -----------------------------------------------------------------------

small = Limits(2000, buffers=8)
headers = st.builds(
    header,
    kind=st.integers(0, 255),
    serializer=st.integers(0, 255),
    flags=st.integers(0, 0xFFFF) | st.sampled_from([0, 0x40, 0x80, 0xC0]),
    descriptors=st.integers(0, 0xFFFF),
    n=st.integers(0, 10) | st.integers(0, 0xFFFFFFFF),
    notes=st.integers(0, 100) | st.integers(0, (1 << 64) - 1),
    payload=st.integers(0, 100) | st.integers(0, (1 << 64) - 1),
)
hostile = st.lists(
    st.binary(max_size=100) | headers | messages.map(frame), min_size=1, max_size=6
).map(b"".join)


@given(hostile, cuts)
@examples(300)
@example(b"GET / HTTP/1.1\r\n\r\n", [])
def test_any_bytes_give_messages_or_a_protocol_error(data, offsets):
    whole = outcome(small, [data])
    assert outcome(small, splits(data, offsets)) == whole
    assert outcome(small, bytewise(data)) == whole


@st.composite
def mutated(draw):
    data = bytearray(frame(draw(messages)) + frame(draw(messages)))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(mutated(), cuts)
@examples(300)
def test_mutated_frames_give_the_same_however_they_are_cut(data, offsets):
    assert outcome(small, splits(data, offsets)) == outcome(small, [data])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GET / HTTP/1.1\r\n", "not bytes of a Pyro peer"),
        (b"\x16\x03\x01\x02", "TLS"),
        (b"SSH-2.0-OpenSSH", "not bytes of a Pyro peer"),
        (b"PYRO\x01\xf6" + bytes(40), "version 502"),
        (b"PYROI" + bytes([VERSION + 1, REQUEST]), f"version {VERSION + 1}"),
        (b"\x00", "not bytes"),
    ],
)
def test_wrong_first_bytes_are_refused_at_once(data, said):
    decoder = Decoder(BEFORE_HELLO)
    with pytest.raises(ProtocolError, match=said):
        feed(decoder, [data])
    for byte in range(1, len(data) + 1):
        if outcome(BEFORE_HELLO, [data[:byte]])[1] is not None:
            break
    assert byte <= 7, "the first bytes that cannot be ours were not enough"
    assert not SIGNATURE.startswith(data[:byte]) or byte == 7


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(KINDS)))
def test_unknown_kinds_are_refused(kind):
    assert outcome(small, [header(kind=kind)])[1] is ProtocolError


@pytest.mark.parametrize("flag", [0x0800, 0x1000, 0x4000, 0x8000])
def test_unknown_flags_are_refused(flag):
    assert outcome(small, [header(flags=flag)])[1] is ProtocolError


@pytest.mark.parametrize(
    "area",
    [
        b"ABC",
        b"ABCD" + bytes(7),
        b"ABCD" + struct.pack(">Q", 1),
        b"ABCD" + struct.pack(">Q", (1 << 64) - 1) + b"x",
        b"ABC\xff" + struct.pack(">Q", 0),
        b"ABCD" + struct.pack(">Q", 0) + b"E",
    ],
)
def test_broken_annotations_are_refused(area):
    assert outcome(small, [header(notes=len(area)) + area])[1] is ProtocolError


def test_an_error_stays():
    decoder = Decoder(small)
    with pytest.raises(ProtocolError) as first:
        feed(decoder, [plain(REQUEST, 1, b"fine"), b"x" * 36])
    for _ in range(2):
        with pytest.raises(ProtocolError) as again:
            decoder.advance()
        assert str(again.value) == str(first.value)


@pytest.mark.parametrize(
    "message",
    [
        FullMessage(REQUEST, 3, 0, 1, b"", annotations={"ABC": b""}),
        FullMessage(REQUEST, 3, 0, 1, b"", annotations={"ABCDE": b""}),
        FullMessage(REQUEST, 3, 0, 1, b"", annotations={"ABCä": b""}),
        FullMessage(REQUEST, 3, 0, 1, b"", correlation_id=b"short"),
        FullMessage(REQUEST, 3, 0, 1, b"", descriptors=1 << 16),
        Message(256, 3, 0, 1, b""),
        Message(REQUEST, 256, 0, 1, b""),
        Message(REQUEST, 3, 0, 1 << 32, b""),
        Message(REQUEST, 3, 0, -1, b""),
    ],
)
def test_what_has_no_place_in_a_frame_is_refused(message):
    with pytest.raises(ProtocolError):
        encode(message)


@pytest.mark.parametrize(
    ("seconds", "arrives"),
    [(0.0, 0.0), (-5.0, 0.0), (1e-6, 1e-6), (65.597833, 65.597833), (1e300, 2.0**63 / 1e6),
     (float("inf"), 2.0**63 / 1e6), (float("nan"), 0.0)],
)  # fmt: skip
def test_time_limits_are_kept_in_range(seconds, arrives):
    (got,) = feed(Decoder(ROOMY), [frame(FullMessage(REQUEST, 3, 0, 1, b"", time_limit=seconds))])
    assert got.time_limit == arrives

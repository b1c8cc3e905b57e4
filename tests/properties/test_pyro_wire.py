"""Pyro4 and Pyro5 dialects: what is sent arrives, at theirs too, and nonsense breaks nothing."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from Pyro5 import protocol

from pyroipc.errors import MessageTooLargeError, ProtocolError, SecurityError
from pyroipc.wire import message as ours
from pyroipc.wire.dialect import Closed, OtherDialectError
from pyroipc.wire.message import BEFORE_HELLO, Limits
from pyroipc.wire.native import SCRATCH_BYTES, Decoder
from tests.support.messages import annotation_ids, bytewise, splits, write
from tests.support.pyro_frames import (
    ANSWERED,
    CONNECT,
    INVOKE,
    KINDS,
    PING,
    PYRO4,
    PYRO5,
    RESULT,
    ROOMY,
    SERVED,
    TYPES,
    Tape,
    decoded,
    outcome,
    pyro4_module,
    said,
)
from tests.support.searching import examples

both = pytest.mark.parametrize("dialect", KINDS, ids=lambda kind: kind.name)
both_roles = pytest.mark.parametrize("serving", [True, False], ids=["server", "client"])
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)
KEY = b"a key"

# ------------------------------------------------------------------- messages of one end

_SENT = {
    # What the client sends, with the flags that mean something, and what the server does.
    True: (
        (ours.REQUEST, ours.INTRODUCTION, ours.COMPRESSED),
        (ours.REQUEST, 0, ours.ONEWAY | ours.BATCH | ours.BLOB | ours.COMPRESSED),
        (ours.PING, 0, 0),
    ),
    False: (
        (ours.WELCOME, ours.INTRODUCTION, ours.COMPRESSED),
        (ours.WELCOME, ours.INTRODUCTION | ours.ERROR, ours.COMPRESSED),
        (ours.RESPONSE, 0, ours.ERROR | ours.BATCH | ours.COMPRESSED),
        (ours.RESPONSE, ours.STREAM, ours.BATCH | ours.COMPRESSED),
        (ours.PONG, 0, 0),
    ),
}


@st.composite
def messages(draw, *, to_server, number_max=255):
    """Make the arguments of ``encode``, for an end that serves, or for a client."""
    kind, fixed, free = draw(st.sampled_from(_SENT[to_server]))
    return (
        kind,
        draw(st.integers(0, number_max)),
        fixed | draw(st.integers(0, free)) & free,
        draw(st.integers(0, 0xFFFF)),
        draw(st.binary(max_size=300)),
        draw(
            st.dictionaries(annotation_ids.filter(_is_free), st.binary(max_size=100), max_size=4)
        ),
        draw(st.none() | st.binary(min_size=16, max_size=16)),
    )


def _is_free(name):
    return name not in {"CORR", "HMAC"}


def facts_of(sent):
    """Return what the receiver of a message is to find."""
    return (*sent, None, [], 0)


def encoded(dialect, sent, *, serving, key=b""):
    """Encode a message for an end that serves, or for a client."""
    return b"".join(dialect.dialect(serving=not serving, key=key).encode(*sent))


@both
@both_roles
@given(data=st.data(), offsets=cuts)
def test_messages_survive_any_split(dialect, serving, data, offsets):
    key = data.draw(st.sampled_from([b"", KEY])) if dialect is PYRO4 else b""
    sent = data.draw(st.lists(messages(to_server=serving), min_size=1, max_size=5))
    frames = b"".join(encoded(dialect, one, serving=serving, key=key) for one in sent)
    decoder = dialect.decoder(serving=serving, key=key)
    assert decoded(decoder, splits(frames, offsets)) == [facts_of(one) for one in sent]
    assert not decoder.in_message


@both
@both_roles
@given(data=st.data())
@examples(30)
def test_a_message_survives_byte_by_byte_and_with_trailing_bytes(dialect, serving, data):
    first, second = (data.draw(messages(to_server=serving)) for _ in range(2))
    one, two = (encoded(dialect, sent, serving=serving) for sent in (first, second))
    assert decoded(dialect.decoder(serving=serving), bytewise(one)) == [facts_of(first)]
    for n in {0, 1, dialect.header_bytes - 1, len(two) - 1}:
        decoder = dialect.decoder(serving=serving)
        assert decoded(decoder, [one + two[:n]]) == [facts_of(first)]
        assert decoder.in_message == (n > 0)
        assert decoded(decoder, [two[n:]]) == [facts_of(second)]


@both
@both_roles
@given(data=st.data())
def test_a_payload_is_never_overwritten(dialect, serving, data):
    sent = data.draw(messages(to_server=serving))
    decoder = dialect.decoder(serving=serving)
    write(decoder, encoded(dialect, sent, serving=serving))
    first = decoder.advance()
    decoded(decoder, [dialect.frame(PING, payload=b"\xff" * 5000) * 3])
    assert said(first) == facts_of(sent)


# ------------------------------------------------------------------- the released packages


@both_roles
@given(data=st.data())
def test_pyro5_reads_ours(serving, data):
    sent = data.draw(messages(to_server=serving))
    assume(not sent[2] & ours.COMPRESSED)  # the payload is no zlib stream
    tape = Tape(encoded(PYRO5, sent, serving=serving))
    message = protocol.recv_stub(tape)
    assert not tape.rest
    assert bytes(message.data) == sent[4]
    assert (message.serializer_id, message.seq) == (sent[1], sent[3])
    assert {key: bytes(value) for key, value in message.annotations.items()} == sent[5]
    assert bytes(message.corr_id) == (sent[6] or bytes(16))
    found = decoded(PYRO5.decoder(serving=serving), [_again_by_pyro5(message)])
    assert found == [facts_of(sent)]


def _again_by_pyro5(message):
    """Put a message that Pyro5 has read together again, as Pyro5 does it."""
    data = protocol.SendingMessage(
        message.type, message.flags, message.seq, message.serializer_id, bytes(message.data),
        message.annotations,
    ).data  # fmt: skip
    # Its constructor takes the correlation id from a context; this is where it puts it.
    return data[:20] + bytes(message.corr_id) + data[36:]


@both_roles
@given(data=st.data(), key=st.sampled_from([b"", KEY]))
def test_pyro4_reads_ours(serving, data, key):
    theirs = pyro4_module("message").Message
    sent = data.draw(messages(to_server=serving, number_max=0xFFFF))
    tape = Tape(encoded(PYRO4, sent, serving=serving, key=key))
    message = theirs.recv(tape, hmac_key=key or None)
    assert not tape.rest
    assert message.data == sent[4]
    assert (message.serializer_id, message.seq) == (sent[1], sent[3])
    message.annotations.pop("HMAC", None)
    correlation = {} if sent[6] is None else {"CORR": sent[6]}
    assert message.annotations == {**sent[5], **correlation}
    again = theirs(
        message.type, message.data, message.serializer_id, message.flags, message.seq,
        message.annotations, hmac_key=key or None,
    ).to_bytes()  # fmt: skip
    found = decoded(PYRO4.decoder(serving=serving, key=key), [again])
    assert found == [facts_of(sent)]


areas = st.lists(
    st.binary(max_size=12) | st.tuples(st.sampled_from(["ABCD", "STRM"]), st.binary(max_size=20)),
    max_size=4,
)


@both
@given(parts=areas, payload=st.binary(max_size=20))
@example(parts=[b"ABCD\0\0\0\5zz"], payload=b"what follows is no part of it")
def test_malformed_annotations_are_refused_where_pyro_takes_them_too(dialect, parts, payload):
    area = b"".join(
        part if isinstance(part, bytes) else dialect.area({part[0]: part[1]}) for part in parts
    )
    data = dialect.frame(INVOKE, payload=payload, area=area)
    found, error = outcome(dialect.decoder(serving=True), [data])
    assert outcome(dialect.decoder(serving=True), bytewise(data)) == (found, error)
    whole = _chunks(dialect.chunk, area)
    if whole is None or (dialect is PYRO4 and not whole.keys().isdisjoint({"HMAC", "CORR"})):
        assert error is not None
    else:
        assert error is None
        assert found[0].annotations == whole
        assert found[0].payload == payload


def _chunks(header, area):
    """Read an area of annotations as strictly as can be; None: it is malformed."""
    found = {}
    while area:
        if len(area) < header.size:
            return None
        key, size = header.unpack_from(area)
        area = area[header.size :]
        if size > len(area) or not key.isascii():
            return None
        found[key.decode("ascii")], area = area[:size], area[size:]
    return found


# ------------------------------------------------------------------------------- limits

LIMITS = [64, 1000, SCRATCH_BYTES, SCRATCH_BYTES + 1, 1 << 20]


@both
@both_roles
@pytest.mark.parametrize("limit", LIMITS)
def test_the_limit_counts_the_whole_frame(dialect, serving, limit):
    message_type = INVOKE if serving else RESULT
    room = limit - dialect.header_bytes
    for eager in (0, 1 << 20, 1 << 30):
        limits = Limits(limit, eager_bytes=eager)

        def result(*pieces, limits=limits):
            return outcome(dialect.decoder(serving=serving, limits=limits), pieces)[1]

        fits = dialect.frame(message_type, payload=bytes(room))
        assert result(fits) is result(fits[:30], fits[30:]) is result(fits, fits) is None
        over = dialect.frame(message_type, payload=bytes(room + 1))
        assert result(over) is result(*bytewise(over[:100])) is MessageTooLargeError
        assert result(fits, over[: dialect.header_bytes]) is MessageTooLargeError
        if room < 60_000:
            area = dialect.area({"ABCD": bytes(room - dialect.chunk.size)})
            assert result(dialect.frame(message_type, area=area)) is None
            assert result(dialect.frame(message_type, area=area, payload=b"x")) is (
                MessageTooLargeError
            )


@both
def test_the_error_names_the_setting(dialect):
    decoder = dialect.decoder(serving=True, limits=Limits(100, setting="MAX_MESSAGE_SIZE"))
    with pytest.raises(MessageTooLargeError, match=r"1000, max=100\): MAX_MESSAGE_SIZE"):
        decoded(decoder, [dialect.frame(payload_bytes=1000)])


@both
@both_roles
def test_claimed_sizes_take_no_memory(dialect, serving):
    limits = Limits()
    decoder = dialect.decoder(serving=serving, limits=limits)
    message_type = INVOKE if serving else RESULT
    decoded(decoder, [dialect.frame(message_type, payload=b"warm")])
    claim = dialect.frame(
        message_type, payload_bytes=limits.message_bytes - dialect.header_bytes - 65_535,
        area_bytes=65_535,
    )  # fmt: skip
    tracemalloc.start()
    try:
        assert decoded(decoder, [claim]) == []
        decoder.get_buffer()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limits.eager_bytes + (64 << 10)


@both
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 31])
def test_sizes_that_no_message_has(dialect, size):
    """As a signed number some of them are negative, and pass any test that asks for too much."""
    header = bytearray(dialect.frame())
    header[12:16] = struct.pack(">I", size)
    if dialect is PYRO4:  # as the sum of what its sender thinks
        known = sum(struct.unpack(">5H", header[6:10] + header[10:12] + b"\0\1\0\0")) + 48 + 0x34E9
        signed = size - (1 << 32) if size >= 1 << 31 else size
        header[22:24] = struct.pack(">H", (known + signed) & 0xFFFF)
    for pieces in ([bytes(header)], bytewise(bytes(header))):
        found, error = outcome(dialect.decoder(serving=True), pieces)
        assert found == []
        assert error is (
            ProtocolError if dialect is PYRO4 and size >= 1 << 31 else MessageTooLargeError
        )


@pytest.mark.parametrize("size", [65_535, 65_536, 70_000])
@both
def test_the_limit_before_the_introduction(dialect, size):
    frame = dialect.frame(CONNECT, payload=bytes(size - dialect.header_bytes))
    error = outcome(dialect.decoder(serving=True, limits=BEFORE_HELLO), [frame])[1]
    assert error is (None if size <= 1 << 16 else MessageTooLargeError)


@both
@pytest.mark.parametrize(
    "size", [0, 1, *(SCRATCH_BYTES - n for n in (41, 40, 25, 24, 1, 0)), 3 << 20]
)
@pytest.mark.parametrize("eager", [0, 1 << 30])
def test_sizes_around_the_thresholds(dialect, size, eager):
    limits = Limits(1 << 30, eager_bytes=eager)
    area = dialect.area({"ABCD": b"a" * 1000})
    frame = dialect.frame(INVOKE, payload=b"p" * size, area=area)
    after = dialect.frame(INVOKE, seq=6, payload=b"next")
    for pieces in (
        [frame + after],
        [frame[:-1], frame[-1:] + after],
        [frame[:30], frame[30:], after],
    ):
        first, second = decoded(dialect.decoder(serving=True, limits=limits), pieces)
        assert (first.payload, first.annotations) == (b"p" * size, {"ABCD": b"a" * 1000})
        assert (second.request_id, second.payload) == (6, b"next")


# ------------------------------------------------------------------- what is no frame of ours

small = Limits(2000)


@st.composite
def hostile(draw, dialect):
    """Make a stream that is partly right."""
    sizes = st.integers(0, 100) | st.integers(0, 0x7FFFFFFF)
    frames = st.builds(
        dialect.frame,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 0xFFFF),
        payload=st.binary(max_size=50),
        area=st.binary(max_size=40) | st.just(dialect.area({"ABCD": b"x"})),
        payload_bytes=st.none() | sizes,
        area_bytes=st.none() | st.integers(0, 0xFFFF),
        version=st.none() | st.integers(0, 0xFFFF),
        check=st.none() | st.integers(0, 0xFFFF),
        tag=st.just(b"PYRO") | st.binary(min_size=4, max_size=4),
    )
    return b"".join(draw(st.lists(frames | st.binary(max_size=80), min_size=1, max_size=5)))


@both
@both_roles
@given(data=st.data(), offsets=cuts)
@examples(200)
def test_any_bytes_give_messages_or_an_error_of_ours(dialect, serving, data, offsets):
    key = data.draw(st.sampled_from([b"", KEY])) if dialect is PYRO4 else b""
    stream = data.draw(hostile(dialect))

    def result(pieces):
        return outcome(dialect.decoder(serving=serving, limits=small, key=key), pieces)

    whole = result([stream])
    assert result(splits(stream, offsets)) == whole
    assert result(bytewise(stream)) == whole


@both
@both_roles
@pytest.mark.parametrize("message_type", [0, *TYPES, 7, 42, 255])
def test_types_for_the_other_end_are_refused(dialect, serving, message_type):
    fits = message_type in (SERVED if serving else ANSWERED)
    data = dialect.frame(message_type)
    for pieces in ([data], bytewise(data), [data[: dialect.header_bytes]]):
        found, error = outcome(dialect.decoder(serving=serving), pieces)
        assert (len(found), error) == ((1, None) if fits else (0, ProtocolError))


@both
@pytest.mark.parametrize(
    ("first", "other"),
    [
        (b"GET / HTTP/1.1\r\n", False),
        (b"\x16\x03\x01\x02", False),
        (b"SSH-2.0-OpenSSH", False),
        (b"PYROI\x01\x01", False),
        (b"PYROH\x01", False),
        (b"\0", False),
        (b"PYRO\x00\x2f", True),
        (b"PYRO\x01\xf5", True),
        (b"PYRO\x00\x05", True),
    ],
)
def test_wrong_first_bytes_are_refused_at_once(dialect, first, other):
    signature = b"PYRO" + dialect.version.to_bytes(2, "big")
    expected = OtherDialectError if other else ProtocolError
    assert outcome(dialect.decoder(serving=True, limits=BEFORE_HELLO), [first])[1] is expected
    for size in range(1, len(first) + 1):
        error = outcome(dialect.decoder(serving=True, limits=BEFORE_HELLO), [first[:size]])[1]
        open_yet = size == 5 and other  # which one it is will be known with one more
        assert (error is None) == (open_yet or first[:size] == signature[:size])


def test_each_finds_the_other():
    for dialect, other in ((PYRO4, PYRO5), (PYRO5, PYRO4)):
        with pytest.raises(OtherDialectError) as caught:
            decoded(dialect.decoder(serving=True), [other.frame(CONNECT)])
        assert (caught.value.version, caught.value.dialect) == (other.version, other.name)


@both
@pytest.mark.parametrize("cut", [6, 23, 40, None])
def test_what_has_arrived_is_read_again_in_another_dialect(dialect, cut):
    """However much of it is there when it turns out to be another one."""
    data = dialect.frame(CONNECT, payload=b"first") + dialect.frame(INVOKE, payload=b"second")
    for decoder in (Decoder(ROOMY), _closed()):
        with pytest.raises(OtherDialectError) as caught:
            decoded(decoder, [data[:cut]])
        assert caught.value.dialect == dialect.name
        decoder.speak(dialect.dialect(serving=True))
        found = []
        while decoder.buffered and (message := decoder.advance()) is not None:
            found.append(said(message))
        found += decoded(decoder, [data[len(data) if cut is None else cut :]])
        assert [one.payload for one in found] == [b"first", b"second"]


def _closed():
    decoder = Decoder(ROOMY)
    decoder.speak(Closed(["pyro5", "pyro4"]))
    return decoder


@both
def test_native_frames_after_those_of_pyro_are_refused(dialect):
    """A prefix of a plain native frame is known to every decoder of this process."""
    from tests.support.messages import plain

    native = plain(ours.REQUEST, 1, b"call")
    decoded(Decoder(ROOMY), [native, native])
    decoder = dialect.decoder(serving=True)
    with pytest.raises(ProtocolError, match=f"not bytes of Pyro{dialect.name[-1]}"):
        decoded(decoder, [dialect.frame(INVOKE), native])


@both
@given(place=st.integers(4, 39), bit=st.integers(0, 7))
def test_a_bit_of_the_header_that_is_wrong(dialect, place, bit):
    """The checksum of Pyro4 notices any; of Pyro5, the version and the magic number are known."""
    assume(place < dialect.header_bytes)
    data = bytearray(dialect.frame(INVOKE, payload=b"12345"))
    data[place] ^= 1 << bit
    found, error = outcome(dialect.decoder(serving=True, limits=small), [bytes(data)])
    unchecked = range(20, 22) if dialect is PYRO4 else range(6, 38)
    if place not in unchecked:
        assert not found
        assert issubclass(error, ProtocolError)


@both
def test_an_error_stays(dialect):
    decoder = dialect.decoder(serving=True)
    with pytest.raises(ProtocolError) as first:
        decoded(decoder, [dialect.frame(INVOKE), b"x" * 40])
    for _ in range(2):
        with pytest.raises(ProtocolError) as again:
            decoder.advance()
        assert str(again.value) == str(first.value)


@given(data=st.data())
def test_a_signature_of_another_key_is_no_signature(data):
    sent = data.draw(messages(to_server=True))
    frame = encoded(PYRO4, sent, serving=True, key=b"another")
    assert outcome(PYRO4.decoder(serving=True, key=KEY), [frame]) == ([], SecurityError)
    assert outcome(PYRO4.decoder(serving=True), [frame]) == ([], SecurityError)
    bare = encoded(PYRO4, sent, serving=True)
    assert outcome(PYRO4.decoder(serving=True, key=KEY), [bare]) == ([], SecurityError)

"""The bytes of Pyro5: ours are those of the released package, and it reads ours as we read its."""

from __future__ import annotations

import contextlib
import itertools
import marshal
import uuid
import zlib

import pytest
from Pyro5 import callcontext, config, errors, protocol, serializers

from pyroipc.errors import MessageTooLargeError, ProtocolError
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.serializers import marshal_reader, table
from pyroipc.wire import message as ours
from pyroipc.wire.pyro5 import Pyro5
from pyroipc.wire.refusals import connect_failure
from tests.support.messages import bytewise
from tests.support.pyro_frames import (
    ANSWERED,
    CONNECT,
    CONNECTFAIL,
    CONNECTOK,
    INVOKE,
    PING,
    PYRO5,
    RESULT,
    SERVED,
    Tape,
    configured,
    decoded,
)

CORRELATION = bytes.fromhex("11112222111122223333222244449999")
SERPENT_CALL = b"# serpent utf-8 python3.2\n('t','echo',(1,),{})"
HELLO = b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'t'}"

KIND_OF = {
    CONNECT: (ours.REQUEST, ours.INTRODUCTION),
    CONNECTOK: (ours.WELCOME, ours.INTRODUCTION),
    CONNECTFAIL: (ours.WELCOME, ours.INTRODUCTION | ours.ERROR),
    INVOKE: (ours.REQUEST, 0),
    RESULT: (ours.RESPONSE, 0),
}
FLAGS = {
    0x01: ours.ERROR,
    0x02: ours.COMPRESSED,
    0x04: ours.ONEWAY,
    0x08: ours.BATCH,
    0x11: ours.STREAM,
    0x20: ours.BLOB,
}
FLAGS_OF = {
    CONNECT: (0,),
    CONNECTOK: (0,),
    CONNECTFAIL: (0,),
    INVOKE: (0, 0x04, 0x08, 0x20, 0x0C, 0x24, 0x2C),
    RESULT: (0, 0x01, 0x08, 0x11),
    PING: (0,),
}
ANNOTATIONS = ({}, {"ABCD": b"zz"}, {"ZZZZ": b"", "CORR": bytes(range(256)), "abcd": b"x" * 70000})
CASES = [
    (message_type, flags)
    for message_type, all_flags in FLAGS_OF.items()
    for flags in sorted(all_flags)
]


@contextlib.contextmanager
def correlated(correlation):
    """Have the messages that the package makes carry a correlation id, or none."""
    context = callcontext.current_context
    before, context.correlation_id = context.correlation_id, None
    if correlation is not None:
        context.correlation_id = uuid.UUID(bytes=correlation)
    try:
        yield
    finally:
        context.correlation_id = before


def kind_and_flags(message_type, flags, *, serving):
    """Return what a type and the flags of Pyro5 are here."""
    if message_type == PING:
        return ours.PING if serving else ours.PONG, 0
    kind, known = KIND_OF[message_type]
    stream = flags & 0x11 == 0x11
    for bit, flag in FLAGS.items():
        if flags & bit == bit and not (bit == 0x01 and stream):
            known |= flag
    return kind, known


def encoded(message_type, payload, serializer, flags, seq, annotations, correlation=None):
    serving = message_type in SERVED  # at the end that receives it
    kind, known = kind_and_flags(message_type, flags, serving=serving)
    sender = Pyro5(serving=not serving)
    return b"".join(sender.encode(kind, serializer, known, seq, payload, annotations, correlation))


def received(data, message_type):
    tape = Tape(data)
    message = protocol.recv_stub(tape, [message_type])
    assert not tape.rest
    return message


@pytest.mark.parametrize("correlation", [None, CORRELATION], ids=["alone", "correlated"])
@pytest.mark.parametrize(("message_type", "flags"), CASES)
def test_the_same_bytes(message_type, flags, correlation):
    for serializer, seq, payload, notes in itertools.product(
        (1, 4, 42), (0, 1, 0xFFFF), (b"", b"ping", bytes(70_000)), ANNOTATIONS
    ):
        with correlated(correlation):
            data = protocol.SendingMessage(
                message_type, flags, seq, serializer, payload, notes
            ).data
        assert data == encoded(message_type, payload, serializer, flags, seq, notes, correlation)
        for serving in {message_type in SERVED, message_type not in ANSWERED}:
            (found,) = decoded(PYRO5.decoder(serving=serving), [data])
            kind, known = kind_and_flags(message_type, flags, serving=serving)
            assert found == (
                kind, serializer, known, seq, payload, notes, correlation, None, [], 0
            )  # fmt: skip


def test_a_request_number_has_sixteen_bits():
    data = protocol.SendingMessage(INVOKE, 0, 5, 1, b"x").data
    assert b"".join(Pyro5(serving=False).encode(ours.REQUEST, 1, 0, 0x10005, b"x")) == data


NONE, END = "00" * 16, "00004dc5"
VECTORS = {
    "ping": (
        f"5059524f01f6062a000000000000000400000000{NONE}{END}70696e67",
        PING, b"ping", 42, 0, 0, {}, None,
    ),
    "connect": (
        f"5059524f01f60101000000000000003c00000000{NONE}{END}{HELLO.hex()}",
        CONNECT, HELLO, 1, 0, 0, {}, None,
    ),
    "invoke": (
        f"5059524f01f60401004000010000002e0000000a{CORRELATION.hex()}{END}41424344000000027a7a"
        + SERPENT_CALL.hex(),
        INVOKE, SERPENT_CALL, 1, 0, 1, {"ABCD": b"zz"}, CORRELATION,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    text, message_type, payload, serializer, flags, seq, annotations, correlation = VECTORS[name]
    data = bytes.fromhex(text)
    given = (message_type, payload, serializer, flags, seq, annotations, correlation)
    assert encoded(*given) == data
    after = encoded(PING, b"ping", 42, 0, 0, {})
    for pieces in ([data], bytewise(data), [data + after[:3]], [data[:-1], data[-1:] + after]):
        found = decoded(PYRO5.decoder(serving=True), pieces)[0]
        kind, known = kind_and_flags(message_type, flags, serving=True)
        assert found == (
            kind, serializer, known, seq, payload, annotations, correlation, None, [], 0
        )  # fmt: skip


# ---------------------------------------------------------------------------- connect failures


@pytest.mark.parametrize("text", ["invalid data", "x" * 300, "déjà vu ☃", "\udcff", ""])
@pytest.mark.parametrize("seq", [0, 17])
def test_connect_failures(text, seq):
    real = protocol.SendingMessage(CONNECTFAIL, 0, seq, 2, marshal.dumps(text)).data
    (found,) = decoded(PYRO5.decoder(serving=False), [real])
    assert (found.kind, found.serializer_id, found.request_id) == (ours.WELCOME, 2, seq)
    assert found.flags == ours.INTRODUCTION | ours.ERROR
    assert marshal_reader.read(found.payload) == text
    for mine in (
        connect_failure(502, text, seq),
        encoded(CONNECTFAIL, marshal_reader.write(text), 2, 0, seq, {}),
    ):
        assert mine[: PYRO5.header_bytes] == real[: PYRO5.header_bytes]
        message = received(mine, CONNECTFAIL)
        assert (message.seq, message.serializer_id, message.flags) == (seq, 2, 0)
        assert serializers.serializers_by_id[2].loads(message.data) == text


@pytest.mark.parametrize("version", [500, 501, 503, 999, 0xFFFF])
def test_other_versions_are_answered_in_their_layout(version):
    data = connect_failure(version, "no", 3)
    expected = connect_failure(502, "no", 3)
    assert data == expected[:4] + version.to_bytes(2, "big") + expected[6:]


# ------------------------------------------------------------------ what the package reads of us


@pytest.mark.parametrize(("message_type", "flags"), CASES)
def test_pyro5_reads_it(message_type, flags):
    for notes in ANNOTATIONS:
        message = received(
            encoded(message_type, b"payload", 1, flags, 9, notes, CORRELATION), message_type
        )
        assert (message.type, message.flags, message.seq) == (message_type, flags | 0x40, 9)
        assert bytes(message.data) == b"payload"
        assert {key: bytes(value) for key, value in message.annotations.items()} == notes
        assert bytes(message.corr_id) == CORRELATION


@pytest.mark.parametrize("message_type", [CONNECT, CONNECTOK, CONNECTFAIL, INVOKE, RESULT])
@pytest.mark.parametrize("name", ["serpent", "json", "marshal", "msgpack"])
def test_payloads_that_are_compressed(name, message_type):
    """Pyro5 compresses messages of all types; ours have the same bytes."""
    real = serializers.serializers[name]
    value = ["text " * 50] * 20
    with configured(config, COMPRESSION=True):
        data = protocol.SendingMessage(
            message_type, 0, 1, real.serializer_id, real.dumps(value)
        ).data
    codec = codec_of(name, compress_from=101)
    decoder = PYRO5.decoder(serving=message_type in SERVED)
    decoder.get_buffer()[: len(data)] = data
    decoder.received = len(data)
    message = decoder.advance()
    assert message.flags & ours.COMPRESSED
    codec.unpack(message)
    assert not message.flags & ours.COMPRESSED
    assert codec.loads(message.payload) == value
    flags, packed = codec.compressed(0, codec.dumps(value))
    assert flags == ours.COMPRESSED
    mine = encoded(message_type, packed, real.serializer_id, 0x02, 1, {})
    assert real.loads(received(mine, message_type).data) == value
    if name == "json":  # which writes the same bytes as Pyro5
        assert mine == data


def test_what_is_not_compressed():
    codec = codec_of("json", compress_from=101)
    large, random = b"x" * 101, zlib.compress(bytes(range(256)) * 3)[:250]
    assert joined(codec.response(1, large[:100]))[8:10] == b"\0\0"
    assert joined(codec.response(1, large))[8:10] == b"\0\2"
    assert joined(codec.response(1, random))[8:10] == b"\0\0"  # it would be no smaller


def codec_of(name, **options):
    from pyroipc.client.pyro.manner import PyroManner

    class Nobody:
        """No connection."""

    number = {known: key for key, known in Pyro5.serializers.items()}[name]
    form = table.get(name).for_pyro(PyroManner("Pyro5", Nobody()))
    return PyroCodec(Pyro5(serving=True), form, number, limit_bytes=1 << 20, **options)


def joined(data):
    return data if isinstance(data, bytes) else b"".join(data)


def test_the_numbers_of_the_serializers():
    known = {one.serializer_id: name for name, one in serializers.serializers.items()}
    assert dict(Pyro5.serializers) == known


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "chunks",
    [
        b"ABCD\0\0\0\5zz",
        b"ABCD\xff\xff\xff\xffzz",
        b"ABCD\0\0\0\2zzEFGH\0\0\0\1",
        b"A",
        b"ABCD\0\0\0",
        b"ABCD\0\0\0\0E",
        b"AB\xffD\0\0\0\0",
    ],
)
def test_chunks_that_neither_takes(chunks):
    data = PYRO5.frame(INVOKE, payload=b"x", area=chunks)
    with pytest.raises((errors.ProtocolError, ValueError)):
        received(data, INVOKE)
    for pieces in ([data], bytewise(data)):
        with pytest.raises(ProtocolError, match="annotation"):
            decoded(PYRO5.decoder(serving=True), pieces)


def test_no_room():
    encode = Pyro5(serving=False).encode

    class FourGiB(bytes):
        def __len__(self):
            return 1 << 32

    with pytest.raises(MessageTooLargeError, match="no room for more than 4294967295"):
        encode(ours.REQUEST, 1, 0, 1, FourGiB())


@pytest.mark.parametrize("key", ["ABC", "ABCDE", "ABCä", ""])
def test_annotation_ids(key):
    with pytest.raises(ProtocolError, match="four ASCII characters"):
        Pyro5(serving=False).encode(ours.REQUEST, 1, 0, 1, b"", {key: b""})


def test_correlation_ids():
    with pytest.raises(ProtocolError, match="has 16 bytes, not 15"):
        Pyro5(serving=False).encode(ours.REQUEST, 1, 0, 1, b"", None, bytes(15))


@pytest.mark.parametrize(
    ("message_type", "flags", "known"),
    [
        # A flag that makes no sense in a message of its type means nothing, as in Pyro5.
        (CONNECT, 0xFFFD, ours.INTRODUCTION),
        (CONNECTOK, 0xFFFD, ours.INTRODUCTION),
        (CONNECTFAIL, 0xFFFD, ours.INTRODUCTION | ours.ERROR),
        (INVOKE, 0xFFD1, 0),
        (RESULT, 0xFFE4, 0),
        (PING, 0xFFFF, 0),
    ],
)
def test_flags_that_mean_nothing(message_type, flags, known):
    data = PYRO5.frame(message_type, flags=flags, correlation=CORRELATION)
    (found,) = decoded(PYRO5.decoder(serving=message_type in SERVED), [data])
    assert found.flags == known
    assert found.correlation_id == CORRELATION


def test_a_correlation_id_without_its_flag_is_none():
    data = PYRO5.frame(INVOKE, correlation=CORRELATION)
    (found,) = decoded(PYRO5.decoder(serving=True), [data])
    assert found.correlation_id is None

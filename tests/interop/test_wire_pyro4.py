"""The bytes of Pyro4: ours are those of the released package, and it reads ours as we read its."""

from __future__ import annotations

import itertools
import marshal
import zlib

import pytest

from pyroipc.errors import (
    MessageTooLargeError,
    ProtocolError,
    SecurityError,
    SerializeError,
)
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.serializers import marshal_reader, table
from pyroipc.wire import message as ours
from pyroipc.wire.pyro4 import Pyro4
from pyroipc.wire.refusals import connect_failure
from tests.support.messages import bytewise
from tests.support.pyro_frames import (
    ANSWERED,
    CONNECT,
    CONNECTFAIL,
    CONNECTOK,
    INVOKE,
    PING,
    PYRO4,
    RESULT,
    SERVED,
    Tape,
    configured,
    decoded,
    pyro4_module,
)

KEY = b"secret"
CORRELATION = bytes.fromhex("11112222111122223333222244449999")
SERPENT_CALL = b"# serpent utf-8 python3.2\n('t','echo',(1,),{})"
HELLO = b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'t'}"
GARBAGE = "invalid data or unsupported protocol version"

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
    0x10: ours.METADATA,
    0x21: ours.STREAM,
    0x40: ours.BLOB,
}
FLAGS_OF = {
    CONNECT: (0, 0x10, 0x12, 0x02),
    CONNECTOK: (0, 0x10, 0x12),
    CONNECTFAIL: (0,),
    INVOKE: (0, *FLAGS.keys() - {0x01, 0x10, 0x21}, 0x4E, 0x0C, 0x42),
    RESULT: (0, 0x01, 0x02, 0x08, 0x0A, 0x21, 0x03),
    PING: (0,),
}
ANNOTATIONS = ({}, {"ABCD": b"zz"}, {"ZZZZ": b"", "AAAA": bytes(range(256)), "corr": b"x" * 999})


@pytest.fixture(scope="module")
def theirs():
    return pyro4_module("message")


def kind_and_flags(message_type, flags, *, serving):
    """Return what a type and the flags of Pyro4 are here."""
    if message_type == PING:
        return ours.PING if serving else ours.PONG, 0
    kind, known = KIND_OF[message_type]
    stream = flags & 0x21 == 0x21
    for bit, flag in FLAGS.items():
        if flags & bit == bit and not (bit == 0x01 and stream):
            known |= flag
    return kind, known


def encoded(message_type, payload, serializer, flags, seq, annotations, correlation, key):
    serving = message_type in SERVED  # at the end that receives it
    kind, known = kind_and_flags(message_type, flags, serving=serving)
    sender = Pyro4(serving=not serving, key=key)
    return b"".join(sender.encode(kind, serializer, known, seq, payload, annotations, correlation))


CASES = [
    (message_type, flags)
    for message_type, all_flags in FLAGS_OF.items()
    for flags in sorted(all_flags)
]


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "signed"])
@pytest.mark.parametrize("correlation", [None, CORRELATION], ids=["alone", "correlated"])
@pytest.mark.parametrize(("message_type", "flags"), CASES)
def test_the_same_bytes(theirs, message_type, flags, correlation, key):
    for serializer, seq, payload, notes in itertools.product(
        (1, 7, 42), (0, 1, 0xFFFF), (b"", b"ping", bytes(70_000)), ANNOTATIONS
    ):
        more = dict(notes, CORR=correlation) if correlation else notes
        data = theirs.Message(
            message_type, payload, serializer, flags, seq, more, hmac_key=key or None
        ).to_bytes()
        assert data == encoded(
            message_type, payload, serializer, flags, seq, notes, correlation, key
        )
        for serving in {message_type in SERVED, message_type not in ANSWERED}:
            decoder = PYRO4.decoder(serving=serving, key=key)
            (found,) = decoded(decoder, [data])
            kind, known = kind_and_flags(message_type, flags, serving=serving)
            assert found == (
                kind, serializer, known, seq, payload, notes, correlation, None, [], 0
            )  # fmt: skip


def test_a_request_number_has_sixteen_bits(theirs):
    data = theirs.Message(INVOKE, b"x", 1, 0, 5).to_bytes()
    assert b"".join(Pyro4(serving=False).encode(ours.REQUEST, 1, 0, 0x10005, b"x")) == data


VECTORS = {
    "ping": (
        "5059524f003000060000000000000004002a00000000354d70696e67",
        PING, b"ping", 42, 0, 0, {}, None, b"",
    ),
    "signed ping": (
        "5059524f003000060000000000000004002a001a0000356748 4d41430014"
        "aac593384ba12b93f8b570492936b8faf782a7be70696e67",
        PING, b"ping", 42, 0, 0, {}, None, KEY,
    ),
    "connect": (
        "5059524f00300001001000000000003c0001000000003567" + HELLO.hex(),
        CONNECT, HELLO, 1, 0x10, 0, {}, None, b"",
    ),
    "invoke": (
        "5059524f00300004000000010000002e0001001600003563434f52520010" + CORRELATION.hex()
        + SERPENT_CALL.hex(),
        INVOKE, SERPENT_CALL, 1, 0, 1, {}, CORRELATION, b"",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    text, message_type, payload, serializer, flags, seq, annotations, correlation, key = VECTORS[
        name
    ]
    data = bytes.fromhex(text)
    given = (message_type, payload, serializer, flags, seq, annotations, correlation, key)
    assert encoded(*given) == data
    after = encoded(PING, b"ping", 42, 0, 0, {}, None, key)
    for pieces in ([data], bytewise(data), [data + after[:3]], [data[:-1], data[-1:] + after]):
        decoder = PYRO4.decoder(serving=True, key=key)
        assert decoded(decoder, pieces)[0].payload == payload
    kind, known = kind_and_flags(message_type, flags, serving=True)
    (found, *_) = decoded(PYRO4.decoder(serving=True, key=key), [data])
    assert (found.kind, found.flags, found.request_id) == (kind, known, seq)
    assert (found.serializer_id, found.correlation_id) == (serializer, correlation)


def test_the_vector_of_a_signature():
    """The payload first, then the values of the annotations in the order of their ids."""
    data = encoded(INVOKE, SERPENT_CALL, 1, 0, 1, {"ABCD": b"zz"}, CORRELATION, KEY)
    assert bytes.fromhex("ed7e609666a201f96f2b6d346f4ffda154fc8e71") in data


# ---------------------------------------------------------------------------- connect failures


def test_the_vector_of_a_connect_failure():
    data = bytes.fromhex("5059524f003000030000 00000000002e00030000 0000354d".replace(" ", ""))
    data += b"\xfa\x2c" + GARBAGE.encode()
    (found,) = decoded(PYRO4.decoder(serving=False), [data])
    assert (found.kind, found.serializer_id, found.request_id) == (ours.WELCOME, 3, 0)
    assert found.flags == ours.INTRODUCTION | ours.ERROR
    assert marshal_reader.read(found.payload) == GARBAGE
    mine = connect_failure(48, GARBAGE)
    assert mine[: PYRO4.header_bytes] == data[: PYRO4.header_bytes]
    assert marshal.loads(mine[PYRO4.header_bytes :]) == GARBAGE


@pytest.mark.parametrize("text", ["short", "x" * 300, "déjà vu ☃", "\udcff", ""])
@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("seq", [0, 17])
def test_connect_failures_are_read_by_pyro4(theirs, text, key, seq):
    data = encoded(CONNECTFAIL, marshal_reader.write(text), 3, 0, seq, {}, None, key)
    message = theirs.Message.recv(Tape(data), [CONNECTFAIL], hmac_key=key or None)
    assert (message.seq, message.serializer_id, message.flags) == (seq, 3, 0)
    serializer = pyro4_module("util").get_serializer_by_id(3)
    assert serializer.deserializeData(message.data) == text
    real = theirs.Message(
        CONNECTFAIL, marshal.dumps(text), 3, 0, seq, hmac_key=key or None
    ).to_bytes()
    (found,) = decoded(PYRO4.decoder(serving=False, key=key), [real])
    assert marshal_reader.read(found.payload) == text


@pytest.mark.parametrize("version", [0, 5, 40, 46, 48, 499])
def test_other_versions_are_answered_in_their_layout(version):
    data = connect_failure(version, GARBAGE, 3)
    fields = (CONNECTFAIL, version, len(data) - 24, 0, 3, 0, 3)
    assert data[:10] == b"PYRO" + version.to_bytes(2, "big") + b"\0\3\0\0"
    assert data[22:24] == ((sum(fields) + 0x34E9) & 0xFFFF).to_bytes(2, "big")
    assert marshal.loads(data[24:]) == GARBAGE


# ------------------------------------------------------------------ what the package reads of us


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "signed"])
@pytest.mark.parametrize(("message_type", "flags"), CASES)
def test_pyro4_reads_it(theirs, message_type, flags, key):
    for notes in ANNOTATIONS:
        data = encoded(message_type, b"payload", 1, flags, 9, notes, CORRELATION, key)
        tape = Tape(data)
        message = theirs.Message.recv(tape, [message_type], hmac_key=key or None)
        assert not tape.rest
        assert (message.type, message.flags, message.seq) == (message_type, flags, 9)
        assert bytes(message.data) == b"payload"
        signature = message.annotations.pop("HMAC", None)
        assert (signature is None) == (not key)
        assert message.annotations == {**notes, "CORR": CORRELATION}


@pytest.mark.parametrize("name", ["serpent", "json", "marshal", "msgpack"])
def test_payloads_that_pyro4_has_compressed(name):
    """It compresses as zlib does by itself, we as Pyro5 does; each reads the other."""
    util = pyro4_module("util")
    with configured(pyro4_module("configuration").config, SERIALIZERS_ACCEPTED={name}):
        real = util.get_serializer(name)
    value = ["text " * 50] * 20
    packed, is_packed = real.serializeData(value, compress=True)
    assert is_packed
    codec = codec_of(name, compress_from=200)
    data = b"".join(Pyro4(serving=True).encode(ours.RESPONSE, 1, ours.COMPRESSED, 1, packed))
    decoder = PYRO4.decoder(serving=False)
    decoder.get_buffer()[: len(data)] = data
    decoder.received = len(data)
    message = decoder.advance()
    assert message.flags == ours.COMPRESSED
    codec.unpack(message)
    assert message.flags == 0
    assert codec.loads(message.payload) == value
    mine = joined(codec.response(1, codec.dumps(value)))
    received = pyro4_module("message").Message.recv(Tape(mine), [RESULT])
    assert received.flags == 0x02
    assert real.deserializeData(received.data, compressed=True) == value


def test_what_is_not_compressed():
    codec = codec_of("json", compress_from=200)
    large, random = b"x" * 200, zlib.compress(bytes(range(256)) * 3)[:250]
    assert joined(codec.response(1, large[:199]))[8:10] == b"\0\0"
    assert joined(codec.response(1, large))[8:10] == b"\0\2"
    assert joined(codec.response(1, random))[8:10] == b"\0\0"  # it would be no smaller
    assert joined(codec.response(1, large, flags=ours.ERROR))[8:10] == b"\0\1"  # nor by Pyro4


def codec_of(name, **options):
    from pyroipc.client.pyro.manner import PyroManner

    class Nobody:
        """No connection."""

    number = {known: key for key, known in Pyro4.serializers.items()}[name]
    form = table.get(name).for_pyro(PyroManner("Pyro4", Nobody()))
    return PyroCodec(Pyro4(serving=True), form, number, limit_bytes=1 << 20, **options)


def joined(data):
    return data if isinstance(data, bytes) else b"".join(data)


def test_the_numbers_of_the_serializers():
    util = pyro4_module("util")
    known = {serializer.serializer_id: name for name, serializer in util._serializers.items()}
    assert dict(Pyro4.serializers) == known


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "chunks",
    [
        b"ABCD\0\5zz",  # longer than the area: Pyro4 takes what is there
        b"ABCD\xff\xffzz",
        b"ABCD\0\2zzEFGH\0\1",
    ],
)
def test_chunks_that_overrun_are_refused_though_pyro4_takes_them(theirs, chunks):
    data = PYRO4.frame(INVOKE, payload=b"x", area=chunks)
    assert theirs.Message.recv(Tape(data), [INVOKE]).annotations["ABCD"] == b"zz"
    for pieces in ([data], bytewise(data)):
        with pytest.raises(ProtocolError, match="annotation"):
            decoded(PYRO4.decoder(serving=True), pieces)


@pytest.mark.parametrize("chunks", [b"A", b"ABCD\0", b"ABCD\0\0E", b"AB\xffD\0\0"])
def test_chunks_that_neither_takes(theirs, chunks):
    data = PYRO4.frame(INVOKE, area=chunks)
    with pytest.raises((ValueError, theirs.struct.error)):
        theirs.Message.recv(Tape(data), [INVOKE])
    with pytest.raises(ProtocolError, match="annotation"):
        decoded(PYRO4.decoder(serving=True), [data])


@pytest.mark.parametrize(
    ("ours_has", "sent_with", "said"),
    [
        (b"", KEY, "not symmetric"),
        (KEY, b"", "not symmetric"),
        (KEY, b"another", "message hmac mismatch"),
    ],
)
@pytest.mark.parametrize("serving", [True, False])
def test_signatures_are_symmetric(theirs, ours_has, sent_with, said, serving):
    message_type = INVOKE if serving else RESULT
    data = theirs.Message(message_type, b"x", 1, 0, 1, hmac_key=sent_with or None).to_bytes()
    for pieces in ([data], bytewise(data)):
        decoder = PYRO4.decoder(serving=serving, key=ours_has)
        with pytest.raises(SecurityError, match=said):
            decoded(decoder, pieces)
        with pytest.raises(SecurityError, match=said):
            decoder.advance()  # it stays in error


def test_every_bit_that_is_signed_counts(theirs):
    """The header and the ids of annotations are not among them: that is how Pyro4 does it."""
    data = theirs.Message(INVOKE, b"call", 1, 0, 1, {"ABCD": b"zz"}, hmac_key=KEY).to_bytes()
    values = [data.index(b"zz"), data.index(b"zz") + 1, *range(len(data) - 4, len(data))]
    signature = data.index(b"HMAC") + 6
    for place in (*values, *range(signature, signature + 20)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(SecurityError, match="mismatch"):
                decoded(PYRO4.decoder(serving=True, key=KEY), [bytes(changed)])
    renamed = data.replace(b"ABCD", b"EFGH")
    (found,) = decoded(PYRO4.decoder(serving=True, key=KEY), [renamed])
    assert found.annotations == {"EFGH": b"zz"}


def test_no_room():
    encode = Pyro4(serving=False).encode
    with pytest.raises(MessageTooLargeError, match="'ABCD' of 65536 bytes"):
        encode(ours.REQUEST, 1, 0, 1, b"", {"ABCD": bytes(1 << 16)})
    with pytest.raises(MessageTooLargeError, match="at most 65535"):
        encode(ours.REQUEST, 1, 0, 1, b"", {"ABCD": bytes(65_530)})
    (data,) = encode(ours.REQUEST, 1, 0, 1, b"", {"ABCD": bytes(65_529)})[-1:]
    assert len(data) == 65_529  # the largest one that there can be

    class TwoGiB(bytes):
        def __len__(self):
            return 1 << 31

    with pytest.raises(MessageTooLargeError, match="2 GiB"):
        encode(ours.REQUEST, 1, 0, 1, TwoGiB())


@pytest.mark.parametrize("key", ["ABC", "ABCDE", "ABCä", ""])
def test_annotation_ids(key):
    with pytest.raises(ProtocolError, match="four ASCII characters"):
        Pyro4(serving=False).encode(ours.REQUEST, 1, 0, 1, b"", {key: b""})


def test_correlation_ids():
    with pytest.raises(ProtocolError, match="has 16 bytes, not 15"):
        Pyro4(serving=False).encode(ours.REQUEST, 1, 0, 1, b"", None, bytes(15))
    with pytest.raises(ProtocolError, match="has 16 bytes, not 17"):
        decoded(
            PYRO4.decoder(serving=True),
            [PYRO4.frame(INVOKE, area=PYRO4.area({"CORR": bytes(17)}))],
        )


@pytest.mark.parametrize(
    ("message_type", "flags", "known"),
    [
        # A flag that makes no sense in a message of its type means nothing, as in Pyro4.
        (CONNECT, 0xFFFF & ~0x12, ours.INTRODUCTION),
        (CONNECTOK, 0xFF2D, ours.INTRODUCTION),
        (CONNECTFAIL, 0xFFFD, ours.INTRODUCTION | ours.ERROR),
        (INVOKE, 0xFFB1, 0),
        (RESULT, 0xFFD4, 0),
        (PING, 0xFFFF, 0),
    ],
)
def test_flags_that_mean_nothing(message_type, flags, known):
    data = PYRO4.frame(message_type, flags=flags)
    (found,) = decoded(PYRO4.decoder(serving=message_type in SERVED), [data])
    assert found.flags == known


def test_the_reader_of_marshal_is_no_marshal():
    with pytest.raises(SerializeError):
        marshal_reader.read(b"\xe3" + bytes(50))  # a code object, which would be made

"""``Pyro4.message``: the bytes of Pyro4's messages, and what is refused."""

from __future__ import annotations

import socket
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.compat.pyro4 import errors, message
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.message import Message
from pyroipc.compat.pyro4.socketutil import SocketConnection

CALL = b"# serpent utf-8 python3.2\n('t','echo',(1,),{})"
CORR = bytes.fromhex("11112222111122223333222244449999")


@pytest.fixture
def ends():
    pair = [SocketConnection(sock) for sock in socket.socketpair()]
    yield pair
    for end in pair:
        end.close()


# Made by the released Pyro4 4.82.
@pytest.mark.parametrize(
    ("made", "golden"),
    [
        (
            Message(message.MSG_PING, b"ping", 42, 0, 0),
            "5059524f003000060000000000000004002a00000000354d70696e67",
        ),
        (
            Message(message.MSG_PING, b"ping", 42, 0, 0, hmac_key=b"secret"),
            "5059524f003000060000000000000004002a001a00003567484d41430014"
            "aac593384ba12b93f8b570492936b8faf782a7be70696e67",
        ),
        (
            Message(
                message.MSG_CONNECT,
                b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'t'}",
                1,
                message.FLAGS_META_ON_CONNECT,
                0,
            ),
            "5059524f00300001001000000000003c0001000000003567"
            + b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'t'}".hex(),
        ),
        (
            Message(message.MSG_INVOKE, CALL, 1, 0, 1, {"CORR": CORR}),
            "5059524f00300004000000010000002e0001001600003563434f52520010"
            + CORR.hex()
            + CALL.hex(),
        ),
        (
            Message(
                message.MSG_CONNECTFAIL,
                b"\xfa\x2cinvalid data or unsupported protocol version",
                3,
                0,
                0,
            ),
            "5059524f00300003000000000000002e000300000000354dfa2c"
            + b"invalid data or unsupported protocol version".hex(),
        ),
    ],
)
def test_golden_bytes(made, golden):
    assert made.to_bytes().hex() == golden


def test_the_signature_is_over_data_and_annotations():
    made = Message(
        message.MSG_INVOKE, CALL, 1, 0, 1, {"CORR": CORR, "ABCD": b"zz"}, hmac_key=b"secret"
    )
    assert made.hmac().hex() == "ed7e609666a201f96f2b6d346f4ffda154fc8e71"
    assert made.annotations["HMAC"] == made.hmac()


def test_given_annotations_are_not_changed():
    given_ones = {"ABCD": b"x"}
    Message(message.MSG_INVOKE, b"", 1, 0, 1, given_ones, hmac_key=b"secret")
    assert given_ones == {"ABCD": b"x"}


@given(
    kind=st.integers(1, 6),
    data=st.binary(max_size=200),
    serializer=st.integers(0, 65535),
    flags=st.integers(0, 65535).map(lambda flags: flags & ~message.FLAGS_COMPRESSED),
    seq=st.integers(0, 65535),
    annotations=st.dictionaries(
        st.text("ABCDEFG", min_size=4, max_size=4), st.binary(max_size=50), max_size=4
    ),
    key=st.none() | st.binary(min_size=1, max_size=20),
)
def test_what_is_sent_is_what_is_received(kind, data, serializer, flags, seq, annotations, key):
    sent = Message(kind, data, serializer, flags, seq, annotations, key)

    class Reader:
        rest = sent.to_bytes()

        def recv(self, size):
            taken, self.rest = self.rest[:size], self.rest[size:]
            return taken

    reader = Reader()
    got = Message.recv(reader, [kind], key)
    assert reader.rest == b""
    for name in Message.__slots__:
        assert getattr(got, name) == getattr(sent, name), name


HEADER = Message(message.MSG_INVOKE, b"", 1, 0, 1).to_bytes()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"", "size mismatch"),
        (b"x" * 24, "invalid data or unsupported protocol version"),
        (HEADER[:5] + b"\x2f" + HEADER[6:], "unsupported protocol version"),
        (HEADER[:23] + b"\0", "checksum mismatch"),
    ],
)
def test_bad_headers_are_refused(header, text):
    with pytest.raises(errors.ProtocolError, match=text):
        Message.from_header(header)


def with_annotations(area):
    made = Message(message.MSG_INVOKE, b"", 1, 0, 1)
    fields = (48, made.type, 0, 1, 0, 1, len(area))
    import struct

    header = struct.pack(
        Message.header_format, b"PYRO", *fields, 0, (sum(fields) + Message.checksum_magic) & 0xFFFF
    )
    return header + area


@pytest.mark.parametrize(
    "area", [b"ABC", b"ABCD\x00\x05abc", b"ABCD\x00\x01a" + b"XY", b"\xff\xff\xff\xff\x00\x00"]
)
def test_bad_annotations_are_refused(ends, area):
    """Pyro4 takes the second, and cuts it off."""
    here, there = ends
    there.send(with_annotations(area))
    with pytest.raises(errors.ProtocolError):
        Message.recv(here)


@pytest.mark.parametrize("key", ["ABC", "ABCDE", "ÄBCD"])
def test_bad_ids_are_refused(key):
    with pytest.raises(errors.ProtocolError, match="length 4"):
        Message(message.MSG_INVOKE, b"", 1, 0, 1, {key: b""}).to_bytes()


def test_what_does_not_fit_is_refused():
    with pytest.raises(errors.ProtocolError, match="70000 bytes"):
        Message(message.MSG_INVOKE, b"", 1, 0, 1, {"ABCD": b"x" * 70000}).to_bytes()
    with pytest.raises(errors.ProtocolError, match="does not fit"):
        Message(message.MSG_INVOKE, b"", 1 << 16, 0, 1).to_bytes()
    two = {"ABCD": b"x" * 40000, "EFGH": b"x" * 40000}
    with pytest.raises(errors.ProtocolError, match="does not fit"):
        Message(message.MSG_INVOKE, b"", 1, 0, 1, two).to_bytes()


def test_other_types_are_refused(ends):
    here, there = ends
    Message(message.MSG_INVOKE, b"", 1, 0, 1).send(there)
    with pytest.raises(errors.ProtocolError, match="invalid msg type 4 received"):
        Message.recv(here, [message.MSG_RESULT])


@pytest.mark.parametrize(
    ("key", "other", "text"),
    [
        (b"a", b"b", "message hmac mismatch"),
        (b"a", None, "not symmetric"),
        (None, b"b", "not symmetric"),
    ],
)
def test_another_key_is_refused(ends, key, other, text):
    here, there = ends
    Message(message.MSG_INVOKE, b"data", 1, 0, 1, hmac_key=key).send(there)
    with pytest.raises(errors.SecurityError, match=text):
        Message.recv(here, hmac_key=other)


def test_too_large_a_message_is_refused_before_it_is_read(ends):
    here, there = ends
    large = Message(message.MSG_INVOKE, b"x" * 2000, 1, 0, 1)
    config.MAX_MESSAGE_SIZE = 1000
    there.send(large.to_bytes()[: Message.header_size])
    with pytest.raises(errors.MessageTooLargeError, match="2000 where max=1000"):
        Message.recv(here)
    assert here.fileno() < 0
    with pytest.raises(errors.MessageTooLargeError):
        Message(message.MSG_INVOKE, b"x" * 2000, 1, 0, 1)


def packed(data):
    return Message(message.MSG_RESULT, data, 1, message.FLAGS_COMPRESSED, 1)


def test_data_are_unpacked_within_the_limit():
    made = packed(zlib.compress(b"abc" * 100)).decompress_if_needed()
    assert (made.data, made.data_size, made.flags) == (b"abc" * 100, 300, 0)
    bomb = packed(zlib.compress(b"\0" * 100_000))
    config.MAX_MESSAGE_SIZE = 1000
    with pytest.raises(errors.MessageTooLargeError):
        bomb.decompress_if_needed()


@pytest.mark.parametrize("data", [b"nonsense", zlib.compress(b"abc" * 100)[:-5]])
def test_data_that_cannot_be_unpacked_are_refused(data):
    with pytest.raises(errors.ProtocolError, match="cannot be unpacked"):
        packed(data).decompress_if_needed()


@pytest.mark.parametrize("key", [None, b"secret"])
def test_ping(ends, key):
    """In Pyro4 it fails with a key."""
    here, there = ends
    Message(message.MSG_PING, b"pong", 42, 0, 0, hmac_key=key).send(there)
    Message.ping(here, key)
    assert Message.recv(there, [message.MSG_PING], key).data == b"ping"


def test_repr():
    made = Message(message.MSG_INVOKE, b"abc", 1, 4, 7, {"ABCD": b""})
    assert repr(made).endswith("; type=4 flags=4 seq=7 datasize=3 #ann=1>")

"""Messages of Pyro5 as bytes and back; the bytes are those that the released package sends."""

from __future__ import annotations

import socket
import threading
import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyroipc
from pyroipc.compat.pyro5 import protocol
from pyroipc.compat.pyro5.protocol import ReceivingMessage, SendingMessage, recv_stub
from pyroipc.compat.sockets import SocketConnection

PING = bytes.fromhex(
    "5059524f01f6062a000000000000000400000000000000000000000000000000000000000000 4dc570696e67"
)
CONNECT = (
    bytes.fromhex(
        "5059524f01f60101000000000000003c0000000000000000000000000000000000000000 00004dc5"
    )
    + b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'t'}"
)
INVOKE = (
    bytes.fromhex(
        "5059524f01f60401004000010000002e0000000a11112222111122223333222244449999 00004dc5"
        "41424344 00000002 7a7a"
    )
    + b"# serpent utf-8 python3.2\n('t','echo',(1,),{})"
)
CORRELATION = uuid.UUID("11112222-1111-2222-3333-222244449999")


@pytest.fixture
def correlated():
    pyroipc.current_context.correlation_id = CORRELATION
    yield
    pyroipc.current_context.correlation_id = None


@pytest.fixture
def ends():
    here, there = map(SocketConnection, socket.socketpair())
    with here, there:
        yield here, there


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr(pyroipc.config, "MAX_MESSAGE_SIZE", 1000)


def test_golden_messages():
    assert SendingMessage(protocol.MSG_PING, 0, 0, 42, b"ping").data == PING
    assert SendingMessage(protocol.MSG_CONNECT, 0, 0, 1, CONNECT[40:]).data == CONNECT


@pytest.mark.usefixtures("correlated")
def test_a_golden_message_with_annotations_and_a_correlation_id():
    payload = INVOKE[-46:]
    message = SendingMessage(protocol.MSG_INVOKE, 0, 1, 1, payload, {"ABCD": b"zz"})
    assert message.data == INVOKE
    assert message.flags == protocol.FLAGS_CORR_ID
    received = ReceivingMessage(INVOKE[:40], INVOKE[40:])
    assert received.corr_id == CORRELATION.bytes
    assert bytes(received.annotations["ABCD"]) == b"zz"
    assert bytes(received.data) == payload


@given(
    st.integers(1, 6),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.binary(max_size=300),
    st.dictionaries(
        st.text(st.characters(codec="ascii"), min_size=4, max_size=4), st.binary(max_size=50)
    ),
)
def test_what_is_sent_is_what_is_received(kind, flags, seq, serializer, payload, annotations):
    sent = SendingMessage(kind, flags, seq, serializer, payload, annotations)
    received = ReceivingMessage(sent.data[:40])
    assert (received.type, received.seq) == (kind, seq)
    assert received.flags == sent.flags == flags & ~protocol.FLAGS_COMPRESSED
    assert (received.serializer_id, received.data_size) == (serializer, len(payload))
    received.add_payload(sent.data[40:])
    assert bytes(received.data) == payload
    assert {key: bytes(value) for key, value in received.annotations.items()} == annotations


def test_compression(monkeypatch):
    monkeypatch.setattr(pyroipc.config, "COMPRESSION", True)
    plain = SendingMessage(4, 0, 1, 1, b"x" * 100)
    packed = SendingMessage(4, 0, 1, 1, b"x" * 101)
    assert (plain.flags, len(plain.data)) == (0, 140)
    assert (packed.flags, packed.data[40:]) == (2, zlib.compress(b"x" * 101, 4))
    received = ReceivingMessage(packed.data[:40], packed.data[40:])
    assert (received.flags, received.data, received.data_size) == (0, b"x" * 101, 101)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    "data",
    [zlib.compress(b"x" * 100_000), zlib.compress(b"x" * 90)[:-3], b"none",
     zlib.compress(b"x") + b"y"],
)  # fmt: skip
def test_compressed_data_that_are_too_much_or_broken(data):
    message = bytearray(SendingMessage(4, 0, 1, 1, data).data)
    message[9] |= protocol.FLAGS_COMPRESSED
    with pytest.raises(pyroipc.ProtocolError, match="the compressed data are"):
        ReceivingMessage(bytes(message[:40]), bytes(message[40:]))


@pytest.mark.usefixtures("limited")
def test_messages_that_are_too_large():
    with pytest.raises(pyroipc.ProtocolError, match=r"message too large \(1001, max=1000\)"):
        SendingMessage(4, 0, 1, 1, b"x" * 1001)
    with pytest.raises(pyroipc.ProtocolError, match="message too large"):
        SendingMessage(4, 0, 1, 1, b"x" * 990, {"ABCD": b"123"})
    header = bytearray(SendingMessage(4, 0, 1, 1, b"").data)
    header[12:16] = b"\x7f\xff\xff\xff"
    with pytest.raises(pyroipc.ProtocolError, match="message too large"):
        ReceivingMessage(bytes(header))


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        ({"ABC": b""}, "must be 4 ascii characters"),
        ({"ABCDE": b""}, "must be 4 ascii characters"),
        ({"ABCÜ": b""}, "must be 4 ascii characters"),
        ({"ABCD": "text"}, "must be bytes"),
        ({"ABCD": None}, "must be bytes"),
    ],
)
def test_annotations_that_cannot_be(annotations, text):
    with pytest.raises(pyroipc.ProtocolError, match=text):
        SendingMessage(4, 0, 1, 1, b"", annotations)


@pytest.mark.parametrize(
    "area", [b"ABCD\0\0\0\5zz", b"ABC", b"ABCD\0\0\0", b"ABCD\0\0\0\1", b"\xffBCD\0\0\0\0"]
)
def test_annotations_that_are_broken(area):
    header = bytearray(SendingMessage(4, 0, 1, 1, b"").data)
    header[16:20] = len(area).to_bytes(4, "big")
    with pytest.raises(pyroipc.ProtocolError, match="annotations are"):
        ReceivingMessage(bytes(header), area)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", ValueError, "at least 4 bytes"),
        (b"PYR", ValueError, "at least 4 bytes"),
        (b"GET / HTTP/1.0\r\n", pyroipc.ProtocolError, "invalid data"),
        (b"PYRO\0\x30", pyroipc.ProtocolError, "invalid protocol version: 48"),
        (INVOKE[:38] + b"\0\0", pyroipc.ProtocolError, "invalid magic number"),
    ],
)
def test_what_is_no_message(data, error, text):
    with pytest.raises(error, match=text):
        ReceivingMessage.validate(data)


@pytest.mark.parametrize("size", [4, 5, 6, 39, 40])
def test_the_beginning_of_a_message(size):
    assert ReceivingMessage.validate(INVOKE[:size]) is None
    if size < 40:
        with pytest.raises(pyroipc.ProtocolError, match="a header has 40 bytes"):
            ReceivingMessage(INVOKE[:size])


def test_a_payload_of_another_length():
    for payload in (INVOKE[40:-1], INVOKE[40:] + b"x", b""):
        with pytest.raises(pyroipc.ProtocolError, match="doesn't match message header"):
            ReceivingMessage(INVOKE[:40], payload)


def test_receiving(ends):
    here, there = ends
    here.send(INVOKE + PING)
    assert bytes(recv_stub(there).annotations["ABCD"]) == b"zz"
    with pytest.raises(pyroipc.ProtocolError, match=r"invalid msg type 6 .*\(expected: 4, 5\)"):
        recv_stub(there, [4, 5])
    here.send(b"hello hello hello hello hello hello hello hello")
    with pytest.raises(pyroipc.ProtocolError, match="invalid data"):
        recv_stub(there, [])


def test_pinging(ends):
    here, there = ends

    def answer():
        message = recv_stub(there, [protocol.MSG_PING])
        there.send(SendingMessage(protocol.MSG_PING, 0, message.seq, 42, b"pong").data)

    thread = threading.Thread(target=answer)
    thread.start()
    assert SendingMessage.ping(here) is None
    thread.join()


def test_how_they_are_shown(caplog):
    sent = SendingMessage(4, 0, 3, 1, b"abc", {"ABCD": b"zz"})
    received = ReceivingMessage(sent.data[:40], sent.data[40:])
    assert repr(sent).endswith("; type=4 flags=0 seq=3 size=53>")
    assert repr(received).startswith("<Pyro5.protocol.ReceivingMessage at 0x")
    assert repr(received).endswith("; type=4 flags=0 seq=3 size=3>")
    import logging

    with caplog.at_level(logging.DEBUG, "wire"):
        protocol.log_wiredata(logging.getLogger("wire"), "sent", sent)
    assert caplog.messages == ["sent: msgtype=4 flags=0x0 ser=1 seq=3 size=53"]

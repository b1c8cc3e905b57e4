"""Signed records: who is let in, what is said to those who are not, and the bytes themselves."""

from __future__ import annotations

import hashlib
import hmac
import select
import socket
import struct
from time import monotonic

import pytest

from pyroipc.errors import (
    ConnectionClosedError,
    ProtocolError,
    SecurityError,
    VersionMismatchError,
)
from pyroipc.transports.coated import CoatedSocket
from pyroipc.transports.seal import SealCoat
from pyroipc.wire.message import GOODBYE
from tests.support.coats import KEY, feed, move, seal_coats, shake_hands, take, wait_for
from tests.support.hosts import PATIENCE, unix_pair
from tests.support.messages import plain


@pytest.fixture
def pair():
    """The coats of a client and a server that know each other."""
    coats = seal_coats()
    shake_hands(*coats)
    return coats


@pytest.fixture
def raw_pair():
    near, far = unix_pair()
    with near, far:
        yield near, far


def records_of(coat, *pieces):
    """Return the raw form of pieces."""
    made = []
    for piece in pieces:
        coat.write(memoryview(piece))
        made.append(coat.outgoing)
        coat.outgoing, coat.taken = b"", 0
    return made


def arrive(coat, data):
    coat.arrived = data
    return take(coat)


def test_the_bytes_are_as_documented():
    """The peer is written by hand here, from the tables in the documentation."""

    def mac(key, *parts):
        return hmac.new(key, b"".join(parts), hashlib.sha256).digest()

    server = SealCoat("the key", server_side=True)
    ours = bytes(range(32))
    server.arrived = b"PYROH\x01" + ours
    assert not server.advance()
    answer = server.outgoing
    theirs = answer[6:38]
    key = b"the key"
    assert answer[:6] == b"PYROH\x01"
    assert answer[38:] == mac(key, b"pyroipc 1 confirm", ours, theirs)
    server.outgoing = b""
    sending = mac(key, b"pyroipc 1 client to server", ours, theirs)
    for number, text in enumerate((b"first", b"second")):
        counted = struct.pack(">QI", number, len(text)) + text
        assert arrive(server, counted[8:] + mac(sending, counted)) == text
    receiving = mac(key, b"pyroipc 1 server to client", ours, theirs)
    (record,) = records_of(server, b"reply")
    counted = struct.pack(">QI", 0, 5) + b"reply"
    assert record == counted[8:] + mac(receiving, counted)
    empty = struct.pack(">QI", 2, 0)
    assert arrive(server, empty[8:] + mac(sending, empty)) == b""
    assert server.ended


@pytest.mark.parametrize("key", [b"", ""])
def test_an_empty_key(key):
    with pytest.raises(SecurityError, match="empty"):
        SealCoat(key, server_side=True)


@pytest.mark.parametrize("key", [None, 5, bytearray(b"key")])
def test_a_key_of_another_type(key):
    with pytest.raises(TypeError, match="HMAC key"):
        SealCoat(key, server_side=True)


def test_text_keys():
    shake_hands(*seal_coats("Schlüssel", "Schlüssel".encode()))


def test_the_key_is_not_shown():
    assert "secret" not in repr(SealCoat(b"secret", server_side=True))


def test_another_key():
    client, server = seal_coats(server_key=b"another")
    with pytest.raises(SecurityError, match="the HMAC keys of the two ends differ"):
        shake_hands(client, server)
    assert not client.handshake_done


def test_a_client_without_the_key():
    """One that does not care what the server confirms is found out at its first record."""
    server = SealCoat(KEY, server_side=True)
    server.arrived = b"PYROH\x01" + bytes(32)
    server.advance()
    with pytest.raises(SecurityError, match=r"first record .* another HMAC key"):
        arrive(server, struct.pack(">I", 5) + b"hello" + bytes(32))
    assert not server.plain


def test_repeated(pair):
    client, server = pair
    first, second = records_of(client, b"pay 10", b"thanks")
    assert arrive(server, first) == b"pay 10"
    with pytest.raises(SecurityError, match="repeated"):
        arrive(server, first)
    assert second


def test_out_of_order(pair):
    client, server = pair
    first, second = records_of(client, b"one", b"two")
    with pytest.raises(SecurityError):
        arrive(server, second + first)
    assert not server.plain


def test_left_out(pair):
    client, server = pair
    first, _, third = records_of(client, b"one", b"two", b"three")
    assert arrive(server, first) == b"one"
    with pytest.raises(SecurityError, match="left out"):
        arrive(server, third)


def test_reflected(pair):
    """What a client has sent is not accepted by the same client."""
    client, _ = pair
    (record,) = records_of(client, b"pay 10")
    with pytest.raises(SecurityError):
        arrive(client, record)


def test_on_another_connection(pair):
    client, _ = pair
    _, other = seal_coats()
    shake_hands(SealCoat(KEY, server_side=False), other)
    (record,) = records_of(client, b"pay 10")
    with pytest.raises(SecurityError):
        arrive(other, record)


def test_replayed_handshake():
    """A recorded conversation gets nowhere with a server: its nonce is another one."""
    client, server = seal_coats()
    hello = client.outgoing
    shake_hands(client, server)
    (record,) = records_of(client, b"pay 10")
    other = SealCoat(KEY, server_side=True)
    other.arrived = hello
    other.advance()
    with pytest.raises(SecurityError):
        arrive(other, record)


@pytest.mark.parametrize("n_bytes", [1, 5, 20, 41])
def test_cut_off_in_a_record(pair, n_bytes):
    client, server = pair
    (record,) = records_of(client, b"12345678")
    assert arrive(server, record[:n_bytes]) == b""
    with pytest.raises(ConnectionClosedError, match="cut off in the middle of a signed record"):
        arrive(server, b"")


def test_cut_off_between_records(pair):
    client, server = pair
    (record,) = records_of(client, b"12345678")
    assert arrive(server, record) == b"12345678"
    with pytest.raises(ConnectionClosedError, match="without a farewell"):
        arrive(server, b"")


def test_farewell(pair):
    client, server = pair
    client.farewell()
    move(client, server)
    assert server.ended


@pytest.mark.parametrize("n_bytes", [65_537, 1 << 31, (1 << 32) - 1])
def test_hostile_lengths(pair, n_bytes):
    _, server = pair
    with pytest.raises(SecurityError, match=f"record of {n_bytes} bytes, at most 65536"):
        arrive(server, struct.pack(">I", n_bytes))


def test_no_more_than_one_record_is_held(pair):
    """A reader who stores what is wanted never gives more than one record before it is checked."""
    client, server = pair
    (record,) = records_of(client, bytes(65_536))
    data, start, held = record * 2, 0, 0
    with pytest.raises(SecurityError):
        while True:
            held += server.wanted
            server.arrived = data[start : start + server.wanted]
            start += server.wanted
            if take(server):
                held = 0
            assert held <= len(record)


def test_too_many_bytes_for_one_record(pair):
    client, _ = pair
    with pytest.raises(ProtocolError, match="65537 bytes"):
        client.write(memoryview(bytes(65_537)))
    assert not client.taken


# ------------------------------------------------------------------ peers without a key


@pytest.mark.parametrize("first", [b"PYROI\x01", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PYRX"])
def test_a_client_that_uses_no_key(raw_pair, first):
    near, far = raw_pair
    frame = plain(GOODBYE, 0, b"this daemon has a key", 0)
    server = CoatedSocket(far, seal_coats(refusal=frame)[1])
    near.sendall(first)
    wait_for(server, select.POLLIN)
    with pytest.raises(SecurityError, match="the client uses no HMAC key"):
        server.drive()
    assert near.recv(1000) == frame


def test_a_server_that_uses_no_key(raw_pair):
    near, far = raw_pair
    client = CoatedSocket(near, SealCoat(KEY, server_side=False))
    frame = plain(GOODBYE, 0, b"what is that?", 0)
    for i in range(len(frame)):
        assert client.drive() is False
        far.sendall(frame[i : i + 1])
    with pytest.raises(SecurityError, match="server uses no HMAC key; it says: what is that"):
        client.handshake(monotonic() + PATIENCE)


def test_a_server_of_another_kind(raw_pair):
    near, far = raw_pair
    client = CoatedSocket(near, SealCoat(KEY, server_side=False))
    far.sendall(b"SSH-2.0-OpenSSH\r\n")
    with pytest.raises(SecurityError, match="server uses no HMAC key: it sent b'SSH"):
        client.handshake(monotonic() + PATIENCE)


def test_a_goodbye_that_is_cut_off(raw_pair):
    near, far = raw_pair
    client = CoatedSocket(near, SealCoat(KEY, server_side=False))
    far.sendall(plain(GOODBYE, 0, b"what is that?", 0)[:-6])
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(SecurityError, match="it says: what is"):
        client.handshake(monotonic() + PATIENCE)


@pytest.mark.parametrize("server_side", [True, False])
def test_another_version(server_side):
    coat = SealCoat(KEY, server_side=server_side)
    coat.arrived = b"PYROH\x02"
    with pytest.raises(VersionMismatchError, match="by version 2, this end by 1"):
        coat.advance()


@pytest.mark.parametrize(("server_side", "text"), [(True, "client"), (False, "uses no HMAC key")])
@pytest.mark.parametrize("head", [b"", b"PYRO", b"PYROH\x01" + bytes(10)])
def test_cut_off_in_the_handshake(server_side, text, head):
    coat = SealCoat(KEY, server_side=server_side)
    if head:
        coat.arrived = head
        assert not coat.advance()
    coat.arrived = b""
    with pytest.raises((ConnectionClosedError, SecurityError), match=text):
        coat.advance()


def test_fed_in_any_amount():
    """Handshakes arrive byte by byte, records together with the handshake."""
    client, server = seal_coats()
    feed(server, client.outgoing, 1)
    client.outgoing = b""
    answer, server.outgoing = server.outgoing, b""
    (record,) = records_of(server, b"at once")
    client.arrived = answer + record
    assert take(client) == b"at once"

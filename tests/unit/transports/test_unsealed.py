"""The seal where a Pyro4 is let past it, who signs messages by himself; and where none is."""

from __future__ import annotations

import pytest

from pyroipc.errors import (
    ConnectionClosedError,
    ProtocolError,
    SecurityError,
    VersionMismatchError,
)
from pyroipc.transports.seal import SealCoat
from pyroipc.wire.dialect import PYRO4, SIGNATURES
from tests.support.coats import KEY, shake_hands, take
from tests.support.pyro_frames import CONNECT, CONNECTFAIL
from tests.support.pyro_frames import PYRO4 as FRAMES

PYRO4_BEGINS = SIGNATURES[PYRO4]
FRAME = FRAMES.frame(CONNECT, payload=b"x" * 100)


def server(refusal=b"refused"):
    return SealCoat(KEY, server_side=True, refusal=refusal, unsealed=PYRO4_BEGINS)


def client():
    return SealCoat(KEY, server_side=False, unsealed=PYRO4_BEGINS)


def arrive(coat, data):
    coat.arrived = data
    return take(coat)


# ------------------------------------------------------------------------------------ a server


@pytest.mark.parametrize("size", [6, 7, 23, 24, len(FRAME)])
def test_the_bytes_of_a_pyro4_are_given_on_as_they_are(size):
    coat = server()
    assert arrive(coat, FRAME[:size]) == FRAME[:size]
    assert coat.handshake_done
    if FRAME[size:]:
        assert arrive(coat, FRAME[size:]) == FRAME[size:]
    assert arrive(coat, b"\x00\x00\x00\x01whatever") == b"\x00\x00\x00\x01whatever"
    assert coat.outgoing == b""


def test_however_few_come_at_once():
    coat, found = server(), b""
    for i, byte in enumerate(FRAME):
        found += arrive(coat, bytes([byte]))
        assert coat.handshake_done == (i >= 5)
    assert found == FRAME


def test_what_is_sent_to_it_goes_as_it_is():
    coat = server()
    arrive(coat, FRAME)
    coat.write(memoryview(b"answer"))
    assert (coat.outgoing, coat.taken) == (b"answer", 6)
    coat.farewell()
    assert coat.outgoing == b"answer"  # no empty record, which it would not know
    with pytest.raises(ProtocolError, match="too many"):
        coat.write(memoryview(bytes(70_000)))


def test_its_stream_ends_as_any_does():
    coat = server()
    assert arrive(coat, FRAME) == FRAME
    assert not coat.ended
    assert arrive(coat, b"") == b""
    assert coat.ended
    assert coat.advance()


@pytest.mark.parametrize("size", range(1, 6))
def test_a_stream_that_ends_before_it_is_known(size):
    coat = server()
    assert arrive(coat, FRAME[:size]) == b""
    coat.arrived = b""
    with pytest.raises((ConnectionClosedError, SecurityError)):
        coat.advance()
    assert not coat.handshake_done


@pytest.mark.parametrize(
    "head",
    [
        b"PYRO\x01\xf6" + bytes(40),
        b"PYRO\x00\x2f" + bytes(40),
        b"PYRO\x00\x31" + bytes(40),
        b"PYROI\x01" + bytes(40),
        b"GET / HTTP/1.1\r\n",
        b"\x00",
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_nobody_else_is_let_past(head, at_once):
    coat = server()
    with pytest.raises(SecurityError, match="the client uses no HMAC key"):
        for piece in [head] if at_once else [head[i : i + 1] for i in range(len(head))]:
            arrive(coat, piece)
    assert coat.outgoing == b"refused"
    assert not coat.handshake_done


def test_the_refusal_is_made_of_how_the_client_began():
    heads = []

    def refuse(head):
        heads.append(head)
        return b"no"

    coat = server(refuse)
    with pytest.raises(SecurityError):
        arrive(coat, b"PYRO\x01\xf6" + bytes(40))
    assert heads == [b"PYRO\x01\xf6" + bytes(40)]


def test_our_own_clients_wear_it_as_ever():
    coats = client(), server()
    shake_hands(*coats)
    for sender, receiver in (coats, coats[::-1]):
        sender.write(memoryview(FRAME))  # it begins like a Pyro4, and is a record all the same
        assert sender.outgoing != FRAME
        assert arrive(receiver, sender.outgoing) == FRAME
        with pytest.raises(SecurityError):
            arrive(receiver, FRAME)


def test_where_no_pyro4_is_wanted():
    coat = SealCoat(KEY, server_side=True, refusal=b"refused")
    with pytest.raises(SecurityError, match="the client uses no HMAC key"):
        arrive(coat, FRAME)
    assert coat.outgoing == b"refused"


def test_another_version_of_the_seal():
    with pytest.raises(VersionMismatchError):
        arrive(server(), b"PYROH\x02" + bytes(32))


# ------------------------------------------------------------------------------------ a client

REFUSAL = FRAMES.frame(CONNECTFAIL, 3, payload=b"no" * 20, area=FRAMES.area({"HMAC": bytes(20)}))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_never_goes_without_it(at_once):
    """Whatever a server that begins like a Pyro4 says; but all of it is heard."""
    coat = client()
    coat.outgoing = b""
    pieces = [REFUSAL] if at_once else [REFUSAL[i : i + 1] for i in range(len(REFUSAL))]
    for piece in pieces[:-1]:
        assert arrive(coat, piece) == b""
    with pytest.raises(SecurityError, match="the server uses no HMAC key"):
        arrive(coat, pieces[-1])
    assert coat.head == REFUSAL
    assert not coat.handshake_done
    assert coat.key == KEY


def test_a_refusal_that_is_cut_off():
    coat = client()
    assert arrive(coat, REFUSAL[:30]) == b""
    coat.arrived = b""
    with pytest.raises(SecurityError, match="the server uses no HMAC key"):
        coat.advance()
    assert coat.head == REFUSAL[:30]


@pytest.mark.parametrize("sizes", [{"payload_bytes": 0x7FFFFFFF}, {"payload_bytes": -1}])
def test_no_more_than_a_refusal_is_waited_for(sizes):
    coat = client()
    head = FRAMES.frame(CONNECTFAIL, 3, **sizes)
    with pytest.raises(SecurityError):
        for _ in range(100):
            arrive(coat, head + bytes(100))
            head = b""
    assert len(coat.head) < 1300


def test_a_pyro5_is_refused_at_once():
    coat = client()
    with pytest.raises(SecurityError, match="the server uses no HMAC key"):
        arrive(coat, b"PYRO\x01\xf6")
    assert coat.head == b"PYRO\x01\xf6"

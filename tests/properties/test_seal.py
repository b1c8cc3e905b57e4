"""Signed records: whatever is cut arrives, whatever is changed does not."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from pyroipc.errors import ConnectionClosedError, ProtocolError, SecurityError
from pyroipc.transports.seal import SealCoat
from tests.support.coats import KEY, seal_coats, shake_hands, take
from tests.support.messages import bytewise, splits
from tests.support.searching import examples

REFUSED = (SecurityError, ProtocolError, ConnectionClosedError)
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)
pieces = st.lists(
    st.one_of(st.binary(min_size=1, max_size=60), st.integers(1, 65_536).map(bytes)),
    min_size=1,
    max_size=5,
)
small_pieces = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4)


def raw_form(coat, plain):
    """Return the records of pieces, one each."""
    records = []
    for piece in plain:
        coat.write(memoryview(piece))
        records.append(coat.outgoing)
        coat.outgoing, coat.taken = b"", 0
    return records


def arrives(coat, parts):
    """Give raw bytes to a coat, part by part; return the plain ones."""
    found = b""
    for part in parts:
        if part:
            coat.arrived = bytes(part)
            found += take(coat)
    return found


@given(pieces, cuts)
@examples(60)
def test_records_survive_any_split(plain, offsets):
    client, server = seal_coats()
    shake_hands(client, server)
    data = b"".join(raw_form(client, plain))
    assert arrives(server, splits(data, offsets)) == b"".join(plain)
    assert server.hungry


@given(small_pieces)
@examples(40)
def test_records_survive_byte_by_byte(plain):
    client, server = seal_coats()
    shake_hands(client, server, cut=1)
    data = b"".join(raw_form(client, plain))
    assert arrives(server, bytewise(data)) == b"".join(plain)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(small_pieces, st.integers(0, 1 << 20), cuts)
@examples(200)
def test_a_flipped_bit_ends_it(plain, bit, offsets):
    """Nothing is given on from the changed record on, and the connection does not go on."""
    client, server = seal_coats()
    shake_hands(client, server)
    records = raw_form(client, plain)
    client.farewell()  # without it, the end alone would be an error
    data = b"".join((*records, client.outgoing))
    bit %= 8 * len(data)
    whole, end = 0, 0
    for record in records:
        end += len(record)
        if end * 8 > bit:
            break
        whole += 1
    found = b""
    error = None
    try:
        for part in (*filter(len, splits(flipped(data, bit), offsets)), b""):
            server.arrived = bytes(part)
            found += take(server)
    except REFUSED as raised:
        error = raised
    assert error is not None
    assert b"".join(plain[:whole]).startswith(found)


def exchange(flip_client=None, flip_server=None):
    """Do a handshake and send one record each way, with a bit flipped on the way."""
    client, server = seal_coats()
    for source, target, bit in ((client, server, flip_client), (server, client, flip_server)):
        data, source.outgoing = source.outgoing, b""
        target.arrived = data if bit is None else flipped(data, bit % (8 * len(data)))
        take(target)
        # At the latest the end of the stream says that something is missing.
        if not target.handshake_done:
            target.arrived = b""
            take(target)
    for source, target in ((client, server), (server, client)):
        (record,) = raw_form(source, [b"data"])
        target.arrived = record
        assert take(target) == b"data"


def test_the_exchange_works_unchanged():
    exchange()


@given(st.integers(0, 8 * 70 - 1), st.booleans())
@examples(200)
def test_a_bit_flipped_in_the_handshake_ends_it(bit, of_client):
    error = None
    try:
        exchange(flip_client=bit) if of_client else exchange(flip_server=bit)
    except REFUSED as raised:
        error = raised
    assert error is not None


@given(st.binary(max_size=300), st.booleans())
@example(b"PYROI\x01\x06" + bytes(21) + b"\xff" * 8, False)
@example(b"PYROI\x01\x06" + bytes(40), False)
@examples(200)
def test_any_first_bytes_are_refused_or_waited_for(data, server_side):
    coat = SealCoat(KEY, server_side=server_side)
    error = None
    try:
        for part in (data, b""):
            coat.arrived = part
            take(coat)
    except REFUSED as raised:
        error = raised
    assert error is not None
    assert not coat.plain


@given(st.integers(0, (1 << 32) - 1), st.binary(max_size=200))
@examples(200)
def test_hostile_lengths(length, data):
    client, server = seal_coats()
    shake_hands(client, server)
    error = None
    try:
        for part in (struct.pack(">I", length) + data, b""):
            server.arrived = part
            assert take(server) == b""
    except REFUSED as raised:
        error = raised
    assert error is not None

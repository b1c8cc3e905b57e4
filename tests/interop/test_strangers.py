"""Strangers at a daemon of ours: raw bytes in the dialects of Pyro, right and wrong ones."""

from __future__ import annotations

import ast
import contextlib
import marshal
import socket
import struct

import pytest

import pyroipc
from tests.interop.peers.library import OURS, PYRO4, PYRO5
from tests.support import daemons
from tests.support.daemons import settings
from tests.support.hosts import PATIENCE
from tests.support.pyro_peers import server

FAMILIES = (PYRO5, PYRO4)


class Thing:
    @pyroipc.expose
    def add(self, a, b=2):
        return a + b


@contextlib.contextmanager
def visiting(uri):
    location = uri.partition("@")[2]
    host, _, port = location.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as sock:
        yield sock


def read_all(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            data += chunk
    return data


def text_of(serializer, data):
    if serializer == 1:
        return ast.literal_eval(data.decode().partition("\n")[2])
    return marshal.loads(data)


def read_pyro4(data):
    """Return version, type, sequence number and text of a failure in the layout of Pyro4."""
    magic, version, kind, flags, seq, n_bytes, serializer, annotations, _, checksum = (
        struct.unpack("!4sHHHHiHHHH", data[:24])
    )
    assert magic == b"PYRO"
    assert (flags, annotations) == (0, 0)
    assert serializer in (1, 3)
    assert checksum == (kind + version + n_bytes + serializer + seq + 0x34E9) & 0xFFFF
    assert len(data) == 24 + n_bytes
    return version, kind, seq, text_of(serializer, data[24:])


def read_pyro5(data):
    """Return the same of one in the layout of Pyro5."""
    magic, version, kind, serializer, _, seq, n_bytes, annotations, _, _, check = struct.unpack(
        "!4sHBBHHII16sHH", data[:40]
    )
    assert magic == b"PYRO"
    assert (annotations, check) == (0, 0x4DC5)
    assert serializer in (1, 2)
    assert len(data) == 40 + n_bytes
    return version, kind, seq, text_of(serializer, data[40:])


@pytest.mark.parametrize(
    ("version", "read"),
    [
        (5, read_pyro4), (46, read_pyro4), (47, read_pyro4), (49, read_pyro4),
        (499, read_pyro4), (500, read_pyro5), (501, read_pyro5), (503, read_pyro5),
        (600, read_pyro5), (65535, read_pyro5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n_more", [0, 18, 60])
def test_versions_that_nobody_speaks(version, read, n_more):
    """Such a client gets the refusal with its own version, so that it can read it."""
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(b"PYRO" + version.to_bytes(2, "big") + bytes(n_more))
        found = read(read_all(sock))
    assert found[:2] == (version, 3)
    assert "invalid protocol version" in found[3]
    assert f"version {version}" in found[3]
    assert "this daemon speaks native, pyro5, pyro4" in found[3]


CONNECT = b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'basics'}"


def pyro4_message(kind, data, *, flags=0, seq=0, serializer=1, chunks=b"", checksum=0):
    total = kind + 48 + len(data) + len(chunks) + serializer + flags + seq + 0x34E9 + checksum
    head = struct.pack(
        "!4sHHHHiHHHH", b"PYRO", 48, kind, flags, seq, len(data), serializer, len(chunks), 0,
        total & 0xFFFF,
    )  # fmt: skip
    return head + chunks + data


def pyro5_message(kind, data, *, flags=0, seq=0, serializer=1, chunks=b"", check=0x4DC5):
    head = struct.pack(
        "!4sHBBHHII16sHH", b"PYRO", 502, kind, serializer, flags, seq, len(data), len(chunks),
        bytes(16), 0, check,
    )  # fmt: skip
    return head + chunks + data


BUILD = {PYRO4: pyro4_message, PYRO5: pyro5_message}
READ = {PYRO4: read_pyro4, PYRO5: read_pyro5}
CALL = b"# serpent utf-8 python3.2\n('basics','add',(1,),{})"

CUT = {PYRO4: {"chunks": b"ABCD\0\x09x"}, PYRO5: {"chunks": b"ABCD\0\0\0\x09x"}}
ODD = {PYRO4: {"chunks": b"\xc3BCD\0\0"}, PYRO5: {"chunks": b"\xc3BCD\0\0\0\0"}}
WRONG = {PYRO4: {"checksum": 1}, PYRO5: {"check": 0x4DC4}}
LIST = b"# serpent utf-8 python3.2\n[1]"
BAD = {
    "wrong check": ((1, CONNECT), WRONG, "checksum|invalid message"),
    "a call before the introduction": ((4, CALL), {}, "invalid msg type 4 received"),
    "a ping before the introduction": ((6, b"ping"), {}, "invalid msg type 6 received"),
    "a type for clients": ((2, b""), {}, "invalid msg type 2 received"),
    "a type that does not exist": ((99, b""), {}, "invalid msg type 99 received"),
    "a serializer that does not exist": ((1, CONNECT), {"serializer": 99}, "not accepted: 99"),
    "a payload that is none": ((1, b"nonsense"), {}, "serpent"),
    "a payload that is no introduction": ((1, LIST), {}, "an introduction holds"),
    "an annotation that is too long": ((1, CONNECT), CUT, "annotation"),
    "annotations that are cut off": ((1, CONNECT), {"chunks": b"AB"}, "annotations are cut off"),
    "an id that is not ASCII": ((1, CONNECT), ODD, "not ASCII"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("family", FAMILIES)
def test_clients_that_break_the_rules(family, what):
    """They are told so in a way that they can read, and are gone."""
    (kind, data), changes, text = BAD[what]
    changes = changes.get(family, {}) if {PYRO4, PYRO5} & set(changes) else changes
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(BUILD[family](kind, data, **changes))
        version, kind, _, found = READ[family](read_all(sock))
    assert (version, kind) == ({PYRO4: 48, PYRO5: 502}[family], 3)
    assert any(part in found for part in text.split("|")), found


@pytest.mark.parametrize("family", FAMILIES)
def test_pings(family):
    """They are answered with the number and the serializer that they came with."""
    build, head = BUILD[family], {PYRO4: 24, PYRO5: 40}[family]
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(build(1, CONNECT))
        assert sock.recv(65536)[:6] == build(1, b"")[:6]
        for seq in (0, 7, 65535):
            sock.sendall(build(6, b"ping", seq=seq, serializer=42))
            answer = sock.recv(65536)
            assert answer == build(6, b"pong", seq=seq, serializer=42)
            assert len(answer) == head + 4


def test_clients_that_stop_in_the_middle():
    """They are told, in their own dialect, as soon as that is known."""
    changed = settings(HANDSHAKE_TIMEOUT=0.2)
    with (
        daemons.serving({"thing": Thing()}, settings=changed) as place,
        contextlib.ExitStack() as stack,
    ):
        socks = {}
        for family in FAMILIES:
            for n_bytes in (4, 6, 20, 30, 60):
                sock = stack.enter_context(visiting(place.uri()))
                sock.sendall(BUILD[family](1, CONNECT)[:n_bytes])
                socks[family, n_bytes] = sock
        for (family, n_bytes), sock in socks.items():
            data = read_all(sock)
            if n_bytes >= 6:
                version, kind, _, text = READ[family](data)
                assert (version, kind) == ({PYRO4: 48, PYRO5: 502}[family], 3)
                assert text == "it has not introduced itself for 0.2 s"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_that_sends_byte_by_byte(family):
    with visiting(server(OURS).uri()) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in BUILD[family](1, CONNECT):
            sock.sendall(bytes([byte]))
        assert sock.recv(65536)[:6] == BUILD[family](1, b"")[:6]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_that_sends_all_at_once(family):
    """Calls behind the introduction, before anything was answered."""
    build = BUILD[family]
    calls = b"".join(build(4, CALL, seq=seq) for seq in range(1, 20))
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(build(1, CONNECT) + calls)
        data = b""
        while data.count(b"PYRO") < 20:
            data += sock.recv(65536)
    answered = [part for part in data.split(b"PYRO") if part][1:]
    assert len(answered) == 19
    assert all(part.endswith(b"\n3") for part in answered)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_introduction(family):
    build = BUILD[family]
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(build(1, CONNECT))
        sock.recv(65536)
        sock.sendall(build(1, CONNECT, seq=1))
        _, kind, _, text = READ[family](read_all(sock))
    assert kind == 3
    assert text == "invalid msg type 1 received"


def test_a_client_that_changes_the_dialect():
    with visiting(server(OURS).uri()) as sock:
        sock.sendall(pyro5_message(1, CONNECT))
        sock.recv(65536)
        sock.sendall(pyro4_message(4, CALL, seq=1))
        version, kind, _, text = read_pyro4(read_all(sock))
    assert (version, kind) == (48, 3)
    assert "the peer speaks Pyro4" in text

"""Two ends of a connection that wear coats."""

from __future__ import annotations

import contextlib
import select
import ssl
import tempfile
from functools import cache
from pathlib import Path
from time import monotonic

from pyroipc.transports.coated import CoatedSocket
from pyroipc.transports.seal import SealCoat
from pyroipc.transports.tls import TlsCoat
from pyroipc.transports.tls_contexts import client_context, server_context
from tests.support.certificates import Authority
from tests.support.hosts import PAIRS, PATIENCE, Worker

KEY = b"the key of the tests"
COATS = ("tls", "tls 1.2", "hmac", "both")


@cache
def contexts():
    """Make a context for a server on localhost, and one for its clients."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        identity = authority.issue("localhost")
        return (
            server_context(identity.certificate, key=identity.key),
            client_context(authorities=authority.file),
        )


def tls_coats(version=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    """Make the coats of a client and of a server that trust each other."""
    server, client = contexts()
    client.maximum_version = version
    return (
        TlsCoat(client, server_side=False, server_hostname="localhost"),
        TlsCoat(server, server_side=True),
    )


def seal_coats(client_key=KEY, server_key=KEY, refusal=b""):
    """Make the coats of a client and of a server."""
    return (
        SealCoat(client_key, server_side=False),
        SealCoat(server_key, server_side=True, refusal=refusal),
    )


def put_on(kind, near, far):
    """Put coats over the sockets of a client and a server."""
    worn = []
    if kind == "tls 1.2":
        worn.append(tls_coats(ssl.TLSVersion.TLSv1_2))
    elif kind != "hmac":
        worn.append(tls_coats())
    if kind in {"hmac", "both"}:
        worn.append(seal_coats())
    for of_client, of_server in worn:
        near, far = CoatedSocket(near, of_client), CoatedSocket(far, of_server)
    return near, far


@contextlib.contextmanager
def coated_pair(kind, pair="tcp"):
    """Yield two ends, client and server, whose handshake is done."""
    near, far = PAIRS[pair]()
    with near, far:
        client, server = put_on(kind, near, far)
        serve = Worker(server.handshake, monotonic() + PATIENCE)
        client.handshake(monotonic() + PATIENCE)
        serve.result()
        yield client, server
        client.close()
        server.close()


def wait_for(sock, events, patience=PATIENCE):
    """Wait until the socket is ready; for reading nothing is waited for that is here already."""
    if events & select.POLLIN and sock.has_pending():
        return
    poll = select.poll()
    poll.register(sock.fileno(), events | (select.POLLOUT if sock.wants_write else 0))
    assert poll.poll(patience * 1000), "waited in vain"


def send_all(sock, data):
    """Send everything; what was committed is given once more."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            wait_for(sock, select.POLLOUT)


def receive(sock, n_bytes, chunk=1 << 16):
    """Receive so many bytes, or fewer if the stream ends in an orderly way."""
    found = bytearray()
    memory = bytearray(chunk)
    while len(found) < n_bytes:
        try:
            n = sock.recv_into(memory, min(chunk, n_bytes - len(found)))
        except BlockingIOError:
            wait_for(sock, select.POLLIN)
            continue
        if not n:
            break
        found += memory[:n]
    return bytes(found)


def move(source, target, cut=None):
    """Carry raw bytes from one coat to another, ``cut`` of them at a time; return their number."""
    source.collect()
    data = source.outgoing[source.outgoing_start :]
    source.outgoing, source.outgoing_start = b"", 0
    return feed(target, data, cut)


def feed(coat, data, cut=None):
    """Give raw bytes to a coat as long as it has no plain ones that are left; return how many."""
    start = 0
    while start < len(data):
        if coat.advance() and not coat.ended:
            coat.plain_start = len(coat.plain)  # whoever feeds this way does not care
        room = min(cut or coat.wanted, coat.wanted)
        coat.arrived = data[start : start + room]
        start += room
    coat.advance()
    return start


def take(coat):
    """Take all plain bytes that a coat can make of what it has."""
    found = b""
    while coat.advance() and not coat.ended:
        found += bytes(coat.plain[coat.plain_start :])
        coat.plain_start = len(coat.plain)
    return found


def shake_hands(client, server, cut=None):
    """Carry the handshakes of two coats to and fro until both are done."""
    client.advance()
    for _ in range(6):
        if client.handshake_done and server.handshake_done:
            return
        move(client, server, cut)
        move(server, client, cut)
    raise AssertionError("the handshake does not end")

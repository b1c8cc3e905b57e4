"""Sockets with coats behave like sockets, in step whatever happens; for each kind of coat."""

from __future__ import annotations

import gc
import random
import select
import signal
import socket
import threading
from time import monotonic

import pytest

from pyroipc.errors import ConnectionClosedError, DeadlockError, SecurityError, TimeoutError
from pyroipc.transports.coat import native_goodbye
from pyroipc.transports.coated import CoatedSocket
from pyroipc.wire.message import GOODBYE
from tests.support.coats import (
    COATS,
    coated_pair,
    put_on,
    receive,
    seal_coats,
    send_all,
    wait_for,
)
from tests.support.hosts import HANDLERS_RUN, PAIRS, PATIENCE, Worker
from tests.support.messages import plain

SIZES = [1, 2, 100, 16_384, 16_385, 65_536, 65_537, 300_000]


@pytest.fixture(params=[(kind, pair) for kind in COATS for pair in sorted(PAIRS)], ids="-".join)
def ends(request):
    """A client and a server with coats."""
    with coated_pair(*request.param) as made:
        yield made


def pattern(size, seed=0):
    return random.Random(seed).randbytes(size)


def fill(sock):
    """Send pieces until one is not taken whole; return what was taken before, and that piece."""
    sent = 0
    while True:
        piece = pattern(40_000, sent)
        try:
            sent += sock.send(piece)
        except BlockingIOError:
            return sent, piece


@pytest.mark.parametrize("size", SIZES)
def test_both_ways(ends, size):
    client, server = ends
    data = pattern(size)
    for sender, receiver in (ends, (server, client)):
        sending = Worker(send_all, sender, data)
        assert receive(receiver, size) == data
        sending.result()


def test_all_at_once(ends):
    """Each end sends and receives at the same time, in a thread each."""
    client, server = ends
    data = {sock: pattern(2_000_000, seed) for seed, sock in enumerate(ends)}
    workers = [Worker(send_all, sock, data[sock]) for sock in ends]
    readers = [Worker(receive, server, 2_000_000), Worker(receive, client, 2_000_000)]
    assert [reader.result() for reader in readers] == [data[client], data[server]]
    for worker in workers:
        worker.result()


def test_small_memory(ends):
    client, server = ends
    client.send(b"abcdefgh")
    assert [receive(server, 1, chunk=1) for _ in range(8)] == [b"%c" % c for c in b"abcdefgh"]
    client.send(b"ijkl")
    wait_for(server, select.POLLIN)
    assert (server.recv(3), server.recv(3)) == (b"ijk", b"l")


def test_nothing_there(ends):
    client, _ = ends
    with pytest.raises(BlockingIOError):
        client.recv_into(bytearray(10))
    assert not client.has_pending()
    assert not client.is_committed
    assert not client.wants_write
    assert client.gettimeout() == 0.0
    assert client.send(b"") == 0


def test_bytes_that_wait_inside(ends):
    """Two records arrive in one system call: the second is announced, and then nothing more."""
    client, server = ends
    client.send(b"one")
    client.send(b"two")
    found = []
    memory = bytearray(2)
    wait_for(server, select.POLLIN)
    while len(b"".join(found)) < 6:
        try:
            found.append(bytes(memory[: server.recv_into(memory)]))
        except BlockingIOError:
            assert not server.has_pending()
            wait_for(server, select.POLLIN)
    assert b"".join(found) == b"onetwo"
    with pytest.raises(BlockingIOError):
        server.recv_into(memory)
    assert not server.has_pending()


def test_pieces_are_joined(ends):
    client, server = ends
    pieces = [b"", b"head", memoryview(bytearray(b"body")), pattern(100_000)]
    sent = client.sendmsg(pieces, (), 0)
    assert sent == 65_536
    assert receive(server, sent) == b"".join(pieces)[:sent]


def test_a_send_is_repeated(ends):
    client, server = ends
    sent, piece = fill(client)
    assert client.is_committed
    assert client.wants_write
    with pytest.raises(BlockingIOError):
        client.send(piece)
    expected = b"".join(pattern(40_000, at) for at in range(0, sent, 40_000)) + piece
    reading = Worker(receive, server, len(expected) + 4)
    send_all(client, piece)
    assert not client.is_committed
    send_all(client, b"more")
    assert reading.result() == expected + b"more"


def test_orderly_end(ends):
    client, server = ends
    client.send(b"last words")
    client.close()
    assert receive(server, 100) == b"last words"
    assert server.recv_into(bytearray(9)) == 0
    assert server.has_pending()
    assert client.fileno() == -1


def test_cut_off(ends):
    client, server = ends
    client.send(b"last words")
    client.raw.close()
    assert receive(server, 10) == b"last words"
    for _ in range(2):
        with pytest.raises(ConnectionClosedError, match="farewell"):
            receive(server, 1)
    with pytest.raises(ConnectionClosedError, match="farewell"):
        server.send(b"too late")


def test_cut_off_in_a_record(ends):
    client, server = ends
    client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    fill(client)
    client.raw.close()
    with pytest.raises(ConnectionClosedError, match=r"cut off|without a farewell"):
        while receive(server, 1 << 16):
            pass


def test_shut_down_by_this_end(ends):
    """A receiver that is woken by shutting down does not see an attack."""
    client, server = ends
    client.shutdown(socket.SHUT_RD)
    assert client.recv_into(bytearray(9)) == 0
    server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BrokenPipeError):
        server.send(b"too late")


def test_sending_to_nobody(ends):
    client, server = ends
    server.close()
    with pytest.raises((OSError, ConnectionClosedError)):
        for _ in range(1000):
            client.send(bytes(1000))


def test_what_the_socket_knows(ends):
    client, server = ends
    assert client.getpeername() == server.getsockname()
    assert client.family == client.raw.family
    assert client.type == socket.SOCK_STREAM
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert client.coat.name in repr(client)
    number = client.fileno()
    assert client.detach() == number
    socket.close(number)


# ---------------------------------------------------------------------------- handshakes


@pytest.fixture(params=COATS)
def strangers(request):
    """A client and a server with coats that have not spoken yet."""
    near, far = PAIRS["tcp"]()
    with near, far:
        yield put_on(request.param, near, far)


def test_a_silent_peer(strangers):
    client, server = strangers
    start = monotonic()
    with pytest.raises(TimeoutError, match="handshake"):
        client.handshake(start + 0.1)
    assert 0.1 <= monotonic() - start < 5
    assert not client.coat.handshake_done
    # The inner coat of two takes nothing yet, so nobody must wait until the socket takes bytes.
    assert not client.wants_write
    with pytest.raises(BlockingIOError):
        client.send(b"too early")
    assert not client.is_committed
    assert not server.coat.handshake_done


def test_a_peer_that_leaves(strangers):
    client, server = strangers
    server.raw.close()
    with pytest.raises(ConnectionClosedError, match=r"does not|no HMAC key|instead of"):
        client.handshake(monotonic() + PATIENCE)


def test_a_server_is_driven_by_events(strangers):
    """Receiving is all that a server has to do when its socket is readable."""
    client, server = strangers
    connecting = Worker(client.handshake, monotonic() + PATIENCE)
    memory = bytearray(100)
    while not server.coat.handshake_done:
        wait_for(server, select.POLLIN)
        with pytest.raises(BlockingIOError):
            server.recv_into(memory)
    connecting.result()
    client.send(b"hello")
    assert receive(server, 5) == b"hello"


def test_errors_are_final_and_told():
    near, far = PAIRS["tcp"]()
    with near, far:
        server = CoatedSocket(far, seal_coats(refusal=b"go away")[1])
        near.sendall(b"GET / HTTP/1.1\r\n")
        wait_for(server, select.POLLIN)
        for _ in range(3):
            with pytest.raises(SecurityError, match="HTTP"):
                server.recv_into(bytearray(10))
            with pytest.raises(SecurityError, match="HTTP"):
                server.send(b"x")
        assert near.recv(100) == b"go away"


# -------------------------------------------------------------------------- interruptions


class Interrupted(BaseException):
    """Raised by the signal handler."""


class Timer:
    """A signal that raises after a while, in what runs then."""

    def __init__(self):
        self.armed = False
        self.count = 0

    def handler(self, number, frame):
        if self.armed:
            self.armed = False
            raise Interrupted

    def interrupt(self, seconds, function, *args):
        """Run a function until it ends or is interrupted."""
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds)
            function(*args)
        except Interrupted:
            self.count += 1
        finally:
            self.armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def timer():
    assert threading.current_thread() is threading.main_thread()
    made = Timer()
    before = signal.signal(signal.SIGALRM, made.handler)
    gc.disable()  # what a handler raises in a callback of the collector is only reported
    yield made
    gc.enable()
    signal.signal(signal.SIGALRM, before)


needs_handlers = pytest.mark.skipif(
    not HANDLERS_RUN, reason="this CPython forgets exception handlers"
)


class Progress:
    """How far a transfer has come; the number is stored as a channel does it."""

    def __init__(self, data):
        self.data = data
        self.n_bytes = 0

    def send(self, sock, size):
        view = memoryview(self.data)
        while self.n_bytes < len(view):
            piece = view[self.n_bytes : self.n_bytes + size]
            try:
                for n in map(sock.send, (piece,)):
                    self.n_bytes += n
            except BlockingIOError:
                wait_for(sock, select.POLLOUT)

    def receive(self, sock, size):
        view = memoryview(self.data)
        while self.n_bytes < len(view):
            room = view[self.n_bytes : self.n_bytes + size]
            try:
                for n in map(sock.recv_into, (room,)):
                    self.n_bytes += n
            except BlockingIOError:
                wait_for(sock, select.POLLIN)


@needs_handlers
@pytest.mark.parametrize("size", [30, 50_000])
def test_interrupted_sends(timer, ends, size):
    """Whenever a sender is interrupted, nothing is lost and nothing sent twice."""
    client, server = ends
    client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
    data = pattern(size * (2000 if size < 1000 else 100))
    reading = Worker(receive, server, len(data))
    chance = random.Random(size)
    progress = Progress(data)
    while progress.n_bytes < len(data):
        timer.interrupt(chance.uniform(1e-5, 3e-4), progress.send, client, size)
    assert reading.result() == data
    assert timer.count > 5


@needs_handlers
@pytest.mark.parametrize("size", [30, 50_000])
def test_interrupted_receives(timer, ends, size):
    """Nothing is lost; a TLS coat that cannot know (seldom) says so, and does not guess."""
    client, server = ends
    data = pattern(size * (2000 if size < 1000 else 100))

    def write():
        for start in range(0, len(data), size):
            send_all(client, data[start : start + size])

    writing = Worker(write)
    chance = random.Random(size)
    progress = Progress(bytearray(len(data)))
    error = None
    try:
        while progress.n_bytes < len(data):
            timer.interrupt(chance.uniform(1e-5, 3e-4), progress.receive, server, 7000)
    except ConnectionClosedError as raised:
        error = raised
    assert progress.data[: progress.n_bytes] == data[: progress.n_bytes]
    if error is None:
        writing.result()
        assert timer.count > 5
    else:
        assert "signal handler" in str(error)
        assert server.coat.name != "HMAC" or "TLS" in str(error)
        server.raw.close()
        writing.finish()


class Entered(socket.socket):
    """A socket in whose system calls a "signal handler" runs."""

    handler = None

    def recv(self, *args):
        if self.handler is not None:
            self.handler()
        return super().recv(*args)


def test_a_handler_gets_an_error_instead_of_a_deadlock():
    near, far = PAIRS["tcp"]()
    with far, Entered(fileno=near.detach()) as entered:
        client, server = put_on("hmac", entered, far)
        serving = Worker(server.handshake, monotonic() + PATIENCE)
        client.handshake(monotonic() + PATIENCE)
        serving.result()
        caught = []

        def handler():
            with pytest.raises(DeadlockError) as raised:
                client.send(b"from the handler")
            caught.append(raised.value)

        entered.handler = handler
        server.send(b"data")
        assert receive(client, 4) == b"data"
        assert caught
        entered.handler = None
        client.send(b"as before")
        assert receive(server, 9) == b"as before"


# ------------------------------------------------------------------- what others may say


def test_goodbyes_of_the_native_dialect():
    frame = plain(GOODBYE, 1, b"go away", 0)
    for n in range(len(frame)):
        assert native_goodbye(frame[:n], ended=False) is None
    assert native_goodbye(frame, ended=False) == "; it says: go away"
    assert native_goodbye(frame + b"more", ended=False) == "; it says: go away"
    assert native_goodbye(frame[:-3], ended=True) == "; it says: go a"
    assert native_goodbye(b"SSH-2", ended=False) == ""
    long = plain(GOODBYE, 1, b"x" * 5000, 0)
    assert native_goodbye(long[:1060], ended=False) == "; it says: " + "x" * 1024
    assert native_goodbye(long[:1059], ended=False) is None

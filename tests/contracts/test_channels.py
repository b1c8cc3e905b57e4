"""The contract of channels, for each kind of socket, lent or owned."""

from __future__ import annotations

import gc
import os
import socket
import threading
from time import monotonic

import pytest

from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.transports.stream import StreamChannel, WokenError
from pyroipc.transports.trust import own_pair_peer
from pyroipc.wire.message import REQUEST, Limits, Message
from pyroipc.wire.native import Decoder, encode
from tests.support.hosts import PAIRS, Worker
from tests.support.leaks import lasting_differences, resources
from tests.support.messages import facts_of, frame, plain

KINDS = [(kind, mode) for kind in sorted(PAIRS) for mode in ("lent", "owned", "non-blocking")]


def channel(sock, mode="lent"):
    if mode == "non-blocking":
        sock.setblocking(False)
    return StreamChannel(sock, own_pair_peer(), Decoder(Limits(1 << 30)), owned=mode == "owned")


def send(made, data):
    if not made.send_now(data):
        made.send_parts((data,))


@pytest.fixture(params=KINDS, ids="-".join)
def ends(request):
    """A channel, and the bare socket at its other end."""
    kind, mode = request.param
    near, far = PAIRS[kind]()
    far.settimeout(10)
    with near, far:
        made = channel(near, mode)
        yield made, far
        made.close()


def received(made, n=1, deadline=None):
    found = []
    while len(found) < n:
        message = made.decoder.advance()
        if message is None:
            made.receive(deadline)
        else:
            found.append(facts_of(message))
    return found


def test_order_and_sizes(ends):
    made, far = ends
    sizes = [0, 1, 100, 16 << 10, (16 << 10) + 1, 65535, 65536, 300_000, 5]
    messages = [Message(REQUEST, 3, 0, i, b"m" * size) for i, size in enumerate(sizes)]
    data = b"".join(map(frame, messages))
    sender = Worker(far.sendall, data)
    assert received(made, len(sizes)) == [facts_of(message) for message in messages]
    sender.result()


def test_partial_reads(ends):
    made, far = ends
    data = plain(REQUEST, 1, b"bit by bit")
    pause = threading.Event()

    def trickle():
        for i in range(len(data)):
            far.sendall(data[i : i + 1])
            pause.wait(0.0005)

    sender = Worker(trickle)
    (message,) = received(made)
    assert message.payload == b"bit by bit"
    sender.result()


@pytest.mark.parametrize("size", [10, 20_000, 200_000, 5_000_000])
def test_all_is_sent(ends, size):
    made, far = ends
    message = Message(REQUEST, 3, 0, 1, bytes(range(250)) * (size // 250))
    data = frame(message)

    def read():
        parts = []
        while sum(map(len, parts)) < 2 * len(data):
            parts.append(far.recv(1 << 16))
        return b"".join(parts)

    reader = Worker(read)
    if len(data) < 16_000:
        send(made, data)
    else:
        made.send_parts(encode(message))
    made.send_parts(encode(message), monotonic() + 10)
    assert reader.result() == data * 2


def test_many_parts_more_than_the_kernel_takes(ends):
    made, far = ends
    parts = [bytes([i % 251]) * 3 for i in range(5000)]
    made.send_parts(parts)
    wanted = b"".join(parts)
    got = b""
    while len(got) < len(wanted):
        got += far.recv(1 << 16)
    assert got == wanted


def test_the_peer_closes(ends):
    made, far = ends
    far.close()
    for _ in range(2):
        with pytest.raises(ConnectionClosedError):
            made.receive()
    with pytest.raises(ConnectionClosedError):
        for _ in range(100):
            send(made, b"x" * 1000)


def test_half_close_lets_the_other_way_open(ends):
    made, far = ends
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosedError):
        made.receive()
    send(made, b"still open")
    assert far.recv(100) == b"still open"


def test_the_end_in_the_middle_of_a_message_is_said(ends):
    made, far = ends
    far.sendall(plain(REQUEST, 1, b"cut off")[:-1])
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosedError, match="in the middle of a message"):
        received(made)


def test_a_deadline_in_receive(ends):
    made, far = ends
    start = monotonic()
    with pytest.raises(TimeoutError):
        made.receive(start + 0.1)
    assert 0.09 < monotonic() - start < 5
    with pytest.raises(TimeoutError):
        made.receive(start)
    far.sendall(plain(REQUEST, 1, b"later"))
    assert received(made, deadline=monotonic() + 10)[0].payload == b"later"


def test_a_deadline_in_send_leaves_the_stream_in_step(ends):
    made, far = ends
    big = Message(REQUEST, 3, 0, 1, b"b" * (8 << 20))
    start = monotonic()
    with pytest.raises(TimeoutError):
        made.send_parts(encode(big), start + 0.1)
    assert 0.09 < monotonic() - start < 5
    small = Message(REQUEST, 3, 0, 2, b"small")
    other = channel(far)
    reader = Worker(received, other, 2)
    send(made, frame(small))
    assert reader.result() == [facts_of(big), facts_of(small)]


def test_a_message_of_which_nothing_was_sent_is_forgotten(ends):
    made, far = ends
    made.sock.setblocking(False)
    filler = 0
    try:
        while True:
            filler += made.sock.send(b"\x00" * 4096)
    except BlockingIOError:
        pass
    with pytest.raises(TimeoutError):
        made.send_parts((plain(REQUEST, 1, b"forgotten"),), monotonic() + 0.05)
    while filler:
        filler -= len(far.recv(min(filler, 1 << 16)))
    send(made, plain(REQUEST, 2, b"kept"))
    assert received(channel(far))[0].payload == b"kept"


def test_waking_a_receiver(ends):
    made, _ = ends
    made.make_wakeable()
    receiver = Worker(made.receive)
    while receiver.alive and not threading.Event().wait(0.05):
        made.wake()
        break
    assert isinstance(receiver.finish(), WokenError)


def test_waking_before_receiving(ends):
    made, _ = ends
    made.make_wakeable()
    made.wake()
    made.wake()
    start = monotonic()
    with pytest.raises(WokenError):
        made.receive()
    assert monotonic() - start < 5


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_a_lent_channel_is_as_before_after_waking(kind):
    near, far = PAIRS[kind]()
    with near, far:
        made = channel(near)
        for i in range(20):
            made.make_wakeable()
            made.wake()
            with pytest.raises(WokenError):
                made.receive()
            made.make_unwakeable()
            far.sendall(plain(REQUEST, i, b"on"))
            assert received(made)[0].request_id == i


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_closing_a_lent_channel_leaves_the_socket(kind):
    near, far = PAIRS[kind]()
    with near, far:
        made = channel(near)
        made.make_wakeable()
        made.close()
        made.close()
        del made
        gc.collect()
        near.sendall(b"open")
        assert far.recv(10) == b"open"


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_closing_an_owned_channel_closes_the_socket(kind):
    near, far = PAIRS[kind]()
    with near, far:
        made = channel(near, "owned")
        receiver = Worker(made.receive)
        threading.Event().wait(0.05)
        made.close()
        made.close()
        assert isinstance(receiver.finish(), ConnectionClosedError)
        assert near.fileno() == -1
        assert far.recv(10) == b""


def test_nothing_leaks():
    before = resources()
    for kind, mode in KINDS * 3:
        near, far = PAIRS[kind]()
        with near, far:
            made = channel(near, mode)
            made.make_wakeable()
            far.sendall(plain(REQUEST, 1, b"x"))
            received(made)
            made.close()
    assert lasting_differences(before) == []


def test_a_socket_that_another_process_makes_non_blocking(ends):
    """The mode belongs to the open file, which forked processes share."""
    made, far = ends
    os.set_blocking(made.sock.fileno(), False)
    pause = threading.Event()

    def late():
        pause.wait(0.1)
        far.sendall(plain(REQUEST, 1, b"late"))
        return far.recv(1 << 16)

    worker = Worker(late)
    assert received(made)[0].payload == b"late"
    send(made, b"answer")
    assert worker.result() == b"answer"

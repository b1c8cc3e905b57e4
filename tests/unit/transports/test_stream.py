"""Sending and receiving that is interrupted at any moment stays in step."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading

import pytest

from pyroipc.transports.stream import StreamChannel
from pyroipc.transports.trust import own_pair_peer
from pyroipc.wire.message import REQUEST, Limits, Message
from pyroipc.wire.native import Decoder, encode
from tests.support.hosts import HANDLERS_RUN, PAIRS, Worker
from tests.support.messages import frame

pytestmark = pytest.mark.skipif(not HANDLERS_RUN, reason="this CPython forgets exception handlers")


class Interrupted(BaseException):
    """Raised by the signal handler."""


@pytest.fixture
def interrupts():
    """Start a timer whose signal handler raises."""
    assert threading.current_thread() is threading.main_thread()

    def handler(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def channel(sock):
    return StreamChannel(sock, own_pair_peer(), Decoder(Limits(1 << 30)))


@pytest.mark.parametrize("kind", sorted(PAIRS))
@pytest.mark.parametrize("size", [10, 60_000, 2_000_000])
def test_interrupted_sends(interrupts, kind, size):
    chance = random.Random(size)
    near, far = PAIRS[kind]()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    with near, far:
        sender, receiver = channel(near), channel(far)
        seen = []

        def read():
            while True:
                message = receiver.decoder.advance()
                if message is None:
                    receiver.receive()
                    continue
                assert bytes(message.payload) == bytes([message.request_id % 251]) * size
                if message.request_id == 0xFFFFFFFF:
                    return
                seen.append(message.request_id)

        reader = Worker(read)
        whole, cut = [], 0
        for i in range(60 if size > 100_000 else 250):
            message = Message(REQUEST, 3, 0, i, bytes([i % 251]) * size)
            try:
                interrupts(chance.uniform(1e-5, 2e-3 if size > 100_000 else 2e-4))
                if size < 10_000:
                    if not sender.send_now(frame(message)):
                        sender.send_parts((frame(message),))
                else:
                    sender.send_parts(encode(message))
                whole.append(i)
                while True:
                    pass
            except Interrupted:
                cut += 1
            finally:
                with contextlib.suppress(Interrupted):
                    interrupts(0)
        last = 0xFFFFFFFF
        sender.send_parts(encode(Message(REQUEST, 3, 0, last, bytes([last % 251]) * size)))
        reader.result()
        assert seen == sorted(set(seen)), "twice, or out of order"
        assert set(whole) <= set(seen), "what was sent whole has not arrived"


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_interrupted_receives(interrupts, kind):
    chance = random.Random(5)
    near, far = PAIRS[kind]()
    with near, far:
        receiver = channel(near)
        sizes = [chance.choice((0, 50, 5000, 70_000, 400_000)) for _ in range(400)]

        def write():
            for i, size in enumerate(sizes):
                far.sendall(frame(Message(REQUEST, 3, 0, i, bytes([i % 251]) * size)))

        writer = Worker(write)
        arrived, found, cut = None, 0, 0
        decoder = receiver.decoder
        while found < len(sizes):
            try:
                interrupts(chance.uniform(1e-5, 5e-4))
                while found < len(sizes):
                    if arrived is None:
                        if not (decoder.buffered or decoder.received):
                            receiver.receive()
                        arrived = decoder.advance()
                        continue
                    message = arrived
                    assert message.request_id == found
                    assert bytes(message.payload) == bytes([found % 251]) * sizes[found]
                    arrived, found = None, found + 1
            except Interrupted:
                cut += 1
            finally:
                with contextlib.suppress(Interrupted):
                    interrupts(0)
        writer.result()
        assert cut > 5

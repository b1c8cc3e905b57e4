"""Which of many descriptors are ready, with epoll and with what selectors finds."""

from __future__ import annotations

import os
import select
import socket
import threading
import time

import pytest

from pyroipc.transports.readiness import READ, WRITE, Readiness, unsent_bytes
from tests.support.hosts import Child


@pytest.fixture(params=["the best", "selectors"])
def readiness(request, monkeypatch):
    if request.param == "selectors":
        import pyroipc.transports.readiness as module

        monkeypatch.setattr(module, "_Epoll", module._Selector)
    found = Readiness()
    yield found
    found.close()


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def wait(readiness, seconds=1.0):
    return readiness.wait(seconds, look=False)


def test_what_is_wanted_is_reported_for_as_long_as_it_holds(readiness, pair):
    near, far = pair
    readiness.register(near.fileno(), READ)
    assert wait(readiness, 0) == []
    far.send(b"x")
    for _ in range(2):
        assert wait(readiness) == [(near.fileno(), READ)]
    readiness.modify(near.fileno(), WRITE)
    assert wait(readiness) == [(near.fileno(), WRITE)]
    readiness.modify(near.fileno(), READ | WRITE)
    assert wait(readiness) == [(near.fileno(), READ | WRITE)]
    readiness.unregister(near.fileno())
    assert wait(readiness, 0) == []


def test_the_unknown_is_ignored(readiness, pair):
    near, _ = pair
    readiness.modify(near.fileno(), WRITE)
    readiness.unregister(near.fileno())
    assert wait(readiness, 0) == []
    readiness.register(near.fileno(), 0)
    assert wait(readiness, 0) == []
    readiness.modify(near.fileno(), WRITE)
    assert wait(readiness) == [(near.fileno(), WRITE)]


def test_a_peer_that_is_gone_counts_as_something_to_read(readiness, pair):
    near, far = pair
    readiness.register(near.fileno(), READ)
    far.close()
    ((number, events),) = wait(readiness)
    assert number == near.fileno()
    assert events & ~WRITE


def test_another_thread_may_register_meanwhile(readiness, pair):
    near, far = pair
    far.send(b"x")
    timer = threading.Timer(0.05, readiness.register, (near.fileno(), READ))
    timer.start()
    end = time.monotonic() + 10
    found = []
    while not found and time.monotonic() < end:
        found = wait(readiness, 0.2)
    timer.join()
    assert found == [(near.fileno(), READ)]


def test_it_can_be_waited_for_itself(readiness, pair):
    near, far = pair
    readiness.register(near.fileno(), READ)
    assert not select.select([readiness], [], [], 0)[0]
    far.send(b"x")
    assert select.select([readiness], [], [], 1)[0]


def test_looking_finds_what_comes_in_a_moment(pair):
    near, far = pair
    readiness = Readiness(0.5)
    readiness.register(near.fileno(), READ)
    timer = threading.Timer(0.02, far.send, (b"x",))
    timer.start()
    assert readiness.wait(10, look=True) == [(near.fileno(), READ)]
    timer.join()
    readiness.close()


def test_a_forked_child_has_no_share_in_it(pair):
    near, far = pair
    readiness = Readiness()
    number = readiness.fileno()
    readiness.register(near.fileno(), READ)

    def child():
        with pytest.raises(OSError):
            os.fstat(number)
        with pytest.raises(ValueError):
            wait(readiness, 0)

    if hasattr(select, "epoll"):
        assert Child(child).wait() == 0
    far.send(b"x")
    assert wait(readiness) == [(near.fileno(), READ)]
    readiness.close()


def test_how_much_the_other_end_has_not_taken(pair):
    near, far = pair
    assert unsent_bytes(near) == 0
    near.send(b"x" * 1000)
    before = unsent_bytes(near)
    assert before >= 1000
    far.recv(1000)
    assert unsent_bytes(near) < before
    near.close()
    assert unsent_bytes(near) == 0

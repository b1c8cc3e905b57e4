"""The leader of a loop with many clients: what it does about one that is gone already."""

from __future__ import annotations

import socket
from time import monotonic
from types import SimpleNamespace

import pytest

from pyroipc.server.loops.network import NetworkLoop
from pyroipc.server.loops.overload import Times


class Gone:
    """A visitor whose connection was ended by somebody else, while it was about to be read."""

    has_ended = True
    has_more = False
    foreign = None
    watched = 0

    def __init__(self, sock):
        self.fd = sock.fileno()
        self.session = SimpleNamespace(channel=SimpleNamespace(sock=sock))
        self.looks = 0

    def step(self, scratch, spin=None):
        self.looks += 1


@pytest.fixture
def loop():
    made = NetworkLoop(threads=2, times=Times())
    owner = object()
    made.take_in(owner, [], lambda sock: None, lambda: None)
    yield made
    made.let_go(owner, [], "the test is over")


def test_one_that_is_gone_is_not_looked_at_again_and_again(loop):
    near, far = socket.socketpair()
    with near, far:
        gone = Gone(near)
        loop._note_alone(gone)
        assert loop._alone is None
        gone.has_ended = False
        loop._note_alone(gone)
        assert loop._alone is gone
        gone.has_ended = True
        assert loop._next(monotonic()) is None
        assert loop._alone is None
        assert gone.looks == 1

"""Both halves of the protocol drive each other: whatever well-behaved peers do, answers match.

A daemon and two proxies over one socket pair; hypothesis chooses what happens next: calls of all
kinds, calls that are given up, releases, daemons replaced on the same socket, both ends calling.
"""

from __future__ import annotations

import gc
import socket

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import pyroipc
from pyroipc import Proxy
from tests.support.hosts import ThreadHost, Worker
from tests.support.things import Gate, Thing
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SETTINGS = pyroipc.config.copy()
SETTINGS.LOCAL_SERIALIZER = "json"
SETTINGS.HANDSHAKE_TIMEOUT = 5.0


class Conversations(RuleBasedStateMachine):
    """The model: what each object holds, and which calls are under way."""

    def __init__(self):
        super().__init__()
        self.near, self.far = socket.socketpair()
        self.host = None
        self.held = []
        self.count = 0
        self.value = 0
        self.notes = []
        self.proxies = [
            Proxy("thing", connected_socket=self.near, settings=SETTINGS) for _ in range(2)
        ]
        self.start_daemon()

    # --- the daemon ---------------------------------------------------------------------------

    def start_daemon(self):
        self.thing = Thing()
        self.gate = Gate()
        self.value, self.notes = 0, []
        self.host = ThreadHost(self.far, {"thing": self.thing, "gate": self.gate})

    def settle(self):
        self.gate.opened.set()
        for worker, value, gate in self.held:
            assert worker.result() == value
            gate._pyroRelease()
        self.held = []
        wait_until(lambda: not self.gate.running, "the calls that were given up have ended")
        self.gate.opened.clear()

    @rule(told=st.booleans())
    def replace_daemon(self, told):
        """Another daemon takes over the socket; the proxies may have noticed or not."""
        self.settle()
        self.host.stop()
        self.host = None
        if told:
            for proxy in self.proxies:
                proxy._pyroTimeout = 0.05
                try:
                    proxy.echo("nobody is there")
                    raise AssertionError("an answer from nowhere")
                except pyroipc.CommunicationError:
                    pass
                finally:
                    proxy._pyroTimeout = None
        gc.collect()
        self.start_daemon()
        if not told:
            for proxy in self.proxies:
                proxy._pyroRelease()

    # --- calls ----------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), size=st.sampled_from([0, 1, 100, 20_000, 100_000]))
    def call(self, which, size):
        self.count += 1
        value = [self.count, "x" * size]
        assert self.proxies[which].echo(value) == value

    @rule(which=st.integers(0, 1))
    def fail(self, which):
        self.count += 1
        with pytest.raises(ValueError) as caught:
            self.proxies[which].fail("ValueError", self.count)
        assert caught.value.args == (self.count,)

    @rule(which=st.integers(0, 1))
    def attribute(self, which):
        self.count += 1
        self.proxies[which].value = self.value = self.count
        assert self.proxies[1 - which].value == self.count

    @rule(which=st.integers(0, 1), n=st.integers(1, 20))
    def oneway(self, which, n):
        for _ in range(n):
            self.count += 1
            self.notes.append(self.count)
            self.proxies[which].note(self.count)
        assert self.proxies[which].notes() == self.notes

    @precondition(lambda self: len(self.held) < 4)
    @rule()
    def hold(self):
        """A call that takes until later."""
        self.count += 1
        gate = Proxy("gate", connected_socket=self.near, settings=SETTINGS)
        value = self.count
        self.held.append((Worker(gate.hold, value), value, gate))
        self.gate.wait_entered()

    @rule()
    def let_go(self):
        self.settle()

    @rule(which=st.integers(0, 1))
    def give_up(self, which):
        """A deadline passes; the answer comes later, and is nobody's."""
        gate = Proxy("gate", connected_socket=self.near, settings=SETTINGS)
        gate._pyroBind()
        gate._pyroTimeout = 0.02
        try:
            gate.hold("given up")
            raise AssertionError("the gate was open")
        except pyroipc.TimeoutError:
            pass
        self.gate.wait_entered()
        gate._pyroRelease()
        self.count += 1
        assert self.proxies[which].echo(self.count) == self.count

    @precondition(lambda self: not self.held)
    @rule(which=st.integers(0, 1))
    def release(self, which):
        self.proxies[which]._pyroRelease()

    @precondition(lambda self: not self.held)
    @rule(which=st.integers(0, 1))
    def forget(self, which):
        """A proxy goes without a word, and a new one comes."""
        self.proxies[which] = Proxy("thing", connected_socket=self.near, settings=SETTINGS)
        gc.collect()

    # --- always -------------------------------------------------------------------------------

    @invariant()
    def the_loop_runs(self):
        assert self.host.loop.alive, self.host.loop.finish()

    def teardown(self):
        try:
            self.settle()
            for proxy in self.proxies:
                proxy._pyroRelease()
        finally:
            self.host.stop()
            self.near.close()
            self.far.close()


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=25, stateful_step_count=25)

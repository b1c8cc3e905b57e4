"""References as a state machine: whatever is sent, kept and dropped, the counts come out even."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyroipc import Daemon, Proxy, SerializeError, expose
from tests.support.both_ends import Near, Unsendable, watch
from tests.support.hosts import ThreadHost, unix_pair
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SLOTS = st.integers(0, 3)


@expose
class Keeper:
    def __init__(self):
        self._kept = {}

    def keep(self, slot, thing):
        self._kept[slot] = thing

    def give(self, slot):
        return self._kept.get(slot)

    def forget(self, slot):
        self._kept.pop(slot, None)

    def call(self, slot, x):
        return self._kept[slot].note(x)


class References(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.near, self.far = unix_pair()
        self.keeper = Keeper()
        self.host = ThreadHost(self.far, {"keeper": self.keeper})
        self.proxy = Proxy("keeper", connected_socket=self.near)
        self.pair = unix_pair()
        self.daemon = Daemon(connected_socket=self.pair[0])
        self.held = {}  # what this end holds, by slot
        self.kept = {}  # what the peer keeps, by slot: a name
        self.gone = {}
        self.count = 0

    @rule(slot=SLOTS, weak=st.booleans())
    def make(self, slot, weak):
        thing = Near(str(self.count))
        self.count += 1
        self.daemon.register(thing, weak=weak)
        self.held[slot] = thing
        if weak:
            self.gone[thing.name] = watch(thing)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), to=SLOTS, serializer=st.sampled_from(["pickle", "json", "msgpack"]))
    def send(self, data, to, serializer):
        thing = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        self.proxy._pyroSerializer = serializer
        self.proxy.keep(to, thing)
        self.kept[to] = thing.name

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def fail_to_send(self, data):
        thing = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        try:
            self.proxy.keep([thing, thing], Unsendable())
        except SerializeError:
            pass

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def call(self, data):
        assert self.proxy.call(data.draw(st.sampled_from(sorted(self.kept))), 5) == 5

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def come_home(self, data):
        slot = data.draw(st.sampled_from(sorted(self.kept)))
        thing = self.proxy.give(slot)
        assert isinstance(thing, Near)
        assert thing.name == self.kept[slot]

    @rule(slot=SLOTS)
    def forget_there(self, slot):
        self.proxy.forget(slot)
        self.kept.pop(slot, None)

    @rule(slot=SLOTS)
    def forget_here(self, slot):
        self.held.pop(slot, None)

    @rule()
    def collect(self):
        gc.collect()

    @invariant()
    def what_is_kept_is_alive(self):
        for name in self.kept.values():
            assert name not in self.gone or not self.gone[name].is_set()

    def teardown(self):
        self.held.clear()
        for slot in range(4):
            self.proxy.forget(slot)
        exports = self.proxy._pyro_connected().references.exports
        wait_until(lambda: not exports, "the peer has released everything")

        def are_gone():
            gc.collect()
            return all(gone.is_set() for gone in self.gone.values())

        wait_until(are_gone, "what was held weakly is gone")
        self.proxy._pyroRelease()
        self.host.stop()
        self.daemon.close()
        for sock in (self.near, self.far, *self.pair):
            sock.close()


TestReferences = References.TestCase
TestReferences.settings = settings(
    max_examples=25, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)

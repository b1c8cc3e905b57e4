"""Shared memory that comes and goes: any order of passing, holding and dropping it.

A model says what every array holds. After each step both ends see the same numbers, and when all
is dropped, nothing is mapped at either end.
"""

from __future__ import annotations

import contextlib
import gc
import sys

import numpy
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

import pyroipc
from pyroipc import Proxy
from tests.support.hosts import forked
from tests.support.shared import Holder, maps
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/maps")

LENGTH = 40_000  # bytes: some are passed in the payload, where they are copied


class Loaned:
    """An array, and what is in it."""

    def __init__(self, array, value):
        self.array = array
        self.value = value


class LoanMachine(RuleBasedStateMachine):
    arrays = Bundle("arrays")

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()

    @initialize(serializer=st.sampled_from(["pickle", "msgpack", "serpent"]))
    def begin(self, serializer):
        near, _ = self.stack.enter_context(forked({"it": Holder()}))
        self.far = self.stack.enter_context(Proxy("it", connected_socket=near))
        self.far._pyroSerializer = serializer
        self.theirs = 0

    @rule(target=arrays, scale=st.sampled_from([1, 2, 4]))
    def make(self, scale):
        return Loaned(pyroipc.shared_array(LENGTH * scale, "u1"), 0)

    @rule(target=arrays)
    def make_there(self):
        self.theirs += 1
        return Loaned(self.far.make_array(LENGTH // 8).view("u1"), 0)

    def check(self, loaned):
        assert loaned.array.min() == loaned.array.max() == loaned.value

    @rule(loaned=arrays, value=st.integers(0, 255), times=st.integers(1, 3))
    def fill_there(self, loaned, value, times):
        for _ in range(times):
            self.far.fill(loaned.array, value)
        loaned.value = value
        self.check(loaned)

    @rule(loaned=arrays, value=st.integers(0, 255))
    def fill_here(self, loaned, value):
        loaned.array[:] = value
        loaned.value = value
        assert self.far.total(loaned.array[: LENGTH // 4]) == value * (LENGTH // 4)

    @rule(one=arrays, other=arrays)
    def pass_several(self, one, other):
        back = self.far.echo([one.array, {"other": other.array[::3]}, one.array])
        assert back[0][0] == one.value
        assert back[1]["other"][-1] == other.value
        assert pyroipc.shared_owner(back[0]) is pyroipc.shared_owner(one.array)

    @rule(loaned=arrays)
    def pass_without_waiting(self, loaned):
        self.far.hold_soon(loaned.array)
        assert self.far.echo(1) == 1
        assert self.far.give()[0] == loaned.value
        self.far.drop_last()

    @rule(loaned=consumes(arrays))
    def pass_and_drop(self, loaned):
        value = loaned.value
        self.far.hold_soon(loaned.array)
        loaned.array = None
        assert self.far.give()[5] == value
        self.far.drop_last()

    @rule(loaned=consumes(arrays))
    def drop(self, loaned):
        loaned.array = None

    @rule(loaned=arrays, length=st.sampled_from([100, 70_000, 300_000]))
    def pass_beside_ordinary_ones(self, loaned, length):
        ordinary = numpy.full(length, 7, "u1")
        mine, other = self.far.echo((loaned.array, ordinary))
        assert mine[0] == loaned.value
        assert len(other) == length
        assert other.min() == other.max() == 7

    def teardown(self):
        try:
            if hasattr(self, "far"):
                for loaned in self._machine_values():
                    loaned.array = None
                self.far.drop()
                gc.collect()
                wait_until(lambda: self.far.counts()[1] == 0, "the other end has unmapped all")
        finally:
            self.stack.close()
        wait_until(lambda: maps() == 0, "this end has unmapped all")

    def _machine_values(self):
        return [value for value in self.names_to_values.values() if isinstance(value, Loaned)]


TestLoans = LoanMachine.TestCase
TestLoans.settings = settings(max_examples=8, stateful_step_count=20)

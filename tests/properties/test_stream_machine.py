"""Streams in any order of events: the model of each is a plain list."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import contextlib
import gc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from pyroipc import Proxy
from tests.support.hosts import hosted
from tests.support.sources import Source
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

LENGTHS = st.sampled_from([0, 1, 2, 3, 14, 15, 16, 31, 63, 500, 1023, 1500, 3000])


class _Reader:
    """A remote iterator, and what it must yet yield."""

    def __init__(self, remote, items, error=None):
        self.remote = remote
        self.items = items
        self.error = error

    def read(self, count):
        """Read some items and compare; the end, too, if that is met."""
        for _ in range(count):
            if self.items:
                assert next(self.remote) == self.items.pop(0)
            elif self.error is not None:
                error, self.error = self.error, None
                with pytest.raises(error):
                    next(self.remote)
            else:
                with pytest.raises(StopIteration):
                    next(self.remote)


class Streams(RuleBasedStateMachine):
    readers = Bundle("readers")

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.source = Source()
        sock, self.host = self.stack.enter_context(hosted({"source": self.source}))
        self.proxy = self.stack.enter_context(Proxy("source", connected_socket=sock))
        self.opened = 0
        self.calls = 0
        self.connected = True

    def teardown(self):
        self.stack.close()

    @precondition(lambda self: self.connected)
    @rule(target=readers, n=LENGTHS)
    def open(self, n):
        self.opened += 1
        return _Reader(self.proxy.count(n), list(range(n)))

    @precondition(lambda self: self.connected)
    @rule(target=readers, n=LENGTHS)
    def open_failing(self, n):
        return _Reader(self.proxy.failing(n), list(range(n)), ValueError)

    @precondition(lambda self: self.connected)
    @rule(
        target=readers, values=st.lists(st.text(max_size=3) | st.binary(max_size=3), max_size=40)
    )
    def open_items(self, values):
        return _Reader(self.proxy.items(values), list(values))

    @precondition(lambda self: self.connected)
    @rule(reader=readers, count=st.sampled_from([1, 2, 16, 100, 700]))
    def read(self, reader, count):
        reader.read(count)

    @precondition(lambda self: self.connected)
    @rule(reader=readers)
    def exhaust(self, reader):
        reader.read(len(reader.items) + 2)

    @rule(reader=readers)
    def close(self, reader):
        reader.remote.close()
        reader.items, reader.error = [], None
        assert list(reader.remote) == []

    @rule(reader=consumes(readers))
    def drop(self, reader):
        reader.remote = None
        gc.collect()

    @precondition(lambda self: self.connected)
    @rule()
    def call(self):
        self.calls += 1
        assert self.proxy.echo(self.calls) == self.calls

    @rule()
    def release(self):
        self.proxy._pyroRelease()
        self.connected = False

    @rule()
    def reconnect(self):
        self.proxy._pyroReconnect()
        self.connected = True

    @precondition(lambda self: self.connected)
    @rule(serializer=st.sampled_from(["pickle", "json", "msgpack", "serpent", "marshal"]))
    def change_serializer(self, serializer):
        self.proxy._pyroSerializer = serializer

    @invariant()
    def not_more_streams_than_were_opened(self):
        assert self.host.loop.alive, "the daemon still serves"
        assert self.source.closed() <= self.opened


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=40, stateful_step_count=40)


def test_after_all_of_it_nothing_is_left():
    """Whatever was opened and dropped, the tables at both ends are empty again."""
    with hosted({"source": Source()}) as (sock, host):
        with Proxy("source", connected_socket=sock) as proxy:
            for n in (0, 1, 600):
                assert len(list(proxy.count(n))) == n
                with proxy.count(n):
                    pass
                with contextlib.suppress(StopIteration):
                    next(proxy.count(n))
            gc.collect()
            session = proxy._pyroConnection
            streams = host.daemon._service.streams._streams
            wait_until(lambda: not session.sinks and not streams, "the tables are empty")
            assert proxy.wait_closed(9)

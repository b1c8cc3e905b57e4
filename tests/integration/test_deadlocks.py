"""Calls that go round in a circle: they work where a thread is left, and else say so at once."""

from __future__ import annotations

import contextlib
import os

import pytest

import pyroipc
from pyroipc import DeadlockError, Proxy
from tests.support.hosts import ThreadHost, Worker, unix_pair


@pyroipc.expose
class Node:
    """One of several in a circle; each has a proxy for the next."""

    def __init__(self):
        self.next = None
        self.visits = 0

    def go(self, steps):
        self.visits += 1
        return self.next.go(steps - 1) if steps else "the end"

    def go_in_batch(self, steps):
        self.visits += 1
        if not steps:
            return "the end"
        batch = pyroipc.batch(self.next)
        batch.go_in_batch(steps - 1)
        return next(batch())

    @pyroipc.oneway
    def tell(self, steps):
        self.visits += 1
        if steps:
            self.next.tell(steps - 1)

    def rest(self):
        return self.visits


def settings(servertype, threads=80):
    chosen = pyroipc.config.copy()
    chosen.SERVERTYPE = servertype
    chosen.THREADPOOL_SIZE = threads
    return chosen


@contextlib.contextmanager
def circle(count, servertype, threads=80):
    """A circle of daemons, each in its thread; yields the objects and a proxy for the first."""
    with contextlib.ExitStack() as stack:
        nodes = [Node() for _ in range(count)]
        pairs = [unix_pair() for _ in range(count)]
        for near, far in pairs:
            stack.enter_context(near)
            stack.enter_context(far)
        for node, (_, far) in zip(nodes, pairs, strict=True):
            host = ThreadHost(far, {"node": node}, settings=settings(servertype, threads))
            stack.callback(host.stop)
        for index, node in enumerate(nodes):
            node.next = Proxy("node", connected_socket=pairs[(index + 1) % count][0])
            stack.callback(node.next._pyroRelease)
            node.next._pyroBind()
        with Proxy("node", connected_socket=pairs[0][0]) as proxy:
            proxy._pyroTimeout = 20
            yield nodes, proxy


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_circle_works_where_there_are_threads(count):
    with circle(count, "thread") as (nodes, proxy):
        assert proxy.go(2 * count) == "the end"
        assert sum(node.visits for node in nodes) == 2 * count + 1


@pytest.mark.parametrize("member", ["go", "go_in_batch"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_circle_of_single_threads_is_named(count, member):
    with circle(count, "multiplex") as (_, proxy):
        with pytest.raises(DeadlockError) as caught:
            getattr(proxy, member)(count)
        text = str(caught.value)
        assert "circle" in text
        assert f"process {os.getpid()}" in text
        assert "the only thread" in text
        assert ("node.go" if member == "go" else "node.<batch>") in text
        assert "SERVERTYPE" in text
        # Each hop is in the traceback.
        assert "".join(caught.value._pyroTraceback).count("in go") >= 1


@pytest.mark.parametrize("count", [2, 3])
def test_as_far_as_there_are_threads_it_goes(count):
    with circle(count, "multiplex") as (nodes, proxy):
        assert proxy.go(count - 1) == "the end"
        for _ in range(3):
            with pytest.raises(DeadlockError):
                proxy.go(count)
            # Nothing is stuck, and nothing was lost.
            assert proxy.go(count - 1) == "the end"
        assert [node.visits for node in nodes] == [7] * count


def test_calls_of_others_wait_and_are_run():
    with circle(2, "multiplex") as (nodes, proxy):
        bystander = proxy.__copy__()
        with pytest.raises(DeadlockError):
            proxy.go(2)
        others = [Worker(bystander.rest) for _ in range(5)]
        with pytest.raises(DeadlockError):
            proxy.go(2)
        for other in others:
            assert other.result() >= 1
        bystander._pyroRelease()
        assert nodes[0].visits == 2


def test_oneway_calls_may_go_round():
    with circle(2, "multiplex") as (nodes, proxy):
        proxy.tell(10)
        for _ in range(1000):
            if sum(node.visits for node in nodes) == 11:
                break
            proxy.rest()
        assert sum(node.visits for node in nodes) == 11


def test_a_circle_that_uses_up_all_threads_is_named():
    with circle(2, "thread", 4) as (nodes, proxy):
        assert proxy.go(7) == "the end"
        with pytest.raises(DeadlockError, match="every thread"):
            proxy.go(40)
        assert nodes[0].visits + nodes[1].visits == 8 + 8
        assert proxy.go(7) == "the end"


def test_an_object_that_calls_itself_by_its_proxy():
    with circle(1, "thread") as (_, proxy):
        assert proxy.go(5) == "the end"

"""Forks of processes that are connected: each has connections of its own (G17, G18)."""

from __future__ import annotations

import os
import threading
import time

import pytest

from pyroipc import ConnectionClosedError, Daemon, ForkedConnectionError
from pyroipc.client import futures as futures_module
from tests.support.daemons import child_serving, roads, serving, settings
from tests.support.hosts import PATIENCE, Child, Worker
from tests.support.sources import Source
from tests.support.things import Gate, Thing

ROUNDS = 25


@pytest.mark.parametrize("road", roads("tcp4", "unix", "tls", "hmac"))
def test_a_child_connects_by_itself(road):
    with child_serving({"thing": Thing()}, road=road) as served, served.proxy() as proxy:
        method = proxy.echo
        assert method("parent") == "parent"
        mine = proxy._pyroConnection.channel.sock.fileno()
        session = proxy._pyroConnection

        def body():
            assert proxy._pyroConnection is None
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(mine)  # the connection of the parent is not even open here
            if os.getpid() % 2:
                assert method("child") == "child"
            assert proxy.echo("child") == "child"
            assert proxy._pyroConnection is not session
            assert method("again") == "again"
            proxy._pyroRelease()

        for i in range(ROUNDS):
            child = Child(body)
            assert method(i) == i
            assert child.wait() == 0
        assert proxy._pyroConnection is session


def test_answers_are_not_swapped():
    """Parent and child call at the same time, again and again."""
    with child_serving({"thing": Thing()}) as served, served.proxy() as proxy:
        echo = proxy.echo

        def body():
            assert [echo(f"child {i}") for i in range(50)] == [f"child {i}" for i in range(50)]

        for _ in range(10):
            children = [Child(body) for _ in range(3)]
            assert [echo(i) for i in range(50)] == list(range(50))
            assert [child.wait() for child in children] == [0] * 3


@pytest.mark.parametrize("shared", [True, False])
def test_forks_while_threads_call(shared):
    """Whatever the threads were doing, connecting too: the child makes calls within a second."""
    stop = threading.Event()
    with child_serving({"thing": Thing()}) as served:
        one = served.proxy()
        proxies = [one if shared else served.proxy() for _ in range(8)]

        def calling(proxy, base):
            i = 0
            while not stop.is_set():
                i += 1
                assert proxy.echo([base, i]) == [base, i]
                if not shared and not i % 7:
                    proxy._pyroRelease()

        workers = [Worker(calling, proxy, base) for base, proxy in enumerate(proxies)]

        def body():
            begun = time.monotonic()
            for k, proxy in enumerate([*proxies, served.proxy()]):
                assert proxy.echo([os.getpid(), k]) == [os.getpid(), k]
            assert time.monotonic() - begun < 5

        try:
            for _ in range(ROUNDS):
                assert Child(body).wait() == 0
        finally:
            stop.set()
            for worker in workers:
                worker.result()
        for proxy in proxies:
            proxy._pyroRelease()


def test_a_fork_while_another_thread_connects():
    """The lock of the line is held in the parent for ever, as far as the child can see."""
    with child_serving({"thing": Thing()}) as served:
        proxy = served.proxy()
        line = proxy._pyro_line
        held, let_go = threading.Event(), threading.Event()

        def hold():
            with line._lock:
                held.set()
                let_go.wait(PATIENCE)

        worker = Worker(hold)
        assert held.wait(PATIENCE)
        try:
            child = Child(lambda: 0 if proxy.echo(5) == 5 else 1)
            assert child.wait() == 0
        finally:
            let_go.set()
            worker.result()
        assert proxy.echo(6) == 6
        proxy._pyroRelease()


def test_many_threads_of_a_child_come_first_at_once():
    with serving({"thing": Thing()}) as served, served.proxy() as proxy:
        assert proxy.echo(1) == 1

        def body():
            barrier = threading.Barrier(8)

            def first():
                barrier.wait(PATIENCE)
                assert proxy.echo(2) == 2
                return proxy._pyroConnection

            workers = [Worker(first) for _ in range(8)]
            assert len({id(worker.result()) for worker in workers}) == 1

        assert [Child(body).wait() for _ in range(5)] == [0] * 5
        assert proxy.echo(3) == 3


def test_what_is_under_way_belongs_to_the_parent():
    gate = Gate()
    retries = settings(MAX_RETRIES=3)
    with serving({"gate": gate, "source": Source()}) as served:
        proxy = served.proxy("gate")
        repeated = served.proxy("gate", settings=retries)
        source = served.proxy("source")
        stream = source.count(1000)
        assert next(stream) == 0
        pending = [proxy.hold.submit(1), repeated.hold.submit(2)]
        watched = proxy.hold.submit(3)
        watched.add_done_callback(lambda future: None)

        def body():
            for future in (*pending, watched):
                with pytest.raises(ForkedConnectionError, match="through a fork"):
                    future.result(PATIENCE)
            with pytest.raises((ForkedConnectionError, ConnectionClosedError)):
                list(stream)
            assert proxy.echo(7) == 7
            assert proxy.echo.submit(8).result(PATIENCE) == 8
            repeated._pyroTimeout = PATIENCE
            assert repeated.echo.submit(9).result(PATIENCE) == 9
            assert sum(source.count(10)) == 45

        assert Child(body).wait() == 0
        gate.opened.set()
        assert [future.result(PATIENCE) for future in (*pending, watched)] == [1, 2, 3]
        assert list(stream) == list(range(1, 1000))
        for each in (proxy, repeated, source):
            each._pyroRelease()
        assert not futures_module._watched


def test_a_child_leaves_the_connection_of_its_parent_alone():
    """To release, or to end, does not say goodbye for the parent."""
    with serving({"thing": Thing()}) as served, served.proxy() as proxy:
        assert proxy.echo(1) == 1
        (client,) = served.daemon.serving.values()

        def body():
            proxy._pyroRelease()

        for _ in range(5):
            assert Child(body).wait() == 0
            assert proxy.echo(2) == 2
        assert list(served.daemon.serving.values()) == [client]


def test_a_daemon_belongs_to_the_process_that_made_it():
    with Daemon("127.0.0.1") as daemon:
        daemon.register(Thing(), "thing")

        def body():
            with pytest.raises(ForkedConnectionError, match="make the daemon after the fork"):
                daemon.requestLoop()

        assert Child(body).wait() == 0

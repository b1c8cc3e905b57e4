"""Daemons in a loop of the program's own, and several daemons in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time

import pytest

from pyroipc import BusyError, Daemon, DaemonError, Proxy, expose
from pyroipc.wire.message import RESPONSE
from tests.support.daemons import settings
from tests.support.hosts import Worker
from tests.support.network_hosts import (
    CpuTime,
    Gate,
    both_servers,
    is_closed,
    knock,
    raw_client,
)
from tests.support.raw import call_frame
from tests.support.waiting import wait_until


class Program(threading.Thread):
    """A program with a select loop of its own, in which it serves daemons."""

    def __init__(self, *daemons):
        super().__init__(name="program")
        self.daemons = daemons
        self.turns = 0
        self.error = None
        self._going = True

    def run(self):
        try:
            while self._going:
                sockets = {sock: daemon for daemon in self.daemons for sock in daemon.sockets}
                ready, _, _ = select.select(list(sockets), [], [], 0.05)
                self.turns += 1
                for daemon in self.daemons:
                    daemon.events([sock for sock in ready if sockets[sock] is daemon])
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._going = False
        self.join()
        if self.error is not None:
            raise self.error


def daemon_for(server, gate, **items):
    daemon = Daemon(host="127.0.0.1", settings=settings(SERVERTYPE=server, **items))
    daemon.register(gate, "gate")
    return daemon


class Reached:
    """What raw_client wants to know of a daemon."""

    def __init__(self, daemon):
        self.port = daemon.locations[0].port
        self.road = type("Road", (), {"name": "tcp4"})


def proxy_of(daemon):
    return Proxy(f"PYRO:gate@{daemon.locationStr}")


@both_servers
def test_two_daemons_in_a_select_loop(server):
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(daemon_for(server, Gate())) for _ in range(2))
        first, second = (stack.enter_context(proxy_of(daemon)) for daemon in (one, two))
        with Program(one, two):
            for i in range(20):
                assert first.echo(i) == i
                assert second.echo(-i) == -i
            assert list(first.count(100)) == list(range(100))
            with raw_client(Reached(one)) as peer:
                peer.send(b"".join(call_frame(i, "echo", object_id="gate") for i in range(2, 60)))
                found = [peer.expect(RESPONSE).request_id for _ in range(58)]
                assert sorted(found) == list(range(2, 60))


@pytest.mark.parametrize("threads", [1, 2])
def test_somebody_says_there_too_that_all_threads_are_busy(threads):
    few = {"THREADPOOL_SIZE": threads, "THREADPOOL_SIZE_MIN": 1, "BUSY_TIMEOUT": 0.1}
    gate = Gate()
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(daemon_for("thread", gate, **few))
        busy = [stack.enter_context(proxy_of(daemon)) for _ in range(threads)]
        stack.enter_context(Program(daemon))
        held = [Worker(proxy.hold, "kept") for proxy in busy]
        gate.await_entered(threads)
        with proxy_of(daemon) as new, pytest.raises(BusyError):
            new.echo(1)
        gate.opened.set()
        assert [call.result() for call in held] == ["kept"] * threads


def test_a_method_runs_on_the_thread_of_the_program():
    class Where:
        @expose
        def thread(self):
            return threading.current_thread().name

    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(daemon_for("multiplex", Gate()))
        proxy = stack.enter_context(Proxy(daemon.register(Where())))
        with Program(daemon):
            assert proxy.thread() == "program"


@both_servers
def test_a_client_that_reads_nothing_does_not_make_the_program_spin(server):
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(daemon_for(server, Gate()))
        program = stack.enter_context(Program(daemon))
        with raw_client(Reached(daemon)) as deaf:
            deaf.send(call_frame(2, "letters", 16 << 20, object_id="gate"))
            deaf.send(call_frame(3, "echo", object_id="gate"))
            select.select([deaf.sock], [], [], 10)
            turns, cpu = program.turns, CpuTime()
            assert cpu.share_after(0.5) < 0.4
            assert program.turns - turns < 100
            assert {deaf.expect(RESPONSE).request_id for _ in range(2)} == {2, 3}


def test_the_descriptor_of_the_selector_is_enough():
    gate = Gate()

    async def program(daemon):
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        loop.add_reader(daemon.selector.fileno(), daemon.events)
        calls = asyncio.to_thread(call_often, daemon)
        calls_task = asyncio.ensure_future(calls)
        calls_task.add_done_callback(lambda _: done.set())
        await asyncio.wait_for(done.wait(), 10)
        loop.remove_reader(daemon.selector.fileno())
        return calls_task.result()

    def call_often(daemon):
        with proxy_of(daemon) as proxy:
            return [proxy.echo(i) for i in range(50)]

    with daemon_for("multiplex", gate) as daemon:
        assert asyncio.run(program(daemon)) == list(range(50))


def test_silent_clients_are_cut_off_in_such_a_loop_too():
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(daemon_for("multiplex", Gate(), HANDSHAKE_TIMEOUT=0.1))
        stack.enter_context(Program(daemon))
        assert is_closed(stack.enter_context(knock(Reached(daemon))))


# ------------------------------------------------------------------------------- combining


@both_servers
def test_one_loop_serves_two_daemons(server):
    with daemon_for(server, Gate()) as one, daemon_for(server, Gate()) as two:
        two.combine(one)
        loop = Worker(two.requestLoop)
        with proxy_of(one) as first, proxy_of(two) as second:
            assert first.echo(1) == second.echo(1) == 1
            two.shutdown()
            loop.result()


@both_servers
@pytest.mark.parametrize("leaver", [0, 1], ids=["the one that runs", "the other"])
def test_either_of_two_combined_daemons_can_be_closed(server, leaver):
    with daemon_for(server, Gate()) as one, daemon_for(server, Gate()) as two:
        both = one, two
        one.combine(two)
        loop = Worker(one.requestLoop)
        with proxy_of(one) as first, proxy_of(two) as second:
            assert first.echo(1) == second.echo(1) == 1
            both[leaver].close()
            if leaver == 0:
                loop.result()  # its request loop has ended, and the other one can begin its own
                loop = Worker(two.requestLoop)
            with proxy_of(both[1 - leaver]) as other:
                assert other.echo(2) == 2
            both[1 - leaver].close()
            loop.result()
    assert not one.serving
    assert not two.serving


def test_combining_follows_a_daemon_to_where_it_goes():
    with contextlib.ExitStack() as stack:
        one, two, three = (stack.enter_context(daemon_for("multiplex", Gate())) for _ in range(3))
        one.combine(two)
        three.combine(one)
        three.combine(two)
        three.combine(three)
        loop = Worker(three.requestLoop)
        for daemon in (one, two, three):
            with proxy_of(daemon) as proxy:
                assert proxy.echo(1) == 1
        three.shutdown()
        loop.result()


def test_a_loop_that_runs_is_not_taken_away():
    with daemon_for("thread", Gate()) as one, daemon_for("thread", Gate()) as two:
        loop = Worker(one.requestLoop)
        wait_until(lambda: "serving" in repr(one), "the loop runs")
        with pytest.raises(DaemonError, match="runs already"):
            two.combine(one)
        one.combine(two)
        with pytest.raises(DaemonError, match="runs already"):
            two.requestLoop()
        with proxy_of(two) as proxy:
            assert proxy.echo(1) == 1
        one.shutdown()
        loop.result()


def test_all_combined_daemons_keep_house():
    class Keeper(Daemon):
        def housekeeping(self):
            kept.add(self)

    kept = set()
    options = settings(SERVERTYPE="multiplex", POLLTIMEOUT=0.01)
    with Keeper(host="127.0.0.1", settings=options) as one, Keeper(host="127.0.0.1") as two:
        one.combine(two)
        start = time.monotonic()
        one.requestLoop(lambda: len(kept) < 2 and time.monotonic() < start + 10)
        assert kept == {one, two}


def test_what_does_not_listen_has_no_sockets():
    near, far = socket.socketpair()
    with (
        near,
        far,
        Daemon(connected_socket=near) as connected,
        daemon_for("thread", Gate()) as one,
    ):
        for use in (lambda: connected.sockets, lambda: one.combine(connected), connected.events):
            with pytest.raises(DaemonError, match="no sockets"):
                use()
    with pytest.raises(DaemonError, match="no sockets"):
        one.events()

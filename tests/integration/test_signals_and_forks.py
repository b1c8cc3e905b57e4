"""Ctrl-C and other signals during calls, and proxies in forked processes."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import os
import socket
from time import monotonic

import pytest

from pyroipc import Daemon, ForkedConnectionError, Proxy
from tests.support.hosts import HANDLERS_RUN, Child, Worker, forked, hosted
from tests.support.snippets import run_python
from tests.support.things import Thing

SETUP = """
    import os, random, signal, socket, sys, time
    import pyroipc
    from tests.support.hosts import Child, serve
    from tests.support.things import Thing

    near, far = socket.socketpair()
    child = Child(lambda: (near.close(), serve(far, {"thing": Thing()})))
    far.close()
    proxy = pyroipc.Proxy("thing", connected_socket=near)
    proxy.nothing()
    chance = random.Random(int(sys.argv[1]))
"""
TEARDOWN = """
    proxy._pyroRelease()
    near.close()
    assert child.wait() == 0
    print("done", flush=True)
"""


def run(body, *arguments, timeout=40.0):
    code = "".join(
        line[4:] if line.startswith("    ") else line
        for part in (SETUP, body, TEARDOWN)
        for line in part.splitlines(keepends=True)
    )
    finished = run_python(code, *arguments, timeout=timeout)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.endswith("done\n")
    assert not finished.stderr, finished.stderr


INTERRUPTED = """
    def interrupt(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    rounds, longest, size = int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    hits = 0
    data = "x" * size
    for i in range(rounds):
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, longest))
            for j in range(1000):
                value = f"{i}-{j}-{data}"
                assert proxy.echo(value) == value, "the answer of another call"
        except KeyboardInterrupt:
            hits += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert proxy.echo(i) == i, "out of step"
    assert hits > rounds * 0.9, hits
"""


@pytest.mark.skipif(not HANDLERS_RUN, reason="this CPython forgets exception handlers")
@pytest.mark.parametrize(
    ("rounds", "longest", "size"),
    [(400, 0.001, 0), (200, 0.0006, 20_000), (200, 0.004, 100_000), (50, 0.02, 3_000_000)],
)
def test_ctrl_c_at_any_moment(rounds, longest, size):
    """G15: the interrupt comes through, and the next call gets its own answer."""
    run(INTERRUPTED, "1", str(rounds), str(longest), str(size))


@pytest.mark.skipif(not HANDLERS_RUN, reason="this CPython forgets exception handlers")
def test_ctrl_c_during_a_long_call_comes_at_once():
    run(
        """
    class Sleeper(Thing):
        @pyroipc.expose
        def sleep(self, seconds):
            import threading
            threading.Event().wait(seconds)

    proxy._pyroRelease()
    near.close()
    assert child.wait() == 0
    near, far = socket.socketpair()
    child = Child(lambda: (near.close(), serve(far, {"thing": Sleeper()})))
    far.close()
    proxy = pyroipc.Proxy("thing", connected_socket=near)
    signal.signal(signal.SIGALRM, lambda *a: os.kill(os.getpid(), signal.SIGINT))
    for i in range(5):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        start = time.monotonic()
        try:
            proxy.sleep(0.4)
        except KeyboardInterrupt:
            assert time.monotonic() - start < 0.35
        else:
            raise AssertionError("not interrupted")
        assert proxy.echo(i) == i
    """,
        "2",
    )


def test_a_storm_of_signals_changes_no_answer():
    """G16: system calls are interrupted all the time."""
    run(
        """
    count = 0

    def note(number, frame):
        global count
        count += 1

    signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    data = "y" * 300_000
    for i in range(1500):
        value = data if i % 50 == 0 else i
        assert proxy.echo(value) == value
    proxy._pyroTimeout = 5.0
    for i in range(1500):
        assert proxy.echo(i) == i
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert count > 200, count
    """,
        "3",
    )


def test_a_storm_of_base_exceptions_leaves_the_workers():
    """G23."""
    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        proxy._pyroSerializer = "json"
        for i in range(600):
            kind = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError")[i % 4]
            with pytest.raises(Exception, match=f"^{i}$") as caught:
                proxy.fail(kind, str(i))
            assert isinstance(caught.value, Exception)
        assert proxy.echo(1) == 1


def test_a_proxy_in_a_forked_child_refuses():
    """G17: and the parent's calls are undisturbed."""
    with forked({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        echo = proxy.echo
        unused = Proxy("thing", connected_socket=sock)
        assert echo(0) == 0

        def body():
            start = monotonic()
            for use in (
                lambda: proxy.echo(1),
                lambda: echo(1),
                lambda: proxy.value,
                lambda: unused.echo(1),
                lambda: setattr(proxy, "value", 1),
            ):
                with pytest.raises(ForkedConnectionError, match="fork"):
                    use()
            proxy._pyroRelease()
            assert monotonic() - start < 5

        for i in range(20):
            child = Child(body)
            for j in range(20):
                assert echo((i, j)) == (i, j)
            assert child.wait() == 0
        assert proxy.echo(1) == 1


def test_forks_while_other_threads_call():
    """G18, small: each child can make calls over a pair of its own."""

    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        stop = []

        def keep_calling():
            i = 0
            while not stop:
                i += 1
                assert proxy.echo(i) == i
            return i

        callers = [Worker(keep_calling) for _ in range(4)]

        def body():
            with hosted({"thing": Thing()}) as (own, _):
                with Proxy("thing", connected_socket=own) as mine:
                    assert mine.pid() == os.getpid()

        try:
            for _ in range(10):
                assert Child(body).wait() == 0
        finally:
            stop.append(1)
        assert all(caller.result() > 0 for caller in callers)


def test_a_daemon_that_served_before_the_fork_refuses():
    near, far = socket.socketpair()
    with near, far, Daemon(connected_socket=far) as daemon:
        daemon.register(Thing(), "thing")

        loop = Worker(daemon.requestLoop)
        with Proxy("thing", connected_socket=near) as proxy:
            assert proxy.echo(1) == 1
        daemon.shutdown()
        loop.result()

        def body():
            with pytest.raises(ForkedConnectionError):
                daemon.requestLoop()

        assert Child(body).wait() == 0


def test_a_daemon_made_before_the_fork_may_serve_in_the_child():
    near, far = socket.socketpair()
    with near:
        daemon = Daemon(connected_socket=far)
        daemon.register(Thing(), "thing")
        child = Child(lambda: (near.close(), daemon.requestLoop()))
        far.close()
        with Proxy("thing", connected_socket=near) as proxy:
            assert proxy.pid() == child.pid
        near.close()
        assert child.wait() == 0

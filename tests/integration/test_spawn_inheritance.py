"""What children inherit: nothing; what is left behind: nothing."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading

import pytest

import pyroipc
from pyroipc.process import forkserver
from tests.support.hosts import Child, Worker
from tests.support.leaks import differences, lasting_differences, resources
from tests.support.snippets import run_python
from tests.support.spawned import Counter

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(autouse=True)
def no_server_is_left():
    yield
    forkserver.stop_server()


def sockets_and_watches(descriptors):
    return [
        target
        for number, target in descriptors.items()
        if number > 2 and target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]"))
    ]


@linux
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_siblings_inherit_nothing(start):
    finished = run_python(
        """
        import os, sys, pyroipc
        from tests.support.spawned import Counter
        start = sys.argv[1]
        own = lambda: {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                       if os.path.exists(f"/proc/self/fd/{n}")}
        with pyroipc.spawn(Counter, start=start) as first:
            with pyroipc.spawn(Counter, start=start) as second:
                held = [
                    {t for n, t in c.descriptors().items() if n > 2 and not t.startswith("/proc")}
                    for c in (first, second)
                ]
                assert not held[0] & held[1], held
                for targets in held:
                    sockets = [t for t in targets if t.startswith("socket:")]
                    assert len(sockets) == 2, targets  # the calls and the lifeline
                    assert not [t for t in targets if "pidfd" in t], targets
                    assert not targets & own()
        print("nothing")
        """,
        start,
    )
    assert finished == (0, "nothing\n", "")


def orders():
    numbers = random.Random(4)
    eight = list(range(8))
    yield eight
    yield eight[::-1]
    for _ in range(6):
        yield numbers.sample(eight, 8)


def test_eight_children_closed_in_many_orders():
    for order in orders():
        children = [pyroipc.spawn(Counter, number, start="fork") for number in range(8)]
        for number in order:
            children[number].close()
            assert children[number].exitcode == 0


@pytest.mark.slow
def test_four_children_closed_in_every_order_by_closing_the_socket_only():
    for order in itertools.permutations(range(4)):
        children = [pyroipc.spawn(Counter, start="fork") for _ in range(4)]
        for number in order:
            # The hardest way: the end of the stream is all that tells the child.
            children[number]._pyro_session.channel.sock.shutdown(1)
            assert children[number]._pyro_lease.host.wait(10)
        for child in children:
            child.close()
            assert child.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["process", "thread"])
def test_two_hundred_rounds(where):
    pyroipc.spawn(Counter, where=where, start="fork").close()
    before = resources()
    for number in range(200):
        with pyroipc.spawn(Counter, number, where=where, start="fork") as counter:
            assert counter.add(1) == number + 1
        if where == "process":
            assert not differences(before, resources())
    assert not lasting_differences(before)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_rounds_of_the_slower_ways(start):
    pyroipc.spawn(Counter, start=start).close()
    before = resources()
    for number in range(15):
        with pyroipc.spawn(Counter, number, start=start) as counter:
            assert counter.add(1) == number + 1
    assert not lasting_differences(before)


def test_rounds_of_failures():
    before = resources()
    for _ in range(20):
        with pytest.raises(pyroipc.StartupError):
            pyroipc.spawn(os._exit, 1, start="fork")
        with pytest.raises(TypeError):
            pyroipc.spawn(Counter, 1, 2, 3, start="fork")
        with pyroipc.spawn(Counter, start="fork") as counter, pytest.raises(pyroipc.PeerDiedError):
            counter.end("exit", 1)
    assert not lasting_differences(before)


@linux
def test_no_descriptors_left():
    """Whichever descriptor is the one too many, nothing is lost."""
    finished = run_python(
        """
        import os, resource, pyroipc
        from tests.support.spawned import Counter
        from tests.support.leaks import differences, resources
        for start in ("fork", "spawn", "forkserver"):
            with pyroipc.spawn(Counter, start=start) as counter:
                counter.add(1)
        before = resources()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        used = len(os.listdir("/proc/self/fd")) - 1
        failures = 0
        for start in ("fork", "spawn", "forkserver"):
            for spare in range(9):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
                try:
                    pyroipc.spawn(Counter, start=start).close()
                except (pyroipc.StartupError, OSError):
                    failures += 1
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                assert not differences(before, resources()), (start, spare)
        print(failures > 3)
        """
    )
    assert finished == (0, "True\n", "")


def test_a_handle_in_a_forked_child_of_the_parent():
    with pyroipc.spawn(Counter, 5, start="fork") as counter:
        method = counter.add

        def in_the_child():
            for use in (lambda: counter.add(1), lambda: method(1), lambda: counter.proxy.add(1)):
                try:
                    use()
                except pyroipc.ForkedConnectionError:
                    continue
                return 1
            assert counter.exitcode is None
            assert "a child of process" in repr(counter)
            counter.close()
            with pyroipc.spawn(Counter, 7, start="fork") as own:
                return 0 if own.total == 7 else 2

        assert Child(in_the_child).wait() == 0
        assert counter.add(1) == 6


def in_a_child_of_multiprocessing(counter):
    counter.close()
    assert not os.path.exists("/proc/self/fd") or not sockets_and_watches({
        int(n): os.readlink(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{n}")
        and os.readlink(f"/proc/self/fd/{n}") in in_the_parent
    })


in_the_parent: set[str] = set()


@linux
def test_children_of_multiprocessing_inherit_nothing():
    with pyroipc.spawn(Counter, start="fork") as counter:
        host = counter._pyro_lease.host
        for number in (
            counter._pyro_session.channel.sock.fileno(),
            host._life.fileno(),
        ):
            in_the_parent.add(os.readlink(f"/proc/self/fd/{number}"))
        process = multiprocessing.get_context("fork").Process(
            target=in_a_child_of_multiprocessing, args=(counter,)
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        process.close()
        assert counter.add(1) == 1
    in_the_parent.clear()


def test_forks_while_others_start():
    """Children that come and go in one thread do not hold what another thread's children need."""
    stop = threading.Event()

    def fork_and_forget():
        while not stop.is_set():
            Child(lambda: 0).wait()

    forker = Worker(fork_and_forget)
    sleeper = None
    try:
        for number in range(20):
            with pyroipc.spawn(Counter, number, start="fork") as counter:
                if sleeper is None:
                    sleeper = Child(signal.pause)
                assert counter.add(1) == number + 1
            assert counter.exitcode == 0
    finally:
        stop.set()
        forker.result()
        if sleeper is not None:
            sleeper.kill()
            sleeper.wait()


def test_output_is_printed_once_and_exit_functions_run_where_they_belong():
    finished = run_python(
        """
        import atexit, sys, threading, pyroipc

        class Printer:
            def say(self):
                print("child")
                atexit.register(print, "exit of the child")
                threading.Thread(target=print, args=("thread of the child",)).start()

        atexit.register(print, "exit of the parent")
        print("before", end=" ")
        for start in ("fork", "spawn"):
            with pyroipc.spawn(Printer, start=start) as printer:
                printer.say()
        """
    )
    assert finished.stderr == ""
    one = ["child", "thread of the child", "exit of the child"]
    assert finished.stdout.replace("before ", "before\n").splitlines() == [
        "before",
        *one,
        *one,
        "exit of the parent",
    ]

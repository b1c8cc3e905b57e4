"""Signals: Ctrl-C in a call, a child's own handling, storms."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.snippets import run_python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_ctrl_c_in_a_call(start):
    finished = run_python(
        """
        import os, signal, sys, threading, time, pyroipc
        from tests.support.spawned import Counter

        with pyroipc.spawn(Counter, start=sys.argv[1]) as counter:
            for number in range(5):
                timer = threading.Timer(0.1, os.killpg, (0, signal.SIGINT))
                try:
                    timer.start()
                    counter.slowly(0.3)
                except KeyboardInterrupt:
                    print("interrupted", end=" ")
                timer.join()
                assert counter.echo(number) == number
        print(counter.exitcode)
        """,
        start,
    )
    assert finished == (0, "interrupted " * 5 + "0\n", "")


def test_ctrl_c_while_a_child_starts():
    finished = run_python(
        """
        import os, signal, threading, time, pyroipc
        from tests.support.leaks import differences, resources
        from tests.support.spawned import Counter

        pyroipc.spawn(Counter, start="spawn").close()
        before = resources()
        for delay in (0.001, 0.003, 0.01, 0.03, 0.06, 0.1):
            timer = threading.Timer(delay, os.killpg, (0, signal.SIGINT))
            try:
                timer.start()
                with pyroipc.spawn(time.sleep, 1, start="spawn"):
                    pass
            except KeyboardInterrupt:
                print("interrupted", end=" ")
            timer.join()
            found = differences(before, resources())
            assert not found, (delay, found)
        """
    )
    assert finished == (0, "interrupted " * 6, "")


def test_handlers_of_the_parent_are_not_the_childs():
    finished = run_python(
        """
        import os, signal, socket, pyroipc

        class Asker:
            def ask(self):
                names = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGALRM")
                return [str(signal.getsignal(getattr(signal, name))) for name in names] + [
                    signal.set_wakeup_fd(-1), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]

        def handler(*args):
            print("handled in", os.getpid())

        near, far = socket.socketpair()
        near.setblocking(False)
        signal.set_wakeup_fd(near.fileno())
        for name in ("SIGTERM", "SIGUSR1", "SIGALRM"):
            signal.signal(getattr(signal, name), handler)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
        for start in ("fork", "spawn", "forkserver"):
            with pyroipc.spawn(Asker, start=start) as asker:
                answer = asker.ask()
                assert answer == ["1", "0", "0", "0", -1, []] or [
                    str(part).rpartition(".")[2] for part in answer[:4]
                ] == ["SIG_IGN", "SIG_DFL", "SIG_DFL", "SIG_DFL"], answer
                assert answer[4:] == [-1, []], answer
        assert signal.set_wakeup_fd(-1) == near.fileno()
        assert signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        near.close(); far.close()
        """
    )
    assert finished == (0, "", "")


def test_a_storm_of_signals():
    finished = run_python(
        """
        import signal, pyroipc
        from tests.support.spawned import Counter

        count = 0
        def handler(*args):
            global count
            count += 1

        signal.signal(signal.SIGALRM, handler)
        with pyroipc.spawn(Counter) as counter:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for number in range(5000):
                assert counter.echo(number) == number
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(count > 10)
        """
    )
    assert finished == (0, "True\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_is_in_the_group_of_its_parent():
    finished = run_python(
        """
        import os, pyroipc
        from tests.support.spawned import Counter
        with pyroipc.spawn(Counter) as counter:
            print(os.getpgid(counter.pid) == os.getpgrp(), counter.parent() == os.getpid())
        """
    )
    assert finished == (0, "True True\n", "")

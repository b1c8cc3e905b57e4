"""Both ends call: objects that are passed are called back over the same connection."""

# ruff: noqa: F811 - the fixture "link" is imported, and tests have an argument of its name

from __future__ import annotations

import os
import signal
import threading

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, expose
from pyroipc.errors import ConnectionClosedError, SerializeError
from pyroipc.settings import Settings
from tests.support.both_ends import KINDS, SERIALIZERS, Far, Near, link, linked  # noqa: F401
from tests.support.hosts import PATIENCE, Worker, together, unix_pair
from tests.support.waiting import wait_until


def test_a_registered_object_is_called_back(link):
    near = link.near()
    link.proxy.keep(near)
    assert link.proxy.call("note", 5) == 5
    assert near.seen == [5]


def test_attributes_of_the_callers_object(link):
    near = link.near("Alice")
    link.proxy.keep(near)
    assert link.proxy.read("name") == "Alice"
    link.proxy.write("name", "Bob")
    assert near.name == "Bob"


def test_generators_of_the_callers_object(link):
    link.proxy.keep(link.near())
    assert link.proxy.total(1000) == 499500


def test_a_callback_in_a_call_runs_on_the_thread_that_waits_for_it(link):
    near = link.near()
    link.proxy.keep(near)
    assert tuple(link.proxy.call("where")) == (os.getpid(), threading.get_ident())


def test_locks_of_the_caller_are_not_in_the_way(link):
    near = link.near()
    link.proxy.keep(near)
    with near.lock:
        assert link.proxy.call("take_lock") is True


@pytest.mark.parametrize("depth", [10, 40])
def test_calls_back_and_forth(link, depth):
    assert link.proxy.down(link.near(), depth) == depth


def test_calls_back_and_forth_between_single_threads():
    settings = Settings()
    settings.SERVERTYPE = "multiplex"
    with linked("fork", "pickle", settings=settings) as link:
        daemon = Daemon(connected_socket=link.sock, settings=settings)
        near = Near()
        daemon.register(near)
        assert link.proxy.down(near, 10) == 10
        daemon.close()


def test_two_threads_at_once(link):
    first, second = link.near(), link.near()

    def work(near):
        return [link.proxy.down(near, 4) for _ in range(25)]

    done = together(lambda: work(first), lambda: work(second))
    assert done == [[4] * 25] * 2


def test_a_slow_callback_holds_up_nobody_else(link):
    """The thread that runs it cannot receive; another one has to."""
    entered, opened = threading.Event(), threading.Event()

    @expose
    class Slow:
        def wait(self):
            entered.set()
            return opened.wait(PATIENCE)

    slow = Slow()
    link.daemon.register(slow)
    link.proxy.keep(slow)
    caller = Worker(link.proxy.call, "wait")
    assert entered.wait(PATIENCE)
    # Of many threads none may take the thread that is busy for the one that receives.
    done = together(*[lambda: [link.proxy.add(i, i) for i in range(50)]] * 4, timeout=5)
    assert done == [[2 * i for i in range(50)]] * 4
    opened.set()
    assert caller.result() is True


def test_callbacks_out_of_the_blue(link):
    """From a thread of the host that belongs to no call, while this end does nothing at all."""
    near = link.near()
    link.proxy.keep(near)
    link.proxy.call_later("note", "idle")
    assert near.came.wait(PATIENCE)
    assert near.seen == ["idle"]
    assert link.proxy.join()


def test_callbacks_out_of_the_blue_while_this_end_is_in_another_call(link):
    near = link.near()
    link.proxy.keep(near)
    link.proxy.call_later("note", "busy")
    assert link.proxy.join()  # it ends when the callback was answered
    assert near.seen == ["busy"]


def test_oneway_callbacks(link):
    near = link.near()
    link.proxy.keep(near)
    for number in range(20):
        link.proxy.call("hear", number)
    wait_until(lambda: len(near.seen) == 20, "all oneway calls have run")
    assert near.seen == list(range(20))


def test_callbacks_in_batches(link):
    near = link.near()
    batch = pyroipc.BatchProxy(link.proxy)
    batch.keep(near)
    batch.call("note", 1)
    batch.kept()
    assert list(batch()) == [None, 1, near]


def test_exceptions_go_through_three_levels(link):
    near = link.near()
    link.proxy.keep(near)
    with pytest.raises(ValueError, match="deep") as caught:
        link.proxy.call("fail", "deep")
    assert caught.value.args == ("deep", near)
    text = "".join(caught.value._pyroTraceback)
    assert "in call" in text
    assert "in fail" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_large_callbacks_both_ways_at_once(kind):
    with linked(kind, "pickle") as link:
        near = link.near()
        link.proxy.keep(near)
        data = b"x" * (100 << 20)

        def work():
            assert link.proxy.call("note", data) == data
            near.seen.clear()

        together(work, work, timeout=60)


def test_the_end_of_the_peer_in_a_callback():
    with linked("fork", "pickle") as link:

        @expose
        class Killer:
            def kill(self):
                link.host.kill(signal.SIGKILL)
                link.host.wait()

        killer = Killer()
        link.daemon.register(killer)
        link.proxy.keep(killer)
        with pytest.raises(ConnectionClosedError):
            link.proxy.call("kill")


def test_the_end_of_the_peer_in_a_nested_call():
    with linked("fork", "pickle") as link:

        @expose
        class Back:
            def again(self, far):
                far.end()

        back = Back()
        link.daemon.register(back)
        link.proxy.keep(back)
        with pytest.raises(ConnectionClosedError):
            link.proxy.call("again", link.proxy)
        assert link.host.wait() == 3


def test_an_object_of_a_thread_goes_to_a_spawned_child_and_back():
    daemon_pair = unix_pair()
    daemon = Daemon(connected_socket=daemon_pair[0])
    near = Near()
    daemon.register(near)
    try:
        with pyroipc.spawn(Far) as far:
            far.keep(near)
            assert far.call("note", 1) == 1
            assert near.seen == [1]
            assert far.kept() is near
            far.call_later("note", 2)
            assert far.join()
            assert near.seen == [1, 2]
    finally:
        daemon.close()
        for sock in daemon_pair:
            sock.close()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_proxy_of_a_third_party_is_refused_with_words(serializer):
    with linked("fork", serializer) as link, linked("fork", serializer) as other:
        with pytest.raises(SerializeError, match="pass a registered object that calls it"):
            link.proxy.echo([other.proxy])
        assert link.proxy.echo(1) == 1
        assert other.proxy.echo(2) == 2


def test_a_relay_serves_instead():
    """What the words of the error say to do."""

    @expose
    class Relay:
        def __init__(self, proxy):
            self._proxy = proxy

        def pid(self):
            return self._proxy.pid()

    with linked("fork", "json") as link, linked("fork", "json") as other:
        relay = Relay(other.proxy)
        link.daemon.register(relay)
        link.proxy.keep(relay)
        assert link.proxy.call("pid") == other.proxy.pid()


def test_ctrl_c_in_a_callback():
    """It ends the call that waits here; the peer is answered, and the connection lives on."""
    with linked("fork", "pickle") as link:

        @expose
        class Victim:
            def interrupted(self):
                signal.raise_signal(signal.SIGINT)

        victim = Victim()
        link.daemon.register(victim)
        link.proxy.keep(victim)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                link.proxy.call("interrupted")
        finally:
            signal.signal(signal.SIGINT, before)
        assert link.proxy.add(1, 2) == 3


def test_errors_of_callback_methods_are_logged_where_they_are_raised(caplog):
    with linked("fork", "pickle") as link:
        near = link.near()
        link.proxy.keep(near)
        with caplog.at_level("WARNING", "pyroipc.server"):
            with pytest.raises(ValueError):
                link.proxy.call("fail", "quiet")
            assert not caplog.records
            with pytest.raises(ValueError):
                link.proxy.call("fail_loudly", "loud")
        assert "fail_loudly" in caplog.text
        assert "loud" in caplog.text


def test_the_peer_reaches_only_what_it_was_given():
    """G24: over the connection of a proxy nothing else of a daemon can be called."""
    with linked("thread", "json") as link:
        given, secret = link.near(), link.near()
        hidden = link.daemon.uriFor(secret).object
        link.proxy.keep(given)
        assert link.proxy.call("note", 1) == 1
        session = link.host.daemon._session
        reached = Proxy._pyro_over(session, "Pyro.Daemon")
        reached._pyroSerializer = "json"
        with pytest.raises(pyroipc.DaemonError):
            reached._pyroInvoke("note", (1,), {}, 0, hidden)
        with pytest.raises(pyroipc.DaemonError):
            reached._pyroInvoke("get_metadata", (hidden,), {}, 0, "Pyro.Daemon")
        assert hidden not in reached._pyroInvoke("registered", (), {}, 0, "Pyro.Daemon")
        assert secret.seen == []

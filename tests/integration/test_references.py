"""References: what arrives, what comes home, and when objects are let go."""

# ruff: noqa: F811 - the fixture "link" is imported, and tests have an argument of its name

from __future__ import annotations

import copy
import gc
import signal
import threading

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, expose
from pyroipc.errors import ConnectionClosedError, DaemonError, SerializeError
from tests.support.both_ends import (  # noqa: F401
    SERIALIZERS,
    Near,
    SessionFar,
    SingleFar,
    Unsendable,
    link,
    linked,
    watch,
)
from tests.support.hosts import PATIENCE, together, unix_pair
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def no_collector():
    """What goes must go without it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def all_released(link):
    wait_until(lambda: not link.exports, "the peer has released everything")


# --- where they may stand ---------------------------------------------------------------------


def test_in_containers_and_keyword_arguments(link):
    near = link.near()
    link.proxy.keep([near, {"a": (near,)}], named={"b": [near]})
    assert link.proxy.call_all("note", 1) == [1, 1, 1]
    assert near.seen == [1, 1, 1]


def test_in_the_arguments_of_exceptions(link):
    near = link.near()
    with pytest.raises(ValueError, match="failed with") as caught:
        link.proxy.fail_with(near)
    assert caught.value.args == ("failed with", near)
    with pytest.raises(ValueError) as caught:
        link.proxy.fail_with_attribute(near)
    assert caught.value.culprit is near
    caught = None


def test_in_the_items_of_streams(link):
    near = link.near()
    assert [item[0] is near for item in link.proxy.stream_of(near, 3)] == [True] * 3


def test_as_results(link):
    me = link.proxy.me()
    assert isinstance(me, Proxy)
    assert me.add(1, 2) == 3
    assert me == link.proxy


# --- identity ---------------------------------------------------------------------------------


def test_the_same_object_is_the_same_proxy(link):
    near = link.near()
    assert link.proxy.are_same(near, near) is True
    link.proxy.keep(near)
    assert link.proxy.are_same(near, near) is True
    assert link.proxy.me() is link.proxy.me() or link.proxy.me() == link.proxy.me()
    first = link.proxy.me()
    assert link.proxy.me() is first


def test_it_comes_home_as_itself(link):
    near = link.near()
    link.proxy.keep(near)
    assert link.proxy.kept() is near
    assert link.proxy.is_me(link.proxy) is True
    assert link.proxy.is_me(link.proxy.me()) is True
    back = link.proxy.return_near(near)["near"]
    assert back[0] is near is back[1]


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("cls", [SessionFar, SingleFar])
def test_instances_that_return_themselves(cls, serializer):
    with linked("fork", serializer, {"made": cls}) as link:
        made = link.connect("made")
        me = made.me()
        assert isinstance(me, Proxy)
        assert me.is_me(me) is True
        assert made.is_me(me) is True


def test_the_instance_of_another_daemon_is_not_made_anew():
    """A class of mode single is registered here, and its instance is passed over a proxy."""
    made = []

    @expose
    @pyroipc.behavior(instance_mode="single")
    class Single(Near):
        def __init__(self):
            super().__init__()
            made.append(self)

    with linked("fork", "json") as link:
        other_pair = unix_pair()
        other = Daemon(connected_socket=other_pair[0])
        link.proxy.keep(link.near())  # the daemon of the link is the first to be a guest
        other.register(Single, "single")
        instance = other.single.get(other.registry.get("single"))
        link.proxy.keep(instance)
        assert link.proxy.call("note", 7) == 7
        assert made == [instance]
        assert instance.seen == [7]
        other.close()
        for sock in other_pair:
            sock.close()


def test_objects_of_two_daemons_may_have_the_same_id(link):
    other_pair = unix_pair()
    other = Daemon(connected_socket=other_pair[0])
    first, second = Near("first"), Near("second")
    link.daemon.register(first, "same")
    other.register(second, "same")
    link.proxy.keep([first, second])
    assert link.proxy.call_all("note", 1) == [1, 1]
    assert (first.seen, second.seen) == ([1], [1])
    link.proxy.keep([second, first, second])
    assert link.proxy.call_all("note", 2) == [2, 2, 2]
    assert (first.seen, second.seen) == ([1, 2], [1, 2, 2])
    other.close()
    for sock in other_pair:
        sock.close()


def test_an_id_of_the_daemon_that_serves_is_not_mistaken():
    """The host passes an object of another daemon whose id means something else at its own."""

    @expose
    class Giver:
        def __init__(self, given):
            self._given = given

        def given(self):
            return self._given

    pair = unix_pair()
    other = Daemon(connected_socket=pair[0])
    given = Near("given")
    other.register(given, "far")
    with linked("thread", "json", {"giver": Giver(given)}) as link:
        assert link.connect("giver").given().name == "given"
        assert link.proxy.add(1, 2) == 3
    other.close()
    for sock in pair:
        sock.close()


def test_an_id_that_was_given_to_another_object(link):
    first, second = Near("first"), Near("second")
    link.daemon.register(first, "id")
    link.proxy.keep(first)
    link.daemon.unregister(first)
    link.daemon.register(second, "id")
    link.proxy.keep(second)
    assert link.proxy.read("name") == "second"


# --- the end of references --------------------------------------------------------------------


def test_released_with_the_last_proxy(link):
    """The object goes as soon as the other end has dropped it, without any call."""
    near = link.near(weak=True)
    gone = watch(near)
    link.proxy.keep(near)
    assert link.proxy.call("note", 1) == 1  # methods must not keep the proxy alive
    del near
    assert link.proxy.call("note", 2) == 2  # the reference keeps it
    assert not gone.is_set()
    link.proxy.forget()
    assert gone.wait(PATIENCE)
    all_released(link)


def test_released_by_this_end_too(link):
    proxy = link.proxy.me()
    assert proxy.add(1, 1) == 2
    gone = watch(proxy)
    del proxy
    assert gone.wait(0)


def test_counts_of_many_threads(link):
    things = [link.near() for _ in range(4)]

    def work():
        for number in range(40):
            near = things[number % 4]
            assert link.proxy.echo(near) is near

    together(work, work, work, timeout=30)
    all_released(link)


def test_a_copy_and_a_method_hold_the_reference(link):
    me = link.proxy.me()
    twin, method = copy.copy(me), me.add
    del me
    assert twin.add(1, 2) == 3
    del twin
    assert method(3, 4) == 7


def test_what_is_not_sent_is_not_counted(link):
    near = link.near()
    link.proxy.keep(1)
    with pytest.raises(SerializeError):
        link.proxy.keep([near, {"x": near}], Unsendable())
    batch = pyroipc.BatchProxy(link.proxy)
    batch.keep(near)
    batch.keep(Unsendable())
    with pytest.raises(SerializeError):
        batch()
    assert link.counts() == []


def test_what_is_too_large_is_not_counted():
    with linked("fork", "pickle") as link:
        near = link.near()
        link.proxy.keep(1)
        session = link.proxy._pyro_connected()
        session._limits = type(session._limits)(1 << 20)
        with pytest.raises(pyroipc.MessageTooLargeError):
            link.proxy.keep(near, b"x" * (2 << 20))
        assert link.counts() == []


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_results_that_cannot_be_sent_are_not_counted(serializer):
    with linked("thread", serializer) as link:
        near = link.near()
        with pytest.raises(SerializeError):
            link.proxy.fail_badly(near)

        def are_released():  # the frames of the error go round in circles
            gc.collect()
            return not link.exports

        wait_until(are_released, "the peer has released everything")


def test_received_proxies_survive_a_with_statement(link):
    """It is not the one to close the connection; and the peer may send it again."""
    near = link.near()
    link.proxy.keep(near)
    assert link.proxy.with_it(near) == "outside"
    assert link.proxy.call("note", 1) == 1
    assert near.seen == ["inside", "outside", 1]


def test_references_end_with_their_conversation():
    with linked("fork", "json") as link:
        near = link.near(weak=True)
        gone = watch(near)
        me = link.proxy.me()
        assert me.add(1, 2) == 3
        link.proxy.keep(near)
        del near
        me._pyroRelease()
        link.proxy._pyroRelease()
        assert gone.wait(PATIENCE)
        with pytest.raises(ConnectionClosedError, match="ended with the conversation"):
            me.add(1, 2)
        assert link.proxy.add(3, 4) == 7  # a new conversation
        with pytest.raises(ConnectionClosedError, match="ended with the conversation"):
            me.add(1, 2)
        with pytest.raises(ConnectionClosedError, match="ended with the conversation"):
            link.proxy.call("note", 1)


def test_old_references_do_not_release_new_ones():
    with linked("fork", "json") as link:
        near = link.near()
        for _ in range(3):
            link.proxy.keep(near, near)
        link.proxy._pyroRelease()
        batch = pyroipc.BatchProxy(link.proxy)
        batch.keep(near)  # the peer drops the old proxies as it takes the new one
        batch.call("note", 1)
        assert list(batch()) == [None, 1]
        link.proxy.echo()
        assert link.proxy.call("note", 2) == 2


def test_unregistered_objects_are_not_called_any_more(link):
    near = link.near()
    link.proxy.keep(near)
    assert link.proxy.call("note", 1) == 1
    link.daemon.unregister(near)
    with pytest.raises(DaemonError):
        link.proxy.call("note", 2)
    again = link.near()
    link.proxy.keep(again)
    link.daemon.close()
    with pytest.raises(DaemonError):
        link.proxy.call("note", 3)
    assert near.seen == [1]
    assert again.seen == []


def test_two_equal_proxies_are_two_users(link):
    """One of them releases the connection; the other one still uses it."""
    other = link.connect("far")
    other._pyroBind()
    near = link.near()
    link.proxy.keep(near)
    other._pyroRelease()
    assert link.proxy.call("note", 1) == 1  # the conversation is the same, or near was lost


def test_no_trace_of_many_objects(link):
    link.proxy.keep(1)
    references = link.proxy._pyro_connected().references
    for _ in range(100):
        assert link.proxy.echo(link.near(weak=True)) is not None
    all_released(link)
    assert references._imports == {}


def test_the_end_of_an_object_may_call_the_peer(link):
    """Its finalizer must not run where messages are received."""
    ended = threading.Event()

    @expose
    class Chatty:
        def __init__(self, proxy):
            self._proxy = proxy

        def note(self, x):
            return x

        def __del__(self):
            if self._proxy.add(1, 2) == 3:
                ended.set()

    chatty = Chatty(link.proxy)
    link.daemon.register(chatty, weak=True)
    link.proxy.keep(chatty)
    del chatty
    link.proxy.forget()
    assert ended.wait(PATIENCE)


# --- never from the collector -----------------------------------------------------------------


class Collecting:
    """Collects garbage while it is sent."""

    def __reduce__(self):
        gc.collect()
        return int, (1,)


def test_a_collection_in_the_middle_of_sending():
    with linked("fork", "pickle") as link:
        near = link.near()
        for _ in range(20):
            link.proxy.keep(near)
            cycle = [link.proxy.me()]
            cycle.append(cycle)
            del cycle
            assert link.proxy.echo([near, Collecting()])[1] == 1
        link.proxy.forget()
        all_released(link)


def test_a_collection_in_a_signal_handler():
    with linked("fork", "pickle") as link:

        def collect(number, frame):
            cycle = [link.near(), Near()]
            cycle.append(cycle)
            del cycle
            gc.collect()
            signal.setitimer(signal.ITIMER_REAL, 0.005)

        before = signal.signal(signal.SIGALRM, collect)
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        try:
            for _ in range(100):
                me = link.proxy.me()
                assert me.add(1, 2) == 3
                holder = [me]
                holder.append(holder)
                del me, holder
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert link.proxy.add(1, 2) == 3


def test_what_is_pickled_twice_is_counted_once():
    """Large arguments are searched, and classes of the main module are sent by value."""
    with linked("fork", "pickle") as link:
        near = link.near()
        link.proxy.keep([near], b"x" * (2 << 20))
        assert link.counts() == [1]
        link.proxy.keep([near], lambda: "pickle cannot do this")
        assert link.counts() == [2]
        link.proxy.forget()
        all_released(link)

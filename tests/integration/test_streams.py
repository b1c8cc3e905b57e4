"""Remote iterators: items that are pushed, as far as the reader has room for them."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import signal
import threading
import time
import tracemalloc
import weakref

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, Settings
from pyroipc.client.streams import RemoteIterator
from pyroipc.errors import (
    ConnectionClosedError,
    DaemonError,
    ForkedConnectionError,
    PeerDiedError,
    ProtocolError,
    PyroError,
    SerializeError,
    TimeoutError,
)
from pyroipc.serializers import table
from pyroipc.server.loops.streams import STREAMS_MAX
from pyroipc.wire.message import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    HELLO,
    ITEM,
    REQUEST,
    RESPONSE,
    STREAM,
)
from tests.support.hosts import HANDLERS_RUN, HOSTS, PAIRS, Child, Worker, forked, hosted, together
from tests.support.messages import plain
from tests.support.raw import JSON, RawPeer, answer_to, call_frame, result_frame
from tests.support.sources import Source
from tests.support.waiting import wait_until

SERIALIZERS = ["pickle", "serpent", "json", "marshal", "msgpack"]
AHEAD = 6 * 512
"""More items than this are never on their way; see WINDOW and CHUNK_ITEMS."""


@pytest.fixture(params=[(where, name) for where in HOSTS for name in SERIALIZERS], ids="-".join)
def source(request):
    """A proxy for a Source, in a thread and in a child, with every serializer."""
    where, serializer = request.param
    with HOSTS[where]({"source": Source()}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@pytest.fixture
def near():
    """A proxy for a Source in another thread."""
    with hosted({"source": Source()}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            yield proxy


@pytest.fixture
def far():
    """A proxy for a Source in another process."""
    with forked({"source": Source()}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            yield proxy


def _read_into(found, remote):
    """Read to the end, or to the exception there; list.extend would lose what came before it."""
    while True:
        try:
            found.append(next(remote))
        except StopIteration:
            return


class Held:
    """Something that a frame holds."""


def without_linger(**more):
    settings = Settings(use_environment=False)
    settings.ITER_STREAM_LINGER = 0.0
    for name, value in more.items():
        setattr(settings, name, value)
    return settings


# --- what comes out ------------------------------------------------------------------------------


def test_items_in_order(source):
    remote = source.count(10_000)
    assert type(remote) is RemoteIterator
    assert iter(remote) is remote
    assert list(remote) == list(range(10_000))
    assert list(remote) == []
    with pytest.raises(StopIteration):
        next(remote)


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 511, 512, 513, 2047, 2048, 2049])
def test_all_lengths(near, n):
    assert list(near.count(n)) == list(range(n))


def test_iterators_of_all_kinds(source):
    assert list(source.letters("abc")) == ["a", "b", "c"]
    assert list(source.lines()) == ["one\n", "two\n"]
    assert list(source.mapped()) == ["0", "1", "2"]
    assert list(source.empty()) == []
    assert list(source.squares) == [0, 1, 4, 9, 16]
    assert [type(source.squares) for _ in range(2)] == [RemoteIterator] * 2


def test_an_error_keeps_nothing_of_its_reader_alive(far):
    def read():
        held = Held()
        with pytest.raises(ValueError):
            list(far.failing(3))
        return weakref.ref(held)

    gc.collect()
    gc.disable()
    try:
        assert read()() is None
    finally:
        gc.enable()


def test_what_is_sent_is_what_arrives(source):
    values = [None, (1, 2), {3, 4}, b"bytes", 1 << 80, [], {}, "", float("inf"), {"a": [(1,)]}]
    arrived = list(source.items(values))
    assert arrived == values
    assert list(map(type, arrived)) == list(map(type, values))


def test_exception_after_the_items_before_it(source):
    remote = source.failing(700)
    found = []
    with pytest.raises(ValueError, match="the end of") as caught:
        _read_into(found, remote)
    assert found == list(range(700))
    assert caught.value.args == ("the end of", 700)
    assert caught.value.extra == [700]
    assert caught.value.__notes__[0] == "a note"
    assert "in failing" in "".join(pyroipc.get_pyro_traceback(None, caught.value, None))
    assert list(remote) == []  # it is over, as a local generator is


def test_an_item_that_cannot_be_sent(source):
    remote = source.unsendable(700)
    found = []
    with pytest.raises(SerializeError, match="lock"):
        _read_into(found, remote)
    assert found == list(range(700))
    assert source.echo(1) == 1


def test_interleaved_with_calls_and_streams(source):
    remotes = [source.count(300) for _ in range(50)]
    found = [[] for _ in remotes]
    for i in range(300):
        for remote, items in zip(remotes, found, strict=True):
            items.append(next(remote))
        if not i % 50:
            assert source.echo(i) == i
    assert found == [list(range(300))] * 50
    assert [next(remote, None) for remote in remotes] == [None] * 50


@pytest.mark.parametrize("pair", PAIRS)
def test_over_each_kind_of_socket(pair):
    with forked({"source": Source()}, pair=PAIRS[pair]) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            assert sum(proxy.count(20_000)) == sum(range(20_000))
            with proxy.count(1 << 30) as remote:
                assert next(remote) == 0
            assert proxy.wait_closed(2)


def test_one_thread_only():
    settings = without_linger(SERVERTYPE="multiplex")
    with forked({"source": Source()}, settings=settings) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            a, b = proxy.count(5000), proxy.count(1 << 40)
            found = []
            for item in a:
                found.append(item)
                assert next(b) == item
                if not item % 500:
                    assert proxy.echo(item) == item
            assert found == list(range(5000))
            b.close()
            assert proxy.wait_closed(2)


# --- how much is on its way ----------------------------------------------------------------------


def test_a_slow_reader_slows_the_writer(source):
    remote = source.count(1 << 40)
    for read in range(3 * AHEAD):
        assert next(remote) == read
        if not read % 500:
            assert source.produced() <= read + AHEAD
    produced = source.produced()
    for _ in range(20):
        source.echo(0)
    assert source.produced() <= produced + AHEAD
    remote.close()
    assert source.wait_closed()


def test_nothing_is_fetched_far_ahead_of_a_reader_that_never_reads(far):
    remote = far.count(1 << 40)
    assert far.wait_produced(1)
    for _ in range(50):
        far.echo(0)
    assert far.produced() < 32  # chunks begin small
    remote.close()


def test_memory_stays_flat():
    # In one process, so both ends are counted.
    with hosted({"source": Source()}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 40)
            for _ in range(20_000):
                next(remote)
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(200_000):
                    next(remote)
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert grown < 1 << 20
            remote.close()


@pytest.mark.parametrize("small", [0, 3000], ids=["from the start", "after many small ones"])
def test_huge_items_do_not_pile_up(far, small):
    remote = far.large(1000, 1 << 20, small)
    for _ in range(small):
        assert next(remote) == "s"
    for read in range(40):
        assert len(next(remote)) == 1 << 20
        assert far.produced() <= read + 30, "so many MiB are on their way"
    remote.close()


def test_items_of_a_slow_generator_arrive_at_once(source):
    remote = source.gated()
    for i in range(20):
        source.let(1)
        assert next(remote) == i
    remote.close()
    source.let(1)
    assert source.wait_closed()


def test_items_are_not_held_back_after_a_fast_burst(source):
    remote = source.gated(5000)
    for i in range(5000):
        assert next(remote) == i
    source._pyroTimeout = 5.0
    for i in range(5000, 5020):
        source.let(1)
        assert next(remote) == i
    remote.close()
    source.let(1)
    assert source.wait_closed()


def test_a_peer_that_does_not_read_holds_up_no_other():
    """Items of one connection are flushed while the writer to another one is stuck."""
    with hosted({"source": Source()}) as (stuck, _), hosted({"source": Source()}) as (good, _):
        peer = RawPeer(stuck)
        peer.greet()
        # 1 MiB each: four chunks do not fit into the socket, and nobody reads them.
        peer.send(call_frame(2, "large", 100, 1 << 20, object_id="source"))
        with Proxy("source", connected_socket=good) as proxy:
            remote = proxy.gated(2000)
            for i in range(2000):
                assert next(remote) == i
            proxy._pyroTimeout = 5.0
            for i in range(2000, 2005):
                proxy.let(1)
                assert next(remote) == i
            remote.close()
            proxy.let(1)
        stuck.close()


# --- closing and dropping ------------------------------------------------------------------------


def test_close_closes_the_generator(source):
    remote = source.count(1 << 40)
    assert next(remote) == 0
    remote.close()
    assert source.wait_closed()
    assert list(remote) == []
    remote.close()
    assert source.echo(2) == 2


def test_with_closes(source):
    with source.count(1 << 40) as remote:
        assert next(remote) == 0
    assert source.wait_closed()


def test_close_before_the_first_item(source):
    source.gated(1).close()
    source.let(1)
    assert source.wait_closed()


def test_close_of_one_that_is_exhausted(source):
    remote = source.count(3)
    assert list(remote) == [0, 1, 2]
    remote.close()
    assert source.wait_closed()
    assert source.closed() == 1


def test_close_stops_a_generator_that_has_become_slow(far):
    """After a fast burst a chunk is large; closing must not wait until it is full."""
    remote = far.gated(5000)
    for i in range(5000):
        assert next(remote) == i
    far.let(1)
    assert next(remote) == 5000
    remote.close()
    far.echo(0)  # so the cancelling has arrived
    far.let(1)
    assert far.wait_closed()
    assert far.produced() <= 5003


def test_dropping_closes(source):
    remote = source.count(1 << 40)
    assert next(remote) == 0
    del remote
    gc.collect()
    assert source.wait_closed()


def test_dropping_sends_nothing_from_the_collector(near, monkeypatch):
    remote = near.count(1 << 40)
    assert next(remote) == 0
    senders = []
    cancel = type(near._pyroConnection).cancel_stream

    def watched(self, request_id):
        senders.append(threading.current_thread().name)
        cancel(self, request_id)

    monkeypatch.setattr(type(near._pyroConnection), "cancel_stream", watched)
    del remote
    gc.collect()
    assert near.wait_closed()
    assert senders == ["pyroipc-janitor"]


def test_dropping_one_whose_answer_nobody_fetched(near):
    near._pyroTimeout = 0.05
    with pytest.raises(TimeoutError):
        near.late_count()
    near._pyroTimeout = None
    near.open_gate()
    assert near.wait_closed()


def test_close_while_another_thread_waits(near):
    remote = near.gated()
    worker = Worker(list, remote)
    wait_until(lambda: remote._lock.locked(), "the thread waits for an item")
    remote.close()
    assert worker.result() == []
    near.let(1)
    assert near.wait_closed()


def test_an_iterator_whose_close_fails(near, caplog):
    remote = near.closing_badly()
    assert next(remote) == 0
    remote.close()
    wait_until(lambda: "closing a stream failed" in caplog.text, "it was logged")
    assert near.echo(1) == 1


# --- several readers -----------------------------------------------------------------------------


def test_readers_of_one_iterator_lose_and_double_nothing(source):
    remote = source.count(20_000)
    found = together(*[lambda: list(remote) for _ in range(4)])
    assert sorted(item for items in found for item in items) == list(range(20_000))
    for items in found:
        assert items == sorted(items)


def test_readers_of_many_iterators(source):
    found = together(*[lambda: sum(source.count(3000)) for _ in range(8)])
    assert found == [sum(range(3000))] * 8


# --- limits and settings -------------------------------------------------------------------------


def test_one_stream_too_many(near):
    remotes = [near.count(1 << 40) for _ in range(STREAMS_MAX)]
    with pytest.raises(ProtocolError, match=f"{STREAMS_MAX} streams open already; close some"):
        near.count(1)
    assert near.wait_closed(0)
    remotes.pop().close()
    assert near.wait_closed()
    assert list(near.count(3)) == [0, 1, 2]
    for remote in remotes:
        assert next(remote) == 0
        remote.close()


def test_streaming_turned_off():
    with hosted({"source": Source()}, settings=without_linger(ITER_STREAMING=False)) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            with pytest.raises(DaemonError, match="ITER_STREAMING is off"):
                proxy.count(3)
            with pytest.raises(DaemonError, match="ITER_STREAMING is off"):
                _ = proxy.squares
            assert proxy.echo(1) == 1


def test_lifetime():
    settings = without_linger(ITER_STREAM_LIFETIME=0.3)
    with hosted({"source": Source()}, settings=settings) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 60)
            begun = time.monotonic()
            with pytest.raises(PyroError, match="item stream terminated: it has lived longer"):
                for _ in remote:
                    assert time.monotonic() - begun < 5
            assert proxy.wait_closed()
            assert list(remote) == []
            assert sum(proxy.count(100)) == 4950


def test_lifetime_of_one_that_nobody_reads():
    settings = without_linger(ITER_STREAM_LIFETIME=0.1)
    with hosted({"source": Source()}, settings=settings) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 60)
            assert proxy.wait_closed()
            with pytest.raises(PyroError, match="item stream terminated"):
                sum(remote)


def test_the_timeout_of_the_proxy(near):
    near._pyroTimeout = 0.05
    remote = near.gated()
    with pytest.raises(TimeoutError, match="no item"):
        next(remote)
    near._pyroTimeout = None
    near.let(2)
    assert [next(remote), next(remote)] == [0, 1]
    remote.close()
    near.let(1)


# --- the conversation ends -----------------------------------------------------------------------


@pytest.mark.parametrize("read", [0, 1, 14, 15, 16, 1000, 2999, 3000])
def test_goes_on_after_a_reconnection(far, read):
    remote = far.count(3000)
    found = [next(remote) for _ in range(read)]
    far._pyroRelease()
    far._pyroReconnect()
    found += remote
    assert found == list(range(3000))


def test_goes_on_after_any_new_use_of_the_proxy(source):
    remotes = [source.count(2000), source.failing(2000)]
    found = [[next(remote) for _ in range(700)] for remote in remotes]
    for _ in range(3):
        source._pyroRelease()
        assert source.echo(1) == 1
        for remote, items in zip(remotes, found, strict=True):
            items += [next(remote) for _ in range(300)]
    found[0] += remotes[0]
    with pytest.raises(ValueError, match="the end of"):
        _read_into(found[1], remotes[1])
    assert found == [list(range(2000))] * 2


def test_goes_on_with_another_serializer(far):
    far._pyroSerializer = "json"
    remote = far.gated(2000)
    found = [next(remote) for _ in range(100)]
    far._pyroRelease()
    far._pyroSerializer = "pickle"
    assert far.echo(1) == 1
    found += [next(remote) for _ in range(1900)]
    far.let(3)
    found += [next(remote) for _ in range(3)]
    assert found == list(range(2003))
    remote.close()
    far.let(1)


def test_a_slow_generator_goes_on(far):
    """The item that was on its way when the conversation ended is neither lost nor doubled."""
    remote = far.gated()
    far.let(1)
    assert next(remote) == 0
    far._pyroRelease()
    far._pyroReconnect()
    worker = Worker(next, remote)
    wait_until(lambda: not worker.alive or remote._lock.locked(), "the thread waits for an item")
    far.let(1)
    assert worker.result() == 1
    far.let(5)
    assert [next(remote) for _ in range(5)] == [2, 3, 4, 5, 6]
    remote.close()
    far.let(1)
    assert far.wait_closed()


def test_not_without_a_connection(near):
    remote = near.count(5000)
    assert next(remote) == 0
    near._pyroRelease()
    with pytest.raises(ConnectionClosedError, match="has been closed; after _pyroReconnect"):
        list(remote)
    assert near.echo(1) == 1
    rest = list(remote)
    assert rest[-1] == 4999


def test_the_end_of_lingering():
    settings = without_linger(ITER_STREAM_LINGER=0.05)
    with hosted({"source": Source()}, settings=settings) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 40)
            assert next(remote) == 0
            proxy._pyroRelease()
            assert proxy.wait_closed()
            for _ in range(2):
                with pytest.raises(PyroError, match="item stream terminated"):
                    sum(remote)
                remote._is_over = False
            assert proxy.echo(1) == 1


def test_no_lingering():
    with hosted({"source": Source()}, settings=without_linger()) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 40)
            assert next(remote) == 0
            proxy._pyroRelease()
            assert proxy.wait_closed()
            with pytest.raises(PyroError, match="item stream terminated"):
                sum(remote)


def test_many_that_linger_take_no_thread_each(near):
    remotes = [near.count(1 << 40) for _ in range(100)]
    before = threading.active_count()
    near._pyroRelease()
    assert near.echo(1) == 1
    assert threading.active_count() <= before + 2
    for remote in remotes:
        assert next(remote) == 0
        remote.close()
    assert near.wait_closed(100)


def test_closing_the_daemon_closes_what_lingers():
    source = Source()
    with hosted({"source": source}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.count(1 << 40)
            assert next(remote) == 0
    assert source.closed() == 1
    assert not [t.name for t in threading.enumerate() if t.name.startswith("pyroipc-linger")]
    with pytest.raises(ConnectionClosedError):
        sum(remote)


def test_close_of_one_that_lingers(near):
    remote = near.count(1 << 40)
    assert next(remote) == 0
    near._pyroRelease()
    assert near.echo(1) == 1
    remote.close()
    assert near.wait_closed()


def test_peer_killed_in_mid_stream():
    with forked({"source": Source()}) as (sock, child):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.gated(15)
            found = [next(remote)]
            # What has arrived by now is to be had, and only then it is told.
            wait_until(lambda: proxy.echo(len(remote._chunks.messages)) == 3, "items are here")
            child.kill()
            child.wait()
            with pytest.raises(ConnectionClosedError):
                _read_into(found, remote)
            assert found == list(range(15))
            with pytest.raises(ConnectionClosedError):
                next(remote)
            remote.close()


def test_spawned_peer_killed_in_mid_stream():
    with pyroipc.spawn(Source) as proxy:
        remote = proxy.gated(3)
        assert [next(remote) for _ in range(3)] == [0, 1, 2]
        os.kill(proxy.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(PeerDiedError):
                next(remote)


def test_socket_closed_in_mid_stream(near):
    remote = near.gated(1)
    assert next(remote) == 0
    worker = Worker(next, remote)
    wait_until(lambda: remote._lock.locked(), "the thread waits for an item")
    near._pyroRelease()
    assert isinstance(worker.finish(), ConnectionClosedError)
    near.let(1)


def test_release_while_the_writer_is_stuck():
    """The peer is in the middle of sending items that do not fit into the socket."""
    with forked({"source": Source()}) as (sock, _):
        with Proxy("source", connected_socket=sock) as proxy:
            remote = proxy.large(20, 4 << 20)
            found = [len(next(remote))]
            proxy._pyroRelease()
            assert proxy.echo(1) == 1
            found += map(len, remote)
            assert found == [4 << 20] * 20


def test_not_after_a_fork(near):
    remote = near.gated(1)

    def child():
        try:
            list(remote)
        except ForkedConnectionError:
            remote.close()
            return 0
        return 1

    assert Child(child).wait() == 0
    assert next(remote) == 0
    near.let(1)
    assert next(remote) == 1
    remote.close()
    near.let(1)
    assert near.wait_closed()


@pytest.mark.skipif(not HANDLERS_RUN, reason="CPython 3.13 forgets handlers; see HANDLERS_RUN")
def test_ctrl_c_while_waiting_for_an_item(far):
    remote = far.gated(1)
    assert next(remote) == 0
    for i in range(1, 6):
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(remote)
        timer.join()
        assert far.echo(i) == i
        far.let(1)
        assert next(remote) == i
    remote.close()
    far.let(1)
    assert far.wait_closed()


@pytest.mark.skipif(not HANDLERS_RUN, reason="CPython 3.13 forgets handlers; see HANDLERS_RUN")
def test_ctrl_c_at_any_moment(far):
    class Interruption(BaseException):
        pass

    def interrupt(*_):
        raise Interruption

    before = signal.signal(signal.SIGPROF, interrupt)
    remote = far.count(600_000)
    found = []
    interruptions = 0
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        while True:
            try:
                found.extend(remote)
                break
            except Interruption:
                interruptions += 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert interruptions > 3
    # The one item that is just being returned may go with the exception, as in any function.
    assert found == sorted(set(found))
    assert len(set(range(600_000)).difference(found)) <= interruptions


# --- both ends -----------------------------------------------------------------------------------


class Listener:
    def __init__(self):
        self.heard = []

    @pyroipc.expose
    def hear(self, x):
        self.heard.append(x)
        return x * 10


@pytest.fixture(params=HOSTS)
def both(request):
    """A proxy for a Source, and a daemon at this end of the same socket."""
    with HOSTS[request.param]({"source": Source()}) as (sock, _):
        with (
            Proxy("source", connected_socket=sock) as proxy,
            Daemon(connected_socket=sock) as home,
        ):
            yield proxy, home


def test_generator_that_calls_back(both):
    proxy, home = both
    listener = Listener()
    home.register(listener)
    assert list(proxy.calling_back(listener, 100)) == [i * 10 for i in range(100)]
    assert listener.heard == list(range(100))


def test_stream_of_a_callback_object(both):
    proxy, home = both
    own = Source()
    home.register(own)
    assert proxy.total_of(own, 5000) == sum(range(5000))
    assert own.closed() == 1


def test_the_thread_that_waits_for_an_answer_does_not_produce(both):
    """A stream that is opened inside of a call goes on for as long as it likes."""
    proxy, home = both
    own = Source()
    home.register(own)
    begun = time.monotonic()
    assert proxy.keep_iterator(own) == "opened"
    assert time.monotonic() - begun < 5, "the call waited for the first item"
    own.let(2)
    assert [proxy.next_kept(), proxy.next_kept()] == [0, 1]
    proxy._pyroRelease()
    own.let(1)


def test_stream_that_is_handed_on(both):
    """The items of an object here go to the peer, which hands them on to us."""
    proxy, home = both
    own = Source()
    home.register(own)
    assert list(proxy.numbers_of(own, 5000)) == list(range(5000))
    remote = proxy.numbers_of(own, 1 << 40)
    for i in range(100):
        assert next(remote) == i
    remote.close()
    assert own.wait_closed(2)
    assert own.produced() < 3 * AHEAD


def test_relay_between_two_connections():
    with forked({"source": Source()}) as (far_sock, _):
        with Proxy("source", connected_socket=far_sock) as upstream:

            class Relay:
                @pyroipc.expose
                def numbers(self, n):
                    return upstream.count(n)

                @pyroipc.expose
                def gated(self, n):
                    return upstream.gated(n)

            with hosted({"relay": Relay()}) as (sock, _):
                with Proxy("relay", connected_socket=sock) as proxy:
                    assert list(proxy.numbers(5000)) == list(range(5000))
                    remote = proxy.numbers(1 << 40)
                    assert [next(remote) for _ in range(10)] == list(range(10))
                    remote.close()
                    assert upstream.wait_closed(2)
                    # Closed while the relay itself waits for an item.
                    remote = proxy.gated(1)
                    assert next(remote) == 0
                    remote.close()
                    wait_until(lambda: upstream.let(1) or upstream.closed() == 3, "it is closed")


def test_context_of_a_generator(near):
    class Tagging(Proxy):
        def _pyroAnnotations(self):
            return {"TRAC": b"x"}

    with Tagging("source", connected_socket=near._pyro_socket) as proxy:
        assert list(proxy.context()) == [[True, ["TRAC"]]] * 3


# --- hostile peers -------------------------------------------------------------------------------


@pytest.fixture
def raw():
    """A peer that speaks by hand to a daemon with a Source."""
    with hosted({"source": Source()}) as (sock, _):
        peer = RawPeer(sock)
        peer.greet()
        yield peer


def open_by_hand(peer, request_id, member, *args):
    peer.send(call_frame(request_id, member, *args, object_id="source"))
    answer = peer.expect(RESPONSE)
    assert answer.flags == STREAM, answer
    return table.get("json").loads(answer.payload)


def items_by_hand(peer, request_id, count):
    found = []
    while len(found) < count:
        message = peer.expect(ITEM)
        assert message.request_id == request_id
        number, items = table.get("json").loads(message.payload)
        assert number == len(found)
        found += items
    return found


def alive(peer, request_id):
    """Make a call, and skip items meanwhile."""
    peer.send(call_frame(request_id, "echo", request_id, object_id="source"))
    while (message := peer.read()).kind == ITEM:
        pass
    assert (message.kind, message.request_id, message.flags) == (RESPONSE, request_id, 0)


def test_by_hand(raw):
    open_by_hand(raw, 2, "count", 100)
    assert items_by_hand(raw, 2, 15) == list(range(15))  # 1 + 2 + 4 + 8: the first window
    alive(raw, 3)
    raw.send(plain(CREDIT, 2, b"15", 0, STREAM))
    found = []
    while not (message := raw.expect(ITEM)).flags & END:
        found += table.get("json").loads(message.payload)[1]
    assert found == list(range(15, 100))
    assert message.flags == END
    assert not message.payload


NONSENSE = [
    b"",
    b"x",
    b"-1",
    b"1e9",
    b"9" * 30,
    b"\xff" * 100,
    b" 15",
    "\u0661\u0665".encode(),
    b"0",
    b"1",
]


@pytest.mark.parametrize("payload", NONSENSE)
def test_credit_that_is_nonsense(raw, payload):
    open_by_hand(raw, 2, "count", 1 << 40)
    items_by_hand(raw, 2, 15)
    for _ in range(10):
        raw.send(plain(CREDIT, 2, payload, 0, STREAM))
    alive(raw, 3)
    alive(raw, 4)
    raw.send(call_frame(5, "produced", object_id="source"))
    while (message := raw.read()).kind == ITEM:
        pass
    assert table.get("json").loads(message.payload) <= 15 + 5 * 64
    raw.send(plain(CANCEL, 2, b"", 0, STREAM))
    raw.send(call_frame(6, "wait_closed", object_id="source"))
    while (message := raw.read()).kind == ITEM:
        pass
    assert message.payload == b"true"


def test_credit_and_cancel_for_unknown_streams(raw):
    for request_id in (0, 1, 99, 0xFFFFFFFF):
        for kind in (CREDIT, CANCEL):
            for flags in (0, STREAM):
                raw.send(plain(kind, request_id, b"4", 0, flags))
    alive(raw, 3)


def test_a_million_credits(raw):
    open_by_hand(raw, 2, "count", 1 << 40)
    items_by_hand(raw, 2, 15)
    known, unknown = (plain(CREDIT, n, b"15", 0, STREAM) for n in (2, 77))
    begun = time.monotonic()

    def flood():
        for _ in range(100):
            raw.send((known + unknown) * 5000)

    worker = Worker(flood)
    read = 15
    deadline = time.monotonic() + 0.5
    raw.sock.settimeout(0.5)
    try:  # four chunks are granted by the first of them, and no more by the others
        while time.monotonic() < deadline + 20:
            message = raw.expect(ITEM)
            read += len(table.get("json").loads(message.payload)[1])
    except builtins.TimeoutError:
        pass
    raw.sock.settimeout(20)
    worker.result(30)
    assert read <= 15 + 16 + 32 + 64 + 128
    alive(raw, 3)
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize("token", ["", "x", 5, None, [1], "0" * 32])
@pytest.mark.parametrize("number", [0, -1, "0", None, 1 << 70])
def test_resuming_what_there_is_not(raw, token, number):
    raw.send(call_frame(2, "resume_stream", token, number, object_id="Pyro.Daemon"))
    assert raw.expect(RESPONSE).flags == ERROR
    alive(raw, 3)


def test_resuming_at_a_wrong_number(near):
    numbers = ["0", None, 1.5, 3, -1, 1 << 40]
    remotes = [near.count(1 << 50) for _ in numbers]
    for remote in remotes:
        assert [next(remote) for _ in range(2000)] == list(range(2000))
    near._pyroRelease()
    assert near.echo(1) == 1
    with Proxy("Pyro.Daemon", connected_socket=near._pyro_socket) as daemon:
        for number, remote in zip(numbers, remotes, strict=True):
            with pytest.raises(PyroError, match="items between were given away already"):
                daemon.resume_stream(remote._token, number)
    assert near.wait_closed(len(numbers))


@pytest.fixture
def liar():
    """A caller, and a peer that answers the first call with a stream, and then as told."""
    near, far = PAIRS["unix"]()
    with near, far:
        peer = RawPeer(far)

        def begin():
            while (message := peer.read()) is not None:
                if message.kind == REQUEST and b"numbers" in bytes(message.payload):
                    peer.send(result_frame(message.request_id, "token", STREAM))
                    return message.request_id
                data = answer_to(message)
                if message.kind == HELLO or data:
                    peer.send(data)
            return None

        with Proxy("thing", connected_socket=near) as proxy:
            proxy._pyroSerializer = "json"
            proxy._pyroTimeout = 5.0
            worker = Worker(begin)
            remote = lying(proxy)
            yield proxy, remote, peer, worker.result()
            peer.sock.close()


def lying(proxy):
    return proxy._pyroInvoke("numbers", (), {})


def item_frame(request_id, data, flags=0):
    return plain(ITEM, request_id, table.get("json").dumps(data), JSON, flags)


def test_items_for_unknown_ids(liar):
    _, remote, peer, request_id = liar
    for other in (0, request_id + 1, 0xFFFFFFFF):
        peer.send(item_frame(other, [0, ["not", "yours"]]))
        peer.send(item_frame(other, [0, []], END))
    peer.send(item_frame(request_id, [0, [1, 2]]))
    peer.send(plain(ITEM, request_id, b"", JSON, END))
    assert list(remote) == [1, 2]


@pytest.mark.parametrize(
    "data",
    [
        [1, ["x"]],
        [7, ["x"]],
        [-1, ["x"]],
        [2, []],
        [2, "xy"],
        ["2", ["x"]],
        [2],
        5,
        None,
        {},
        [2, None],
    ],
)
def test_items_with_wrong_numbers(liar, data):
    _, remote, peer, request_id = liar
    peer.send(item_frame(request_id, [0, [1, 2]]))
    peer.send(item_frame(request_id, data))
    assert [next(remote), next(remote)] == [1, 2]
    with pytest.raises(ProtocolError):
        next(remote)
    assert list(remote) == []
    assert peer.expect(CREDIT).payload == b"2"
    assert peer.expect(CANCEL).request_id == request_id


def test_more_items_than_there_is_credit_for(liar):
    proxy, _, peer, request_id = liar

    def flood():
        with contextlib.suppress(OSError):
            for i in range(100_000):
                peer.send(item_frame(request_id, [i, [i]]))

    worker = Worker(flood)
    with pytest.raises(ProtocolError, match="more items than"):
        proxy._pyroInvoke("numbers", (), {})
    proxy._pyro_socket.close()
    worker.result()


def test_items_that_cannot_be_decoded(liar):
    _, remote, peer, request_id = liar
    peer.send(plain(ITEM, request_id, b"}{", JSON))
    with pytest.raises(SerializeError):
        next(remote)
    assert list(remote) == []
    assert peer.expect(CANCEL).request_id == request_id

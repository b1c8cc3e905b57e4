"""Arrays and other large buffers, over every road and with every serializer."""

from __future__ import annotations

import gc
import os
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyroipc
from pyroipc import Proxy
from pyroipc.client import landing
from pyroipc.errors import MessageTooLargeError, SerializeError
from pyroipc.serializers.parts import APART_BYTES
from tests.support.arrays import DATA, LARGE, SERIALIZERS, SMALL, check
from tests.support.daemons import child_serving, roads, serving, settings
from tests.support.hosts import PAIRS, forked, hosted
from tests.support.waiting import wait_until

MIB = 1 << 20


class Store:
    """Takes and gives arrays."""

    def __init__(self):
        self.kept = None
        self.heard = threading.Event()

    def echo(self, *args, **kwargs):
        if kwargs:
            return args, kwargs
        return args[0] if len(args) == 1 else args

    def zeros(self, n_bytes):
        return np.zeros(n_bytes, np.uint8)

    def size(self, value):
        return len(value)

    def keep(self, value):
        self.kept = value

    def total(self):
        return int(self.kept.sum())

    @pyroipc.oneway
    def tell(self, value):
        self.kept = value
        self.heard.set()

    def chunks(self, count, n_bytes):
        for number in range(count):
            yield np.full(n_bytes, number, np.uint8)

    def write(self, value):
        value[0] = 99
        return value

    @property
    def content(self):
        return self.kept

    @content.setter
    def content(self, value):
        self.kept = value

    def call_back(self, other, value):
        return other.echo(value)

    def fail(self, value):
        raise ValueError(value)

    def text(self, n_bytes):
        return "x" * n_bytes

    def limit_memory(self):
        landing._memory_for = _little_memory_for

    def peak_bytes(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


pyroipc.expose(Store)
_memory_for = landing._memory_for


def _little_memory_for(form, n_bytes):
    """What a process finds that has little memory: what it has mapped before does not count."""
    if n_bytes > MIB:
        raise MemoryError
    return _memory_for(form, n_bytes)


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


@pytest.mark.parametrize("name", SERIALIZERS)
def test_every_kind_over_a_socket_pair(name):
    with hosted({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        store._pyroSerializer = name
        for kind, value in LARGE.items():
            check(value, store.echo(value))
            check(value, store.echo([{"a": (value, 1)}])[0]["a"][0])
            assert kind
        for kind, value in SMALL.items():
            if kind == "broadcast" or (name == "dill" and kind in {"big-endian", "read-only"}):
                continue  # numpy and dill do not keep all of it
            check(value, store.echo(value))
        args, kwargs = store.echo(LARGE["ndarray"], 1, x=LARGE["bytes"], y=LARGE["array"])
        check(LARGE["ndarray"], args[0])
        check(LARGE["bytes"], kwargs["x"])
        check(LARGE["array"], kwargs["y"])
        store._pyroRelease()


@pytest.mark.parametrize("road", roads())
@pytest.mark.parametrize("name", DATA)
def test_every_road(road, name, tmp_path):
    objects = {"store": Store()}
    with (
        serving(objects, road=road, directory=str(tmp_path)) as served,
        served.proxy("store") as store,
    ):
        store._pyroSerializer = name
        for kind in ("ndarray", "bytes", "bytearray", "records", "array", "Fortran"):
            check(LARGE[kind], store.echo(LARGE[kind]))
        large = np.arange(3 * MIB // 8)
        check(large, store.echo(large))
        two = store.echo([large, large[::2]])
        check(large, two[0])
        check(large[::2], two[1])


@pytest.mark.parametrize("name", SERIALIZERS)
def test_the_receiver_may_write_and_nobody_else_sees_it(name, pair):
    with hosted({"store": Store()}, pair=pair) as (near, _):
        if pair is PAIRS["tcp"] and name not in DATA:
            return
        store = Proxy("store", connected_socket=near)
        store._pyroSerializer = name
        sent = np.zeros(2 * MIB, np.uint8)
        arrived = store.write(sent)
        assert arrived[0] == 99
        assert not sent.any()
        arrived[1] = 5
        sent.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            store.write(sent)
        store._pyroRelease()


def test_attributes_oneway_futures_batches_and_streams():
    with hosted({"store": Store()}) as (near, host):
        store: Any = Proxy("store", connected_socket=near)
        value = LARGE["ndarray"]
        store.content = value
        check(value, store.content)
        store.tell(value * 2)
        wait_until(lambda: store.content[1] == 2, "it was told")
        futures = [store.echo.submit(value * number) for number in range(20)]
        for number, future in enumerate(futures):
            assert (future.result() == value * number).all()
        batch = pyroipc.BatchProxy(store)
        for number in range(5):
            batch.echo(value + number)
            batch.echo(LARGE["bytes"])
        for number, result in enumerate(batch()):
            if number % 2:
                assert result == LARGE["bytes"]
            else:
                assert (result == value + number // 2).all()
        for number, chunk in enumerate(store.chunks(20, 300_000)):
            assert (chunk == number).all()
            assert chunk.nbytes == 300_000
        store._pyroRelease()
        assert host


def test_an_exception_with_an_array():
    with hosted({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        for name in (*DATA, "pickle"):
            store._pyroSerializer = name
            with pytest.raises(ValueError) as caught:
                store.fail(LARGE["ndarray"])
            assert (caught.value.args[0] == LARGE["ndarray"]).all()
        store._pyroRelease()


def test_callbacks_in_both_directions():
    with hosted({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        with pyroipc.Daemon(connected_socket=near) as daemon:
            mine = Store()
            daemon.register(mine, "mine")
            value = np.arange(4 * MIB // 8)
            check(value, store.call_back(mine, value))
        store._pyroRelease()


def test_a_payload_that_is_large_without_any_buffer():
    value = {"texts": [f"text {number}" for number in range(200_000)], "t": "ä" * 2_000_000}
    for name in (*DATA, "pickle"):
        with hosted({"store": Store()}) as (near, _):
            store = Proxy("store", connected_socket=near)
            store._pyroSerializer = name
            assert store.echo(value) == value
            store._pyroRelease()


def test_compression_keeps_everything_in_one_piece():
    chosen = settings(COMPRESSION=True)
    with (
        serving({"store": Store()}, settings=chosen) as served,
        Proxy(served.uri("store"), settings=chosen) as store,
    ):
        value = np.zeros(MIB, np.uint8)
        check(value, store.echo(value))


def test_the_limit_of_a_message_counts_the_buffers():
    chosen = settings(MAX_MESSAGE_SIZE=2 * MIB)
    with serving({"store": Store()}, settings=chosen) as served, served.proxy("store") as store:
        assert store.size(bytes(2 * MIB - 1000)) == 2 * MIB - 1000
        with pytest.raises(MessageTooLargeError, match="MAX_MESSAGE_SIZE") as caught:
            store.size(bytes(2 * MIB))
        assert caught.value.call_status == "not sent"
        with pytest.raises(MessageTooLargeError):
            store.zeros(2 * MIB)
        assert store.echo(5) == 5
        with pytest.raises(SerializeError, match="tolist"):
            store.echo(np.array([None]))
        assert store.echo(5) == 5


def test_two_large_messages_against_each_other():
    value = np.arange(8 * MIB // 8)
    for servertype in ("thread", "multiplex"):
        chosen = settings(SERVERTYPE=servertype)
        with (
            serving({"store": Store()}, settings=chosen) as served,
            served.proxy("store") as store,
        ):
            workers = [
                threading.Thread(
                    target=lambda: [check(value, store.echo(value)) for _ in range(3)]
                )
                for _ in range(4)
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(30)
                assert not worker.is_alive()
    with forked({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        futures = [store.echo.submit(value) for _ in range(10)]
        for future in futures:
            check(value, future.result(30))
        store._pyroRelease()


@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_the_receiver_needs_no_more_memory_than_the_array(name):
    with forked({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        store._pyroSerializer = name
        for value in (np.zeros(100_000, np.uint8), bytes(100_000)):
            store.keep(value)
        for value in (np.ones(64 * MIB, np.uint8), b"x" * (32 * MIB)):
            store.keep(None)
            before = store.peak_bytes()
            store.keep(value)
            assert store.peak_bytes() - before < len(value) + 2 * MIB
            before = max(before, store.peak_bytes())
            value = None
        store._pyroRelease()


@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_a_call_for_which_there_is_no_memory(name, monkeypatch):
    size = 2 * MIB
    lost = pytest.raises(
        MessageTooLargeError, match="the receiver has no memory for a buffer of 2"
    )
    with forked({"store": Store()}) as (near, _), Proxy("store", connected_socket=near) as store:
        store._pyroSerializer = name
        store.limit_memory()
        for value in (np.zeros(size, np.uint8), bytes(size), bytearray(size), "x" * size):
            with lost:
                store.keep(value=[value, np.zeros(MIB)])
            assert store.echo(5) == 5
        with lost:
            store.echo.submit(value).result(30)
        batch = pyroipc.BatchProxy(store)
        batch.echo(1)
        batch.keep(value)
        with lost:
            batch()
        assert store.content is None
        # And the other way round.
        monkeypatch.setattr(landing, "_memory_for", _little_memory_for)
        for call in (store.zeros, store.text, lambda n: store.zeros.submit(n).result(30)):
            with lost:
                call(size)
            assert store.echo(5) == 5
        with lost:
            list(store.chunks(2, size))
        assert store.echo(5) == 5


def test_the_sender_copies_nothing():
    with forked({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        value = np.ones(128 * MIB, np.uint8)
        for name in ("pickle", "msgpack"):
            store._pyroSerializer = name
            store.size(value[:MIB])
            before = max(_peak(), _resident() + 20 * MIB)
            store.size(value)
            assert _peak() <= before
        store._pyroRelease()


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident():
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def test_buffers_of_one_message_do_not_keep_each_other():
    with hosted({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        for name in ("pickle", "msgpack"):
            store._pyroSerializer = name
            small, large = store.echo([
                np.ones(APART_BYTES, np.uint8),
                np.ones(40 * MIB, np.uint8),
            ])
            store.echo(b"")  # whatever is kept of the last message
            both = _resident()
            del large
            gc.collect()
            landing._pool._blocks.clear()
            assert both - _resident() > 35 * MIB
            assert small.all()
        store._pyroRelease()


@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_no_memory_map_is_left(name):
    with hosted({"store": Store()}) as (near, _):
        store = Proxy("store", connected_socket=near)
        store._pyroSerializer = name
        value = np.ones(3 * MIB, np.uint8)

        def transfer():
            for _ in range(20):
                check(value, store.echo(value))

        transfer()
        wait_until(lambda: not landing._pool._blocks, "what is kept for others was given back")
        before = _writable_bytes()
        transfer()
        wait_until(lambda: not landing._pool._blocks, "it was given back again")
        gc.collect()
        # 40 arrays have come. (A thread, or an allocator, may have taken something meanwhile.)
        assert _writable_bytes() < before + 20 * MIB
        store._pyroRelease()


def _writable_bytes():
    n_bytes = 0
    for line in Path("/proc/self/maps").read_text("ascii").splitlines():
        place, mode, _, _, inode, *_ = line.split()
        if mode == "rw-p" and inode == "0":
            start, end = place.split("-")
            n_bytes += int(end, 16) - int(start, 16)
    return n_bytes


def test_a_child_that_keeps_an_array():
    with pyroipc.spawn(Store, start="fork") as store:
        store.keep(np.ones(3 * MIB, np.uint8))
        for _ in range(5):
            store.size(np.zeros(3 * MIB, np.uint8))
        assert store.total() == 3 * MIB


def test_over_tcp_to_a_daemon_in_a_child():
    with child_serving({"store": Store()}) as served, served.proxy("store") as store:
        value = np.random.default_rng(1).integers(0, 255, 20 * MIB, np.uint8)
        for name in DATA:
            store._pyroSerializer = name
            check(value, store.echo(value))


AVAILABLE = "MemAvailable"


def _available_bytes():
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith(AVAILABLE):
            return int(line.split()[1]) * 1024
    return 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_five_gibibytes():
    """No number on the way is too small: of the frame, of the system calls, of the formats."""
    size = (5 << 30) + 12_345
    if not os.path.exists("/proc/meminfo") or _available_bytes() < size * 3 // 2:
        pytest.skip("there is not enough memory for 5 GiB at the receiver")
    with pyroipc.spawn(Tail, start="fork") as tail:
        value = np.zeros(size, np.uint8)  # which takes no memory here
        value[-3:] = (1, 2, 3)
        for name in ("pickle", "msgpack"):
            tail._pyroSerializer = name
            assert tail.end_of(value) == (size, [1, 2, 3], 0)


class Tail:
    def end_of(self, value):
        return len(value), value[-3:].tolist(), int(value[1 << 32])

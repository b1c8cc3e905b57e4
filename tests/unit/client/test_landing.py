"""The memory in which buffers arrive: its form, whose it is, and when it goes."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import threading
import tracemalloc
from array import array

import numpy as np
import pytest

from pyroipc.client import landing
from pyroipc.serializers import parts
from pyroipc.wire import message
from pyroipc.wire.native_bulk import Lost
from tests.support.hosts import Child
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    made = landing._Pool()
    monkeypatch.setattr(landing, "_pool", made)
    return made


def fill(found, content):
    filled = 0
    while filled < len(content):
        room = found.room(filled)
        assert len(room)
        n_bytes = min(len(room), 300_000, len(content) - filled)
        room[:n_bytes] = content[filled : filled + n_bytes]
        filled += n_bytes
    return found.finish()


def test_both_rooms_mean_the_same_by_a_form():
    assert message.MEMORY == parts.MEMORY
    assert message.PAYLOAD not in {parts.MEMORY, parts.BYTES, parts.BYTEARRAY}


FORMS = [
    (parts.MEMORY, memoryview),
    (message.PAYLOAD, bytes),
    (parts.BYTES, bytes),
    (parts.BYTEARRAY, bytearray),
    (ord("d"), array),
    (ord("B"), array),
    (77, memoryview),
]


@pytest.mark.parametrize("land", [landing.land, landing.land_warily])
@pytest.mark.parametrize("n_bytes", [0, 8, 4096, MIB - 8, MIB, 3 * MIB + 8])
@pytest.mark.parametrize(("form", "kind"), FORMS)
def test_forms(form, kind, n_bytes, land):
    content = os.urandom(n_bytes)
    arrived = fill(land(form, n_bytes), content)
    assert type(arrived) is kind
    assert memoryview(arrived).cast("B") == content
    if kind in {bytearray, array}:
        arrived.append(1)  # nobody holds its memory
    elif kind is memoryview:
        assert not arrived.readonly
        assert len(arrived) == n_bytes
    else:
        assert hash(arrived) == hash(bytes(content))


def test_bytes_are_not_copied():
    for n_bytes in (100_000, 3 * MIB):
        content = bytes(n_bytes)
        tracemalloc.start()
        try:
            found = landing.land(parts.BYTES, n_bytes)
            found.room(0)[:] = content
            assert len(found.finish()) == n_bytes
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1.1 * n_bytes


def test_what_is_no_whole_number_of_items_lands_anywhere():
    assert type(fill(landing.land(ord("d"), 9), bytes(9))) is bytearray


def test_memory_is_used_again_when_nobody_has_it_any_more(pool):
    size = 2 * MIB
    first = fill(landing.land(parts.MEMORY, size), bytes(size))
    where = address(first)
    numbers = np.frombuffer(first, np.uint8)[5:10]
    del first
    second = fill(landing.land(parts.MEMORY, size), b"2" * size)
    assert address(second) != where
    assert not numbers.any(), "it is in use: nothing else lands there"
    del numbers
    third = fill(landing.land(parts.MEMORY, size - 100), b"3" * (size - 100))
    assert address(third) == where
    assert len(third) == size - 100
    fourth = fill(landing.land(parts.MEMORY, size), b"4" * size)
    assert address(fourth) not in {where, address(second)}
    del third
    other = fill(landing.land(parts.MEMORY, MIB), bytes(MIB))
    assert address(other) != where, "it is too large for that"


def address(view):
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_kept_is_bounded_and_forgotten_after_a_while(pool, monkeypatch, threads):
    monkeypatch.setattr(landing, "POOL_BYTES", 4 * MIB)
    monkeypatch.setattr(landing, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(threading, "active_count", lambda: threads)
    held = [landing.land(parts.MEMORY, MIB).finish() for _ in range(10)]
    assert len(pool._blocks) == 4
    landing.land(parts.MEMORY, 5 * MIB)
    assert len(pool._blocks) == 4

    def is_empty():
        if threads == 1:
            gc.collect()
        return not pool._blocks

    wait_until(is_empty, "the pool is empty")
    held[0][:3] = b"abc"
    assert held[0][:3] == b"abc"
    landing.land(parts.MEMORY, MIB)
    assert len(pool._blocks) == 1
    wait_until(is_empty, "the pool is empty again")


def test_a_process_without_threads_gets_none():
    def body():
        landing._pool = landing._Pool()
        landing.land(parts.MEMORY, MIB)
        return threading.active_count() - 1

    assert Child(body).wait() == 0


def test_two_buffers_do_not_keep_each_other():
    landing._pool._blocks.clear()  # what others left there goes before, and not meanwhile
    before = resident()
    first = fill(landing.land(parts.MEMORY, 20 * MIB), bytes(20 * MIB))
    second = fill(landing.land(parts.MEMORY, MIB), bytes(MIB))
    landing._pool._blocks.clear()
    both = resident()
    assert both - before > 15 * MIB
    del first
    gc.collect()
    assert both - resident() > 15 * MIB
    second[0] = 1


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_stranger_has_to_send_something_before_memory_is_taken(monkeypatch):
    for form in (parts.MEMORY, parts.BYTES, parts.BYTEARRAY, ord("d")):
        before = resident()
        claims = [landing.land_warily(form, 64 * MIB) for _ in range(16)]
        for claim in claims:
            claim.room(0)[:5000] = bytes(5000)
        assert resident() - before < 8 * MIB
        assert len(claims[0].room(0)) == 4 * MIB
        assert len(claims[0].room(4 * MIB)) == 60 * MIB
        del claims


@pytest.mark.parametrize("land", [landing.land, landing.land_warily])
def test_what_there_is_no_memory_for_is_thrown_away(land):
    for form in (parts.MEMORY, parts.BYTES, ord("d"), message.PAYLOAD):
        lost = fill(land(form, 1 << 60), bytes(1 << 20))
        assert type(lost) is Lost
        assert lost.n_bytes == 1 << 60


def test_memory_that_is_gone_when_a_stranger_has_sent_enough(monkeypatch):
    def fail(form, n_bytes):
        raise MemoryError

    found = landing.land_warily(parts.MEMORY, 4 * MIB)
    monkeypatch.setattr(landing, "_memory_for", fail)
    assert type(fill(found, bytes(4 * MIB))) is Lost


def test_a_forked_child_has_a_pool_of_its_own():
    arrived = fill(landing.land(parts.MEMORY, MIB), b"1" * MIB)
    where = address(arrived)
    del arrived

    def body():
        landed = fill(landing.land(parts.MEMORY, MIB), b"2" * MIB)
        return 0 if not len(landing._pool._blocks) - 1 and landed[0] == ord("2") else 1

    with landing._pool._lock:  # another thread of the parent may hold it
        child = Child(body)
    assert child.wait() == 0
    assert address(landing.land(parts.MEMORY, MIB).finish()) == where


@pytest.mark.parametrize("form", [parts.BYTES, parts.BYTEARRAY])
def test_memory_that_is_worth_huge_pages(form):
    n_bytes = (9 << 20) + 123  # no whole number of pages
    memory = landing.land(form, n_bytes)
    data = bytes(range(256)) * (n_bytes // 256) + b"end"[: n_bytes % 256]
    data += bytes(n_bytes - len(data))
    filled = 0
    while filled < n_bytes:
        room = memory.room(filled)
        taken = min(len(room), 1 << 20)
        room[:taken] = data[filled : filled + taken]
        filled += taken
        room.release()
    assert memory.finish() == data

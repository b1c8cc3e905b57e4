"""Large arguments that pass through shared memory: they arrive whole, whatever else happens."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import pyroipc
from pyroipc import Proxy
from pyroipc.client import staging as staging_module
from pyroipc.client.courier import Courier
from pyroipc.client.staging import SEGMENT_BYTES, unstage
from pyroipc.errors import ProtocolError, SerializeError
from pyroipc.wire.message import REQUEST, STAGED, Message
from tests.support.hosts import forked, hosted
from tests.support.shared import SERIALIZERS, Holder, maps
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/maps")


@pyroipc.expose
class Large(Holder):
    """Takes large things, and says what they are."""

    def describe(self, *args: Any, **kwargs: Any) -> list[Any]:
        found = []
        for value in (*args, *kwargs.values()):
            view = memoryview(value)
            found.append([type(value).__name__, bytes(view), view.readonly])
        return found

    def keep(self, value: Any) -> int:
        self.held.append(value)
        return len(self.held)

    def sums(self) -> list[int]:
        return [sum(memoryview(value).cast("B")[:: 1 << 12]) for value in self.held]

    def wait_with(self, value: Any, seconds: float) -> bytes:
        threading.Event().wait(seconds)
        return bytes(memoryview(value)[:10])

    def fail(self, value: Any) -> None:
        raise ValueError("on purpose")


@pytest.fixture(autouse=True)
def no_map_is_left():
    yield
    gc.collect()
    wait_until(lambda: maps() == 0, "all shared memory is unmapped")


@pytest.fixture
def far():
    with (
        forked({"it": Large()}) as (near, child),
        Proxy("it", connected_socket=near) as made,
    ):
        made.__dict__["child"] = child
        yield made


def is_staged(proxy: Any) -> bool:
    courier = proxy._pyroConnection.courier
    segment = courier.staging._segment
    return segment is not None and courier.loans.lends(segment)


def begin_to_stage(proxy: Any) -> None:
    data = bytes(100_000)
    for _ in range(3):
        proxy.echo(data)
    wait_until(lambda: proxy.echo(1) and is_staged(proxy), "the segment is lent")


def values_of(n_bytes: int) -> list[Any]:
    data = os.urandom(n_bytes)
    return [
        data,
        bytearray(data),
        memoryview(data),
        array("d", data[: n_bytes // 8 * 8]),
        numpy.frombuffer(data, "u1"),
        numpy.frombuffer(bytearray(data), "u1")[: n_bytes // 4 * 4].view("f4").reshape(2, -1)
        if n_bytes // 4 % 2 == 0
        else numpy.frombuffer(bytearray(data), "u1"),
    ]


@pytest.mark.parametrize("name", SERIALIZERS)
@pytest.mark.parametrize("n_bytes", [65_535, 65_536, 100_001, 1 << 20])
def test_everything_arrives_as_over_the_stream(far, name, n_bytes):
    far._pyroSerializer = name
    values = values_of(n_bytes)
    before = [far.describe(value) for value in values]
    begin_to_stage(far)
    assert [far.describe(value) for value in values] == before
    assert far.describe(*values[:3], last=values[3]) == [found for (found,) in before[:4]]


def test_what_does_not_fit_goes_over_the_stream(far):
    begin_to_stage(far)
    half = bytes(SEGMENT_BYTES // 2)
    for value in (half, half + bytes(1), [half, half], bytes(3 * SEGMENT_BYTES), [half] * 5):
        assert far.echo(value) == value
    assert is_staged(far)


def test_what_was_kept_is_not_overwritten(far):
    begin_to_stage(far)
    sums = []
    for number in range(1, 20):
        value = bytes([number]) * 200_000
        assert far.keep(value if number % 2 else bytearray(value)) == number
        sums.append(sum(value[:: 1 << 12]))
    assert far.sums() == sums


def test_threads_share_the_segment(far):
    begin_to_stage(far)

    def talk(number):
        value = bytes([number]) * (1 << 20)
        for _ in range(20):
            ((_, back, _),) = far.describe(value)
            assert back == value

    with ThreadPoolExecutor(12) as pool:  # more than there is room for
        list(pool.map(talk, range(12)))
    assert is_staged(far)


def test_an_error_gives_the_room_back(far):
    begin_to_stage(far)
    value = bytes(SEGMENT_BYTES - 1000)
    for _ in range(3):
        with pytest.raises(ValueError, match="on purpose"):
            far.fail(value)
    assert not far._pyroConnection.courier.staging._berths


def test_a_call_that_was_broken_off_is_not_overwritten(far):
    begin_to_stage(far)
    main = threading.get_ident()

    class BrokenOffError(Exception):
        pass

    def interrupt(*_):
        raise BrokenOffError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGUSR1))
        timer.start()
        with pytest.raises(BrokenOffError):
            far.wait_with(b"a" * 200_000, 1.0)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    for number in range(5):
        value = bytes([number]) * 200_000
        ((_, back, _),) = far.describe(value)
        assert back == value


def test_calls_that_nobody_waits_for_are_not_staged(far):
    begin_to_stage(far)
    value = b"x" * 200_000
    for _ in range(3):
        far.hold_soon(value)
    futures = [far.echo.submit(value) for _ in range(3)]
    assert all(future.result() == value for future in futures)
    assert far.give() == value


def test_the_child_is_killed(far):
    begin_to_stage(far)
    timer = threading.Timer(0.2, far.child.kill)
    timer.start()
    with pytest.raises(pyroipc.CommunicationError):
        far.wait_with(bytes(200_000), 10.0)
    timer.join()


def test_it_is_given_back_when_it_is_not_used(far, monkeypatch):
    monkeypatch.setattr(staging_module, "IDLE_SECONDS", 0.1)
    begin_to_stage(far)
    wait_until(lambda: maps() == 0, "this end has given it back")
    wait_until(lambda: far.counts()[1] == 0, "the other end has given it back")
    begin_to_stage(far)


def test_a_receiver_without_room_for_it(monkeypatch):
    monkeypatch.setattr(pyroipc.config, "SHARED_MEMORY_MAX", SEGMENT_BYTES)
    with forked({"it": Large()}) as (near, _), Proxy("it", connected_socket=near) as far:
        value = b"y" * 300_000
        for _ in range(10):
            assert far.echo(value) == value
        assert not is_staged(far)


def test_between_threads_nothing_is_staged():
    with hosted({"it": Large()}) as (near, _), Proxy("it", connected_socket=near) as far:
        value = b"z" * 300_000
        for _ in range(10):
            assert far.echo(value) == value
        assert not is_staged(far)


def test_sizes_are_limited_as_ever(monkeypatch):
    monkeypatch.setattr(pyroipc.config, "LOCAL_MAX_MESSAGE_SIZE", 1_000_000)
    with forked({"it": Large()}) as (near, _), Proxy("it", connected_socket=near) as far:
        for size in (100_000, 100_000, 100_000, 900_000, 100_000):
            assert far.keep(bytes(size))
        with pytest.raises(pyroipc.MessageTooLargeError, match="LOCAL_MAX_MESSAGE_SIZE"):
            far.keep(bytes(1_000_001))
        assert far.keep(b"") == 6


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(17),
        bytes(18),
        b"\xff\xff" + bytes(16),
        bytes(16) + b"\x65\0\1" + bytes(16),
        (b"\0" + bytes(8) + bytes(7) + b"\x40") * 2 + b"\0\2" + bytes(16),  # 128 bytes of 100
        b"\2" + bytes(7) + b"\xff" + bytes(8) + b"\0\1" + bytes(16),
    ],
)
def test_places_that_make_no_sense(far, payload):
    far.echo(1)
    loans = far._pyroConnection.courier.loans
    message = Message(REQUEST, 16, STAGED, 1, payload)
    with pytest.raises((ProtocolError, SerializeError)):
        unstage(message, loans)
    loans.kept[bytes(16)] = pyroipc.shared_buffer(100)
    try:
        if len(payload) > 18:
            with pytest.raises(ProtocolError):
                unstage(message, loans)
    finally:
        loans.kept.clear()
    assert far.echo(2) == 2


def test_an_offer_that_was_interrupted_is_made_again(far, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    data = bytes(100_000)
    far.echo(data)
    with monkeypatch.context() as patched:
        patched.setattr(Courier, "begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            far.echo(data)
    begin_to_stage(far)


def test_broken_off_calls_leave_one_watch(far, monkeypatch):
    watches = []
    monkeypatch.setattr(staging_module.janitor, "later_on", lambda *task: watches.append(task))
    for _ in range(3):
        begin_to_stage(far)
        far._pyroConnection.courier.staging.retire()
    assert sum(task[1] is staging_module._tidy for task in watches) == 1

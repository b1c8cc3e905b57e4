"""Pyro4's futures: FutureResult and Future, without any connection."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future as StandardFuture
from time import monotonic

import pytest

from pyroipc.client import crew
from pyroipc.client.futures import AsynchronousMethod, Future, FutureResult, asyncproxy

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def threads_end_soon(monkeypatch):
    monkeypatch.setattr(crew, "_IDLE_SECONDS", 0.02)


def add(a, b=0, *, c=0):
    return a + b + c


def fail(*_):
    raise ZeroDivisionError("failed")


def later():
    """A result whose value is not there yet, and what brings it."""
    source = StandardFuture()
    return source, FutureResult(source)


def ready_with(value):
    result = FutureResult()
    result.set_value(value)
    return result


# --- FutureResult --------------------------------------------------------------------------------


def test_a_value_arrives():
    source, result = later()
    assert not result.ready
    assert result.wait(0.001) is False
    source.set_result(42)
    assert result.ready
    assert result.wait() is True
    assert result.wait(0) is True
    assert result.value == result.get_value() == 42


def test_an_error_arrives():
    source, result = later()
    source.set_exception(KeyError("k"))
    assert result.ready
    assert result.wait(1) is True
    for _ in range(2):
        with pytest.raises(KeyError):
            result.get_value()


def test_then_before_and_after_the_value():
    source, result = later()
    assert result.then(add, 1) is result
    result.then(add, c=10)
    source.set_result(100)
    assert result.value == 111
    result.then(add, 1000)
    assert result.value == 1111
    assert result.then(str).value == "1111"


def test_the_chain_runs_where_the_value_arrives_or_where_it_is_added():
    source, result = later()
    idents = []
    result.then(lambda x: idents.append(threading.get_ident()))
    thread = threading.Thread(target=source.set_result, args=(1,))
    thread.start()
    thread.join()
    result.then(lambda x: idents.append(threading.get_ident()))
    assert result.value is None
    assert idents == [thread.ident, threading.get_ident()]


def test_the_value_is_that_of_the_whole_chain():
    source, result = later()
    gate = threading.Event()
    result.then(lambda x: (gate.wait(PATIENCE), x)[1]).then(add, 1)
    thread = threading.Thread(target=source.set_result, args=(1,))
    thread.start()
    assert not result.wait(0.01)
    assert not result.ready
    gate.set()
    assert result.value == 2
    thread.join()


def test_a_function_of_the_chain_may_add_to_it():
    source, result = later()
    result.then(lambda x: result.then(add, x) and x)
    source.set_result(21)
    assert result.value == 42


def test_a_long_chain_needs_no_deep_stack():
    source, result = later()
    for _ in range(5000):
        result.then(add, 1)
    source.set_result(0)
    assert result.value == 5000


def test_an_error_ends_the_chain():
    source, result = later()
    seen = []
    result.then(fail).then(seen.append)
    source.set_result(1)
    with pytest.raises(ZeroDivisionError):
        _ = result.value
    assert seen == []


def test_then_on_a_failed_one_is_not_called():
    source, result = later()
    source.set_exception(ValueError("first"))
    seen = []
    assert result.then(seen.append) is result
    with pytest.raises(ValueError, match="first"):
        _ = result.value
    result.then(seen.append)
    assert seen == []


def test_what_then_raises_on_a_finished_one_is_its_value():
    result = ready_with(1).then(fail)
    with pytest.raises(ZeroDivisionError):
        _ = result.value


def test_iferror_before_and_after_the_error():
    source, result = later()
    seen = []
    assert result.iferror(seen.append) is result
    error = ValueError("x")
    source.set_exception(error)
    assert seen == [error]
    result.iferror(lambda e: seen.append(("late", e)))
    assert seen == [error, ("late", error)]
    assert result.wait(0)
    with pytest.raises(ValueError, match="x"):
        _ = result.value


def test_iferror_on_one_that_is_fine_waits_for_what_comes():
    seen = []
    result = ready_with(1).iferror(seen.append)
    assert result.value == 1
    result.then(fail)
    assert [type(error) for error in seen] == [ZeroDivisionError]


def test_iferror_has_been_called_when_the_wait_is_over():
    source, result = later()
    seen = []
    result.iferror(seen.append)
    thread = threading.Thread(target=source.set_exception, args=(ValueError(),))
    thread.start()
    assert result.wait(PATIENCE)
    assert len(seen) == 1
    thread.join()


def test_iferror_is_called_for_the_chain_too_and_once():
    source, result = later()
    seen = []
    result.iferror(seen.append).then(fail)
    source.set_result(1)
    result.then(add)
    assert [type(error) for error in seen] == [ZeroDivisionError]


def test_a_handler_that_fails_is_logged(caplog):
    source, result = later()
    seen = []
    with caplog.at_level(logging.ERROR):
        result.iferror(fail).iferror(seen.append)
        source.set_exception(ValueError("x"))
    assert "handle an error raised one itself" in caplog.text
    assert len(seen) == 1
    with pytest.raises(ValueError, match="x"):
        _ = result.value


def test_set_value_by_hand():
    result = FutureResult()
    result.then(add, 1)
    result.set_value(1)
    assert result.value == 2
    with pytest.raises(RuntimeError, match="has its value already"):
        result.set_value(5)
    source, result = later()
    result.set_value("mine")
    assert result.value == "mine"
    assert source.cancelled()
    source, result = later()
    source.set_result(1)
    with pytest.raises(RuntimeError, match="has its value already"):
        result.set_value("mine")
    assert result.value == 1


def test_set_cancelled():
    source, result = later()
    seen = []
    result.iferror(seen.append)
    result.set_cancelled()
    assert source.cancelled()
    assert result.ready
    with pytest.raises(RuntimeError, match="future has been cancelled"):
        _ = result.value
    assert len(seen) == 1
    done = ready_with(1)
    done.set_cancelled()
    assert done.value == 1


def test_a_cancelled_source_is_a_cancelled_result():
    for chained in (False, True):
        source, result = later()
        if chained:
            result.then(add)
        source.cancel()
        with pytest.raises(RuntimeError, match="future has been cancelled"):
            _ = result.value


def test_many_threads_add_to_one_chain():
    source, result = later()
    starts = threading.Barrier(9)

    def work():
        starts.wait(PATIENCE)
        for _ in range(200):
            result.then(add, 1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    starts.wait(PATIENCE)
    source.set_result(0)
    for worker in workers:
        worker.join()
    assert result.value == 1600


def test_representation():
    source, result = later()
    assert repr(result) == "<FutureResult, not ready>"
    source.set_result(1)
    assert repr(result) == "<FutureResult, ready>"


# --- Future --------------------------------------------------------------------------------------


def test_a_function_in_the_background():
    gate = threading.Event()

    def work(a, b=0):
        gate.wait(PATIENCE)
        return a + b, threading.current_thread().daemon, threading.get_ident()

    result = Future(work)(1, b=2)
    assert isinstance(result, FutureResult)
    assert not result.ready
    gate.set()
    total, daemonic, ident = result.value
    assert (total, daemonic) == (3, True)
    assert ident != threading.get_ident()


def test_many_run_side_by_side():
    barrier = threading.Barrier(9)
    results = [Future(barrier.wait)(PATIENCE) for _ in range(8)]
    barrier.wait(PATIENCE)
    assert len({result.value for result in results}) == 8


def test_what_it_raises_is_the_value():
    seen = []
    with pytest.raises(ZeroDivisionError):
        _ = Future(fail).iferror(seen.append)().value
    assert len(seen) == 1


def test_it_is_evaluated_once():
    future = Future(add)
    assert future.then(add, 1).then(add, c=10) is future
    result = future(100)
    with pytest.raises(RuntimeError, match="the future has already been evaluated"):
        future(100)
    with pytest.raises(RuntimeError, match="the future has already been evaluated"):
        future.then(add)
    with pytest.raises(RuntimeError, match="the future has already been evaluated"):
        future.iferror(print)
    assert result.value == 111
    assert future.delay(1) is False
    assert future.cancel() is False


def test_delay():
    future = Future(monotonic)
    begin = monotonic()
    assert future.delay(0.05) is True
    assert future().value >= begin + 0.05


def test_a_delay_can_be_changed_while_it_passes():
    future = Future(monotonic)
    future.delay(3600)
    result = future()
    assert not result.wait(0.01)
    assert future.delay(0) is True
    assert result.wait(PATIENCE)
    begin = monotonic()
    future = Future(monotonic)
    future.delay(0.01)
    result = future()
    future.delay(0.06)
    assert result.value >= begin + 0.06


def test_cancel_before_the_call():
    future = Future(fail)
    assert future.cancel() is True
    assert future.cancel() is True
    with pytest.raises(RuntimeError, match="the future has been cancelled"):
        future()


def test_cancel_during_the_delay():
    future = Future(fail)
    future.delay(3600)
    result = future()
    assert future.cancel() is True
    assert result.ready
    with pytest.raises(RuntimeError, match="future has been cancelled"):
        _ = result.value
    assert future.delay(1) is False


# --- proxies in asynchronous mode ----------------------------------------------------------------


class Method:
    __name__ = "method"

    def __init__(self, source):
        self.source = source

    def submit(self, *args, **kwargs):
        if isinstance(self.source, Exception):
            raise self.source
        self.given = args, kwargs
        return self.source


def test_an_asynchronous_method():
    source = StandardFuture()
    method = Method(source)
    asynchronous = AsynchronousMethod(method)
    assert asynchronous.__name__ == "method"
    assert "asynchronous" in repr(asynchronous)
    result = asynchronous(1, k=2)
    assert method.given == ((1,), {"k": 2})
    source.set_result(5)
    assert result.value == 5


def test_what_cannot_be_sent_is_the_value_of_the_result():
    result = AsynchronousMethod(Method(ValueError("not sent")))()
    assert result.ready
    with pytest.raises(ValueError, match="not sent"):
        _ = result.value


def test_asyncproxy_switches_the_mode_and_returns_nothing():
    class Proxy:
        def _pyroAsync(self, asynchronous):
            self.mode = asynchronous

    proxy = Proxy()
    assert asyncproxy(proxy) is None
    assert proxy.mode is True
    assert asyncproxy(proxy, asynchronous=False) is None
    assert proxy.mode is False

"""Futures of remote calls, over a socket pair: to a thread, and to a forked child."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import os
import signal
import threading
import traceback
from concurrent.futures import FIRST_COMPLETED, as_completed, wait

import pytest

import pyroipc
from pyroipc import Proxy, current_context
from pyroipc.client import care, crew, futures, pump
from pyroipc.client.future_results import FutureResult, asyncproxy
from pyroipc.context import running
from pyroipc.server.exposure import expose
from tests.support.hosts import HANDLERS_RUN, HOSTS, PATIENCE, Child, Worker, forked, hosted
from tests.support.things import Thing
from tests.support.waiting import wait_until

SERIALIZERS = ["pickle", "marshal", "serpent", "json", "msgpack"]
MANY = 2000


@pytest.fixture(autouse=True)
def threads_end_soon(nothing_is_left_behind, monkeypatch):
    """What futures started ends within the test; afterwards nobody is cared for."""
    monkeypatch.setattr(crew, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(pump, "_POLL_MILLISECONDS", 50)
    monkeypatch.setattr(care, "_PUMPED_LOOK_SECONDS", 0.05)
    token = running.set(None)
    yield
    running.reset(token)
    wait_until(lambda: not care.cares, "all futures have come to an end")
    assert not futures._watched
    wait_until(lambda: not threads_of_futures(), "the threads have ended")


def threads_of_futures():
    names = ("pyroipc-callbacks", "pyroipc-clock", "pyroipc-future", "pyroipc-pump")
    return [thread for thread in threading.enumerate() if thread.name in names]


class Slow(Thing):
    """A thing with methods that wait for the test, and that call back."""

    def __init__(self):
        super().__init__()
        self._gate = threading.Event()
        self._entered = threading.Event()

    @expose
    def block(self, x=None):
        self._entered.set()
        self._gate.wait(PATIENCE)
        return x

    @expose
    def open(self):
        self._gate.set()

    @expose
    def entered(self):
        return self._entered.wait(PATIENCE)

    @expose
    def count(self, n):
        return (i for i in range(n))

    @expose
    def never(self):
        threading.Event().wait()


@pytest.fixture(params=["thread", "fork"])
def slow(request):
    with HOSTS[request.param]({"slow": Slow()}) as (sock, _):
        with Proxy("slow", connected_socket=sock) as proxy:
            yield proxy
            assert_quiet(proxy)


def assert_quiet(proxy):
    """Nothing of the futures is left in the session."""
    session = proxy._pyro_session
    wait_until(lambda: not session.sinks, "no sink is left")
    wait_until(lambda: session.pump.needs == 0, "nobody needs the pump")
    assert proxy.echo("in step") == "in step"


# --- one connection, many calls ------------------------------------------------------------------


@pytest.mark.parametrize("where", ["thread", "fork"])
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_many_in_flight(where, serializer):
    with HOSTS[where]({"thing": Thing()}) as (sock, _):
        with Proxy("thing", connected_socket=sock) as thing:
            thing._pyroSerializer = serializer
            submitted = [thing.echo.submit(i) for i in range(MANY)]
            assert [future.result() for future in submitted] == list(range(MANY))
            assert all(future.done() for future in submitted)
            assert_quiet(thing)


def test_it_is_a_future_of_the_standard_library(slow):
    future = slow.add.submit(1, 2, c=3)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE) == 6
    assert future.exception() is None
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert "finished" in repr(future)


def test_as_completed(slow):
    submitted = {slow.echo.submit(i): i for i in range(MANY)}
    seen = {}
    for future in as_completed(submitted, timeout=PATIENCE):
        seen[submitted[future]] = future.result()
    assert seen == {i: i for i in range(MANY)}


def test_wait_for_the_first_and_for_all(slow):
    blocked = slow.block.submit("blocked")
    quick = slow.echo.submit("quick")
    done, not_done = wait([blocked, quick], PATIENCE, FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {blocked})
    done, not_done = wait([blocked, quick], 0.01)
    assert (done, not_done) == ({quick}, {blocked})
    slow.open()
    done, not_done = wait([blocked, quick], PATIENCE)
    assert (done, not_done) == ({quick, blocked}, set())
    failed = slow.fail.submit("KeyError", "k")
    done, _ = wait([failed], PATIENCE, concurrent.futures.FIRST_EXCEPTION)
    assert done == {failed}


def test_one_that_is_done_says_so_though_nobody_waits(slow):
    future = slow.echo.submit(1)
    wait_until(future.done, "the future is done")
    assert future.result(0) == 1


def test_an_answer_is_fetched_though_nobody_asks(slow):
    future = slow.echo.submit(1)
    wait_until(lambda: future.is_ready, "somebody has fetched the answer")
    assert future.result() == 1


def test_many_threads_wait_for_one(slow):
    future = slow.block.submit("x")
    workers = [Worker(future.result) for _ in range(8)]
    slow.open()
    assert [worker.result() for worker in workers] == ["x"] * 8


def test_futures_and_plain_calls_of_many_threads(slow):
    def work(base):
        mine = [slow.echo.submit(base + i) for i in range(100)]
        plain = [slow.echo(base + i) for i in range(20)]
        return plain == [base + i for i in range(20)] and [future.result() for future in mine] == [
            base + i for i in range(100)
        ]

    assert all(worker.result() for worker in [Worker(work, n * 1000) for n in range(8)])


def test_large_arguments_and_results(slow):
    text = "x" * (1 << 20)
    submitted = [slow.echo.submit(text) for _ in range(5)]
    assert all(future.result() == text for future in submitted)


def test_a_blocked_call_holds_up_no_other(slow):
    blocked = slow.block.submit(1)
    assert slow.entered()
    assert slow.echo.submit(2).result(PATIENCE) == 2
    assert not blocked.done()
    slow.open()
    assert blocked.result(PATIENCE) == 1


# --- errors --------------------------------------------------------------------------------------


def test_exceptions_are_the_remote_ones(slow):
    future = slow.fail_with_cause.submit()
    with pytest.raises(ValueError, match="outer") as caught:
        future.result()
    printed = "".join(traceback.format_exception(caught.value))
    assert "in fail_with_cause" in printed
    assert "KeyError: 'inner'" in printed
    assert future.exception() is caught.value
    with pytest.raises(ValueError, match="outer"):
        future.result()


def test_what_cannot_be_sent_raises_at_once(slow):
    with pytest.raises(pyroipc.SerializeError) as caught:
        slow.echo.submit(threading.Lock())
    assert caught.value.call_status == "not sent"
    with pytest.raises(TypeError, match="positional"):
        slow.add.submit().result()


class Unloadable:
    """Can be sent, but not decoded."""

    def __reduce__(self):
        return _explode, ()


def _explode():
    raise ValueError("cannot be decoded")


@expose
class Giver:
    def give(self):
        return Unloadable()

    def echo(self, x):
        return x


def test_what_cannot_be_decoded_is_the_error_of_that_future():
    with hosted({"giver": Giver()}) as (sock, _), Proxy("giver", connected_socket=sock) as giver:
        told = threading.Event()
        for watched in (False, True):
            future = giver.give.submit()
            if watched:
                future.add_done_callback(lambda _: told.set())
            with pytest.raises(pyroipc.SerializeError, match="cannot be decoded"):
                future.result(PATIENCE)
        assert told.wait(PATIENCE)
        assert_quiet(giver)


def test_death_of_the_peer_fails_all_that_are_pending():
    with forked({"slow": Slow()}) as (sock, child):
        with Proxy("slow", connected_socket=sock) as slow:
            pending = [slow.block.submit(0)]
            assert slow.entered()
            pending += [slow.block.submit(i) for i in range(99)]
            watched = [slow.block.submit(i) for i in range(10)]
            told = threading.Semaphore(0)
            for future in watched:
                future.add_done_callback(lambda _: told.release())
            child.kill()
            for future in pending + watched:
                error = future.exception(PATIENCE)
                assert type(error) is pyroipc.PeerDiedError
                assert error.exitcode == -signal.SIGKILL
                assert error.call_status == "unknown"
            for _ in watched:
                assert told.acquire(timeout=PATIENCE)
            with pytest.raises(pyroipc.ConnectionClosedError):
                slow.echo.submit(1)
            assert not slow._pyro_session.sinks
            child.wait()


def test_death_of_the_peer_is_noticed_though_nobody_waits():
    with forked({"slow": Slow()}) as (sock, child):
        with Proxy("slow", connected_socket=sock) as slow:
            future = slow.never.submit()
            child.kill()
            wait_until(lambda: future.is_ready, "the future knows that the peer died")
            assert isinstance(future.exception(), pyroipc.PeerDiedError)
            child.wait()


def test_a_released_proxy_fails_what_is_pending(slow):
    future = slow.block.submit()
    assert slow.entered()
    slow._pyroRelease()
    with pytest.raises(pyroipc.ConnectionClosedError, match="left the conversation"):
        future.result(PATIENCE)
    slow.open()


# --- time ----------------------------------------------------------------------------------------


def test_the_time_given_to_result(slow):
    future = slow.block.submit(5)
    for timeout in (0, 0.01):
        with pytest.raises(builtins.TimeoutError) as caught:
            future.result(timeout)
        assert not isinstance(caught.value, pyroipc.TimeoutError)
        with pytest.raises(builtins.TimeoutError):
            future.exception(timeout)
    slow.open()
    assert future.result(PATIENCE) == 5


@pytest.mark.parametrize("waits", [True, False])
def test_the_time_of_the_whole_call(slow, waits):
    slow._pyroTimeout = 0.05
    future = slow.block.submit()
    if waits:
        with pytest.raises(
            pyroipc.TimeoutError, match=r"no answer to 'block' came within 0\.05 s"
        ):
            future.result(PATIENCE)
    else:
        told = threading.Event()
        future.add_done_callback(lambda _: told.set())
        assert told.wait(PATIENCE)
        assert isinstance(future.exception(), pyroipc.TimeoutError)
    slow._pyroTimeout = PATIENCE
    slow.open()
    wait_until(lambda: slow.echo(1) and not slow._pyro_session._abandoned, "the answer came")


def test_the_time_of_a_call_that_nobody_looks_at(slow):
    slow._pyroTimeout = 0.05
    future = slow.block.submit()
    wait_until(lambda: future.is_ready, "its time is over")
    slow._pyroTimeout = None
    slow.open()
    assert isinstance(future.exception(), pyroipc.TimeoutError)


def test_calls_in_time_are_in_time(slow):
    slow._pyroTimeout = PATIENCE
    submitted = [slow.echo.submit(i) for i in range(300)]
    assert [future.result() for future in submitted] == list(range(300))


# --- cancelling ----------------------------------------------------------------------------------


def test_cancel(slow):
    future = slow.block.submit()
    told = threading.Event()
    future.add_done_callback(lambda f: f.cancelled() and told.set())
    assert slow.entered()
    assert future.cancel() is True
    assert future.cancel() is True
    assert (future.cancelled(), future.done()) == (True, True)
    assert told.wait(PATIENCE)
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert wait([future], 0).done == {future}
    slow.open()
    wait_until(lambda: slow.echo(1) and not slow._pyro_session._abandoned, "the answer came")


def test_cancel_wakes_those_that_wait(slow):
    future = slow.block.submit()
    worker = Worker(future.result)
    waiting = Worker(wait, [future])
    wait_until(lambda: future.watchers and future.is_watched, "they wait")
    future.cancel()
    assert isinstance(worker.finish(), concurrent.futures.CancelledError)
    assert waiting.result().done == {future}
    slow.open()


def test_what_is_done_cannot_be_cancelled(slow):
    future = slow.echo.submit(1)
    assert future.result() == 1
    assert future.cancel() is False
    assert future.result() == 1


def test_the_stream_of_a_cancelled_call_is_closed(slow):
    for _ in range(20):
        slow.count.submit(10**9).cancel()
    assert_quiet(slow)


# --- callbacks -----------------------------------------------------------------------------------


def test_callbacks_are_called_in_order_and_not_by_this_thread(slow):
    seen, done = [], threading.Event()

    def note(future):
        seen.append((future.result(), threading.get_ident()))

    for i in range(100):
        slow.echo.submit(i).add_done_callback(note)
    slow.echo.submit(None).add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE)
    assert sorted(value for value, _ in seen) == list(range(100))
    assert threading.get_ident() not in {ident for _, ident in seen}


def test_a_callback_of_one_that_is_done_is_called_at_once(slow):
    future = slow.echo.submit(1)
    future.result()
    seen = []
    future.add_done_callback(lambda _: seen.append(threading.get_ident()))
    assert seen == [threading.get_ident()]


def test_callbacks_may_call_the_same_proxy_and_wait(slow):
    done, seen = threading.Event(), []

    def again(future):
        value = future.result()
        if value == 20:
            done.set()
            return
        seen.append(slow.echo(value))  # a plain call
        seen.append(slow.echo.submit(value).result())  # a future
        slow.echo.submit(value + 1).add_done_callback(again)

    slow.echo.submit(0).add_done_callback(again)
    assert done.wait(PATIENCE)
    assert seen == [i for i in range(20) for _ in range(2)]


def test_a_callback_may_wait_for_a_future_whose_callback_comes_later(slow):
    told, outcomes = threading.Event(), []
    later = slow.block.submit("later")
    later.add_done_callback(lambda _: told.set())

    def wait_for_the_other(_):
        slow.open()
        outcomes.append(wait([later], PATIENCE).done == {later})
        outcomes.append(told.wait(PATIENCE))

    first = slow.echo.submit(1)
    first.add_done_callback(wait_for_the_other)
    wait_until(lambda: len(outcomes) == 2, "the callback is through", timeout=2 * PATIENCE)
    assert outcomes == [True, True]


def test_a_callback_that_fails_is_logged_and_the_others_are_called(slow, caplog):
    done = threading.Event()
    future = slow.block.submit(1)
    future.add_done_callback(lambda _: [][0])
    future.add_done_callback(lambda _: done.set())
    slow.open()
    assert done.wait(PATIENCE)
    assert "exception calling callback" in caplog.text


def test_a_future_with_a_callback_needs_nobody_to_hold_it(slow):
    done = threading.Event()
    slow.block.submit(1).add_done_callback(lambda _: done.set())
    slow.open()
    assert done.wait(PATIENCE)


# --- asyncio -------------------------------------------------------------------------------------


def test_asyncio(slow):
    async def call():
        one = await asyncio.wrap_future(slow.echo.submit(1))
        many = await asyncio.gather(
            *(asyncio.wrap_future(slow.echo.submit(i)) for i in range(200))
        )
        with pytest.raises(KeyError):
            await asyncio.wrap_future(slow.fail.submit("KeyError", "k"))
        with pytest.raises(builtins.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(slow.block.submit()), 0.01)
        slow.open()
        return one, many

    assert asyncio.run(call()) == (1, list(range(200)))


# --- streams, oneway, context --------------------------------------------------------------------


def test_an_iterator_comes_out(slow):
    assert list(slow.count.submit(1000).result()) == list(range(1000))
    (done,) = as_completed([slow.count.submit(5)], timeout=PATIENCE)
    assert list(done.result()) == list(range(5))


def test_a_stream_of_a_forgotten_future_is_closed(slow):
    for _ in range(20):
        slow.count.submit(10**9)
    assert_quiet(slow)


def test_oneway(slow):
    future = slow.note.submit("x")
    assert future.done()
    assert future.result() is None
    assert slow.notes() == ["x"]


def test_annotations_go_with_the_call_and_none_come_with_the_result(slow):
    current_context.annotations = {"ABCD": b"x"}
    assert slow.context.submit().result()["annotations"] == ["ABCD"]
    current_context.annotations = {}
    slow.answer_with.submit("WXYZ", "y").result()
    assert dict(current_context.response_annotations) == {}


def test_hooks_of_a_subclass():
    class Hooked(Proxy):
        taken = None

        def _pyroAnnotations(self):
            return {"HOOK": b"1"}

        def _pyroResponseAnnotations(self, annotations, msgtype):
            type(self).taken = bytes(annotations["WXYZ"])

    with hosted({"thing": Thing()}) as (sock, _), Hooked("thing", connected_socket=sock) as thing:
        assert thing.context.submit().result()["annotations"] == ["HOOK"]
        thing.answer_with.submit("WXYZ", "y").result()
        assert Hooked.taken == b"y"


def test_the_time_limit_travels(slow):
    slow._pyroTimeout = PATIENCE
    assert 0 < slow.context.submit().result()["time_limit"] <= PATIENCE


# --- nested --------------------------------------------------------------------------------------


@expose
class Middle:
    """Its methods call another object, or the caller."""

    def __init__(self, sock=None):
        self._other = Proxy("thing", connected_socket=sock)

    def fan_out(self, n):
        return sum(f.result() for f in [self._other.echo.submit(i) for i in range(n)])

    def gather(self, n):
        submitted = [self._other.echo.submit(i) for i in range(n)]
        return sum(future.result() for future in as_completed(submitted))

    def ask_back(self, caller, n):
        return sum(f.result() for f in [caller.echo.submit(i) for i in range(n)])

    def ask_back_apart(self, caller, n):
        return len(wait([caller.echo.submit(i) for i in range(n)], PATIENCE).done)

    def echo(self, x):
        return x


@pytest.mark.parametrize("server_type", ["thread", "multiplex"])
def test_inside_a_method(server_type):
    settings = pyroipc.Settings()
    settings.SERVERTYPE = server_type
    with hosted({"thing": Thing()}) as (inner, _):
        middle = Middle(inner)
        with hosted({"middle": middle}, settings=settings) as (sock, _):
            with Proxy("middle", connected_socket=sock) as proxy:
                assert proxy.fan_out(100) == 4950
                assert proxy.gather(100) == 4950
                assert proxy.fan_out.submit(100).result(PATIENCE) == 4950
                assert_quiet(proxy)
        middle._other._pyroRelease()


@pytest.mark.parametrize("server_type", ["thread", "multiplex"])
def test_inside_a_method_back_to_the_caller(server_type):
    settings = pyroipc.Settings()
    settings.SERVERTYPE = server_type
    with hosted({"middle": Middle.__new__(Middle)}, settings=settings) as (sock, _):
        with Proxy("middle", connected_socket=sock) as proxy:
            own = pyroipc.Daemon(connected_socket=sock)
            thing = Thing()
            own.register(thing)
            try:
                assert proxy.ask_back(thing, 50) == 1225
                assert proxy.ask_back.submit(thing, 50).result(PATIENCE) == 1225
            finally:
                own.close()


# --- forks and signals ---------------------------------------------------------------------------


def test_a_fork_inherits_no_answers(slow):
    plain = slow.block.submit(1)
    watched = slow.block.submit(2)
    parent = os.getpid()
    pids = []
    told = threading.Event()
    watched.add_done_callback(lambda _: (pids.append(os.getpid()), told.set()))
    result = FutureResult(slow.block.submit(3)).then(str)
    local = pyroipc.client.futures.Future(threading.Event().wait)(0.1)
    assert slow.entered()

    def in_child():
        for future in (plain, watched):
            assert isinstance(future.exception(PATIENCE), pyroipc.ForkedConnectionError)
        for each in (result, local):
            with pytest.raises(pyroipc.ForkedConnectionError):
                each.get_value()
        with pytest.raises(pyroipc.ForkedConnectionError):
            slow.echo.submit(1)
        assert not care.cares
        assert not pids
        return 17

    def waiting_in_child():
        assert len(wait([plain, watched], PATIENCE).done) == 2
        assert plain.done()
        assert not pids
        return 18

    assert Child(in_child).wait() == 17
    assert Child(waiting_in_child).wait() == 18
    slow.open()
    assert (plain.result(PATIENCE), watched.result(PATIENCE)) == (1, 2)
    assert result.value == "3"
    assert local.value is False
    assert told.wait(PATIENCE)
    assert pids == [parent]


@pytest.mark.skipif(not HANDLERS_RUN, reason="CPython 3.13 forgets handlers; see HANDLERS_RUN")
def test_a_signal_handler_that_raises_leaves_everything_usable(slow):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGUSR1, ring)
    blocked = slow.block.submit("x")
    me = threading.get_ident()
    try:
        for seconds in (0.01, 0.02, 0.03):
            timer = threading.Timer(seconds, signal.pthread_kill, (me, signal.SIGUSR1))
            timer.start()
            with pytest.raises(Alarm):
                blocked.result(PATIENCE)
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert slow.echo.submit(1).result(PATIENCE) == 1
    slow.open()
    assert blocked.result(PATIENCE) == "x"


# --- FutureResult and asynchronous proxies -------------------------------------------------------


def test_an_asynchronous_proxy(slow):
    asyncproxy(slow)
    results = [slow.add(i, 1) for i in range(100)]
    assert [result.value for result in results] == list(range(1, 101))
    assert slow.value == 0  # attributes are not asynchronous
    slow.value = 5
    assert slow.value == 5
    failed = slow.fail("KeyError", "k")
    assert failed.wait(PATIENCE)
    with pytest.raises(KeyError):
        _ = failed.value
    assert slow.note("x").value is None
    asyncproxy(slow, asynchronous=False)
    assert slow.add(1) == 2


def test_asynchronous_calls_share_the_connection(slow):
    slow._pyroAsync()
    blocked = slow.block(1)
    assert slow.entered().value
    assert not blocked.ready
    assert blocked.wait(0.01) is False
    assert slow.echo(2).value == 2
    slow.open().wait()
    assert blocked.value == 1
    slow._pyroAsync(False)


def test_chains_make_remote_calls_on_the_same_proxy(slow):
    slow._pyroAsync()
    done = threading.Event()
    result = slow.echo(1).then(lambda x: slow.add(x, 1).value).then(lambda x: slow.add(x, 1).value)
    result.then(lambda x: (done.set(), x)[1])
    assert done.wait(PATIENCE)
    assert result.value == 3
    errors = []
    failing = slow.fail("ValueError", "x").then(errors.append).iferror(errors.append)
    assert failing.wait(PATIENCE)
    assert [type(error) for error in errors] == [ValueError]
    slow._pyroAsync(False)


def test_chains_that_wait_for_chains(slow):
    slow._pyroAsync()
    gates = [slow.block(i) for i in range(10)]  # none is ready before it has its chain
    for i in range(9):
        gates[i].then(lambda x, i=i: x + gates[i + 1].value)
    gates[9].then(lambda x: x)
    slow._pyroAsync(False)
    slow.open()
    assert gates[0].value == 45


def test_a_cancelled_result_drops_the_answer(slow):
    slow._pyroAsync()
    result = slow.block(1)
    result.set_cancelled()
    with pytest.raises(RuntimeError, match="cancelled"):
        _ = result.value
    slow._pyroAsync(False)
    slow.open()
    assert slow.echo(1) == 1


def test_an_asynchronous_batch(slow):
    batch = pyroipc.BatchProxy(slow)
    batch.add(1, 2)
    batch.echo("x")
    result = batch(asynchronous=True)
    assert isinstance(result, FutureResult)
    assert list(result.value) == [3, "x"]
    assert len(batch) == 0

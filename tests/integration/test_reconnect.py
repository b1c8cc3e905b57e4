"""Connections that end, and proxies that connect again; calls that are made again, or not."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from pyroipc import (
    BatchProxy,
    BusyError,
    CommunicationError,
    ConnectError,
    ConnectionClosedError,
    DaemonError,
    Proxy,
    PyroError,
    SerializedBlob,
    TimeoutError,
    expose,
    oneway,
)
from tests.support.daemons import (
    ROADS,
    child_serving,
    daemon_again,
    roads,
    serving,
    settings,
)
from tests.support.hosts import PATIENCE, Worker
from tests.support.sources import Source
from tests.support.things import Gate, Thing
from tests.support.waiting import wait_until


@expose
class Counter:
    """Counts what is done to it; outlives its daemons."""

    def __init__(self):
        self.done = []

    def count(self, x):
        self.done.append(x)
        return x

    @oneway
    def count_oneway(self, x):
        self.done.append(x)

    def unpack(self, blob):
        return self.count(blob.deserialized())

    @property
    def last(self):
        return self.done[-1]


@expose
class Flaky:
    """Fails a number of times in a number of ways."""

    def __init__(self):
        self.calls = 0

    def raise_often(self, times):
        self.calls += 1
        if self.calls <= times:
            raise ConnectionClosedError("of the method's own")
        return self.calls


@contextlib.contextmanager
def a_daemon_that_was_restarted(objects, road=ROADS["tcp4"], use=None, directory=None):
    """Have proxies connect to a daemon, restart that, and yield the proxies.

    ``use`` is called with the daemon in between.
    """
    with serving(objects, road=road, directory=directory) as first:
        proxies = {name: first.proxy(name) for name in objects}
        for proxy in proxies.values():
            proxy._pyroBind()
        if use is not None:
            use(proxies)
    with daemon_again(first, objects):
        yield proxies
        for proxy in proxies.values():
            proxy._pyroRelease()


# --- a daemon that has said goodbye -------------------------------------------------------------

USES = {
    "a call": lambda p: p.count(1),
    "a large call": lambda p: len(p.count("x" * 100_000)),
    "an attribute": lambda p: p.count(1) and p.last,
    "a batch": lambda p: list(_batch(p)),
    "a future": lambda p: p.count.submit(1).result(PATIENCE),
    "a blob": lambda p: p.unpack(SerializedBlob("info", 1)),
    "a timeout": lambda p: (setattr(p, "_pyroTimeout", PATIENCE), p.count(1))[1],
    "binding": lambda p: (p._pyroBind(), p.count(1))[1],
}


def _batch(proxy):
    batch = BatchProxy(proxy)
    batch.count(1)
    return batch()


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("road", roads("tcp4", "unix", "tls"))
def test_a_restarted_daemon_is_not_noticed(road, use, tmp_path):
    """It said goodbye, and that it had begun nothing: the call is made, and made once."""
    counter = Counter()
    with a_daemon_that_was_restarted(
        {"counter": counter}, road, directory=str(tmp_path)
    ) as proxies:
        assert use(proxies["counter"]) in (1, [1], 100_000)
        assert len(counter.done) == 1


def test_a_method_that_was_kept():
    counter = Counter()
    kept = []
    with a_daemon_that_was_restarted(
        {"counter": counter}, use=lambda proxies: kept.append(proxies["counter"].count)
    ):
        assert [kept[0](i) for i in range(5)] == list(range(5))
    kept.clear()


@pytest.mark.parametrize("how", ["method", "invoke", "batch"])
def test_oneway_calls_are_not_lost_with_the_old_connection(how):
    """Nobody would tell: so it is looked whether the daemon has left before they are sent."""
    counter = Counter()
    with a_daemon_that_was_restarted({"counter": counter}) as proxies:
        proxy = proxies["counter"]
        if how == "method":
            for i in range(5):
                proxy.count_oneway(i)
        elif how == "invoke":
            for i in range(5):
                proxy._pyroInvoke("count_oneway", (i,), {})
        else:
            batch = BatchProxy(proxy)
            for i in range(5):
                batch.count(i)
            batch(oneway=True)
        wait_until(lambda: len(counter.done) == 5, "all have arrived")
        assert counter.done == list(range(5))


def test_members_that_the_new_daemon_has():
    class More(Counter):
        @expose
        def more(self):
            return "more"

    with serving({"counter": Counter()}) as first:
        proxy = first.proxy("counter")
        assert proxy.count(1) == 1
        with pytest.raises(AttributeError):
            proxy.more()
    with daemon_again(first, {"counter": More()}):
        assert proxy.count(2) == 2  # it is the method, and not the proxy, that connects
        assert proxy.more() == "more"
        proxy._pyroRelease()
    with (
        daemon_again(first, {"other": Counter()}),
        pytest.raises(DaemonError, match="unknown object 'counter'"),
    ):
        proxy.count(3)


class Leaving:
    """A peer that answers the introduction, takes some calls, and says goodbye when it is let.

    Meanwhile another one may listen at its port.
    """

    def __init__(self, n_calls, goodbye):
        import socket

        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.uri = f"PYRO:thing@127.0.0.1:{self.port}"
        self.taken = []
        self.go = threading.Event()
        self._n_calls, self._goodbye = n_calls, goodbye
        self.worker = Worker(self._serve)

    def _serve(self):
        import json

        from pyroipc.wire.message import GOODBYE, REQUEST
        from tests.support.messages import plain
        from tests.support.raw import RawPeer, answer_to

        with self.listener, self.listener.accept()[0] as sock:
            peer = RawPeer(sock)
            while len(self.taken) < self._n_calls:
                message = peer.read()
                if message.kind == REQUEST:
                    call = json.loads(bytes(message.payload))
                    if call["method"] != "connect":
                        self.taken.append(call["params"][0])
                        continue
                peer.send(answer_to(message))
            self.listener.close()
            assert self.go.wait(PATIENCE)
            peer.send(plain(GOODBYE, 0, self._goodbye, 0))


def json_proxy(uri, **items):
    proxy = Proxy(uri, settings=settings(SERIALIZER="json", **items))
    proxy._pyroBind()
    return proxy


@expose
class Echo:
    def __init__(self):
        self.seen = []

    def echo(self, x):
        self.seen.append(x)
        return x


@pytest.mark.parametrize("watched", [False, True])
def test_futures_go_to_the_next_daemon_as_they_were_sent(watched):
    """In their order, once, and with the arguments of the time when they were submitted."""
    leaving = Leaving(50, b"left: for good")
    proxy = json_proxy(leaving.uri)
    argument = [0]
    futures = []
    for i in range(50):
        argument[0] = i
        futures.append(proxy.echo.submit(argument))
    called = []
    if watched:
        for future in futures:
            future.add_done_callback(lambda future: called.append(future.result()))
    wait_until(lambda: leaving.listener.fileno() < 0, "all calls were taken")
    echo = Echo()
    with serving({"thing": echo}, port=leaving.port):
        leaving.go.set()
        leaving.worker.result()
        assert [future.result(PATIENCE) for future in futures] == [[i] for i in range(50)]
        assert echo.seen == [[i] for i in range(50)]
        assert leaving.taken == echo.seen
        if watched:
            wait_until(lambda: len(called) == 50, "all callbacks were called")
        proxy._pyroRelease()


def test_futures_when_there_is_no_next_daemon():
    leaving = Leaving(3, b"left: for good")
    proxy = json_proxy(leaving.uri)
    futures = [proxy.echo.submit(i) for i in range(3)]
    leaving.go.set()
    leaving.worker.result()
    for future in futures:
        with pytest.raises(ConnectError) as caught:
            future.result(PATIENCE)
        assert caught.value.call_status == "not sent"


@pytest.mark.parametrize("how", ["call", "future", "batch"])
def test_what_may_have_begun_is_not_made_again(how):
    leaving = Leaving(1, b"busy: in the middle of it")
    leaving.go.set()
    proxy = json_proxy(leaving.uri)
    if how == "batch":
        batch = BatchProxy(proxy)
        batch.echo(1)
        call = batch
    elif how == "future":
        call = lambda: proxy.echo.submit(1).result(PATIENCE)  # noqa: E731
    else:
        call = lambda: proxy.echo(1)  # noqa: E731
    with pytest.raises(ConnectionClosedError, match="in the middle of it") as caught:
        call()
    assert caught.value.call_status == "unknown"
    leaving.worker.result()
    echo = Echo()
    with serving({"thing": echo}, port=leaving.port):
        assert proxy.echo(2) == 2
        assert echo.seen == [2]
        proxy._pyroRelease()


def test_a_future_is_cancelled_before_it_has_moved():
    leaving = Leaving(2, b"left: for good")
    proxy = json_proxy(leaving.uri)
    futures = [proxy.echo.submit(i) for i in range(2)]
    assert futures[0].cancel()
    leaving.go.set()
    leaving.worker.result()
    echo = Echo()
    with serving({"thing": echo}, port=leaving.port):
        assert futures[1].result(PATIENCE) == 1
        assert echo.seen == [1]
        proxy._pyroRelease()


def test_idle_clients_come_back_by_themselves():
    with serving({"thing": Thing()}, settings=settings(COMMTIMEOUT=0.1)) as served:
        proxy = Proxy(served.uri(), settings=settings(COMMTIMEOUT=0.0))
        for i in range(3):
            assert proxy.echo(i) == i
            wait_until(lambda: not served.daemon.serving, "the daemon lets it go")
        proxy._pyroRelease()


# --- a daemon that is just gone -----------------------------------------------------------------


@pytest.mark.parametrize("road", roads("tcp4", "unix", "tls", "hmac"))
def test_a_daemon_that_was_killed(road, tmp_path):
    """The error says that nobody knows what became of the call; the next one connects."""
    with child_serving({"thing": Thing()}, road=road, directory=str(tmp_path)) as first:
        proxy = first.proxy()
        pid = proxy.pid()
        first.kill()
        begun = time.monotonic()
        with pytest.raises(ConnectionClosedError) as caught:
            proxy.echo(1)
        assert time.monotonic() - begun < 5
        assert caught.value.call_status == "unknown"
        for _ in range(2):
            with pytest.raises(ConnectError, match=str(first.port or "daemon.sock")) as caught:
                proxy.echo(2)
            assert caught.value.call_status == "not sent"
        with pytest.raises(ConnectError):
            hasattr(proxy, "value")
    with daemon_again(first, {"thing": Thing()}):
        assert proxy.echo(3) == 3
        assert proxy.pid() != pid
        proxy._pyroRelease()


def test_many_threads_are_told_at_once_that_nobody_answers():
    """One of them tries, and all get its answer; they do not queue up for the time-out."""
    proxy = Proxy("PYRO:thing@192.0.2.1:9", settings=settings(CONNECT_TIMEOUT=0.7))
    barrier = threading.Barrier(8)

    def call():
        barrier.wait(PATIENCE)
        with pytest.raises(CommunicationError) as caught:
            proxy.echo(1)
        return caught.value.call_status

    begun = time.monotonic()
    workers = [Worker(call) for _ in range(8)]
    assert {worker.result() for worker in workers} == {"not sent"}
    assert time.monotonic() - begun < 5


# --- reconnecting by hand -----------------------------------------------------------------------


def test_reconnect_gives_up_after_so_many_tries():
    with serving({"thing": Thing()}) as served:
        proxy = served.proxy()
        proxy.echo(1)
    with pytest.raises(ConnectionClosedError, match="failed to reconnect: cannot connect to") as c:
        proxy._pyroReconnect(tries=1)
    assert c.value.call_status == "not sent"
    assert isinstance(c.value.__cause__, ConnectError)


def test_reconnect_waits_for_the_daemon(monkeypatch):
    from pyroipc.client import binding

    monkeypatch.setattr(binding, "_RETRY_SECONDS", 0.02)
    with serving({"thing": Thing()}) as first:
        proxy = first.proxy()
        proxy.echo(1)
    waiting = Worker(proxy._pyroReconnect)
    with daemon_again(first, {"thing": Thing()}):
        waiting.result()
        assert proxy._pyroConnection is not None
        assert proxy.echo(2) == 2
        proxy._pyroRelease()


# --- retries ------------------------------------------------------------------------------------


def retrying(uri, tries, **items):
    proxy = Proxy(uri, settings=settings(RETRY_SECONDS=0.01, MAX_RETRIES=tries, **items))
    return proxy


@pytest.mark.parametrize("submit", [False, True])
def test_retries_outlast_a_daemon_that_is_not_there(submit):
    counter = Counter()
    with serving({"counter": counter}) as first:
        proxy = retrying(first.uri("counter"), 1000)
        assert proxy.count(1) == 1
    if submit:
        future = proxy.count.submit(2)
        result = lambda: future.result(PATIENCE)  # noqa: E731
    else:
        result = Worker(proxy.count, 2).result
    with daemon_again(first, {"counter": counter}):
        assert result() == 2
        assert counter.done == [1, 2]
        proxy._pyroRelease()


def test_retries_begin_with_the_first_use_of_a_member():
    """Connecting, and learning what there is, belongs to the call."""
    with serving({"thing": Thing()}) as first:
        uri = first.uri()
    call = Worker(lambda: retrying(uri, 1000).echo(5))
    with daemon_again(first, {"thing": Thing()}):
        assert call.result() == 5
    with pytest.raises(ConnectError):
        retrying(uri, 3).echo(6)
    with pytest.raises(ConnectionClosedError, match="failed to reconnect"):
        retrying(uri, 1000)._pyroReconnect(tries=1)  # it counts for itself


@pytest.mark.parametrize("submit", [False, True])
def test_retries_come_to_an_end(submit):
    with serving({"thing": Thing()}) as first:
        proxy = retrying(first.uri(), 3)
        method = proxy.echo
        assert method(1) == 1
    begun = time.monotonic()
    with pytest.raises(ConnectError):
        if submit:
            method.submit(2).result(PATIENCE)
        else:
            method(2)
    assert 0.01 + 0.02 + 0.04 <= time.monotonic() - begun < PATIENCE


@pytest.mark.parametrize("submit", [False, True])
def test_what_the_method_raises_is_no_reason_to_call_it_again(submit):
    flaky = Flaky()
    with serving({"flaky": flaky}) as served:
        proxy = retrying(served.uri("flaky"), 5)
        with pytest.raises(ConnectionClosedError, match="of the method's own"):
            if submit:
                proxy.raise_often.submit(3).result(PATIENCE)
            else:
                proxy.raise_often(3)
        assert flaky.calls == 1
        proxy._pyroRelease()


@pytest.mark.parametrize("submit", [False, True])
def test_retries_after_a_timeout(submit):
    gate = Gate()
    with serving({"gate": gate}) as served:
        proxy = retrying(served.uri("gate"), 50, COMMTIMEOUT=0.1)
        if submit:
            future = proxy.hold.submit(5)
            result = lambda: future.result(PATIENCE)  # noqa: E731
        else:
            result = Worker(proxy.hold, 5).result
        gate.wait_entered()
        gate.wait_entered()  # it was called again
        gate.opened.set()
        assert result() == 5
        proxy._pyroRelease()


@pytest.mark.parametrize("submit", [False, True])
def test_retries_when_the_daemon_is_busy(submit):
    gate = Gate()
    few = settings(THREADPOOL_SIZE=2, THREADPOOL_SIZE_MIN=1, BUSY_TIMEOUT=0.05)
    with serving({"gate": gate}, settings=few) as served:
        holders = [served.proxy("gate") for _ in range(2)]
        plain = served.proxy("gate")
        proxy = retrying(served.uri("gate"), 1000)
        plain._pyroBind(), proxy._pyroBind()
        held = [Worker(holder.hold, i) for i, holder in enumerate(holders)]
        gate.wait_entered()
        gate.wait_entered()
        with pytest.raises(BusyError, match="all its 2 threads") as caught:
            plain.echo(1)
        assert caught.value.call_status == "not started"
        if submit:
            future = proxy.echo.submit(6)
            result = lambda: future.result(PATIENCE)  # noqa: E731
        else:
            result = Worker(proxy.echo, 6).result
        gate.opened.set()
        assert result() == 6
        assert [each.result() for each in held] == [0, 1]
        for each in (plain, proxy, *holders):
            each._pyroRelease()


def test_a_retried_future_can_be_cancelled():
    with serving({"thing": Thing()}) as first:
        proxy = retrying(first.uri(), 1000)
        method = proxy.echo
    future = method.submit(1)
    assert future.cancel()
    counter = Echo()
    with daemon_again(first, {"thing": counter}):
        assert method(2) == 2
        assert counter.seen == [2]
        proxy._pyroRelease()


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["release", "cut"])
@pytest.mark.parametrize("read", [0, 1, 700])
def test_a_stream_goes_on_over_the_next_connection(how, read):
    with serving({"source": Source()}) as served:
        proxy = served.proxy("source")
        remote = proxy.count(3000)
        found = [next(remote) for _ in range(read)]
        if how == "release":
            proxy._pyroRelease()
        else:
            proxy._pyroConnection.channel.sock.shutdown(2)
        found += remote
        assert found == list(range(3000))
        assert proxy.wait_closed()
        proxy._pyroRelease()


def test_a_stream_whose_reader_is_back_before_the_daemon_has_seen_it_go():
    with serving({"source": Source()}) as served:
        proxy = served.proxy("source")
        remote = proxy.count(4000)
        found = []
        for _ in range(40):
            found += [next(remote) for _ in range(90)]
            proxy._pyroRelease()
        found += remote
        assert found == list(range(4000))
        proxy._pyroRelease()


def test_a_stream_does_not_survive_its_daemon():
    with serving({"source": Source()}) as first:
        proxy = first.proxy("source")
        remote = proxy.count(1 << 40)
        assert next(remote) == 0
    with pytest.raises(CommunicationError):
        for _ in remote:  # those that have arrived come out
            pass
    with daemon_again(first, {"source": Source()}):
        with pytest.raises(PyroError, match="stream"):
            next(remote)
        assert list(remote) == []
        proxy._pyroRelease()


def test_the_timeout_error_of_a_stream():
    with serving({"source": Source()}) as served:
        proxy = served.proxy("source")
        proxy._pyroTimeout = 0.05
        remote = proxy.gated()
        with pytest.raises(TimeoutError, match="no item"):
            next(remote)
        remote.close()
        proxy._pyroTimeout = None
        proxy.let(1)
        assert proxy.wait_closed()
        proxy._pyroRelease()

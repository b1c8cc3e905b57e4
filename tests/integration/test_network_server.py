"""A daemon that listens: what it does with requests, however they come."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time

import pytest

from pyroipc import (
    CommunicationError,
    Daemon,
    DaemonError,
    DeadlockError,
    Proxy,
    RemoteError,
    expose,
)
from pyroipc.wire.message import ONEWAY, REQUEST, RESPONSE
from tests.support.daemons import ROADS, serving, settings
from tests.support.hosts import PATIENCE, Worker, together
from tests.support.messages import plain
from tests.support.network_hosts import (
    SCALE,
    Gate,
    await_clients,
    await_end,
    await_pause,
    both_servers,
    gated,
    is_closed,
    knock,
    raw_client,
)
from tests.support.networks import needs_ipv6
from tests.support.raw import JSON, call_frame, hello_frame
from tests.support.waiting import wait_until


def answers(peer, count):
    """Read so many answers; return the ids in the order in which they came."""
    return [peer.expect(RESPONSE).request_id for _ in range(count)]


# ---------------------------------------------------------------------- requests in a row


@both_servers
def test_pipelined_requests_are_all_answered(server):
    count = 1000 * SCALE
    with gated(server) as (served, _), raw_client(served) as peer:
        frames = b"".join(call_frame(i, "echo", i, object_id="gate") for i in range(2, count + 2))
        sending = Worker(peer.send, frames)
        found = answers(peer, count)
        sending.result()
        assert sorted(found) == list(range(2, count + 2))
        if server == "multiplex":
            assert found == sorted(found)


def test_requests_that_wait_in_memory_while_the_pool_is_full_are_not_forgotten():
    with contextlib.ExitStack() as stack:
        served, gate = stack.enter_context(gated(THREADPOOL_SIZE=2, THREADPOOL_SIZE_MIN=1))
        peer, other = (stack.enter_context(raw_client(served)) for _ in range(2))
        for i in (2, 3):
            other.send(call_frame(i, "hold", object_id="gate"))
        gate.await_entered(2)
        # One piece: what follows the first request is received together with it, and no
        # more bytes come that could remind the daemon of it.
        peer.send(b"".join(call_frame(i, "echo", object_id="gate") for i in range(2, 50)))
        await_pause(served.daemon)
        gate.opened.set()
        assert sorted(answers(peer, 48)) == list(range(2, 50))
        assert sorted(answers(other, 2)) == [2, 3]


@both_servers
def test_requests_behind_a_full_queue_of_oneway_calls_are_not_forgotten(server):
    with gated(server, ONEWAY_QUEUE=4) as (served, gate), raw_client(served) as peer:
        frames = [call_frame(2, "hold_oneway", 0, object_id="gate", flags=ONEWAY)]
        frames += [call_frame(i, "note", i, object_id="gate", flags=ONEWAY) for i in range(3, 40)]
        frames += [call_frame(40, "echo", "end", object_id="gate")]
        peer.send(b"".join(frames))
        gate.await_entered()
        if server == "thread":  # else nobody receives while the only thread runs a call
            await_pause(served.daemon)
        gate.opened.set()
        assert answers(peer, 1) == [40]
        wait_until(lambda: len(gate.seen) == 38, "all have run")
        assert gate.seen == [0, *range(3, 40)]


def test_a_first_call_that_takes_long_holds_up_nobody():
    with gated() as (served, gate), raw_client(served) as slow, raw_client(served) as quick:
        slow.send(call_frame(2, "hold", object_id="gate"))
        gate.await_entered()
        quick.send(call_frame(2, "echo", object_id="gate"))
        assert answers(quick, 1) == [2]


def test_one_client_that_asks_without_end_holds_up_nobody():
    with gated("multiplex") as (served, _), raw_client(served) as greedy:
        enough = threading.Event()
        frames = b"".join(call_frame(i, "echo", object_id="gate") for i in range(2, 502))

        def ask():
            while not enough.is_set():
                greedy.send(frames)
                answers(greedy, 500)

        asking = Worker(ask)
        try:
            for _ in range(5):
                start = time.monotonic()
                with served.proxy("gate") as proxy:
                    assert proxy.echo(1) == 1
                assert time.monotonic() - start < 3
        finally:
            enough.set()
            asking.result()


def test_the_number_of_threads_that_run_calls_is_exact():
    with gated(THREADPOOL_SIZE=3, THREADPOOL_SIZE_MIN=1, BUSY_TIMEOUT=60) as (served, gate):
        proxies = [served.proxy("gate") for _ in range(8)]
        try:
            assert [proxy.echo(i) for i, proxy in enumerate(proxies)] == list(range(8))
            calls = [Worker(proxy.hold, i) for i, proxy in enumerate(proxies)]
            gate.await_entered(3)
            with raw_client(served) as late:
                late.send(call_frame(2, "echo", object_id="gate"))
                assert not select.select([late.sock], [], [], 0.1)[0]  # it waits as the others do
            assert gate.running == gate.most == 3
            gate.opened.set()
            assert [call.result() for call in calls] == list(range(8))
            assert gate.most == 3
        finally:
            for proxy in proxies:
                proxy._pyroRelease()


# ----------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"X",
        plain(REQUEST, 1, b"", JSON)[:4] + b"\xff" * 20,
        hello_frame()[:-3] + b"\xff\xff\xff",
    ],
    ids=["http", "tls", "ssh", "one byte", "no frame", "no hello"],
)
def test_wrong_first_bytes_end_the_connection_at_once(said, caplog):
    with gated() as (served, _):
        times = []
        for _ in range(3):  # one of them is not disturbed by other programs
            with knock(served) as sock:
                start = time.monotonic()
                sock.sendall(said)
                assert is_closed(sock)
                times.append(time.monotonic() - start)
        assert min(times) < 0.5
        await_clients(served.daemon, 0)


def test_a_size_over_the_limit_is_refused_before_its_bytes_come():
    with gated(MAX_MESSAGE_SIZE=1 << 20) as (served, _), raw_client(served) as peer:
        whole = call_frame(2, "echo", "x" * (1 << 20), object_id="gate")
        peer.send(whole[:100])
        assert is_closed(peer.sock)
        with served.proxy("gate") as proxy:
            assert proxy.echo(1) == 1


# -------------------------------------------------------------- methods and hooks that fail


@both_servers
def test_methods_that_raise_what_ends_programs_end_nothing(server):
    with gated(server) as (served, _), served.proxy("gate") as proxy:
        proxy.echo(0)
        before = threading.active_count()
        for _ in range(60 * SCALE):
            for name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"):
                with pytest.raises(RemoteError):
                    proxy.fail_with(name)
        assert proxy.echo(1) == 1
        assert threading.active_count() <= before + 4  # those that are kept


@both_servers
def test_hooks_that_raise_what_ends_programs_end_nothing(server, caplog):
    class Hooked(Daemon):
        def clientDisconnect(self, conn):
            raise SystemExit("in clientDisconnect")

        def housekeeping(self):
            kept.set()
            raise SystemExit("in housekeeping")

    kept = threading.Event()
    with gated(server, factory=Hooked, POLLTIMEOUT=0.01) as (served, _):
        for _ in range(3):
            with served.proxy("gate") as proxy:
                assert proxy.echo(1) == 1
            await_clients(served.daemon, 0)
        assert kept.wait(PATIENCE)
        with served.proxy("gate") as proxy:
            assert proxy.echo(2) == 2
    texts = [record.getMessage() for record in caplog.records]
    assert any("housekeeping failed" in text for text in texts)


def test_housekeeping_is_done_while_nobody_calls():
    class Keeper(Daemon):
        def housekeeping(self):
            done.release()

    done = threading.Semaphore(0)
    with gated(factory=Keeper, POLLTIMEOUT=0.01):
        for _ in range(2):
            assert done.acquire(timeout=PATIENCE)


@both_servers
def test_handshakes_annotations_and_goodbyes(server):
    class Guarded(Daemon):
        def validateHandshake(self, conn, data):
            if data != "open sesame":
                raise ValueError(f"no {data}")
            return "welcome"

        def clientDisconnect(self, conn):
            gone.append(conn.peer.address[0])

        def annotations(self):
            return {"TEST": b"by the daemon"}

    gone = []
    with gated(server, factory=Guarded) as (served, _):
        with served.proxy("gate") as proxy:
            proxy._pyroHandshake = "open sesame"
            assert proxy.echo(1) == 1
        with served.proxy("gate") as proxy:
            proxy._pyroHandshake = "barley"
            with pytest.raises(CommunicationError, match="no barley"):
                proxy.echo(1)
        with raw_client(served) as peer:
            peer.send(call_frame(2, "echo", object_id="gate"))
            assert b"wants a handshake" in bytes(peer.expect(RESPONSE).payload)
        await_clients(served.daemon, 0)
        assert gone.count("127.0.0.1") >= 2


# ---------------------------------------------------------------------- loops and addresses


@both_servers
def test_clients_stay_when_the_condition_ends_the_loop(server):
    gate = Gate()
    with Daemon(host="127.0.0.1", settings=settings(SERVERTYPE=server)) as daemon:
        uri = daemon.register(gate, "gate")
        going = threading.Event()
        going.set()
        with Proxy(uri) as proxy, Proxy(uri) as other:
            for i in range(3):
                loop = Worker(daemon.requestLoop, going.is_set)
                assert proxy.echo(i) == i
                if server == "thread":  # a loop that begins again has threads again, too
                    held = Worker(other.hold, i)
                    gate.await_entered()
                    assert proxy.echo("meanwhile") == "meanwhile"
                    gate.opened.set()
                    assert held.result() == i
                    gate.opened.clear()
                going.clear()
                loop.result()
                going.set()
            assert len(daemon.serving) == (2 if server == "thread" else 1)


def test_a_loop_does_not_run_twice():
    with gated() as (served, _), served.proxy("gate") as proxy:
        assert proxy.echo(1) == 1
        with pytest.raises(DaemonError, match="runs already"):
            served.daemon.requestLoop()
        assert proxy.echo(1) == 1


@needs_ipv6
@both_servers
def test_several_addresses_lead_to_one_daemon(server, tmp_path):
    path = tmp_path / "d.sock"
    where = ("127.0.0.1:0", "[::1]:0", f"./u:{path}")
    with serving({"gate": Gate()}, listen=where, settings=settings(SERVERTYPE=server)) as served:
        pass
    with Daemon(listen=where, settings=settings(SERVERTYPE=server)) as daemon:
        daemon.register(Gate(), "gate")
        loop = Worker(daemon.requestLoop)
        assert len(daemon.locations) == 3
        for location in daemon.locations:
            with Proxy(f"PYRO:gate@{location}") as proxy:
                assert proxy.echo(str(location)) == str(location)
        daemon.shutdown()
        loop.result()
    assert not path.exists()
    assert served.location == "127.0.0.1:" + str(served.port)


# --------------------------------------------------------------------------------- circles


@expose
class Chain:
    """Calls the next one, as often as it is told."""

    def __init__(self):
        self._next = None

    def lead_to(self, uri):
        self._next = uri

    def go(self, n):
        if not n:
            return 0
        with Proxy(self._next) as proxy:
            return 1 + proxy.go(n - 1)


def two_chains(server, **items):
    options = settings(SERVERTYPE=server, **items)
    one, two = Chain(), Chain()
    first = serving({"chain": one}, road=ROADS["tcp4"], settings=options)
    second = serving({"chain": two}, road=ROADS["tcp4"], settings=options)
    return one, two, first, second


def test_calls_that_go_round_in_a_circle_of_threads_come_back():
    one, two, first, second = two_chains("thread")
    with first as here, second as there:
        one.lead_to(there.uri("chain"))
        two.lead_to(here.uri("chain"))
        with here.proxy("chain") as chain:
            assert chain.go(6) == 6


@pytest.mark.parametrize(
    ("server", "items"),
    [("multiplex", {}), ("thread", {"THREADPOOL_SIZE": 1, "THREADPOOL_SIZE_MIN": 1})],
    ids=["multiplex", "a pool of one"],
)
def test_calls_that_go_round_in_a_circle_of_single_threads_are_told(server, items):
    one, two, first, second = two_chains(server, **items)
    with first as here, second as there:
        one.lead_to(there.uri("chain"))
        two.lead_to(here.uri("chain"))
        with here.proxy("chain") as chain:
            assert chain.go(1) == 1
            with pytest.raises(DeadlockError, match="circle"):
                chain.go(2)
            assert chain.go(1) == 1  # and all goes on
            assert together(lambda: chain.go(1)) == [1]
        here.daemon.shutdown()
        await_end(here)  # the one who refused meanwhile does not hold it up


def test_the_log_is_quiet_about_clients_that_come_and_go(caplog):
    with caplog.at_level(logging.INFO), gated() as (served, _):
        for _ in range(3):
            with served.proxy("gate") as proxy:
                proxy.echo(1)
        await_clients(served.daemon, 0)
    assert not caplog.records

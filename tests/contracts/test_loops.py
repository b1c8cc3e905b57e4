"""What every server does over every road: two kinds of servers, all transports and coats."""

from __future__ import annotations

import pytest

import pyroipc
from pyroipc import CommunicationError, Daemon, RemoteError
from tests.support.both_ends import Far, Near
from tests.support.daemons import roads, serving, settings
from tests.support.hosts import Worker, together
from tests.support.network_hosts import (
    SERVERS,
    Gate,
    await_clients,
    await_end,
    crowd,
    is_closed,
    knock,
)


class Host(Daemon):
    """Notes who is gone."""

    def __init__(self, **options):
        self.gone = []
        super().__init__(**options)

    def clientDisconnect(self, conn):
        self.gone.append(conn)


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


@pytest.fixture
def gate():
    found = Gate()
    yield found
    found.opened.set()


@pytest.fixture(params=roads("tcp4", "tcp6", "unix", "tls", "hmac"))
def served(request, server, gate):
    options = settings(SERVERTYPE=server)
    objects = {"gate": gate, "far": Far()}
    with serving(objects, road=request.param, factory=Host, settings=options) as found:
        yield found


def test_values_of_all_sizes_come_back(served):
    with served.proxy("gate") as gate:
        for value in (None, [1, "two", {"three": 3.0}], "x" * 70_000, "y" * 3_000_000):
            assert gate.echo(value) == value


def test_an_error_is_raised_at_the_caller_and_the_connection_goes_on(served):
    with served.proxy("gate") as gate:
        with pytest.raises(MemoryError, match="on purpose"):
            gate.fail_with("MemoryError")
        with pytest.raises(AttributeError):
            gate.missing()
        assert gate.echo(1) == 1


def test_many_clients_at_once_get_their_own_answers(served):
    def client(number):
        with served.proxy("gate") as gate:
            return [gate.echo([number, i]) for i in range(25)]

    found = together(*(lambda number=number: client(number) for number in range(8)))
    assert found == [[[number, i] for i in range(25)] for number in range(8)]
    await_clients(served.daemon, 0)
    assert len(served.daemon.gone) == 8


def test_streams_batches_and_futures(served):
    with served.proxy("gate") as gate:
        assert list(gate.count(1000)) == list(range(1000))
        batch = pyroipc.batch(gate)
        for i in range(10):
            batch.echo(i)
        assert list(batch()) == list(range(10))
        pyroipc.asyncproxy(gate)
        futures = [gate.echo(i) for i in range(20)]
        assert [future.value for future in futures] == list(range(20))


def test_oneway_calls_run_in_order_and_all_of_them(served, gate):
    with served.proxy("gate") as proxy:
        for i in range(200):
            proxy.note(i)
        assert proxy.echo("done") == "done"
    await_clients(served.daemon, 0)
    assert gate.seen == list(range(200))


def test_a_method_calls_back_whoever_called_it(served):
    near = Near()
    with Daemon(host="127.0.0.1") as own, served.proxy("far") as far:
        own.register(near)
        far.keep(near)
        assert far.call("note", "called back") == "called back"
        assert far.down(near, 6) == 6
        far.forget()
    assert near.seen == ["called back"]


def test_a_client_that_goes_is_noticed_once_however_it_goes(served):
    with served.proxy("gate") as gate:
        gate.echo(1)
    await_clients(served.daemon, 0)
    with pytest.raises(RemoteError), served.proxy("gate") as gate:
        gate.fail_with("SystemExit")
    await_clients(served.daemon, 0)
    assert len(served.daemon.gone) == 2


def test_silent_clients_and_strangers_disturb_nobody(served):
    with served.proxy("gate") as gate, crowd(served, 20):
        assert gate.echo(1) == 1
        with knock(served) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert is_closed(stranger)
        assert gate.echo(2) == 2
        with served.proxy("gate") as other:
            assert other.echo(3) == 3
    await_clients(served.daemon, 0)


def test_shutdown_in_a_call_ends_the_loop_after_its_answer(served, gate):
    class Ender:
        @pyroipc.expose
        def end(self):
            served.daemon.shutdown()
            return "ended"

    served.daemon.register(Ender(), "ender")
    with served.proxy("ender") as ender:
        assert ender.end() == "ended"
        await_end(served)


def test_whoever_calls_a_closed_daemon_is_told(served, gate):
    with served.proxy("gate") as proxy:
        proxy.echo(1)
        held = Worker(proxy.hold, "kept")
        gate.await_entered()
        closing = Worker(served.daemon.close)
        gate.opened.set()
        closing.result()
        assert held.result() == "kept"
        await_end(served)
        with pytest.raises(CommunicationError) as caught:
            proxy.echo(2)
        assert caught.value.call_status in ("not sent", "not started")

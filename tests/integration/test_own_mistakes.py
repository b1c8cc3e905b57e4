"""A mistake of the library itself, made while one client is served, costs this client only.

There is none that is known, so the tests make some: a step of one client's raises what nobody has
thought of.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket

import pytest

from pyroipc import CommunicationError, Daemon, Proxy, expose
from pyroipc.server.listening import Listening
from pyroipc.server.loops.connected import ConnectedLoop
from pyroipc.server.loops.guest import GuestLoop
from pyroipc.server.loops.stream import Stream
from pyroipc.server.loops.visitor import Visitor
from pyroipc.wire.message import ONEWAY, RESPONSE
from tests.support.daemons import settings
from tests.support.hosts import HANDLERS_RUN, Child, Worker
from tests.support.network_hosts import (
    Gate,
    await_clients,
    await_pause,
    both_servers,
    gated,
    is_closed,
    knock,
    raw_client,
)
from tests.support.pyro_frames import PYRO5
from tests.support.pyro_raw import RawPyro
from tests.support.raw import call_frame
from tests.support.waiting import wait_until

ECHO = call_frame(2, "echo", object_id="gate")
NOTE = call_frame(2, "note", 1, object_id="gate", flags=ONEWAY)
LETTERS = call_frame(2, "letters", 16 << 20, object_id="gate")


class Counting(Daemon):
    """Counts the clients that are gone."""

    gone = 0

    def clientDisconnect(self, conn):
        self.gone += 1


def visitor_of(served, sock):
    """Return what serves the client with this socket, as soon as it has come in."""

    def found():
        visitors = served.daemon._listening.loop.visitors
        return [
            visitor
            for visitor in list(visitors.values())
            if visitor.session.channel.sock.getpeername() == sock.getsockname()
        ]

    wait_until(found, "the client has come in")
    return found()[0]


@pytest.fixture
def make_mistakes(monkeypatch):
    """Return what has a method raise, in a class, under a condition."""

    def make(cls, name, condition):
        original = getattr(cls, name)

        def mistaken(self, *args, **options):
            if condition(self):
                raise RuntimeError("on purpose")
            return original(self, *args, **options)

        monkeypatch.setattr(cls, name, mistaken)

    return make


def assert_logged(caplog):
    """See that the mistake is in the log, with its traceback, and return how often."""
    found = [record for record in caplog.records if record.exc_info]
    assert found
    for record in found:
        assert (record.name, record.levelno) == ("pyroipc.server", logging.ERROR)
        assert str(record.exc_info[1]) == "on purpose"
        assert record.exc_info[2] is not None
    return len(found)


@contextlib.contextmanager
def victim_and_others(server, caplog, **items):
    """Serve two clients; in the end one of them is gone, and the other one has noticed nothing."""
    with (
        gated(server, factory=Counting, **items) as (served, gate),
        served.proxy("gate") as other,
        raw_client(served) as victim,
    ):
        assert other.echo(1) == 1
        yield served, gate, victim
        assert is_closed(victim.sock)
        await_clients(served.daemon, 1)
        assert other.echo(2) == 2
        wait_until(lambda: served.daemon.gone == 1, "the daemon has been told that it is gone")
        assert assert_logged(caplog) == 1
        with served.proxy("gate") as new:
            assert new.echo(3) == 3
    assert served.daemon.gone == 3


@both_servers
@pytest.mark.parametrize(
    ("name", "frame"),
    [("execute", ECHO), ("run_oneway", NOTE), ("step", ECHO), ("put", LETTERS)],
    ids=["run", "run oneway", "received", "answered"],
)
def test_while_a_request_is_received_run_and_answered(server, name, frame, make_mistakes, caplog):
    with victim_and_others(server, caplog) as (served, _, victim):
        visitor = visitor_of(served, victim.sock)
        make_mistakes(Visitor, name, lambda one: one is visitor)
        victim.send(frame)


@both_servers
def test_while_the_rest_of_an_answer_is_sent(server, make_mistakes, caplog):
    with victim_and_others(server, caplog) as (served, _, victim):
        visitor = visitor_of(served, victim.sock)
        victim.send(LETTERS)
        wait_until(lambda: visitor.owes_since is not None, "it owes something")
        make_mistakes(Visitor, "flush", lambda one: one is visitor)


def test_while_a_client_that_had_enough_is_read_again(make_mistakes, caplog):
    with victim_and_others("thread", caplog, ONEWAY_QUEUE=1) as (served, gate, victim):
        visitor = visitor_of(served, victim.sock)
        frames = [
            call_frame(number, "hold_oneway", number, object_id="gate", flags=ONEWAY)
            for number in range(2, 9)
        ]
        victim.send(b"".join(frames))
        gate.await_entered()
        await_pause(served.daemon)
        make_mistakes(Visitor, "_resume", lambda one: one is visitor)
        gate.opened.set()


@both_servers
def test_while_it_is_looked_who_is_overdue(server, make_mistakes, caplog):
    with (
        gated(server, HANDSHAKE_TIMEOUT=0.1) as (served, _),
        served.proxy("gate") as other,
        knock(served) as silent,
    ):
        visitor = visitor_of(served, silent)
        make_mistakes(Visitor, "cut_off", lambda one: one is visitor)
        assert is_closed(silent)
        assert other.echo(1) == 1
        assert_logged(caplog)


def test_while_a_client_is_told_that_all_are_busy(make_mistakes, caplog):
    few = {"THREADPOOL_SIZE": 2, "THREADPOOL_SIZE_MIN": 1, "BUSY_TIMEOUT": 0.1}
    with victim_and_others("thread", caplog, **few) as (served, gate, victim):
        visitor = visitor_of(served, victim.sock)
        make_mistakes(Visitor, "refuse", lambda one: one is visitor)
        with raw_client(served) as one, raw_client(served) as two:
            for peer in (one, two):
                peer.send(call_frame(2, "hold", object_id="gate"))
            gate.await_entered(2)
            victim.send(ECHO)
            wait_until(lambda: visitor.has_ended, "its call was refused")
            gate.opened.set()
            for peer in (one, two):
                peer.expect(RESPONSE)
        await_clients(served.daemon, 1)
        served.daemon.gone -= 2


@both_servers
def test_while_another_dialect_is_found_out(server, monkeypatch, caplog):
    def translate(self, visitor, error):
        raise RuntimeError("on purpose")

    monkeypatch.setattr(Listening, "translate", translate)
    with (
        gated(server) as (served, _),
        served.proxy("gate") as other,
        knock(served) as sock,
    ):
        assert other.echo(1) == 1
        stranger = RawPyro(sock, PYRO5)
        stranger.send(stranger.introduction("gate"))
        assert is_closed(sock)
        await_clients(served.daemon, 1)
        assert other.echo(2) == 2
        assert_logged(caplog)


@both_servers
def test_while_a_client_is_told_of_the_first_mistake(server, make_mistakes, caplog):
    with (
        gated(server, factory=Counting) as (served, _),
        served.proxy("gate") as other,
        raw_client(served) as victim,
    ):
        assert other.echo(1) == 1
        visitor = visitor_of(served, victim.sock)
        kind = type(visitor.session)
        make_mistakes(Visitor, "execute", lambda one: one is visitor)
        make_mistakes(kind, "broken", lambda session: session is visitor.session)
        victim.send(ECHO)
        assert is_closed(victim.sock)
        await_clients(served.daemon, 1)
        assert other.echo(2) == 2
        assert assert_logged(caplog) == 2


@both_servers
def test_while_clients_are_told_that_the_daemon_ends(server, make_mistakes, caplog):
    with (
        gated(server, factory=Counting) as (served, _),
        raw_client(served) as victim,
        raw_client(served) as other,
    ):
        for peer in (victim, other):
            peer.send(ECHO)
            peer.expect(RESPONSE)
        visitor = visitor_of(served, victim.sock)
        make_mistakes(Visitor, "dismiss", lambda one: one is visitor)
        served.daemon.shutdown()
        assert is_closed(victim.sock)
        assert is_closed(other.sock)
        assert_logged(caplog)
        wait_until(lambda: served.daemon.gone == 2, "both have been let go")


# ------------------------------------------------------------------------ what is no mistake


@pytest.mark.skipif(not HANDLERS_RUN, reason="this version of CPython forgets handlers")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_still_ends_the_loop(error, make_mistakes):
    """Such as from a handler of a signal, between a method and its answer."""

    def child():
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def end(self, message, *, nested=False):
            raise error

        Visitor.execute = end
        with Daemon(host="127.0.0.1") as daemon:
            client = Worker(knock_and_ask, daemon.locations[0].port)
            try:
                daemon.requestLoop()
            except error:
                client.finish()
                return 7
        return 1

    assert Child(child).wait() == 7


def knock_and_ask(port):
    with Proxy(f"PYRO:Pyro.Daemon@127.0.0.1:{port}") as proxy:
        proxy._pyroTimeout = 5
        with contextlib.suppress(CommunicationError):
            proxy.ping()


# --------------------------------------------------------------------------- the other loops


@expose
class Keeper:
    """Keeps what can be called back."""

    def keep(self, callback):
        self.callback = callback


@expose
class Echo:
    def echo(self, value):
        return value


@both_servers
def test_over_a_connected_socket_the_conversation_ends(server, make_mistakes, caplog):
    near, far = socket.socketpair()
    with near, far, Daemon(connected_socket=far, settings=settings(SERVERTYPE=server)) as daemon:
        daemon.register(Echo(), "echo")
        loop = Worker(daemon.requestLoop)
        with Proxy("echo", connected_socket=near) as proxy:
            assert proxy.echo(1) == 1
            make_mistakes(ConnectedLoop, "execute", lambda _: True)
            with pytest.raises(CommunicationError):
                proxy.echo(2)
        with pytest.raises(RuntimeError, match="on purpose"):
            loop.result()
        assert_logged(caplog)


def test_on_another_thread_of_a_connected_socket(make_mistakes, caplog):
    """Whoever runs the loop is told, and the client does not wait for ever."""
    near, far = socket.socketpair()
    gate = Gate()
    with near, far, Daemon(connected_socket=far) as daemon:
        daemon.register(gate, "gate")
        loop = Worker(daemon.requestLoop)
        with Proxy("gate", connected_socket=near) as proxy:
            assert proxy.echo(1) == 1
            held = Worker(proxy.hold, "kept")
            gate.await_entered()
            make_mistakes(ConnectedLoop, "execute", lambda _: True)
            with pytest.raises(CommunicationError):
                proxy.echo(2)
            gate.opened.set()
            with pytest.raises(CommunicationError):
                held.result()
        with pytest.raises(RuntimeError, match="on purpose"):
            loop.result()
        assert_logged(caplog)


def test_in_a_call_back(make_mistakes, caplog):
    """The connection ends, and the next one is as if nothing had been."""
    keeper, echo = Keeper(), Echo()
    mistakes = [True]
    make_mistakes(GuestLoop, "execute", lambda _: mistakes.pop() if mistakes else False)
    with Daemon() as own, gated() as (served, _):
        own.register(echo)
        served.daemon.register(keeper, "keeper")
        with served.proxy("keeper") as proxy:
            proxy.keep(echo)
            keeper.callback._pyroTimeout = 5
            with pytest.raises(CommunicationError):
                keeper.callback.echo(1)
        with served.proxy("keeper") as proxy:
            proxy.keep(echo)
            assert keeper.callback.echo(2) == 2
        del keeper.callback
    assert assert_logged(caplog) == 1


def test_streams_grow_old_after_a_mistake_with_one(make_mistakes, caplog):
    class Streamer:
        @expose
        def count(self):
            yield from range(1000)

    mistakes = [True]
    make_mistakes(Stream, "expire", lambda _: mistakes.pop() if mistakes else False)
    with gated(ITER_STREAM_LIFETIME=0.2) as (served, _):
        served.daemon.register(Streamer(), "streamer")
        with served.proxy("streamer") as proxy:
            kept = [iter(proxy.count()) for _ in range(2)]
            assert [next(one) for one in kept] == [0, 0]
            made = served.daemon.lingering._made
            streams = list(made.values())
            wait_until(lambda: any(one.closed for one in streams), "one is too old")
            wait_until(lambda: not served.daemon.lingering._aging, "nothing is looked after")
            assert_logged(caplog)
            late = iter(proxy.count())
            assert next(late) == 0
            streams = [one for one in made.values() if one not in streams]
            wait_until(lambda: all(one.closed for one in streams), "they still become too old")
            for one in (*kept, late):
                one.close()

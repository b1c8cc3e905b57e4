"""Oneway calls: nobody waits, nothing comes back, the order stays."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import logging
import socket
import threading
import tracemalloc

import pytest

from pyroipc import Daemon, Proxy, Settings, expose, oneway
from pyroipc.errors import ConnectionClosedError, MessageTooLargeError, SerializeError
from pyroipc.wire.message import BATCH, BLOB, ONEWAY, REQUEST, RESPONSE
from tests.support.hosts import HOSTS, Child, forked, hosted, serve, together
from tests.support.messages import plain
from tests.support.raw import JSON, RawPeer, call_frame
from tests.support.waiting import wait_until

SERIALIZERS = ["pickle", "serpent", "json", "marshal", "msgpack"]
PATIENCE = 10.0


@expose
class Post:
    """Notes what comes in."""

    def __init__(self) -> None:
        self._notes: list[object] = []
        self._gate = threading.Event()
        self._entered = threading.Event()
        self._other: object = None

    @oneway
    def note(self, x: object) -> str:
        self._notes.append(x)
        return "never seen"

    def add(self, x: object) -> str:
        self._notes.append(x)
        return "seen"

    @oneway
    def hold(self, x: object) -> None:
        self._entered.set()
        assert self._gate.wait(PATIENCE), "nobody opened the gate"
        self._notes.append(x)

    def wait_entered(self) -> bool:
        return self._entered.wait(PATIENCE)

    def open(self) -> None:
        self._gate.set()

    @oneway
    def fail(self, text: str) -> None:
        raise ValueError(text)

    @oneway
    def numbers(self) -> object:
        self._notes.append("numbers")
        return iter([1, 2])

    @oneway
    def lock(self) -> object:
        self._notes.append("lock")
        return threading.Lock()

    def count(self) -> int:
        return len(self._notes)

    def notes(self) -> list[object]:
        return self._notes

    def threads(self) -> int:
        return threading.active_count()

    @oneway
    def call_back(self, listener: object, x: object) -> None:
        self._notes.append(listener.hear(x))  # type: ignore[attr-defined]


@pytest.fixture(params=[(where, name) for where in HOSTS for name in SERIALIZERS], ids="-".join)
def post(request):
    where, serializer = request.param
    with HOSTS[where]({"post": Post()}) as (sock, _):
        with Proxy("post", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@pytest.fixture
def near():
    with hosted({"post": Post()}) as (sock, _):
        with Proxy("post", connected_socket=sock) as proxy:
            yield proxy


def noted(proxy, count):
    """Return the notes as soon as there are so many."""
    wait_until(lambda: proxy.count() >= count, f"{count} notes are there")
    return proxy.notes()


def test_order_and_result(post):
    for i in range(2000):
        assert post.note(i) is None
    assert noted(post, 2000) == list(range(2000))


def test_from_the_marks_of_the_class(near):
    near._pyroBind()
    assert near._pyroOneway == {"note", "hold", "fail", "numbers", "lock", "call_back"}


def test_chosen_by_the_caller(post):
    assert post.add(1) == "seen"
    post._pyroOneway.add("add")
    assert post.add(2) is None
    assert noted(post, 2) == [1, 2]
    post._pyroOneway.discard("add")
    assert post.add(3) == "seen"


def test_of_several_threads_each_keeps_its_order(post):
    together(*[lambda k=k: [post.note([k, i]) for i in range(300)] for k in range(4)])
    notes = noted(post, 1200)
    for k in range(4):
        assert [i for who, i in notes if who == k] == list(range(300))


def test_the_caller_does_not_wait(post):
    post.hold(1)
    post.note(2)
    assert post.wait_entered()
    assert post.count() == 0  # a call of this thread overtakes them
    post.open()
    assert noted(post, 2) == [1, 2]


def test_with_one_thread_a_call_comes_after_them():
    settings = Settings(use_environment=False)
    settings.SERVERTYPE = "multiplex"
    with forked({"post": Post()}, settings=settings) as (sock, _):
        with Proxy("post", connected_socket=sock) as proxy:
            for i in range(200):
                proxy.note(i)
                assert proxy.count() == i + 1


def test_results_are_dropped(post):
    post.numbers()
    post.lock()
    assert noted(post, 2) == ["numbers", "lock"]


def test_errors_are_logged_at_the_server_only(near, caplog):
    near.fail("who hears this?")
    near._pyroOneway.add("count")
    near.count("too", "many")
    near._pyroOneway.discard("count")
    near.note(1)
    assert noted(near, 1) == [1]
    wait_until(lambda: len(caplog.records) >= 2, "both were logged")
    assert [record.name for record in caplog.records] == ["pyroipc.server"] * 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "fail raised ValueError('who hears this?')" in caplog.text
    assert "count raised TypeError" in caplog.text


def test_unknown_object_and_member(near, caplog):
    near._pyroBind()
    near._pyroInvoke("nope", (), {}, ONEWAY)
    near._pyroInvoke("note", (), {}, ONEWAY, "nobody")
    near._pyroInvoke("_private", (), {}, ONEWAY)
    near.note(1)
    assert noted(near, 1) == [1]
    wait_until(lambda: len(caplog.records) >= 3, "all were logged")
    assert {record.name for record in caplog.records} == {"pyroipc.server"}


def test_nothing_is_ever_answered(caplog):
    with hosted({"post": Post()}) as (sock, _):
        peer = RawPeer(sock)
        peer.greet()
        for request_id, (member, object_id) in enumerate(
            [("note", "post"), ("nope", "post"), ("note", "nobody"), ("fail", "post")], 10
        ):
            peer.send(call_frame(request_id, member, 1, object_id=object_id, flags=ONEWAY))
        for request_id, (data, serializer, flags) in enumerate(
            [
                (b"}{", JSON, 0),
                (b"", 77, 0),
                (b"x", 16, 0),
                (b"5", JSON, BATCH),
                (b"5", JSON, BLOB),
            ],
            20,
        ):
            peer.send(plain(REQUEST, request_id, data, serializer, ONEWAY | flags))
        peer.send(call_frame(99, "add", 5, object_id="post"))
        answer = peer.expect(RESPONSE)
        assert answer.request_id == 99
        wait_until(lambda: len(caplog.records) >= 8, "all were logged")
        peer.send(call_frame(100, "count", object_id="post"))
        assert peer.expect(RESPONSE).request_id == 100


def test_what_cannot_be_sent(post):
    post._pyroBind()
    with pytest.raises(SerializeError, match="lock") as caught:
        post.note(threading.Lock())
    assert caught.value.call_status == "not sent"


def test_too_large():
    settings = Settings(use_environment=False)
    settings.LOCAL_MAX_MESSAGE_SIZE = 100_000
    with hosted({"post": Post()}, settings=settings) as (sock, _):
        with Proxy("post", connected_socket=sock) as proxy:
            with pytest.raises(MessageTooLargeError) as caught:
                proxy.note("x" * 200_000)
            assert caught.value.call_status == "not sent"
            proxy.note("x" * 50_000)
            assert len(noted(proxy, 1)[0]) == 50_000


def test_large_ones_keep_their_order(post):
    for i in range(40):
        post.note([i, "x" * (100_000 if i % 2 else 1)])
    assert [i for i, _ in noted(post, 40)] == list(range(40))


def test_a_flood_does_not_pile_up():
    """While a oneway call runs, the others wait: so many of them, and then the sender does."""
    settings = Settings(use_environment=False)
    settings.ONEWAY_QUEUE = 50
    post = Post()
    with hosted({"post": post}, settings=settings) as (sock, host):
        with Proxy("post", connected_socket=sock) as proxy:
            proxy.hold(0)
            assert post._entered.wait(PATIENCE)
            sent = 0
            proxy._pyroTimeout = 0.5
            with pytest.raises(TimeoutError):
                while sent < 1_000_000:
                    proxy.note(b"x" * 1000)
                    sent += 1
            loop = host.daemon._service._loop
            # The rest is in the socket, and in the hands of the threads of the loop.
            assert len(loop._lane) + len(loop._inbox) <= 50 + 80 + 1
            assert sent < 5000
            post.open()
            proxy._pyroTimeout = None
            notes = noted(proxy, sent + 1)
            assert notes[0] == 0
            assert len(notes) in (sent + 1, sent + 2)


def test_memory_stays_flat():
    with hosted({"sink": Sink()}) as (sock, _):
        with Proxy("sink", connected_socket=sock) as proxy:
            for _ in range(5000):
                proxy.drop(b"x" * 1000)
            tracemalloc.start()
            try:
                for _ in range(20_000):
                    proxy.drop(b"x" * 1000)
                grown = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert grown < 4 << 20


class Sink:
    @expose
    @oneway
    def drop(self, data):
        pass


def test_calls_back():
    class Listener:
        @expose
        def hear(self, x):
            return x * 2

    with hosted({"post": Post()}) as (sock, _):
        with Proxy("post", connected_socket=sock) as proxy, Daemon(connected_socket=sock) as home:
            listener = Listener()
            home.register(listener)
            for i in range(20):
                proxy.call_back(listener, i)
            assert noted(proxy, 20) == [i * 2 for i in range(20)]


def test_before_a_goodbye_they_are_run(tmp_path):
    """What was sent before the proxy was released is run, in order."""
    path = tmp_path / "notes"

    class Writer:
        @expose
        @oneway
        def write(self, text):
            with path.open("a") as file:
                file.write(text)

    near, far = socket.socketpair()

    def body():
        near.close()
        serve(far, {"writer": Writer()})

    child = Child(body)
    far.close()
    with near, Proxy("writer", connected_socket=near) as proxy:
        for i in range(500):
            proxy.write(f"{i} ")
    assert child.wait() == 0
    assert path.read_text().split() == [str(i) for i in range(500)]


def test_to_a_peer_that_is_gone():
    with forked({"post": Post()}) as (sock, child):
        with Proxy("post", connected_socket=sock) as proxy:
            proxy.note(1)
            child.kill()
            child.wait()
            with pytest.raises(ConnectionClosedError):
                for _ in range(100):
                    proxy.note(2)

"""Batches: many calls in one request."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import copy
import json
import socket
import threading

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, Settings, current_context, expose
from pyroipc.client.batch import BatchProxy, BatchResults, batch
from pyroipc.errors import (
    ConnectionClosedError,
    DaemonError,
    MessageTooLargeError,
    ProtocolError,
    PyroError,
    SerializeError,
    TimeoutError,
)
from pyroipc.wire.message import BATCH, ERROR, REQUEST, RESPONSE
from tests.support.hosts import HOSTS, Worker, hosted
from tests.support.messages import plain
from tests.support.raw import JSON, RawPeer, error_text
from tests.support.things import Thing
from tests.support.waiting import wait_until

SERIALIZERS = ["pickle", "serpent", "json", "marshal", "msgpack"]


@expose
class Notes(Thing):
    """What the tests of batches need besides."""

    instances = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).instances += 1
        self._list: list[int] = []
        self._event = threading.Event()

    def append(self, x: int) -> None:
        self._list.append(x)

    def all(self) -> list[int]:
        return self._list

    def number(self) -> int:
        return type(self).instances

    def numbers(self, n: int):
        try:
            yield from range(n)
        finally:
            self._list.append(-1)

    def fail_in_detail(self) -> None:
        error = ValueError("odd", 7)
        error.extra = [7]  # type: ignore[attr-defined]
        error.add_note("a note")
        raise error

    def lock(self) -> object:
        return threading.Lock()

    def wait_long(self) -> None:
        assert self._event.wait(10)

    def stop_waiting(self) -> None:
        self._event.set()

    def tag(self) -> list[str]:
        return sorted(current_context.annotations)


@pytest.fixture(params=[(where, name) for where in HOSTS for name in SERIALIZERS], ids="-".join)
def notes(request):
    where, serializer = request.param
    with HOSTS[where]({"notes": Notes()}) as (sock, _):
        with Proxy("notes", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@pytest.fixture
def near():
    with hosted({"notes": Notes()}) as (sock, _):
        with Proxy("notes", connected_socket=sock) as proxy:
            yield proxy


def outcome(results):
    """Return the results, and what was raised in the place of one."""
    found = []
    while True:
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except Exception as error:
            found.append(error)


def test_results_in_order(notes):
    calls = batch(notes)
    for i in range(10):
        assert calls.add(i, 10, c=100) is None
    assert len(calls) == 10
    results = calls()
    assert type(results) is BatchResults
    assert len(results) == 10
    assert list(results) == [i + 110 for i in range(10)]
    assert list(results) == []
    with pytest.raises(StopIteration):
        next(results)


def test_values_of_all_kinds(notes):
    values = [None, 1, "ä", b"b", 1.5, (1, (2,)), [1, [2]], {"a": {1}}, {1, 2}, 1 << 90]
    calls = batch(notes)
    for value in values:
        calls.echo(value)
    found = list(calls())
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_empty_and_again(notes):
    calls = batch(notes)
    assert list(calls()) == []
    assert len(calls()) == 0
    for i in range(3):
        calls.add(i)
        assert list(calls()) == [i + 1]
    assert len(calls) == 0


def test_a_result_is_what_it_was_when_the_method_returned(notes):
    calls = batch(notes)
    for i in range(3):
        calls.append(i)
        calls.all()
    assert list(calls()) == [None, [0], None, [0, 1], None, [0, 1, 2]]


def test_an_iterator_goes_on_where_it_stopped(near):
    for member in ("echo", "all_of"):
        calls = batch(near)
        for i in range(5):
            getattr(calls, member)(i)
        results = calls()
        for first in results:
            assert first in (0, [[0], {}])
            break
        assert next(results) in (1, [[1], {}])
        assert len(list(results)) == 3


def test_the_exception_of_a_method_ends_the_batch(notes):
    calls = batch(notes)
    calls.append(1)
    calls.fail_in_detail()
    calls.append(2)
    results = calls()
    assert len(results) == 2
    assert next(results) is None
    with pytest.raises(ValueError, match="odd") as caught:
        next(results)
    assert (caught.value.args, caught.value.extra) == (("odd", 7), [7])
    assert "a note" in caught.value.__notes__
    text = "".join(pyroipc.get_pyro_traceback(None, caught.value, None))
    assert "in fail_in_detail" in text
    assert list(results) == []
    assert notes.all() == [1]


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "StopIteration"])
def test_exceptions_that_end_other_things(near, kind):
    calls = batch(near)
    calls.add(1)
    calls.fail(kind)
    calls.add(2)
    results = calls()
    assert next(results) == 2
    with pytest.raises(BaseException) as caught:
        next(results)
    assert type(caught.value).__name__ in (kind, "RuntimeError")
    assert near.add(1) == 2


def test_what_is_not_there_spoils_only_its_own_place(notes):
    calls = batch(notes)
    calls.add(1)
    calls.nope()
    calls._private()
    calls.limit()
    calls.add(2)
    calls.nope()
    found = outcome(calls())
    assert [found[0], found[4]] == [2, 3]
    for place in (1, 2, 3, 5):
        assert type(found[place]) is AttributeError
    assert "'nope' is missing or not exposed" in str(found[1])
    assert len(found) == 6


def test_what_cannot_be_sent_spoils_only_its_own_place(notes):
    calls = batch(notes)
    calls.add(1)
    calls.lock()
    calls.numbers(3)
    calls.add(2)
    found = outcome(calls())
    assert [found[0], found[3]] == [2, 3]
    assert type(found[1]) is type(found[2]) is SerializeError
    assert "lock" in str(found[1])
    assert "numbers returns an iterator, and a batch cannot carry one" in str(found[2])


def test_attributes(notes):
    calls = batch(notes)
    assert calls.value is None
    calls.value = [1]
    calls.value  # noqa: B018
    calls.constant  # noqa: B018
    assert len(calls) == 4
    assert list(calls()) == [0, None, [1], 42]
    assert notes.value == [1]


def test_attributes_that_are_not_there(notes):
    calls = batch(notes)
    calls.nope = 1
    calls.constant = 1
    calls._private = 1
    calls.add(1)
    found = outcome(calls())
    assert [type(each) for each in found] == [AttributeError] * 3 + [int]
    assert "read-only" in str(found[1])


def test_an_attribute_that_raises_ends_the_batch(notes):
    calls = batch(notes)
    calls.broken  # noqa: B018
    calls.add(1)
    found = outcome(calls())
    assert [type(each) for each in found] == [ValueError]


def test_settings_of_the_proxy_are_none_of_a_batch(near):
    calls = batch(near)
    with pytest.raises(AttributeError, match="a setting of the proxy"):
        calls._pyroTimeout = 5
    with pytest.raises(AttributeError):
        _ = calls._pyroTimeout
    assert len(calls) == 0


def test_oneway(notes):
    calls = batch(notes)
    for i in range(100):
        calls.append(i)
    assert calls(oneway=True) is None
    assert len(calls) == 0
    wait_until(lambda: notes.all() == list(range(100)), "the oneway batch has run")


def test_exceptions_in_a_oneway_batch_are_logged(near, caplog):
    calls = batch(near)
    calls.append(1)
    calls.lock()
    calls.nope()
    calls.fail("ValueError", "not to be missed")
    calls.append(2)
    assert calls(oneway=True) is None
    wait_until(lambda: "not to be missed" in caplog.text, "it was logged")
    assert "nope raised" in caplog.text
    assert {record.name for record in caplog.records} == {"pyroipc.server"}
    assert near.all() == [1]


def test_the_error_handler_of_the_daemon_hears_of_them():
    heard = []

    class Hearing(Daemon):
        def methodcall_error_handler(self, client, name, args, kwargs, error):
            heard.append((name, tuple(args), kwargs, type(error)))

    near, far = socket.socketpair()
    with near, far, Hearing(connected_socket=far) as daemon:
        daemon.register(Notes(), "notes")
        loop = Worker(daemon.requestLoop)
        with Proxy("notes", connected_socket=near) as proxy:
            calls = batch(proxy)
            calls.nope(1)
            calls.fail("KeyError", 5)
            calls()
        daemon.shutdown()
        loop.result()
    assert heard == [("nope", (1,), {}, AttributeError), ("fail", ("KeyError", 5), {}, KeyError)]


def test_both_arguments_make_no_sense(near):
    calls = batch(near)
    calls.add(1)
    with pytest.raises(PyroError, match="async oneway calls make no sense"):
        calls(oneway=True, asynchronous=True)
    assert list(calls()) == [2]


def test_asynchronous(near):
    calls = batch(near)
    calls.add(1)
    calls.add(2)
    assert list(calls(asynchronous=True).value) == [2, 3]


def test_a_hundred_thousand_calls(notes):
    calls = batch(notes)
    add = calls.add
    for i in range(100_000):
        add(i)
    assert list(calls()) == list(range(1, 100_001))


@pytest.mark.parametrize("mode", ["single", "session", "percall"])
def test_one_instance_for_the_batch(mode):
    cls = type("Counted", (Notes,), {"instances": 0})
    cls = pyroipc.behavior(mode)(cls)
    with hosted({"notes": cls}) as (sock, _):
        with Proxy("notes", connected_socket=sock) as proxy:
            calls = batch(proxy)
            for i in range(5):
                calls.append(i)
            calls.all()
            calls.number()
            assert list(calls())[-2:] == [[0, 1, 2, 3, 4], 1]


def test_over_the_limit():
    settings = Settings(use_environment=False)
    settings.LOCAL_MAX_MESSAGE_SIZE = 10_000
    with hosted({"notes": Notes()}, settings=settings) as (sock, _):
        with Proxy("notes", connected_socket=sock) as proxy:
            calls = batch(proxy)
            for i in range(20):
                calls.size(str(i) * 1000)
            with pytest.raises(MessageTooLargeError, match="LOCAL_MAX_MESSAGE_SIZE") as caught:
                calls()
            assert caught.value.call_status == "not sent"
            assert len(calls) == 20
            # The results can be too large as well.
            calls = batch(proxy)
            for _ in range(20):
                calls.blob(1000)
            with pytest.raises(MessageTooLargeError):
                calls()
            assert proxy.add(1) == 2


def test_an_argument_that_cannot_be_sent(notes):
    calls = batch(notes)
    calls.append(1)
    calls.echo(threading.Lock())
    with pytest.raises(SerializeError, match="lock") as caught:
        calls()
    assert caught.value.call_status == "not sent"
    assert len(calls) == 2
    assert notes.all() == []


def test_unknown_object(near):
    with Proxy("nobody", connected_socket=near._pyro_socket) as nobody:
        with pytest.raises(DaemonError, match="nobody"):
            batch(nobody).add(1)


def test_a_deadline(near):
    near._pyroTimeout = 5.0
    calls = batch(near)
    calls.add(1)
    assert list(calls()) == [2]
    near._pyroTimeout = 0.05
    calls.wait_long()
    with pytest.raises(TimeoutError):
        calls()
    assert len(calls) == 0
    near._pyroTimeout = None
    near.stop_waiting()


def test_without_a_connection():
    with hosted({"notes": Notes()}) as (sock, _):
        proxy = Proxy("notes", connected_socket=sock)
        calls = batch(proxy)
        calls.add(1)
    with pytest.raises(ConnectionClosedError):
        calls()
    proxy._pyroRelease()


def test_copies_and_contexts(near):
    with batch(near) as calls:
        calls.add(1)
        twin = copy.copy(calls)
        twin.add(2)
        assert (len(calls), len(twin)) == (1, 2)
    assert bool(BatchProxy(near)) is True
    assert "batch of 1 calls" in repr(calls)
    results = calls()
    assert "results of 1 calls, 0 of them failed" in repr(results)
    assert list(results) == [2]
    assert list(twin()) == [2, 3]
    assert type(near._pyroBatch()) is BatchProxy


def test_annotations_go_along(near):
    class Tagging(Proxy):
        def _pyroAnnotations(self):
            return {"TRAC": b"x"}

    with Tagging("notes", connected_socket=near._pyro_socket) as proxy:
        calls = batch(proxy)
        calls.tag()
        calls.tag()
        assert list(calls()) == [["TRAC"], ["TRAC"]]


def test_references():
    """A registered object that is an argument or a result of a call in a batch."""
    with hosted({"notes": Notes()}) as (sock, _):
        with Proxy("notes", connected_socket=sock) as proxy, Daemon(connected_socket=sock) as home:
            own = Thing()
            home.register(own)
            calls = batch(proxy)
            calls.echo(own)
            calls.echo([own])
            calls.echo(proxy)
            found = list(calls())
            assert found[0] is own
            assert found[1] == [own]
            assert found[2] == proxy
            wait_until(lambda: not proxy._pyroConnection.references.exports, "all was released")


@pytest.mark.parametrize(
    "calls",
    [5, "x", {"a": 1}, [5], [[]], [["add"]], [["add", 5, None]], [[5, [], None]], [[[], [], {}]],
     [["add", [1], 7]], [["__getattr__", [], None]], [["__setattr__", ["value"], None]], None],
)  # fmt: skip
def test_what_is_no_batch(calls):
    with hosted({"notes": Notes()}) as (sock, _):
        peer = RawPeer(sock)
        peer.greet()
        call = {"object": "notes", "method": "<batch>", "params": calls, "kwargs": None}
        peer.send(plain(REQUEST, 2, json.dumps(call).encode(), JSON, BATCH))
        answer = peer.expect(RESPONSE)
        if answer.flags & ERROR:
            assert error_text(answer)
        else:  # an exception in its place
            assert b"Error" in bytes(answer.payload) or b"[]" in bytes(answer.payload)
        peer.send(plain(REQUEST, 3, json.dumps({**call, "method": "x"}).encode(), JSON, BATCH))
        assert peer.expect(RESPONSE).flags & ERROR


def test_an_answer_that_makes_no_sense(near):
    from pyroipc.client.batch import read_batch
    from pyroipc.wire.message import Message

    near._pyroBind()
    session = near._pyro_connected()
    codec = near._pyro_codec(session)
    for value in (5, [], [1, 2, 3], [[], []], [[], [[1]], []], [[], [], [["x", b""]]]):
        message = Message(RESPONSE, codec.serializer_id, BATCH, 1, codec.dumps(value))
        with pytest.raises((SerializeError, ProtocolError)):
            read_batch(near, session, codec, message)

"""Blobs: arguments that dispatchers hand on without opening them."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import copy
import os
import threading
from typing import Any

import pytest

from pyroipc import Daemon, Proxy, SerializedBlob, Settings, current_context, expose, oneway
from pyroipc.client.batch import batch
from pyroipc.errors import MessageTooLargeError, PyroError, SerializeError
from pyroipc.serializers import table
from pyroipc.wire.message import BLOB, ERROR, REQUEST, RESPONSE, FullMessage
from pyroipc.wire.native import encode
from tests.support.hosts import HOSTS, forked, hosted
from tests.support.messages import plain
from tests.support.raw import JSON, RawPeer, error_text
from tests.support.things import Thing
from tests.support.waiting import wait_until

SERIALIZERS = ["pickle", "serpent", "json", "marshal", "msgpack"]


class Poison:
    """What must not be opened by the wrong process: it says which one did."""

    def __reduce__(self):
        return (_spring, ())


def _spring() -> int:
    return os.getpid()


@expose
class Worker:
    """Opens blobs."""

    def __init__(self) -> None:
        self._notes: list[Any] = []

    def work(self, blob: SerializedBlob) -> list[Any]:
        assert type(blob) is SerializedBlob
        return [blob.info, blob.deserialized(), sorted(current_context.annotations)]

    def twice(self, blob: SerializedBlob) -> bool:
        return blob.deserialized() == blob.deserialized()

    def pid(self) -> int:
        return os.getpid()

    def letters(self, blob: SerializedBlob) -> Any:
        return iter(blob.deserialized())

    def refuse(self, blob: SerializedBlob) -> None:
        raise ValueError(blob.info)

    @oneway
    def note(self, blob: SerializedBlob) -> None:
        self._notes.append(blob.deserialized())

    def notes(self) -> list[Any]:
        return self._notes

    def plain(self, *args: Any, **kwargs: Any) -> str:
        return repr((args, kwargs))

    def give(self) -> Any:
        return SerializedBlob("info", "data")


class Dispatcher:
    """Hands on blobs to a worker; looks at nothing but the info."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.infos: list[Any] = []
        self.sizes: list[int] = []
        self._last: SerializedBlob | None = None

    def _look(self, blob: SerializedBlob) -> None:
        self.infos.append(blob.info)
        self.sizes.append(len(blob.payload))

    @expose
    def work(self, blob: SerializedBlob) -> Any:
        self._look(blob)
        return self._worker.work(blob)

    @expose
    def letters(self, blob: SerializedBlob) -> Any:
        return self._worker.letters(blob)

    @expose
    @oneway
    def note(self, blob: SerializedBlob) -> None:
        self._look(blob)
        self._worker.note(blob)

    @expose
    def repack(self, blob: SerializedBlob) -> Any:
        blob.info = ["repacked", blob.info]
        return self._worker.work(blob)


def proxy_of(name, sock):
    return Proxy(name, connected_socket=sock)


VALUES = [None, 5, "ä", b"bytes", [1, [2]], {"a": {1, 2}}, (1, 2), 1 << 100, "x" * 100_000]


@pytest.fixture(params=[(where, name) for where in HOSTS for name in SERIALIZERS], ids="-".join)
def worker(request):
    """A proxy for a worker: no dispatcher in between."""
    where, serializer = request.param
    with HOSTS[where]({"worker": Worker()}) as (sock, _):
        with Proxy("worker", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@pytest.fixture(params=[(a, b) for a in SERIALIZERS for b in ("pickle", "json")], ids="-".join)
def chain(request):
    """A proxy for a dispatcher in a thread, whose worker is a child; the dispatcher itself."""
    caller, dispatcher = request.param
    with forked({"worker": Worker()}) as (far, _):
        with Proxy("worker", connected_socket=far) as upstream:
            upstream._pyroSerializer = dispatcher
            middle = Dispatcher(upstream)
            with hosted({"dispatcher": middle}) as (sock, _):
                with Proxy("dispatcher", connected_socket=sock) as proxy:
                    proxy._pyroSerializer = caller
                    yield proxy, middle


def test_straight_to_the_worker(worker):
    for value in VALUES:
        info, data, annotations = worker.work(SerializedBlob(["info", 1], value))
        assert (info, data, annotations) == (["info", 1], value, [])
        assert type(data) is type(value)
    assert worker.twice(SerializedBlob(None, [1, 2]))


def test_through_a_dispatcher(chain):
    proxy, middle = chain
    for i, value in enumerate(VALUES):
        assert proxy.work(SerializedBlob({"to": i}, value)) == [{"to": i}, value, []]
    assert middle.infos == [{"to": i} for i in range(len(VALUES))]
    assert middle.sizes[-1] > 99_000
    assert proxy.repack(SerializedBlob("x", 5)) == [["repacked", "x"], 5, []]


def test_oneway_through_a_dispatcher(chain):
    proxy, middle = chain
    for i in range(20):
        assert proxy.note(SerializedBlob(i, [i])) is None
    wait_until(lambda: len(middle._worker.notes()) == 20, "all came")
    assert middle._worker.notes() == [[i] for i in range(20)]
    assert middle.infos == list(range(20))


def test_a_stream_for_a_blob(chain):
    proxy, _ = chain
    assert list(proxy.letters(SerializedBlob(None, "abc"))) == ["a", "b", "c"]


def test_the_dispatcher_does_not_open_it():
    with forked({"worker": Worker()}) as (far, _), proxy_of("worker", far) as upstream:
        with hosted({"dispatcher": Dispatcher(upstream)}) as (sock, _):
            with Proxy("dispatcher", connected_socket=sock) as proxy:
                proxy._pyroSerializer = "pickle"
                opened_by = proxy.work(SerializedBlob("", [Poison()]))[1]
                assert opened_by == [upstream.pid()]
                assert opened_by != [os.getpid()]


def test_a_class_that_the_dispatcher_does_not_have():
    """Only caller and worker know it; by value, for a stranger may open it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("class Odd:\n    def __init__(self): self.x = 5\n", names)
    with hosted({"worker": Worker()}) as (sock, _):
        with Proxy("worker", connected_socket=sock) as proxy:
            proxy._pyroSerializer = "pickle"
            odd = names["Odd"]()
            assert proxy.work(SerializedBlob("", odd))[1].x == 5


def test_nonsense_goes_through_a_dispatcher_and_fails_at_the_worker():
    with hosted({"worker": Worker()}) as (far, _), proxy_of("worker", far) as upstream:
        with hosted({"dispatcher": Dispatcher(upstream)}) as (sock, _):
            peer = RawPeer(sock)
            peer.greet()
            json = table.get("json")
            what = json.dumps(["info", "dispatcher", "work"])
            message = FullMessage(REQUEST, JSON, BLOB, 2, b"}{", annotations={"BLBI": what})
            peer.send(b"".join(encode(message)))
            answer = peer.expect(RESPONSE)
            assert "SerializeError" in error_text(answer)


@pytest.mark.parametrize("call", [
    lambda p, b: p.plain(b, 1), lambda p, b: p.plain(1, b), lambda p, b: p.plain(b, b),
    lambda p, b: p.plain(blob=b), lambda p, b: p.plain(b, x=1), lambda p, b: p.plain([b]),
    lambda p, b: p.plain({"a": (b,)}), lambda p, b: p.plain(SerializedBlob("", b)),
    lambda p, b: p.plain(SerializedBlob("", [b])), lambda p, b: p.plain(SerializedBlob(b, 1)),
])  # fmt: skip
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_only_alone(call, serializer):
    with hosted({"worker": Worker()}) as (sock, _):
        with Proxy("worker", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            text = "if SerializedBlob is used, it must be the only argument"
            with pytest.raises(SerializeError, match=text) as caught:
                call(proxy, SerializedBlob("info", "data"))
            assert caught.value.call_status == "not sent"
            assert proxy.plain() == "((), {})"


def test_not_in_results_and_batches(worker):
    with pytest.raises(SerializeError):
        worker.give()
    calls = batch(worker)
    calls.work(SerializedBlob("", 1))
    with pytest.raises(SerializeError, match="only argument"):
        calls()
    assert worker.notes() == []


def test_errors(worker):
    with pytest.raises(ValueError, match="why"):
        worker.refuse(SerializedBlob("why", None))
    with pytest.raises(AttributeError, match="nope"):
        worker._pyroInvoke("nope", (SerializedBlob("", 1),), {})
    with pytest.raises(SerializeError, match="lock") as caught:
        worker.work(SerializedBlob("", threading.Lock()))
    assert caught.value.call_status == "not sent"
    with pytest.raises(SerializeError, match="lock"):
        worker.work(SerializedBlob(threading.Lock(), ""))


def test_too_large():
    settings = Settings(use_environment=False)
    settings.LOCAL_MAX_MESSAGE_SIZE = 10_000
    with hosted({"worker": Worker()}, settings=settings) as (sock, _):
        with Proxy("worker", connected_socket=sock) as proxy:
            with pytest.raises(MessageTooLargeError):
                proxy.work(SerializedBlob("", "x" * 20_000))


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_references_do_not_travel_in_blobs(serializer):
    """Whoever opens it has another connection, on which the same id may mean another object."""
    with hosted({"worker": Worker()}) as (sock, _):
        with (
            Proxy("worker", connected_socket=sock) as proxy,
            Daemon(connected_socket=sock) as home,
        ):
            proxy._pyroSerializer = serializer
            thing = Thing()
            home.register(thing, "worker")
            try:
                found = proxy.work(SerializedBlob("", [thing]))[1]
            except PyroError:
                found = []
            assert not any(isinstance(each, Worker) or each is thing for each in found)


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_proxy_in_a_blob_is_never_another_object(serializer):
    with hosted({"worker": Worker()}) as (far, _), proxy_of("worker", far) as upstream:
        with hosted({"worker": Dispatcher(upstream)}) as (sock, _):
            with Proxy("worker", connected_socket=sock) as proxy:
                proxy._pyroSerializer = serializer
                with pytest.raises((PyroError, AssertionError)):
                    # At the worker "worker" is the worker; here it is the dispatcher.
                    found = proxy.work(SerializedBlob("", [proxy]))[1]
                    assert not isinstance(found[0], Worker | Dispatcher)
                    assert found == [proxy]
                    raise AssertionError  # with pickle, in one process: the very proxy


def test_deserialized_on_both_sides():
    blob = SerializedBlob("info", [1, 2])
    assert blob.deserialized() == [1, 2]
    assert blob.data == [1, 2]
    assert (blob.payload, blob.serializer) == (None, None)
    assert repr(blob) == "<SerializedBlob 'info': list>"
    received = SerializedBlob("info", b"[1, 2]", is_blob=True)
    assert received.data is None
    assert repr(received) == "<SerializedBlob 'info': 6 bytes>"
    with pytest.raises(SerializeError, match="does not know how it was serialized"):
        received.deserialized()
    received.bind(table.get("json"))
    assert received.deserialized() == [1, 2]
    with pytest.raises(SerializeError):
        copy.copy(blob)


@pytest.mark.parametrize(
    "annotation", [None, b"", b"}{", b"5", b"[1, 2]", b'["i", 5, "w"]', b"[]"]
)
def test_without_saying_for_whom(annotation):
    with hosted({"worker": Worker()}) as (sock, _):
        peer = RawPeer(sock)
        peer.greet()
        annotations = None if annotation is None else {"BLBI": annotation}
        message = FullMessage(REQUEST, JSON, BLOB, 2, b"5", annotations=annotations)
        peer.send(b"".join(encode(message)))
        assert peer.expect(RESPONSE).flags & ERROR
        peer.send(plain(REQUEST, 3, b"{}", JSON))
        assert peer.expect(RESPONSE).request_id == 3

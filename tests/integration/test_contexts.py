"""current_context: what a call carries, and that nothing of it is left for the next one."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import contextlib
import socket
import uuid
from array import array

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, current_context, expose
from pyroipc.errors import ProtocolError, PyroError
from tests.support.both_ends import SERIALIZERS, Far, context_now, linked
from tests.support.hosts import HOSTS, Worker, hosted, together

RESERVED = ("CORR", "HMAC", "STRM", "BLBI")
ID = uuid.UUID(int=7)


@expose
class Teller:
    def tell(self):
        return [
            str(current_context.correlation_id),
            sorted((k, bytes(v).decode()) for k, v in current_context.annotations.items()),
            sorted(current_context.response_annotations),
        ]

    def answer(self, key, value, error=""):
        current_context.response_annotations = {key: value.encode()}
        if error:
            raise ValueError(error)
        return value

    def items(self, n):
        current_context.response_annotations = {"ITEM": b"i"}
        for _ in range(n):
            yield self.tell()

    @pyroipc.oneway
    def oneway(self, near):
        near.note(self.tell())


@pytest.fixture(autouse=True)
def clean():
    current_context.from_global(None)
    yield
    current_context.from_global(None)


@contextlib.contextmanager
def teller(kind="thread", serializer="json", thing=None, **options):
    with HOSTS[kind]({"teller": thing or Teller()}, **options) as (near, _):
        with Proxy("teller", connected_socket=near) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


def answered():
    return {key: bytes(value) for key, value in current_context.response_annotations.items()}


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("kind", HOSTS)
def test_there_and_back(kind, serializer):
    with teller(kind, serializer) as proxy:
        assert proxy.tell() == ["None", [], []]
        current_context.annotations = {"AAAA": b"a", "BBBB": b"b"}
        current_context.correlation_id = ID
        expected = [str(ID), [["AAAA", "a"], ["BBBB", "b"]], []]
        found = proxy.tell()
        assert [found[0], [list(pair) for pair in found[1]], found[2]] == expected
        assert proxy.answer("RESP", "r") == "r"
        assert answered() == {"RESP": b"r"}
        current_context.annotations = {}
        current_context.correlation_id = None
        assert proxy.tell() == ["None", [], []]
        assert answered() == {}


def test_errors_carry_them_too_and_leave_nothing_behind():
    with teller() as proxy:
        with pytest.raises(ValueError, match="no"):
            proxy.answer("FAIL", "f", "no")
        assert answered() == {"FAIL": b"f"}
        assert proxy.tell()[2] == []
        assert answered() == {}


def test_the_next_client_finds_nothing():
    with hosted({"teller": Teller()}) as (near, _):
        with Proxy("teller", connected_socket=near) as proxy:
            current_context.annotations = {"SECR": b"s"}
            current_context.correlation_id = ID
            proxy.answer("SECR", "s")
        current_context.from_global(None)
        with Proxy("teller", connected_socket=near) as proxy:
            assert proxy.tell() == ["None", [], []]


def test_threads_have_their_own():
    with teller() as proxy:

        def work(number):
            def run():
                current_context.correlation_id = uuid.UUID(int=number)
                current_context.annotations = {"NUMB": str(number).encode()}
                return [proxy.tell() for _ in range(50)]

            return run

        numbers = range(1, 6)
        for number, told in zip(numbers, together(*map(work, numbers)), strict=True):
            assert told == [[str(uuid.UUID(int=number)), [["NUMB", str(number)]], []]] * 50 or (
                told == [[str(uuid.UUID(int=number)), [("NUMB", str(number))], []]] * 50
            )


def test_another_thread_may_take_it_over():
    with teller() as proxy:
        current_context.correlation_id = ID
        given = current_context.to_global()

        def work():
            assert current_context.correlation_id is None
            current_context.from_global(given)
            return proxy.tell()[0]

        assert together(work) == [str(ID)]


@pytest.mark.parametrize("key", RESERVED)
@pytest.mark.parametrize("kind", HOSTS)
def test_reserved_ids_are_refused_at_both_ends(kind, key):
    with teller(kind) as proxy:
        proxy._pyroBind()
        current_context.annotations = {key: b"x"}
        with pytest.raises(ProtocolError, match="reserved") as caught:
            proxy.tell()
        assert caught.value.call_status == "not sent"
        current_context.annotations = {}
        assert proxy.tell()[1] == []
        with pytest.raises(ProtocolError, match="reserved"):
            proxy.answer(key, "x")
        assert proxy.tell() == ["None", [], []]


@pytest.mark.parametrize("key", ["ABC", "ABCDE", "ÄBCD", ""])
def test_wrong_ids_are_refused_at_both_ends(key):
    with teller() as proxy:
        proxy._pyroBind()
        current_context.annotations = {key: b"x"}
        with pytest.raises(ProtocolError):
            proxy.tell()
        current_context.annotations = {}
        with pytest.raises(ProtocolError):
            proxy.answer(key, "x")
        assert proxy.tell() == ["None", [], []]


@expose
class Annotating:
    def answer(self, kind):
        current_context.response_annotations = WRONG[kind] if kind in WRONG else ODD[kind][0]
        return "fine"


ODD = {
    "gaps": ({"RESP": memoryview(b"abcdef")[::2]}, b"ace"),
    "large, with gaps": ({"RESP": memoryview(bytes(200_000))[::2]}, bytes(100_000)),
    "numbers": ({"RESP": array("i", [1, 2])}, array("i", [1, 2]).tobytes()),
    "nothing": ({"RESP": memoryview(array("i"))}, b""),
    "view": ({"RESP": memoryview(bytearray(b"x"))}, b"x"),
}
WRONG = {"text": {"RESP": "text"}, "number": {"RESP": 5}, "key": {5: b"x"}, "none": None}


@pytest.mark.parametrize("kind", ODD)
def test_annotations_are_buffers_of_any_shape(kind):
    given, expected = ODD[kind]
    with teller(thing=Annotating()) as proxy:
        assert proxy.answer(kind) == "fine"
        assert answered() == {"RESP": expected}
        current_context.annotations = given
        assert proxy.answer(kind) == "fine"


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_annotations_of_a_method_harm_nobody(kind):
    with teller(thing=Annotating()) as proxy:
        with pytest.raises(PyroError):
            proxy.answer(kind)
        assert proxy.answer("view") == "fine"
        if kind != "none":
            current_context.annotations = WRONG[kind]
            with pytest.raises(ProtocolError) as caught:
                proxy.answer("view")
            assert caught.value.call_status == "not sent"


def test_a_hook_for_annotations_that_fails_harms_nobody():
    class Failing(Daemon):
        fails = True

        def annotations(self):
            if self.fails:
                raise LookupError("no annotations today")
            return {}

    near, far = socket.socketpair()
    with near, far:
        daemon = Failing(connected_socket=far)
        daemon.register(Teller(), "teller")
        loop = Worker(daemon.requestLoop)
        with Proxy("teller", connected_socket=near) as proxy:
            with pytest.raises(PyroError, match="no annotations today"):
                proxy.tell()
            daemon.fails = False
            assert proxy.tell()[1] == []
        daemon.close()
        loop.finish()


def test_a_correlation_id_is_a_uuid():
    with pytest.raises(TypeError, match=r"uuid\.UUID"):
        current_context.correlation_id = "7"


def test_the_hooks_of_proxy_and_daemon():
    received = []

    class Hooked(Proxy):
        def _pyroAnnotations(self):
            return {"PROX": b"p"}

        def _pyroResponseAnnotations(self, annotations, msgtype):
            received.append({key: bytes(value) for key, value in annotations.items()})

    class HookedDaemon(Daemon):
        def annotations(self):
            return {"DAEM": b"d"}

    near, far = socket.socketpair()
    with near, far:
        daemon = HookedDaemon(connected_socket=far)
        daemon.register(Teller(), "teller")
        loop = Worker(daemon.requestLoop)
        proxy = Hooked("teller", connected_socket=near)
        proxy._pyroSerializer = "json"
        proxy._pyroBind()
        received.clear()
        current_context.annotations = {"MINE": b"m"}
        assert [pair[0] for pair in proxy.tell()[1]] == ["MINE", "PROX"]
        assert received == [{"DAEM": b"d"}]
        proxy.answer("RESP", "r")
        assert received[1] == {"DAEM": b"d", "RESP": b"r"}
        with pytest.raises(ValueError):
            proxy.answer("RESP", "r", "no")
        assert received[2] == {"DAEM": b"d", "RESP": b"r"}
        daemon.close()
        loop.result()


def test_batches_carry_them():
    with teller() as proxy:
        current_context.annotations = {"BTCH": b"b"}
        current_context.correlation_id = ID
        batch = pyroipc.BatchProxy(proxy)
        batch.tell()
        batch.tell()
        for told in batch():
            assert told[0] == str(ID)
            assert [pair[0] for pair in told[1]] == ["BTCH"]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_nested_calls_inherit_the_correlation_id_and_nothing_else(serializer):
    with linked("fork", serializer) as link:
        near = link.near()
        link.proxy.keep(near)
        current_context.annotations = {"MINE": b"m"}
        current_context.correlation_id = ID
        assert list(link.proxy.call("context")) == [str(ID), [], True]
        assert list(link.proxy.context()) == [str(ID), ["MINE"], True]
        assert context_now() == [str(ID), ["MINE"], False]  # the callback left nothing here


def test_nested_calls_over_other_connections_inherit_it_too():
    @expose
    class Between:
        def __init__(self, proxy):
            self._proxy = proxy

        def ask(self):
            return self._proxy.context()

    with linked("fork", "json") as behind:
        with hosted({"between": Between(behind.proxy)}) as (near, _):
            with Proxy("between", connected_socket=near) as proxy:
                proxy._pyroSerializer = "json"
                current_context.correlation_id = ID
                current_context.annotations = {"MINE": b"m"}
                assert proxy.ask() == [str(ID), [], True]


def test_fields_of_a_call():
    @expose
    class Asked:
        def fields(self):
            context = current_context
            return [
                context.client is not None,
                context.client_sock_addr,
                context.seq > 0,
                context.msg_flags,
                context.serializer_id > 0,
                context.daemon is not None,
            ]

    with hosted({"asked": Asked()}) as (near, _):
        with Proxy("asked", connected_socket=near) as proxy:
            assert proxy.fields() == [True, "", True, 0, True, True]
    context = current_context
    assert (context.client, context.client_sock_addr, context.seq) == (None, None, 0)
    assert (context.msg_flags, context.serializer_id, context.daemon) == (0, 0, None)


def test_resources_outside_of_a_call():
    with pytest.raises(pyroipc.PyroError, match="no remote call is running"):
        current_context.track_resource(Far())

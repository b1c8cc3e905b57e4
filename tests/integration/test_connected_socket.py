"""Calls over a connected socket: between threads and between processes, with each serializer."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import inspect
import io
import os
import pydoc
import traceback
import uuid

import pytest

import pyroipc
from pyroipc import Proxy, current_context
from pyroipc.context import running
from tests.support.hosts import HOSTS, PAIRS, ThreadHost, Worker, hosted, together
from tests.support.things import Gate, Strange, Thing

DATA = ["serpent", "json", "msgpack"]
CODE = ["pickle", "marshal", "cloudpickle"]
WAYS = [
    *[("unix", where, name) for where in ("thread", "fork") for name in (*DATA, *CODE)],
    *[("tcp", where, name) for where in ("thread", "fork") for name in DATA],
]


@pytest.fixture(autouse=True)
def fresh_context():
    token = running.set(None)
    yield
    running.reset(token)


@pytest.fixture(params=WAYS, ids="-".join)
def thing(request):
    """A proxy for a Thing, over every way."""
    pair, where, serializer = request.param
    with HOSTS[where]({"thing": Thing()}, pair=PAIRS[pair]) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            proxy._pyroSerializer = serializer
            yield proxy


@pytest.fixture
def near():
    """A proxy for a Thing in another thread."""
    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        yield proxy


def test_calls(thing):
    assert thing.echo(42) == 42
    assert thing.echo("ä\n\x00") == "ä\n\x00"
    assert thing.echo([1, {"a": [None, True, 1.5]}]) == [1, {"a": [None, True, 1.5]}]
    assert thing.nothing() is None
    assert thing.add(1) == 2
    assert thing.add(1, 2, c=3) == 6
    assert thing.all_of(1, "b", k=2) == [[1, "b"], {"k": 2}]
    assert thing.twice("ab") == "abab"
    assert thing.name() == "Thing"
    assert thing.__len__() == 3


def test_attributes(thing):
    assert thing.value == 0
    thing.value = [1, "two"]
    assert thing.value == [1, "two"]
    assert thing.constant == 42
    with pytest.raises(AttributeError, match=r"'constant' is read-only"):
        thing.constant = 1
    with pytest.raises(ValueError, match="this property is broken"):
        _ = thing.broken
    assert thing.constant == 42


def test_oneway_calls_keep_their_order(thing):
    for i in range(300):
        assert thing.note(i) is None
    assert list(thing.notes()) == list(range(300))


def test_sizes(thing):
    for size in (0, 1, 16 << 10, (16 << 10) + 1, 65536 - 36, 65536, 65537, 1 << 20):
        assert thing.size("a" * size) == size
        assert len(thing.blob(size)) == size


def test_large_both_ways(thing):
    data = "x" * (3 << 20)
    assert thing.echo(data) == data


@pytest.mark.parametrize(
    ("kind", "args"), [("ValueError", ["a", 1]), ("KeyError", ["k"]), ("ZeroDivisionError", [])]
)
def test_exceptions_arrive_as_themselves(thing, kind, args):
    cls = {"ValueError": ValueError, "KeyError": KeyError}.get(kind, ZeroDivisionError)
    with pytest.raises(cls) as caught:
        thing.fail(kind, *args)
    assert type(caught.value) is cls
    assert list(caught.value.args) == args
    assert thing.add(1) == 2


def test_remote_traceback_and_cause_are_printed(thing):
    with pytest.raises(ValueError, match="outer") as caught:
        thing.fail_with_cause()
    printed = "".join(traceback.format_exception(caught.value))
    assert "in fail_with_cause" in printed
    assert "KeyError: 'inner'" in printed
    assert printed.index("in fail_with_cause") < printed.index("in test_remote_traceback")
    told = pyroipc.get_pyro_traceback(caught.type, caught.value, caught.tb)
    assert "in fail_with_cause" in "".join(told)


def test_an_exception_of_an_unknown_class(thing):
    with pytest.raises(LookupError, match="nobody knows me") as caught:
        thing.fail_unknown()
    if thing._pyroSerializer in {"pickle", "cloudpickle"}:
        assert type(caught.value).__name__ == "Local"  # these carry the class itself
    else:
        assert isinstance(caught.value, pyroipc.RemoteError)
        assert "Local" in caught.value.remote_class


def test_an_exception_with_an_init_of_its_own(thing):
    with pytest.raises(Exception, match="odd") as caught:
        thing.fail_strangely()
    if thing._pyroSerializer in {"pickle", "cloudpickle"}:
        assert type(caught.value) is Strange
    assert caught.value.code == 7
    assert caught.value.detail == "odd"


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_base_exceptions_end_nobody(thing, kind):
    for _ in range(20):
        with pytest.raises(Exception, match="enough") as caught:
            thing.fail(kind, "enough")
        assert isinstance(caught.value, Exception)
    assert thing.echo(1) == 1


def test_wrong_arguments(thing):
    with pytest.raises(TypeError, match="add"):
        thing.add()
    with pytest.raises(TypeError, match="'d'"):
        thing.add(1, d=2)
    assert thing.add(1) == 2


def test_missing_members_name_what_there_is(thing):
    with pytest.raises(AttributeError, match=r"'thing'.*'absent'.*add.*echo"):
        _ = thing.absent
    with pytest.raises(AttributeError, match=r"'absent'.*value"):
        thing.absent = 1
    for name in ("_private", "unlisted", "limit", "__dict__x"):
        with pytest.raises(AttributeError):
            getattr(thing, name)
    assert not hasattr(thing, "nope")
    assert hasattr(thing, "echo")


@pytest.mark.parametrize(
    "member", ["_private", "unlisted", "limit", "__init__", "__class__", "__reduce__", "a.b", ""]
)
def test_the_server_refuses_what_the_proxy_would_not_ask_for(thing, member):
    with pytest.raises(AttributeError, match=r"exposed: .*add"):
        thing._pyroInvoke(member, (), {})
    for access, args in (("__getattr__", (member,)), ("__setattr__", (member, 1))):
        with pytest.raises(AttributeError):
            thing._pyroInvoke(access, args, None)
    assert thing.echo(1) == 1


def test_unknown_objects(near):
    other = Proxy("other", connected_socket=near._pyro_socket)
    with pytest.raises(pyroipc.DaemonError, match=r"'other'.*thing"):
        other.echo(1)
    other._pyroRelease()
    assert near.echo(1) == 1


def test_an_object_that_exposes_nothing():
    class Closed:
        def method(self):
            raise AssertionError

    with hosted({"closed": Closed()}) as (sock, _):
        proxy = Proxy("closed", connected_socket=sock)
        with pytest.raises(pyroipc.PyroError, match=r"@pyroipc\.expose"):
            proxy.method()
        proxy._pyroRelease()


def test_help_and_signatures_tell_the_truth(thing):
    assert inspect.signature(thing.add) == inspect.Signature(
        [
            inspect.Parameter("a", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="int"),
            inspect.Parameter(
                "b", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=1, annotation="int"
            ),
            inspect.Parameter("c", inspect.Parameter.KEYWORD_ONLY, default=0, annotation="int"),
        ],
        return_annotation="int",
    )
    assert str(inspect.signature(thing.twice)).startswith("(x: 'Any')")
    assert str(inspect.signature(thing.name)) == "() -> 'str'"
    out = io.StringIO()
    pydoc.Helper(output=out).help(thing.add)
    assert "add(a: 'int', b: 'int' = 1, *, c: 'int' = 0) -> 'int'" in out.getvalue()
    assert "Add up to three numbers." in out.getvalue()
    assert thing.add.__name__ == "add"
    assert thing.nothing.__doc__ is None


def test_help_also_with_a_timeout(near):
    near._pyroTimeout = 5.0
    assert str(inspect.signature(near.add)).startswith("(a: 'int', b: 'int' = 1")
    assert near.add.__doc__ == "Add up to three numbers."


def test_dir_lists_remote_members(near):
    names = dir(near)
    assert {"echo", "add", "value", "_pyroRelease"} <= set(names)
    assert "unlisted" not in names


def test_the_daemon_itself_can_be_asked(near):
    daemon = Proxy("Pyro.Daemon", connected_socket=near._pyro_socket)
    assert daemon.registered() == ["Pyro.Daemon", "thing"]
    assert daemon.ping() is None
    assert "2 objects" in daemon.info()
    daemon._pyroRelease()
    assert near.echo(1) == 1


# --- context ---------------------------------------------------------------------------------


def test_context_inside_of_a_call(thing):
    first, second = thing.context(), thing.context()
    assert first["seq"] != second["seq"]
    assert first["annotations"] == []
    assert first["correlation"] == "None"
    assert first["time_limit"] is None
    thing._pyroTimeout = 9.0
    assert 0 < thing.context()["time_limit"] <= 9.0


def test_annotations_and_correlation_travel(thing):
    current_context.annotations = {"TEST": b"value", "MORE": bytearray(100_000)}
    current_context.correlation_id = uuid.UUID(int=5)
    told = thing.context()
    assert list(told["annotations"]) == ["MORE", "TEST"]
    assert told["correlation"] == str(uuid.UUID(int=5))
    current_context.annotations = {}
    current_context.correlation_id = None
    assert list(thing.context()["annotations"]) == []


def test_response_annotations(thing):
    thing.answer_with("RESP", "hello")
    got = {k: bytes(v) for k, v in current_context.response_annotations.items()}
    assert got == {"RESP": b"hello"}
    thing.nothing()
    assert not current_context.response_annotations, "they were those of the call before"


def test_response_annotations_do_not_stay_for_the_next_call(thing):
    thing.answer_with("RESP", "hello")
    with pytest.raises(ValueError):
        thing.fail("ValueError")
    assert not current_context.response_annotations


class Relay:
    """Calls another object from inside of a call."""

    def __init__(self, sock):
        self._sock = sock

    @pyroipc.expose
    def through(self):
        with Proxy("thing", connected_socket=self._sock) as inner:
            inner.answer_with("INNR", "of the nested call")
            return inner.context()


def test_nested_calls_inherit_the_correlation_and_nothing_else():
    with hosted({"thing": Thing()}) as (inner, _), hosted({"relay": Relay(inner)}) as (sock, _):
        with Proxy("relay", connected_socket=sock) as relay:
            current_context.annotations = {"OUTR": b"for the relay only"}
            current_context.correlation_id = uuid.UUID(int=9)
            told = relay.through()
            assert told["annotations"] == []
            assert told["correlation"] == str(uuid.UUID(int=9))
            assert "INNR" not in current_context.response_annotations


# --- many at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 8, 32])
def test_n_threads_have_n_calls_in_flight(n):
    with hosted({"gate": Gate(n)}) as (sock, _), Proxy("gate", connected_socket=sock) as gate:
        assert together(*[lambda i=i: gate.meet(i) for i in range(n)]) == list(range(n))
        assert together(*[lambda i=i: gate.meet(i) for i in range(n)]) == list(range(n))


def test_a_slow_call_holds_up_nobody():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, _), Proxy("gate", connected_socket=sock) as proxy:
        slow = Worker(proxy.hold, "slow")
        gate.wait_entered()
        for i in range(100):
            assert proxy.echo(i) == i
        assert slow.alive
        gate.opened.set()
        assert slow.result() == "slow"


def test_slow_calls_on_both_sides_of_the_one_that_leads():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, _), Proxy("gate", connected_socket=sock) as proxy:
        slow = []
        for i in range(5):
            slow.append(Worker(proxy.hold, i))
            gate.wait_entered()
            assert together(*[lambda j=j: proxy.echo(j) for j in range(4)]) == [0, 1, 2, 3]
        gate.opened.set()
        assert [worker.result() for worker in slow] == [0, 1, 2, 3, 4]


def test_multiplex_runs_strictly_one_after_the_other():
    settings = pyroipc.config.copy()
    settings.SERVERTYPE = "multiplex"
    gate = Gate()
    with hosted({"gate": gate, "thing": Thing()}, settings=settings) as (sock, host):
        proxy = Proxy("gate", connected_socket=sock)
        thing = Proxy("thing", connected_socket=sock)
        thing.nothing()
        workers = [Worker(proxy.hold, i) for i in range(4)]
        gate.wait_entered()
        assert not gate.entered.acquire(timeout=0.2), "a second call began before the first ended"
        gate.opened.set()
        assert [worker.result() for worker in workers] == [0, 1, 2, 3]
        assert gate.most == 1
        assert len({*together(*[thing.thread] * 4)}) == 1
        assert thing.thread() == host.loop._thread.ident
        proxy._pyroRelease()
        thing._pyroRelease()


@pytest.mark.parametrize("where", ["thread", "fork"])
def test_many_threads_get_the_right_answers(where):
    def calls(proxy, worker):
        for i in range(150):
            text = f"{worker}-{i}" * (1 + i % 7 * 700)
            assert proxy.echo(text) == text
            if i % 10 == 0:
                with pytest.raises(ValueError, match=f"^{worker}$"):
                    proxy.fail("ValueError", str(worker))

    with HOSTS[where]({"thing": Thing()}) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            together(*[lambda w=w: calls(proxy, w) for w in range(6)], timeout=30)


@pytest.mark.parametrize("where", ["thread", "fork"])
def test_large_answers_and_arguments_cross_on_one_connection(where):
    data = "y" * (1 << 20)

    def calls(proxy):
        for _ in range(5):
            assert proxy.echo(data) == data

    with HOSTS[where]({"thing": Thing()}) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            together(*[lambda: calls(proxy)] * 4, timeout=30)


def test_large_messages_cross_with_a_strictly_serial_server():
    settings = pyroipc.config.copy()
    settings.SERVERTYPE = "multiplex"
    data = "y" * (1 << 20)

    def calls(proxy):
        for _ in range(5):
            assert proxy.echo(data) == data

    with hosted({"thing": Thing()}, settings=settings) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            together(*[lambda: calls(proxy)] * 4, timeout=30)


def test_several_proxies_share_one_socket_at_the_same_time():
    objects = {f"thing{i}": Thing() for i in range(4)}
    with hosted(objects) as (sock, _):
        proxies = [Proxy(name, connected_socket=sock) for name in objects]

        def use(index):
            proxies[index].value = index
            for i in range(50):
                assert proxies[index].echo(i) == i
            proxies[index]._pyroRelease()  # the others go on
            return proxies[index].value

        assert together(*[lambda i=i: use(i) for i in range(4)]) == [0, 1, 2, 3]
        for proxy in proxies:
            proxy._pyroRelease()


def test_ping_pong_of_two_threads():
    with hosted({"thing": Thing()}) as (a, _), hosted({"thing": Thing()}) as (b, _):
        with (
            Proxy("thing", connected_socket=a) as left,
            Proxy("thing", connected_socket=b) as right,
        ):

            def play(proxy):
                return sum(proxy.add(i, 0) for i in range(500))

            assert together(lambda: play(left), lambda: play(right)) == [sum(range(500))] * 2


def both_ways(rounds, make):
    left, right = PAIRS["unix"]()
    with left, right:
        hosts = [ThreadHost(sock, {"thing": Thing()}) for sock in (left, right)]
        proxies = [Proxy("thing", connected_socket=sock) for sock in (left, right)]
        try:

            def play(proxy, tag):
                for i in range(rounds):
                    value = make(tag, i)
                    assert proxy.echo(value) == value

            jobs = [lambda p=p, t=t: play(p, t) for t in range(3) for p in proxies]
            together(*jobs, timeout=30)
        finally:
            for host in hosts:
                host.daemon.shutdown()
            for host in hosts:
                host.loop.result()
            for proxy in proxies:
                proxy._pyroRelease()


def test_both_ends_call_each_other():
    both_ways(100, lambda tag, i: f"{tag}-{i}")


def test_both_ends_send_each_other_large_messages():
    both_ways(3, lambda tag, i: f"{tag}{i}" * (1 << 20))


def test_the_forked_host_is_another_process():
    with HOSTS["fork"]({"thing": Thing()}) as (sock, child):
        with Proxy("thing", connected_socket=sock) as proxy:
            assert proxy.pid() == child.pid != os.getpid()

"""Clients of Pyro's dialects that do not play fair: a daemon is as hard to them as to its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
import zlib

import pytest

from pyroipc import Daemon, PyroError, current_context, expose
from pyroipc.errors import ConnectionClosedError
from pyroipc.serializers import marshal_reader
from pyroipc.wire import message as ours
from tests.support.daemons import child_serving, serving, settings
from tests.support.hosts import PATIENCE, Worker
from tests.support.messages import plain
from tests.support.network_hosts import (
    SCALE,
    Gate,
    await_clients,
    await_pause,
    both_servers,
    crowd,
    gated,
    is_closed,
    knock,
    raw_client,
    reset,
)
from tests.support.pyro_frames import (
    COMPRESSED,
    CONNECT,
    INVOKE,
    KINDS,
    ONEWAY,
    PING,
    PYRO4,
    PYRO5,
    RESULT,
)
from tests.support.pyro_raw import RawPyro
from tests.support.waiting import wait_until

dialects = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
HANDSHAKE_BYTES = 64 << 10


def seconds_of(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start


@contextlib.contextmanager
def visiting(served, kind, object_id="gate", *, introduces=True):
    """Yield a client that speaks by hand."""
    with knock(served) as sock:
        peer = RawPyro(sock, kind)
        if introduces:
            peer.introduce(object_id)
        yield peer


def call(peer, seq, member, *args, **parts):
    return peer.call(seq, member, *args, object_id="gate", **parts)


def ask(peer, seq, member, *args, **parts):
    return peer.ask(seq, member, *args, object_id="gate", **parts)


def refused(peer):
    """Return why a client is not let in; the connection is closed after that."""
    answer = peer.hears()
    assert answer is not None, "it was not told"
    assert answer.flags & 1, answer
    assert is_closed(peer.sock)
    if answer.serializer_id == peer.kind.marshal:
        text = marshal_reader.read(answer.payload)
    else:
        text = json.loads(answer.payload)
    return text


# ------------------------------------------------------------------------- before the handshake


@both_servers
@dialects
def test_silent_clients_are_cut_off_and_others_are_not(kind, server):
    with gated(server, HANDSHAKE_TIMEOUT=0.1) as (served, _), visiting(served, kind) as friend:
        assert ask(friend, 1, "echo", 1) == 1
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(knock(served)) for _ in range(6)]
            opening = RawPyro(silent[0], kind).introduction("gate")
            for sock, size in zip(
                silent, (5, 6, 7, kind.header_bytes, len(opening) - 1), strict=False
            ):
                sock.sendall(opening[:size])
            assert all(is_closed(sock) for sock in silent)
        await_clients(served.daemon, 1)
        assert ask(friend, 2, "echo", 2) == 2


@both_servers
@dialects
def test_half_open_connections_disturb_nobody(kind, server):
    with gated(server) as (served, _), visiting(served, kind) as friend:
        with crowd(served, 60 * SCALE) as others:
            for number, sock in enumerate(others):
                opening = RawPyro(sock, kind).introduction("gate")
                sock.sendall(opening[: number % len(opening)])
            await_clients(served.daemon, 60 * SCALE + 1)
            assert max(seconds_of(lambda: ask(friend, 1, "echo", 1)) for _ in range(20)) < 3
            with served.proxy("gate", dialect=kind.name) as new:
                assert seconds_of(new.echo) < 3
        await_clients(served.daemon, 1)


@both_servers
@dialects
def test_a_client_that_trickles_holds_up_itself(kind, server):
    with gated(server) as (served, _), visiting(served, kind, introduces=False) as peer:
        with served.proxy("gate") as proxy:
            for byte in peer.introduction("gate") + call(peer, 2, "echo", 1):
                peer.send(bytes([byte]))
                if byte == 0x4F:  # now and then
                    assert proxy.echo("meanwhile") == "meanwhile"
        assert peer.hears().request_id == 0
        assert peer.answered(2) == 1


@dialects
@pytest.mark.parametrize("spin", [0.0, 0.3])
@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_a_client_may_come_while_its_socket_is_being_looked_at(kind, spin, pause):
    """What a loop does for the only client that asks finds out its dialect, too."""
    with gated(SPIN_SECONDS=spin, HANDSHAKE_TIMEOUT=60) as (served, _):
        for _ in range(5):
            with visiting(served, kind, introduces=False) as peer:
                threading.Event().wait(pause)
                peer.introduce("gate")
                assert ask(peer, 1, "echo", 1) == 1


@both_servers
@dialects
@pytest.mark.parametrize(
    ("opening", "said"),
    [
        (INVOKE, "invalid msg type 4 received"),
        (PING, "invalid msg type 6 received"),
        (RESULT, "invalid msg type 5 received"),
        (9, "invalid msg type 9 received"),
    ],
)
def test_whoever_does_not_introduce_himself(kind, server, opening, said):
    with gated(server) as (served, gate):
        with visiting(served, kind, introduces=False) as peer:
            payload = json.dumps({
                "object": "gate",
                "method": "letters",
                "params": [1],
                "kwargs": {},
            })
            peer.send(peer.frame(opening, kind.json, payload=payload.encode()))
            assert said in refused(peer)
        assert gate.seen == []
        await_clients(served.daemon, 0)


@dialects
def test_nothing_is_served_ahead_of_an_introduction(kind):
    with gated() as (served, gate), visiting(served, kind, introduces=False) as peer:
        peer.send(
            call(peer, 1, "letters", 1) + peer.introduction("gate") + call(peer, 2, "letters", 2)
        )
        assert "invalid msg type 4" in refused(peer)
        assert gate.seen == []


@dialects
@pytest.mark.parametrize("wrong", ["reserved", "check", "version"])
def test_a_wrong_header(kind, wrong):
    with gated() as (served, _), visiting(served, kind, introduces=False) as peer:
        if wrong == "reserved":  # nobody looks at it
            peer.send(peer.introduction("gate", reserved=77))
            assert peer.hears().request_id == 0
            return
        value = kind.version + 1 if wrong == "version" else 1
        peer.send(peer.introduction("gate", **{wrong: value}))
        if wrong == "version":  # it is told in the layout of its own version
            assert peer.sock.recv(6) == b"PYRO" + (kind.version + 1).to_bytes(2, "big")
            assert is_closed(peer.sock)
        else:
            assert re.search("checksum|invalid message", refused(peer))


@dialects
@pytest.mark.parametrize("size", [HANDSHAKE_BYTES, HANDSHAKE_BYTES + 1, 1 << 30])
def test_an_introduction_has_a_limit(kind, size):
    with gated() as (served, _), visiting(served, kind, introduces=False) as peer:
        if size > HANDSHAKE_BYTES:  # it is refused before its payload has come
            opening = peer.introduction("gate", payload_bytes=size - kind.header_bytes)
            peer.send(opening[: kind.header_bytes])
            assert "message too large" in refused(peer)
        else:
            empty = len(peer.introduction("gate", ""))
            peer.introduce("gate", "x" * (size - empty))


def bomb(size):
    """Return a small zlib stream of much."""
    return zlib.compress(b'{"handshake":"' + b"x" * size + b'","object":"gate"}', 9)


@dialects
@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (bomb(HANDSHAKE_BYTES), "unpacks to more than the 65536 bytes"),
        (bomb(32 << 20), "unpacks to more than the 65536 bytes"),
        (bomb(100)[:-1], "cut off"),
        (bomb(100) + b"x", "something follows"),
        (b"no zlib", "cannot be unpacked"),
    ],
    ids=["large", "bomb", "cut off", "trailing", "nonsense"],
)
def test_a_compressed_introduction_is_bounded(kind, packed, said):
    with gated() as (served, _), visiting(served, kind, introduces=False) as peer:
        peer.send(peer.introduction("gate", payload=packed, flags=COMPRESSED))
        assert said in refused(peer)
        with visiting(served, kind, introduces=False) as other:
            other.send(other.introduction("gate", payload=bomb(1000), flags=COMPRESSED))
            assert json.loads(other.hears().payload)


@dialects
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"5",
        b"[1, 2]",
        b'{"handshake": 1}',
        b'{"object": "gate"}',
        b'{"handshake": 1, "object": ["gate"]}',
        b'{"handshake": 1, "object": null}',
        b'{"handshake": 1, "object": "unknown"}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_an_introduction_that_is_none(kind, payload):
    with gated() as (served, _), visiting(served, kind, introduces=False) as peer:
        peer.send(peer.introduction(payload=payload, flags=0x10 if kind is PYRO4 else 0))
        answer = peer.hears()
        assert answer.flags & 1
        assert is_closed(peer.sock)
        await_clients(served.daemon, 0)


class Guarded(Daemon):
    """Lets those in who know a word; counts the others."""

    attempts = 0
    goes_on = threading.Event()

    def validateHandshake(self, conn, data):
        type(self).attempts += 1
        if data == "slowly":
            assert self.goes_on.wait(PATIENCE)
        if isinstance(data, str) and data in RAISED:
            kind, *args = RAISED[data]
            raise kind(*args)  # made anew: an exception keeps the frames that it went through
        if data not in ("the word", "slowly"):
            raise ValueError(f"not {data!r}")
        return "welcome"


RAISED = {
    "exit": (SystemExit, "on purpose"),
    "interrupt": (KeyboardInterrupt, "on purpose"),
    "generator": (GeneratorExit, "on purpose"),
    "silence": (ConnectionClosedError, "nothing is said"),
    "surrogate": (ValueError, "\udcff on purpose"),
    "nothing": (ValueError,),
}


@pytest.fixture(autouse=True)
def _counters():
    Guarded.attempts = 0
    Guarded.goes_on.clear()
    yield
    Guarded.goes_on.set()


@both_servers
@dialects
def test_a_connection_has_one_attempt(kind, server):
    with gated(server, factory=Guarded) as (served, gate):
        with visiting(served, kind, introduces=False) as peer:
            guesses = [peer.introduction("gate", word) for word in ("a", "b", "the word")]
            peer.send(b"".join(guesses) + call(peer, 5, "letters", 1))
            assert "not 'a'" in refused(peer)
        await_clients(served.daemon, 0)
        assert Guarded.attempts == 1
        assert gate.seen == []


@dialects
def test_a_connection_has_one_attempt_at_a_time(kind):
    """Nor can others be made while a slow hook looks at the first."""
    with gated(factory=Guarded) as (served, gate):
        with visiting(served, kind, introduces=False) as peer:
            peer.send(peer.introduction("gate", "slowly"))
            wait_until(lambda: Guarded.attempts == 1, "the hook looks at it")
            peer.send(peer.introduction("gate", "the word") + call(peer, 5, "letters", 1))
            assert re.search("invalid msg type [14] received", refused(peer))
        Guarded.goes_on.set()
        await_clients(served.daemon, 0)
        assert Guarded.attempts == 1
        assert gate.seen == []


@both_servers
@dialects
@pytest.mark.parametrize("how", ["close", "reset", "garbage", "too much"])
def test_a_client_may_go_while_a_hook_looks_at_it(kind, server, how):
    with gated(server, factory=Guarded) as (served, gate):
        for _ in range(5):
            Guarded.attempts = 0
            Guarded.goes_on.clear()
            with knock(served) as sock:
                peer = RawPyro(sock, kind)
                peer.send(peer.introduction("gate", "slowly"))
                wait_until(lambda: Guarded.attempts == 1, "the hook looks at it")
                if how == "close":
                    sock.close()
                elif how == "reset":
                    reset(sock)
                elif how == "garbage":
                    sock.sendall(b"garbage")
                else:
                    sock.sendall(call(peer, 1, "letters", 1, payload_bytes=1 << 20))
                if server == "thread":  # else nobody reads meanwhile
                    await_clients(served.daemon, 0)
                Guarded.goes_on.set()
            await_clients(served.daemon, 0)
        with served.proxy("gate", dialect=kind.name) as proxy:
            proxy._pyroHandshake = "the word"
            assert proxy.echo(1) == 1
        assert gate.seen == []


@dialects
def test_a_connection_keeps_its_dialect(kind):
    """Or whoever waits for a slow hook could have another attempt in the other one."""
    other = PYRO4 if kind is PYRO5 else PYRO5
    with gated(factory=Guarded) as (served, gate):
        with visiting(served, kind, introduces=False) as peer:
            peer.send(peer.introduction("gate", "slowly"))
            wait_until(lambda: Guarded.attempts == 1, "the hook looks at it")
            stranger = RawPyro(peer.sock, other)
            peer.send(stranger.introduction("gate", "the word") + call(stranger, 1, "letters", 1))
            assert is_closed(peer.sock)
        Guarded.goes_on.set()
        await_clients(served.daemon, 0)
        assert Guarded.attempts == 1
        assert gate.seen == []


@both_servers
@dialects
@pytest.mark.parametrize("what", RAISED)
def test_whatever_a_hook_raises_the_daemon_goes_on(kind, server, what):
    with gated(server, factory=Guarded) as (served, _):
        for _ in range(3):
            with visiting(served, kind, introduces=False) as peer:
                peer.send(peer.introduction("gate", what))
                if what == "silence":
                    assert peer.hears() is None
                else:
                    assert re.search("on purpose|ValueError", refused(peer))
        with served.proxy("gate", dialect=kind.name) as proxy:
            proxy._pyroHandshake = "the word"
            assert proxy.echo(1) == 1


# -------------------------------------------------------------------------- after the handshake


@both_servers
@dialects
@pytest.mark.parametrize(
    "garbage",
    [
        lambda peer: b"GET / HTTP/1.1\r\n\r\n",
        lambda peer: b"PYROI\x01" + bytes(60),  # one of ours
        lambda peer: (PYRO4 if peer.kind is PYRO5 else PYRO5).frame(CONNECT, payload=b"x"),
        lambda peer: peer.frame(RESULT, payload=b"5"),
        lambda peer: peer.frame(99),
        lambda peer: peer.frame(INVOKE, check=5),
        lambda peer: peer.frame(INVOKE, area=b"ABC"),
        lambda peer: peer.frame(INVOKE, area=peer.kind.area({"ABCD": b"x"})[:-1]),
        lambda peer: peer.frame(INVOKE, version=7),
    ],
    ids=["http", "native", "other", "role", "type", "check", "annotations", "cut", "version"],
)
def test_garbage_ends_one_connection(kind, server, garbage):
    with gated(server) as (served, _), visiting(served, kind) as friend:
        with visiting(served, kind) as peer:
            peer.send(call(peer, 1, "echo", 1))
            assert peer.answered(1) == 1
            peer.send(garbage(peer))
            assert is_closed(peer.sock)
        assert ask(friend, 1, "echo", 2) == 2
        await_clients(served.daemon, 1)


@both_servers
@dialects
def test_a_second_introduction_ends_the_connection(kind, server):
    with gated(server) as (served, gate), visiting(served, kind) as peer:
        peer.send(peer.introduction("gate") + call(peer, 1, "letters", 1))
        assert "invalid msg type 1 received" in refused(peer)
        await_clients(served.daemon, 0)
        assert gate.seen == []


@dialects
def test_pings(kind):
    with gated() as (served, _), visiting(served, kind) as peer:
        for data in (b"ping", b"", b"x" * 300, zlib.compress(b"x")):
            peer.send(peer.frame(PING, 99, seq=7, payload=data, flags=0x7F & ~0x40))
            answer = peer.hears()
            assert (answer.payload, answer.request_id, answer.serializer_id) == (b"pong", 7, 99)
        assert ask(peer, 1, "echo", 1) == 1


@dialects
@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (zlib.compress(b"x" * (2 << 20)), "unpacks to more"),
        (zlib.compress(b"x" * 1000)[:-1], "cut off"),
        (zlib.compress(b"x" * 1000) + b"x", "something follows"),
        (b"no zlib", "cannot be unpacked"),
    ],
    ids=["bomb", "cut off", "trailing", "nonsense"],
)
def test_what_is_compressed_is_bounded(kind, packed, said):
    with gated(MAX_MESSAGE_SIZE=1 << 20) as (served, _), visiting(served, kind) as peer:
        for seq in range(1, 4):
            found = ask(peer, seq, "echo", payload=packed, flags=COMPRESSED)
            assert said in found["args"][0]
        good = zlib.compress(call(peer, 1, "echo", "x" * 10_000)[kind.header_bytes :])
        assert ask(peer, 5, "echo", payload=good, flags=COMPRESSED) == "x" * 10_000


@linux
@dialects
def test_claimed_sizes_and_bombs_take_no_memory(kind):
    options = settings(MAX_MESSAGE_SIZE=64 << 20)
    with child_serving({"gate": Gate()}, settings=options) as served:

        def resident(what="VmRSS"):
            with open(f"/proc/{served.child.pid}/status") as file:
                return int(re.search(rf"{what}:\s+(\d+)", file.read())[1]) << 10

        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(visiting(served, kind)) for _ in range(30 * SCALE)]
            ask(peers[0], 1, "echo", 1)
            before = resident()
            for peer in peers:
                claim = (64 << 20) - kind.header_bytes
                peer.send(call(peer, 1, "echo", 1, payload_bytes=claim)[:1000])
            with visiting(served, kind) as friend:
                assert ask(friend, 1, "echo", 1) == 1
                assert resident() - before < 100 * (64 << 10) * SCALE
                for seq in (2, 3):
                    packed = zlib.compress(bytes(200 << 20), 9)
                    found = ask(friend, seq, "echo", payload=packed, flags=COMPRESSED)
                    assert "unpacks to more" in found["args"][0]
        assert resident("VmHWM") - before < 3 * (64 << 20) + (32 << 20)


@both_servers
@dialects
def test_too_large_a_request_ends_its_connection_only(kind, server):
    with gated(server, MAX_MESSAGE_SIZE=10_000) as (served, gate):
        with visiting(served, kind) as friend, visiting(served, kind) as peer:
            peer.send(call(peer, 1, "letters", 1, payload_bytes=10_001)[: kind.header_bytes])
            assert is_closed(peer.sock)
            head = kind.header_bytes
            sizes = [9_998 - head, 9_999 - head, 10_000, 20_000]  # and two quotation marks
            found = [ask(friend, seq, "letters", size) for seq, size in enumerate(sizes, 1)]
            assert found[0] == "b" * sizes[0]
            for error in found[1:]:  # nor is an answer sent that is too large
                assert error["__class__"].endswith("MessageTooLargeError")
            assert ask(friend, 9, "echo", 5) == 5
        assert gate.seen == sizes


@both_servers
@dialects
@pytest.mark.parametrize(
    "name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError"]
)
def test_methods_that_raise_what_ends_a_process(kind, server, name):
    with gated(server) as (served, _), visiting(served, kind) as peer:
        before = threading.active_count()
        for seq in range(1, 30 * SCALE):
            found = ask(peer, seq, "fail_with", name)
            assert found["__exception__"]
            assert "on purpose" in found["args"][0]
        assert threading.active_count() <= before + 4
        assert ask(peer, 999, "echo", 1) == 1


# ------------------------------------------------------------------------------------ too much


@both_servers
@dialects
def test_a_flood_of_oneway_calls_is_bounded_and_in_order(kind, server):
    options = {"ONEWAY_THREADS": 2, "ONEWAY_QUEUE": 5}
    with gated(server, **options) as (served, gate), contextlib.ExitStack() as stack:
        peers = [stack.enter_context(visiting(served, kind)) for _ in range(3)]
        count = 100 * SCALE
        before = threading.active_count()

        def flood(number, peer):
            for i in range(count):
                peer.send(call(peer, i, "note", [number, i], flags=ONEWAY))

        workers = [Worker(flood, number, peer) for number, peer in enumerate(peers)]
        for worker in workers:
            worker.result()
        wait_until(lambda: len(gate.seen) == 3 * count, "all have run")
        assert gate.most <= 2
        assert threading.active_count() <= before + 5
        for number in range(3):
            assert [i for who, i in gate.seen if who == number] == list(range(count))
        for peer in peers:
            assert ask(peer, 1, "echo", 1) == 1  # and nothing was answered before


@both_servers
@dialects
def test_whoever_takes_no_answer_is_given_no_more_and_is_cut_off(kind, server):
    with gated(server, WRITE_TIMEOUT=0.3) as (served, gate), visiting(served, kind) as deaf:
        with served.proxy("gate", dialect=kind.name) as proxy:
            proxy.echo(0)
            size = 16 << 20
            deaf.send(b"".join(call(deaf, i, "letters", size) for i in range(1, 41)))
            await_pause(served.daemon)
            assert max(seconds_of(proxy.echo) for _ in range(30)) < 3
            await_clients(served.daemon, 1)
            assert proxy.echo(1) == 1
        assert is_closed(deaf.sock)
        assert len(gate.seen) <= (1 if server == "multiplex" else 8)


@both_servers
@dialects
def test_many_requests_at_once_are_all_answered_rightly(kind, server):
    with gated(server) as (served, _), visiting(served, kind) as peer:
        count = 1000 * SCALE
        sending = Worker(
            peer.send, b"".join(call(peer, i, "echo", i) for i in range(1, count + 1))
        )
        seen = []
        for _ in range(count):
            answer = peer.hears()
            assert json.loads(answer.payload) == answer.request_id
            seen.append(answer.request_id)
        sending.result()
        assert sorted(seen) == list(range(1, count + 1))
        if server == "multiplex":
            assert seen == sorted(seen)


NATIVE_FLOODS = {
    "native ping": plain(ours.PING, 1, b"x" * 60),
    "native credit": plain(ours.CREDIT, 5, b"1", flags=ours.STREAM),
}


@both_servers
@pytest.mark.parametrize("what", ["pyro4", "pyro5", *NATIVE_FLOODS])
def test_a_flood_of_what_is_no_call_holds_up_nobody(what, server):
    """Whoever sends it without a pause, and reads no answers, has his turn as others do."""
    with contextlib.ExitStack() as stack:
        served, _ = stack.enter_context(gated(server, WRITE_TIMEOUT=60))
        proxy = stack.enter_context(served.proxy("gate"))
        proxy.echo(0)
        if what in NATIVE_FLOODS:
            peer, frame = stack.enter_context(raw_client(served)), NATIVE_FLOODS[what]
        else:
            kind = PYRO4 if what == "pyro4" else PYRO5
            peer = stack.enter_context(visiting(served, kind))
            frame = peer.ping()
        enough = threading.Event()

        def flood():
            peer.sock.settimeout(0.05)
            with contextlib.suppress(ConnectionError):
                while not enough.is_set():
                    with contextlib.suppress(TimeoutError):
                        peer.sock.sendall(frame * 500)

        worker = Worker(flood)
        try:
            assert max(seconds_of(proxy.echo) for _ in range(100)) < 3
            visitors = list(served.daemon._listening.loop.visitors.values())
            assert all(len(visitor.backlog) < 1000 for visitor in visitors)
        finally:
            enough.set()
        worker.result()


@dialects
@pytest.mark.parametrize("spin", [0.0, 0.05])
def test_pings_that_come_together_are_all_answered(kind, spin):
    with gated(SPIN_SECONDS=spin) as (served, _), visiting(served, kind) as peer:
        for _ in range(3):
            peer.send(peer.ping() * 700 + call(peer, 5, "echo", "behind"))
            for _ in range(700):
                assert peer.hears().payload == b"pong"
            assert peer.answered(5) == "behind"


# ------------------------------------------------------------------------------- come and go


@both_servers
@dialects
def test_clients_that_come_and_go_leave_nothing(kind, server):
    with gated(server) as (served, _), served.proxy("gate") as proxy:
        proxy.echo(0)
        descriptors = len(os.listdir("/dev/fd"))
        threads = threading.active_count()
        for i in range(60 * SCALE):
            sock = knock(served)
            peer = RawPyro(sock, kind)
            opening = peer.introduction("gate") + call(peer, 1, "letters", 100_000)
            if i % 3 == 0:
                peer.introduce("gate")
            elif i % 3 == 1:
                peer.send(opening[: i * 7 % len(opening)])
            else:
                peer.send(opening)
            if i % 2:
                sock.close()
            else:
                reset(sock)
        await_clients(served.daemon, 1)
        wait_until(lambda: len(os.listdir("/dev/fd")) == descriptors, "all sockets are closed")
        assert threading.active_count() <= threads + 4
        assert proxy.echo(1) == 1


# ------------------------------------------------------------------------------------- streams


@expose
class Counter:
    """Iterators, and what became of them."""

    def __init__(self):
        self.closed = 0
        self.clients = []

    def count(self, n):
        self.clients.append(current_context.client)
        try:
            yield from range(n)
        finally:
            self.closed += 1


@contextlib.contextmanager
def counting(**items):
    counter = Counter()
    with serving({"gate": counter}, settings=settings(**items)) as served:
        yield served, counter


def open_stream(peer, seq=1, n=10):
    """Open a stream by hand; return its id."""
    peer.send(call(peer, seq, "count", n))
    answer = peer.hears()
    assert answer.request_id == seq
    if "STRM" not in answer.annotations:
        raise LookupError(json.loads(answer.payload)["args"][0])
    return answer.annotations["STRM"].decode()


def next_item(peer, stream, seq=2):
    return peer.ask(seq, "get_next_stream_item", stream, object_id="Pyro.Daemon")


@dialects
def test_a_connection_has_so_many_streams(kind):
    with counting() as (served, counter), visiting(served, kind) as peer:
        streams = [open_stream(peer, seq) for seq in range(1, 257)]
        assert len(set(streams)) == 256
        with pytest.raises(LookupError, match="256 streams open already"):
            open_stream(peer, 257)
        assert counter.closed == 0  # that one was not even begun
        closing = [
            peer.call(i, "close_stream", stream, object_id="Pyro.Daemon", flags=ONEWAY)
            for i, stream in enumerate(streams[:10])
        ]
        peer.send(b"".join(closing))
        assert next_item(peer, streams[10], 300) == 0
        wait_until(lambda: open_stream(peer, 301), "there is room again")


@dialects
def test_ids_of_streams_cannot_be_guessed(kind):
    with counting() as (served, _), visiting(served, kind) as peer:
        ids = [open_stream(peer, seq) for seq in range(1, 100)]
        bits = [int(one.replace("-", ""), 16) for one in ids]
        assert all(len(one.replace("-", "")) == 32 for one in ids)  # 128 bits
        for bit in range(128):  # that are all in use; by chance one of them is not in 2**92 runs
            assert 0 < sum(number >> bit & 1 for number in bits) < 99


@dialects
@pytest.mark.parametrize(
    "wrong",
    ["0" * 32, "", "x", None, 5, 10**400, [], {}, ["a"], True, "é", "\x00", "%", "*"],
    ids=repr,
)
def test_there_is_no_stream_of_a_wrong_id(kind, wrong):
    with counting() as (served, counter), visiting(served, kind) as peer:
        stream = open_stream(peer)
        found = next_item(peer, wrong)
        assert "item stream terminated" in found["args"][0]
        assert peer.ask(3, "close_stream", wrong, object_id="Pyro.Daemon") is None
        assert next_item(peer, stream, 4) == 0
        assert counter.closed == 0


@dialects
def test_streams_go_soon_after_their_connection(kind):
    with counting(ITER_STREAM_LINGER=0.2) as (served, counter):
        with visiting(served, kind) as peer:
            for stream in [open_stream(peer, seq) for seq in (1, 2, 3)]:
                assert next_item(peer, stream, 4) == 0
        wait_until(lambda: counter.closed == 3, "they are closed")
        with visiting(served, kind) as other:
            assert "item stream terminated" in next_item(other, stream)["args"][0]


@dialects
def test_streams_linger_for_whoever_knows_their_id(kind):
    with counting(ITER_STREAM_LINGER=30) as (served, counter):
        with visiting(served, kind) as peer:
            stream = open_stream(peer)
            assert next_item(peer, stream) == 0
        await_clients(served.daemon, 0)
        with visiting(served, kind) as other:
            assert next_item(other, stream) == 1
        assert counter.closed == 0


@dialects
def test_a_stream_lives_so_long(kind):
    with counting(ITER_STREAM_LIFETIME=0.2) as (served, counter), visiting(served, kind) as peer:
        stream = open_stream(peer)
        wait_until(lambda: "args" in str(next_item(peer, stream)), "it is too old")
        wait_until(lambda: counter.closed == 1, "it is closed")


@dialects
def test_streams_that_are_not_to_be(kind):
    with counting(ITER_STREAMING=False) as (served, counter), visiting(served, kind) as peer:
        with pytest.raises(LookupError, match="not configured to allow streaming"):
            open_stream(peer)
        assert counter.closed == 0


@dialects
def test_our_own_clients_cannot_reach_into_such_streams(kind):
    """Nor Pyro's into ours, while their connections stand."""
    with contextlib.ExitStack() as stack:
        served, _ = stack.enter_context(counting())
        peer = stack.enter_context(visiting(served, kind))
        proxy, daemon = (
            stack.enter_context(served.proxy(name)) for name in ("gate", "Pyro.Daemon")
        )
        theirs, mine = open_stream(peer), proxy.count(10)
        assert next(mine) == 0
        token = mine._token
        assert "item stream terminated" in next_item(peer, token)["args"][0]
        assert peer.ask(3, "end_stream", token, object_id="Pyro.Daemon") is None
        assert next(mine) == 1
        daemon.end_stream(theirs)
        with pytest.raises(PyroError, match="item stream terminated"):
            list(daemon.resume_stream(theirs, 0))
        assert next_item(peer, theirs, 4) == 0
        mine.close()


# ----------------------------------------------------------------------------------- answers


@expose
class Annotator:
    def annotate(self, key, size):
        current_context.response_annotations = {key: bytes(size)}
        return "done"


@both_servers
@dialects
@pytest.mark.parametrize(
    ("key", "size"), [("TOOLONG", 1), ("ÄÖÜß", 1), ("HMAC", 1), ("STRM", 1), ("ABCD", 70_000)]
)
def test_annotations_that_cannot_be_sent_spoil_only_the_answer(kind, server, key, size):
    chosen = settings(SERVERTYPE=server)
    with serving({"gate": Annotator()}, settings=chosen) as served, visiting(served, kind) as peer:
        found = ask(peer, 1, "annotate", key, size)
        if key == "ABCD" and kind is PYRO5:
            assert found == "done"
        else:
            assert "annotation" in found["args"][0]
        assert ask(peer, 2, "annotate", "GOOD", 3) == "done"

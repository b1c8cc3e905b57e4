"""Long messages on their way: others pass by, peers die, deadlines pass, Ctrl-C comes."""

from __future__ import annotations

import os
import signal
import socket
import threading

import numpy as np
import pytest

import pyroipc
from pyroipc import Proxy
from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.protocol.hello import FEATURES
from pyroipc.wire.message import (
    DATA,
    ERROR,
    GOODBYE,
    HELLO,
    REQUEST,
    RESPONSE,
    WELCOME,
    FullMessage,
)
from pyroipc.wire.native import encode
from tests.support.daemons import roads, serving, settings
from tests.support.hosts import Child, Worker, hosted, serve, unix_pair
from tests.support.raw import RawPeer, answer_to, call_frame, hello_frame
from tests.support.waiting import wait_until

MIB = 1 << 20
LARGE_BYTES = 16 * MIB
TOLD = {"features": (*FEATURES, "objects")}


@pyroipc.expose
class Thing:
    def __init__(self):
        self.begun = threading.Event()

    def echo(self, value):
        return value

    def size(self, value):
        return len(value)

    def zeros(self, n_bytes):
        self.begun.set()
        return np.zeros(n_bytes, np.uint8)

    def chunks(self, n_bytes):
        yield bytes(n_bytes)
        yield bytes(n_bytes)


class Slow(RawPeer):
    """A peer that reads a little at a time, and says what it has read, frame by frame."""

    def frames(self):
        """Yield kind, id and flags of each frame, also of those that are parts of a message."""
        while True:
            head = self.take(36)
            if head is None:
                return
            extra = (16 if head[9] & 0x40 else 0) + (8 if head[9] & 0x80 else 0)
            n_bytes = extra + 8 * int.from_bytes(head[12:16], "big")
            n_bytes += int.from_bytes(head[16:24], "big") + int.from_bytes(head[28:36], "big")
            self.take(n_bytes)
            flags = int.from_bytes(head[8:10], "big")
            yield head[6], int.from_bytes(head[24:28], "big"), flags

    def take(self, n_bytes):
        data = bytearray()
        while len(data) < n_bytes:
            piece = self.sock.recv(n_bytes - len(data))
            if not piece:
                return None
            data += piece
        return data


def welcomed(near, far, **options):
    """Return a proxy for an object at a raw peer, and the peer; both have said hello."""
    raw = RawPeer(far)
    proxy = Proxy("thing", connected_socket=near, **options)

    def greet():
        while True:
            message = raw.read()
            if message.kind == HELLO:
                raw.send(hello_frame(WELCOME, message.request_id, **TOLD))
            else:
                raw.send(answer_to(message))
                if b"get_metadata" in bytes(message.payload) or b"connect" in bytes(
                    message.payload
                ):
                    return

    greeter = Worker(greet)
    proxy._pyroSerializer = "json"
    proxy._pyroBind()
    greeter.result()
    return proxy, Slow(far)


def test_small_calls_pass_by_a_long_one():
    """The large request waits for a peer that does not read; the small one goes in between."""
    near, far = unix_pair()
    with near, far:
        proxy, slow = welcomed(near, far)
        large = Worker(proxy.echo, bytes(LARGE_BYTES))
        frames = slow.frames()
        kind, long_id, _ = next(frames)
        assert kind == REQUEST
        assert next(frames)[:2] == (DATA, long_id)
        small = Worker(proxy.echo, 5)
        wait_until(lambda: proxy._pyroConnection.freight.waiting, "the small call waits")
        kinds = []
        for kind, request_id, _ in frames:  # noqa: B007
            kinds.append(kind)
            if kind == REQUEST:
                break
        assert kinds == [*[DATA] * (len(kinds) - 1), REQUEST]
        assert len(kinds) <= 4, "it was not sent behind the chunk that was under way"
        slow.send(call_result(request_id, 5))
        assert small.result() == 5
        assert large.alive
        rest = LARGE_BYTES // MIB - 1 - (len(kinds) - 1)
        for _ in range(rest):
            assert next(frames)[:2] == (DATA, long_id)
        slow.send(call_result(long_id, "done"))
        assert large.result() == "done"
        proxy._pyroRelease()


def call_result(request_id, value):
    import json

    return b"".join(encode(FullMessage(RESPONSE, 3, 0, request_id, json.dumps(value).encode())))


def calls_at(raw):
    raw.send(hello_frame(**TOLD))
    raw.expect(WELCOME)
    return Slow(raw.sock)


def check_that_small_answers_pass_by(far):
    """A client by hand asks for something large, reads only its begin, and asks again."""
    slow = calls_at(RawPeer(far))
    frames = slow.frames()
    slow.send(call_frame(6, "echo", "first"))  # with which a loop gets its second thread
    assert next(frames)[:2] == (RESPONSE, 6)
    slow.send(call_frame(7, "zeros", LARGE_BYTES))
    assert next(frames)[:2] == (RESPONSE, 7)
    assert next(frames)[:2] == (DATA, 7)
    slow.send(call_frame(8, "echo", "small") + call_frame(9, "zeros", 2 * MIB))
    kinds = []
    for kind, request_id, _ in frames:  # noqa: B007
        kinds.append(kind)
        if kind == RESPONSE:
            break
    assert request_id == 8
    assert len(kinds) < LARGE_BYTES // MIB - 2, "it came behind all the data"
    rest = [(kind, request_id) for kind, request_id, _ in take_until(frames, (DATA, 9), 2)]
    assert rest.index((RESPONSE, 9)) > max(i for i, frame in enumerate(rest) if frame == (DATA, 7))
    assert rest.count((DATA, 7)) + kinds.count(DATA) + 1 == LARGE_BYTES // MIB


def take_until(frames, last, times):
    for frame in frames:
        yield frame
        times -= frame[:2] == last
        if not times:
            return


def test_small_answers_pass_by_a_long_one_over_a_socket_pair():
    with hosted({"thing": Thing()}) as (near, _):
        check_that_small_answers_pass_by(near)


@pytest.mark.parametrize("road", roads("tcp4", "unix"))
@pytest.mark.parametrize("servertype", ["thread", "multiplex"])
def test_small_answers_pass_by_a_long_one_in_a_daemon(road, servertype, tmp_path):
    chosen = settings(SERVERTYPE=servertype)
    options = {"road": road, "directory": str(tmp_path), "settings": chosen}
    with serving({"thing": Thing()}, **options) as served:
        where = served.daemon.locations[0]
        with socket.socket(socket.AF_UNIX if road.name == "unix" else socket.AF_INET) as sock:
            # What the kernel has taken cannot be passed by, and it takes many MiB for TCP.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            if road.name == "unix":
                sock.connect(served.location.partition(":")[2])
            else:
                sock.connect((where.host, where.port))
            check_that_small_answers_pass_by(sock)


def test_the_items_of_a_stream_keep_their_order():
    with serving({"thing": Thing()}) as served:
        where = served.daemon.locations[0]
        with socket.create_connection((where.host, where.port)) as sock:
            slow = calls_at(RawPeer(sock))
            slow.send(call_frame(7, "chunks", 3 * MIB))
            frames = slow.frames()
            found = [next(frames) for _ in range(1 + 2 * 4 + 1)]
            assert [kind for kind, _, _ in found] == [18, 20, 8, 8, 8, 20, 8, 8, 8, 20]


# --- the end in mid-transfer -----------------------------------------------------------------


def stopped(far):
    """Serve, but read nothing after the first call: for a child."""

    @pyroipc.expose
    class Deaf(Thing):
        def echo(self, value):
            os.kill(os.getpid(), signal.SIGSTOP)
            return value

    serve(far, {"thing": Deaf()})


@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_the_receiver_is_killed(name):
    near, far = unix_pair()
    with near:

        def body():
            near.close()
            stopped(far)

        child = Child(body)
        far.close()
        proxy = Proxy("thing", connected_socket=near)
        proxy._pyroSerializer = name
        assert proxy.size(b"") == 0
        stops = Worker(proxy.echo, 1)
        wait_until(lambda: is_stopped(child.pid), "the child has stopped")
        value = np.ones(LARGE_BYTES, np.uint8)
        sends = Worker(proxy.echo, value)
        session = proxy._pyroConnection
        wait_until(lambda: session.channel.unsent, "it is being sent")
        child.kill()
        child.wait()
        for worker in (stops, sends):
            error = worker.finish()
            assert isinstance(error, ConnectionClosedError), error
        del error
        assert not session.channel.unsent, "the array is not kept"
        assert session.channel.cargo is None
        with pytest.raises(ConnectionClosedError):
            proxy.echo(1)


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_the_sender_is_killed():
    with serving({"thing": Thing()}) as served:
        where = served.daemon.locations[0]
        with socket.create_connection((where.host, where.port)) as sock:
            raw = RawPeer(sock)
            calls_at(raw)
            long = encode(long_call(7, LARGE_BYTES))
            raw.send(b"".join(long.chunk(0)))
            raw.send(b"".join(long.chunk(1))[:500_000])
            visitors = served.daemon._service.visitors
            (visitor,) = visitors.values()
            wait_until(lambda: visitor.session.decoder.filling is not None, "a part has arrived")
        wait_until(lambda: not visitors, "it is gone")
        wait_until(lambda: visitor.session.decoder.filling is None, "its memory was given back")
        with served.proxy("thing") as proxy:
            assert proxy.echo(1) == 1


def long_call(request_id, n_bytes):
    payload = (
        b'{"object":"thing","method":"echo","params":[{"@":"buffer","v":["bytes",0]}],"kwargs":{}}'
    )
    return FullMessage(REQUEST, 3, 0, request_id, payload, buffers=[bytes(n_bytes)], forms=b"\x02")


def test_a_caller_whose_answer_ends_in_the_middle():
    near, far = unix_pair()
    with near, far:
        proxy, slow = welcomed(near, far)
        call = Worker(proxy.echo, 1)
        _, request_id, _ = next(slow.frames())
        answer = FullMessage(
            RESPONSE, 3, 0, request_id, b'{"@":"buffer","v":["bytes",0]}',
            buffers=[bytes(LARGE_BYTES)], forms=b"\x02",
        )  # fmt: skip
        slow.send(b"".join(encode(answer).chunk(0)))
        decoder = proxy._pyroConnection.decoder
        wait_until(lambda: decoder.filling is not None, "a part has arrived")
        far.close()
        with pytest.raises(ConnectionClosedError, match="in the middle of a message"):
            call.result()
        assert decoder.filling is None, "its memory was given back"


def test_a_message_that_claims_too_much():
    chosen = settings(MAX_MESSAGE_SIZE=MIB)
    with serving({"thing": Thing()}, settings=chosen) as served:
        where = served.daemon.locations[0]
        with socket.create_connection((where.host, where.port)) as sock:
            raw = RawPeer(sock)
            calls_at(raw)
            long = encode(long_call(7, 2 * MIB))
            long.chunk_bytes = 1000
            raw.send(b"".join(long.chunk(0)))
            why = raw.expect(GOODBYE)
            assert b"MessageTooLargeError" in bytes(why.payload)
            assert raw.read() is None


# --- a deadline, and Ctrl-C -------------------------------------------------------------------


def test_a_deadline_takes_a_request_back():
    near, far = unix_pair()
    with near, far:
        proxy, slow = welcomed(near, far)
        proxy._pyroTimeout = 0.1
        with pytest.raises(TimeoutError) as caught:
            proxy.echo(bytes(LARGE_BYTES))
        assert caught.value.call_status == "not started"
        proxy._pyroTimeout = None
        session = proxy._pyroConnection
        small = Worker(proxy.echo, 5)
        found = []
        for kind, request_id, flags in slow.frames():  # noqa: B007
            found.append((kind, flags & ERROR))
            if kind == REQUEST and len(found) > 1:
                break
        assert found[0] == (REQUEST, 0)
        assert (DATA, ERROR) in found
        assert len(found) <= 6
        slow.send(call_result(request_id, 5))
        assert small.result() == 5
        assert not session._abandoned
        again = Worker(proxy.echo, bytes(2 * MIB))
        frames = slow.frames()
        assert [next(frames)[0] for _ in range(3)] == [REQUEST, DATA, DATA]
        slow.send(call_result(request_id + 1, 6))
        assert again.result() == 6
        proxy._pyroRelease()


def test_a_deadline_before_anything_was_sent():
    near, far = unix_pair()
    with near, far:
        proxy, slow = welcomed(near, far)
        long = Worker(proxy.echo, bytes(LARGE_BYTES))
        frames = slow.frames()
        next(frames)
        proxy_two = Proxy("thing", connected_socket=near)
        proxy_two._pyroSerializer = "json"
        proxy_two.__dict__.update(_pyroMethods=proxy._pyroMethods)
        proxy_two._pyroTimeout = 0.1
        with pytest.raises(TimeoutError) as caught:
            proxy_two._pyroInvoke("echo", (bytes(LARGE_BYTES),), {})
        assert caught.value.call_status == "not sent"
        assert not proxy._pyroConnection._abandoned
        kinds = [next(frames)[0] for _ in range(LARGE_BYTES // MIB)]
        assert kinds == [DATA] * len(kinds)
        slow.send(call_result(2, 1) + call_result(3, 1) + call_result(4, 1))
        long.result()
        proxy._pyroRelease()


def test_ctrl_c_in_the_middle_leaves_the_connection_in_step():
    class Interrupted(BaseException):
        pass

    def handler(*args):
        raise Interrupted

    near, far = unix_pair()
    with near, far:
        proxy, slow = welcomed(near, far)
        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted):
                proxy.echo(bytes(LARGE_BYTES))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        small = Worker(proxy.echo, 5)
        for kind, request_id, flags in slow.frames():
            if kind == REQUEST and request_id > 1:
                last = request_id
            if kind == DATA and flags & ERROR:
                given_up = request_id
                break
        for kind, request_id, _ in slow.frames():
            if kind == REQUEST:
                last = request_id
                break
        assert last != given_up
        slow.send(call_result(last, 5))
        assert small.result() == 5
        proxy._pyroRelease()


def test_interrupted_again_and_again():
    """Wherever the handler raises: what comes next is in step."""

    class Interrupted(BaseException):
        pass

    def handler(*args):
        raise Interrupted

    with pyroipc.spawn(Thing, start="fork") as thing:
        value = np.arange(2 * MIB // 8)
        thing.echo(value)
        before = signal.signal(signal.SIGALRM, handler)
        chance = np.random.default_rng(1)
        interrupted = 0
        try:
            for _ in range(150):
                try:
                    signal.setitimer(signal.ITIMER_REAL, float(chance.uniform(2e-5, 3e-3)))
                    assert (thing.echo(value) == value).all()
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupted:
                    interrupted += 1
                assert thing.size(b"abc") == 3
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert interrupted > 20
        assert (thing.echo(value) == value).all()


def test_many_threads_with_long_and_short_calls():
    with pyroipc.spawn(Thing, start="fork") as thing:
        values = [np.full(3 * MIB, number, np.uint8) for number in range(4)]

        def long(number):
            for _ in range(8):
                assert (thing.echo(values[number]) == number).all()

        def short():
            for number in range(300):
                assert thing.echo(number) == number

        workers = [Worker(long, number) for number in range(4)] + [Worker(short) for _ in range(4)]
        for worker in workers:
            worker.result(40)


def test_a_peer_that_cannot_take_buffers_gets_everything_in_one_piece():
    near, far = unix_pair()
    with near, far:
        told = dict(TOLD)
        TOLD["features"] = ("ping", "objects")
        try:
            proxy, slow = welcomed(near, far)
        finally:
            TOLD.update(told)
        call = Worker(proxy.echo, bytes(2 * MIB))
        kind, request_id, _ = next(slow.frames())
        assert kind == REQUEST
        slow.send(call_result(request_id, 1))
        assert call.result() == 1
        proxy._pyroRelease()

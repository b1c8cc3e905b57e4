"""Peers that break off or break the rules, at each step: typed errors, no hang, nothing left."""

from __future__ import annotations

import gc
import os
import random
import select
import signal
import socket
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc import (
    CommunicationError,
    ConnectionClosedError,
    Daemon,
    MessageTooLargeError,
    PeerDiedError,
    ProtocolError,
    Proxy,
    PyroError,
    Settings,
    VersionMismatchError,
    expose,
)
from pyroipc.protocol.hello import Hello
from pyroipc.serializers import table
from pyroipc.wire.message import (
    ANSWER,
    CANCEL,
    CREDIT,
    DATA,
    ERROR,
    GOODBYE,
    HELLO,
    ITEM,
    KINDS,
    OFFER,
    ONEWAY,
    PING,
    PONG,
    REFUSED,
    REQUEST,
    RESPONSE,
    WELCOME,
)
from pyroipc.wire.native import encode_plain, plain_prefix
from tests.support.hosts import PATIENCE, Child, ThreadHost, Worker
from tests.support.messages import plain
from tests.support.raw import (
    JSON,
    METADATA,
    BudgetSpent,
    RawPeer,
    answer_to,
    call_frame,
    error_text,
    hello_frame,
    result_frame,
    serve,
)
from tests.support.things import Thing

SOON = 2.0

HELLO_FRAME = hello_frame()
CALL_FRAME = call_frame(2, "echo", "x" * 50)
SAID = HELLO_FRAME + CALL_FRAME
CUTS = sorted({
    *(0, 1, 5, 6, 7, 23, 35, 36, 37),
    *(len(HELLO_FRAME) + step for step in (-1, 0, 1, 7, 35, 36, 37)),
    *(len(SAID) - 1, len(SAID)),
})


def json_settings(**items):
    settings = pyroipc.config.copy()
    settings.LOCAL_SERIALIZER = "json"
    for name, value in items.items():
        setattr(settings, name, value)
    return settings


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.fixture
def host(pair):
    """A daemon on the far end; the near end is for a bad client."""
    return ThreadHost(pair[1], {"thing": Thing()})


def ends_soon(host):
    start = monotonic()
    error = host.loop.finish()
    assert monotonic() - start < SOON
    return error


# --- bad clients: how they go -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("n", CUTS)
def test_a_client_goes_in_the_middle(pair, host, n, how):
    near, _ = pair
    near.sendall(SAID[:n])
    if how == "half-close":
        near.shutdown(socket.SHUT_WR)
    elif how == "close":
        near.shutdown(socket.SHUT_RDWR)
    else:
        near.close()
    assert ends_soon(host) is None


@pytest.mark.parametrize("n", CUTS)
def test_a_client_is_killed_in_the_middle(n):
    near, far = socket.socketpair()
    with far:

        def body():
            near.sendall(SAID[:n])
            os.kill(os.getpid(), signal.SIGKILL)

        with near:
            child = Child(body)
        host = ThreadHost(far, {"thing": Thing()})
        assert ends_soon(host) is None
        assert child.wait() == -signal.SIGKILL


def test_a_client_that_half_closes_gets_its_answers(pair, host):
    near, _ = pair
    near.sendall(SAID)
    near.shutdown(socket.SHUT_WR)
    peer = RawPeer(near)
    peer.expect(WELCOME)
    assert bytes(peer.expect(RESPONSE).payload) == b'"' + b"x" * 50 + b'"'
    assert ends_soon(host) is None


# --- bad clients: what they say -----------------------------------------------------------------

BAD = {
    "garbage": b"\x00\x01\x02garbage",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "unknown kind": HELLO_FRAME + plain(99, 2, b""),
    "unknown flags": HELLO_FRAME + plain(REQUEST, 2, b"")[:8] + b"\x80\x00" + bytes(26),
    "hello of no form": plain(HELLO, 1, b"what?\xff", 0),
    "huge hello": plain(HELLO, 1, b"x" * (65 << 10), 0),
    "hello with many lines": plain(HELLO, 1, b"a=b\n" * 1000, 0),
    "garbage after hello": HELLO_FRAME + b"garbage of more than a header, so that it is looked at",
    "garbage after a call": SAID + b"\xff" * 40,
}


@pytest.mark.parametrize("said", BAD.values(), ids=BAD.keys())
def test_bytes_against_the_rules_end_the_loop(pair, host, said):
    near, _ = pair
    near.sendall(said)
    assert isinstance(ends_soon(host), ProtocolError)


def test_a_claim_over_the_limit_ends_the_loop(pair):
    near, far = pair
    host = ThreadHost(far, {}, settings=json_settings(LOCAL_MAX_MESSAGE_SIZE=100_000))
    near.sendall(HELLO_FRAME + plain(REQUEST, 2, b"x" * 100_000)[:36])
    assert isinstance(ends_soon(host), MessageTooLargeError)


def test_the_client_is_told_why(pair):
    near, far = pair
    host = ThreadHost(far, {}, settings=json_settings(LOCAL_MAX_MESSAGE_SIZE=100_000))
    peer = RawPeer(near)
    peer.greet()
    near.sendall(plain(REQUEST, 2, b"x" * 100_000)[:36])
    assert b"100000 are allowed" in bytes(peer.expect(GOODBYE).payload)
    assert isinstance(ends_soon(host), MessageTooLargeError)


def test_another_version_is_refused_in_words(pair, host):
    peer = RawPeer(pair[0])
    peer.send(hello_frame(protocol=77, library="pyroipc 99"))
    goodbye = peer.expect(GOODBYE)
    assert goodbye.flags & REFUSED
    text = bytes(goodbye.payload).decode()
    assert "pyroipc 99 (protocol 77" in text
    assert f"protocol {1}" in text
    peer.greet()  # and it may try again
    host.stop()


def test_a_request_before_the_hello_is_refused(pair, host):
    peer = RawPeer(pair[0])
    peer.send(call_frame(5, "echo", 1))
    answer = peer.expect(RESPONSE)
    assert answer.request_id == 5
    assert "hello" in error_text(answer)
    host.stop()


def test_a_second_hello_begins_a_new_conversation(pair, host):
    peer = RawPeer(pair[0])
    for i in range(3):
        peer.greet()
        peer.send(call_frame(2, "echo", i))
        assert bytes(peer.expect(RESPONSE).payload) == str(i).encode()
    host.stop()


ANSWERED = {HELLO, REQUEST, PING, OFFER}
FATAL = {GOODBYE, DATA}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - ANSWERED - FATAL))
def test_messages_that_nobody_asked_for_are_dropped(pair, host, kind):
    peer = RawPeer(pair[0])
    peer.greet()
    peer.send(plain(kind, 77, b"what nobody asked for", 0))
    peer.send(call_frame(2, "echo", 1))
    assert bytes(peer.expect(RESPONSE).payload) == b"1"
    host.stop()


def test_data_of_no_message_end_the_connection(pair, host):
    peer = RawPeer(pair[0])
    peer.greet()
    peer.send(plain(DATA, 77, b"what nobody asked for", 0))
    assert b"data" in bytes(peer.expect(GOODBYE).payload)
    assert isinstance(ends_soon(host), ProtocolError)


def test_pings_are_answered_also_while_a_call_runs(pair, host):
    peer = RawPeer(pair[0])
    peer.greet()
    for i in range(10):
        peer.send(plain(PING, i, b"are you there?", 0))
        pong = peer.expect(PONG)
        assert (pong.request_id, bytes(pong.payload)) == (i, b"are you there?")
    host.stop()


@pytest.mark.parametrize("flags", [0x0004, 0x0010, 0x0020, 0x0008, 0x0200, 0x0100])
def test_flags_of_features_that_are_not_there(pair, host, flags):
    peer = RawPeer(pair[0])
    peer.greet()
    peer.send(call_frame(2, "echo", 1, flags=flags))
    assert peer.expect(RESPONSE).request_id == 2
    peer.send(call_frame(3, "echo", 1))
    assert bytes(peer.expect(RESPONSE).payload) == b"1"
    host.stop()


@pytest.mark.parametrize("serializer", [0, 5, 16, 17, 200, 255])
def test_serializers_that_are_not_accepted_get_no_byte(serializer):
    near, far = socket.socketpair()
    with near, far:
        host = ThreadHost(far, {"thing": Thing()}, serializers_accepted={"json"})
        peer = RawPeer(near)
        peer.greet()
        peer.send(plain(REQUEST, 2, b"cos\nsystem\n(S'exit 1'\ntR.", serializer))
        answer = peer.expect(RESPONSE)
        assert answer.serializer_id == 0
        assert error_text(answer).startswith(("SecurityError: ", "SerializeError: "))
        peer.send(call_frame(3, "echo", 1))
        assert bytes(peer.expect(RESPONSE).payload) == b"1"
        host.stop()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"object": 5}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'"' + b"a" * 70_000,
    ],
)
def test_payloads_that_are_no_calls_get_an_error(pair, host, payload):
    peer = RawPeer(pair[0])
    peer.greet()
    peer.send(plain(REQUEST, 2, payload))
    assert peer.expect(RESPONSE).flags & ERROR
    peer.send(plain(REQUEST, 3, payload, flags=ONEWAY))
    peer.send(call_frame(4, "echo", 1))
    assert bytes(peer.expect(RESPONSE).payload) == b"1"
    host.stop()


def test_mutated_requests(pair):
    """Whatever the bytes: the loop goes on, or it ends with an error of ours."""
    chance = random.Random(7)
    ended = 0
    for _ in range(150):
        near, far = socket.socketpair()
        with near, far:
            host = ThreadHost(far, {"thing": Thing()}, settings=json_settings())
            data = bytearray(SAID + call_frame(3, "add", 1) + call_frame(4, "value"))
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)
            error = ends_soon(host)
            assert error is None or isinstance(error, ProtocolError), repr(error)
            ended += error is not None
    assert 10 < ended < 140


def test_many_requests_in_one_piece(pair, host):
    """G22: pipelining."""
    peer = RawPeer(pair[0])
    peer.greet()
    n = 3000
    sender = Worker(peer.send, b"".join(call_frame(10 + i, "echo", i) for i in range(n)))
    answers = {}
    for _ in range(n):
        answer = peer.expect(RESPONSE)
        answers[answer.request_id] = bytes(answer.payload)
    assert answers == {10 + i: str(i).encode() for i in range(n)}
    sender.result()
    host.stop()


# --- bad servers: how they go -------------------------------------------------------------------

SERVED = (
    len(hello_frame(WELCOME)),
    len(result_frame(2, METADATA)),
    len(result_frame(3, "x" * 100)),
)
SERVER_CUTS = sorted(
    {0, 1, 6, 35, 36, 37}
    | {SERVED[0] + step for step in (-1, 0, 1, 36)}
    | {sum(SERVED[:2]) + step for step in (-1, 0, 1, 36, 37)}
    | {sum(SERVED) - 1}
)


def run_bad_server(sock, budget, how):
    peer = RawPeer(sock, budget)
    try:
        if not budget:
            peer.read()
            raise BudgetSpent
        serve(peer)
    except BudgetSpent:
        if how == "half-close":
            sock.shutdown(socket.SHUT_WR)
            while peer.read() is not None:
                pass
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        sock.close()


@pytest.mark.parametrize("how", ["close", "half-close", "kill"])
@pytest.mark.parametrize("n", SERVER_CUTS)
def test_a_server_goes_in_the_middle(n, how):
    near, far = socket.socketpair()
    with near, far:
        if how == "kill":
            child = Child(lambda: (near.close(), run_bad_server(far, n, how)))
            far.close()
        else:
            server = Worker(run_bad_server, far, n, how)
        proxy = Proxy("thing", connected_socket=near, settings=json_settings())
        start = monotonic()
        with pytest.raises(ConnectionClosedError) as caught:
            proxy.echo("x" * 100)
        assert monotonic() - start < SOON
        with pytest.raises(ConnectionClosedError) as again:
            proxy.echo("x" * 100)
        assert again.value.call_status == "not sent"
        if how == "kill":
            assert child.wait() == -signal.SIGKILL
        near.close()
        if how != "kill":
            server.result()
        del caught, again, proxy
        gc.collect()


def test_a_killed_child_is_named():
    near, far = socket.socketpair()
    with near, far:

        def body():
            near.close()
            peer = RawPeer(far)
            peer.send(hello_frame(WELCOME, peer.expect(HELLO).request_id, pid=os.getpid()))
            peer.expect(REQUEST)
            os.kill(os.getpid(), signal.SIGKILL)

        child = Child(body)
        far.close()
        proxy = Proxy("thing", connected_socket=near, settings=json_settings())
        with pytest.raises(PeerDiedError, match="SIGKILL") as caught:
            proxy.echo(1)
        assert (caught.value.pid, caught.value.exitcode) == (child.pid, -signal.SIGKILL)
        assert caught.value.signal_name == "SIGKILL"
        child.wait()


@pytest.mark.parametrize("pid", [-1, -5, 1, 2**31, 2**63, 2**80, os.getppid()])
def test_a_server_that_lies_about_its_pid(pid):
    near, far = socket.socketpair()
    with near, far:

        def lie():
            with far:
                peer = RawPeer(far)
                peer.send(hello_frame(WELCOME, peer.expect(HELLO).request_id, pid=pid))
                peer.read()

        server = Worker(lie)
        proxy = Proxy("thing", connected_socket=near, settings=json_settings())
        with pytest.raises(PyroError) as caught:
            proxy.echo(1)
        assert not isinstance(caught.value, PeerDiedError)
        near.close()
        server.result()


# --- bad servers: what they say -----------------------------------------------------------------


def against(reply, *, timeout=0.3, calls=1):
    """Call a server whose answers ``reply(message, usual)`` makes; return what was raised."""
    near, far = socket.socketpair()
    with near, far:

        def run():
            peer = RawPeer(far)
            while (message := peer.read()) is not None:
                data = reply(message, answer_to(message))
                if data:
                    peer.send(data)

        server = Worker(run)
        proxy = Proxy("thing", connected_socket=near, settings=json_settings())
        proxy._pyroTimeout = timeout
        error = None
        start = monotonic()
        try:
            for i in range(calls):
                assert proxy.echo(i) == i
        except PyroError as caught:
            error = caught.with_traceback(None)
        assert monotonic() - start < timeout * 3 + 2
        proxy._pyroRelease()
        near.close()
        server.finish()
        return error


def is_echo(message):
    return message.kind == REQUEST and b'"echo"' in bytes(message.payload)


def test_a_good_server_is_good():
    assert against(lambda message, usual: usual, calls=50) is None


REPLIES = {
    "garbage": (lambda m: b"\xff" * 50, ProtocolError),
    "http": (lambda m: b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 20, ProtocolError),
    "unknown kind": (lambda m: plain(99, m.request_id, b"1"), ProtocolError),
    "wrong serializer": (lambda m: plain(RESPONSE, m.request_id, b"1", 4), ProtocolError),
    "no json": (lambda m: plain(RESPONSE, m.request_id, b"{"), pyroipc.SerializeError),
    "no exception": (lambda m: result_frame(m.request_id, 5, ERROR), pyroipc.SerializeError),
    "deep": (lambda m: plain(RESPONSE, m.request_id, b"[" * 60_000), pyroipc.SerializeError),
    "wrong id": (lambda m: result_frame(m.request_id + 1, 0), pyroipc.TimeoutError),
    "silence": (lambda m: b"", pyroipc.TimeoutError),
    "half": (lambda m: result_frame(m.request_id, 0)[:-1], pyroipc.TimeoutError),
    "too large": (lambda m: plain(RESPONSE, m.request_id, b"")[:28] + b"\xff" * 8,
                  MessageTooLargeError),
    "goodbye": (lambda m: plain(GOODBYE, 1, b"left: just so", 0), ConnectionClosedError),
    "refused": (lambda m: plain(RESPONSE, m.request_id, b"SecurityError: no", 0, ERROR),
                pyroipc.SecurityError),
    "a request": (lambda m: call_frame(m.request_id, "echo", 0), ProtocolError),
    "hello of no form": (lambda m: plain(HELLO, 9, b"\xff", 0), ProtocolError),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_replies_against_the_rules(reply, expected):
    error = against(lambda message, usual: reply(message) if is_echo(message) else usual)
    assert isinstance(error, expected), repr(error)


@pytest.mark.parametrize("kind", [WELCOME, PONG, ITEM])
def test_an_answer_of_another_kind_is_a_value_or_an_error(kind):
    error = against(
        lambda message, usual: (
            plain(kind, message.request_id, b"0", JSON) if is_echo(message) else usual
        )
    )
    assert error is None or isinstance(error, CommunicationError)


@pytest.mark.parametrize("kind", [CANCEL, CREDIT, PONG, ITEM, PING, RESPONSE])
def test_what_nobody_asked_for_is_dropped(kind):
    assert (
        against(
            lambda message, usual: (
                plain(kind, 9999, b"{}", 0) + usual if message.kind != PONG else b""
            ),
            calls=5,
        )
        is None
    )


WELCOMES = {
    "another version": (hello_frame(WELCOME, 1, protocol=9)[36:], VersionMismatchError),
    "nothing": (b"", ProtocolError),
    "no form": (b"\xff\x00", ProtocolError),
    "no objects": (hello_frame(WELCOME, 1, features=())[36:], pyroipc.DaemonError),
    "no serializers": (hello_frame(WELCOME, 1, serializers=())[36:], PyroError),
    "minus": (hello_frame(WELCOME, 1, max_message_bytes=-3)[36:], ProtocolError),
    "huge pid": (hello_frame(WELCOME, 1, pid=1 << 900)[36:], ProtocolError),
    "many CPUs": (hello_frame(WELCOME, 1, cpus=1 << 900)[36:], None),
    "many digits": (b"library=x\npython=x\nprotocol=" + b"9" * 5000, ProtocolError),
}


@pytest.mark.parametrize(("payload", "expected"), WELCOMES.values(), ids=WELCOMES.keys())
def test_welcomes_against_the_rules(payload, expected):
    error = against(
        lambda message, usual: (
            plain(WELCOME, message.request_id, payload, 0) if message.kind == HELLO else usual
        )
    )
    assert error is None if expected is None else isinstance(error, expected), repr(error)


@pytest.mark.parametrize("kind", [RESPONSE, PONG, ITEM])
def test_a_hello_is_answered_by_a_welcome_and_nothing_else(kind):
    error = against(
        lambda message, usual: (
            plain(kind, message.request_id, usual[36:], 0) if message.kind == HELLO else usual
        )
    )
    assert isinstance(error, CommunicationError)


def test_a_refused_hello_says_why():
    error = against(
        lambda message, usual: plain(GOODBYE, 1, b"version: too old for me", 0, REFUSED)
    )
    assert isinstance(error, VersionMismatchError)
    assert "too old for me" in str(error)


def test_mutated_replies():
    """G35: an error of ours, or a value, and never anything else."""
    chance = random.Random(11)
    seen = set()
    for _ in range(150):
        changes = [(chance.random(), chance.randrange(256)) for _ in range(chance.randint(1, 3))]

        def mutate(message, usual, changes=changes):
            if not is_echo(message):
                return usual
            data = bytearray(usual)
            for where, value in changes:
                data[int(where * len(data))] = value
            return bytes(data)

        try:
            seen.add(type(against(mutate, timeout=0.02)).__name__)
        except AssertionError:
            seen.add("another value")
    assert {"ProtocolError", "TimeoutError"} <= seen, seen


def test_exceptions_cannot_end_the_caller():
    for name in (
        "SystemExit",
        "builtins.SystemExit",
        "builtins.KeyboardInterrupt",
        "builtins.GeneratorExit",
        "os.system",
        "no.such.Thing",
    ):
        fault = ["pyroipc error 2", {"class": name, "args": [["boo"]]}, ["somewhere"]]
        caught = None
        try:
            caught = against(
                lambda message, usual, fault=fault: (
                    result_frame(message.request_id, fault, ERROR) if is_echo(message) else usual
                )
            )
        except Exception as error:
            caught = error.with_traceback(None)
        assert isinstance(caught, Exception)
        assert "boo" in str(caught)


# --- deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [0, 1, 7], ids=["silent", "trickling", "in steps"])
def test_the_deadline_holds_for_the_whole_call(piece):
    """G14; and afterwards the connection is in step: the late answer is dropped."""
    near, far = socket.socketpair()
    with near, far:
        import threading

        over = threading.Event()

        def run():
            peer = RawPeer(far)
            for _ in range(2):
                peer.send(answer_to(peer.read()))
            answer = answer_to(peer.expect(REQUEST))
            while piece and not over.wait(0.02) and len(answer) > piece:
                peer.send(answer[:piece])
                answer = answer[piece:]
            over.wait(5)
            peer.send(answer)
            serve(peer)

        server = Worker(run)
        proxy = Proxy("thing", connected_socket=near, settings=json_settings())
        proxy._pyroBind()
        proxy._pyroTimeout = 0.25
        start = monotonic()
        with pytest.raises(pyroipc.TimeoutError) as caught:
            proxy.echo("a" * 1000)
        assert 0.2 < monotonic() - start < 2
        assert isinstance(caught.value, TimeoutError)
        over.set()
        proxy._pyroTimeout = 5
        for i in range(10):
            assert proxy.echo(i) == i
        proxy._pyroRelease()
        near.close()
        server.result()


def test_the_deadline_holds_for_the_first_use(pair):
    near, _far = pair
    proxy = Proxy("thing", connected_socket=near, settings=json_settings(COMMTIMEOUT=0.2))
    start = monotonic()
    with pytest.raises(pyroipc.TimeoutError):
        proxy.echo(1)
    assert monotonic() - start < 2
    proxy._pyroRelease()


def test_the_deadline_holds_against_a_peer_that_does_not_read(pair):
    near, far = pair
    server = Worker(lambda: [far.send(answer_to(RawPeer(far).read())) for _ in range(2)])
    proxy = Proxy("thing", connected_socket=near, settings=json_settings())
    proxy._pyroBind()
    server.result()
    proxy._pyroTimeout = 0.2
    data = "x" * (4 << 20)
    for _ in range(2):
        start = monotonic()
        with pytest.raises(pyroipc.TimeoutError):
            proxy.echo(data)
        assert monotonic() - start < 2
    reader = Worker(serve, RawPeer(far))  # now it reads, and the stream is in step
    proxy._pyroTimeout = 10
    assert proxy.echo("after") == "after"
    proxy._pyroRelease()
    near.close()
    reader.result()


@pytest.mark.parametrize("timeout", [1e9, 1e30, float("inf")])
def test_deadlines_beyond_all_bounds(timeout):
    assert against(lambda message, usual: usual, timeout=timeout) is None


def test_answer_is_a_bit():
    assert {kind for kind in KINDS if kind & ANSWER} == {WELCOME, RESPONSE, PONG, ITEM}


def test_a_peer_that_asks_and_reads_no_answer_is_not_read_without_end():
    near, far = socket.socketpair()
    settings = Settings()
    settings.SERVERTYPE = "multiplex"
    settings.ONEWAY_QUEUE = 50
    daemon = Daemon(connected_socket=far, settings=settings)
    daemon.register(Bulky(), "bulky")
    loop = threading.Thread(target=daemon.requestLoop)
    loop.start()
    try:
        greeting = Hello(serializers=["msgpack"]).encode()
        near.sendall(encode_plain(plain_prefix(HELLO, 0, 0), 1, greeting))
        codec = table.get("msgpack")
        payload = codec.dumps_call("bulky", "answer", (), {})
        request = encode_plain(plain_prefix(REQUEST, codec.id, 0), 2, payload)
        taken = 0
        while taken < 20_000 and select.select([], [near], [], 0.5)[1]:
            try:
                taken += near.send(request, socket.MSG_DONTWAIT) // len(request)
            except BlockingIOError:
                break
        assert taken < 5_000, "what nobody reads the answers of must not fill the memory"
    finally:
        near.close()
        loop.join(PATIENCE)
        far.close()
    assert not loop.is_alive()


class Bulky:
    @expose
    def answer(self):
        return b"x" * (1 << 20)

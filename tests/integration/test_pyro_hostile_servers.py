"""Servers of Pyro's dialects that lie, break off, or keep silent: what a proxy makes of it."""

from __future__ import annotations

import builtins
import contextlib
import json
import marshal
import pickle
import re
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from pyroipc import BatchProxy, Proxy, PyroError
from pyroipc.errors import (
    CommunicationError,
    ConnectError,
    ConnectionClosedError,
    MessageTooLargeError,
    ProtocolError,
    RemoteError,
    SecurityError,
    SerializeError,
    TimeoutError,
)
from tests.support.daemons import settings
from tests.support.network_hosts import SCALE
from tests.support.pyro_frames import (
    BATCH,
    COMPRESSED,
    CONNECT,
    CONNECTFAIL,
    CONNECTOK,
    INVOKE,
    KINDS,
    PING,
    PYRO4,
    PYRO5,
    RESULT,
)
from tests.support.pyro_raw import RawPyro, served_by_hand

dialects = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
DEADLY = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException")
SOON = 4.0
"""Seconds; an error that takes longer has waited for something."""


@contextlib.contextmanager
def proxy_for(kind, answer, **items):
    """Yield a proxy for a server; ``answer`` is given what comes after the introduction."""

    def answer_all(peer, message):
        if message.request_id == 0 and b"handshake" in message.payload:
            return peer.welcome(message.serializer_id)
        return answer(peer, message)

    with proxy_for_all(kind, answer_all, **items) as proxy:
        yield proxy


@contextlib.contextmanager
def proxy_for_all(kind, answer, **items):
    with served_by_hand(kind, answer) as location:
        chosen = settings(SERIALIZER="json", **items)
        proxy = Proxy(f"PYRO:thing@{location}", dialect=kind.name, settings=chosen)
        proxy._pyroTimeout = 5
        with proxy:
            yield proxy


def failing(function, *args, within=SOON):
    """Return what is raised: an error of ours, and soon."""
    start = time.monotonic()
    with pytest.raises(Exception) as caught:
        function(*args)
    assert time.monotonic() - start < within
    return caught.value


# ------------------------------------------------------------------------------ wrong answers


def typed(message_type, payload=b"5", serializer=None):
    """Return what makes an answer that is a message of another type, or in another serializer."""

    def make(peer, seq):
        number = peer.kind.json if serializer is None else serializer
        return peer.frame(message_type, number, seq=seq, payload=payload)

    return make


def valued(value, flags=0, **parts):
    """Return what makes an answer that holds a value."""
    return lambda peer, seq: peer.result(seq, value, flags, **parts)


def is_stream_of_batch(peer, seq):
    return peer.result(seq, 5, BATCH | peer.kind.stream | 1)


def in_marshal(peer, seq):
    return peer.frame(RESULT, peer.kind.marshal, seq=seq, payload=b"5")


NO_URI = {"__class__": "Pyro5.core.URI", "state": 5}
WRONG_ANSWERS = {
    "welcome": (typed(CONNECTOK), ProtocolError),
    "refusal": (typed(CONNECTFAIL, b'"x"'), ProtocolError),
    "pong": (typed(PING, b"pong"), ProtocolError),
    "call": (typed(INVOKE), ProtocolError),
    "introduction": (typed(CONNECT), ProtocolError),
    "unknown": (typed(99), ProtocolError),
    "check": (valued(5, check=1), ProtocolError),
    "version": (valued(5, version=9), ProtocolError),
    "annotations": (valued(5, area=b"xx"), ProtocolError),
    "http": (lambda peer, seq: b"HTTP/1.1 200 OK\r\n\r\n", ProtocolError),
    "cut": (valued(5, payload=b"{"), SerializeError),
    "empty": (valued(5, payload=b""), SerializeError),
    "not compressed": (valued(5, COMPRESSED), ProtocolError),
    "no exception": (valued(5, 1), SerializeError),
    "none": (valued(None, 1), SerializeError),
    "no class": (valued({"__class__": 5}, 1), SerializeError),
    "unknown class": (valued({"__class__": "os.system"}), SerializeError),
    "private class": (valued({"__class__": "a.__b__"}), SecurityError),
    "no state": (valued(NO_URI), SerializeError),
    "serpent": (typed(RESULT, serializer=1), ProtocolError),
    "unknown serializer": (typed(RESULT, serializer=99), ProtocolError),
    "none at all": (typed(RESULT, b"\xff", serializer=0), ProtocolError),
    "marshal": (in_marshal, ProtocolError),
    "stream of a batch": (is_stream_of_batch, ProtocolError),
}


@dialects
@pytest.mark.parametrize("what", WRONG_ANSWERS)
def test_wrong_answers(kind, what):
    wrong, expected = WRONG_ANSWERS[what]

    def answer(peer, message):
        if b'"right"' in message.payload:
            return peer.result(message.request_id, "right")
        return wrong(peer, message.request_id)

    with proxy_for(kind, answer) as proxy:
        for _ in range(2):
            error = failing(proxy.echo, 1)
            assert isinstance(error, expected), repr(error)
            assert not str(error).startswith("<")
        assert proxy.echo("right") == "right"


@dialects
@pytest.mark.parametrize("payload", [b"N", b"\xe3" + bytes(40), pickle.dumps(5), b"5"])
def test_answers_are_read_with_the_serializer_of_the_call_only(kind, payload, monkeypatch):
    loads = []
    monkeypatch.setattr(marshal, "loads", lambda *args, **more: loads.append(args))
    numbers = [*kind.dialect(serving=False).serializers, 0, 200]

    def answer(peer, message):
        number = numbers[message.request_id % len(numbers)]
        return peer.frame(RESULT, number, seq=message.request_id, payload=payload)

    with proxy_for(kind, answer) as proxy:
        for _ in numbers:
            try:
                assert proxy.echo(1) == 5
            except PyroError:
                pass
    assert loads == []


@dialects
@pytest.mark.parametrize("other", [-1, 1, 1000, 0x8000])
def test_an_answer_to_something_else_is_no_answer(kind, other):
    """It may be a late one; the right one counts, if it comes."""
    tells = threading.Event()

    def answer(peer, message):
        wrong = peer.result((message.request_id + other) & 0xFFFF, "wrong")
        return wrong + (peer.result(message.request_id, "right") if tells.is_set() else b"")

    with proxy_for(kind, answer) as proxy:
        proxy._pyroTimeout = 0.1
        for _ in range(2):
            assert isinstance(failing(proxy.echo, 1), TimeoutError)
        proxy._pyroTimeout = 5
        tells.set()
        for _ in range(3):
            assert proxy.echo(1) == "right"


@dialects
def test_late_answers_are_never_taken_for_others(kind):
    held = []

    def answer(peer, message):
        value = json.loads(message.payload)["params"][0]
        frame = peer.result(message.request_id, value)
        if value == "slow":
            held.append(frame)
            return b""
        late = b"".join(held)
        held.clear()
        return late + frame

    with proxy_for(kind, answer) as proxy:
        for i in range(20):
            proxy._pyroTimeout = 0.02
            assert isinstance(failing(proxy.echo, "slow"), TimeoutError)
            proxy._pyroTimeout = 5
            assert proxy.echo(i) == i


@dialects
def test_sequence_numbers_in_use_are_not_given_again(kind):
    """There are 65536; the answer to a call that was given up may still come."""

    def answer(peer, message):
        if b'"slow"' in message.payload:
            return b""
        return peer.result(message.request_id, message.request_id)

    with proxy_for(kind, answer) as proxy:
        first = proxy.echo(1)
        proxy._pyroTimeout = 0.02
        assert isinstance(failing(proxy.echo, "slow"), TimeoutError)
        proxy._pyroTimeout = 5
        session = proxy._pyroConnection
        ids = [session.next_id() for _ in range(0xFFFF - 2)]
        assert len(set(ids)) == len(ids)
        assert first + 1 not in ids
        found = [session.next_id() for _ in range(5)]
        assert first + 1 not in found
        assert proxy.echo(1) not in (first, first + 1)
        session.waiters.update(dict.fromkeys(range(0x10000)))
        try:
            with pytest.raises(CommunicationError, match="no number is left"):
                session.next_id()
        finally:
            session.waiters.clear()


# -------------------------------------------------------------------------------- exceptions


@dialects
@pytest.mark.parametrize("name", DEADLY)
@pytest.mark.parametrize("prefix", ["builtins.", "exceptions.", ""])
def test_what_ends_a_process_ends_none(kind, name, prefix):
    def answer(peer, message):
        seq = message.request_id
        exception = {
            "__class__": prefix + name, "__exception__": True, "args": [3], "attributes": {},
        }  # fmt: skip
        if b"<batch>" in message.payload:
            family = "Pyro4.futures" if kind is PYRO4 else "Pyro5.core"
            wrapped = {"__class__": f"{family}._ExceptionWrapper", "exception": exception}
            return peer.result(seq, [1, wrapped], BATCH)
        if b"get_next_stream_item" in message.payload:
            return peer.result(seq, exception, 1)
        if b'params": [2]' in message.payload:
            return peer.result(seq, None, 1 | kind.stream, area=kind.area({"STRM": b"id"}))
        return peer.result(seq, exception, 1)

    with proxy_for(kind, answer) as proxy:
        error = failing(proxy.echo, 1)
        assert isinstance(error, RemoteError)
        assert error.remote_class.rpartition(".")[2] == name
        batch = BatchProxy(proxy)
        batch.echo(1)
        batch.echo(2)
        results = batch()
        assert next(results) == 1
        assert isinstance(failing(next, results), RemoteError)
        assert isinstance(failing(next, proxy.echo(2)), RemoteError)


@dialects
def test_nor_what_comes_later(kind):
    def answer(peer, message):
        return peer.exception(message.request_id, "builtins.SystemExit", 3)

    with proxy_for(kind, answer) as proxy:
        assert isinstance(failing(proxy.echo.submit(1).result), RemoteError)


def exception(name, args=(), attributes=None):
    return {"__class__": name, "__exception__": True, "args": args, "attributes": attributes or {}}


ODD_ATTRIBUTES = {"_pyroTraceback": 5, "__class__": "x", "args": 7, "__dict__": 1}


@dialects
@pytest.mark.parametrize(
    "value",
    [
        {"__class__": "builtins.ValueError", "__exception__": True},
        exception("builtins.ValueError", 5, 5),
        exception("builtins.ValueError", [], [1]),
        exception("x.y.Z", [[]], {"": 1}),
        exception("builtins.OSError", [[], {}]),
        exception("builtins.ValueError", [1], ODD_ATTRIBUTES),
        exception("builtins.open", ["/tmp/x"]),
        exception(""),
        exception("a" * 10_000),
        exception("builtins.UnicodeDecodeError", [1]),
        exception("builtins.BaseExceptionGroup", ["x", []]),
    ],
    ids=range(11),
)
def test_exceptions_that_make_no_sense(kind, value):
    with proxy_for(kind, lambda peer, message: peer.result(message.request_id, value, 1)) as proxy:
        for _ in range(2):
            error = failing(proxy.echo, 1)
            assert isinstance(error, Exception)
            assert type(error).__module__ != "builtins" or "builtins" in value["__class__"]


@dialects
@pytest.mark.parametrize(
    "results",
    [
        None, 5, "x", {}, [{"__class__": "Pyro5.core._ExceptionWrapper"}],
        [{"__class__": "Pyro4.futures._ExceptionWrapper", "exception": 5}],
        [{"__class__": "Pyro5.core._ExceptionWrapper", "exception": {"__class__": "x.y"}}],
    ],
)  # fmt: skip
def test_results_of_batches_that_make_no_sense(kind, results):
    def answer(peer, message):
        return peer.result(message.request_id, results, BATCH)

    with proxy_for(kind, answer) as proxy:
        batch = BatchProxy(proxy)
        batch.echo(1)
        error = failing(lambda: list(batch()))
        assert isinstance(error, PyroError), repr(error)


@dialects
@pytest.mark.parametrize("stream_id", [b"", b"\xff", b"x" * 201, b"x" * 60_000])
def test_ids_of_streams_that_are_none(kind, stream_id):
    def answer(peer, message):
        area = kind.area({"STRM": stream_id})
        return peer.result(message.request_id, None, 1 | kind.stream, area=area)

    with proxy_for(kind, answer) as proxy:
        assert re.search("no id of a stream|not configured", str(failing(proxy.echo, 1)))


@dialects
def test_what_comes_as_a_proxy_or_uri_does_nothing(kind):
    """It is inert until somebody uses it."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    states = {
        "Pyro5.client.Proxy": [f"PYRO:o@{address}", [], [], [], "hello", "marshal"],
        "Pyro4.core.Proxy": [
            f"PYRO:o@{address}",
            [],
            [],
            [],
            0.0,
            "b64:a2V5",
            "hello",
            0,
            "pickle",
        ],
        "Pyro5.core.URI": ["PYRO", "o", None, *address.split(":")],
    }

    def answer(peer, message):
        values = [{"__class__": name, "state": state} for name, state in states.items()]
        return peer.result(message.request_id, values)

    with listener, proxy_for(kind, answer) as proxy:
        first, second, uri = proxy.echo(1)
        assert first._pyroSerializer is None
        assert str(uri) == f"PYRO:o@{address}"
        assert isinstance(second, Proxy)
        listener.settimeout(0.05)
        with pytest.raises(builtins.TimeoutError):
            listener.accept()


# ----------------------------------------------------------------------------- sizes and bombs


@dialects
@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (zlib.compress(b" " * (2 << 20) + b"5"), MessageTooLargeError),
        (zlib.compress(b"5" * 10)[:-1], ProtocolError),
        (zlib.compress(b"5") + b"5", ProtocolError),
        (b"5", ProtocolError),
    ],
    ids=["bomb", "cut off", "trailing", "nonsense"],
)
def test_compressed_answers_are_bounded(kind, packed, expected):
    def answer(peer, message):
        return peer.result(message.request_id, 0, COMPRESSED, payload=packed)

    with proxy_for(kind, answer, MAX_MESSAGE_SIZE=1 << 20) as proxy:
        proxy._pyroBind()
        tracemalloc.start()
        try:
            assert isinstance(failing(proxy.echo, 1), expected)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 << 20


@dialects
@pytest.mark.parametrize("which", ["payload", "area"])
def test_sizes_that_are_only_claimed(kind, which):
    def answer(peer, message):
        claim = {f"{which}_bytes": 0xFFFF if which == "area" else 60 << 20}
        return peer.result(message.request_id, 5, **claim)

    with proxy_for(kind, answer) as proxy:
        proxy._pyroBind()
        proxy._pyroTimeout = 0.2
        tracemalloc.start()
        try:
            assert isinstance(failing(proxy.echo, 1), TimeoutError)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3 << 20


@dialects
def test_too_large_an_answer_is_refused_by_its_header(kind):
    def answer(peer, message):
        return peer.result(message.request_id, 5, payload_bytes=(1 << 20) + 1)[: kind.header_bytes]

    with proxy_for(kind, answer, MAX_MESSAGE_SIZE=1 << 20) as proxy:
        error = failing(proxy.echo, 1)
        assert isinstance(error, MessageTooLargeError)
        assert "MAX_MESSAGE_SIZE" in str(error)


# ----------------------------------------------------------------------------- the introduction


def introducing(kind, frame, **items):
    return proxy_for_all(kind, lambda peer, message: frame(peer, message.serializer_id), **items)


@dialects
@pytest.mark.parametrize(
    "meta",
    [
        5, "methods", [], ["methods"], {"methods": 5}, {"methods": "echo"}, {"methods": {"a": 1}},
        {"methods": [5]}, {"methods": [["echo"]]}, {"methods": [None]}, {"methods": True},
        {"methods": ["echo"], "attrs": 5}, {"methods": ["echo"], "oneway": {"x": 1}},
        {"__class__": "builtins.dict"}, {"methods": []}, {}, {"methods": None},
    ],
    ids=repr,
)  # fmt: skip
def test_metadata_that_make_no_sense(kind, meta):
    with introducing(kind, lambda peer, number: peer.welcome(number, meta)) as proxy:
        error = failing(proxy._pyroBind)
        assert isinstance(error, PyroError), repr(error)
        assert re.search("make no sense|exposes nothing|unsupported", str(error)), error


@dialects
@pytest.mark.parametrize("group", ["methods", "attrs", "oneway"])
@pytest.mark.parametrize("name", ["_pyroRelease", "_pyro_session", "_pyro_line", "_pyroTimeout"])
def test_metadata_do_not_name_what_is_of_a_proxy(kind, group, name):
    """Or a proxy that forgets its methods would forget that, too."""
    meta = {"methods": ["echo"], "oneway": [], "attrs": [], group: ["x", name]}
    with introducing(kind, lambda peer, number: peer.welcome(number, meta)) as proxy:
        error = failing(proxy._pyroBind)
        assert isinstance(error, ProtocolError)
        assert "those of a proxy" in str(error)
        assert proxy._pyroConnection is None


@dialects
def test_metadata_name_members_and_no_more(kind):
    names = ["__class__", "__del__", "__dict__", "__init__", "", "a b", "é", "\udcff", "echo"]
    meta = {"methods": names, "oneway": names, "attrs": names}
    with introducing(kind, lambda peer, number: peer.welcome(number, meta)) as proxy:
        proxy._pyroBind()
        assert proxy._pyroConnection.is_open
        assert type(proxy) is proxy.__class__ is Proxy
        proxy._pyroRelease()
        assert proxy._pyroConnection is None


@dialects
def test_huge_metadata(kind):
    names = [f"method_{i}" for i in range(20_000)]
    meta = {"methods": names, "oneway": [], "attrs": []}
    with introducing(kind, lambda peer, number: peer.welcome(number, meta)) as proxy:
        proxy._pyroBind()
        assert len(proxy._pyroMethods) == 20_000
    with introducing(
        kind, lambda peer, number: peer.welcome(number, meta), MAX_MESSAGE_SIZE=100_000
    ) as proxy:
        assert isinstance(failing(proxy._pyroBind), MessageTooLargeError)


def long_number():
    digits = b"".join((0x7FFF).to_bytes(2, "little") for _ in range(3000))
    return b"l" + (3000).to_bytes(4, "little") + digits


@dialects
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (marshal.dumps("no way"), "no way"),
        (marshal.dumps("ünïcode ☃"), "ünïcode ☃"),
        (marshal.dumps("x" * 60_000), "x{10000}$"),
        (marshal.dumps("\udcff"), "rejected"),
        (marshal.dumps(5), "unreadably"),
        (marshal.dumps(None), "unreadably"),
        (marshal.dumps(["x"]), "unreadably"),
        (long_number(), "unreadably"),
        (b"", "invalid marshal"),
        (b"\xe3" + bytes(60), "invalid marshal"),
        (b"[" * 60_000, "invalid marshal"),
        (b"(\xff\xff\xff\x7f", "invalid marshal"),
    ],
    ids=range(12),
)
def test_refusals_in_marshal(kind, payload, said):
    def frame(peer, number):
        return peer.frame(CONNECTFAIL, kind.marshal, seq=0, payload=payload)

    with introducing(kind, frame) as proxy:
        error = failing(proxy._pyroBind)
        assert isinstance(error, CommunicationError), repr(error)
        assert re.search(f"rejected: .*{said}", f"rejected: {error}"), str(error)[:300]


@dialects
@pytest.mark.parametrize("flags", [0, COMPRESSED, 1])
def test_refusals_in_the_serializer_of_the_client(kind, flags):
    text = json.dumps("no way, as " + "x" * 300).encode()
    for payload in (text, b"5", b"{", b'{"__class__": "x.y"}', b"[" * 3000):
        packed = zlib.compress(payload) if flags == COMPRESSED else payload

        def frame(peer, number, packed=packed):
            return peer.frame(CONNECTFAIL, number, flags=flags, seq=0, payload=packed)

        with introducing(kind, frame) as proxy:
            error = failing(proxy._pyroBind)
            assert isinstance(error, CommunicationError)
            expected = "no way, as" if payload is text else "unreadably|payload|unsupported"
            assert re.search(expected, str(error))


@dialects
@pytest.mark.parametrize("number", [0, 1, 4, 5, 7, 99])
def test_refusals_in_what_nobody_reads(kind, number, tmp_path):
    target = tmp_path / "made"
    payload = b"cos\nmkdir\n(S'%s'\ntR." % bytes(target)

    def frame(peer, _):
        return peer.frame(CONNECTFAIL, number, seq=0, payload=payload)

    with introducing(kind, frame) as proxy:
        error = failing(proxy._pyroBind)
        assert isinstance(error, CommunicationError)
        assert "unreadably" in str(error)
    assert not target.exists()


@dialects
@pytest.mark.parametrize(
    "frame",
    [
        lambda peer, number: peer.frame(RESULT, number, seq=0, payload=b"5"),
        lambda peer, number: peer.frame(PING, number, seq=0, payload=b"5"),
        lambda peer, number: peer.frame(CONNECT, number, seq=0, payload=b"5"),
        lambda peer, number: peer.frame(CONNECTOK, number + 1, seq=0, payload=b"5"),
        lambda peer, number: peer.frame(CONNECTOK, number, seq=0, payload=b"{"),
        lambda peer, number: peer.frame(CONNECTOK, number, flags=2, seq=0, payload=b"5"),
        lambda peer, number: peer.frame(
            CONNECTOK, number, flags=2, seq=0, payload=zlib.compress(b" " * (2 << 20))
        ),
        lambda peer, number: b"PYROI\x01" + bytes(40),
        lambda peer, number: b"garbage",
        lambda peer, number: None,
        lambda peer, number: peer.welcome(number)[:-1] and None,
    ],
    ids=range(11),
)
def test_answers_to_an_introduction_that_are_none(kind, frame):
    with introducing(kind, frame, MAX_MESSAGE_SIZE=1 << 20) as proxy:
        for _ in range(2):
            error = failing(proxy._pyroBind)
            assert isinstance(error, CommunicationError), repr(error)
            assert "cannot connect to 127.0.0.1" in str(error)
            assert error.call_status == "not sent"
            assert proxy._pyroConnection is None


@dialects
def test_an_answer_with_something_behind_it(kind):
    """What belongs to nothing is dropped, be it a result or word of an end."""

    def answer(peer, message):
        behind = peer.result(77, "for nobody") + peer.frame(PING, 42, seq=9, payload=b"pong")
        if message.request_id == 0 and b"handshake" in message.payload:
            return peer.welcome(message.serializer_id) + behind
        return peer.result(message.request_id, "right") + behind

    with proxy_for_all(kind, answer) as proxy:
        for _ in range(3):
            assert proxy.echo(1) == "right"


def test_servers_that_send_us_from_one_dialect_to_the_other():
    """A proxy that finds out what is spoken does so once, and then gives up."""
    seen = []
    other = {b"I\x01": b"\x00\x30", b"\x00\x30": b"\x01\xf6", b"\x01\xf6": b"\x00\x30"}
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock:
                    head = sock.recv(4096)
                    seen.append(head[4:6])
                    version = other[head[4:6]]
                    kind = PYRO4 if version == b"\x00\x30" else PYRO5
                    sock.sendall(
                        kind.frame(CONNECTFAIL, kind.marshal, seq=0, payload=marshal.dumps("x"))
                    )
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        proxy = Proxy(f"PYRO:thing@127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(3):
            assert isinstance(failing(proxy._pyroBind), CommunicationError)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert 3 <= len(seen) <= 6


# ------------------------------------------------------------------------------------- silence


@dialects
@pytest.mark.parametrize("when", ["introduction", "call"])
@pytest.mark.parametrize("how", ["silent", "header", "trickle"])
def test_a_timeout_bounds_the_whole_call(kind, when, how):
    """G14: also against a server that always sends a little more."""
    stop = threading.Event()

    def slowly(peer, frame):
        if how == "silent":
            return b""
        if how == "header":
            return frame[: kind.header_bytes + 1]
        with contextlib.suppress(OSError):
            for byte in frame:
                peer.send(bytes([byte]))
                if stop.wait(0.02):
                    break
        return b""

    def answer(peer, message):
        if message.request_id == 0 and b"handshake" in message.payload:
            frame = peer.welcome(message.serializer_id)
            return slowly(peer, frame) if when == "introduction" else frame
        return slowly(peer, peer.result(message.request_id, "x" * 500))

    with proxy_for_all(kind, answer) as proxy:
        if when == "call":
            proxy._pyroBind()
        proxy._pyroTimeout = 0.2
        start = time.monotonic()
        try:
            assert isinstance(failing(lambda: proxy.echo(1)), TimeoutError)
            assert time.monotonic() - start < 3
        finally:
            stop.set()


@dialects
def test_a_server_that_does_not_read(kind):
    sockets = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = listener.accept()
        sockets.append(sock)
        peer = RawPyro(sock, kind, serving=True)
        peer.send(peer.welcome(peer.hears().serializer_id))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        chosen = settings(SERIALIZER="json")
        location = f"127.0.0.1:{listener.getsockname()[1]}"
        with Proxy(f"PYRO:thing@{location}", dialect=kind.name, settings=chosen) as proxy:
            proxy._pyroTimeout = 0.2
            start = time.monotonic()
            with pytest.raises(TimeoutError):
                for _ in range(100):
                    proxy.note("x" * 1_000_000)  # one-way
            assert time.monotonic() - start < 6
    thread.join(5)
    for sock in sockets:
        sock.close()


@dialects
def test_the_server_vanishes_anywhere(kind):
    """G13: a typed error, soon, and the next call is right."""
    cut = {"left": -1}

    def answer(peer, message):
        if message.request_id == 0 and b"handshake" in message.payload:
            frame = peer.welcome(message.serializer_id)
        else:
            frame = peer.result(message.request_id, json.loads(message.payload)["params"][0])
        if cut["left"] < 0:
            return frame
        part, cut["left"] = frame[: cut["left"]], cut["left"] - len(frame)
        if cut["left"] > 0:
            return frame
        cut["left"] = -1
        with contextlib.suppress(OSError):
            peer.send(part)
        return None

    def outcome(place):
        start = time.monotonic()
        try:
            return proxy.echo(place)
        except (ConnectionClosedError, ConnectError) as error:
            return type(error)
        finally:
            assert time.monotonic() - start < SOON

    with proxy_for_all(kind, answer) as proxy:
        found = set()
        for place in range(0, 300, max(1, 17 // SCALE)):
            proxy._pyroRelease()
            cut["left"] = place
            found.add(outcome(place))
            cut["left"] = -1
            assert proxy.echo("after") == "after"
        assert {ConnectionClosedError, ConnectError} <= found

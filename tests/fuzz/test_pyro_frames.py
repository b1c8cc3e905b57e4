"""Pyro's dialects under random and mutated frames: messages, or an error of ours; answers; calls.

As :mod:`tests.fuzz.test_frames` for the native one, with the same variables of the environment.
"""

from __future__ import annotations

import json
import random
import zlib
from time import thread_time
from types import SimpleNamespace

import pytest

from pyroipc.client.pyro.codecs import PyroCodecs
from pyroipc.client.pyro.manner import PyroManner
from pyroipc.client.requests import read_result
from pyroipc.context import running
from pyroipc.errors import ProtocolError, SecurityError
from pyroipc.serializers import marshal_reader
from pyroipc.server.pyro.session import PyroServerSession
from pyroipc.server.registry import Registry
from pyroipc.transports.trust import Peer
from pyroipc.wire import message as ours
from pyroipc.wire.message import BEFORE_HELLO, FullMessage, Limits, Message
from pyroipc.wire.refusals import connect_failure
from tests.fuzz.test_frames import ROUNDS, SEED, TOO_LONG_SECONDS, mutate
from tests.support.dispatching import dispatcher_of
from tests.support.messages import bytewise, splits
from tests.support.pyro_frames import (
    CONNECTFAIL,
    CONNECTOK,
    INVOKE,
    KINDS,
    PING,
    PYRO4,
    RESULT,
    decoded,
    outcome,
)
from tests.support.things import Thing

pytestmark = pytest.mark.slow

LIMITS = Limits(1 << 20)
KEY = b"a key"
dialects = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
roles = pytest.mark.parametrize("serving", [True, False], ids=["server", "client"])


def seeds_of(kind, *, serving, key=b""):
    """Return good frames for an end."""
    encode = kind.dialect(serving=not serving, key=key).encode
    notes = {"ABCD": b"value", "EFGH": b""}
    chain = b"0123456789abcdef"
    introduction = ours.INTRODUCTION | ours.METADATA
    if serving:
        frames = [
            encode(ours.REQUEST, 3, introduction, 0, b'{"handshake": "hello", "object": "x"}'),
            encode(ours.REQUEST, 3, 0, 1, b'{"object": "x"}'),
            encode(ours.REQUEST, 1, ours.BLOB, 2, b"data", {"BLBI": b")\x03NNN", **notes}, chain),
            encode(ours.REQUEST, 1, ours.BATCH | ours.ONEWAY, 3, b"x" * 300),
            encode(ours.PING, 42, 0, 0, b"ping"),
            encode(ours.REQUEST, 4, ours.COMPRESSED, 4, zlib.compress(b"y" * 70_000), notes),
            encode(ours.REQUEST, 4, 0, 5, b"z" * 70_000, notes),
        ]
    else:
        frames = [
            encode(ours.WELCOME, 3, introduction, 0, b'{"handshake": "hello", "meta": {}}'),
            encode(ours.WELCOME, 2, ours.INTRODUCTION | ours.ERROR, 0, b"\xfa\x02no"),
            encode(ours.RESPONSE, 3, 0, 1, b"[1,2,3]", notes, chain),
            encode(ours.RESPONSE, 3, ours.ERROR, 2, b"{}"),
            encode(ours.RESPONSE, 3, ours.STREAM, 3, b"{}", {"STRM": b"x" * 36}),
            encode(ours.PONG, 42, 0, 0, b"pong"),
            encode(ours.RESPONSE, 3, 0, 4, b"z" * 70_000, notes),
        ]
    return [b"".join(parts) for parts in frames]


def corpus_of(kind):
    """Return what was found once, or might be."""
    head = kind.frame(INVOKE, payload=b"x" * 10, area=kind.area({"ABCD": b"x"}))
    return [
        b"",
        b"P",
        b"PYRO",
        b"PYRO\x00",
        b"PYRO\x01",
        b"PYROI\x01",
        b"PYRO" + kind.version.to_bytes(2, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
        head[: kind.header_bytes],
        head[: kind.header_bytes + 3],
        kind.frame(INVOKE, area=kind.area({"ABCD": b"x"})[:-1]),
        kind.frame(INVOKE, area=b"\xff" * 20),
        kind.frame(INVOKE, payload_bytes=0x7FFFFFFF),
        kind.frame(INVOKE, area_bytes=0xFFFF),
        kind.frame(0),
        kind.frame(255),
        *(kind.frame(one, flags=0xFFFF, payload=b"x") for one in range(1, 7)),
        kind.frame(INVOKE, area=kind.area({"CORR": b"x", "HMAC": b"y"})),
        connect_failure(kind.version, "no"),
        connect_failure(5, "no"),
        connect_failure(0xFFFF, "no"),
    ]


def damaged(chance, seeds):
    """Make one payload that is nearly right, or not at all."""
    if chance.random() < 0.3:
        return mutate(chance, seeds)
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        where = chance.randrange(len(data) + 1)
        if chance.random() < 0.5:
            data[where : where + 1] = chance.randbytes(1)
        else:
            data[where : where + chance.randrange(3)] = chance.choice((b"", b"}", b"9" * 40, b"["))
    return bytes(data)


def check(data, chance, make_decoder):
    """Read a stream as a whole, and in pieces; both have to say the same, and soon."""
    start = thread_time()
    whole = outcome(make_decoder(), [data])
    if chance.random() < 0.2 and len(data) < 1000:
        again = outcome(make_decoder(), bytewise(data))
    else:
        cuts = [chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 4))]
        again = outcome(make_decoder(), splits(data, cuts))
    seconds = thread_time() - start
    assert again == whole, data
    assert seconds < TOO_LONG_SECONDS * 5, data
    return whole


@dialects
@roles
def test_corpus(kind, serving):
    for key in (b"", KEY) if kind is PYRO4 else (b"",):
        for data in [*corpus_of(kind), *seeds_of(kind, serving=serving, key=key)]:

            def make(limits=LIMITS, key=key):
                return kind.decoder(serving=serving, limits=limits, key=key)

            assert outcome(make(), bytewise(data)) == outcome(make(), [data])
            outcome(make(BEFORE_HELLO), [data])


@dialects
@roles
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "signed"])
@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_frames(kind, serving, key):
    """G1."""
    if key and kind is not PYRO4:
        key, known = b"", (ProtocolError,)  # the same once more, by other chances
    else:
        known = (ProtocolError, SecurityError) if kind is PYRO4 else (ProtocolError,)
    chance = random.Random(f"{SEED} {kind.name} {serving} {key!r}")
    seeds = seeds_of(kind, serving=serving, key=key)
    refused = understood = 0
    for _ in range(ROUNDS // 4):
        found, error = check(
            mutate(chance, seeds),
            chance,
            lambda: kind.decoder(serving=serving, limits=LIMITS, key=key),
        )
        assert error is None or issubclass(error, known)
        refused += error is not None
        understood += bool(found)
    assert refused > ROUNDS // 20
    assert understood > ROUNDS // 20


# ------------------------------------------------------------------------------------ requests


class Somebody:
    """Stands for a session, and for the connection of it."""

    def __init__(self, kind, *, introduced):
        self.family = kind.name.capitalize()
        self.dialect = kind.name
        self.peer_hello = object() if introduced else None
        self.session = self
        self.is_admitted = introduced
        self.daemon = SimpleNamespace(validateHandshake=lambda connection, data: data)

    def welcome(self):
        self.is_admitted = True


class Host:
    """What a server session wants of those around it."""

    streams = None

    def __init__(self, logged):
        self._logged = logged

    def open_stream(self, message, codec, iterator):
        return b"a stream"

    def report(self, error, *call, loud):
        if loud:
            self._logged.append(error)


def server(kind, *, introduced=True):
    """Return a server session as it stands behind a TCP connection, and what it logs."""
    somebody = Somebody(kind, introduced=introduced)
    codecs = PyroCodecs(
        Peer(trusted=False, reason="a test"),
        kind.dialect(serving=True),
        PyroManner(somebody.family, somebody),
        limit_bytes=1 << 20,
        compress_from=None,
    )
    registry = Registry()
    registry.register(Thing(), "thing")
    logged = []
    session = PyroServerSession(dispatcher_of(registry), codecs, Host(logged))
    session.serve(somebody, wants_handshake=not introduced)
    return session, somebody, logged


@pytest.fixture(autouse=True)
def context():
    """Whose call a thread runs is left as it was: here, nobody's."""
    token = running.set(None)
    yield
    running.reset(token)


def in_json(member, *args):
    call = {"object": "thing", "method": member, "params": args, "kwargs": {}}
    return json.dumps(call).encode()


CALLS = {
    "json": [
        in_json("echo", [1, "two", None]),
        in_json("add", 1, 2),
        in_json("__getattr__", "value"),
        in_json("__setattr__", "value", 5),
        in_json("fail", "SystemExit"),
        in_json("<batch>", ["add", [1, 2], None], ["echo", ["a"], {}], ["gone", [], {}]),
        zlib.compress(in_json("echo", "x" * 300)),
    ],
    "serpent": [
        b"# serpent utf-8 python3.2\n('thing', 'echo', (1, 'two'), {})",
        b"# serpent utf-8 python3.2\n"
        b"('thing','<batch>',[('echo',(1,),{}),('fail',('OSError',),{})],None)",
    ],
    "msgpack": [b"\x94\xa5thing\xa4echo\x91\x01\x80"],
}
DESCRIPTION = marshal_reader.write((None, "thing", "size"))


@dialects
@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_requests(kind):
    """Whatever the payload: an answer that can be read, and no exception."""
    session, _, logged = server(kind)
    numbers = {known: number for number, known in kind.dialect(serving=True).serializers.items()}
    chance = random.Random(f"{SEED} {kind.name}")
    answers = good = 0
    for i in range(1, ROUNDS // 3):
        name = chance.choice(list(CALLS))
        payload = damaged(chance, CALLS[name])
        serializer = chance.choice((numbers[name],) * 5 + (chance.randrange(256),))
        flags = chance.choice((0,) * 8 + (0x20, 0x02, 0x04, 0x06, 0x10, 0x10, 0x14))
        notes = None
        if flags & ours.BLOB:
            notes = {"BLBI": damaged(chance, [DESCRIPTION])[:5000]}
        message = FullMessage(ours.REQUEST, serializer, flags, i, payload, annotations=notes)
        encoded = session.handle(message)
        if not encoded:
            assert flags & ours.ONEWAY
            continue
        data = encoded if isinstance(encoded, bytes) else b"".join(encoded)
        (answer,) = decoded(kind.decoder(serving=False), [data])
        assert answer.request_id == i & 0xFFFF
        assert answer.kind == ours.RESPONSE
        answers += 1
        good += not answer.flags & ours.ERROR
    assert answers > ROUNDS // 6
    assert good > ROUNDS // 40
    assert logged


INTRODUCTIONS = [
    b'{"handshake": "hello", "object": "thing"}',
    b"# serpent utf-8 python3.2\n{'handshake':'hello','object':'thing'}",
    b"\x82\xa9handshake\xa5hello\xa6object\xa5thing",
    zlib.compress(b'{"handshake": "' + b"x" * 300 + b'", "object": "thing"}'),
]


@dialects
@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_introductions(kind):
    """Whoever is refused is not let in, and whoever is let in was welcomed."""
    chance = random.Random(f"{SEED} {kind.name}")
    admitted = 0
    for _ in range(ROUNDS // 10):
        session, somebody, _ = server(kind, introduced=False)
        flags = ours.INTRODUCTION | chance.choice((0, ours.METADATA, ours.COMPRESSED))
        number = chance.choice((1, kind.json, 4, 6, chance.randrange(10)))
        message = Message(ours.REQUEST, number, flags, 9, damaged(chance, INTRODUCTIONS))
        data = session.handle(message)
        data = data if isinstance(data, bytes) else b"".join(data)
        (answer,) = decoded(kind.decoder(serving=False), [data])
        assert answer.kind == ours.WELCOME
        assert answer.request_id == 9
        is_in = not answer.flags & ours.ERROR
        assert somebody.is_admitted is is_in
        assert session.is_refused is not is_in
        assert session.wants_handshake is not is_in
        admitted += is_in
    assert admitted > ROUNDS // 200


# ------------------------------------------------------------------------------------- answers

EXCEPTION = {
    "__class__": "builtins.ValueError",
    "__exception__": True,
    "args": ["x", 5],
    "attributes": {"_pyroTraceback": ["a line\n"], "code": 5},
}
ANSWERS = [
    b"[1, 2.5, null]",
    json.dumps(EXCEPTION).encode(),
    json.dumps({**EXCEPTION, "__class__": "builtins.SystemExit"}).encode(),
    json.dumps({**EXCEPTION, "__class__": "KeyboardInterrupt"}).encode(),
    json.dumps([{"__class__": "Pyro5.core._ExceptionWrapper", "exception": EXCEPTION}]).encode(),
    b'{"__class__": "Pyro5.client.Proxy", "state": ["PYRO:o@h:1", [], [], [], "hello", null]}',
    b'{"__class__": "Pyro4.core.URI", "state": ["PYRO", "o", null, "h", 1]}',
    b"# serpent utf-8 python3.2\n"
    b"{'__class__':'builtins.OSError','__exception__':True,'args':(2,'x'),'attributes':{}}",
    b"# serpent utf-8 python3.2\n(1,{2,3},b'x',1e30000,(1.0+2.0j))",
    b"\x92\x01\xc4\x02xx",
    zlib.compress(b'"' + b"x" * 300 + b'"'),
]  # fmt: skip


@dialects
@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_answers(kind):
    """G35: whatever a server answers, its caller gets a value, or an exception that is one."""
    somebody = Somebody(kind, introduced=True)
    somebody.note_failure = lambda error: None
    somebody.open_stream = lambda proxy, codec, message: "a stream"
    codecs = PyroCodecs(
        Peer(trusted=False, reason="a test"),
        kind.dialect(serving=False),
        PyroManner(somebody.family, somebody),
        limit_bytes=1 << 20,
        compress_from=None,
    )
    proxy = SimpleNamespace(_pyroResponseAnnotations=lambda annotations, kind: None)
    names = ["json", "serpent", "msgpack"]
    chance = random.Random(f"{SEED} {kind.name}")
    values = errors = 0
    for _ in range(ROUNDS // 2):
        codec = codecs.get(chance.choice(names))
        number = chance.choice((codec.serializer_id,) * 8 + (0, chance.randrange(256)))
        flags = chance.choice((0, 0, 0, 1, 1, 1, 2, 3, 8, kind.stream | 1, chance.randrange(256)))
        message_type = chance.choice((RESULT,) * 20 + (CONNECTOK, CONNECTFAIL, PING))
        frame = kind.frame(message_type, number, flags=flags, payload=damaged(chance, ANSWERS))
        decoder = kind.decoder(serving=False)
        room = decoder.get_buffer()
        room[: len(frame)] = frame
        decoder.received = len(frame)
        message = decoder.advance()
        start = thread_time()
        error = None
        try:
            read_result(proxy, somebody, codec, message)
        except Exception as raised:
            error = raised
        assert thread_time() - start < TOO_LONG_SECONDS * 5, frame
        assert not isinstance(error, (RecursionError, MemoryError, AssertionError)), frame
        if error is not None and not hasattr(error, "_pyroTraceback"):  # none of the server's
            assert isinstance(error, (ProtocolError, SecurityError)), frame
        values += error is None
        errors += error is not None
    assert values > ROUNDS // 20
    assert errors > ROUNDS // 20


@dialects
def test_refusals(kind):
    """Why a client is not let in is a text, or an error of ours, whatever came."""
    somebody = Somebody(kind, introduced=True)
    codecs = PyroCodecs(
        Peer(trusted=False, reason="a test"),
        kind.dialect(serving=False),
        PyroManner(somebody.family, somebody),
        limit_bytes=1 << 20,
        compress_from=None,
    )
    codec = codecs.get("json")
    chance = random.Random(f"{SEED} {kind.name}")
    good = [marshal_reader.write(text) for text in ("no", "x" * 300, "déjà vu", 5, ["x"], 2**200)]
    texts = 0
    for _ in range(ROUNDS // 3):
        number = chance.choice((kind.marshal, kind.marshal, kind.json, chance.randrange(10)))
        payload = damaged(chance, [*good, b'"no"', b"5"])
        message = Message(ours.WELCOME, number, ours.ERROR | ours.INTRODUCTION, 0, payload)
        try:
            assert isinstance(codecs.read_failure(message, codec), str)
            texts += 1
        except (ProtocolError, SecurityError):
            pass
    assert texts > ROUNDS // 50


def test_the_harness_would_notice(monkeypatch):
    kind = PYRO4

    def broken(*args):
        raise ValueError("escapes")

    monkeypatch.setattr("pyroipc.wire.pyro4.read_annotations", broken)
    with pytest.raises(ValueError, match="escapes"):
        frame = kind.frame(INVOKE, area=kind.area({"ABCD": b"x"}))
        check(frame, random.Random(0), lambda: kind.decoder(serving=True))

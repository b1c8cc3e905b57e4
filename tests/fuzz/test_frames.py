"""Random and mutated frames: messages, or a ProtocolError, and nothing else; nothing takes long.

Quick by default; ``PYROIPC_FUZZ_ROUNDS=1000000`` runs as many rounds, ``PYROIPC_FUZZ_SEED``
chooses others. What was found once stays in CORPUS.
"""

from __future__ import annotations

import os
import random
from time import thread_time
from types import SimpleNamespace

import pytest

from pyroipc.client.codecs import Codecs
from pyroipc.context import running
from pyroipc.errors import ProtocolError
from pyroipc.protocol.hello import Hello
from pyroipc.server.registry import Registry
from pyroipc.server.session import ServerSession
from pyroipc.transports.trust import Peer
from pyroipc.wire.message import (
    BEFORE_HELLO,
    GOODBYE,
    REQUEST,
    RESPONSE,
    FullMessage,
    Limits,
    Message,
)
from pyroipc.wire.native import Decoder
from tests.support.dispatching import dispatcher_of
from tests.support.messages import bytewise, frame, outcome, plain, splits, write
from tests.support.raw import call_frame, hello_frame
from tests.support.things import Thing

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PYROIPC_FUZZ_ROUNDS", "15000"))
SEED = int(os.environ.get("PYROIPC_FUZZ_SEED", "1"))
LIMITS = Limits(1 << 20, buffers=64)
TOO_LONG_SECONDS = 0.1

SEEDS = [
    hello_frame(),
    call_frame(2, "echo", [1, "two", None]),
    plain(RESPONSE, 2, b"[1,2,3]"),
    plain(GOODBYE, 3, b"left: for good", 0),
    frame(
        FullMessage(
            REQUEST,
            3,
            0,
            4,
            b"payload",
            annotations={"ABCD": b"value", "EFGH": b""},
            correlation_id=b"0123456789abcdef",
            time_limit=2.5,
            buffers=[b"one", b"", b"three"],
            descriptors=2,
        )
    ),
    frame(FullMessage(REQUEST, 3, 0, 5, b"l" * 70_000, buffers=[b"m" * 10_000])),
]

CORPUS = [
    b"",
    b"P",
    b"PYROI",
    b"PYROI\x02\x02",
    b"PYRO\x01\xf6\x01",
    b"\x16\x03\x01",
    SEEDS[4][:59],
    SEEDS[4][:60] + b"\xff" * 24,
    SEEDS[1][:28] + b"\xff" * 8,
    SEEDS[4][:16] + b"\xff" * 8 + SEEDS[4][24:],
    SEEDS[0] * 3 + SEEDS[1][:40],
]


def mutate(chance, seeds=SEEDS):
    """Make one hostile stream."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randint(0, 200))
    data = bytearray(b"".join(chance.choices(seeds, k=chance.randint(1, 3), weights=None)))
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        where = chance.randrange(min(len(data), chance.choice((40, 120, len(data)))))
        kind = chance.random()
        if kind < 0.5:
            data[where] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind < 0.65:
            data[where : where + 8] = chance.choice((b"\xff" * 8, bytes(8), b"\x00" * 7 + b"\x40"))
        elif kind < 0.8:
            del data[where : where + chance.randint(1, 60)]
        elif kind < 0.9:
            data[where:where] = chance.randbytes(chance.randint(1, 20))
        else:
            data[where:where] = data[: chance.randint(0, len(data))][:500]
        if not data:
            break
    return bytes(data)


def check(data, chance):
    start = thread_time()
    whole = outcome(LIMITS, [data])
    if chance.random() < 0.2 and len(data) < 1000:
        again = outcome(LIMITS, bytewise(data))
    else:
        cuts = [chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 4))]
        again = outcome(LIMITS, splits(data, cuts))
    seconds = thread_time() - start
    assert again == whole, data
    assert seconds < TOO_LONG_SECONDS * 5, data
    return whole


@pytest.mark.parametrize("data", CORPUS + SEEDS, ids=range(len(CORPUS) + len(SEEDS)))
def test_corpus(data):
    chance = random.Random(0)
    check(data, chance)
    assert outcome(LIMITS, bytewise(data)) == outcome(LIMITS, [data])
    outcome(BEFORE_HELLO, [data])


@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_frames():
    """G1."""
    chance = random.Random(SEED)
    refused = understood = 0
    for _ in range(ROUNDS):
        found, error = check(mutate(chance), chance)
        refused += error is not None
        understood += bool(found)
    assert refused > ROUNDS // 5
    assert understood > ROUNDS // 5


def server():
    """A server session as it stands behind a TCP connection: only data serializers."""
    codecs = Codecs(Peer(trusted=False, reason="a test"))
    codecs.greet(Hello(serializers=("json", "serpent", "msgpack")))
    registry = Registry()
    registry.register(Thing(), "thing")
    logged = []
    dispatcher = dispatcher_of(registry)
    session = ServerSession(
        dispatcher,
        codecs,
        SimpleNamespace(
            open_stream=lambda message, codec, iterator: codec.dumps("a stream"),
            report=lambda error, *call, loud: logged.append(error) if loud else None,
        ),
    )
    return session, logged


@pytest.fixture(autouse=True)
def context():
    """Whose call a thread runs is left as it was: here, nobody's."""
    token = running.set(None)
    yield
    running.reset(token)


CALLS = [
    call_frame(2, "echo", [1, "two", None])[36:],
    call_frame(2, "add", 1, 2)[36:],
    call_frame(2, "__getattr__", "value")[36:],
    call_frame(2, "__setattr__", "value", 5)[36:],
    call_frame(2, "fail", "SystemExit")[36:],
    b"# serpent utf-8 python3.2\n('thing', 'echo', (1, 'two'), {})",
    b"\x94\xa5thing\xa4echo\x91\x01\x80",
    call_frame(2, "<batch>", ["add", [1, 2], None], ["echo", ["a"], {}], ["gone", [], {}])[36:],
]


@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_requests():
    """Whatever the payload: an answer that can be decoded as a frame, and no exception."""
    session, logged = server()
    chance = random.Random(SEED)
    answers = 0
    for i in range(ROUNDS // 3):
        payload = mutate(chance, CALLS)
        serializer = chance.choice((1, 3, 4, chance.randrange(256)))
        flags = chance.choice((0, 0, 0, 2, 4, 4, 16, 1, 8, 1024))
        encoded = session.handle(Message(REQUEST, serializer, flags, i, payload))
        if not encoded:
            assert flags & 2
            continue
        data = encoded if isinstance(encoded, bytes) else b"".join(encoded)
        decoder = Decoder(Limits(1 << 26))
        while data:
            data = data[write(decoder, data) :]
            answer = decoder.advance()
        assert answer.request_id == i
        answers += 1
    assert answers > ROUNDS // 6
    assert logged


def test_hellos():
    chance = random.Random(SEED)
    good = Hello(serializers=("json",), cpus=3).encode()
    for _ in range(ROUNDS // 3):
        try:
            Hello.decode(mutate(chance, [good]))
        except ProtocolError:
            pass


def test_the_harness_would_notice(monkeypatch):
    def broken(self, *args):
        raise ValueError("escapes")

    monkeypatch.setattr("pyroipc.wire.native_layout.Layout.read_table", broken)
    with pytest.raises(ValueError, match="escapes"):
        check(SEEDS[4], random.Random(0))

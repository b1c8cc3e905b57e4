"""Who may do what in Pyro's dialects: keys, introductions, serializers, exposed members."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import socket
import string
import subprocess
import sys

import pytest

from pyroipc import Daemon, Proxy, SecurityError, expose
from pyroipc.client.pyro import detection
from pyroipc.errors import CommunicationError
from pyroipc.serializers import marshal_reader
from tests.support.daemons import KEY, ROADS, serving, settings
from tests.support.hosts import ThreadHost, Worker, unix_pair
from tests.support.messages import plain
from tests.support.network_hosts import await_clients, both_servers, is_closed, knock
from tests.support.pyro_frames import (
    BATCH,
    CONNECT,
    CONNECTFAIL,
    INVOKE,
    KINDS,
    ONEWAY,
    PYRO4,
    PYRO5,
)
from tests.support.pyro_raw import RawPyro, served_by_hand
from tests.support.raw import RawPeer, hello_frame
from tests.support.snippets import ROOT
from tests.support.things import Thing

dialects = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
HMAC = ROADS["hmac"]
NOT_SYMMETRIC = "hmac key config not symmetric"


@contextlib.contextmanager
def visiting(served, kind, *, key=b""):
    with knock(served) as sock:
        yield RawPyro(sock, kind, key=key)


def reason(peer):
    """Return why a client is not let in; the connection is closed after that."""
    answer = peer.hears()
    assert answer is not None, "it was not told"
    assert answer.flags & 1, answer
    assert is_closed(peer.sock)
    if answer.serializer_id == peer.kind.marshal:
        return marshal_reader.read(answer.payload)
    return json.loads(answer.payload)


def with_key_of_answers(peer, key=KEY):
    """Have a client that signs nothing, or wrongly, check the answers with the right key."""
    peer.decoder.speak(peer.kind.dialect(serving=False, key=key))
    return peer


# ----------------------------------------------------------------------------- HMAC keys: Pyro4


@both_servers
def test_a_pyro4_with_the_key(server):
    with serving({"thing": Thing()}, road=HMAC, settings=settings(SERVERTYPE=server)) as served:
        with visiting(served, PYRO4, key=KEY) as peer:
            peer.introduce()
            assert peer.ask(1, "echo", "x" * 100_000) == "x" * 100_000
            peer.send(peer.ping())
            assert peer.hears().payload == b"pong"  # each of these was signed
            assert "__exception__" in peer.ask(2, "fail", "ValueError")
        with Proxy(served.uri(), hmac_key=KEY, dialect="pyro4") as proxy:
            assert proxy.echo(1) == 1
            assert list(proxy._pyroMethods)


@pytest.mark.parametrize("key", [b"", b"another"])
def test_a_pyro4_without_the_key(key):
    with serving({"thing": Thing()}, road=HMAC) as served:
        with visiting(served, PYRO4, key=key) as peer:
            peer.send(peer.introduction())
            with_key_of_answers(peer)  # the daemon proves that it has it
            assert reason(peer) == ("message hmac mismatch" if key else NOT_SYMMETRIC)
        await_clients(served.daemon, 0)
        proxy = Proxy(served.uri(), hmac_key=key, dialect="pyro4")
        with pytest.raises(SecurityError, match="mismatch" if key else NOT_SYMMETRIC):
            proxy.echo(1)


def test_a_pyro4_with_a_key_that_the_daemon_does_not_want():
    with serving({"thing": Thing()}) as served, visiting(served, PYRO4, key=KEY) as peer:
        peer.send(peer.introduction())
        with_key_of_answers(peer, b"")
        assert reason(peer) == NOT_SYMMETRIC


class Noting(Thing):
    def __init__(self):
        super().__init__()
        self.calls = 0

    @expose
    def count(self, value=None):
        self.calls += 1
        return value


@pytest.mark.parametrize("how", ["unsigned", "other key", "payload", "annotation", "signature"])
def test_each_message_is_signed(how):
    thing = Noting()
    with serving({"thing": thing}, road=HMAC) as served, visiting(served, PYRO4, key=KEY) as peer:
        peer.introduce()
        assert peer.ask(1, "count") is None
        if how in ("unsigned", "other key"):
            stranger = RawPyro(peer.sock, PYRO4, key=b"" if how == "unsigned" else b"another")
            frame = stranger.call(2, "count")
        else:
            given = b'{"object": "thing", "method": "count", "params": [5], "kwargs": {}}'
            signature = hmac.digest(KEY, given + b"value", "sha1")
            area = PYRO4.area({"ABCD": b"value", "HMAC": signature})
            frame = bytearray(PYRO4.frame(INVOKE, 2, seq=2, payload=given, area=area))
            part = {"payload": b"[5]", "annotation": b"value", "signature": signature}[how]
            frame[frame.index(part) + 1] ^= 1
        peer.send(bytes(frame))
        assert is_closed(peer.sock)
        assert thing.calls == 1


@pytest.mark.parametrize(
    "opening", [b"PYROI\x01" + bytes(60), hello_frame(), PYRO5.frame(CONNECT, payload=b"x")]
)
def test_nothing_else_gets_in_behind_the_first_bytes_of_a_pyro4(opening):
    """They are what opens the seal for those who sign messages by themselves."""
    thing = Noting()
    with serving({"thing": thing}, road=HMAC) as served:
        with knock(served) as sock:
            sock.sendall(b"PYRO\x00\x30" + opening)
            assert is_closed(sock)
        with visiting(served, PYRO4, key=KEY) as peer:
            peer.introduce()
            peer.send(opening)
            assert is_closed(peer.sock)
        await_clients(served.daemon, 0)
        assert thing.calls == 0


def test_a_pyro5_cannot_use_a_daemon_with_a_key():
    with serving({"thing": Thing()}, road=HMAC) as served:
        with visiting(served, PYRO5) as peer:
            peer.send(peer.introduction() + peer.call(1, "echo", 1))
            assert "wants an HMAC key" in reason(peer)
        with pytest.raises(SecurityError, match="Pyro5's protocol knows no HMAC key"):
            Proxy(served.uri(), hmac_key=KEY, dialect="pyro5").echo(1)
        await_clients(served.daemon, 0)


def test_a_pyro4_where_its_dialect_is_not_spoken():
    """Then nobody is let past the seal who does not wear one."""
    given = settings(DIALECTS=("native", "pyro5"))
    with (
        serving({"thing": Thing()}, road=HMAC, settings=given) as served,
        visiting(served, PYRO4, key=KEY) as peer,
    ):
        peer.send(peer.introduction())
        with_key_of_answers(peer, b"")
        assert "wants an HMAC key" in reason(peer)


def test_a_pyro4_over_a_connected_socket_has_no_key():
    near, far = unix_pair()
    with near, far:
        host = ThreadHost(far, {"thing": Thing()})
        peer = RawPyro(near, PYRO4)
        assert peer.ask(1, "echo", 1) == 1
        signed = RawPyro(near, PYRO4, key=KEY)
        peer.send(signed.call(2, "echo", 2))
        assert isinstance(host.loop.finish(), SecurityError)
        host.daemon.close()


# ------------------------------------------------------------------------- HMAC keys: our client


def refusal_of_pyro4(text, key=b"", serializer=3):
    area = (
        PYRO4.area({"HMAC": hmac.digest(key, marshal_reader.write(text), "sha1")}) if key else b""
    )
    return PYRO4.frame(
        CONNECTFAIL, serializer, seq=0, payload=marshal_reader.write(text), area=area
    )


GARBAGE = "invalid data or unsupported protocol version"


@contextlib.contextmanager
def attacker(*answers):
    """Answer whoever connects, one after the other, with the given bytes.

    Yields:
        The location, and what was heard from each.
    """
    heard = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve():
        for answer in answers:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(5)
                heard.append(sock.recv(1 << 16))
                for part in answer if isinstance(answer, list) else [answer]:
                    sock.sendall(part)
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while more := sock.recv(1 << 16):
                        heard[-1] += more

    worker = Worker(serve)
    with listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", heard
        listener.shutdown(socket.SHUT_RDWR)
        worker.finish()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refusal_of_pyro4(GARBAGE), NOT_SYMMETRIC),
        (refusal_of_pyro4(GARBAGE, b"another"), "message hmac mismatch"),
        (refusal_of_pyro4(NOT_SYMMETRIC, KEY), "says something else: 'hmac key config"),
        (refusal_of_pyro4(5, KEY), "says something else: 5"),
        (refusal_of_pyro4(GARBAGE, KEY)[:-1], "says no more"),
        (refusal_of_pyro4(GARBAGE, KEY)[:10], "says no more"),
        (PYRO4.frame(INVOKE, payload=b"x"), "makes no sense"),
        (b"PYRO\x00\x30" + b"\xff" * 2000, "makes no sense"),
        (refusal_of_pyro4("x" * 2000, KEY), "says (no more|something else)"),
    ],
    ids=range(9),
)
def test_a_keyed_proxy_does_not_believe_anybody_to_be_pyro4(answer, said):
    """Or an attacker could have two ends of ours use signatures that can be replayed."""
    with attacker(answer, b"") as (location, heard):
        proxy = Proxy(f"PYRO:thing@{location}", hmac_key=KEY)
        with pytest.raises(SecurityError, match=f"but .*{said}.*dialect='pyro4'"):
            proxy.echo(1)
        assert len(heard) == 1
        assert heard[0].startswith(b"PYROH")  # and no message of Pyro4's


def test_what_our_own_daemon_signs_for_a_pyro4_proves_nothing():
    with serving({"thing": Thing()}, road=HMAC) as served:
        signed = []
        for opening in (
            PYRO4.frame(CONNECT, payload=b"x"),
            PYRO4.frame(CONNECT, check=5),
            PYRO4.frame(INVOKE, payload=b"x"),
            b"PYRO\x00\x30" + bytes(60),
            b"PYRO\x00\x30",
        ):
            with knock(served) as sock:
                sock.sendall(opening)
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while data := sock.recv(1 << 16):
                        signed.append(data)
    assert any(b"HMAC" in data for data in signed)
    for data in signed:
        with pytest.raises(SecurityError):
            detection.check_signed(data, KEY)


def test_a_real_pyro4_with_the_key_is_found():
    parts = [bytes([byte]) for byte in refusal_of_pyro4(GARBAGE, KEY)]
    with attacker(parts, b"") as (location, heard):
        proxy = Proxy(f"PYRO:thing@{location}", hmac_key=KEY)
        with pytest.raises(CommunicationError):
            proxy.echo(1)
        assert [data[:6] for data in heard] == [b"PYROH\x01", b"PYRO\x00\x30"]
        assert b"HMAC" in heard[1]


def test_what_was_found_out_without_a_key_does_not_count_with_one():
    with attacker(refusal_of_pyro4(GARBAGE), b"", b"", refusal_of_pyro4(GARBAGE)) as (
        location,
        heard,
    ):
        for key in (b"", b"", KEY):
            with pytest.raises((CommunicationError, SecurityError)):
                Proxy(f"PYRO:thing@{location}", hmac_key=key).echo(1)
        assert [data[:6] for data in heard[:2]] == [b"PYROI\x01", b"PYRO\x00\x30"]
        assert heard[-1][:6] == b"PYROH\x01"


@pytest.mark.parametrize("how", ["unsigned", "another key", "changed"])
def test_a_keyed_proxy_takes_only_signed_answers(how):
    def answer(peer, message):
        if message.request_id == 0:
            return peer.welcome(message.serializer_id)
        if how == "unsigned":
            return PYRO4.frame(5, 2, seq=message.request_id, payload=b"5")
        if how == "another key":
            return RawPyro(peer.sock, PYRO4, serving=True, key=b"other").result(1, 5)
        return peer.result(message.request_id, 55555).replace(b"55555", b"66666")

    with served_by_hand(PYRO4, answer, key=KEY) as location:
        proxy = Proxy(f"PYRO:thing@{location}", hmac_key=KEY, dialect="pyro4")
        proxy._pyroSerializer = "json"
        with pytest.raises(SecurityError, match=r"symmetric|mismatch"):
            proxy.echo(1)
        assert proxy._pyroConnection is None


# ------------------------------------------------------------------------------------------ TLS


@dialects
def test_a_client_without_tls_is_told_in_its_own_dialect(kind):
    with serving({"thing": Thing()}, road=ROADS["tls"]) as served, visiting(served, kind) as peer:
        peer.send(peer.introduction())
        assert "this daemon speaks TLS only" in reason(peer)
        with served.proxy(dialect=kind.name) as proxy:
            assert proxy.echo(1) == 1


@dialects
def test_tls_and_a_key_together(kind):
    with serving({"thing": Thing()}, road=ROADS["tls+hmac"]) as served:
        if kind is PYRO4:
            with served.proxy(dialect="pyro4") as proxy:
                assert proxy.echo(1) == 1
        with pytest.raises((SecurityError, CommunicationError), match=r"(?i)hmac"):
            served.proxy(dialect=kind.name, hmac_key=b"").echo(1)


# ------------------------------------------------------------------------------ the introduction


class Guarded(Daemon):
    """Lets those in who know a word."""

    def validateHandshake(self, conn, data):
        if data != "the word":
            raise ValueError(f"not {data!r}")
        return "welcome"


ENTRIES = {
    "call": lambda peer: peer.call(1, "count"),
    "oneway": lambda peer: peer.call(1, "count", flags=ONEWAY),
    "batch": lambda peer: peer.call(1, "<batch>", ["count", [], {}], flags=BATCH),
    "oneway batch": lambda peer: peer.call(1, "<batch>", ["count", [], {}], flags=BATCH | ONEWAY),
    "attribute": lambda peer: peer.call(1, "__getattr__", "value"),
    "blob": lambda peer: peer.call(
        1, "count", flags=peer.kind.blob,
        area=peer.kind.area({"BLBI": marshal_reader.write((None, "thing", "count"))}),
    ),
    "metadata": lambda peer: peer.call(1, "get_metadata", "thing", object_id="Pyro.Daemon"),
    "registered": lambda peer: peer.call(1, "registered", object_id="Pyro.Daemon"),
    "stream": lambda peer: peer.call(1, "get_next_stream_item", "x", object_id="Pyro.Daemon"),
    "resume": lambda peer: peer.call(1, "resume_stream", "x", 0, object_id="Pyro.Daemon"),
}  # fmt: skip


@pytest.fixture
def guarded_pair():
    near, far = unix_pair()
    with near, far:
        thing = Noting()
        daemon = Guarded(connected_socket=far)
        daemon.register(thing, "thing")
        loop = Worker(daemon.requestLoop)
        yield near, thing
        daemon.close()
        loop.result()


@dialects
@pytest.mark.parametrize("how", ENTRIES)
def test_there_is_no_way_in_over_a_connected_socket_but_the_handshake(kind, how, guarded_pair):
    """Pyro's own servers ask for none there; one that looks at its clients does everywhere."""
    near, thing = guarded_pair
    peer = RawPyro(near, kind)
    frame = ENTRIES[how](peer)
    peer.send(frame)
    if "oneway" not in how:
        answer = peer.hears()
        assert answer.flags & 1, answer
        assert b"wants a handshake" in answer.payload
    peer.send(peer.introduction(handshake="the wrong one"))
    answer = peer.hears()
    assert answer.flags & 1
    assert b"not 'the wrong one'" in answer.payload
    peer.send(frame)
    if "oneway" not in how:
        assert b"wants a handshake" in peer.hears().payload
    assert thing.calls == 0
    assert peer.introduce(handshake="the word")["handshake"] == "welcome"
    assert peer.ask(7, "count", 5) == 5


@dialects
def test_the_other_way_in_is_the_same_handshake(kind, guarded_pair):
    near, _ = guarded_pair
    peer = RawPyro(near, kind)
    found = peer.ask(1, "connect", "thing", "a guess", object_id="Pyro.Daemon")
    assert "not 'a guess'" in found["args"][0]
    found = peer.ask(2, "connect", "thing", "the word", object_id="Pyro.Daemon")
    assert "wants a handshake" in found["args"][0]


@dialects
def test_no_introduction_where_none_is_wanted(kind):
    near, far = unix_pair()
    with near, far:
        host = ThreadHost(far, {"thing": Thing()})
        peer = RawPyro(near, kind)
        assert peer.ask(1, "echo", 1) == 1
        peer.send(peer.introduction())
        answer = peer.hears()
        assert answer.flags & 1
        assert b"invalid msg type 1 received" in answer.payload
        host.stop()


@dialects
@both_servers
def test_whoever_was_refused_is_served_nothing(kind, server):
    thing = Noting()
    given = settings(SERVERTYPE=server)
    with serving({"thing": thing}, factory=Guarded, settings=given) as served:
        for frame in ENTRIES.values():
            with visiting(served, kind) as peer:
                peer.send(peer.introduction(handshake="a guess") + frame(peer))
                assert "not 'a guess'" in reason(peer)
        await_clients(served.daemon, 0)
        assert thing.calls == 0


# ---------------------------------------------------------------------------------- serializers


NAMES = ("serpent", "json", "marshal", "msgpack", "pickle", "cloudpickle", "dill")
PICKLES = {
    # Each would make a file, were it loaded.
    4: b"cos\nmkdir\n(S'%s'\ntR.",
    5: b"cos\nmkdir\n(S'%s'\ntR.",
    7: b"cos\nmkdir\n(S'%s'\ntR.",
}


@dialects
@both_servers
def test_numbers_of_no_serializer(kind, server):
    with serving({"thing": Thing()}, settings=settings(SERVERTYPE=server)) as served:
        numbers = [0, 8, 42, 99, 255] + ([1000, 65535] if kind is PYRO4 else [])
        for number in numbers:
            with visiting(served, kind) as peer:
                peer.send(_renumbered(peer, peer.introduction(), number))
                assert f"not accepted: {number}" in reason(peer)
        with visiting(served, kind) as peer:
            peer.introduce()
            for number in numbers:
                peer.send(_renumbered(peer, peer.call(1, "echo", 1), number))
                answer = peer.hears()
                assert (answer.serializer_id, answer.flags) == (1, 1)
                assert f"not accepted: {number}".encode() in answer.payload
            assert peer.ask(2, "echo", 1) == 1


def _renumbered(peer, frame, number):
    """Give a frame another serializer."""
    message = peer.kind.decoder(serving=True)
    message.get_buffer()[: len(frame)] = frame
    message.received = len(frame)
    found = message.advance()
    flags = 0x10 if peer.kind is PYRO4 and frame[7] == CONNECT else 0
    message_type = frame[7] if peer.kind is PYRO4 else frame[6]
    return peer.kind.frame(
        message_type, number, flags=flags, seq=found.request_id, payload=bytes(found.payload)
    )


@dialects
def test_what_is_not_accepted_is_not_decoded_and_stays_so(kind):
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serving({"thing": Thing()}, serializers_accepted={"json"}))
        with visiting(served, kind) as peer:
            peer.introduce()
            number = 1 + max(kind.dialect(serving=True).serializers)
            peer.send(_renumbered(peer, peer.call(1, "echo", 1), number))
            assert b"not accepted" in peer.hears().payload  # in serpent, which is not accepted
            for number, name in kind.dialect(serving=True).serializers.items():
                if name == "json":
                    continue
                for _ in range(2):  # to have answered with it does not make it accepted
                    peer.send(_renumbered(peer, peer.call(1, "echo", 1), number))
                    answer = peer.hears()
                    assert answer.flags == 1
                    assert b"not accepted" in answer.payload
            serpent = b"# serpent utf-8 python3.2\n('thing','echo',(1,),{})"
            peer.send(peer.frame(INVOKE, 1, seq=3, payload=serpent))
            assert b"not accepted" in peer.hears().payload
            assert peer.ask(4, "echo", 1) == 1


@pytest.mark.parametrize("number", PICKLES)
def test_pickles_of_strangers_are_not_loaded(number, tmp_path):
    target = tmp_path / "made"
    payload = PICKLES[number] % os.fsencode(target)
    accepted = settings(SERIALIZERS_ACCEPTED=NAMES)
    for given in (settings(), accepted):
        with serving({"thing": Thing()}, settings=given) as served:
            with visiting(served, PYRO4) as peer:
                peer.send(peer.frame(CONNECT, number, flags=0x10, seq=0, payload=payload))
                assert "not accepted" in reason(peer)
            with visiting(served, PYRO4) as peer:
                peer.introduce()
                peer.send(peer.frame(INVOKE, number, payload=payload))
                answer = peer.hears()
                assert answer.flags == 1
                assert answer.serializer_id == number
                assert b"not verified local" in answer.payload
                assert b"Use serpent, json or msgpack" in answer.payload
    assert not target.exists()
    unix = ROADS["unix"]
    with serving({"thing": Thing()}, road=unix) as served, visiting(served, PYRO4) as peer:
        peer.introduce()
        peer.send(peer.frame(INVOKE, number, payload=payload))  # of our own user: he may
        assert peer.hears().flags == 1
    assert target.exists()


def test_a_stranger_has_nothing_imported():
    program = """
import sys
from pyroipc import settings
from tests.support.daemons import serving
from tests.support.network_hosts import knock
from tests.support.pyro_frames import INVOKE, PYRO4
from tests.support.pyro_raw import RawPyro
from tests.support.things import Thing
with serving({"thing": Thing()}) as served, knock(served) as sock:
    peer = RawPyro(sock, PYRO4)
    peer.introduce()
    before = set(sys.modules)
    for number in (5, 7):
        peer.send(peer.frame(INVOKE, number, payload=b"x"))
        assert peer.hears().serializer_id == number
    print(sorted(name for name in set(sys.modules) - before if "pyro" not in name))
    print("dill" in sys.modules, "cloudpickle" in sys.modules)
"""
    run = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False False", done.stdout


@dialects
def test_marshal_only_where_it_is_named(kind):
    import marshal

    payload = marshal.dumps(("thing", "echo", [1], {}))
    for accepted, welcome in ((None, False), ({"json", "marshal"}, True)):
        with serving({"thing": Thing()}, serializers_accepted=accepted) as served:
            with visiting(served, kind) as peer:
                peer.introduce()
                peer.send(peer.frame(INVOKE, kind.marshal, payload=payload))
                answer = peer.hears()
                assert (answer.flags == 0) == welcome
            for crash in (b"\xe3" + b"\xff" * 40, b"r\xff\xff\xff\x7f", b"[\xff\xff\xff\x7f"):
                if welcome:
                    break  # whoever names it takes that upon himself
                with visiting(served, kind) as peer:
                    peer.send(peer.frame(CONNECT, kind.marshal, seq=0, payload=crash))
                    assert "not accepted" in reason(peer)


@pytest.mark.parametrize("name", ["Pyro5.client.Proxy", "Pyro4.core.Proxy"])
def test_a_proxy_that_comes_names_no_marshal_to_us(name):
    """Or its sender could have us load what may crash this process."""
    from pyroipc.client.pyro.manner import read_proxy

    for serializer, taken in (
        ("marshal", None),
        ("json", "json"),
        ("pickle", "pickle"),
        ("x", None),
    ):
        state = ["PYRO:o@127.0.0.1:1", [], [], [], "hello", serializer]
        if name == "Pyro4.core.Proxy":
            state[4:] = [0.0, None, "hello", 0, serializer]
        assert read_proxy(name, {"state": state})._pyroSerializer == taken


# ------------------------------------------------------------------------------------- dialects


@dialects
def test_a_daemon_that_speaks_only_its_own(kind):
    with serving({"thing": Thing()}, settings=settings(DIALECTS=("native",))) as served:
        with visiting(served, kind) as peer:
            peer.send(peer.introduction())
            assert re.search("invalid protocol version.*speaks native", reason(peer))
        with served.proxy() as proxy:
            assert proxy.echo(1) == 1


@dialects
def test_a_daemon_that_speaks_only_another(kind):
    other = PYRO4 if kind is PYRO5 else PYRO5
    with serving({"thing": Thing()}, settings=settings(DIALECTS=(kind.name,))) as served:
        with visiting(served, other) as peer:
            peer.send(peer.introduction())
            assert "invalid protocol version" in reason(peer)
        with visiting(served, kind) as peer:
            peer.introduce()
            assert peer.ask(1, "echo", 1) == 1
        with served.proxy() as proxy:
            assert proxy.echo(1) == 1
            assert proxy._pyroConnection.dialect == kind.name
        with knock(served) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            head = sock.recv(6)
            assert head == b"PYRO" + kind.version.to_bytes(2, "big")
            assert is_closed(sock)
        with knock(served) as sock:
            RawPeer(sock).send(hello_frame() + plain(2, 2, b"x"))
            assert sock.recv(6) == head
            assert is_closed(sock)
        await_clients(served.daemon, 0)


# -------------------------------------------------------------------------------------- members

ran = []


class Trap:
    """Half of it is exposed, and every part tells when it runs."""

    def __init__(self):
        self.on_the_instance = lambda: ran.append("on_the_instance")

    @expose
    def method(self, *args):
        ran.append("method")

    def hidden(self, *args):
        ran.append("hidden")

    def _private(self, *args):
        ran.append("_private")

    def __call__(self, *args):
        ran.append("__call__")

    def __getitem__(self, key):
        ran.append("__getitem__")

    @expose
    @property
    def good(self):
        ran.append("get good")
        return 5

    @property
    def trap(self):
        ran.append("get trap")

    @trap.setter
    def trap(self, value):
        ran.append("set trap")


def hostile_names():
    """Return all that a Trap has, and what comes near it."""
    names = {*dir(Trap()), *dir(Daemon), *dir(object), *dir(type), "__dict__", "__globals__"}
    near = ("method", "hidden", "trap", "__class__", "_private")
    for name in near:
        names |= {f"{name} ", f" {name}", f"{name}\0", f"{name}.x", f"x.{name}", name.upper()}
        names |= {f"Trap.{name}", f"_Trap{name}", f"{name}()", f"{name}\n", name.encode().hex()}
    for letter in string.printable:
        names |= {letter, letter * 2, f"__{letter}__", f"_{letter}", f"{letter}._private"}
    names |= {
        "",
        "\udcff",
        "é",
        "\uff4dethod",
        "<batch>",
        "__getattr__",
        "__setattr__",
        "func_globals",
    }
    names -= {"method", "good"}
    return sorted(names)


NAMES_OF_TRAP = hostile_names()
ODD_NAMES = [None, 5, 1.5, True, [], {}, ["method"], {"method": 1}, [["method"]], 10**30]


def test_there_are_enough_hostile_names():
    assert len(NAMES_OF_TRAP) > 500


@dialects
@pytest.mark.parametrize("how", ["call", "batch", "read", "write", "blob", "oneway"])
def test_only_what_is_exposed_runs(kind, how):
    """G24, over every way to a member that the dialect has."""
    ran.clear()
    with serving({"thing": Trap()}) as served, visiting(served, kind) as peer:
        peer.introduce()
        frames = []
        for number, name in enumerate([*NAMES_OF_TRAP, *ODD_NAMES], 1):
            if how == "call":
                frames.append(peer.call(number, name))
            elif how == "oneway":
                frames.append(peer.call(number, name, flags=ONEWAY))
            elif how == "batch":
                calls = [[name, [], {}]]
                frames.append(peer.call(number, "<batch>", *calls, flags=BATCH))
            elif how == "read":
                frames.append(peer.call(number, "__getattr__", name))
            elif how == "write":
                frames.append(peer.call(number, "__setattr__", name, 1))
            elif isinstance(name, str):
                told = marshal_reader.write((None, "thing", name))
                area = kind.area({"BLBI": told})
                frames.append(peer.call(number, name, flags=kind.blob, area=area))
        asking = Worker(peer.send, b"".join(frames))
        for _ in range(0 if how == "oneway" else len(frames)):
            answer = peer.hears()
            assert answer.flags & 1 or b"__class__" in answer.payload, answer
        asking.result()
        assert peer.ask(9000, "method") is None
        assert peer.ask(9001, "__getattr__", "good") == 5
        assert ran == ["method", "get good"]


@dialects
def test_objects_of_hostile_ids(kind):
    ids = [
        "",
        "Pyro",
        "Pyro.Daemon2",
        "thing ",
        "THING",
        "\0",
        "é",
        "a" * 5000,
        None,
        5,
        [],
        {},
        ["x"],
    ]
    with serving({"thing": Thing()}) as served, visiting(served, kind) as peer:
        peer.introduce()
        for number, object_id in enumerate(ids, 1):
            found = peer.ask(number, "echo", 1, object_id=object_id)
            assert found["__exception__"], found
        assert peer.ask(99, "echo", 1) == 1


@dialects
@pytest.mark.parametrize(
    "payload",
    [
        b"", b"5", b"[]", b"{", b'{"object": "thing"}', b'["thing", "echo", [1], {}]',
        b'{"object": "thing", "method": "echo", "params": 5, "kwargs": {}}',
        b'{"object": "thing", "method": "echo", "params": "abc", "kwargs": {}}',
        b'{"object": "thing", "method": "echo", "params": [1], "kwargs": [1]}',
        b'{"object": "thing", "method": "echo", "params": [1], "kwargs": {"y": 1}}',
        b'{"object": "thing", "method": "echo", "params": [1], "kwargs": {"": 1}}',
        b'{"object": "thing", "method": "echo", "params": {"__class__": "x"}, "kwargs": {}}',
        b'{"object": "thing", "method": "<batch>", "params": [], "kwargs": {}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("flags", [0, BATCH])
def test_calls_that_make_no_sense(kind, payload, flags):
    with serving({"thing": Thing()}) as served, visiting(served, kind) as peer:
        peer.introduce()
        peer.send(peer.frame(INVOKE, kind.json, seq=5, payload=payload, flags=flags))
        answer = peer.hears()
        assert answer.request_id == 5
        assert answer.flags & 1 or (flags and answer.payload == b"[]"), answer
        assert peer.ask(6, "echo", 1) == 1


@dialects
@pytest.mark.parametrize(
    "batch",
    [
        [5], ["echo"], [["echo"]], [["echo", 5, {}]], [["echo", [1], 5]], [[5, [1], {}]],
        [["echo", [1], {}, 1]], [{"echo": 1}], [None], [[["echo"], [], {}]],
    ],
)  # fmt: skip
def test_batches_that_make_no_sense(kind, batch):
    with serving({"thing": Thing()}) as served, visiting(served, kind) as peer:
        peer.introduce()
        found = peer.ask(1, "<batch>", *batch, flags=BATCH)
        assert isinstance(found, dict)
        assert "no batch" in found["args"][0] or "not a batch" in found["args"][0]
        assert peer.ask(2, "echo", 1) == 1


@dialects
@pytest.mark.parametrize(
    "description",
    [
        None, b"", b"N", b"\xff", marshal_reader.write((None, "thing")),
        marshal_reader.write([None, "thing", "size"]), marshal_reader.write((None, 5, "size")),
        marshal_reader.write((None, "thing", None)), marshal_reader.write((None, "x", "size")),
        b")\x03" + b"(\xff\xff\xff\x7f" * 3, bytes(60_000),
    ],
)  # fmt: skip
def test_blobs_that_make_no_sense(kind, description):
    with serving({"thing": Thing()}) as served, visiting(served, kind) as peer:
        peer.introduce()
        area = b"" if description is None else kind.area({"BLBI": description})
        found = peer.ask(1, "echo", "data", flags=kind.blob, area=area)
        assert found["__exception__"]
        assert peer.ask(2, "echo", 1) == 1

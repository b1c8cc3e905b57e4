"""Who speaks which dialect: found out, told, restricted, remembered, and refused."""

from __future__ import annotations

import contextlib
import itertools
import marshal
import socket
import struct
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc.client.pyro import detection
from pyroipc.client.requests import fetch
from tests.interop.peers.library import OURS, PYRO4, PYRO5
from tests.support import daemons
from tests.support.daemons import settings
from tests.support.hosts import PATIENCE
from tests.support.pyro_peers import play, server, serving
from tests.support.waiting import wait_until

NAMES = {OURS: "native", PYRO5: "pyro5", PYRO4: "pyro4"}
FAMILIES = (PYRO5, PYRO4)
DIALECTS = ("native", "pyro5", "pyro4")


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    detection._known.clear()
    yield
    detection._known.clear()


def spoken(uri, **options):
    """Return what a proxy finds out."""
    with pyroipc.Proxy(uri, **options) as proxy:
        assert proxy.add(1) == 3
        return proxy._pyroConnection.dialect


# --- our proxies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", NAMES)
def test_a_proxy_finds_out(host):
    assert spoken(server(host).uri()) == NAMES[host]
    assert spoken(server(host).uri()) == NAMES[host], "it is remembered"


@pytest.mark.parametrize("host", FAMILIES)
@pytest.mark.parametrize("daemon", ["unix", "tcp"])
def test_a_proxy_is_told(host, daemon):
    uri = server(host).uri(daemon=daemon)
    assert spoken(uri, dialect=NAMES[host]) == NAMES[host]
    assert spoken(uri, settings=settings(DIALECT=NAMES[host])) == NAMES[host]
    assert detection._known == {}, "nothing had to be found out"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_daemon_of_ours_speaks_what_it_is_asked_in(dialect):
    assert spoken(server(OURS).uri(), dialect=dialect) == dialect


@pytest.mark.parametrize(
    ("host", "told"),
    [(PYRO5, "native"), (PYRO5, "pyro4"), (PYRO4, "native"), (PYRO4, "pyro5")],
)
def test_a_proxy_that_is_told_something_wrong(host, told):
    version = {PYRO5: 502, PYRO4: 48}[host]
    text = rf"cannot connect to .*the peer speaks {host} \(protocol version {version}\)"
    proxy = pyroipc.Proxy(server(host).uri(), dialect=told)
    with pytest.raises(pyroipc.VersionMismatchError, match=text) as caught:
        proxy.add(1)
    assert caught.value.call_status == "not sent"


def test_a_dialect_that_does_not_exist():
    with pytest.raises(
        ValueError, match="dialect must be 'auto', 'native', 'pyro5', 'pyro4', not"
    ):
        pyroipc.Proxy("PYRO:a@localhost:1", dialect="pyro6")
    with pytest.raises(ValueError, match="DIALECT must be"):
        settings(DIALECT="pyro6")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(NAMES, 2)))
def test_a_server_that_is_replaced_by_one_of_another_kind(first, second):
    with serving(first) as place:
        uri, port = place.uri(), place.port()
        proxy = pyroipc.Proxy(uri)
        assert proxy.add(1) == 3
        assert proxy._pyroConnection.dialect == NAMES[first]
    with serving(second, {"tcp": {"host": "localhost", "port": port}}):
        wait_until(lambda: has_noticed(proxy), "the connection breaks")
        assert proxy.add(1) == 3
        assert proxy._pyroConnection.dialect == NAMES[second]
        assert spoken(uri) == NAMES[second]
        proxy._pyroRelease()


def has_noticed(proxy):
    """Say whether the connection of a proxy has broken; look at it."""
    session = proxy._pyro_line.session
    fetch(session)
    return session.is_over


def test_what_was_found_out_is_forgotten_after_some_minutes(monkeypatch):
    """A daemon of ours that has taken the place of one of Pyro speaks its dialect, too."""
    with serving(PYRO5) as place:
        uri, port = place.uri(), place.port()
        assert spoken(uri) == "pyro5"
    with serving(OURS, {"tcp": {"host": "localhost", "port": port}}):
        assert spoken(uri) == "pyro5"
        later = monotonic() + 1000
        monkeypatch.setattr(detection, "monotonic", lambda: later)
        assert spoken(uri) == "native"


@contextlib.contextmanager
def stranger(answer, *, closes=True):
    """Listen at a port, and give whoever comes this answer when he has said something."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    held.append(sock)
                    sock.settimeout(PATIENCE)
                    sock.recv(65536)
                    sock.sendall(answer)
                    if closes:
                        sock.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"PYRO:thing@127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)
    for sock in held:
        sock.close()


@pytest.mark.parametrize("dialect", ["auto", *DIALECTS])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"PYR",
        b"PYRO",
        b"SSH-2.0-OpenSSH\r\n",
        bytes(100),
    ],
)
def test_a_server_that_is_neither(dialect, answer):
    with stranger(answer) as uri:
        proxy = pyroipc.Proxy(uri, dialect=dialect)
        with pytest.raises(pyroipc.CommunicationError, match=r"cannot connect to 127\.0\.0\.1"):
            proxy.thing()


@pytest.mark.parametrize("dialect", ["auto", *DIALECTS])
def test_a_server_that_says_nothing(dialect):
    changed = settings(CONNECT_TIMEOUT=0.2)
    with stranger(b"", closes=False) as uri:
        proxy = pyroipc.Proxy(uri, dialect=dialect, settings=changed)
        with pytest.raises(pyroipc.TimeoutError, match="cannot connect to"):
            proxy.thing()


@pytest.mark.parametrize("version", [5, 46, 47, 501, 503, 600])
@pytest.mark.parametrize("dialect", ["auto", *DIALECTS])
def test_a_server_with_a_version_that_nobody_speaks(dialect, version):
    layout = pyro4_failure if version < 500 else pyro5_failure
    with stranger(layout(version, "no")) as uri:
        proxy = pyroipc.Proxy(uri, dialect=dialect)
        with pytest.raises(pyroipc.VersionMismatchError, match=str(version)):
            proxy.thing()


def pyro4_failure(version, text):
    data = marshal.dumps(text)
    checksum = (3 + version + len(data) + 3 + 0x34E9) & 0xFFFF
    return (
        struct.pack("!4sHHHHiHHHH", b"PYRO", version, 3, 0, 0, len(data), 3, 0, 0, checksum) + data
    )


def pyro5_failure(version, text):
    data = marshal.dumps(text)
    head = struct.pack(
        "!4sHBBHHII16sHH", b"PYRO", version, 3, 2, 0, 0, len(data), 0, bytes(16), 0, 0x4DC5
    )
    return head + data


# --- our daemons ---------------------------------------------------------------------------------


class Thing:
    @pyroipc.expose
    def add(self, a, b=2):
        return a + b


@pytest.fixture(scope="module")
def restricted():
    """Daemons that speak only one dialect each."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                daemons.serving({"thing": Thing()}, settings=settings(DIALECTS=[name]))
            )
            for name in ("native", "pyro5", "pyro4")
        }


@pytest.mark.parametrize("only", DIALECTS)
def test_a_proxy_finds_out_what_a_daemon_is_restricted_to(restricted, only):
    assert spoken(restricted[only].uri()) == only


@pytest.mark.parametrize("only", DIALECTS)
@pytest.mark.parametrize("client", FAMILIES)
def test_clients_of_pyro_at_a_daemon_that_is_restricted(restricted, client, only):
    found = play(client, "call", restricted[only].uri(), "serpent", "add", 1)
    if NAMES[client] == only:
        assert found == 3
    else:
        assert found["class"] == "CommunicationError"
        assert "rejected: invalid protocol version" in found["args"][0]
        assert f"this daemon speaks {only}" in found["args"][0]


@pytest.mark.parametrize(("only", "told"), list(itertools.permutations(DIALECTS, 2)))
def test_a_proxy_that_is_told_what_a_daemon_does_not_speak(restricted, only, told):
    proxy = pyroipc.Proxy(restricted[only].uri(), dialect=told)
    with pytest.raises(pyroipc.CommunicationError, match=r"this daemon|the peer speaks"):
        proxy.add(1)


def test_two_dialects_of_three():
    changed = settings(DIALECTS=["pyro4", "pyro5"])
    with daemons.serving({"thing": Thing()}, settings=changed) as place:
        assert spoken(place.uri()) == "pyro4", "the first one that it names"
        for client in FAMILIES:
            assert play(client, "call", place.uri(), "serpent", "add", 1) == 3

"""What a daemon is asked for and what it publishes; who is let in; the short way to a server."""

from __future__ import annotations

import socket

import pytest

from pyroipc import Daemon, DaemonError, PyroError, SecurityError
from pyroipc.server.listening import Access, Asked
from pyroipc.transports.trust import Peer
from tests.support.daemons import settings
from tests.support.networks import needs_ipv6
from tests.support.snippets import run_python


def locations(**options):
    asked = {
        "host": None, "port": 0, "unixsocket": None, "nathost": None, "natport": None,
        "listen": (), **options,
    }  # fmt: skip
    return [str(one) for one in Asked(**asked).locations(settings(HOST="example.org"))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["example.org:0"]),
        ({"port": 9}, ["example.org:9"]),
        ({"host": "h", "port": 9}, ["h:9"]),
        ({"host": ""}, ["0.0.0.0:0"]),
        ({"host": "::1", "port": 9}, ["[::1]:9"]),
        ({"unixsocket": "/p"}, ["./u:/p"]),
        ({"listen": ["h:1", "./u:/p"]}, ["h:1", "./u:/p"]),
        ({"host": "g", "listen": ["h:1"]}, ["g:0", "h:1"]),
        ({"port": 7, "listen": ["h:1"]}, ["example.org:7", "h:1"]),
        ({"unixsocket": "/p", "listen": ["h:1"]}, ["./u:/p", "h:1"]),
    ],
)
def test_addresses_in_the_order_in_which_they_are_published(options, expected):
    assert locations(**options) == expected


@pytest.mark.parametrize("other", [{"host": "h"}, {"port": 1}])
def test_a_unix_socket_has_no_port(other):
    with pytest.raises(ValueError, match="host and port or at a unixsocket"):
        locations(unixsocket="/p", **other)


def test_an_address_that_is_none():
    with pytest.raises(PyroError, match="nonsense"):
        locations(listen=["nonsense"])


def test_nat_says_what_is_valid_outside():
    with Daemon("127.0.0.1", nathost="outside.example", natport=99) as daemon:
        assert daemon.natLocationStr == "outside.example:99"
        assert str(daemon.uriFor("x")) == "PYRO:x@outside.example:99"
        assert str(daemon.uriFor("x", nat=False)) == f"PYRO:x@{daemon.locationStr}"
    with Daemon("127.0.0.1", nathost="outside.example") as daemon:
        assert daemon.natLocationStr == f"outside.example:{daemon.locations[0].port}"
    with Daemon("127.0.0.1") as daemon:
        assert daemon.natLocationStr is None


def test_nat_that_makes_no_sense(tmp_path):
    with pytest.raises(ValueError, match="must provide natport with nathost"):
        Daemon("127.0.0.1", natport=99)
    with pytest.raises(ValueError, match="cannot use nathost together with unixsocket"):
        Daemon(unixsocket=f"{tmp_path}/d", nathost="h")
    assert not list(tmp_path.iterdir())  # what was begun is taken back


@pytest.mark.parametrize("host", ["", pytest.param("::", marks=needs_ipv6)])
def test_all_addresses_are_published_as_one_that_can_be_connected_to(host):
    with Daemon(host) as daemon:
        published = daemon.uriFor("x")
        assert published.host not in ("0.0.0.0", "::", "")
        with socket.create_connection((published.host, published.port), 5):
            pass


def test_a_failure_gives_back_the_addresses_that_were_had():
    with Daemon("127.0.0.1") as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with pytest.raises(DaemonError, match="in use"):
            Daemon(listen=[f"127.0.0.1:{port}", taken.locationStr])
        with Daemon("127.0.0.1", port):
            pass


def test_a_pool_whose_least_is_more_than_its_most():
    options = settings(THREADPOOL_SIZE=2, THREADPOOL_SIZE_MIN=3)
    with Daemon("127.0.0.1", settings=options) as daemon, pytest.raises(DaemonError) as caught:
        daemon.requestLoop()
    assert "THREADPOOL_SIZE_MIN is 3" in str(caught.value)


def peer_of(uid, *, trusted=False):
    return Peer(trusted=trusted, reason=f"its user id is {uid}", uid=uid)


def test_who_is_let_in():
    access = Access(None, None, {7}, settings())
    near, far = socket.socketpair()
    with near, far, socket.socket() as tcp:
        assert access.check(near, peer_of(1, trusted=True)) is None
        assert access.check(near, peer_of(7)) is None
        assert "allowed_uids" in access.check(near, peer_of(8))
        assert access.check(near, peer_of(None))  # of whom the kernel says nothing
        assert access.check(tcp, peer_of(None)) is None


def test_wrong_keys_and_certificates():
    with pytest.raises(TypeError, match="HMAC key"):
        Daemon("127.0.0.1", hmac_key=5)
    with pytest.raises(TypeError, match="SSLContext"):
        Daemon("127.0.0.1", tls=5)
    with pytest.raises(SecurityError, match="/no/such/file"):
        Daemon("127.0.0.1", settings=settings(SSL=True, SSL_SERVERCERT="/no/such/file"))


# ----------------------------------------------------------------------------------- serve


def test_serve_prints_what_pyro_prints_and_serves():
    finished = run_python(
        """
        import signal, threading
        import pyroipc

        class Thing:
            @pyroipc.expose
            def end(self):
                daemon.shutdown()
                return "ended"
            def __repr__(self):
                return "<the thing>"

        daemon = pyroipc.Daemon("127.0.0.1")
        def call():
            with pyroipc.Proxy(f"PYRO:thing@{daemon.locationStr}") as proxy:
                print(proxy.end())
        caller = threading.Thread(target=call)
        caller.start()
        pyroipc.serve({Thing(): "thing"}, daemon=daemon)
        caller.join()
        print(daemon)
        """
    )
    assert not finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "Object <the thing>:"
    assert lines[1].startswith("    uri = PYRO:thing@127.0.0.1:")
    assert lines[2:4] == ["Pyro daemon running.", "ended"]
    assert "closed" in lines[4]


def test_serve_simple_makes_a_daemon_and_can_be_silent():
    finished = run_python(
        """
        import os, signal, threading, time
        import pyroipc

        class Thing: pass

        def end():
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                time.sleep(0.01)
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end).start()
        pyroipc.Daemon.serveSimple({Thing: None}, "127.0.0.1", verbose=False)
        print("over")
        """
    )
    assert finished.stdout == "over\n"


def test_serve_ends_with_ctrl_c_and_closes_the_daemon():
    finished = run_python(
        """
        import os, signal, threading
        import pyroipc

        signal.signal(signal.SIGINT, signal.default_int_handler)
        daemon = pyroipc.Daemon("127.0.0.1")
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            pyroipc.serve({}, daemon=daemon, verbose=False)
        except KeyboardInterrupt:
            print("closed" in repr(daemon))
        """
    )
    assert finished.stdout == "True\n"


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0", "hmac_key": "a key"}, False),
    ],
)
def test_an_address_that_is_open_to_everybody_is_a_warning(caplog, options, warned):
    with Daemon(**options):
        assert any("everybody who can reach" in text for text in caplog.messages) == warned


def test_a_daemon_that_looks_at_handshakes_is_not_open_to_everybody(caplog):
    class Careful(Daemon):
        def validateHandshake(self, conn, data):
            raise ValueError("nobody")

    with Careful("0.0.0.0"):
        assert not any("everybody who can reach" in text for text in caplog.messages)


def test_the_socket_of_others_can_be_opened_by_them(tmp_path):
    for uids, mode in (((), 0o600), ((65534,), 0o666)):
        path = tmp_path / f"{mode:o}.sock"
        with Daemon(unixsocket=str(path), allowed_uids=uids):
            assert path.stat().st_mode & 0o777 == mode

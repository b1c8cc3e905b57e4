"""``pyroipc doctor``: each thing that can be wrong is found, named, and leads to the right status.

Daemons and strangers are real ones, at the loopback interface or at unix sockets.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import ssl
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc import cli
from pyroipc.cli.diagnosis import strangers
from pyroipc.cli.diagnosis.examination import examine
from pyroipc.cli.diagnosis.findings import harmless
from pyroipc.protocol.hello import Hello
from pyroipc.settings import Settings, config
from pyroipc.transports import addresses
from pyroipc.wire.message import ANSWER, GOODBYE, HELLO, REFUSED, RESPONSE, WELCOME
from pyroipc.wire.native import encode_plain, plain_prefix
from tests.support.certificates import Authority
from tests.support.hosts import Worker
from tests.support.networks import needs_ipv6

SECONDS = 3.0


def settings(**values):
    """Make settings that do not depend on the environment."""
    made = Settings(use_environment=False)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pyroipc.expose
class Shop:
    """An object to be examined."""

    name = "shop"

    def buy(self, what):
        return what

    @property
    def stock(self):
        return 3


@contextlib.contextmanager
def serving(*args, cls=pyroipc.Daemon, objects=("shop",), **options):
    """Serve shops in a thread; yield the daemon."""
    options.setdefault("settings", settings())
    with cls(*args, **options) as daemon:
        for name in objects:
            daemon.register(Shop(), name)
        loop = Worker(daemon.requestLoop)
        try:
            yield daemon
        finally:
            daemon.shutdown()
            loop.result()


@contextlib.contextmanager
def stranger(answer):
    """Listen, and run ``answer(sock)`` for each client; yield the port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            while True:
                sock, _ = listener.accept()
                with sock:
                    if over.is_set():
                        return
                    sock.settimeout(2 * SECONDS)
                    with contextlib.suppress(OSError):
                        answer(sock)

        loop = Worker(accept)
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            loop.result()


def examined(uri, seconds=SECONDS, **values):
    """Examine a URI; check what holds of every report; return the report and its steps by name."""
    begin = monotonic()
    report = examine(str(uri), settings(**values), seconds).as_dict()
    assert monotonic() - begin < seconds + 4
    json.dumps(report)
    steps = {}
    for step in report["steps"]:
        assert step["text"].isprintable()
        assert step["status"] in {"ok", "warning", "failed"}
        if step["status"] == "failed":
            assert report["exit_status"]
        if step["step"] not in steps or steps[step["step"]]["status"] != "failed":
            steps[step["step"]] = step
    assert bool(report["exit_status"]) == (report["status"] == "failed")
    return report, steps


# ------------------------------------------------------------------------------ all is well


def test_a_daemon_that_can_be_called():
    with serving("127.0.0.1", objects=("shop", "other")) as daemon:
        report, steps = examined(daemon.uriFor("shop"))
    assert (report["exit_status"], report["status"]) == (0, "warning")  # only this machine can
    assert list(steps) == [
        "uri", "address", "connect", "tls", "hmac", "hello", "trust", "limits", "serializers",
        "latency", "object", "objects",
    ]  # fmt: skip
    hello = steps["hello"]["facts"]
    assert (hello["protocol"], hello["pid"]) == (1, os.getpid())
    assert hello["library"] == f"pyroipc {pyroipc.__version__}"
    assert steps["object"]["facts"] == {"methods": ["buy"], "attributes": ["stock"]}
    assert steps["objects"]["facts"]["objects"] == ["Pyro.Daemon", "other", "shop"]
    assert steps["trust"]["facts"]["trusted"] is False
    latency = steps["latency"]["facts"]
    assert 0 < latency["ping_min_seconds"] <= latency["ping_median_seconds"] < SECONDS
    assert steps["serializers"]["facts"]["used"] == "serpent"
    assert report["check_by_hand"] == []


def test_a_unix_socket(tmp_path):
    path = f"{tmp_path}/shop.sock"
    with serving(unixsocket=path):
        report, steps = examined(f"PYRO:shop@./u:{path}")
    assert (report["exit_status"], report["status"]) == (0, "ok")
    assert steps["trust"]["facts"]["trusted"] is True
    assert steps["trust"]["facts"]["uid"] == os.geteuid()
    assert steps["address"]["facts"]["mode"] == "0600"
    assert steps["serializers"]["facts"]["used"] == "pickle"
    assert "tls" not in steps


def test_tls_and_hmac(tmp_path):
    authority = Authority(tmp_path)
    mine = authority.issue("127.0.0.1")
    common = {"SSL": True, "SSL_CACERTS": authority.file, "HMAC_KEY": "hush"}
    theirs = settings(SSL_SERVERCERT=mine.certificate, SSL_SERVERKEY=mine.key, **common)
    with serving("127.0.0.1", settings=theirs) as daemon:
        report, steps = examined(daemon.uriFor("shop"), **common)
    assert report["exit_status"] == 0
    tls = steps["tls"]["facts"]
    assert tls["version"] == "TLSv1.3"
    assert tls["certificate"]["names"] == ["127.0.0.1"]
    assert 28 <= tls["certificate"]["days_left"] <= 30
    assert steps["hmac"]["facts"] == {"used": True}
    assert "hush" not in json.dumps(report)


def test_a_certificate_that_ends_soon(tmp_path):
    authority = Authority(tmp_path)
    mine = authority.issue("127.0.0.1", valid_days=(-1, 3))
    common = {"SSL": True, "SSL_CACERTS": authority.file}
    theirs = settings(SSL_SERVERCERT=mine.certificate, SSL_SERVERKEY=mine.key, **common)
    with serving("127.0.0.1", settings=theirs) as daemon:
        report, _ = examined(daemon.uriFor("shop"), **common)
    assert report["exit_status"] == 0
    (warning,) = [
        one for one in report["steps"] if (one["step"], one["status"]) == ("tls", "warning")
    ]
    assert "expires in 2 days" in warning["text"]


# ---------------------------------------------------------------------------------- the URI


@pytest.mark.parametrize(
    ("uri", "status", "step", "text"),
    [
        ("PYRO:shop", 1, "uri", "location is missing"),
        ("http://example.org", 1, "uri", "invalid uri"),
        ("PYRO:shop@localhost:99999", 1, "uri", "port"),
        ("PYRO:shop@<connected-socket>", 1, "uri", "has no address"),
        ("PYRONAME:shop", 3, "name", "failed to locate the name server"),
        ("PYRO:shop@no-such-host.invalid:9090", 3, "address", "cannot be found"),
        ("PYRO:\x1b[31mshop@localhost:x", 1, "uri", "port"),
    ],
)
def test_uris_that_lead_nowhere(uri, status, step, text):
    report, steps = examined(uri)
    assert report["exit_status"] == status
    assert text in steps[step]["text"]
    assert list(steps)[-1] == step


# ------------------------------------------------------------------------------- addresses


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_nobody_listens():
    port = free_port()
    report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 3
    assert steps["connect"]["facts"]["errno"] == "ECONNREFUSED"
    assert "is a daemon running there?" in steps["connect"]["advice"][0]
    assert any("ss -ltn" in line for line in report["check_by_hand"])
    assert list(steps)[-1] == "connect"


NAME = "server.example"


@pytest.fixture
def hosts_file(monkeypatch):
    """A function that tells the addresses of NAME."""
    real = addresses.resolve

    def tell(*hosts):
        def resolve(host, port, version=0):
            if host != NAME:
                return real(host, port, version)
            return [(one, port, 0, 0) if ":" in one else (one, port) for one in hosts]

        monkeypatch.setattr(addresses, "resolve", resolve)

    return tell


@needs_ipv6
def test_another_address_of_the_host_answers(hosts_file):
    port = free_port()
    hosts_file("::1", "127.0.0.1")
    with serving("127.0.0.1", port):
        report, _ = examined(f"PYRO:shop@{NAME}:{port}")
        assert report["exit_status"] == 0
        assert report["steps"][1]["facts"]["addresses"] == ["::1", "127.0.0.1"]
        (warning,) = [
            one
            for one in report["steps"]
            if (one["step"], one["status"]) == ("connect", "warning")
        ]
        assert warning["facts"]["location"] == f"[::1]:{port}"
        assert "one version of IP in common" in warning["advice"][0]
        report, _ = examined(f"PYRO:shop@{NAME}:{port}", PREFER_IP_VERSION=6)
        assert report["exit_status"] == 3
        assert report["steps"][1]["facts"]["used"] == ["::1"]


def warnings_of(uri):
    report, _ = examined(uri)
    return " | ".join(one["text"] for one in report["steps"] if one["status"] == "warning")


def test_remarks_on_addresses(hosts_file):
    port = free_port()
    assert "leads to this machine itself only" in warnings_of(f"PYRO:shop@localhost:{port}")
    assert "means all addresses" in warnings_of(f"PYRO:shop@0.0.0.0:{port}")
    assert "without the name of an interface" in warnings_of(f"PYRO:shop@[fe80::1]:{port}")
    hosts_file("127.0.1.1")
    assert "weird DNS setup" in warnings_of(f"PYRO:shop@{NAME}:{port}")


def test_a_version_that_the_host_does_not_have(hosts_file):
    port = free_port()
    hosts_file("127.0.0.1")
    report, _ = examined(f"PYRO:shop@{NAME}:{port}", PREFER_IP_VERSION=6)
    assert any("has no IPv6 address" in one["text"] for one in report["steps"])


def test_a_name_server_that_does_not_answer(monkeypatch):
    over = threading.Event()

    def resolve(host, port, version=0):
        over.wait()
        return [("127.0.0.1", port)]

    monkeypatch.setattr(addresses, "resolve", resolve)
    try:
        report, steps = examined("PYRO:shop@server.example:9090", seconds=0.3)
    finally:
        over.set()
        for thread in threading.enumerate():
            if thread.name == "pyroipc-look-up":
                thread.join()
    assert report["exit_status"] == 3
    assert "takes too long" in steps["address"]["text"]


def test_unix_paths_that_lead_nowhere(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    stale = f"{tmp_path}/stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(stale)
    for path, step, text in (
        (tmp_path / "missing.sock", "address", "there is no file"),
        (tmp_path / "nowhere" / "x.sock", "address", "there is no directory"),
        (plain / "x.sock", "address", "there is no directory"),
        (plain, "address", "is no socket"),
        (stale, "connect", "nobody listens there"),
    ):
        report, steps = examined(f"PYRO:shop@./u:{path}")
        assert report["exit_status"] == 3
        assert text in steps[step]["text"] + " ".join(steps[step]["advice"])


def test_a_relative_path_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving(unixsocket="shop.sock"):
        report, _ = examined("PYRO:shop@./u:shop.sock")
    assert (report["exit_status"], report["status"]) == (0, "warning")


# ----------------------------------------------------------------------------- no conversation


def test_tls_is_missing_here(tmp_path):
    identity = Authority(tmp_path).issue("127.0.0.1")
    theirs = settings(SSL=True, SSL_SERVERCERT=identity.certificate, SSL_SERVERKEY=identity.key)
    with serving("127.0.0.1", settings=theirs) as daemon:
        report, steps = examined(daemon.uriFor("shop"))
    assert report["exit_status"] == 4
    assert "speaks TLS only" in steps["hello"]["text"]
    assert steps["protocol"]["facts"]["speaker"] == "native"


def test_tls_is_missing_there(tmp_path):
    authority = Authority(tmp_path)
    with serving("127.0.0.1") as daemon:
        report, steps = examined(daemon.uriFor("shop"), SSL=True, SSL_CACERTS=authority.file)
    assert report["exit_status"] == 4
    assert "does not speak TLS" in steps["tls"]["text"]
    assert steps["protocol"]["facts"]["speaker"] == "welcome"
    assert "not set up alike" in steps["protocol"]["advice"][0]


@pytest.mark.parametrize(
    ("names", "days", "trusted", "text"),
    [
        (("server.example",), (-1, 30), True, "it is not for '127.0.0.1'"),
        (("127.0.0.1",), (-9, -2), True, "it has expired"),
        (("127.0.0.1",), (-1, 30), False, "no authority that is trusted here"),
    ],
)
def test_certificates_that_are_refused(tmp_path, names, days, trusted, text):
    authority = Authority(tmp_path)
    known = authority if trusted else Authority(tmp_path, "stranger")
    mine = authority.issue(*names, valid_days=days)
    theirs = settings(SSL=True, SSL_SERVERCERT=mine.certificate, SSL_SERVERKEY=mine.key)
    with serving("127.0.0.1", settings=theirs) as daemon:
        report, steps = examined(daemon.uriFor("shop"), SSL=True, SSL_CACERTS=known.file)
    assert report["exit_status"] == 4
    assert text in steps["tls"]["text"] + " ".join(steps["tls"]["advice"])
    (shown,) = [one for one in report["steps"] if "certificate" in one["facts"]]
    assert shown["facts"]["certificate"]["names"] == list(names)
    assert abs(shown["facts"]["certificate"]["days_left"] - days[1]) <= 1


def test_a_client_certificate_is_wanted(tmp_path):
    authority = Authority(tmp_path)
    mine = authority.issue("127.0.0.1")
    common = {"SSL": True, "SSL_CACERTS": authority.file}
    theirs = settings(
        SSL_SERVERCERT=mine.certificate,
        SSL_SERVERKEY=mine.key,
        SSL_REQUIRECLIENTCERT=True,
        **common,
    )
    with serving("127.0.0.1", settings=theirs) as daemon:
        report, _ = examined(daemon.uriFor("shop"), **common)
        assert report["exit_status"] == 4
        # The server says so after the handshake, from the client's view: sooner or later.
        failed = [one for one in report["steps"] if one["status"] == "failed"]
        assert failed[0]["step"] in {"tls", "hello"}
        assert "requires a client certificate" in failed[0]["text"]
        theirs = authority.issue("client.example")
        report, _ = examined(
            daemon.uriFor("shop"),
            SSL_CLIENTCERT=theirs.certificate,
            SSL_CLIENTKEY=theirs.key,
            **common,
        )
        assert report["exit_status"] == 0


def test_a_file_of_ours_that_is_missing():
    with serving("127.0.0.1") as daemon:
        report, steps = examined(daemon.uriFor("shop"), SSL=True, SSL_CACERTS="/nowhere/ca.pem")
    assert report["exit_status"] == 1
    assert "/nowhere/ca.pem" in steps["settings"]["text"]


@pytest.mark.parametrize(
    ("here", "there", "step", "text"),
    [
        ("", "hush", "hello", "wants an HMAC key"),
        ("hush", "", "hmac", "uses no HMAC key"),
        ("hush", "other", "hmac", "keys of the two ends differ"),
    ],
)
def test_hmac_keys_that_do_not_fit(here, there, step, text):
    with serving("127.0.0.1", hmac_key=there) as daemon:
        report, steps = examined(daemon.uriFor("shop"), HMAC_KEY=here)
    assert report["exit_status"] == 4
    assert text in steps[step]["text"]
    assert "hush" not in json.dumps(report)


def speak(first, then=b""):
    def answer(sock):
        sock.recv(4096)
        sock.sendall(first)
        if then:
            sock.recv(4096)
            sock.sendall(then)

    return answer


PYRO5 = b"PYRO\x01\xf6\x03\x02" + bytes(31) + b"\x4d\xc5invalid protocol version"
PYRO4 = b"PYRO\x00\x30\x00\x03" + bytes(16) + b"invalid data"


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (speak(PYRO5), "pyro5"),
        (speak(PYRO4), "pyro4"),
        (speak(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "http"),
        (speak(b"\x15\x03\x01\x00\x02\x02\x46"), "tls"),
        (speak(b"SSH-2.0-OpenSSH_9.2\r\n"), "ssh"),
        (speak(b"PYROI\x02\x01" + bytes(40)), "native"),
        (speak(b"\x00\x01\x1b[2J"), "unknown"),
        (lambda sock: sock.recv(4096), "closing"),
    ],
)
def test_strangers(answer, name):
    with stranger(answer) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 4
    assert steps["protocol"]["facts"]["speaker"] == name
    assert steps["protocol"]["advice"]
    assert any("PYRO_LOGLEVEL=DEBUG" in line for line in report["check_by_hand"])


def test_a_web_server_that_waits_for_more():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        loop = Worker(server.serve_forever, 0.02)
        try:
            _, steps = examined(f"PYRO:shop@127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            loop.result()
    assert steps["protocol"]["facts"]["speaker"] == "http"


def test_a_server_of_another_kind_that_speaks_tls(tmp_path):
    identity = Authority(tmp_path).issue("server.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)

    def answer(sock):
        with context.wrap_socket(sock, server_side=True) as wrapped:
            wrapped.recv(1)

    with stranger(answer) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 4
    assert steps["protocol"]["facts"]["speaker"] == "tls"
    assert "PYRO_SSL=1" in steps["protocol"]["advice"][0]


def test_silence():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # nobody accepts
        uri = f"PYRO:shop@127.0.0.1:{listener.getsockname()[1]}"
        report, steps = examined(uri, seconds=1.5)
    assert report["exit_status"] == 4
    assert "no welcome came in time" in steps["hello"]["text"]
    assert steps["protocol"]["facts"]["speaker"] == "silence"
    assert "requestLoop" in steps["protocol"]["advice"][0]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("key", ["", "hush"])
def test_one_byte_at_a_time_for_ever(tls, key):
    over = threading.Event()

    def drip(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not over.wait(0.01):
            sock.sendall(b"\x16" if tls else b"P")

    with stranger(drip) as port:
        report, _ = examined(f"PYRO:shop@127.0.0.1:{port}", seconds=1.5, SSL=tls, HMAC_KEY=key)
        over.set()
    assert report["exit_status"] == 4


def test_an_endless_flood():
    def flood(sock):
        while True:
            sock.sendall(b"\x1b[31mflood\n" * 1000)

    with stranger(flood) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 4
    assert steps["protocol"]["facts"]["speaker"] == "unknown"


def welcome(**facts):
    return encode_plain(plain_prefix(WELCOME, 0, 0), 1, Hello(**facts).encode())


def test_another_version():
    refusal = b"version: this side is pyroipc 9.0, the peer is older"
    goodbye = encode_plain(plain_prefix(GOODBYE, 0, REFUSED), 1, refusal)
    with stranger(speak(goodbye)) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 4
    assert steps["hello"]["facts"]["error"] == "VersionMismatchError"
    assert "this side is pyroipc 9.0" in steps["protocol"]["text"]


def test_a_daemon_that_dies_after_its_welcome():
    with stranger(speak(welcome(library="pyroipc 0.0.9"))) as port:
        report, _ = examined(f"PYRO:shop@127.0.0.1:{port}", seconds=1.5)
    assert report["exit_status"] in {4, 5}
    assert any("not of the same version" in one["text"] for one in report["steps"])


def test_a_daemon_that_says_welcome_and_then_nothing():
    def answer(sock):
        sock.recv(4096)
        sock.sendall(welcome(serializers=["serpent"], features=["ping", "objects"]))
        while sock.recv(4096):
            pass

    with stranger(answer) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}", seconds=1.5)
    assert report["exit_status"] == 4
    assert "0 of 20 pings" in steps["latency"]["text"]


# ------------------------------------------------------------------------------ no calls


def test_an_object_that_is_not_there():
    with serving("127.0.0.1", objects=("shop", "stall")) as daemon:
        report, steps = examined(f"PYRO:shpo@{daemon.locationStr}")
        assert report["exit_status"] == 5
        assert "did you mean 'shop'?" in steps["object"]["advice"]
        report, steps = examined(f"PYRO:xyz@{daemon.locationStr}")
        assert "there are: Pyro.Daemon, shop, stall" in steps["object"]["advice"]


def test_serializers_that_do_not_fit():
    with serving("127.0.0.1", serializers_accepted=["json"]) as daemon:
        report, steps = examined(daemon.uriFor("shop"))
        assert report["exit_status"] == 5
        assert "the peer does not accept serializer 'serpent'" in steps["serializers"]["text"]
        report, _ = examined(daemon.uriFor("shop"), SERIALIZER="json")
        assert report["exit_status"] == 0
        report, steps = examined(daemon.uriFor("shop"), SERIALIZER="pickle")
        assert report["exit_status"] == 5
        assert "can run code" in steps["serializers"]["text"]
        report, steps = examined(daemon.uriFor("shop"), SERIALIZER="sreial")
        assert report["exit_status"] == 5


def test_limits_that_differ():
    with serving("127.0.0.1", settings=settings(MAX_MESSAGE_SIZE=1 << 20)) as daemon:
        report, steps = examined(daemon.uriFor("shop"))
    assert report["exit_status"] == 0
    assert steps["limits"]["status"] == "warning"
    assert steps["limits"]["facts"] == {"here": 64 << 20, "there": 1 << 20}


def test_a_daemon_that_refuses_the_handshake():
    class Strict(pyroipc.Daemon):
        def validateHandshake(self, conn, data):
            raise ValueError("say \x1b[31mplease")

    with serving("127.0.0.1", cls=Strict) as daemon:
        report, steps = examined(daemon.uriFor("shop"))
    assert report["exit_status"] == 5
    assert "connection rejected: say" in steps["object"]["text"]


def test_an_answer_that_makes_no_sense():
    def answer(sock):
        if not sock.recv(4096):
            return  # it only looks whether somebody is there
        sock.sendall(welcome(serializers=["serpent"], features=["ping", "objects"]))
        for _ in range(20):
            ping = bytearray(sock.recv(36))
            ping[6] |= ANSWER  # now it is a pong
            sock.sendall(ping)
        request = sock.recv(4096)
        number = int.from_bytes(request[24:28], "big")
        sock.sendall(encode_plain(plain_prefix(RESPONSE, 1, 0), number, b"\xff nonsense"))
        sock.recv(4096)

    with stranger(answer) as port:
        report, steps = examined(f"PYRO:shop@127.0.0.1:{port}")
    assert report["exit_status"] == 5
    assert steps["latency"]["status"] == "ok"
    assert steps["object"]["facts"]["error"] == "SerializeError"


# --------------------------------------------------------------------------- the command


@pytest.fixture
def as_by_default():
    config.reset(use_environment=False)
    yield
    config.reset()


def test_what_is_printed(as_by_default, capsys):
    with serving("127.0.0.1") as daemon:
        uri = str(daemon.uriFor("shop"))
        assert cli.main(["doctor", uri]) == 0
        printed = capsys.readouterr().out
        assert cli.main(["doctor", "--json", uri]) == 0
        report = json.loads(capsys.readouterr().out)
    assert f"ok       uri          {uri}" in printed.splitlines()
    assert printed.splitlines()[-1] == "calls work, with 1 warning"
    assert report["uri"] == uri
    assert {step["step"] for step in report["steps"]} >= {"uri", "hello", "object"}


def test_what_is_printed_of_a_failure(as_by_default, capsys):
    assert cli.main(["doctor", f"PYRO:shop@127.0.0.1:{free_port()}"]) == 3
    printed = capsys.readouterr().out
    assert "\nfailed   connect" in printed
    assert "-> is a daemon running there?" in printed
    assert "To be checked by hand:" in printed
    assert printed.splitlines()[-1] == "nobody can be reached there, with 1 warning"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "1e9"])
def test_times_that_make_no_sense(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--timeout", seconds, "PYRO:shop@localhost:1"])
    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err


def test_what_comes_from_others_is_harmless():
    assert harmless("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\n\\u202eb"
    assert len(harmless("x" * 10_000)) < 700


def test_every_first_byte_is_somebody():
    for first in range(256):
        for more in (b"", b"\x03", b"x" * 50):
            speaker = strangers.recognise(bytes([first]) + more)
            assert speaker.name
    assert strangers.recognise(encode_plain(plain_prefix(HELLO, 0, 0), 1, b"")).name == "native"

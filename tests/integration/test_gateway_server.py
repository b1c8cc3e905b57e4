"""The HTTP server of the gateway: clients that are slow, wrong, many, or gone."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import struct
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc.gateway.server import GatewayServer
from tests.support.hosts import PATIENCE, Worker
from tests.support.networks import needs_ipv6
from tests.support.snippets import run_python
from tests.support.waiting import wait_until


class Application:
    """A WSGI application that holds requests until it is told to let them go."""

    def __init__(self):
        self.opened = threading.Event()
        self.opened.set()
        self.seen = []
        self.running = 0
        self.body = [b"hello"]

    def __call__(self, environ, start_response):
        self.running += 1
        try:
            if environ["PATH_INFO"] == "/read":
                length = int(environ["CONTENT_LENGTH"])
                try:
                    self.seen.append(environ["wsgi.input"].read(length))
                except OSError as error:
                    self.seen.append(type(error))
                    start_response("408 Request Timeout", [])
                    return []
            if environ["PATH_INFO"] == "/fail":
                raise ZeroDivisionError("in the application")
            self.seen.append(environ)
            assert self.opened.wait(PATIENCE)
            status = "413 Too Large" if environ["PATH_INFO"] == "/refuse" else "200 OK"
            start_response(status, [("Content-Type", "text/plain")])
            return self.body
        finally:
            self.running -= 1


@contextlib.contextmanager
def serving(application=None, *, host="127.0.0.1", **options):
    application = application or Application()
    server = GatewayServer(application, host, 0, **options)
    worker = Worker(lambda: server.serve(patience=0.5), name="gateway server")
    try:
        yield server, application
    finally:
        application.opened.set()
        server.stop()
        worker.result()


def client(server):
    sock = socket.create_connection(server.server_address[:2], timeout=PATIENCE)
    return contextlib.closing(sock)


def answer_to(server, data):
    """Send bytes, and return everything that comes back."""
    with client(server) as sock:
        sock.sendall(data)
        return everything(sock)


def everything(sock):
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def status_of(answer):
    assert answer.startswith(b"HTTP/1.0 "), answer
    return int(answer[9:12])


def test_request_and_answer():
    with serving() as (server, application):
        answer = answer_to(
            server,
            b"POST /read?a=1&$key=secret HTTP/1.1\r\nHost: x\r\nX-Some: b\r\nContent-Length: 3\r\n"
            b"Content-Type: text/x\r\n\r\nabc",
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"Server: pyroipc\r\n" in head
        assert b"Python" not in head
        assert body == b"hello"
        text, environ = application.seen
        assert text == b"abc"
        assert environ["REQUEST_METHOD"] == "POST"
        assert environ["PATH_INFO"] == "/read"
        assert environ["QUERY_STRING"] == "a=1&$key=secret"
        assert environ["HTTP_X_SOME"] == "b"
        assert environ["CONTENT_TYPE"] == "text/x"
        assert environ["wsgi.multithread"] is True


def test_a_key_in_a_query_is_in_no_log(caplog):
    with caplog.at_level(logging.DEBUG, "pyroipc.gateway"), serving() as (server, _):
        answer_to(server, b"GET /path?$key=secret HTTP/1.0\r\n\r\n")
    assert "127.0.0.1 GET /path: 200" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n", 400),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n", 431),
        (b"GET / HTTP/1.0\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(200)) + b"\r\n", 431),
        (b"GET / HTTP/1.0\r\n" + b"X-A: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.0\r\n" + b"X-A: yyyyyyyyyyyyyyyyyyyy\r\n" * 90_000, 431),
        (b"GET /fail HTTP/1.0\r\n\r\n", 500),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_bad_requests(data, status):
    with serving() as (server, _):
        assert status_of(answer_to(server, data)) == status
        assert status_of(answer_to(server, b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_a_client_that_says_nothing_or_goes():
    with serving(header_seconds=0.2) as (server, application):
        for data in (b"", b"GET / HT", b"POST /read HTTP/1.0\r\nContent-Length: 10\r\n\r\nabc"):
            with client(server) as sock:
                sock.sendall(data)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not server._active, "nobody is served any more")
        assert status_of(answer_to(server, b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert application.running == 0


def test_slow_headers_are_cut_off():
    """Each byte comes in time, but not all of them do."""
    with serving(header_seconds=0.4) as (server, application), client(server) as sock:
        start = monotonic()
        sock.settimeout(0.05)
        answer = b""
        with contextlib.suppress(OSError):
            while not answer and monotonic() - start < PATIENCE:
                sock.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    answer = sock.recv(65536)
        assert monotonic() - start < 6
        assert status_of(answer) == 408
        assert application.seen == []


def test_slow_bodies_are_cut_off():
    with serving(body_seconds=0.4) as (server, application), client(server) as sock:
        sock.sendall(b"POST /read HTTP/1.0\r\nContent-Length: 1000\r\n\r\n")
        start = monotonic()
        sock.settimeout(0.05)
        answer = b""
        with contextlib.suppress(OSError):
            while not answer and monotonic() - start < PATIENCE:
                sock.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    answer = sock.recv(65536)
        assert monotonic() - start < 6
        assert status_of(answer) == 408
        assert application.seen == [TimeoutError]


def test_slow_readers_are_cut_off():
    application = Application()
    application.body = [b"x" * (32 << 20)]
    with serving(application, write_seconds=0.3) as (server, _), client(server) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: server._active, "it is served")
        wait_until(lambda: not server._active, "it is cut off")


def test_many_slow_clients_keep_nobody_out():
    with serving(threads=4, header_seconds=0.5) as (server, _), contextlib.ExitStack() as stack:
        for _ in range(6):  # more than there are threads
            sock = stack.enter_context(client(server))
            sock.sendall(b"GET / HTTP/1.0\r\nX-Slow: ")
        start = monotonic()
        assert status_of(answer_to(server, b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert monotonic() - start < 6


def test_so_many_at_once_and_no_more():
    application = Application()
    application.opened.clear()
    with serving(application, threads=3) as (server, _):
        calls = [Worker(answer_to, server, b"GET / HTTP/1.0\r\n\r\n") for _ in range(8)]
        wait_until(lambda: application.running == 3, "three are served")
        assert len(server._active) == 3
        assert len(application.seen) == 3
        application.opened.set()
        assert [status_of(call.result()) for call in calls] == [200] * 8
        assert len(application.seen) == 8


def test_a_refused_body_does_not_hide_the_answer():
    """The client is still sending when the answer comes; it must be able to read it."""
    with serving() as (server, _), client(server) as sock:
        size = 3 << 20
        sock.sendall(b"POST /refuse HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % size)
        sender = Worker(sock.sendall, b"x" * size)
        assert status_of(everything(sock)) == 413
        sender.result()


def test_an_iterator_is_closed_when_the_client_is_gone():
    closed = threading.Event()
    more = threading.Event()

    class Body:
        def __iter__(self):
            return self

        def __next__(self):
            assert more.wait(PATIENCE)
            return b"x" * 1000

        def close(self):
            closed.set()

    application = Application()
    application.body = Body()
    with serving(application) as (server, _):
        with client(server) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_until(lambda: application.seen, "it is served")
        more.set()
        assert closed.wait(PATIENCE)


def test_stop_waits_for_those_that_run_but_not_for_ever():
    application = Application()
    application.opened.clear()
    server = GatewayServer(application, "127.0.0.1", 0)
    worker = Worker(lambda: server.serve(patience=0.3))
    with client(server) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: application.running, "it is served")
        server.stop()
        assert everything(sock) == b""  # cut off after its time
        application.opened.set()
        worker.result()
    with pytest.raises(ConnectionRefusedError):
        answer_to(server, b"")
    wait_until(lambda: not server._active, "the thread has ended")


def test_stop_waits_for_nobody_who_says_nothing():
    """Browsers open connections before they need them."""
    server = GatewayServer(Application(), "127.0.0.1", 0)
    worker = Worker(server.serve)
    with client(server) as silent, client(server) as slow:
        slow.sendall(b"GET / HTTP/1.0\r\nX-")
        wait_until(lambda: len(server._active) == 2, "both are there")
        start = monotonic()
        server.stop()
        assert everything(silent) == everything(slow) == b""
        worker.result()
    assert monotonic() - start < 6


def test_stop_before_serve_and_twice():
    server = GatewayServer(Application(), "127.0.0.1", 0)
    server.stop()
    server.serve()
    server.stop()


def test_a_server_that_never_serves():
    with GatewayServer(Application(), "127.0.0.1", 0) as server:
        assert server.server_port
    server.stop()


@needs_ipv6
def test_ipv6():
    with serving(host="::1") as (server, _):
        assert server.url == f"http://[::1]:{server.server_port}/pyro/"
        assert status_of(answer_to(server, b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_everywhere():
    with serving(host="") as (server, _):
        assert server.url.startswith("http://0.0.0.0:")


def test_where_nobody_can_listen():
    with (
        serving() as (server, _),
        pytest.raises(
            pyroipc.DaemonError, match=r"cannot listen at 127.0.0.1, port \d+: .* in use"
        ),
    ):
        GatewayServer(Application(), "127.0.0.1", server.server_port)
    with pytest.raises(pyroipc.ConnectError):
        GatewayServer(Application(), "no.such.host.invalid", 0)
    for port in (-1, 65536):
        with pytest.raises(pyroipc.DaemonError, match="a port is a number"):
            GatewayServer(Application(), "127.0.0.1", port)


def test_no_descriptors_left(caplog):
    """Whoever is served stays so; others are let in as soon as there are descriptors again."""
    finished = run_python(
        """
        import resource, socket, sys, threading
        from pyroipc.gateway.server import GatewayServer

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"hello"]

        server = GatewayServer(application, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve)
        thread.start()
        waiting = [socket.create_connection(server.server_address) for _ in range(3)]
        used = max(sock.fileno() for sock in waiting) + 3 + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
        more = []
        try:
            while True:
                more.append(socket.socket())
        except OSError:
            pass
        last = more.pop()
        last.connect(server.server_address)  # nobody can accept it
        last.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        for sock in waiting + more:
            sock.close()
        last.settimeout(10)
        answer = b""
        while piece := last.recv(1000):
            answer += piece
        print(answer[:15])
        last.close()
        server.stop()
        thread.join()
        """
    )
    assert finished.stdout == "b'HTTP/1.0 200 OK'\n", finished


def test_a_signal_ends_it():
    finished = run_python(
        """
        import os, signal, threading
        from pyroipc.gateway import Gateway
        from pyroipc.gateway.launch import serve
        from pyroipc.gateway.server import GatewayServer
        from pyroipc.settings import config

        config.NS_PORT, config.BROADCAST_ADDRS = 1, []
        for number in (signal.SIGTERM, signal.SIGINT):
            server = GatewayServer(Gateway(), "127.0.0.1", 0)
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
            try:
                serve(server.gateway, server)
            except KeyboardInterrupt:
                print("Ctrl-C")
            print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
        """
    )
    assert finished.stderr == ""
    lines = [line for line in finished.stdout.splitlines() if "http" not in line]
    assert lines == [
        "Not yet connected to a name server.", "True",
        "Not yet connected to a name server.", "Ctrl-C", "True",
    ]  # fmt: skip
    assert finished.returncode == 0, signal.Signals(-finished.returncode)

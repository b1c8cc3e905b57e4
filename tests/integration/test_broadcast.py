"""Finding a name server by broadcast: in networks of several hosts, and against strangers."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time

import pytest

import pyroipc
from pyroipc.client.broadcasting import ask
from pyroipc.errors import DaemonError, NamingError
from pyroipc.naming.broadcast import BroadcastServer
from tests.support import namespaces
from tests.support.daemons import settings as changed_settings
from tests.support.hosts import Worker
from tests.support.namespaces import Network

URI = "PYRO:Pyro.NameServer@192.0.2.1:9090"
needs_namespaces = pytest.mark.skipif(
    namespaces.why_not() is not None, reason=str(namespaces.why_not())
)


@pytest.fixture
def responder():
    with BroadcastServer(URI, "127.0.0.1", 0) as server:
        server.runInThread()
        yield server


@pytest.fixture
def asker():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def answers(sock, seconds):
    """Return what comes within some time."""
    found = []
    while select.select([sock], [], [], seconds)[0]:
        found.append(sock.recv(1000))
    return found


def address(server):
    return "127.0.0.1", server.getPort()


# --- datagrams -----------------------------------------------------------------------------------


def test_the_datagrams_are_those_of_pyro(responder, asker):
    asker.sendto(b"GET_NSURI", address(responder))
    assert asker.recvfrom(1000) == (URI.encode(), address(responder))


@pytest.mark.parametrize(
    "data", [b"", b"G", b"get_nsuri", b"GET_NSURI\n", b" GET_NSURI", b"GET_NSURI" * 100, b"\0" * 9]
)
def test_nothing_else_is_answered(responder, asker, data):
    asker.sendto(data, address(responder))
    asker.sendto(b"GET_NSURI", address(responder))
    assert answers(asker, 0.1) == [URI.encode()]


def test_a_flood_of_nonsense(responder, asker):
    """100 000 by hand: PYROIPC_DATAGRAMS=100000."""
    dice = random.Random(5)
    for _ in range(int(os.environ.get("PYROIPC_DATAGRAMS", "2000"))):
        data = bytearray(b"GET_NSURI"[: dice.randrange(10)] + dice.randbytes(dice.randrange(3)))
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        if data != b"GET_NSURI":
            asker.sendto(data, address(responder))
    assert answers(asker, 0.1) == []
    begin = time.perf_counter()
    asker.sendto(b"GET_NSURI", address(responder))
    assert asker.recv(1000) == URI.encode()
    assert time.perf_counter() - begin < 1


def test_answers_are_limited(responder, asker):
    for _ in range(400):
        asker.sendto(b"GET_NSURI", address(responder))
    assert 0 < len(answers(asker, 0.1)) <= 40  # twice the limit, if a second ends meanwhile


def test_an_asker_that_is_gone_harms_nobody(responder, asker):
    for _ in range(20):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.2", 0))
            gone.sendto(b"GET_NSURI", address(responder))
    asker.sendto(b"GET_NSURI", address(responder))
    assert asker.recv(1000) == URI.encode()


def test_it_works_in_the_loop_of_a_daemon(asker):
    for threads in ("thread", "multiplex"):
        daemon = pyroipc.Daemon("127.0.0.1", settings=changed_settings(SERVERTYPE=threads))
        with daemon, BroadcastServer(URI, "127.0.0.1", 0) as server:
            daemon.combine(server)
            loop = Worker(daemon.requestLoop)
            for _ in range(3):
                asker.sendto(b"GET_NSURI", address(server))
                assert asker.recv(1000) == URI.encode()
            server.close()
            with pyroipc.Proxy(f"PYRO:Pyro.Daemon@{daemon.locationStr}") as proxy:
                proxy.ping()
            daemon.shutdown()
            loop.result()


def test_it_works_in_a_loop_of_ones_own(asker):
    with BroadcastServer(URI, "127.0.0.1", 0) as server:
        server.processRequest()  # nothing to do
        asker.sendto(b"GET_NSURI", address(server))
        assert select.select([server], [], [], 5)[0]
        server.processRequest()
        assert asker.recv(1000) == URI.encode()
        assert server.sockets == [server.sock]
        asker.sendto(b"GET_NSURI", address(server))
        assert select.select(server.sockets, [], [], 5)[0]
        server.events(server.sockets)
        assert asker.recv(1000) == URI.encode()


def test_what_cannot_be_a_responder():
    for uri in ("PYRO:Pyro.NameServer@localhost:1", "PYRO:Pyro.NameServer@[2001:db8::1]:1",
                "PYRO:Pyro.NameServer@./u:/tmp/x"):  # fmt: skip
        with pytest.raises(NamingError, match="cannot be found by broadcast"):
            BroadcastServer(uri)
    with pytest.raises(
        DaemonError, match=r"cannot listen for broadcasts at 192\.0\.2\.77, port 9091"
    ):
        BroadcastServer(URI, "192.0.2.77")
    with BroadcastServer(URI, "127.0.0.1", 0) as server:
        pass
    assert server.fileno() == -1
    with pyroipc.Daemon("127.0.0.1") as daemon, pytest.raises(DaemonError, match="closed"):
        daemon.combine(server)


# --- answers of strangers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"nonsense", b"PYRO:Pyro.NameServer", b"PYRO:other@192.0.2.1:9090", b"\xff" * 100,
        b"PYRONAME:Pyro.NameServer@192.0.2.1:9090", b"PYRO:Pyro.NameServer@./u:/tmp/x",
        b"PYRO:Pyro.NameServer@192.0.2.1:99999",
    ],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_none(answer):
    with stranger(answer, URI.encode()) as port:
        found = ask(["127.0.0.1"], port, time.monotonic() + 5)
        assert str(next(found)) == URI
        found.close()


def test_all_addresses_means_the_one_that_answered():
    with stranger(b"PYRO:Pyro.NameServer@0.0.0.0:9090") as port:
        found = ask(["127.0.0.1"], port, time.monotonic() + 5)
        assert str(next(found)) == "PYRO:Pyro.NameServer@127.0.0.1:9090"
        found.close()


def test_who_answers_but_is_no_name_server():
    with pyroipc.Daemon("127.0.0.1") as daemon:
        loop = Worker(daemon.requestLoop)
        answer = f"PYRO:Pyro.NameServer@{daemon.locationStr}".encode()
        with stranger(answer) as port:
            settings = changed_settings(NS_PORT=1, NS_BCPORT=port, BROADCAST_ADDRS=["127.0.0.1"])
            with pytest.raises(NamingError, match=r"the answer to a broadcast.*Pyro\.NameServer"):
                pyroipc.locate_ns(settings=settings)
        daemon.shutdown()
        loop.result()


def test_nobody_answers():
    begin = time.monotonic()
    assert list(ask(["127.0.0.1"], 1, begin + 0.2)) == []
    assert time.monotonic() - begin < 5
    assert list(ask(["no.such.host.invalid"], 1, time.monotonic() + 0.1)) == []


class stranger:
    """Answers each question with these datagrams; a context manager that gives the port."""

    def __init__(self, *answers):
        self._answers = answers

    def __enter__(self):
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._worker = Worker(self._work)
        return self._sock.getsockname()[1]

    def _work(self):
        while not self._stopping.is_set():
            if select.select([self._sock], [], [], 0.05)[0]:
                _, sender = self._sock.recvfrom(100)
                for answer in self._answers:
                    self._sock.sendto(answer, sender)

    def __exit__(self, *_):
        self._stopping.set()
        self._worker.result()
        self._sock.close()


# --- several hosts -------------------------------------------------------------------------------

SUPPORT = "__import__('tests.support.name_servers', fromlist=['x'])"
START = SUPPORT + ".run_in_console({options})"
FIND = "str(__import__('pyroipc').locate_ns(settings=_settings({settings}))._pyroUri)"


def start(where, **options):
    console = where.console()
    console.ask(START.format(options=repr(options)))
    return console


def find(where, **settings):
    return where.console().ask(FIND.format(settings=repr({"NS_PORT": 1, **settings})))


@needs_namespaces
def test_every_interface_of_a_name_server_and_of_a_client():
    with Network() as network:
        server, one, two, both = (network.host() for _ in range(4))
        first, second = network.switch(), network.switch()
        first.plug_in(server, "10.1.0.1/24")
        second.plug_in(server, "10.2.0.1/24")
        first.plug_in(one, "10.1.0.2/24")
        second.plug_in(two, "10.2.0.2/24")
        start(server, host="0.0.0.0")
        assert find(one) == "PYRO:Pyro.NameServer@10.1.0.1:9090"
        assert find(two) == "PYRO:Pyro.NameServer@10.2.0.1:9090"
        # A client with several interfaces asks in all of them, with no default route at all.
        first_only, second_only = network.switch(), first
        first_only.plug_in(both, "10.3.0.2/24")
        second_only.plug_in(both, "10.1.0.3/24")
        assert find(both) == "PYRO:Pyro.NameServer@10.1.0.1:9090"


@needs_namespaces
def test_one_address_and_nat():
    with Network() as network:
        server, client = network.host(), network.host()
        switch = network.switch()
        switch.plug_in(server, "10.1.0.1/24")
        switch.plug_in(client, "10.1.0.2/24")
        start(server, host="10.1.0.1", nathost="192.0.2.9", natport=99)
        assert find(client) == "PYRO:Pyro.NameServer@10.1.0.1:9090"


@needs_namespaces
def test_no_broadcasts_where_nobody_else_comes():
    with Network() as network:
        server, client = network.host(), network.host()
        switch = network.switch()
        switch.plug_in(server, "10.1.0.1/24")
        switch.plug_in(client, "10.1.0.2/24")
        console = start(server, host="127.0.0.1")
        assert console.ask(f"{SUPPORT}.responders") == [None]
        with pytest.raises(namespaces.ConsoleError, match=r"broadcasts to port 9091.*no answer"):
            find(client)

"""The gateway before objects and name servers of the released Pyro4 and Pyro5."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

from pyroipc.gateway import Gateway
from tests.support.daemons import settings
from tests.support.gateways import Client, serving_gateway
from tests.support.hosts import Worker

STARTS = {
    "pyro4": "import Pyro4 as P, Pyro4.naming; start = Pyro4.naming.startNS",
    "pyro5": "import Pyro5.api as P, Pyro5.nameserver; start = Pyro5.nameserver.start_ns",
}
PEER = """
import threading, time
{start}

class Instance:
    def __init__(self):
        self.a = 1

@P.expose
class Thing(object):
    def echo(self, x):
        return x
    def items(self, n):
        for i in range(int(n)):
            yield i
    def result(self):
        return float("nan"), Instance()
    def fail(self):
        raise KeyError("x")
    def correlation(self):
        return str(P.current_context.correlation_id)
    def slow(self):
        time.sleep(0.5)
        return "slow"
    @P.oneway
    def note(self):
        pass
    @property
    def size(self):
        return 5

uri, names, _ = start("localhost", 0, enableBroadcast=False)
threading.Thread(target=names.requestLoop, daemon=True).start()
daemon = P.Daemon("localhost")
names.nameserver.register("http.thing", daemon.register(Thing()))
print(uri.port, flush=True)
daemon.requestLoop()
"""


@contextlib.contextmanager
def peer(dialect):
    """Run a name server and a daemon of Pyro; yield the port of the name server."""
    code = PEER.format(start=STARTS[dialect])
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(params=["pyro4", "pyro5"])
def thing(request):
    with peer(request.param) as port:
        gateway = Gateway(settings=settings(NS_PORT=port, BROADCAST_ADDRS=[]))
        with serving_gateway(gateway) as server:
            client = Client(server.url)
            client.gateway = gateway
            yield client


def test_everything(thing):
    assert thing.get("http.thing/echo?x=1&x=2").json == ["1", "2"]
    value = {"a": [1, 2.5, None, {"@": "b"}], "ä": "€"}
    assert thing.post("http.thing/echo", {"x": value}).json == value
    number, instance = thing.get("http.thing/result").json
    assert (number, instance["a"]) == (None, 1)
    assert thing.get("http.thing/items?n=3").json == [0, 1, 2]
    answer = thing.get("http.thing/items?n=3", Accept="application/x-ndjson")
    assert [json.loads(line) for line in answer.body.splitlines()] == [0, 1, 2]
    assert thing.get("http.thing/note").body == b""
    assert thing.get("http.thing/echo?x=1", X_Pyro_Options="oneway").body == b""
    assert thing.get("http.thing/size").json == 5
    answer = thing.get("http.thing/correlation")
    assert answer.json == answer.headers["X-Pyro-Correlation-Id"]
    assert "echo" in thing.get("http.thing/$meta").json["methods"]
    assert 'data-member="echo"' in thing.get("").text


def test_errors(thing):
    answer = thing.get("http.thing/fail")
    assert answer.status == 500
    assert answer.json == {
        "__class__": "builtins.KeyError", "__exception__": True, "args": ["x"], "attributes": {},
    }  # fmt: skip
    assert thing.get("http.thing/echo?nonsense=1").json["__class__"] == "builtins.TypeError"
    assert thing.get("http.thing/nobody").status == 404
    answer = thing.get("http.nobody/x")
    assert (answer.status, answer.json["__class__"]) == (404, "NamingError")


def test_slow_calls_stop_nobody(thing):
    assert thing.get("http.thing/size").json == 5
    slow = [Worker(thing.get, "http.thing/slow") for _ in range(2)]
    assert thing.get("http.thing/echo?x=1").json == "1"
    assert all(call.alive for call in slow)
    assert [call.result().json for call in slow] == ["slow", "slow"]
    thing.gateway.comm_timeout = 0.2
    assert thing.get("http.thing/slow").status == 504
    assert thing.get("http.thing/echo?x=1").json == "1"  # does not wait for the one before

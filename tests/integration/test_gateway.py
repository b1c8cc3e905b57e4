"""The gateway over HTTP: calls, attributes, iterators, errors; with real sockets and daemons."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest

import pyroipc
from pyroipc.gateway import Gateway
from tests.support.commands import running
from tests.support.daemons import child_serving, daemon_again, serving
from tests.support.daemons import settings as changed_settings
from tests.support.gateways import Client, gateway_for, serving_gateway
from tests.support.hosts import Worker, together
from tests.support.name_servers import child_name_server, name_server
from tests.support.network_hosts import Gate, gated
from tests.support.things import Thing
from tests.support.waiting import wait_until

ID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


class Unknown:
    """An instance of a class that no gateway knows."""

    def __init__(self):
        self.a = 1


@pyroipc.expose
class Shop(Thing):
    """What a Thing can do, and what matters to a gateway."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def correlation(self):
        return str(pyroipc.current_context.correlation_id)

    def result(self, which):
        return {
            "nan": [float("nan"), 1],
            "bytes": b"ab",
            "instance": Unknown(),
            "set": {1},
            "large": 1 << 20_000,
            "self": self,
            "uri": pyroipc.URI("PYRO:a@b:1"),
        }[which]

    def count(self, n, fail_at=None):
        for i in range(int(n)):
            if fail_at is not None and i == int(fail_at):
                raise ZeroDivisionError("on the way")
            yield i

    @pyroipc.oneway
    def note(self, text):
        self.seen.append(text)

    def notes(self):
        return self.seen


@pytest.fixture
def shop():
    """A shop behind a gateway, all in this process."""
    with gateway_for({"http.shop": Shop(), "other": Thing()}) as running_gateway:
        yield running_gateway


# ----------------------------------------------------------------------------------------- calls


def test_call_with_a_query(shop):
    answer = shop.get("http.shop/all_of?a=1&b=two%20words&b=%C3%A4&c=")
    assert answer.status == 200
    assert answer.json == [[], {"a": "1", "b": ["two words", "ä"]}]
    uuid.UUID(answer.headers["X-Pyro-Correlation-Id"])


def test_call_with_a_form(shop):
    body = urlencode({"a": "1", "b": "ä"})
    assert shop.post("http.shop/all_of?c=2", body, **FORM).json == [
        [],
        {"c": "2", "a": "1", "b": "ä"},
    ]


def test_call_with_json(shop):
    assert shop.post("http.shop/add", {"a": 1, "b": 2, "c": 3}).json == 6
    value = {"list": [1, 2.5, None, True], "@": "x", "__class__": "y", "ä": "€\n"}
    assert shop.post("http.shop/echo", {"x": value}).json == value
    assert shop.ask("/pyro/http.shop/nothing", "POST").json is None


def test_urllib_is_enough(shop):
    with urlopen(f"{shop.url}http.shop/echo?x=hello", timeout=10) as answer:
        assert json.load(answer) == "hello"


@pytest.mark.parametrize(
    ("which", "shown"),
    [
        ("nan", [None, 1]),
        ("bytes", {"data": "YWI=", "encoding": "base64"}),
        ("instance", {"__class__": f"{Unknown.__module__}.Unknown", "a": 1}),
        ("set", [1]),
        ("uri", {"__class__": "pyroipc.URI", "state": "PYRO:a@b:1"}),
    ],
)
def test_results(shop, which, shown):
    assert shop.get(f"http.shop/result?which={which}").json == shown


def test_an_object_is_its_uri(shop):
    told = shop.get("http.shop/result?which=self").json
    assert told == {"__class__": "pyroipc.Proxy", "state": shop.served.uri("http.shop")}


def test_a_result_that_is_no_json(shop):
    answer = shop.get("http.shop/result?which=large")
    assert answer.status == 500
    assert answer.json["__class__"] == "SerializeError"
    assert shop.get("http.shop/echo?x=1").status == 200


def test_attributes_and_what_there_is(shop):
    told = shop.get("http.shop/$meta").json
    assert {"add", "count", "note"} <= set(told["methods"])
    assert told["methods"] == sorted(told["methods"])
    assert {"value", "broken"} <= set(told["attributes"])
    assert shop.get("http.shop/value").json == 0
    assert shop.get("http.shop/broken").json["args"] == ["this property is broken"]
    answer = shop.get("http.shop/value?x=1")
    assert answer.status == 400
    assert answer.json["args"] == ["attribute lookup can't have query parameters"]


def test_correlation_id_is_taken_on(shop):
    answer = shop.get("http.shop/correlation", X_Pyro_Correlation_Id=ID.upper())
    assert (answer.json, answer.headers["X-Pyro-Correlation-Id"]) == (ID, ID)
    answer = shop.get("http.shop/correlation")
    assert answer.json == answer.headers["X-Pyro-Correlation-Id"] != ID
    for path in ("http.shop/fail?kind=ValueError", "http.nobody/x", "http.shop/nix", "other/x"):
        answer = shop.get(path, X_Pyro_Correlation_Id=ID)
        assert answer.headers["X-Pyro-Correlation-Id"] == ID, path
    assert shop.get("http.shop/echo", X_Pyro_Correlation_Id="garbage").status == 400


def test_methods_of_http(shop):
    assert shop.ask("/", "OPTIONS").text == "200 OK"
    answer = shop.ask("/pyro/http.shop/echo", "DELETE")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST, OPTIONS")
    assert shop.ask("/pyro/http.shop/echo", "HEAD").status == 405
    answer = shop.ask("/pyro/http.shop/$meta", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 10
    answer = shop.ask("/")
    assert (answer.status, answer.headers["Location"]) == (302, "/pyro/")
    assert shop.ask("/favicon.ico").text == "Error 404: Not Found"


# ---------------------------------------------------------------------------------------- errors


def test_remote_exception(shop):
    answer = shop.get("http.shop/fail?kind=ValueError")
    assert answer.status == 500
    assert answer.json == {
        "__class__": "builtins.ValueError",
        "__exception__": True,
        "args": [],
        "attributes": {},
    }
    assert b"Traceback" not in answer.body
    assert b".py" not in answer.body


def test_exceptions_that_end_a_process_end_nothing(shop):
    for kind in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"):
        assert shop.get(f"http.shop/fail?kind={kind}").status == 500
    assert shop.get("http.shop/echo?x=1").json == "1"


def test_tracebacks_are_told_if_they_are_wanted():
    with gateway_for({"http.shop": Shop()}, tracebacks=True) as shop:
        told = shop.get("http.shop/fail?kind=ValueError").json
        assert "Traceback" in "".join(told["attributes"]["_pyroTraceback"])


def test_wrong_arguments(shop):
    answer = shop.get("http.shop/add?nonsense=1")
    assert (answer.status, answer.json["__class__"]) == (500, "builtins.TypeError")
    assert shop.post("http.shop/echo", b"{", Content_Type="application/json").status == 400
    assert shop.post("http.shop/echo", b"x", Content_Type="text/plain").status == 415
    assert shop.post("http.shop/echo", {"x": "y" * (1 << 20)}).status == 413


def test_what_is_not_there(shop):
    answer = shop.get("http.nobody/x")
    assert answer.status == 404
    assert answer.json["__class__"] == "NamingError"
    assert answer.json["args"] == ["unknown name: http.nobody"]
    answer = shop.get("http.shop/nobody")
    assert (answer.status, answer.json["__class__"]) == (404, "builtins.AttributeError")
    answer = shop.get("other/echo?x=1")
    assert answer.status == 403
    assert answer.text == "403 Forbidden - access to the requested object has been denied"


def test_only_members_that_are_exposed(shop):
    """All that a proxy has, and what a hostile client may think of: nothing of it is reached."""
    with shop.served.proxy("http.shop") as proxy:
        proxy._pyroBind()
        exposed = proxy._pyroMethods | proxy._pyroAttrs
        names = {*dir(proxy), *dir(Shop()), *dir(object), *vars(proxy)} - exposed
    names |= {
        f"{prefix}{name}{suffix}"
        for name in ("__class__", "__init__", "__getattr__", "_pyroUri", "echo", "unlisted")
        for prefix in ("", "_", ".", " ", "\x00", "x.", "échoes", "$", "-")
        for suffix in ("", "__", ".__class__", " ", "\x00", "()", "%", "\n", "?", "#", "'", '"')
    } - exposed
    assert len(names) > 500
    for name in sorted(names):
        answer = shop.get(f"http.shop/{quote(name, safe='')}")
        assert answer.status == 404, (name, answer)
    assert shop.get("http.shop/echo?x=1").status == 200
    assert shop.get("http.shop/secret_reads").status == 404


# -------------------------------------------------------------------------------------- iterators


def test_iterator_as_an_array(shop):
    assert shop.get("http.shop/count?n=3").json == [0, 1, 2]
    assert shop.get("http.shop/count?n=0").json == []
    answer = shop.get("http.shop/count?n=9&fail_at=5")
    assert (answer.status, answer.json["args"]) == (500, ["on the way"])


def test_iterator_that_is_too_long_for_an_array(shop):
    shop.gateway.items_max = 100
    try:
        assert len(shop.get("http.shop/count?n=100").json) == 100
        answer = shop.get("http.shop/count?n=101")
    finally:
        shop.gateway.items_max = 10_000
    assert answer.status == 406
    assert "application/x-ndjson" in answer.json["args"][0]


def lines(answer):
    assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert answer.body.endswith(b"\n") or not answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def test_iterator_line_by_line(shop):
    ndjson = {"Accept": "application/x-ndjson"}
    assert lines(shop.get("http.shop/count?n=20000", **ndjson)) == list(range(20_000))
    assert lines(shop.get("http.shop/count?n=0", **ndjson)) == []
    *items, last = lines(shop.get("http.shop/count?n=9&fail_at=5", **ndjson))
    assert items == [0, 1, 2, 3, 4]
    assert last["__class__"] == "builtins.ZeroDivisionError"
    assert shop.get("http.shop/count?n=9&fail_at=0", **ndjson).status == 500
    assert shop.get("http.shop/echo?x=1", **ndjson).json == "1"  # no iterator: JSON as ever


@pyroipc.expose
class Ticker:
    """Yields what a test gives it, when it does, and tells when it is closed."""

    def __init__(self):
        from queue import Queue
        from threading import Event

        self.items = Queue()
        self.closed = Event()

    def ticks(self):
        try:
            while (item := self.items.get(timeout=10)) is not None:
                yield item
        finally:
            self.closed.set()


def test_lines_come_when_they_are_there_and_a_client_may_leave():
    ticker = Ticker()
    with gateway_for({"http.ticker": ticker}) as served:
        ticker.items.put("a")
        connection = served.open("/pyro/http.ticker/ticks", Accept="application/x-ndjson")
        with contextlib.closing(connection):
            response = connection.getresponse()
            with response:
                assert response.readline() == b'"a"\n'
                ticker.items.put("b")  # not before the first one has arrived
                assert response.readline() == b'"b"\n'

        # The client is gone. The iterator is closed when the gateway notices, which is when it
        # sends the next items.
        def closed():
            ticker.items.put("more")
            return ticker.closed.is_set()

        wait_until(closed, "the iterator is closed")
        assert served.get("http.ticker/$meta").status == 200


def test_array_of_an_iterator_that_takes_too_long():
    ticker = Ticker()
    with gateway_for({"http.ticker": ticker}, comm_timeout=0.3) as served:
        ticker.items.put("a")
        answer = served.get("http.ticker/ticks")
        assert (answer.status, answer.json["__class__"]) == (504, "TimeoutError")
        ticker.items.put(None)


# ----------------------------------------------------------------------------------- one-way calls


def test_oneway(shop):
    answer = shop.get("http.shop/note?text=a")  # by its decorator
    assert (answer.status, answer.body) == (200, b"")
    answer = shop.get("http.shop/fail?kind=ValueError", X_Pyro_Options=" oneway , ")
    assert (answer.status, answer.body) == (200, b"")
    wait_until(lambda: shop.get("http.shop/notes").json == ["a"], "the note is there")
    answer = shop.get("http.shop/echo?x=1", X_Pyro_Options="onewya")
    assert answer.status == 400
    assert "'onewya'" in answer.json["args"][0]


def test_oneway_does_not_wait():
    with gated() as (served, gate), name_server() as names:
        with names.locate() as ns:
            ns.register("http.gate", served.uri("gate"))
        with serving_gateway(Gateway(settings=names.settings)) as server:
            client = Client(server.url)
            answer = client.get("http.gate/hold", X_Pyro_Options="oneway")
            assert (answer.status, answer.body) == (200, b"")
            gate.await_entered()
            assert gate.running == 1  # and it still runs
            gate.opened.set()
            wait_until(lambda: gate.running == 0, "the call has ended")


# ----------------------------------------------------------------------------------- what is kept


def test_many_threads_and_few_connections():
    gate = Gate()
    with gateway_for({"http.gate": gate}, proxies_max=3) as served:
        calls = [Worker(served.get, "http.gate/hold?value=x") for _ in range(10)]
        gate.await_entered(10)  # all at once
        assert gate.running == 10
        gate.opened.set()
        assert {call.result().json for call in calls} == {"x"}
        wait_until(lambda: len(served.gateway._pool._idle) == 3, "the others are let go")
        for _ in range(20):
            assert served.get("http.gate/echo?value=1").json == "1"
        assert len(served.gateway._pool._idle) == 3


def test_each_request_may_have_a_connection_of_its_own():
    @pyroipc.behavior("session")
    @pyroipc.expose
    class Basket:
        def __init__(self):
            self.items = []

        def add(self, item):
            self.items.append(item)
            return self.items

    def added(**options):
        with gateway_for({"http.basket": Basket}, **options) as served:
            return [served.get(f"http.basket/add?item={i}").json for i in (1, 2)]

    assert added() == [["1"], ["1", "2"]]  # HTTP has no sessions: all clients share this one
    assert added(proxies_max=0) == [["1"], ["2"]]


def test_what_goes_is_gone_and_what_comes_is_found():
    with gateway_for({"http.a": Thing(), "http.b": Thing()}) as served:
        assert served.get("http.a/echo?x=1").json == "1"
        assert served.get("http.b/echo?x=1").json == "1"
        daemon = served.served.daemon
        daemon.unregister("http.a")
        answer = served.get("http.a/echo?x=1")
        assert (answer.status, answer.json["__class__"]) == (404, "DaemonError")
        daemon.register(Gate(), "http.a")  # something else under the same id
        assert served.get("http.a/echo?value=2").json == "2"
        assert served.get("http.a/pid").status == 200
        with served.names.locate() as ns:
            ns.register("http.b", served.served.uri("http.a"))
            assert served.get("http.b/echo?value=3").json == "3"
            ns.remove("http.b")
        assert served.get("http.b/echo?value=3").status == 404


def test_a_daemon_that_comes_back():
    with (
        name_server() as names,
        child_serving({"thing": Thing()}) as served,
        serving_gateway(Gateway(settings=names.settings)) as server,
    ):
        client = Client(server.url)
        with names.locate() as ns:
            ns.register("http.thing", served.uri())
        assert client.get("http.thing/pid").json == served.child.pid
        served.kill()
        answer = client.get("http.thing/pid")
        assert answer.status == 502
        assert answer.json["__class__"] == "pyroipc.errors.ConnectError"
        assert client.get("").status == 200  # the page says what is the matter
        assert "ConnectError" in client.get("").text
        with daemon_again(served, {"thing": Thing()}):
            assert client.get("http.thing/pid").json == os.getpid()


def test_a_kept_connection_that_is_dead_is_noticed_before_a_call():
    with (
        name_server() as names,
        child_serving({"thing": Thing()}) as served,
        serving_gateway(Gateway(settings=names.settings)) as server,
    ):
        client = Client(server.url)
        with names.locate() as ns:
            ns.register("http.thing", served.uri())
        assert client.get("http.thing/pid").json == served.child.pid
        served.kill()
        with daemon_again(served, {"thing": Thing()}):
            assert client.get("http.thing/pid").json == os.getpid()


@pyroipc.expose
class Ender:
    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_killed_in_the_middle_of_a_call():
    with (
        name_server() as names,
        child_serving({"ender": Ender()}) as served,
        serving_gateway(Gateway(settings=names.settings)) as server,
    ):
        with names.locate() as ns:
            ns.register("http.ender", served.uri("ender"))
        answer = Client(server.url).get("http.ender/end")
        assert answer.status == 502
        assert answer.json["__class__"] == "ConnectionClosedError"
        assert answer.json["attributes"] == {"call_status": "unknown"}
        served.child.wait()


def test_a_name_server_that_comes_back():
    words = "Cannot connect to the Pyro name server. Is it running? Refresh page to retry."
    with gateway_for({"http.a": Thing()}) as served:
        assert served.get("http.a/echo?x=1").status == 200
        served.names.daemon.close()
        for path in ("http.a/echo?x=1", "http.a/$meta"):
            answer = served.get(path)
            assert (answer.status, answer.json["__class__"]) == (503, "NamingError")
        assert served.get("").status == 503
        assert served.get("").text == words
        with name_server(port=served.names.port) as again:
            with again.locate() as ns:
                ns.register("http.a", served.served.uri("http.a"))
            assert served.get("http.a/echo?x=1").status == 200


def test_a_call_that_takes_too_long():
    gate = Gate()
    with gateway_for({"http.gate": gate}, comm_timeout=0.2) as served:
        answer = served.get("http.gate/hold")
        assert (answer.status, answer.json["__class__"]) == (504, "TimeoutError")
        assert served.get("http.gate/echo?value=1").json == "1"
        gate.opened.set()
        served.gateway.comm_timeout = 0
        assert served.get("http.gate/hold?value=1").json == "1"


def test_a_daemon_that_is_busy():
    gate = Gate()
    options = changed_settings(THREADPOOL_SIZE=2, THREADPOOL_SIZE_MIN=1, BUSY_TIMEOUT=0.1)
    with gateway_for({"http.gate": gate}, daemon={"settings": options}) as served:
        calls = [Worker(served.get, "http.gate/hold?value=x") for _ in range(2)]
        gate.await_entered(2)
        answer = served.get("http.gate/echo")
        assert (answer.status, answer.json["__class__"]) == (503, "pyroipc.errors.BusyError")
        assert answer.headers["Retry-After"] == "1"
        gate.opened.set()
        assert [call.result().json for call in calls] == ["x", "x"]


def test_connections_with_a_key():
    key = "a secret of daemons"
    with (
        name_server(hmac_key=key, client={"HMAC_KEY": key}) as names,
        serving({"http.a": Thing()}, hmac_key=key) as served,
    ):
        with names.locate() as ns:
            ns.register("http.a", served.uri("http.a"))
        plain = changed_settings(NS_HOST=names.host, NS_PORT=names.port, BROADCAST_ADDRS=[])
        gateway = Gateway(hmac_key=key, settings=plain)
        with serving_gateway(gateway) as server:
            assert Client(server.url).get("http.a/echo?x=1").json == "1"
            gateway.hmac_key = "another"
            assert Client(server.url).get("http.a/echo?x=1").status == 503


# --------------------------------------------------------------------------------- whose requests


def test_key():
    with gateway_for({"http.a": Thing()}, gateway_key="ge heim") as served:
        right = {"X_Pyro_Gateway_Key": "ge heim"}
        for path in ("http.a/echo?x=1", "http.a/$meta", ""):
            answer = served.get(path)
            assert (answer.status, answer.text) == (
                403, "403 Forbidden - incorrect gateway api key",
            )  # fmt: skip
            assert served.get(path, X_Pyro_Gateway_Key="geheim").status == 403
            assert served.get(path, **right).status == 200
        assert served.get("http.a/echo?x=1&$key=ge%20heim").json == "1"
        assert served.post("", "$key=ge+heim", **FORM).status == 200
        assert "password" in served.get("", Accept="text/html").text
        served.gateway.query_key = False
        assert served.get("http.a/echo?x=1&$key=ge%20heim").status == 403
        assert served.post("http.a/echo?x=1", "$key=ge+heim", **FORM).json == "1"


def test_foreign_pages(shop):
    before = shop.get("http.shop/notes").json
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert shop.get("http.shop/note?text=evil", **headers).status == 403
        assert shop.post("http.shop/note", "text=evil", **FORM, **headers).status == 403
    assert shop.get("http.shop/notes").json == before
    own = f"http://{shop.host}:{shop.port}"
    assert shop.get("http.shop/echo?x=1", Origin=own, Sec_Fetch_Site="same-origin").json == "1"


def test_cors():
    page = "http://shop.example"
    with gateway_for({"http.a": Thing()}, cors=page) as served:
        asked = served.ask(
            "/pyro/http.a/echo", "OPTIONS", Origin=page, Access_Control_Request_Method="POST"
        )
        assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (200, page)
        answer = served.get("http.a/echo?x=1", Origin=page, Sec_Fetch_Site="cross-site")
        assert (answer.json, answer.headers["Access-Control-Allow-Origin"]) == ("1", page)
        answer = served.get("http.a/echo?x=1", Origin="http://evil.example")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (403, None)


def test_home_page():
    with gateway_for(
        {f"http.{name}": Thing() for name in ("<b>", "c", "d", "e")}, names_shown=3
    ) as served:
        with served.names.locate() as ns:
            ns.register("http.away", "PYRO:x@127.0.0.1:1")
        answer = served.get("")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "script-src 'sha256-" in answer.headers["Content-Security-Policy"]
        page = answer.text
        assert "http.&lt;b&gt;" in page
        assert "http.<b>" not in page
        assert 'data-member="echo"' in page
        assert "ConnectError" in page  # of the one that is away
        assert "The first 3 of 5 names" in page
        assert "http.e" not in page
        served.gateway.ns_regex = r"(?:h|x)+(?:t|x)+(?:t|x)+p+\.c"  # too much for a name server
        assert "http.c" in served.get("").text


# ---------------------------------------------------------------------------------- the command


@contextlib.contextmanager
def command(*options, names=None, environment=None):
    """Run ``pyroipc gateway``; yield the command and a client."""
    where = ("-n", names.host, "--ns-port", str(names.port)) if names else ()
    arguments = ("gateway", "-p", "0", *where, *options)
    with running("pyroipc", *arguments, environment=environment) as process:
        url = process.read_until(r"^Pyro HTTP gateway running on (\S+)\n")[1]
        yield process, Client(url)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_command(number, status):
    with child_name_server() as names, child_serving({"thing": Thing()}) as served:
        with names.locate() as ns:
            ns.register("http.thing", served.uri())
        with command(names=names) as (process, client):
            pids = together(*[lambda: client.get("http.thing/pid").json] * 8)
            assert set(pids) == {served.child.pid}
            process.process.send_signal(number)
            assert process.end() == status
    assert process.printed.splitlines() == [
        "Exposing objects with names matching:  http\\.",
        f"Connected to name server at:  PYRO:Pyro.NameServer@{names.location}",
        f"Pyro HTTP gateway running on {client.url}",
    ]


def test_sigterm_lets_a_call_end():
    with child_name_server() as names, names.locate() as ns, gated() as (served, gate):
        ns.register("http.gate", served.uri("gate"))
        with command(names=names) as (process, client):
            call = Worker(client.get, "http.gate/hold?value=x")
            gate.await_entered()
            process.process.send_signal(signal.SIGTERM)

            def refused():
                try:
                    client.get("")
                except OSError:
                    return True
                return False

            wait_until(refused, "nobody is let in any more")
            gate.opened.set()
            assert call.result().json == "x"
            assert process.end() == 0


def test_command_with_options(tmp_path):
    environment = {
        "PYRO_HTTPGATEWAY_KEY": "geheim",
        "PYRO_BROADCAST_ADDRS": "",
        "PYRO_NS_PORT": "1",
    }
    options = ("-e", "", "-c", "*", "-H", "127.0.0.1", "--allow-host", "shop.lan")
    with command(*options, environment=environment) as (process, client):
        assert process.printed.splitlines()[:2] == [
            "Warning: exposing all objects (no expose regex set)",
            "Not yet connected to a name server.",
        ]
        assert client.get("").status == 403
        right = {"X_Pyro_Gateway_Key": "geheim"}
        assert client.get("", **right).status == 503
        assert client.get("", Host="shop.lan:80", **right).status == 503
        answer = client.get("", Host="evil.example", **right)
        assert answer.status == 403
        assert "'evil.example'" in answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        process.process.send_signal(signal.SIGTERM)
        assert process.end() == 0

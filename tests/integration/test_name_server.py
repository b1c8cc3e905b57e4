"""A name server with real clients: what it knows, what it refuses, and what it survives."""

from __future__ import annotations

import os
import threading
import time
import warnings

import pytest

import pyroipc
from pyroipc.errors import NamingError
from pyroipc.naming.cleaning import Cleaner
from pyroipc.naming.names import Limits
from pyroipc.naming.server import NameServerDaemon
from tests.support.daemons import ROADS, client_context, roads, server_context, serving
from tests.support.daemons import settings as changed_settings
from tests.support.hosts import Child, Worker
from tests.support.name_servers import child_name_server, directory, name_server
from tests.support.waiting import wait_until

SOMEWHERE = "PYRO:thing@192.0.2.1:9000"
ELSEWHERE = "PYRO:thing@192.0.2.2:9000"


@pyroipc.expose
class Thing:
    def __init__(self, answer="here"):
        self._answer = answer

    def where(self):
        return self._answer


# --- what clients do ---------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_everything_over_every_serializer(serializer):
    with name_server(client={"SERIALIZER": serializer}) as names, names.locate() as ns:
        assert ns.ping() is None
        assert ns.count() == 1
        assert ns.register("a.one", SOMEWHERE, metadata={"red", "round"}) is None
        ns.register("a.two", pyroipc.URI(ELSEWHERE), metadata=("red",))
        ns.register("b", SOMEWHERE)
        assert ns.count() == 4
        assert ns.lookup("a.one") == pyroipc.URI(SOMEWHERE)
        assert ns._pyroInvoke("lookup", ("a.one",), {}) == pyroipc.URI(SOMEWHERE)  # as in Pyro
        uri, tags = ns.lookup("a.one", return_metadata=True)
        assert (uri, set(tags)) == (pyroipc.URI(SOMEWHERE), {"red", "round"})
        assert ns.list(prefix="a.") == {"a.one": SOMEWHERE, "a.two": ELSEWHERE}
        assert ns.list(regex=r".*\.two$") == {"a.two": ELSEWHERE}
        assert set(ns.list()) == {"Pyro.NameServer", "a.one", "a.two", "b"}
        found = ns.list(prefix="b", return_metadata=True)
        assert {name: (uri, set(tags)) for name, (uri, tags) in found.items()} == {
            "b": (SOMEWHERE, set())
        }
        assert set(ns.yplookup(meta_all={"red", "round"})) == {"a.one"}
        assert ns.yplookup(meta_any=["round", "none"], return_metadata=False) == {
            "a.one": SOMEWHERE
        }
        assert ns.yplookup(meta_all=["none"]) == ns.yplookup(meta_all=[]) == {}
        ns.set_metadata("b", {"blue"})
        assert set(ns.yplookup(meta_any={"blue"})) == {"b"}
        ns.set_metadata("b", None)
        assert ns.yplookup(meta_any={"blue"}) == {}
        assert ns.remove("b") == 1
        assert ns.remove("b") == 0
        assert ns.remove(prefix="a.") == 2
        assert ns.count() == 1


def test_searching_by_tags_as_in_pyro4():
    """Everybody may; what stands third in Pyro5, and in calls of ours, is another argument."""
    with name_server() as names, names.locate() as ns:
        ns.register("a", SOMEWHERE, metadata={"red", "round"})
        ns.register("b", ELSEWHERE, metadata={"red"})
        both = {"a": (SOMEWHERE, {"red", "round"}), "b": (ELSEWHERE, {"red"})}
        here = names.daemon.nameserver.list
        for asked in (here, lambda *args, **kwargs: ns._pyroInvoke("list", args, kwargs)):
            assert asked(metadata_all=["red", "round"]) == {"a": SOMEWHERE}
            assert asked(metadata_any=["red"], return_metadata=True) == both
            assert asked(None, None, ["round"]) == {"a": SOMEWHERE}
            assert asked("a", None, True) == {"a": both["a"]}
            assert asked("a", None, False) == {"a": SOMEWHERE}
            assert len(asked(metadata_all=[])) == 3
            for two in (
                {"prefix": "a", "metadata_any": []},
                {"metadata_all": ["x"], "regex": "a"},
            ):
                with pytest.raises(ValueError, match="you can only filter on one thing"):
                    asked(**two)


def test_own_entry_is_there_and_stays():
    with name_server() as names, names.locate() as ns:
        own = {"Pyro.NameServer": f"PYRO:Pyro.NameServer@{names.location}"}
        assert ns.list() == own
        tag = "class:pyroipc.naming.server.NameServer"
        assert ns.yplookup(meta_all=[tag], return_metadata=False) == own
        assert ns.yplookup(meta_any=[tag], return_metadata=False) == own
        for change in (
            lambda: ns.register("Pyro.NameServer", SOMEWHERE),
            lambda: ns.register("Pyro.other", SOMEWHERE),
            lambda: ns.remove("Pyro.NameServer"),
            lambda: ns.set_metadata("Pyro.NameServer", {"x"}),
            lambda: ns.renew({"Pyro.NameServer": SOMEWHERE}, 5),
        ):
            with pytest.raises(NamingError, match="those of the name server"):
                change()
        assert ns.remove(prefix="Pyro") == ns.remove(regex=".*") == ns.remove() == 0
        assert ns.list() == own


def test_prefixes_are_literal():
    with name_server() as names, names.locate() as ns:
        for name in ("a%b", "a_b", "axb", "A_b"):
            ns.register(name, SOMEWHERE)
        assert set(ns.list(prefix="a_")) == {"a_b"}
        assert ns.remove(prefix="%") == 0
        assert ns.remove(prefix="a%") == 1


def test_safe_registration():
    with name_server() as names, names.locate() as ns:
        ns.register("x", SOMEWHERE, safe=True, metadata={"t"})
        with pytest.raises(NamingError, match="name already registered: x"):
            ns.register("x", ELSEWHERE, safe=True)
        assert str(ns.lookup("x")) == SOMEWHERE
        ns.register("x", ELSEWHERE)
        assert ns.lookup("x", return_metadata=True) == (pyroipc.URI(ELSEWHERE), set())


def test_wrong_arguments_leave_everything_as_it_was():
    with name_server() as names, names.locate() as ns:
        for wrong, error, text in (
            (lambda: ns.register(7, SOMEWHERE), TypeError, "name must be a str"),
            (lambda: ns.register("x", 7), TypeError, "only URIs or strings"),
            (lambda: ns.register("x", "PYRO:x"), NamingError, "location is missing"),
            (lambda: ns.register("x", SOMEWHERE, metadata="tag"), TypeError, "not be a str"),
            (lambda: ns.register("x", SOMEWHERE, metadata=7), TypeError, "list or set"),
            (lambda: ns.register("x", SOMEWHERE, ttl=0), NamingError, "a ttl is from"),
            (lambda: ns.register("x", SOMEWHERE, ttl="1"), TypeError, "ttl is a number"),
            (lambda: ns.register("x\udc80", SOMEWHERE), pyroipc.PyroError, "surrogate|UTF-8"),
            (lambda: ns.lookup("none"), NamingError, "unknown name: none"),
            (lambda: ns.set_metadata("none", {"t"}), NamingError, "unknown name: none"),
            (lambda: ns.list(prefix=7), TypeError, "a prefix is a str"),
            (lambda: ns.list("a", "b"), ValueError, "one thing at a time"),
            (lambda: ns.list(regex="("), NamingError, "invalid regex"),
            (lambda: ns.list(regex="(a+)+b"), NamingError, "may take too long"),
            (lambda: ns.yplookup("tag"), TypeError, "not be a str"),
            (lambda: ns.yplookup(["a"], ["b"]), ValueError, "at the same time"),
        ):
            with pytest.raises(error, match=text):
                wrong()
        assert ns.count() == 1


def test_only_what_is_meant_for_clients_can_be_called():
    with name_server() as names, pyroipc.Proxy(f"PYRO:Pyro.NameServer@{names.location}") as raw:
        raw._pyroBind()
        assert set(raw._pyroMethods) == {
            "count", "list", "lookup", "lookup_text", "ping",
            "register", "remove", "renew", "set_metadata",
            "yplookup",
        }  # fmt: skip
        assert not raw._pyroAttrs


def test_limits():
    limits = Limits(entries=6, entries_per_connection=4)
    with name_server(limits=limits) as names, names.locate() as one, names.locate() as other:
        for number in range(4):
            one.register(f"one.{number}", SOMEWHERE)
        one.register("one.0", ELSEWHERE)  # it is not a new one
        with pytest.raises(NamingError, match="this connection has registered 4 names already"):
            one.register("one.4", SOMEWHERE)
        other.register("other.0", SOMEWHERE)
        other.register("other.1", SOMEWHERE)
        assert one.remove("one.3") == 1
        one.register("one.4", SOMEWHERE)
        with pytest.raises(NamingError, match="the name server is full, with 6 entries"):
            other.register("other.2", SOMEWHERE)


def test_a_costly_pattern_holds_up_nobody():
    with (
        child_name_server() as names,
        names.locate() as ns,
        names.locate() as bad,
    ):
        for number in range(500):
            ns.register(f"{'a' * 60}{number}", SOMEWHERE)
        stopping = threading.Event()

        def attack():
            while not stopping.is_set():
                for pattern in ("(a+)+b", "a*?a*?a*?b", "(?i)a*a*a*b", ".*a.*a.*b"):
                    try:
                        bad.list(regex=pattern)
                    except NamingError:
                        pass

        attacker = Worker(attack)
        durations = []
        try:
            for _ in range(50):
                begin = time.perf_counter()
                ns.lookup("Pyro.NameServer")
                durations.append(time.perf_counter() - begin)
        finally:
            stopping.set()
            attacker.result()
        assert sorted(durations)[-3] < 0.1  # 0.05 where nothing else runs


# --- uris that are of no use -------------------------------------------------------------------


def test_a_uri_that_others_cannot_use_is_pointed_out(caplog):
    with name_server("0.0.0.0") as names:
        local = changed_settings(NS_HOST="127.0.0.1", NS_PORT=names.daemon.locations[0].port)
        with pyroipc.locate_ns(settings=local) as ns:
            with pytest.warns(RuntimeWarning, match="every machine takes for itself.*nathost="):
                ns.register("x", "PYRO:x@localhost:9000")
            assert "'x' was registered at localhost" in caplog.text
            ns.register("y", SOMEWHERE)
            assert set(ns.list()) == {"Pyro.NameServer", "x", "y"}


def test_nothing_is_pointed_out_where_nobody_else_comes():
    with name_server() as names, names.locate() as ns:
        ns.register("x", "PYRO:x@localhost:9000")  # warnings are errors here


# --- names of objects --------------------------------------------------------------------------


@pytest.mark.parametrize("road", roads())
def test_names_lead_to_objects(road):
    with directory() as path:
        options = road.daemon_options(path)
        client = {}
        if "hmac_key" in options:
            client["HMAC_KEY"] = options["hmac_key"].decode()
        if "tls" in options:
            from tests.support.daemons import authority

            client.update(SSL=True, SSL_CACERTS=str(authority().file))
        with (
            name_server(**options, client=client) as names,
            serving({"thing": Thing()}, road=road) as served,
            names.locate() as ns,
        ):
            ns.register("a.thing", served.uri(), metadata={"tag"})
            at = f"@{names.location}"
            for uri in (f"PYRONAME:a.thing{at}", f"PYROMETA:tag{at}"):
                with names.proxy(uri) as proxy:
                    assert proxy.where() == "here"
                    assert str(proxy._pyroUri) in {uri, served.uri()}
                assert str(names.resolve(uri)) == served.uri()


def test_a_name_is_looked_up_again_after_a_reconnect():
    with name_server() as names, names.locate() as ns, names.proxy("PYRONAME:thing") as proxy:
        with serving({"thing": Thing("first")}) as served:
            ns.register("thing", served.uri())
            assert proxy.where() == "first"
        with serving({"other": Thing("second")}) as served:
            ns.register("thing", served.uri("other"))
            assert proxy.where() == "second"


def test_one_of_several_is_chosen():
    with name_server() as names, names.locate() as ns:
        ns.register("one", SOMEWHERE, metadata={"t"})
        ns.register("two", ELSEWHERE, metadata={"t"})
        found = {str(names.resolve("PYROMETA:t")) for _ in range(64)}
        assert found == {SOMEWHERE, ELSEWHERE}
        with pytest.raises(NamingError, match=r"desired metadata properties \['none'\]"):
            names.resolve("PYROMETA:none")


def test_names_of_names():
    with name_server() as names, names.locate() as ns:
        ns.register("alias", f"PYRONAME:thing@{names.location}")
        ns.register("thing", SOMEWHERE)
        ns.register("circle", f"PYRONAME:circle@{names.location}")
        assert str(names.resolve("PYRONAME:alias")) == SOMEWHERE
        with pytest.raises(NamingError, match="leads nowhere: one name stands for another"):
            names.resolve("PYRONAME:circle")


def test_waiting_for_a_name():
    with name_server() as names, names.locate() as ns:
        waiters = [
            Worker(names.resolve, "PYRONAME:late", 3.0),
            Worker(names.resolve, "PYROMETA:late", 3.0),
            Worker(pyroipc.lookup, ns, "late", False, 3.0),
            Worker(pyroipc.yplookup, ns, ["late"], None, False, 3.0),
        ]
        ns.register("late", SOMEWHERE, metadata={"late"})
        uri = pyroipc.URI(SOMEWHERE)
        assert [one.result() for one in waiters] == [uri, uri, uri, {"late": SOMEWHERE}]


def test_waiting_in_vain():
    with name_server(client={"NS_LOOKUP_DELAY": 0.3}) as names, names.locate() as ns:
        begin = time.monotonic()
        with pytest.raises(NamingError, match="unknown name: never"):
            names.proxy("PYRONAME:never").ping()
        assert 0.3 <= time.monotonic() - begin < 10
        assert pyroipc.yplookup(ns, ["never"], delay_time=0.1) == {}
        with pytest.raises(NamingError, match="unknown name: never"):
            pyroipc.lookup(ns, "never", delay_time=0.1)


def test_the_time_limit_of_a_proxy_holds_for_looking_up():
    with name_server(client={"NS_LOOKUP_DELAY": 30.0}) as names, names.locate():
        proxy = names.proxy("PYRONAME:never")
        proxy._pyroTimeout = 0.3
        begin = time.monotonic()
        with pytest.raises((NamingError, pyroipc.TimeoutError)):
            proxy.ping()
        assert time.monotonic() - begin < 15


def test_the_connection_to_the_name_server_is_kept():
    with name_server() as names, names.locate() as ns:
        ns.register("x", SOMEWHERE)
        came = []
        names.daemon.validateHandshake = lambda conn, data: came.append(conn) or "hello"
        for _ in range(5):
            names.resolve("PYRONAME:x")
        together = [Worker(names.resolve, "PYRONAME:x") for _ in range(8)]
        assert {str(one.result()) for one in together} == {SOMEWHERE}
        assert len(came) == 1


def test_a_forked_child_looks_names_up_by_itself():
    with name_server() as names, names.locate() as ns:
        ns.register("x", SOMEWHERE)
        names.resolve("PYRONAME:x")
        reader, writer = os.pipe()

        def look_up():
            os.write(writer, str(names.resolve("PYRONAME:x")).encode())

        assert Child(look_up).wait() == 0
        assert os.read(reader, 100).decode() == SOMEWHERE
        os.close(reader)
        os.close(writer)
        assert str(names.resolve("PYRONAME:x")) == SOMEWHERE


# --- finding it ----------------------------------------------------------------------------------


def test_no_name_server():
    settings = changed_settings(NS_PORT=1, BROADCAST_ADDRS=[])
    for search in (
        lambda: pyroipc.locate_ns(settings=settings),
        lambda: pyroipc.locate_ns("127.0.0.1", 1, settings=settings),
        lambda: pyroipc.resolve("PYRONAME:x", settings=settings),
        lambda: pyroipc.Proxy("PYRONAME:x", settings=settings).ping(),
    ):
        with pytest.raises(NamingError, match=r"failed to locate the name server; tried .*:1"):
            search()


def test_a_daemon_without_a_name_server():
    with serving({"thing": Thing()}) as served, pytest.raises(NamingError, match="NameServer"):
        pyroipc.locate_ns("127.0.0.1", served.port)


@pytest.mark.parametrize("host", ["a b", "h:1", "a@b", "./u:"])
def test_wrong_hosts(host):
    with pytest.raises(NamingError, match="no name server can be at"):
        pyroipc.locate_ns(host)


def test_what_cannot_be_resolved():
    with pytest.raises(TypeError, match="can only resolve Pyro URIs, not int"):
        pyroipc.resolve(7)
    uri = pyroipc.URI(SOMEWHERE)
    assert pyroipc.resolve(uri) == uri
    assert pyroipc.resolve(SOMEWHERE) == uri


def test_a_name_server_at_a_unix_socket():
    with directory() as path, name_server(unixsocket=f"{path}/ns") as names:
        with names.locate() as ns:
            ns.register("x", SOMEWHERE)
        assert str(names.resolve(f"PYRONAME:x@./u:{path}/ns")) == SOMEWHERE
        names.settings.NS_HOST = f"./u:{path}/ns"
        assert str(names.resolve("PYRONAME:x")) == SOMEWHERE


def test_tls_and_key_are_given_by_hand():
    road = ROADS["tls+hmac"]
    with name_server(tls=server_context(), hmac_key="secret") as names:
        with pyroipc.locate_ns(
            "127.0.0.1", names.port, hmac_key="secret", tls=client_context()
        ) as ns:
            assert ns.count() == 1
        with pytest.raises(NamingError, match="failed to locate"):
            pyroipc.locate_ns("127.0.0.1", names.port, tls=client_context(), hmac_key="wrong")
    assert road.proxy_options()


def test_type_meta():
    class Base:
        pass

    class Derived(Base):
        pass

    tags = pyroipc.type_meta(Derived)
    assert tags == {f"class:{cls.__module__}.{cls.__name__}" for cls in (Derived, Base)}
    assert pyroipc.type_meta(Derived(), prefix="") == {tag.removeprefix("class:") for tag in tags}


# --- the server itself ---------------------------------------------------------------------------


def test_start_ns_loop_tells_where_it_is(capsys):
    with directory() as path:
        told = threading.Event()

        def condition():
            told.set()
            return False

        file = f"{path}/names.db"
        pyroipc.start_ns_loop("127.0.0.1", 0, storage=f"sqlite:{file}", loopCondition=condition)
        assert told.is_set()
        assert os.path.exists(file)
    printed = capsys.readouterr().out
    assert "URI = PYRO:Pyro.NameServer@127.0.0.1:" in printed
    assert "Not starting broadcast server" in printed
    assert printed.endswith("NS shut down.\n")


def test_nat():
    uri, daemon, responder = pyroipc.start_ns(
        "127.0.0.1", 0, nathost="outside.example", natport=99, enableBroadcast=False
    )
    with daemon:
        assert str(uri) == "PYRO:Pyro.NameServer@outside.example:99"
        assert responder is None
        assert daemon.is_public


def test_what_cannot_be_started():
    with pytest.raises(NamingError, match="unknown storage 'nonsense'"):
        pyroipc.start_ns("127.0.0.1", 0, storage="nonsense")
    with pytest.raises(ValueError, match=r"NS_AUTOCLEAN cannot be smaller than 3: 1\.0"):
        NameServerDaemon("127.0.0.1", 0, settings=changed_settings(NS_AUTOCLEAN=1.0))
    with pytest.raises(pyroipc.DaemonError, match="listens at an address"):
        NameServerDaemon(connected_socket=object())


def test_serve_registers_names():
    with name_server() as names, names.locate() as ns:
        daemon = pyroipc.Daemon("127.0.0.1", settings=names.settings)
        server = Worker(pyroipc.serve, {Thing(): "a.thing", Thing: None}, None, 0, daemon, True)
        wait_until(lambda: ns.list("a."), "the name is registered")
        with names.proxy("PYRONAME:a.thing") as proxy:
            assert proxy.where() == "here"
        daemon.shutdown()
        server.result()


def test_killed_while_names_are_registered(tmp_path):
    rounds = int(os.environ.get("PYROIPC_NS_KILLS", "4"))
    storage = f"sqlite:{tmp_path}/names.db"
    acknowledged: dict[str, str] = {}
    for number in range(rounds):
        with child_name_server(storage=storage) as names, names.locate() as ns:
            assert ns.list(prefix="Pyro.") == {
                "Pyro.NameServer": f"PYRO:Pyro.NameServer@{names.location}"
            }
            _check_kept(acknowledged, ns.list(prefix="n"))
            enough = threading.Event()

            def register(ns=ns, number=number, enough=enough):
                for count in range(100_000):
                    name, uri = f"n{number}.{count}", f"PYRO:x@h:{1 + count % 60000}"
                    ns.register(name, uri)
                    acknowledged[name] = uri
                    if count == 20:
                        enough.set()

            client = Worker(register)
            assert enough.wait(10)
            names.kill()
            assert isinstance(client.finish(), pyroipc.CommunicationError)
    with child_name_server(storage=storage) as names, names.locate() as ns:
        _check_kept(acknowledged, ns.list(prefix="n"))
    assert len(acknowledged) > 20 * rounds


def _check_kept(acknowledged, found):
    """Nothing is lost; the one that was stored when the answer could not be sent counts too."""
    assert acknowledged.items() <= found.items()
    assert len(found) - len(acknowledged) <= 1
    acknowledged.update(found)


# --- entries whose servers are gone --------------------------------------------------------------


def test_cleaning_up():
    with (
        directory() as path,
        name_server() as names,
        names.locate() as ns,
        serving({"thing": Thing()}) as alive,
        serving({"thing": Thing()}, road=ROADS["unix"], directory=path) as alive_unix,
    ):
        with serving({"thing": Thing()}) as dead:
            ns.register("dead", dead.uri())
        ns.register("alive", alive.uri())
        ns.register("alive.unix", alive_unix.uri())
        ns.register("dead.unix", f"PYRO:thing@./u:{path}/none")
        ns.register("dead.leased", dead.uri(), ttl=60)
        ns.register("alias", "PYRONAME:dead")
        storage = names.daemon.nameserver.storage
        cleaner = Cleaner(storage, names.settings, period=0.05, patience=0.1)
        assert cleaner.clean() == []  # it may come back
        cleaner.start()
        try:
            wait_until(lambda: ns.count() == 5, "what is dead is gone")
        finally:
            cleaner.stop()
        assert set(ns.list()) == {
            "Pyro.NameServer", "alive", "alive.unix", "alias", "dead.leased",
        }  # fmt: skip


def test_a_server_that_comes_back_keeps_its_name():
    with name_server() as names, names.locate() as ns:
        with serving({"thing": Thing()}) as served:
            ns.register("thing", served.uri())
        cleaner = Cleaner(names.daemon.nameserver.storage, names.settings, period=9, patience=0.0)
        cleaner._patience = 60.0
        assert cleaner.clean() == []
        with serving({"thing": Thing()}, port=served.port):
            assert cleaner.clean() == []
        cleaner._patience = 0.0
        assert cleaner.clean() == ["thing"]


def test_autoclean_belongs_to_the_daemon():
    before = set(threading.enumerate())
    settings = changed_settings(NS_AUTOCLEAN=3.0)
    with NameServerDaemon("127.0.0.1", 0, settings=settings):
        names = {thread.name for thread in set(threading.enumerate()) - before}
        assert "pyroipc-autoclean" in names
    assert "pyroipc-autoclean" not in {thread.name for thread in threading.enumerate()}


def test_no_warning_is_lost():
    with warnings.catch_warnings(), name_server("0.0.0.0") as names:
        warnings.simplefilter("error")
        local = changed_settings(NS_HOST="127.0.0.1", NS_PORT=names.daemon.locations[0].port)
        with pyroipc.locate_ns(settings=local) as ns:
            with pytest.raises(RuntimeWarning):
                ns.register("x", "PYRO:x@127.0.0.1:9000")
            assert str(ns.lookup("x")) == "PYRO:x@127.0.0.1:9000"

"""Our clients, daemons and commands with the name servers of Pyro4 and Pyro5.

The peers are the released packages, in processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc import cli
from pyroipc.cli.diagnosis.examination import examine, examine_surroundings
from pyroipc.client.resolve import forget_name_servers
from pyroipc.errors import NamingError, SecurityError
from pyroipc.naming.client import lookup, type_meta, yplookup
from pyroipc.settings import config
from tests.support import commands, namespaces
from tests.support.certificates import Authority
from tests.support.daemons import settings as changed_settings
from tests.support.hosts import Worker
from tests.support.name_servers import directory, name_server
from tests.support.networks import needs_ipv6
from tests.support.pyro_console import Console
from tests.support.pyro_names import (
    BOTH,
    MODULES,
    ONE,
    PYRO4,
    PYRO5,
    TWO,
    Thing,
    serving,
    their_name_server,
)
from tests.support.pyro_programs import running
from tests.support.waiting import wait_until

VERSIONS = {PYRO4: "Pyro4 (protocol version 48)", PYRO5: "Pyro5 (protocol version 502)"}
KEY = "a secret of both ends"
EVERYTHING = r".*"
ACCEPTED = {"PYRO_SERIALIZERS_ACCEPTED": "serpent,json,msgpack"}
"""What Pyro4 takes here; Pyro5 takes whatever it knows."""


@pytest.fixture(scope="module")
def consoles():
    """A process for each of the packages."""
    with contextlib.ExitStack() as stack:
        yield {package: stack.enter_context(Console(package)) for package in BOTH}


@pytest.fixture(params=BOTH)
def peer(request, consoles):
    """A process with one of the packages, which knows of no name server by itself."""
    console = consoles[request.param]
    console.do("config.reset(); config.NS_PORT = 1; config.BROADCAST_ADDRS = broadcast",
               broadcast="127.0.0.1" if console.package == PYRO4 else ["127.0.0.1"])  # fmt: skip
    return console


@pytest.fixture(scope="module")
def kept():
    """One name server of each package with each storage, which lives as long as this module."""
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(directory())
        found = {}
        for package in BOTH:
            for storage in ("memory", f"sql:{where}/{package}.sql"):
                options = ("-x", "-s", storage)
                environment = ACCEPTED if package == PYRO4 else None
                server = stack.enter_context(
                    their_name_server(package, *options, environment=environment)
                )
                found[package, storage.partition(":")[0]] = server
        yield found


@pytest.fixture(params=[(package, storage) for package in BOTH for storage in ("memory", "sql")],
                ids="-".join)  # fmt: skip
def server(request, kept):
    """A name server of a package, with nothing in it."""
    yield from emptied(kept[request.param])


@pytest.fixture(params=BOTH)
def theirs(request, kept):
    """A name server of a package that has its names in memory, with nothing in it."""
    yield from emptied(kept[request.param, "memory"])


def emptied(server):
    """Yield a name server, and forget what it was told."""
    yield server
    with server.locate() as ns:
        ns.remove(regex=EVERYTHING)
    forget_name_servers()


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_all_that_our_clients_ask(server, serializer):
    with pyroipc.locate_ns(settings=changed_settings(
        SERIALIZER=serializer, NS_PORT=server.port, BROADCAST_ADDRS=[])) as ns:  # fmt: skip
        assert ns._pyroConnection.dialect == server.package.lower()
        ask_everything(ns)


def ask_everything(ns):
    one, two = pyroipc.URI(ONE), pyroipc.URI(TWO)
    ns.ping()
    assert ns.count() == 1
    ns.register("a.one", ONE, metadata={"t", "u"})
    ns.register("a.two", two, metadata=["t", "t"])
    ns.register("b", one, safe=True)
    with pytest.raises(NamingError, match="name already registered: b"):
        ns.register("b", TWO, safe=True)
    assert ns.lookup("a.one") == one
    assert ns.lookup("a.one", return_metadata=True) == (one, {"t", "u"})
    assert ns.lookup("b", return_metadata=True) == (one, set())
    with pytest.raises(NamingError, match="unknown name: none"):
        ns.lookup("none")
    assert ns.list("a.") == {"a.one": ONE, "a.two": TWO}
    assert ns.list(regex="b|a.o") == {"a.one": ONE, "b": ONE}
    assert ns.list("a.o", return_metadata=True) == {"a.one": (ONE, {"t", "u"})}
    found = ns.list(return_metadata=True)
    assert found["b"] == (ONE, set())
    assert found["a.two"] == (TWO, {"t"})
    assert len(found) == 4
    with pytest.raises(NamingError, match="invalid regex"):
        ns.list(regex="(")
    with pytest.raises(ValueError, match="filter on one thing"):
        ns.list("a", "b")
    assert ns.yplookup(["t", "u", "t"]) == {"a.one": (ONE, {"t", "u"})}
    assert ns.yplookup(meta_any={"u", "t"}, return_metadata=False) == {"a.one": ONE, "a.two": TWO}
    assert ns.yplookup(["none"]) == ns.yplookup([]) == ns.yplookup() == {}
    with pytest.raises(ValueError, match="meta_a"):
        ns.yplookup(["t"], ["u"])
    with pytest.raises(TypeError, match="should not be a str"):
        ns.yplookup("t")
    ns.set_metadata("b", {"u"})
    assert ns.lookup("b", True) == (one, {"u"})
    with pytest.raises(NamingError, match="unknown name: none"):
        ns.set_metadata("none", ["u"])
    assert ns.remove("b") == 1
    assert ns.remove("b") == 0
    assert ns.remove(prefix="a.o") == 1
    assert ns.remove(regex="a") == 1
    assert ns.count() == 1


def test_a_prefix_is_meant_as_it_is_written(server):
    """With a file, theirs take _ and % for wildcards, and small letters for capitals."""
    with server.locate() as ns:
        for name in ("a_one", "abone", "A_one", "a_two"):
            ns.register(name, ONE)
        assert ns.list("a_").keys() == {"a_one", "a_two"}
        assert ns.list("%") == {}
        assert ns.remove(prefix="a_") == 2
        assert ns.remove(prefix="%") == 0
        assert ns.list().keys() == {"Pyro.NameServer", "abone", "A_one"}


def test_no_leases(theirs):
    with theirs.locate() as ns:
        assert not ns.has_leases
        with pytest.raises(NamingError, match=r"'x' was not registered: .* knows no lease times"):
            ns.register("x", ONE, ttl=10)
        ns.register("x", ONE)
        ns.register("y", TWO)
        assert ns.renew({"x": ONE, "y": ONE, "z": ONE}, 10) == {"y": "taken", "z": "unknown"}


def test_resolving(server):
    with server.locate() as ns:
        ns.register("one", ONE, metadata={"red", "blue"})
        ns.register("other", "PYRONAME:one")
    assert str(server.resolve("PYRONAME:one")) == ONE
    assert str(server.resolve("PYRONAME:other")) == ONE
    assert str(server.resolve("PYROMETA:red,blue")) == ONE
    assert str(server.resolve(f"PYRONAME:one@localhost:{server.port}")) == ONE
    with pytest.raises(NamingError, match="unknown name: none"):
        server.resolve("PYRONAME:none")
    with pytest.raises(NamingError, match="no registrations available"):
        server.resolve("PYROMETA:red,green")


def test_waiting_for_what_is_not_there_yet(theirs):
    with theirs.locate() as ns:
        late = threading.Timer(0.1, ns.register, ("late", ONE, False, ["red"]))
        late.start()
        assert str(lookup(ns, "late", delay_time=1)) == ONE
        late.join()
        assert yplookup(ns, meta_any=["red"], delay_time=1) == {"late": (ONE, {"red"})}
        ns.remove("late")
        late = threading.Timer(0.1, ns.register, ("late", TWO, False, ["red"]))
        late.start()
        assert str(theirs.resolve("PYROMETA:red", delay=1)) == TWO
        late.join()
        assert yplookup(ns, ["none"], delay_time=0.01) == {}


def test_tags_that_tell_the_class(theirs):
    with theirs.locate() as ns, serving() as (_, uri):
        ns.register("thing", uri, metadata=type_meta(Thing))
        (tag,) = type_meta(Thing)
        with theirs.proxy(f"PYROMETA:{tag}") as proxy:
            assert proxy.where() == "pyroipc"


def test_objects_of_all_three(theirs, consoles):
    """A name server of any kind leads anybody to objects of any kind."""
    with theirs.locate() as ns, serving() as (_, uri):
        ns.register("pyroipc", uri)
        for package, console in consoles.items():
            console.do("config.reset(); config.NS_PORT = 1")
            there = console.do("str(serve(host='localhost'))")
            ns.register(package, there)
        for name in ("pyroipc", *BOTH):
            with theirs.proxy(f"PYRONAME:{name}") as proxy:
                assert proxy.where() == name
        console = consoles[theirs.package]
        where = {"name": f"PYRONAME:pyroipc@localhost:{theirs.port}"}
        assert console.do("pyro.Proxy(name).where()", **where) == "pyroipc"


def test_another_name_server_at_the_same_place(consoles):
    """What was found out about a place does not hold for ever, and what was kept is made anew."""
    with their_name_server(PYRO5, "-x") as first:
        port = first.port
        for _ in range(2):
            with first.locate() as ns:
                ns.register("x", ONE)
            assert str(first.resolve("PYRONAME:x")) == ONE
        first.kill()
        with their_name_server(PYRO4, "-x", port=port) as second:
            with pytest.raises(NamingError, match="unknown name: x"):
                first.resolve("PYRONAME:x")
            with first.locate() as ns:
                assert ns._pyroConnection.dialect == "pyro4"
                ns.register("x", TWO, metadata=["t"])
            assert str(first.resolve("PYROMETA:t")) == TWO
            second.kill()
        with pytest.raises(NamingError, match="failed to locate the name server"):
            first.resolve("PYRONAME:x")
        with name_server(port=port) as names, names.locate() as ns:
            ns.register("x", ONE, ttl=60)
            assert str(first.resolve("PYRONAME:x")) == ONE
            with first.locate() as found:
                assert found._pyroConnection.dialect == "native"
                assert found.has_leases


@pytest.mark.parametrize("package", BOTH)
def test_a_name_server_that_hangs(package, capsys):
    with their_name_server(package, "-x") as theirs, theirs.locate() as ns:
        ns.register("x", ONE)
        theirs.resolve("PYRONAME:x")
        theirs.program.process.send_signal(signal.SIGSTOP)
        begin = monotonic()
        where = ("--host", "localhost", "--port", str(theirs.port), "--answer-within", "0.2")
        assert cli.main(["nsc", *where, "list"]) == 3
        for uri in ("PYRONAME:x", "PYROMETA:t"):
            with theirs.proxy(uri) as proxy, pytest.raises((NamingError, pyroipc.TimeoutError)):
                proxy._pyroTimeout = 0.2
                proxy.where()
        report = examine("PYRONAME:x", theirs.settings, 0.5)
        assert report.exit_status == 3
        assert monotonic() - begin < 6
        theirs.program.process.send_signal(signal.SIGCONT)
        assert str(theirs.resolve("PYRONAME:x")) == ONE


STRANGE = """
@pyro.expose
class Strange:
    def lookup(self, name, return_metadata=False):
        if name == "odd":
            raise KeyError(name)
        return [ONE, 7] if return_metadata else 7
    def list(self, *args, **kwargs):
        return {"x": [ONE, "tag"]} if kwargs.get("return_metadata") else [7]
    def register(self, *args):
        return 7
"""


def test_what_calls_itself_a_name_server(peer):
    peer.do(STRANGE)
    peer.do("daemon = pyro.Daemon(host='localhost'); ONE = uri", uri=ONE)
    uri = peer.do("str(daemon.register(Strange(), 'Pyro.NameServer'))")
    peer.do("import threading; threading.Thread(target=daemon.requestLoop, daemon=True).start()")
    port = int(uri.rpartition(":")[2])
    strange = changed_settings(NS_PORT=port, BROADCAST_ADDRS=[])
    with pyroipc.locate_ns(settings=strange) as ns:
        for question in (
            lambda: ns.lookup("x"), lambda: ns.lookup("x", True), ns.list,
            lambda: ns.list(return_metadata=True), lambda: ns.yplookup(["t"], None, False),
            ns.count,
            lambda: pyroipc.resolve("PYRONAME:x", settings=strange),
            lambda: pyroipc.resolve("PYROMETA:x", settings=strange),
        ):  # fmt: skip
            with pytest.raises((NamingError, AttributeError)):
                question()
    with serving() as (daemon, _):
        publication = pyroipc.publish(daemon, {"odd": "thing"}, settings=strange)
        with pytest.raises(NamingError, match="the name server failed: KeyError"):
            publication.renew()
        publication.close()
    report = examine_surroundings(strange, 3)
    assert steps_of(report)["names"]["text"].startswith("the name server gave no names, but [7]")
    uri = peer.do("str(serve('Pyro.NameServer', host='localhost'))")
    no_such_methods = changed_settings(NS_PORT=int(uri.rpartition(":")[2]), BROADCAST_ADDRS=[])
    for text in ("PYRONAME:x", "PYROMETA:x"):
        with pytest.raises(NamingError, match=r"is no name server: it has no method"):
            pyroipc.resolve(text, settings=no_such_methods)


def test_pickle_where_it_is_allowed():
    """Pyro4 that takes nothing else, at a unix socket."""
    with directory() as where:
        environment = {"PYRO_SERIALIZERS_ACCEPTED": "pickle"}
        options = {"environment": environment, "SERIALIZER": "pickle"}
        with their_name_server(PYRO4, "-u", f"{where}/their.sock", **options) as theirs:
            with theirs.locate() as ns:
                ask_everything(ns)
                ns.register("x", ONE)
            assert str(theirs.resolve("PYRONAME:x")) == ONE


# --- names that are kept registered ------------------------------------------------------------


def told(caplog):
    """Return what was said about leases."""
    return [one.getMessage() for one in caplog.records if "leases" in one.getMessage()]


def test_publishing(theirs, caplog):
    with serving() as (daemon, uri), theirs.locate() as ns:
        names = {"mine": "thing", "other": "thing"}
        publication = pyroipc.publish(daemon, names, metadata=["t"], settings=theirs.settings)
        with publication:
            assert ns.lookup("mine", True) == (uri, {"t"})
            publication.renew()
            ns.remove("mine")
            ns.register("other", ONE)
            publication.renew()
            assert ns.lookup("mine", True) == (uri, {"t"})
            assert str(ns.lookup("other")) == ONE
            assert publication.names == {"mine"}
        assert ns.list().keys() == {"Pyro.NameServer", "other"}
    assert len(told(caplog)) == 1
    assert f"at localhost:{theirs.port} has no leases" in told(caplog)[0]
    assert "mine, other" in told(caplog)[0]


def test_publishing_what_is_taken(theirs):
    with serving() as (daemon, _), theirs.locate() as ns:
        ns.register("b", ONE)
        with pytest.raises(NamingError, match="name already registered: b"):
            pyroipc.publish(
                daemon, {"a": "thing", "b": "thing"}, safe=True, settings=theirs.settings
            )
        assert ns.list().keys() == {"Pyro.NameServer", "b"}


@pytest.mark.parametrize("package", BOTH)
def test_names_come_back_with_the_name_server(package, caplog):
    with their_name_server(package, "-x") as first, serving() as (daemon, uri):
        options = {"ttl": 1, "settings": first.settings}
        with pyroipc.publish(daemon, {"mine": "thing"}, **options):
            first.kill()
            with their_name_server(package, "-x", port=first.port) as second:
                with second.locate() as ns:
                    wait_until(lambda: "mine" in ns.list(), "the name is back")
                second.kill()
            with name_server(port=first.port) as ours, ours.locate() as ns:  # it has leases
                wait_until(lambda: "mine" in ns.list(), "the name is here, too")
                entry = ours.daemon.nameserver.storage.get("mine")
                assert entry.expires is not None
                assert entry.uri == str(uri)
    assert len(told(caplog)) == 1


def test_a_name_server_that_is_gone_at_the_end(caplog):
    with their_name_server(PYRO5, "-x") as theirs, serving() as (daemon, _):
        publication = pyroipc.publish(daemon, {"mine": "thing"}, settings=theirs.settings)
        theirs.kill()
        publication.close()
    assert any("could not be removed, and stay" in one.getMessage() for one in caplog.records)


def test_serve(theirs):
    """``serve`` prints when it has registered the name; then it serves."""
    with pyroipc.Daemon("127.0.0.1", settings=theirs.settings) as daemon:
        loop = Worker(pyroipc.serve, {Thing(): "served"}, None, 0, daemon, True, False)
        with theirs.locate() as ns:
            wait_until(lambda: "served" in ns.list(), "the name is registered")
        with theirs.proxy("PYRONAME:served") as proxy:
            assert proxy.where() == "pyroipc"
        daemon.shutdown()
        loop.result()


# --- where they are ----------------------------------------------------------------------------


@pytest.mark.parametrize("package", BOTH)
def test_at_a_unix_socket(package):
    with directory() as where:
        path = f"{where}/ns.sock"
        with their_name_server(package, "-u", path) as theirs, theirs.locate() as ns:
            ns.register("x", ONE)
            assert str(theirs.resolve("PYRONAME:x")) == ONE
            assert str(theirs.resolve(f"PYRONAME:x@./u:{path}")) == ONE
            with pyroipc.locate_ns(f"./u:{path}") as found:
                assert found.count() == 2


@needs_ipv6
@pytest.mark.parametrize("package", BOTH)
def test_with_ipv6(package):
    with their_name_server(package, "-n", "::1") as theirs:
        with pyroipc.locate_ns("::1", theirs.port) as ns:
            ns.register("x", ONE)
        uri = f"PYRONAME:x@[::1]:{theirs.port}"
        assert str(theirs.resolve(uri)) == ONE


@pytest.mark.parametrize("package", BOTH)
def test_found_by_broadcast(package):
    options = ("-n", "0.0.0.0", "--bchost", "127.0.0.1", "--bcport", "0")
    with their_name_server(package, *options) as theirs:
        port = theirs.program.read_until(r"^Broadcast server running on \S+:(\d+)$")[1]
        broadcasting = changed_settings(
            NS_PORT=1, NS_BCPORT=int(port), BROADCAST_ADDRS=["127.0.0.1"]
        )
        with pyroipc.locate_ns(settings=broadcasting) as ns:
            assert str(ns._pyroUri) == f"PYRO:Pyro.NameServer@127.0.0.1:{theirs.port}"
            ns.register("x", ONE)
        assert str(pyroipc.resolve("PYRONAME:x", settings=broadcasting)) == ONE
        step = steps_of(examine_surroundings(broadcasting, 2))["broadcast"]
        assert VERSIONS[package] in step["text"]
        assert step["facts"]["dialect"] == package.lower()


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
def test_broadcasts_between_two_hosts():
    """Real broadcasts: each of the three asks, each of the others answers."""
    with namespaces.Network() as network, contextlib.ExitStack() as stack:
        one, other = network.host(), network.host()
        switch = network.switch()
        switch.plug_in(one, "10.1.0.1/24")
        switch.plug_in(other, "10.1.0.2/24")
        other.ip("route", "add", "default", "via", "10.1.0.1")  # they do not look at interfaces
        ours = other.console()
        askers = {
            package: stack.enter_context(Console(package, command=inside(other)))
            for package in BOTH
        }
        for number, package in enumerate(BOTH):
            port, bcport = 9100 + number, 9200 + number
            arguments = ["-m", MODULES[package], "-n", "10.1.0.1", "-p", str(port),
                         "--bcport", str(bcport)]  # fmt: skip
            process = stack.enter_context(subprocess.Popen(
                inside(one)(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            ))  # fmt: skip
            stack.callback(process.kill)
            while b"URI = " not in process.stdout.readline():
                assert process.poll() is None
            found = ours.ask(
                "str(__import__('pyroipc').locate_ns(settings=_settings("
                f"{{'NS_PORT': 1, 'NS_BCPORT': {bcport}}}))._pyroUri)"
            )
            assert found == f"PYRO:Pyro.NameServer@10.1.0.1:{port}"
        server = one.console()
        server.ask(
            "__import__('tests.support.name_servers', fromlist=['x'])"
            ".run_in_console({'host': '10.1.0.1'})"
        )
        for asker in askers.values():
            asker.do("config.NS_HOST = '192.0.2.1'")  # not this machine: then they broadcast first
            assert asker.do("str(locate()._pyroUri)") == "PYRO:Pyro.NameServer@10.1.0.1:9090"
            assert asker.do("locate().count()") == 1


def inside(host):
    """Return what makes command lines for a host; warnings are no errors there."""

    def command(*arguments):
        line = [part for part in host.command(*arguments) if part != "error"]
        line[line.index("-W") + 1 : line.index("-W") + 1] = ["ignore"]
        return line

    return command


@pytest.mark.parametrize("package", BOTH)
def test_behind_a_router_of_theirs(package):
    options = ("-x", "--nathost", "192.0.2.9", "--natport", "99")
    with running(package, package, "-m", MODULES[package], "-p", "0", *options) as program:
        uri = program.read_until(r"^internal URI = PYRO:Pyro.NameServer@localhost:(\d+)")
        with pyroipc.locate_ns("localhost", int(uri[1])) as ns:
            assert str(ns.lookup("Pyro.NameServer")) == "PYRO:Pyro.NameServer@192.0.2.9:99"


def test_a_key_of_theirs():
    environment = {"PYRO_HMAC_KEY": KEY}
    with their_name_server(PYRO4, "-x", environment=environment, HMAC_KEY=KEY) as theirs:
        with theirs.locate() as ns:
            ns.register("x", ONE, metadata=["t"])
        assert str(theirs.resolve("PYRONAME:x")) == ONE
        assert str(theirs.resolve("PYROMETA:t")) == ONE
        assert steps_of(examine(theirs.uri, theirs.settings, 5))["hmac"]["facts"] == {"used": True}
        for key in ("another", ""):
            wrong = changed_settings(
                HMAC_KEY=key, NS_PORT=theirs.port, BROADCAST_ADDRS=[], NS_HOST="localhost"
            )
            with pytest.raises(NamingError, match=r"tried .*localhost:\d+.*(?i:hmac)"):
                pyroipc.locate_ns(settings=wrong)
            report = examine(theirs.uri, wrong, 5)
            assert report.exit_status == 4
            assert "HMAC" in steps_of(report)["protocol"]["advice"][0]


def test_a_key_that_pyro5_does_not_know(kept):
    theirs = kept[PYRO5, "memory"]
    wrong = changed_settings(HMAC_KEY=KEY, NS_PORT=theirs.port, BROADCAST_ADDRS=[])
    with pytest.raises(NamingError, match="Pyro5's protocol knows no HMAC key"):
        pyroipc.locate_ns(settings=wrong)
    with pytest.raises(SecurityError, match="Pyro5's protocol knows no HMAC key"):
        pyroipc.Proxy(theirs.uri, settings=wrong)._pyroBind()


@pytest.mark.parametrize("package", BOTH)
def test_tls_of_theirs(package, tmp_path):
    authority = Authority(tmp_path)
    identity = authority.issue("localhost")
    environment = {
        "PYRO_SSL": "1",
        "PYRO_SSL_SERVERCERT": identity.certificate,
        "PYRO_SSL_SERVERKEY": identity.key,
    }
    client = {"SSL": True, "SSL_CACERTS": authority.file}
    with their_name_server(package, "-x", environment=environment, **client) as theirs:
        with theirs.locate() as ns:
            ns.register("x", ONE)
        assert str(theirs.resolve("PYRONAME:x")) == ONE
        report = examine(theirs.uri, theirs.settings, 5)
        assert report.exit_status == 0
        assert steps_of(report)["tls"]["facts"]["used"] is True
        assert steps_of(report)["hello"]["facts"]["dialect"] == package.lower()


# --- commands ----------------------------------------------------------------------------------


@pytest.fixture
def nsc(theirs, capsys):
    """Runs ``pyroipc nsc`` for one of their name servers."""
    config.reset(use_environment=False)
    where = ["--host", "localhost", "--port", str(theirs.port)]

    def run(*arguments):
        capsys.readouterr()
        status = cli.main(["nsc", *where, *arguments])
        return status, *capsys.readouterr()

    yield run
    config.reset()


def test_our_command_nsc(nsc, theirs):
    assert nsc("ping")[0] == 0
    assert nsc("register", "a.one", ONE, "red", "blue") == (0, "Registered a.one\n", "")
    assert nsc("register", "a.two", TWO) == (0, "Registered a.two\n", "")
    assert nsc("register", "a.two", ONE)[0] == 1
    assert nsc("register", "a.two", TWO, "--replace")[0] == 0
    status, _, complaint = nsc("register", "x", ONE, "--ttl", "10")
    assert status == 1
    assert "knows no lease times" in complaint
    table = f"NAME   URI                      METADATA\na.one  {ONE}  blue, red\n"
    assert nsc("list", "a.") == (0, f"{table}a.two  {TWO}\n", "")
    assert nsc("listmatching", ".*one$") == (0, table, "")
    assert nsc("yplookup_all", "red", "blue") == (0, table, "")
    assert nsc("yplookup_any", "red", "green") == (0, table, "")
    assert nsc("yplookup_any", "green") == (1, "", "pyroipc nsc: nothing matches\n")
    assert nsc("lookup", "a.one") == (0, f"{ONE}\nmetadata: blue, red\n", "")
    assert nsc("lookup", "none")[0] == 1
    assert nsc("wait", "a.one", "--timeout", "5")[0] == 0
    assert nsc("wait", "none", "--timeout", "0.01")[:2] == (1, "")
    assert nsc("setmeta", "a.two", "green") == (0, "Metadata updated\n", "")
    status, out, _ = nsc("list", "a.", "--json")
    assert json.loads(out)["a.two"] == {"uri": TWO, "metadata": ["green"]}
    assert nsc("setmeta", "a.two") == (0, "Metadata cleared\n", "")
    assert nsc("remove", "a.two") == (0, "Removed 1 name\n", "")
    assert nsc("remove", "a.two")[0] == 1
    assert nsc("removematching", "-y", EVERYTHING) == (0, "Removed 1 name\n", "")
    with theirs.locate() as ns:
        assert ns.count() == 1


def test_our_command_nsc_watch(theirs):
    where = ("-n", "localhost", "-p", str(theirs.port))
    with theirs.locate() as ns:
        ns.register("a.one", ONE, metadata=["red"])
        with commands.running(
            "pyroipc", "nsc", *where, "watch", "a.", "--interval", "0.05"
        ) as run:
            run.read_until(rf"^\+ a\.one  {ONE}  red$")
            ns.set_metadata("a.one", ["blue"])
            run.read_until(rf"^~ a\.one  {ONE}  blue$")
            ns.remove("a.one")
            run.read_until(rf"^- a\.one  {ONE}  blue$")
            run.process.send_signal(signal.SIGINT)
            assert run.end() == 130


def test_our_command_echo(theirs, consoles):
    environment = {"PYRO_NS_PORT": str(theirs.port), "PYRO_BROADCAST_ADDRS": ""}
    with commands.running("pyroipc", "echo", "-n", environment=environment) as echo:
        echo.read_until(r"^echoserver running\.$")
        console = consoles[theirs.package]
        console.do("config.reset(); echo = pyro.Proxy(name)",
                   name=f"PYRONAME:test.echoserver@localhost:{theirs.port}")  # fmt: skip
        assert console.do("echo.echo([1, 'two'])") == [1, "two"]
        console.do("echo.shutdown()")
        assert echo.end() == 0
    assert "has no leases" in echo.printed
    with theirs.locate() as ns:
        assert ns.count() == 1


# --- the doctor --------------------------------------------------------------------------------


def steps_of(findings):
    """Return what was found, by step; of several findings the worst."""
    steps = {}
    for step in findings.as_dict()["steps"]:
        if step["step"] not in steps or step["status"] == "failed":
            steps[step["step"]] = step
    return steps


def test_the_doctor_looks_at_an_object_of_theirs(theirs, consoles):
    console = consoles[theirs.package]
    console.do("config.reset()")
    uri = console.do("str(serve(host='localhost'))")
    with theirs.locate() as ns:
        ns.register("thing", uri)
    for text in (uri, "PYRONAME:thing"):
        report = examine(text, theirs.settings, 5)
        steps = steps_of(report)
        assert report.exit_status == 0, report.as_dict()
        hello = steps["hello"]
        assert VERSIONS[theirs.package] in hello["text"]
        assert hello["facts"]["dialect"] == theirs.package.lower()
        assert hello["facts"]["protocol"] == {PYRO4: 48, PYRO5: 502}[theirs.package]
        assert steps["serializers"]["facts"]["used"] == "serpent"
        assert steps["object"]["facts"] == {"methods": ["where"], "attributes": []}
        assert steps["objects"]["facts"]["objects"] == ["Pyro.Daemon", "thing"]
        assert 0 < steps["latency"]["facts"]["ping_median_seconds"] < 5


def test_the_doctor_finds_no_such_object(theirs):
    report = examine(f"PYRO:nothing@localhost:{theirs.port}", theirs.settings, 5)
    assert report.exit_status == 5
    step = steps_of(report)["object"]
    assert step["text"].startswith("the daemon has no object 'nothing'")
    assert "there are: Pyro.Daemon, Pyro.NameServer" in step["advice"]


def test_the_doctor_looks_at_all_names_of_theirs(theirs, consoles):
    with theirs.locate() as ns, serving() as (_, uri):
        ns.register("ours", uri)
        for package, console in consoles.items():
            console.do("config.reset()")
            ns.register(package, console.do("str(serve(host='localhost'))"))
        ns.register("astray", str(uri).replace("thing", "nothing"))
        report = examine_surroundings(theirs.settings, 10)
    steps = report.as_dict()["steps"]
    (found,) = [step for step in steps if step["step"] == "name server"]
    assert VERSIONS[theirs.package] in found["text"]
    verdicts = {one["facts"]["name"]: one["status"] for one in steps if one["step"] == "name"}
    assert verdicts == {"ours": "ok", PYRO4: "ok", PYRO5: "ok", "astray": "failed"}
    assert report.exit_status == 5


def test_the_doctor_is_told_the_wrong_dialect(theirs):
    other = {PYRO4: "pyro5", PYRO5: "pyro4"}[theirs.package]
    report = examine(theirs.uri, changed_settings(DIALECT=other), 5)
    assert report.exit_status == 4
    steps = steps_of(report)
    assert VERSIONS[theirs.package] in steps["hello"]["text"]
    assert steps["protocol"]["advice"] == [f"the setting DIALECT says {other}; auto: to find out"]
    right = changed_settings(DIALECT=theirs.package.lower())
    assert examine(theirs.uri, right, 5).exit_status == 0


def test_the_doctor_and_a_serializer_that_cannot_be_used(theirs):
    report = examine(theirs.uri, changed_settings(SERIALIZER="pickle"), 5)
    assert report.exit_status == 5
    assert "the setting is SERIALIZER" in steps_of(report)["serializers"]["advice"]
    if theirs.package == PYRO4:  # Pyro5 accepts whatever it knows
        report = examine(theirs.uri, changed_settings(SERIALIZER="marshal"), 5)
        assert report.exit_status == 4
        (advice,) = steps_of(report)["protocol"]["advice"]
        assert advice.startswith("choose one that the daemon accepts")

"""Clients and daemons of Pyro4 and Pyro5 with our name server.

The peers are the released packages, in processes of their own.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

import pyroipc
from pyroipc.naming.broadcast import BroadcastServer
from tests.support.certificates import Authority
from tests.support.daemons import settings as changed_settings
from tests.support.name_servers import directory, name_server
from tests.support.networks import needs_ipv6
from tests.support.pyro_console import Console, PeerError
from tests.support.pyro_names import BOTH, ONE, PYRO4, PYRO5, TWO, serving

KEY = "a secret of both ends"


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


def uri_there(peer, text):
    """Return how a console shows a URI."""
    return f"{peer.package}.core:{text}"


def tags_there(peer, *tags):
    """Return tags as a client of a package gets them with serpent."""
    if peer.package == PYRO4:
        return list(tags)
    return set(tags) or ()  # serpent has no empty sets


PLACES = [
    pytest.param({"host": "127.0.0.1"}, id="tcp"),
    pytest.param({"host": "127.0.0.1", "storage": "sqlite"}, id="tcp-sqlite"),
    pytest.param({"unixsocket": "ns.sock", "storage": "sqlite"}, id="unix-sqlite"),
    pytest.param({"host": "::1"}, id="ipv6", marks=needs_ipv6),
]


@contextlib.contextmanager
def our_name_server(peer, *, serializer="serpent", **options):
    """Run a name server of ours, which the console knows as ``ns``; yield its Names."""
    with directory() as where:
        if "storage" in options:
            options["storage"] = f"sqlite:{where}/names.db"
        if "unixsocket" in options:
            options["unixsocket"] = f"{where}/{options['unixsocket']}"
        with name_server(**options) as names:
            peer.do("config.SERIALIZER = serializer", serializer=serializer)
            place = names.location, None
            if not names.location.startswith("./u:"):
                place = names.host.strip("[]"), names.port
            peer.do("ns = locate(*place)", place=place)
            try:
                yield names
            finally:
                peer.do("ns._pyroRelease()")


@pytest.mark.parametrize("options", PLACES)
def test_all_that_their_clients_ask(peer, options):
    with our_name_server(peer, **options):
        ask = peer.do
        assert ask("ns.ping()") is None
        assert ask("ns.count()") == 1
        assert ask("ns.register('a.one', one, metadata=['t', 'u'])", one=ONE) is None
        assert ask("ns.register('a.two', URI(two), metadata={'t'})", two=TWO) is None
        assert ask("ns.register('b', one, True)") is None
        with pytest.raises(PeerError, match="name already registered: b") as failed:
            ask("ns.register('b', two, safe=True)")
        assert failed.value.name == f"{peer.package}.errors.NamingError"

        one, two = uri_there(peer, ONE), uri_there(peer, TWO)
        both = tags_there(peer, "t", "u")
        assert ask("ns.lookup('a.one')") == one
        assert ask("ns.lookup('a.two', True)") == (two, tags_there(peer, "t"))
        assert ask("ns.lookup('b', return_metadata=True)") == (one, tags_there(peer))
        with pytest.raises(PeerError, match="unknown name: none") as failed:
            ask("ns.lookup('none')")
        assert failed.value.name == f"{peer.package}.errors.NamingError"

        assert ask("ns.list().keys() - {'Pyro.NameServer'}") == {"a.one", "a.two", "b"}
        assert ask("ns.list(prefix='a.')") == {"a.one": ONE, "a.two": TWO}
        assert ask("ns.list(regex='.*o')") == {"a.one": ONE, "a.two": TWO} | ask("ns.list('P')")
        assert ask("ns.list(prefix='a.o', return_metadata=True)") == {"a.one": (ONE, both)}
        assert ask("ns.list('b', return_metadata=True)") == {"b": (ONE, tags_there(peer))}
        with pytest.raises(PeerError, match=r"builtins.ValueError: you can only filter on one"):
            ask("ns.list(prefix='a', regex='a')")
        with pytest.raises(PeerError, match=r"errors.NamingError: invalid regex"):
            ask("ns.list(regex='(')")

        ask("ns.set_metadata('b', ('u', 'v'))")
        assert ask("ns.lookup('b', True)[1]") == tags_there(peer, "u", "v")
        with pytest.raises(PeerError, match="unknown name: none"):
            ask("ns.set_metadata('none', [])")
        ask("ns.set_metadata('b', None)")
        assert ask("ns.lookup('b', True)[1]") == tags_there(peer)

        assert ask("ns.remove('b')") == 1
        assert ask("ns.remove('b')") == 0
        assert ask("ns.remove('Pyro.NameServer')") == 0
        assert ask("ns.remove(prefix='a.o')") == 1
        assert ask("ns.remove(regex='.*')") == 1
        assert ask("ns.count()") == 1


def test_searching_by_tags(peer):
    """Each package has its own way, and neither has to know that there is another."""
    with our_name_server(peer):
        ask = peer.do
        ask("ns.register('one', uri, metadata=['t', 'u'])", uri=ONE)
        ask("ns.register('two', uri, metadata=['t'])", uri=TWO)
        found_one = {"one": (ONE, tags_there(peer, "t", "u"))}
        found_both = {**found_one, "two": (TWO, tags_there(peer, "t"))}
        if peer.package == PYRO5:
            assert ask("ns.yplookup(['t', 'u'])") == found_one
            assert ask("ns.yplookup(meta_any={'u', 't'})") == found_both
            assert ask("ns.yplookup(meta_any=('u',), return_metadata=False)") == {"one": ONE}
            assert ask("ns.yplookup(meta_all={'none'})") == {}
            assert ask("ns.yplookup([])") == {}
            assert ask("ns.list(None, None, True)['one']") == found_one["one"]
            with pytest.raises(PeerError, match="ValueError"):
                ask("ns.yplookup(['t'], ['u'])")
        else:
            assert ask("ns.list(metadata_all={'t', 'u'})") == {"one": ONE}
            assert ask("ns.list(metadata_all=['t'], return_metadata=True)") == found_both
            assert ask("ns.list(metadata_any=['u', 'v'])") == {"one": ONE}
            assert ask("ns.list(None, None, ['u'])") == {"one": ONE}
            assert ask("ns.list(None, None, None, ['t'], True)") == found_both
            assert ask("ns.list(metadata_all=['none'])") == {}
            assert len(ask("ns.list(metadata_all=[])")) == 3  # so it is there: everything
            with pytest.raises(PeerError, match="ValueError: you can only filter on one thing"):
                ask("ns.list(metadata_all=['t'], metadata_any=['u'])")
            with pytest.raises(PeerError, match="TypeError: metadata should not be a str"):
                ask("ns.list(metadata_all='t')")


@pytest.mark.parametrize("serializer", ["json", "msgpack", "marshal"])
def test_other_serializers(peer, serializer):
    accepting = changed_settings(SERIALIZERS_ACCEPTED=["serpent", "json", "msgpack", "marshal"])
    with our_name_server(peer, serializer=serializer, settings=accepting):
        peer.do("ns.register('one', uri, metadata=['t'])", uri=ONE)
        peer.do("ns.register('two', uri)", uri=TWO)
        found = peer.do("ns.list(return_metadata=True)")
        assert [list(map(plain, found[name])) for name in ("one", "two")] == [
            [ONE, ["t"]], [TWO, []]
        ]  # fmt: skip
        assert list(map(plain, peer.do("ns.lookup('one', True)")))[1] == ["t"]
        assert peer.do("str(URI(ns.lookup('two')))") == TWO
        assert peer.do("ns.remove(regex='one|two')") == 2


def plain(value):
    return value if isinstance(value, str) else list(value)


def test_what_clients_of_pyro_may_not_do(peer):
    with our_name_server(peer):
        for piece in (
            "ns.register('Pyro.mine', uri)", "ns.register('Pyro.NameServer', uri)",
            "ns.register('', uri)", "ns.register('x', 'http://localhost')",
        ):  # fmt: skip
            with pytest.raises(PeerError) as failed:
                peer.do(piece, uri=ONE)
            assert failed.value.name == f"{peer.package}.errors.NamingError"
        for piece in (
            "ns.register('x', uri, metadata='tag')", "ns.register('x', 7)",
            "ns.register(7, uri)", "ns.set_metadata('x', 'tag')",
        ):  # fmt: skip
            with pytest.raises(PeerError, match=r"^builtins\.TypeError"):
                peer.do(piece)
        assert peer.do("ns.count()") == 1


def test_advice_is_for_those_who_know_what_it_is(peer):
    """Our name server answers with a text if a URI is of no use to others; theirs with nothing."""
    with our_name_server(peer, host="0.0.0.0"):
        assert peer.do("ns.register('x', 'PYRO:x@localhost:5')") is None


def test_their_proxies_for_names_lead_to_our_objects(peer):
    with our_name_server(peer) as names, serving() as (_, uri), names.locate() as ns:
        ns.register("thing", uri, metadata={"red", "thing"})
        peer.do("config.NS_PORT = port", port=names.port)
        assert peer.do("pyro.Proxy('PYRONAME:thing').where()") == "pyroipc"
        assert peer.do("pyro.Proxy('PYROMETA:red,thing').where()") == "pyroipc"
        assert peer.do("pyro.resolve('PYRONAME:thing')") == uri_there(peer, uri)
        with pytest.raises(PeerError, match="NamingError"):
            peer.do("pyro.Proxy('PYROMETA:blue').where()")


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_their_objects_are_found_and_called_by_us(peer, unix):
    with our_name_server(peer) as names, directory() as where:
        options = {"unixsocket": f"{where}/thing.sock"} if unix else {"host": "localhost"}
        peer.do("ns.register('thing', serve(**options), metadata=['red'])", options=options)
        for text in ("PYRONAME:thing", "PYROMETA:red"):
            with names.proxy(text) as proxy:
                assert proxy.where() == peer.package
                assert proxy._pyroConnection.dialect == peer.package.lower()


def test_their_clients_find_us_by_broadcast(peer):
    with name_server("0.0.0.0") as names:
        port = names.port
        with BroadcastServer(f"PYRO:Pyro.NameServer@0.0.0.0:{port}", "127.0.0.1", 0) as responder:
            responder.runInThread()
            peer.do("config.NS_BCPORT = port", port=responder.getPort())
            assert peer.do("str(locate()._pyroUri)") == f"PYRO:Pyro.NameServer@127.0.0.1:{port}"
            assert peer.do("locate().count()") == 1
            with serving() as (_, uri):
                peer.do("locate().register('thing', uri)", uri=str(uri))
                assert peer.do("pyro.Proxy('PYRONAME:thing').where()") == "pyroipc"


def test_behind_a_router(peer):
    with our_name_server(peer, host="127.0.0.1", nathost="192.0.2.9", natport=99):
        uri = "PYRO:Pyro.NameServer@192.0.2.9:99"
        assert peer.do("ns.lookup('Pyro.NameServer')") == uri_there(peer, uri)
        assert peer.do("ns.list()") == {"Pyro.NameServer": uri}


def test_a_key_of_both_ends(consoles):
    peer = consoles[PYRO4]
    peer.do("config.reset()")
    with name_server(hmac_key=KEY, client={"HMAC_KEY": KEY}) as names:
        place = names.host, names.port
        peer.do("ns = locate(*place, hmac_key=key)", place=place, key=KEY.encode())
        peer.do("ns.register('x', uri)", uri=ONE)
        assert peer.do("ns.lookup('x')") == uri_there(peer, ONE)
        peer.do("ns._pyroRelease()")
        for key in (None, b"another"):
            with pytest.raises(PeerError, match="Failed to locate the nameserver"):
                peer.do("locate(*place, hmac_key=key)", key=key)
        with names.locate() as ns:
            assert str(ns.lookup("x")) == ONE


def test_their_command_nsc(peer):
    """Some commands as processes of their own; the others need no more than their first line."""
    with name_server() as names, names.locate() as ns:
        ns.register("a.one", ONE, metadata={"red"})
        where = ["-n", names.host, "-p", str(names.port)]
        command = [sys.executable, "-W", "ignore", "-m", f"{peer.package}.nsc", *where]
        living = [
            subprocess.Popen(
                [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for arguments in (["ping"], ["list", "a."])
        ]
        out = [process.communicate(timeout=15)[0].splitlines() for process in living]
        tags = "['red']" if peer.package == PYRO4 else "{'red'}"
        entry = [f"a.one --> {ONE}", f"    metadata: {tags}"]
        assert out[0] == ["Name server ping ok."]
        assert out[1][1:-1] == entry

        def printed(*arguments):
            return peer.do("printed(*arguments)", arguments=(*where, *arguments))

        all_of, any_of = ("listmeta_all", "listmeta_any")
        if peer.package == PYRO5:
            all_of, any_of = ("yplookup_all", "yplookup_any")
        assert printed("listmatching", ".*one")[1:-1] == entry
        assert printed(all_of, "red")[1:-1] == entry
        assert printed(any_of, "blue", "red")[1:-1] == entry
        assert printed("lookup", "a.one") == [ONE, f"metadata: {tags}"]
        assert printed("register", "b", TWO) == ["Registered b"]
        assert printed("setmeta", "a.one", "red", "blue") == ["Metadata updated"]
        assert ns.lookup("a.one", True) == (pyroipc.URI(ONE), {"red", "blue"})
        assert printed("setmeta", "a.one") == ["Metadata cleared"]
        assert printed("remove", "b") == ["Removed b"]
        assert printed("remove", "b") == ["Nothing removed"]
        done = subprocess.run(
            [*command, "removematching", "a"], input="y\n", capture_output=True, text=True
        )
        assert done.stdout.endswith("1 items removed.\n")
        assert ns.count() == 1


def test_tls(tmp_path, consoles):
    peer = consoles[PYRO5]
    authority = Authority(tmp_path)
    identity = authority.issue("localhost", "127.0.0.1")
    safe = changed_settings(
        SSL=True, SSL_SERVERCERT=identity.certificate, SSL_SERVERKEY=identity.key
    )
    with name_server(settings=safe) as names:
        peer.do(
            "config.reset(); config.SSL = True; config.SSL_CACERTS = file", file=authority.file
        )
        peer.do("ns = locate('localhost', port)", port=names.port)
        assert peer.do("ns.count()") == 1
        peer.do("ns._pyroRelease(); config.reset()")


def test_pickle_where_it_is_allowed(consoles):
    """Pyro4 with pickle, over a unix socket: then tags are what the name server makes of them."""
    with directory() as where, name_server(unixsocket=f"{where}/ns.sock") as names:
        peer = consoles[PYRO4]
        peer.do("config.reset(); config.SERIALIZER = 'pickle'")
        peer.do("config.SERIALIZERS_ACCEPTED.add('pickle'); ns = locate(place)",
                place=names.location)  # fmt: skip
        peer.do("ns.register('x', URI(uri), metadata={'t'})", uri=ONE)
        assert peer.do("ns.lookup('x', True)") == (uri_there(peer, ONE), ["t"])
        assert peer.do("ns.list(metadata_all={'t'}, return_metadata=True)") == {"x": (ONE, ["t"])}
        peer.do("ns._pyroRelease(); config.reset()")

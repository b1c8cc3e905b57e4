"""Pyro5's names on pyroipc: all that are public are there, and programs that use them run."""

from __future__ import annotations

import pytest

from tests.support.certificates import Authority
from tests.support.public_names import described, differences
from tests.support.pyro_programs import PYROIPC, output_of, running
from tests.support.snippets import ROOT

PROGRAMS = ROOT / "tests" / "interop" / "pyro5_programs"
MODULES = (
    "", "api", "callcontext", "client", "compatibility", "configure", "core", "errors",
    "nameserver", "nsc", "protocol", "serializers", "server", "socketutil", "svr_existingconn",
    "svr_multiplex", "svr_threads", "utils", "utils.echoserver", "utils.httpgateway",
)  # fmt: skip

_LOOP = "the loops of pyroipc are others; none of its parts is for users"
_STORAGE = "a storage is chosen by its text, in all of Pyro and here"
_INSIDE = "a step inside of a serializer, which is done in another way here"
_MESSAGES = "a daemon of pyroipc does not hand single messages to a method"
_PATTERN = "URIs are not read with one regular expression here"
_BY_PLACE = "a decorator: nobody gives it its argument by name"
_INTERNAL = "what Pyro5 itself calls: members are learned, and batches sent, in another way here"

_GATEWAY = "a step inside of the gateway, which is another one here"
# Not among the modules: compatibility.Pyro4. There is all of Pyro4 in it here, which is compared
# with Pyro4 itself.

EXCEPTIONS = {
    **{
        f"utils.httpgateway.{name}": _GATEWAY
        for name in (
            "cors_response_header",
            "get_nameserver",
            "index_page_template",
            "invalid_request",
            "not_found",
            "option_request",
            "process_pyro_request",
            "redirect",
            "return_homepage",
            "singlyfy_parameters",
        )
    },
    "svr_existingconn": _LOOP,
    "svr_multiplex": _LOOP,
    "svr_threads": _LOOP,
    "api.BatchProxy._pyroInvoke": _INTERNAL,
    "api.Daemon.handleRequest": _MESSAGES,
    "api.Proxy._pyroGetMetadata": _INTERNAL,
    "api.URI.uriRegEx": _PATTERN,
    "api.expose": _BY_PLACE,
    "client.BatchProxy._pyroInvoke": _INTERNAL,
    "client.Proxy._pyroGetMetadata": _INTERNAL,
    "core.URI.uriRegEx": _PATTERN,
    "nameserver.AutoCleaner": "started by NS_AUTOCLEAN; none of its parts is for users",
    "nameserver.BroadcastServer": "its ipv6 makes no sense: there are no broadcasts with IPv6",
    "nameserver.BroadcastServer.TransportServerAdapter": _LOOP,
    "nameserver.MemoryStorage": _STORAGE,
    "nameserver.NameServer": "made by NameServerDaemon, from the text that names a storage",
    "nameserver.NameServer.list": "takes the filters of Pyro4, too; a bool in their place is ours",
    "nameserver.NameServerDaemon.handleRequest": _MESSAGES,
    "nameserver.SqlStorage": _STORAGE,
    "serializers.JsonSerializer.default": _INSIDE,
    "serializers.MarshalSerializer.convert_obj_into_marshallable": _INSIDE,
    "serializers.MsgpackSerializer.default": _INSIDE,
    "serializers.MsgpackSerializer.ext_hook": _INSIDE,
    "serializers.MsgpackSerializer.object_hook": _INSIDE,
    "serializers.all_exceptions": "what may be rebuilt is a matter of pyroipc.serializers",
    "serializers.name": "left over from a loop at the end of Pyro5's module",
    "serializers.pyro_class_serpent_serializer": _INSIDE,
    "serializers.serialize_pyro_object_to_dict": _INSIDE,
    "serializers.t": "left over from a loop at the end of Pyro5's module",
    "server.Daemon.handleRequest": _MESSAGES,
    "server.expose": _BY_PLACE,
}


@pytest.fixture(scope="module")
def found():
    real = described("Pyro5", MODULES, shim=False)
    return real, described("Pyro5", MODULES, shim=True)


def test_all_public_names_are_there(found):
    different = differences(*found)
    assert {path: what for path, what in different.items() if path not in EXCEPTIONS} == {}


def test_no_exception_is_without_need(found):
    assert sorted(EXCEPTIONS.keys() - differences(*found).keys()) == []


def test_the_comparison_sees_what_is_wrong(found):
    """A comparison that never finds anything would prove nothing."""
    real, shim = found
    broken = {**shim, "server": dict(shim["server"])}
    del broken["server"]["oneway"]
    first, *rest = shim["server"]["serve"]["parameters"]
    broken["server"]["serve"] = {"parameters": [("things", *first[1:]), *rest]}
    broken["protocol"] = {**shim["protocol"], "PROTOCOL_VERSION": {"value": "48"}}
    unusual = differences(real, broken).keys() - differences(real, shim).keys()
    assert unusual == {"server.oneway", "server.serve", "protocol.PROTOCOL_VERSION"}
    assert len(real["api"]) >= 24


# --------------------------------------------------------------------------------- programs

PEERS = [(PYROIPC, PYROIPC), ("Pyro5", "Pyro5"), (PYROIPC, "Pyro5"), ("Pyro5", PYROIPC)]
"""On what the server runs, and on what the client does."""
_ALWAYS = {
    "calls", "oneways", "exceptions", "streams", "classes", "annotations", "instances",
    "handshakes", "daemons", "proxies",
}  # fmt: skip
_MORE = {"attributes", "batches", "autoproxies", "callbacks"}
WHAT_WORKS = {
    "serpent": {*_ALWAYS, *_MORE, "blobs"},
    "json": {*_ALWAYS, *_MORE},
    "marshal": {*_ALWAYS, "blobs"},
    "msgpack": {*_ALWAYS, *_MORE, "blobs"},
}


def talk(server_on, client_on, serializer, *where, dialect=None, **settings):
    program = PROGRAMS / "server.py"
    with running(server_on, "Pyro5", program, *where, environment=settings) as server:
        uri = server.read_until(r"^uri: (\S+)\n")[1]
        program, chosen = PROGRAMS / "client.py", {"PYRO_DIALECT": dialect} if dialect else None
        lines = output_of(client_on, "Pyro5", program, uri, serializer, environment=chosen)
        server.read_until("a client is gone")
    assert "Traceback" not in server.printed
    return set(lines)


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_over_tcp(server, client, serializer):
    assert talk(server, client, serializer, "tcp") == WHAT_WORKS[serializer]


@pytest.mark.parametrize("serializer", ["serpent", "marshal"])
@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_over_a_unix_socket(server, client, serializer, tmp_path):
    where = ("unix", tmp_path / "s")
    assert talk(server, client, serializer, *where) == WHAT_WORKS[serializer]


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_programs_that_speak_natively_with_each_other(serializer):
    found = talk(PYROIPC, PYROIPC, serializer, "tcp", dialect="native")
    assert found == WHAT_WORKS[serializer]


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_a_server_that_does_one_thing_after_the_other(server, client):
    found = talk(server, client, "serpent", "tcp", PYRO_SERVERTYPE="multiplex")
    assert found == WHAT_WORKS["serpent"]


@pytest.mark.parametrize("on", [PYROIPC, "Pyro5"])
def test_both_ends_over_a_socket_pair(on):
    assert output_of(on, "Pyro5", PROGRAMS / "pair.py") == ["pair"]


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_with_a_name_server(server, client):
    with running(server, "Pyro5", "-m", "Pyro5.nameserver", "-p", "0", "-x") as names:
        port = names.read_until(r"^URI = PYRO:Pyro.NameServer@localhost:(\d+)\n")[1]
        with running(server, "Pyro5", PROGRAMS / "server.py", "tcp", port) as shop:
            shop.read_until("^uri: ")
            environment = {"PYRO_NS_PORT": port}
            program = PROGRAMS / "client.py"
            assert output_of(client, "Pyro5", program, "names", environment=environment) == [
                "names"
            ]


@pytest.mark.parametrize(
    ("server", "client", "dialect"),
    [*((*peers, {}) for peers in PEERS), (PYROIPC, PYROIPC, {"PYRO_DIALECT": "native"})],
)
def test_programs_with_tls_look_at_certificates(server, client, dialect, tmp_path):
    authority = Authority(tmp_path)
    own = authority.issue("localhost", common_name="the safe")
    ann, bob = (authority.issue(f"{name}.test", common_name=name) for name in ("ann", "bob"))
    tls = {"PYRO_SSL": "true", "PYRO_SSL_CACERTS": str(authority.file)}
    server_side = {
        "PYRO_SSL_SERVERCERT": own.certificate,
        "PYRO_SSL_SERVERKEY": own.key,
        "PYRO_SSL_REQUIRECLIENTCERT": "true",
    }
    program = PROGRAMS / "safe.py"
    with running(server, "Pyro5", program, "serve", environment=tls | server_side) as serving:
        uri = serving.read_until(r"^uri: (\S+)\n")[1]

        def shown_to(who):
            mine = {"PYRO_SSL_CLIENTCERT": who.certificate, "PYRO_SSL_CLIENTKEY": who.key}
            around = tls | mine | dialect
            with running(client, "Pyro5", program, uri, environment=around) as calling:
                return calling.end(), calling.printed

        assert shown_to(ann) == (0, "gold\n")
        status, printed = shown_to(bob)
    assert status == 1
    assert "bob is not on the list" in printed


def test_marshal_over_a_network_is_refused_with_an_explanation():
    """Pyro5 lets anybody send it, and it can crash the interpreter that reads it."""
    with running(PYROIPC, "Pyro5", PROGRAMS / "server.py", "tcp") as server:
        uri = server.read_until(r"^uri: (\S+)\n")[1]
        with running(PYROIPC, "Pyro5", PROGRAMS / "client.py", uri, "marshal") as client:
            assert client.end() == 1
    assert "serializer that is not accepted: 2 (marshal); accepted are json," in client.printed


def test_marshal_over_a_network_has_to_be_named():
    accepted = {"PYRO_SERIALIZERS_ACCEPTED": "serpent, marshal"}
    assert talk(PYROIPC, PYROIPC, "marshal", "tcp", **accepted) == WHAT_WORKS["marshal"]

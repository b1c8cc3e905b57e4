"""Pyro4's names on pyroipc: all that are public are there, and programs that use them run."""

from __future__ import annotations

import signal

import pytest

import pyroipc
from tests.support.certificates import Authority
from tests.support.public_names import described, differences
from tests.support.pyro_programs import PYROIPC, output_of, running
from tests.support.snippets import ROOT

PROGRAMS = ROOT / "tests" / "interop" / "pyro4_programs"
MODULES = (
    "", "configuration", "constants", "core", "errors", "futures", "message", "naming",
    "naming_storage", "nsc", "socketserver", "socketutil", "test", "test.echoserver", "util",
    "utils", "utils.flame", "utils.flameserver", "utils.httpgateway",
)  # fmt: skip

_BY_PLACE = "a decorator: nobody gives it its argument by name"
_PATTERN = "URIs are not read with one regular expression here"
_INSIDE = "a step inside of a serializer, which is done in another way here"
_LOOP = "the loops of pyroipc are others; none of its parts is for users"
_NO_TIMEOUT = "the default is an object that only says that nothing was given, there and here"
_LEFT_OVER = "left over from a loop at the end of Pyro4's module"
_PARTS = "__all__ names pyro_app and main; the parts of the gateway are others here"

EXCEPTIONS = {
    "URI.uriRegEx": _PATTERN,
    "core.URI.uriRegEx": _PATTERN,
    "core.expose": _BY_PLACE,
    "core.pyroObjectToAutoProxy": _INSIDE,
    "core.pyro_class_serpent_serializer": _INSIDE,
    "core.serialize_core_object_to_dict": _INSIDE,
    "expose": _BY_PLACE,
    "naming.AutoCleaner": "started by NS_AUTOCLEAN; none of its parts is for users",
    "naming.BroadcastServer.TransportServerAdapter": _LOOP,
    "socketserver": _LOOP,
    "socketutil.createBroadcastSocket": _NO_TIMEOUT,
    "socketutil.createSocket": _NO_TIMEOUT,
    "util.JsonSerializer.default": _INSIDE,
    "util.MarshalSerializer.convert_obj_into_marshallable": _INSIDE,
    "util.MarshalSerializer.marshalable_types": _INSIDE,
    "util.MsgpackSerializer.default": _INSIDE,
    "util.MsgpackSerializer.ext_hook": _INSIDE,
    "util.MsgpackSerializer.object_hook": _INSIDE,
    "util.fixIronPythonExceptionForPickle": "for an IronPython that has no Python 3",
    "util.name": _LEFT_OVER,
    "util.t": _LEFT_OVER,
    "utils.httpgateway.index_page_template": _PARTS,
    "utils.httpgateway.invalid_request": _PARTS,
    "utils.httpgateway.not_found": _PARTS,
    "utils.httpgateway.process_pyro_request": _PARTS,
    "utils.httpgateway.redirect": _PARTS,
    "utils.httpgateway.return_homepage": _PARTS,
    "utils.httpgateway.singlyfy_parameters": _PARTS,
}


@pytest.fixture(scope="module")
def found():
    real = described("Pyro4", MODULES, shim=False)
    return real, described("Pyro4", MODULES, shim=True)


def test_all_public_names_are_there(found):
    different = differences(*found)
    assert {path: what for path, what in different.items() if path not in EXCEPTIONS} == {}


def test_no_exception_is_without_need(found):
    assert sorted(EXCEPTIONS.keys() - differences(*found).keys()) == []


def test_the_comparison_sees_what_is_wrong(found):
    """A comparison that never finds anything would prove nothing."""
    real, shim = found
    broken = {**shim, "naming": dict(shim["naming"]), "core": dict(shim["core"])}
    del broken["naming"]["startNSloop"]
    first, *rest = shim["naming"]["startNS"]["parameters"]
    broken["naming"]["startNS"] = {"parameters": [("where", *first[1:]), *rest]}
    daemon = shim["core"]["Daemon"]
    members = {**daemon["members"], "serveSimple": {"parameters": []}}
    broken["core"]["Daemon"] = {**daemon, "members": members}
    broken["constants"] = {**shim["constants"], "PROTOCOL_VERSION": {"value": "47"}}
    unusual = differences(real, broken).keys() - differences(real, shim).keys()
    assert unusual == {
        "naming.startNSloop", "naming.startNS", "core.Daemon.serveSimple",
        "constants.PROTOCOL_VERSION",
    }  # fmt: skip
    assert len(real["message"]) >= 14


# --------------------------------------------------------------------------------- programs

PEERS = [(server, client) for server in (PYROIPC, "Pyro4") for client in (PYROIPC, "Pyro4")]
"""On what the server runs, and on what the client does."""
_ALWAYS = {
    "calls", "oneways", "asynchronous", "futures", "exceptions", "streams", "classes",
    "annotations", "instances", "handshakes", "daemons", "proxies",
}  # fmt: skip
_MORE = {"attributes", "batches", "autoproxies", "callbacks"}
WHAT_WORKS = {
    "serpent": {*_ALWAYS, *_MORE, "blobs"},
    "json": {*_ALWAYS, *_MORE},
    "marshal": {*_ALWAYS, "blobs"},
    "msgpack": {*_ALWAYS, *_MORE, "blobs"},
    "pickle": {*_ALWAYS, *_MORE, "blobs"},
}


def talk(server_on, client_on, serializer, *where, environment=None):
    program = PROGRAMS / "server.py"
    with running(server_on, "Pyro4", program, *where, environment=environment) as server:
        uri = server.read_until(r"^uri: (\S+)\n")[1]
        lines = output_of(client_on, "Pyro4", PROGRAMS / "client.py", uri, serializer)
        server.read_until("a client is gone")
    assert "Traceback" not in server.printed
    return set(lines)


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_over_tcp(server, client, serializer):
    assert talk(server, client, serializer, "tcp") == WHAT_WORKS[serializer]


@pytest.mark.parametrize("serializer", ["serpent", "marshal", "pickle"])
@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_over_a_unix_socket(server, client, serializer, tmp_path):
    accepted = {"GARDEN_SERIALIZERS": serializer}
    where = ("unix", tmp_path / "s")
    assert talk(server, client, serializer, *where, environment=accepted) == WHAT_WORKS[serializer]


@pytest.mark.parametrize("on", [PYROIPC, "Pyro4"])
def test_both_ends_over_a_socket_pair_with_pickle(on):
    assert output_of(on, "Pyro4", PROGRAMS / "pair.py") == ["pair"]


@pytest.mark.parametrize("on", [PYROIPC, "Pyro4"])
def test_flame_over_a_unix_socket(on, tmp_path):
    assert output_of(on, "Pyro4", PROGRAMS / "flames.py", tmp_path / "s") == ["flames"]


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_with_a_name_server(server, client):
    with running(server, "Pyro4", "-m", "Pyro4.naming", "-p", "0", "-x") as names:
        port = names.read_until(r"^URI = PYRO:Pyro.NameServer@localhost:(\d+)\n")[1]
        with running(server, "Pyro4", PROGRAMS / "server.py", "tcp", port) as garden:
            garden.read_until("^uri: ")
            environment = {"PYRO_NS_PORT": port}
            program = PROGRAMS / "client.py"
            lines = output_of(client, "Pyro4", program, "names", environment=environment)
            assert lines == ["names"]


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_with_a_key(server, client):
    key = {"GARDEN_KEY": "open sesame"}
    with running(server, "Pyro4", PROGRAMS / "server.py", "tcp", environment=key) as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        program = PROGRAMS / "client.py"
        assert output_of(client, "Pyro4", program, "key", "open sesame", uri) == ["sesame"]
        with running(client, "Pyro4", program, "key", "open barley", uri) as stranger:
            assert stranger.end() == 1
    assert "Error" in stranger.printed
    assert "sesame\n" not in stranger.printed


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_programs_with_tls_look_at_certificates(server, client, tmp_path):
    authority = Authority(tmp_path)
    own = authority.issue("localhost", common_name="the garden")
    ann, bob = (authority.issue(f"{name}.test", common_name=name) for name in ("ann", "bob"))
    tls = {"PYRO_SSL": "true", "PYRO_SSL_CACERTS": str(authority.file)}
    server_side = {
        "PYRO_SSL_SERVERCERT": own.certificate,
        "PYRO_SSL_SERVERKEY": own.key,
        "PYRO_SSL_REQUIRECLIENTCERT": "true",
    }
    program = PROGRAMS / "gate.py"
    with running(server, "Pyro4", program, "serve", environment=tls | server_side) as serving:
        uri = serving.read_until(r"^uri: (\S+)\n")[1]

        def shown_to(who):
            mine = {"PYRO_SSL_CLIENTCERT": who.certificate, "PYRO_SSL_CLIENTKEY": who.key}
            with running(client, "Pyro4", program, uri, environment=tls | mine) as calling:
                return calling.end(), calling.printed

        assert shown_to(ann) == (0, "open\n")
        status, printed = shown_to(bob)
    assert status == 1
    assert "bob has no key" in printed


@pytest.mark.parametrize(("server", "client"), PEERS)
def test_the_excepthook_shows_the_remote_traceback(server, client):
    with running(server, "Pyro4", PROGRAMS / "server.py", "tcp") as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        with running(client, "Pyro4", PROGRAMS / "client.py", "hook", uri) as failing:
            assert failing.end() == 1
    _, remote = failing.printed.split(
        " +--- This exception occured remotely (Pyro) - Remote traceback:\n"
    )
    assert "return a / b" in remote
    assert remote.endswith(
        " | ZeroDivisionError: division by zero\n +--- End of remote traceback\n"
    )


def test_a_server_ends_its_loop_at_ctrl_c_and_goes_on():
    with running(PYROIPC, "Pyro4", PROGRAMS / "server.py", "tcp") as garden:
        with pyroipc.Proxy(garden.read_until(r"^uri: (\S+)\n")[1]) as proxy:
            assert proxy.same(1) == 1  # so the loop runs
        garden.process.send_signal(signal.SIGINT)
        assert garden.end() == 0
    assert garden.printed.endswith("closed\n")


@pytest.mark.parametrize("dialect", ["pyro4", "auto"])
def test_pickle_is_refused_over_tcp_with_an_explanation(dialect):
    """A program for Pyro4 knows SERIALIZERS_ACCEPTED; that is not what decides here."""
    accepted = {"GARDEN_SERIALIZERS": "pickle"}
    with running(PYROIPC, "Pyro4", PROGRAMS / "server.py", "tcp", environment=accepted) as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        command = (PYROIPC, "Pyro4", PROGRAMS / "client.py", uri, "pickle")
        with running(*command, environment={"PYRO_DIALECT": dialect}) as client:
            assert client.end() == 1
    assert "SecurityError" in client.printed
    assert "on purpose, and SERIALIZERS_ACCEPTED does not change that" in client.printed
    assert "Use serpent or msgpack" in client.printed
    assert "unix socket" in client.printed


def test_pickle_of_the_real_pyro4_is_refused_over_tcp():
    accepted = {"GARDEN_SERIALIZERS": "pickle"}
    with running(PYROIPC, "Pyro4", PROGRAMS / "server.py", "tcp", environment=accepted) as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        with running("Pyro4", "Pyro4", PROGRAMS / "client.py", uri, "pickle") as client:
            assert client.end() == 1
    assert "what it loads can run code" in client.printed
    assert "SERIALIZERS_ACCEPTED names pickle" in garden.printed


@pytest.mark.parametrize("client", [PYROIPC, "Pyro4"])
def test_marshal_over_tcp_has_to_be_named(client):
    """In Pyro4 it is accepted by default."""
    accepted = {"GARDEN_SERIALIZERS": "marshal"}
    assert talk(PYROIPC, client, "marshal", "tcp", environment=accepted) == WHAT_WORKS["marshal"]
    with running(PYROIPC, "Pyro4", PROGRAMS / "server.py", "tcp") as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        with running(client, "Pyro4", PROGRAMS / "client.py", uri, "marshal") as refused:
            assert refused.end() == 1
    assert "marshal" in refused.printed
    assert "not accepted" in refused.printed


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_programs_that_speak_the_native_dialect(serializer):
    program, native = PROGRAMS / "server.py", {"PYRO_DIALECT": "auto"}
    with running(PYROIPC, "Pyro4", program, "tcp", environment=native) as garden:
        uri = garden.read_until(r"^uri: (\S+)\n")[1]
        command = (PYROIPC, "Pyro4", PROGRAMS / "client.py", uri, serializer)
        assert set(output_of(*command, environment=native)) == WHAT_WORKS[serializer]


@pytest.mark.parametrize("program", ["pair.py", "flames.py"])
def test_programs_on_one_machine_that_speak_the_native_dialect(program, tmp_path):
    command = (PYROIPC, "Pyro4", PROGRAMS / program, tmp_path / "s")
    assert output_of(*command, environment={"PYRO_DIALECT": "auto"}) == [program[:-3]]

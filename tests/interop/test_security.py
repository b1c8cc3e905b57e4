"""HMAC keys, TLS and pickle between pyroipc and the released packages."""

from __future__ import annotations

import contextlib

import pytest

import pyroipc
from tests.interop.peers.library import KEY, OURS, PYRO4, PYRO5
from tests.support.daemons import authority, settings
from tests.support.pyro_peers import new_name, play, server, serving

# --- keys ----------------------------------------------------------------------------------------

KEYED = [(OURS, PYRO4), (PYRO4, OURS), (PYRO4, PYRO4), (OURS, OURS)]


@pytest.mark.parametrize(("client", "host"), KEYED)
@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_the_right_key(client, host, serializer):
    place = server(host)
    key = {"HmacKey": KEY}
    basics, streams = place.uri(daemon="keyed"), place.uri("streams", "keyed")
    assert play(client, "call", basics, serializer, "add", 1, attributes=key) == 3
    told = play(client, "call", basics, serializer, "fail", "ValueError", attributes=key)
    assert (told["class"], told["args"]) == ("ValueError", ["boom", 5])
    assert play(client, "stream_with_key", streams, serializer, KEY) == [0, 1, 2]
    assert play(client, "oneway_with_key", basics, serializer, KEY, new_name()) is True


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO4), (PYRO4, OURS)])
def test_signed_annotations_and_compression(client, host, compression):
    uri = server(host).uri("contexts", "keyed")
    answer = play(
        client, "configured", {"COMPRESSION": compression}, "annotations_with_key", uri, KEY
    )
    assert answer == [{"ABCD": "x" * 300, "EFGH": ""}, {"RESP": "y" * 300}]


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO4), (PYRO4, OURS)])
def test_a_wrong_key(client, host):
    uri = server(host).uri(daemon="keyed")
    told = play(client, "call", uri, "serpent", "add", 1, attributes={"HmacKey": "another"})
    assert told["class"] in {"SecurityError", "CommunicationError"}
    assert "hmac" in told["args"][0].lower()


@pytest.mark.parametrize(("client", "host"), [(OURS, PYRO4), (PYRO4, OURS), (PYRO5, OURS)])
def test_a_client_without_a_key(client, host):
    told = play(client, "call", server(host).uri(daemon="keyed"), "serpent", "add", 1)
    assert told["class"] in {"SecurityError", "CommunicationError"}
    assert "hmac" in told["args"][0].lower()


@pytest.mark.parametrize("host", [PYRO4, OURS])
def test_a_server_without_a_key(host):
    for client in {OURS, PYRO4} - {host}:
        told = play(
            client, "call", server(host).uri(), "serpent", "add", 1, attributes={"HmacKey": KEY}
        )
        assert told["class"] in {"SecurityError", "CommunicationError", "ProtocolError"}
        assert "hmac" in told["args"][0].lower()


def test_a_key_for_a_pyro5():
    uri = server(PYRO5).uri()
    for proxy in (
        pyroipc.Proxy(uri, hmac_key=KEY),
        pyroipc.Proxy(uri, hmac_key=KEY, dialect="pyro5"),
    ):
        with proxy, pytest.raises(pyroipc.SecurityError, match="Pyro5's protocol knows no HMAC"):
            proxy.add(1)


def test_a_pyro5_at_a_daemon_with_a_key_reads_why_it_is_refused():
    told = play(PYRO5, "call", server(OURS).uri(daemon="keyed"), "serpent", "add", 1)
    assert told["class"] == "CommunicationError"
    assert "rejected" in told["args"][0]
    assert "HMAC key" in told["args"][0]


def test_a_message_whose_signature_is_wrong_ends_the_connection():
    uri = server(OURS).uri(daemon="keyed")
    told, after = play(PYRO4, "change_key", uri, "serpent", KEY, "another")
    assert told == "ConnectionClosedError"
    assert after == 3


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates():
    at_server = authority().issue("localhost", "127.0.0.1")
    of_client = authority().issue("client@localhost", common_name="a client")
    return {
        "SSL": True,
        "SSL_SERVERCERT": at_server.certificate,
        "SSL_SERVERKEY": at_server.key,
        "SSL_CLIENTCERT": of_client.certificate,
        "SSL_CLIENTKEY": of_client.key,
        "SSL_CACERTS": authority().file,
    }


@pytest.fixture(scope="module", params=[False, True], ids=["one way", "both ways"])
def tls(request, certificates):
    with contextlib.ExitStack() as stack:
        changed = {**certificates, "SSL_REQUIRECLIENTCERT": request.param}
        yield {
            host: stack.enter_context(serving(host, settings=changed))
            for host in (PYRO5, PYRO4, OURS)
        }


@pytest.mark.parametrize(
    ("client", "host"), [(OURS, PYRO5), (OURS, PYRO4), (PYRO5, OURS), (PYRO4, OURS)]
)
def test_tls(tls, certificates, client, host):
    place = tls[host]
    for scenario, uri in (("calls", place.uri()), ("streams", place.uri("streams"))):
        found = play(client, "configured", certificates, scenario, uri, "serpent")
        assert found[0] in (42, [0, 1, 2])
    found = play(client, "configured", certificates, "large", place.uri(), "msgpack", 300_000)
    assert found == [300_000, 300_000, 3]


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_client_without_tls(tls, client):
    told = play(client, "call", tls[OURS].uri(), "serpent", "add", 1)
    assert told["class"] == "CommunicationError"
    assert "this daemon speaks TLS only" in told["args"][0]


@pytest.mark.parametrize("client", [PYRO5, PYRO4])
def test_a_server_without_tls(certificates, client):
    told = play(
        client, "configured", certificates, "call", server(OURS).uri(), "serpent", "add", 1
    )
    assert told["class"] == "CommunicationError"


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_a_server_of_pyro_without_tls(certificates, host):
    changed = settings(SSL=True, SSL_CACERTS=certificates["SSL_CACERTS"])
    proxy = pyroipc.Proxy(server(host).uri(), settings=changed)
    with pytest.raises(pyroipc.PyroError, match=r"TLS|SSL"):
        proxy.add(1)


@pytest.mark.parametrize("host", [PYRO5, PYRO4])
def test_a_server_of_pyro_with_tls_and_a_client_without(tls, host):
    proxy = pyroipc.Proxy(tls[host].uri())
    with pytest.raises(pyroipc.CommunicationError, match="cannot connect to"):
        proxy.add(1)


# --- pickle --------------------------------------------------------------------------------------


def test_pickle_over_tcp_is_refused_in_words_that_its_user_understands():
    told = play(PYRO4, "call", server(OURS).uri(), "pickle", "add", 1)
    assert told["class"] == "CommunicationError"
    text = told["args"][0]
    assert "rejected" in text
    assert "serializer 'pickle' is refused" in text
    assert "unix socket" in text


def test_pickle_over_tcp_is_not_sent_either():
    with pyroipc.Proxy(server(PYRO4).uri()) as proxy:
        with pytest.raises(pyroipc.SecurityError, match="'pickle' is refused"):
            proxy._pyroBind()
            proxy._pyroSerializer = "pickle"
        assert proxy.add(1) == 3


@pytest.fixture(scope="module")
def with_pickle(tmp_path_factory):
    path = tmp_path_factory.mktemp("pickle") / "daemon.sock"
    with serving(OURS, {"unix": {"unixsocket": str(path)}}) as place:
        yield place


def test_pickle_over_a_unix_socket(with_pickle):
    uri = with_pickle.uri(daemon="unix")
    found = play(PYRO4, "calls", uri, "pickle")
    assert found[0] == 42
    values = [(1, 2), {1, 2}, b"bytes", 2**70, {(1,): 2}, range(3), 1 + 2j]
    assert play(PYRO4, "echoes", uri, "pickle", values) == values
    told, after = play(PYRO4, "exception", uri, "pickle", "ValueError")
    assert (told["class"], told["args"], after) == ("ValueError", ["boom", 5], 3)
    assert told["custom"] == "attribute"
    assert play(PYRO4, "classes_by_pickle", uri, "pickle") == ["Point", -1, 2, True]
    assert play(PYRO4, "attributes", uri, "pickle")["after"] == [1, "two"]
    assert play(PYRO4, "batch", uri, "pickle", new_name())[0] == [3, 6, [[1], [["x", 2]]]]
    assert play(PYRO4, "streams", with_pickle.uri("streams", "unix"), "pickle")[0] == [0, 1, 2]
    references = with_pickle.uri("references", "unix")
    assert play(PYRO4, "autoproxies", references, "pickle")[2:] == ["hello from pyroipc"] * 2
    assert play(PYRO4, "proxies_and_uris", references, "pickle")["kind of proxy"] == [
        "proxy",
        "PYRO:other@localhost:1234",
    ]


def test_pickle_to_a_pyro4_over_a_unix_socket():
    with serving(PYRO4, {"unix": {"unixsocket": f"{authority().directory}/p.sock"}}) as place:
        uri = place.uri(daemon="unix")
        assert play(OURS, "calls", uri, "pickle")[0] == 42
        values = [(1, 2), {1, 2}, b"bytes", 2**70, {(1,): 2}, range(3), 1 + 2j]
        assert play(OURS, "echoes", uri, "pickle", values) == values
        told, after = play(OURS, "exception", uri, "pickle", "ValueError")
        assert (told["class"], told["args"], after) == ("ValueError", ["boom", 5], 3)
        assert told["traceback"].rstrip().endswith("ValueError: ('boom', 5)")
        assert play(OURS, "classes_by_pickle", uri, "pickle") == ["Point", -1, 2, True]
        assert play(OURS, "attributes", uri, "pickle")["after"] == [1, "two"]
        assert play(OURS, "batch", uri, "pickle", new_name())[0] == [3, 6, [[1], [["x", 2]]]]
        first, told, _ = play(OURS, "failing_batch", uri, "pickle", new_name())
        assert (first, told["class"]) == (3, "ValueError")
        references = place.uri("references", "unix")
        assert play(OURS, "autoproxies", references, "pickle")[2:] == ["hello from Pyro4"] * 2

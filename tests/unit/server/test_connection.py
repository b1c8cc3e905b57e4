"""What a connection tells the hooks of a daemon about the client: here, its certificate."""

from __future__ import annotations

import ssl

import pytest

from pyroipc import CommunicationError, Daemon, Proxy, expose
from pyroipc.transports.tls_contexts import client_context, server_context
from tests.support.certificates import Authority
from tests.support.hosts import Worker, unix_pair

KEY = "the key of the HMAC"


@expose
class Thing:
    def ping(self):
        return "pong"


class Gate(Daemon):
    """Remembers the certificate of each client, and lets in everybody but Mallory."""

    def validateHandshake(self, conn, data):
        certificate = conn.getpeercert()
        self.shown = [*getattr(self, "shown", []), certificate]
        names = dict(pair[0] for pair in (certificate or {}).get("subject", ()))
        if names.get("commonName") == "Mallory":
            raise ValueError("not you")
        return names.get("commonName", "nobody")


class Serving:
    """A daemon that serves a Thing in a thread."""

    def __init__(self, **options):
        self.daemon = Gate(**options)
        self.uri = self.daemon.register(Thing, "thing")
        self.loop = Worker(self.daemon.requestLoop)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.daemon.shutdown()
        self.loop.result()
        self.daemon.close()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def server(authority, **options):
    identity = authority.issue("localhost")
    return server_context(identity.certificate, key=identity.key, **options)


def client(authority, identity=None):
    files = {} if identity is None else {"certificate": identity.certificate, "key": identity.key}
    return client_context(authorities=authority.file, **files)


@pytest.mark.parametrize("hmac_key", [b"", KEY], ids=["tls", "tls under a seal"])
def test_the_certificate_of_a_client(authority, hmac_key):
    context = server(authority, authorities=authority.file, require_client_certificate=True)
    known = client(authority, authority.issue("client.example", common_name="Irmen"))
    with Serving(tls=context, hmac_key=hmac_key) as gate:
        with Proxy(gate.uri, tls=known, hmac_key=hmac_key) as thing:
            assert thing.ping() == "pong"
        [certificate] = gate.daemon.shown
    assert certificate["subjectAltName"] == (("DNS", "client.example"),)
    assert (("commonName", "Irmen"),) in certificate["subject"]
    assert ssl.cert_time_to_seconds(certificate["notAfter"]) > 0


def test_a_client_is_refused_for_its_certificate(authority):
    context = server(authority, authorities=authority.file, require_client_certificate=True)
    mallory = client(authority, authority.issue("client.example", common_name="Mallory"))
    refused = pytest.raises(CommunicationError, match="rejected: not you")
    with Serving(tls=context) as gate, Proxy(gate.uri, tls=mallory) as thing, refused:
        thing.ping()


def test_a_client_that_shows_none(authority):
    with Serving(tls=server(authority)) as gate, Proxy(gate.uri, tls=client(authority)) as thing:
        assert thing.ping() == "pong"
        assert gate.daemon.shown == [None]


def test_without_tls_there_is_none():
    for hmac_key in (b"", KEY):
        with Serving(hmac_key=hmac_key) as gate, Proxy(gate.uri, hmac_key=hmac_key) as thing:
            assert thing.ping() == "pong"
            assert gate.daemon.shown == [None]


def test_over_a_connected_socket_there_is_none():
    near, far = unix_pair()
    with near, far, Serving(connected_socket=far) as gate:
        with Proxy("thing", connected_socket=near) as thing:
            assert thing.ping() == "pong"
        assert gate.daemon.shown == [None]

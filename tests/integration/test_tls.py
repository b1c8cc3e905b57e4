"""TLS between daemons and proxies: by contexts, by settings, and refused in words."""

from __future__ import annotations

import ssl

import pytest

from pyroipc import Proxy, PyroError, SecurityError
from tests.support.certificates import PASSWORD, encrypted_key
from tests.support.daemons import (
    ROADS,
    Road,
    authority,
    child_serving,
    client_context,
    server_context,
    serving,
    settings,
)
from tests.support.hosts import together
from tests.support.things import Thing
from tests.support.waiting import wait_until

TLS = ROADS["tls"]


@pytest.fixture(scope="module")
def identities():
    """A certificate for the server, one for the client, and one of another authority."""
    return {
        "server": authority().issue("localhost", "127.0.0.1"),
        "client": authority().issue("client", common_name="the client"),
        "elsewhere": authority().issue("elsewhere.example"),
        "expired": authority().issue("localhost", "127.0.0.1", valid_days=(-20, -10)),
    }


def server_settings(identity, **items):
    return settings(
        SSL=True, SSL_SERVERCERT=identity.certificate, SSL_SERVERKEY=identity.key, **items
    )


def client_settings(**items):
    return settings(SSL=True, SSL_CACERTS=authority().file, **items)


PLAIN = Road("by settings", lambda _: {"host": "127.0.0.1"})


def test_by_settings(identities):
    with (
        serving(
            {"thing": Thing()}, road=PLAIN, settings=server_settings(identities["server"])
        ) as served,
        Proxy(served.uri(), settings=client_settings()) as proxy,
    ):
        assert proxy.echo("x" * 100_000) == "x" * 100_000
        assert proxy._pyroConnection.channel.sock.coat.name == "TLS"


def test_by_settings_with_an_encrypted_key(identities):
    server = identities["server"]
    given = server_settings(server, SSL_SERVERKEYPASSWD=PASSWORD)
    given.SSL_SERVERKEY = encrypted_key(server)
    with (
        serving({"thing": Thing()}, road=PLAIN, settings=given) as served,
        Proxy(served.uri(), settings=client_settings()) as proxy,
    ):
        assert proxy.echo(1) == 1
    given.SSL_SERVERKEYPASSWD = "wrong"
    with (
        pytest.raises(SecurityError),
        serving({"thing": Thing()}, road=PLAIN, settings=given),
    ):
        pass


def test_false_turns_off_what_the_settings_say(identities):
    with (
        serving(
            {"thing": Thing()},
            road=PLAIN,
            tls=False,
            settings=server_settings(identities["server"]),
        ) as served,
        Proxy(served.uri(), tls=False, settings=client_settings()) as proxy,
    ):
        assert proxy.echo(1) == 1
        assert not hasattr(proxy._pyroConnection.channel.sock, "coat")


def test_a_unix_socket_wears_no_tls(tmp_path):
    with (
        serving(
            {"thing": Thing()},
            road=Road(
                "unix", lambda _: {"unixsocket": str(tmp_path / "s"), "tls": server_context()}
            ),
        ) as served,
        Proxy(served.uri(), tls=client_context()) as proxy,
    ):
        assert proxy.echo(range(2)) == range(2)  # and pickle is allowed


# --- who is refused, and in which words ---------------------------------------------------------


def refused(served, match, **options):
    proxy = served.proxy(**options)
    with pytest.raises(SecurityError, match=match) as caught:
        proxy.echo(1)
    assert str(caught.value).startswith(f"cannot connect to {served.location}: ")
    assert proxy._pyroConnection is None
    wait_until(lambda: not served.daemon.serving, "the daemon has forgotten it")


def test_a_client_without_tls():
    with serving({"thing": Thing()}, road=TLS) as served:
        refused(served, "this daemon speaks TLS only; connect with tls=", tls=False)


def test_a_daemon_without_tls():
    with serving({"thing": Thing()}) as served:
        refused(served, "the server does not speak TLS", tls=client_context())


def test_an_authority_that_is_unknown():
    with serving({"thing": Thing()}, road=TLS) as served:
        context = ssl.create_default_context()
        refused(served, "no authority that is trusted here has signed it", tls=context)


@pytest.mark.parametrize(
    ("name", "match"), [("elsewhere", "127.0.0.1"), ("expired", "expired|no longer|not valid")]
)
def test_a_certificate_that_does_not_fit(identities, name, match):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identities[name].certificate, identities[name].key)
    with serving({"thing": Thing()}, road=TLS, tls=context) as served:
        refused(served, match)


def test_certificates_of_clients(identities):
    given = server_settings(
        identities["server"], SSL_REQUIRECLIENTCERT=True, SSL_CACERTS=authority().file
    )
    with serving({"thing": Thing()}, road=PLAIN, settings=given) as served:
        nobody = Proxy(served.uri(), settings=client_settings())
        with pytest.raises(PyroError, match="certificate") as caught:
            nobody.echo(1)
        assert served.location in str(caught.value)
        client = identities["client"]
        somebody = client_settings(SSL_CLIENTCERT=client.certificate, SSL_CLIENTKEY=client.key)
        with Proxy(served.uri(), settings=somebody) as proxy:
            assert proxy.echo(1) == 1


@pytest.mark.parametrize("name", ["SSL_SERVERCERT", "SSL_SERVERKEY", "SSL_CACERTS"])
def test_files_that_cannot_be_read(identities, name):
    given = server_settings(
        identities["server"], SSL_REQUIRECLIENTCERT=True, SSL_CACERTS=authority().file
    )
    setattr(given, name, "/nonexistent/file.pem")
    with (
        pytest.raises(SecurityError, match=r"/nonexistent/file\.pem"),
        serving({"thing": Thing()}, road=PLAIN, settings=given),
    ):
        pass
    with pytest.raises(SecurityError, match=r"/nonexistent/other\.pem"):
        Proxy(
            "PYRO:x@127.0.0.1:9", settings=settings(SSL=True, SSL_CACERTS="/nonexistent/other.pem")
        )


# --- at work ------------------------------------------------------------------------------------


def test_many_threads_and_large_data():
    with child_serving({"thing": Thing()}, road=TLS) as served, served.proxy() as proxy:

        def calls(i):
            return [proxy.echo(f"{i}:{k}" * (1 + 5000 * (k % 3 == 0))) for k in range(30)]

        results = together(*[lambda i=i: calls(i) for i in range(8)])
        for i, result in enumerate(results):
            assert [text.partition(":")[0] for text in result] == [str(i)] * 30
        assert proxy.size("x" * (5 << 20)) == 5 << 20

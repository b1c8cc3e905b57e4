"""TLS with real certificates: who is let in, what is said to those who are not, and files."""

from __future__ import annotations

import random
import select
import socket
import ssl
import sys
from pathlib import Path
from time import monotonic

import pytest

from pyroipc.errors import ConnectionClosedError, SecurityError
from pyroipc.transports.coated import CoatedSocket
from pyroipc.transports.tls import TlsCoat
from pyroipc.transports.tls_contexts import client_context, server_context
from pyroipc.wire.message import GOODBYE
from tests.support.certificates import PASSWORD, Authority, encrypted_key
from tests.support.coats import (
    feed,
    move,
    receive,
    shake_hands,
    take,
    tls_coats,
    wait_for,
)
from tests.support.hosts import PATIENCE, Worker, tcp_pair, unix_pair
from tests.support.messages import plain


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def local(authority):
    """A certificate for localhost."""
    return authority.issue("localhost", "127.0.0.1", "::1", "*.example.org")


@pytest.fixture
def raw_pair():
    near, far = unix_pair()
    with near, far:
        yield near, far


def meet(server_context, client_context, host="localhost", pair=tcp_pair):
    """Let a client and a server meet; return what each of them got, an error or None."""
    near, far = pair()
    with near, far:
        client = CoatedSocket(
            near, TlsCoat(client_context, server_side=False, server_hostname=host)
        )
        server = CoatedSocket(far, TlsCoat(server_context, server_side=True))

        def serve():
            server.handshake(monotonic() + PATIENCE)
            server.send(receive(server, 5))

        def call():
            client.handshake(monotonic() + PATIENCE)
            client.send(b"hello")
            assert receive(client, 5) == b"hello"

        serving = Worker(serve)
        calling = Worker(call)
        error = calling.finish()
        client.close()
        server_error = serving.finish()
        server.close()
        return error, server_error


def refused(error, text):
    """Check that an error is a refusal that says why."""
    assert isinstance(error, SecurityError), repr(error)
    assert text in str(error)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "::1%lo", "a.example.org"])
def test_names_that_are_in_the_certificate(authority, local, host):
    server = server_context(local.certificate, key=local.key)
    client = client_context(authorities=authority.file)
    assert meet(server, client, host) == (None, None)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.2", "::2"])
def test_another_name(authority, local, host):
    server = server_context(local.certificate, key=local.key)
    error, server_error = meet(server, client_context(authorities=authority.file), host)
    refused(error, f"it is not for {host!r}")
    refused(server_error, "the client has refused the TLS connection")


@pytest.mark.parametrize(
    ("valid_days", "text"), [((-9, -1), "expired"), ((1, 9), "not valid yet")]
)
def test_another_time(authority, valid_days, text):
    identity = authority.issue("localhost", valid_days=valid_days)
    server = server_context(identity.certificate, key=identity.key)
    error, server_error = meet(server, client_context(authorities=authority.file))
    refused(error, text)
    refused(server_error, "refused")


def test_unknown_authority(stranger, local):
    server = server_context(local.certificate, key=local.key)
    for client in (client_context(authorities=stranger.file), client_context()):
        error, server_error = meet(server, client)
        refused(error, "SSL_CACERTS")
        refused(server_error, "does not trust the authority")


def test_client_certificates(authority, stranger, local):
    person = authority.issue("client", common_name="the client")
    other = stranger.issue("client")
    server = server_context(
        local.certificate,
        key=local.key,
        authorities=authority.file,
        require_client_certificate=True,
    )
    shown = client_context(
        authorities=authority.file, certificate=person.certificate, key=person.key
    )
    assert meet(server, shown) == (None, None)

    error, server_error = meet(server, client_context(authorities=authority.file))
    refused(error, "it requires a client certificate")
    refused(server_error, "the client shows no certificate")

    unknown = client_context(
        authorities=authority.file, certificate=other.certificate, key=other.key
    )
    error, server_error = meet(server, unknown)
    refused(error, "it does not trust the authority that signed our certificate")
    refused(server_error, "the certificate of the client was refused")


def test_client_certificate_is_required_by_tls_1_2(authority, local):
    server = server_context(
        local.certificate,
        key=local.key,
        authorities=authority.file,
        require_client_certificate=True,
    )
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    error, server_error = meet(server, client_context(authorities=authority.file))
    refused(error, "requires a client certificate")
    refused(server_error, "the client shows no certificate")


def test_what_is_known_of_the_peer(authority, local):
    person = authority.issue("client", common_name="the client")
    server = TlsCoat(
        server_context(
            local.certificate,
            key=local.key,
            authorities=authority.file,
            require_client_certificate=True,
        ),
        server_side=True,
    )
    context = client_context(
        authorities=authority.file, certificate=person.certificate, key=person.key
    )
    client = TlsCoat(context, server_side=False, server_hostname="localhost")
    assert client.getpeercert() is None
    shake_hands(client, server)
    names = dict(pair[0] for pair in server.getpeercert()["subject"])
    assert names["commonName"] == "the client"
    assert ("DNS", "localhost") in client.getpeercert()["subjectAltName"]
    assert client.version() == server.version() == "TLSv1.3"
    assert client.cipher() == server.cipher()
    assert client.cipher()[2] >= 128
    anonymous, other = tls_coats()
    shake_hands(anonymous, other)
    assert other.getpeercert() is None


def test_old_versions_are_refused(authority, local):
    server = server_context(local.certificate, key=local.key)
    client = client_context(authorities=authority.file)
    assert server.minimum_version == client.minimum_version == ssl.TLSVersion.TLSv1_2
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    error, server_error = meet(server, client)
    refused(error, "no version of TLS in common")
    refused(server_error, "no version of TLS in common")


def test_a_changed_record(local):
    client, server = tls_coats()
    shake_hands(client, server)
    client.write(memoryview(b"pay 10"))
    client.collect()
    data = bytearray(client.outgoing)
    data[-1] ^= 1
    with pytest.raises(SecurityError, match="bytes were changed on the way"):
        feed(server, bytes(data))
    assert not server.plain


# ---------------------------------------------------------------- peers that speak no TLS


@pytest.mark.parametrize("first", [b"PYROI\x01\x01", b"P", b"GET / HTTP/1.1\r\n", b"\x00"])
def test_a_plain_client(local, raw_pair, first):
    near, far = raw_pair
    context = server_context(local.certificate, key=local.key)
    frame = plain(GOODBYE, 0, b"this daemon speaks TLS", 0)
    server = CoatedSocket(far, TlsCoat(context, server_side=True, refusal=frame))
    near.sendall(first)
    wait_for(server, select.POLLIN)
    with pytest.raises(SecurityError, match="the client does not speak TLS"):
        server.drive()
    assert near.recv(1000) == frame


def test_a_plain_server_that_says_why(authority, raw_pair):
    near, far = raw_pair
    context = client_context(authorities=authority.file)
    client = CoatedSocket(near, TlsCoat(context, server_side=False, server_hostname="localhost"))
    frame = plain(GOODBYE, 0, b"speak plainly", 0)
    for i in range(len(frame)):  # however slowly it says it
        assert client.drive() is False
        far.sendall(frame[i : i + 1])
    with pytest.raises(SecurityError, match="server does not speak TLS; it says: speak plainly"):
        client.handshake(monotonic() + PATIENCE)


def test_a_plain_server_of_another_kind(authority, raw_pair):
    near, far = raw_pair
    context = client_context(authorities=authority.file)
    client = CoatedSocket(near, TlsCoat(context, server_side=False, server_hostname="localhost"))
    far.sendall(b"220 mail.example.org ESMTP\r\n")
    with pytest.raises(SecurityError, match="server does not speak TLS: it sent b'220 mail"):
        client.handshake(monotonic() + PATIENCE)


def test_a_server_that_closes_at_once(authority, raw_pair):
    near, far = raw_pair
    context = client_context(authorities=authority.file)
    client = CoatedSocket(near, TlsCoat(context, server_side=False, server_hostname="localhost"))
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosedError, match="instead of speaking TLS"):
        client.handshake(monotonic() + PATIENCE)


# --------------------------------------------------------------------- without any sockets


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_however_the_stream_is_cut(cut):
    client, server = tls_coats()
    shake_hands(client, server, cut)
    for data in (b"x", b"y" * 16_384, b"z" * 65_536):
        client.write(memoryview(data))
        client.collect()
        found = b""
        raw, client.outgoing, client.taken = client.outgoing, b"", 0
        step = cut or server.wanted
        for start in range(0, len(raw), step):
            server.arrived = raw[start : start + step]
            found += take(server)
        assert found == data
        assert server.hungry


def test_farewell():
    client, server = tls_coats()
    shake_hands(client, server)
    client.farewell()
    move(client, server)
    assert server.ended
    assert server.advance()


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize("server_side", [False, True])
def test_any_bytes_are_refused_or_waited_for(greeted, server_side):
    """No other error than ours comes out, and no plain bytes."""
    chance = random.Random(f"{greeted} {server_side}")
    for _ in range(150):
        coats = tls_coats()
        if greeted:
            shake_hands(*coats)
        coat = coats[server_side]
        body = chance.randbytes(chance.choice((0, 1, 20, 3000)))
        size = chance.choice((len(body), 0, 5, 16_384 + 300, 65_535))
        kind = chance.choice((0x14, 0x15, 0x16, 0x17, 0x18, chance.randrange(256)))
        with pytest.raises((SecurityError, ConnectionClosedError)):
            for part in (bytes([kind, 3, 3]) + size.to_bytes(2, "big") + body, b""):
                coat.arrived = part
                assert take(coat) == b""


# ------------------------------------------------------------------------------- contexts


def test_password(authority, local):
    key = encrypted_key(local)
    context = server_context(local.certificate, key=key, password=PASSWORD)
    assert meet(context, client_context(authorities=authority.file)) == (None, None)
    # Nobody is asked: a prompt would read the terminal, and fail the test by its time limit.
    with pytest.raises(SecurityError, match="encrypted, and no password was given") as raised:
        server_context(local.certificate, key=key)
    assert key in str(raised.value)
    with pytest.raises(SecurityError, match=r"password for the key in .* is wrong"):
        server_context(local.certificate, key=key, password="wrong")
    with pytest.raises(SecurityError, match="cannot load"):
        server_context(local.certificate, key=key, password="x" * 5000)


def test_key_in_the_file_of_the_certificate(authority, local, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(Path(local.key).read_bytes() + Path(local.certificate).read_bytes())
    assert meet(server_context(str(both)), client_context(authorities=authority.file)) == (
        None,
        None,
    )


def bad_files(authority, local, tmp_path):
    other = authority.issue("other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate\n")
    return {
        "no certificate given": ("", "", "needs a certificate"),
        "missing certificate": ("/no/such.pem", local.key, "certificate '/no/such.pem': No such"),
        "missing key": (local.certificate, "/no/key.pem", "key '/no/key.pem': No such"),
        "directory": (str(tmp_path), local.key, "Is a directory"),
        "null": ("a\0b", "", "cannot read the certificate"),
        "garbage": (str(garbage), local.key, f"no valid certificate in {str(garbage)!r}"),
        "garbage key": (local.certificate, str(garbage), f"key in {str(garbage)!r}"),
        "no key": (local.certificate, "", f"key in {local.certificate!r}"),
        "other key": (local.certificate, other.key, f"the key in {other.key!r} is not that of"),
    }


def test_bad_files(authority, local, tmp_path):
    for name, (certificate, key, text) in bad_files(authority, local, tmp_path).items():
        with pytest.raises(SecurityError) as raised:
            server_context(certificate, key=key)
        assert text in str(raised.value), name
        if certificate:
            with pytest.raises(SecurityError) as raised:
                client_context(certificate=certificate, key=key, authorities=authority.file)
            assert text in str(raised.value), name


def test_key_without_certificate(local):
    with pytest.raises(SecurityError, match="of no use without a certificate"):
        client_context(key=local.key)


@pytest.mark.parametrize("name", ["authority.pem", "authority.crt", "0123abcd.0"])
def test_directory_of_authorities(authority, local, tmp_path, name):
    """Certificates may lie in it under any name, or under that of a hash, as OpenSSL has it."""
    target = tmp_path / name
    if name.endswith(".0"):
        subject_hash = openssl_hash(authority.file, tmp_path)
        target = tmp_path / f"{subject_hash}.0"
    target.write_bytes(Path(authority.file).read_bytes())
    (tmp_path / "README").write_text("not a certificate")
    client = client_context(authorities=str(tmp_path))
    assert meet(server_context(local.certificate, key=local.key), client) == (None, None)


def openssl_hash(certificate, tmp_path):
    import shutil
    import subprocess

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no program openssl")
    command = [openssl, "x509", "-noout", "-hash", "-in", certificate]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_bad_authorities(tmp_path):
    with pytest.raises(SecurityError, match="'/no/such': No such file"):
        client_context(authorities="/no/such")
    with pytest.raises(SecurityError, match="no certificates in the directory"):
        client_context(authorities=str(tmp_path))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing")
    for path in (tmp_path, garbage):
        with pytest.raises(SecurityError, match=r"no valid certificate in .*garbage\.pem"):
            client_context(authorities=str(path))


def test_a_servers_own_certificate_as_authority(local):
    client = client_context(authorities=local.certificate)
    assert meet(server_context(local.certificate, key=local.key), client) == (None, None)


@pytest.mark.parametrize("host", ["", "a" * 300, ".example.org", "[]"])
def test_host_names_that_cannot_be(authority, host):
    with pytest.raises(SecurityError, match="host name"):
        TlsCoat(
            client_context(authorities=authority.file), server_side=False, server_hostname=host
        )


def test_contexts_are_not_shared(authority, local):
    first, second = (server_context(local.certificate, key=local.key) for _ in range(2))
    assert first is not second


def test_nothing_of_this_is_imported_early():
    import subprocess

    code = "import pyroipc, sys; print(sorted({'ssl', 'hmac'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"

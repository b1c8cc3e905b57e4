"""Pyro's functions on sockets, with real ones."""

from __future__ import annotations

import ipaddress
import socket
import threading

import pytest

import pyroipc
from pyroipc.compat import sockets
from pyroipc.compat.sockets import SocketConnection
from tests.support.certificates import Authority


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_exactly_as_many_bytes_as_were_asked_for(pair):
    here, there = pair
    sender = threading.Thread(target=sockets.send_data, args=(here, b"x" * 300_000))
    sender.start()
    assert sockets.receive_data(there, 100_000) == b"x" * 100_000
    assert sockets.receive_data(there, 200_000) == b"x" * 200_000
    assert sockets.receive_data(there, 0) == b""
    sender.join()


@pytest.mark.parametrize("timeout", [0, 5])
def test_sockets_that_do_not_block_wait_all_the_same(pair, timeout):
    here, there = pair
    here.settimeout(timeout)
    there.settimeout(timeout)
    data = bytes(range(256)) * 5000
    sender = threading.Thread(target=sockets.send_data, args=(here, data))
    sender.start()
    assert sockets.receive_data(there, len(data)) == data
    sender.join()


def test_a_peer_that_is_gone(pair):
    here, there = pair
    here.sendall(b"abc")
    here.close()
    with pytest.raises(pyroipc.ConnectionClosedError, match="not enough data") as caught:
        sockets.receive_data(there, 5)
    assert caught.value.partialData == b"abc"
    with pytest.raises(pyroipc.ConnectionClosedError, match="sending: connection lost"):
        sockets.send_data(there, b"x")


def test_a_peer_that_says_nothing(pair):
    here, there = pair
    here.settimeout(0.01)
    with pytest.raises(pyroipc.TimeoutError, match="receiving: timeout"):
        sockets.receive_data(here, 1)
    with pytest.raises(pyroipc.TimeoutError, match="sending: timeout"):
        sockets.send_data(here, b"x" * 10_000_000)
    assert there.fileno() > 0


def test_a_closed_socket(pair):
    here, _ = pair
    here.close()
    with pytest.raises(pyroipc.ConnectionClosedError, match="receiving: connection lost"):
        sockets.receive_data(here, 1)


@pytest.mark.parametrize("bind", [("127.0.0.1", 0), ("::1", 0)])
def test_listening_and_connecting(bind):
    with sockets.create_socket(bind=bind, reuseaddr=True, timeout=5) as listener:
        assert listener.gettimeout() == 5
        address = listener.getsockname()
        with sockets.create_socket(connect=address[:2], timeout=0, noinherit=True) as client:
            server, _ = listener.accept()
            with server:
                assert client.gettimeout() is None
                assert not client.get_inheritable()
                assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sockets.family_str(client) == ("IPv6" if ":" in bind[0] else "IPv4")


def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with (
        sockets.create_socket(bind=path) as listener,
        sockets.create_socket(connect=path, timeout=None) as client,
    ):
        assert sockets.family_str(client) == "Unix"
        listener.accept()[0].close()


def test_neither_bound_nor_connected():
    with sockets.create_socket(keepalive=False, nodelay=False) as sock:
        assert sock.family == socket.AF_INET
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    with sockets.create_socket(ipv6=True) as sock:
        assert sock.family == socket.AF_INET6


def test_both_at_once():
    with pytest.raises(ValueError, match="bound or connected"):
        sockets.create_socket(bind=("", 0), connect=("", 1))


def test_what_cannot_be_had_is_an_os_error():
    port = sockets.find_probably_unused_port()
    with pytest.raises(ConnectionRefusedError):
        sockets.create_socket(connect=("127.0.0.1", port))
    with sockets.create_socket(bind=("127.0.0.1", port)), pytest.raises(OSError, match="in use"):
        sockets.create_socket(bind=("127.0.0.1", port))


def test_datagrams():
    with sockets.create_bc_socket(bind=("127.0.0.1", 0), timeout=5, reuseaddr=True) as receiver:
        with sockets.create_bc_socket() as sender:
            assert sender.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
            sender.sendto(b"hello", receiver.getsockname())
        assert receiver.recv(10) == b"hello"
    with sockets.create_bc_socket(ipv6=True) as sock:
        assert sock.family == socket.AF_INET6


def test_ports():
    with socket.socket() as sock:
        port = sockets.bind_unused_port(sock, ipaddress.ip_address("127.0.0.1"))
        assert sock.getsockname() == ("127.0.0.1", port)
    assert sockets.find_probably_unused_port(socket.AF_INET6, socket.SOCK_DGRAM) > 0


def test_interrupting_a_listener():
    with sockets.create_socket(bind=("127.0.0.1", 0)) as listener:
        sockets.interrupt_socket(listener.getsockname())
        waiting, _ = listener.accept()
        with waiting:
            assert sockets.receive_data(waiting, 16) == b"!" * 16
    sockets.interrupt_socket(("127.0.0.1", sockets.find_probably_unused_port()))


def test_addresses():
    loopback = ipaddress.ip_address("127.0.0.1")
    assert sockets.get_ip_address("127.0.0.1") == loopback
    assert sockets.get_ip_address("localhost", version=4) == loopback
    assert sockets.get_ip_address("::1") == ipaddress.ip_address("::1")
    assert isinstance(sockets.get_ip_address(""), ipaddress.IPv4Address | ipaddress.IPv6Address)
    assert sockets.get_interface("127.0.0.1").ip == loopback
    assert sockets.get_interface(ipaddress.ip_address("::1")).ip == ipaddress.ip_address("::1")
    with pytest.raises(OSError, match="unable to determine IPV6 address"):
        sockets.get_ip_address("127.0.0.1", version=6)
    with pytest.raises(OSError, match="Name or service"):
        sockets.get_ip_address("no.such.host.invalid")


class Resource:
    closed = False

    def close(self):
        self.closed = True


def test_a_connection(pair):
    here, there = pair
    resource = Resource()
    with SocketConnection(here, "thing") as one:
        other = SocketConnection(there, keep_open=True)
        one.send(b"abc")
        assert other.recv(3) == b"abc"
        assert one.objectId == "thing"
        assert one.fileno() == here.fileno()
        assert (one.family(), one.getpeercert()) == ("Unix", None)
        one.timeout = 3
        assert one.gettimeout() == one.timeout == here.gettimeout() == 3
        one.tracked_resources.add(resource)
        one.pyroInstances[Resource] = resource
    assert here.fileno() == -1
    assert resource.closed
    assert not one.pyroInstances
    with pytest.raises(pyroipc.ConnectionClosedError):
        other.recv(1)
    other.close()
    del other
    assert there.fileno() > 0


def test_a_connection_that_nobody_holds_is_closed(pair):
    here, _ = pair
    SocketConnection(here)
    assert here.fileno() == -1


def test_tls(tmp_path):
    authority = Authority(tmp_path)
    files = authority.issue("localhost")
    server_side = sockets.get_ssl_context(servercert=files.certificate, serverkey=files.key)
    client_side = sockets.get_ssl_context(cacerts=str(authority.file))
    with sockets.create_socket(bind=("localhost", 0), sslContext=server_side) as listener:
        address = ("localhost", listener.getsockname()[1])

        def serve():
            server, _ = listener.accept()
            with server:
                sockets.send_data(server, b"secret")

        thread = threading.Thread(target=serve)
        thread.start()
        with sockets.create_socket(connect=address, sslContext=client_side, timeout=5) as client:
            connection = SocketConnection(client, keep_open=True)
            assert connection.recv(6) == b"secret"
            assert connection.getpeercert()["subjectAltName"] == (("DNS", "localhost"),)
        thread.join()
    with pytest.raises(ValueError, match="of a server or of a client"):
        sockets.get_ssl_context(servercert="x", clientcert="y")
    with pytest.raises(pyroipc.SecurityError, match="cannot read the certificate"):
        sockets.get_ssl_context(servercert="/no/such/file")

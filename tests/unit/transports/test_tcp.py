"""pyroipc/transports/tcp.py: addresses in their order, options, and errors that say what to do."""

from __future__ import annotations

import errno
import socket
import sys
from time import monotonic

import pytest

from pyroipc.errors import ConnectError, DaemonError, TimeoutError
from pyroipc.location import Location
from pyroipc.transports import addresses, descriptors, tcp
from pyroipc.transports.base import Options
from tests.support.networks import (
    closing,
    needs_ipv6,
    needs_network,
    silent,
    wait_for_client,
)
from tests.support.snippets import run_python

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="options of Linux")
ANY_PORT = Location("127.0.0.1", 0, zero_port=True)
ABSENT = "192.0.2.7"  # an address for documentation: no machine has it


def at(host, port=0):
    return Location(host, port, zero_port=True)


def number(sock, option, level=socket.IPPROTO_TCP):
    return sock.getsockopt(level, option)


@pytest.fixture
def known(monkeypatch):
    """Names of this test, with their addresses."""
    names = {}

    def look_up(host, port, *rest):
        host = host.decode() if isinstance(host, bytes) else host
        return [
            found
            for address in names.get(host, [host])
            for found in real(address, port, *rest)
        ]  # fmt: skip

    real = addresses.socket.getaddrinfo
    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    return names


@pytest.fixture
def pair_of():
    """Make a listener and the two ends of a connection to it; they are closed afterwards."""
    made = []

    def make(options, location=ANY_PORT):
        (listener,) = tcp.listen(location, options)
        made.append(listener)
        near = tcp.connect(listener.location, options)
        made.append(near)
        far = wait_for_client(listener)
        made.append(far)
        return near, far

    yield make
    with closing(*made):
        pass


# ---------------------------------------------------------------------------------- options


@linux_only
def test_options_are_set_on_both_ends(pair_of):
    for sock in pair_of(Options()):
        assert number(sock, socket.TCP_NODELAY)
        assert number(sock, socket.SO_KEEPALIVE, socket.SOL_SOCKET)
        assert number(sock, socket.TCP_KEEPIDLE) == 60
        assert number(sock, socket.TCP_KEEPINTVL) == 10
        assert number(sock, socket.TCP_KEEPCNT) == 4
        assert number(sock, socket.TCP_USER_TIMEOUT) == 100_000


@linux_only
def test_options_that_are_off(pair_of):
    for sock in pair_of(Options(nodelay=False, keepalive_seconds=0)):
        assert not number(sock, socket.TCP_NODELAY)
        assert not number(sock, socket.SO_KEEPALIVE, socket.SOL_SOCKET)
        assert not number(sock, socket.TCP_USER_TIMEOUT)


@linux_only
@pytest.mark.parametrize(
    ("seconds", "idle", "interval"), [(0.1, 1, 1), (3, 3, 1), (9.5, 10, 2), (1e9, 32767, 5461)]
)
def test_odd_keepalives(pair_of, seconds, idle, interval):
    for sock in pair_of(Options(keepalive_seconds=seconds)):
        assert number(sock, socket.TCP_KEEPIDLE) == idle
        assert number(sock, socket.TCP_KEEPINTVL) == interval
        assert number(sock, socket.TCP_USER_TIMEOUT) == 1000 * (idle + 4 * interval)


def test_buffers(pair_of):
    plain = [number(sock, socket.SO_SNDBUF, socket.SOL_SOCKET) for sock in pair_of(Options())]
    for sock in pair_of(Options(buffer_bytes=20_000)):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            size = number(sock, option, socket.SOL_SOCKET)
            assert 20_000 <= size <= 40_000
            assert size not in plain


@linux_only
@pytest.mark.parametrize("reuse", [True, False])
def test_reuse(reuse):
    (listener,) = tcp.listen(ANY_PORT, Options(reuse=reuse))
    with closing(listener):
        assert bool(number(listener.sock, socket.SO_REUSEADDR, socket.SOL_SOCKET)) is reuse


# -------------------------------------------------------------------------------- listening


@needs_ipv6
def test_all_addresses_of_a_name_with_one_port(known):
    known["box"] = ["::1", "127.0.0.1"]
    listeners = tcp.listen(at("box"), Options())
    with closing(*listeners):
        assert [listener.sock.getsockname()[0] for listener in listeners] == ["::1", "127.0.0.1"]
        assert len({listener.location for listener in listeners}) == 1
        location = listeners[0].location
        assert location.host == "box"
        for version, listener in ((6, listeners[0]), (4, listeners[1])):
            near = tcp.connect(location, Options(prefer_ip_version=version))
            with closing(near), closing(wait_for_client(listener)):
                pass


@needs_ipv6
@pytest.mark.parametrize(("version", "host"), [(4, "127.0.0.1"), (6, "::1")])
def test_the_preferred_version_of_a_name(known, version, host):
    known["box"] = ["::1", "127.0.0.1"]
    (listener,) = tcp.listen(at("box"), Options(prefer_ip_version=version))
    with closing(listener):
        assert listener.sock.getsockname()[0] == host


@needs_ipv6
def test_a_numeric_address_decides_for_itself():
    for host, version in (("::1", 4), ("127.0.0.1", 6)):
        options = Options(prefer_ip_version=version)
        (listener,) = tcp.listen(at(host), options)
        with closing(listener):
            near = tcp.connect(listener.location, options)
            with closing(near), closing(wait_for_client(listener)):
                assert near.getpeername()[0] == host


@needs_ipv6
def test_both_versions_at_the_wildcard_of_ipv6():
    (listener,) = tcp.listen(at("::"), Options())
    with closing(listener):
        assert listener.location.host == "::"
        for host in ("::1", "127.0.0.1"):
            near = tcp.connect(at(host, listener.location.port), Options())
            with closing(near), closing(wait_for_client(listener)):
                pass


@needs_ipv6
def test_only_ipv6_if_that_is_preferred():
    (listener,) = tcp.listen(at("::"), Options(prefer_ip_version=6))
    with closing(listener):
        port = listener.location.port
        near = tcp.connect(at("::1", port), Options())
        with closing(near), closing(wait_for_client(listener)):
            pass
        with pytest.raises(ConnectError, match="refused"):
            tcp.connect(at("127.0.0.1", port), Options())


def test_addresses_that_this_machine_does_not_have_are_left_out(known):
    known["box"] = [ABSENT, "127.0.0.1"]
    (listener,) = tcp.listen(at("box"), Options())
    with closing(listener):
        assert listener.sock.getsockname()[0] == "127.0.0.1"


@needs_ipv6
def test_a_port_that_is_taken_at_one_address_only(known):
    known["box"] = ["127.0.0.1", "::1"]
    (other,) = tcp.listen(at("::1"), Options())
    with closing(other):
        with pytest.raises(DaemonError, match=rf"port {other.location.port} is in use"):
            tcp.listen(at("box", other.location.port), Options())
        # And nothing is left of the address that was free.
        (again,) = tcp.listen(at("127.0.0.1", other.location.port), Options())
        again.close()


@needs_ipv6
def test_another_free_port_is_looked_for_if_one_is_not_free_everywhere(known, monkeypatch):
    known["box"] = ["127.0.0.1", "::1"]
    (other,) = tcp.listen(at("::1"), Options())
    offered = [other.location.port]
    real = tcp._listen_at

    def listen_at(address, host, options):  # the kernel first offers the port of the other one
        if not address[1] and offered:
            address = (address[0], offered.pop(), *address[2:])
        return real(address, host, options)

    monkeypatch.setattr(tcp, "_listen_at", listen_at)
    with closing(other):
        listeners = tcp.listen(at("box"), Options())
        with closing(*listeners):
            assert not offered
            ports = {listener.sock.getsockname()[1] for listener in listeners}
            assert ports == {listeners[0].location.port}
            assert len(listeners) == 2
            assert other.location.port not in ports


@pytest.mark.parametrize(
    ("location", "texts"),
    [
        (at(ABSENT, 9), ["no such address", "localhost", "0.0.0.0", "nathost"]),
        (at("no-such-host.invalid"), ["'no-such-host.invalid' cannot be", "numeric address"]),
    ],
    ids=["absent", "unknown"],
)
def test_places_where_nobody_can_listen(location, texts):
    with pytest.raises(DaemonError, match="cannot listen at") as caught:
        tcp.listen(location, Options())
    for text in (str(location), *texts):
        assert text in str(caught.value)
    assert caught.value.__cause__ is not None


@needs_network
def test_ports_that_need_privileges():
    finished = run_python(
        """
        import os
        from tests.support.networks import enter_network
        from pyroipc.errors import DaemonError
        from pyroipc.location import Location
        from pyroipc.transports import tcp
        from pyroipc.transports.base import Options
        enter_network()
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            tcp.listen(Location("127.0.0.1", 80), Options())
        except DaemonError as error:
            print(error)
        """
    )
    assert finished.stderr == ""
    assert "127.0.0.1:80: port 80 may not be used" in finished.stdout
    assert "below 1024" in finished.stdout


# ------------------------------------------------------------------------------- connecting


def free_port():
    (listener,) = tcp.listen(ANY_PORT, Options())
    listener.close()
    return listener.location.port


def test_refused():
    location = at("127.0.0.1", free_port())
    with pytest.raises(ConnectError) as caught:
        tcp.connect(location, Options())
    text = str(caught.value)
    assert text.startswith(f"cannot connect to {location}: {location} refused the connection; is ")
    assert caught.value.__cause__.errno == errno.ECONNREFUSED


def test_every_address_is_named(known):
    known["box"] = ["127.0.0.1", "127.0.0.2"]
    port = free_port()
    with pytest.raises(ConnectError) as caught:
        tcp.connect(at("box", port), Options(), monotonic() + 10)
    text = str(caught.value)
    assert f"to box:{port}: 127.0.0.1:{port} refused the connection, 127.0.0.2:{port} re" in text
    assert text.count("is a daemon running there?") == 1


def test_the_next_address_is_tried(known):
    known["box"] = ["127.0.0.2", "127.0.0.1"]
    (listener,) = tcp.listen(ANY_PORT, Options())
    with closing(listener):
        near = tcp.connect(at("box", listener.location.port), Options())
        with closing(near), closing(wait_for_client(listener)):
            assert near.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize(("seconds", "first"), [(1.0, 0.5), (0.3, 0.25)])
def test_a_silent_address_does_not_use_up_the_time_of_the_others(known, seconds, first):
    known["box"] = ["127.0.0.2", "127.0.0.1"]
    with silent(at("127.0.0.2")) as (mute, _):
        port = mute.location.port
        (listener,) = tcp.listen(at("127.0.0.1", port), Options())
        with closing(listener):
            begun = monotonic()
            near = tcp.connect(at("box", port), Options(), begun + seconds)
            with closing(near), closing(wait_for_client(listener)):
                assert monotonic() - begun > first * 0.98
        # All of them are named when the time is over.
        with pytest.raises(TimeoutError) as caught:
            known["box"].reverse()
            tcp.connect(at("box", port), Options(), monotonic() + 0.6)
        text = str(caught.value)
        assert f"127.0.0.1:{port} refused the connection, 127.0.0.2:{port} did not answer" in text
        assert "only Also: is the machine switched on" in text


@pytest.mark.parametrize("host", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)])
def test_wildcards_are_no_addresses_to_connect_to(host):
    with pytest.raises(ConnectError, match=f"{host} is no address to connect to.*nathost"):
        tcp.connect(at(host, free_port()), Options())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "a..b", "ü" * 70, "fe80::1%x"])
def test_hosts_that_are_unknown(host):
    with pytest.raises(ConnectError, match=r"the host .* cannot be (found|looked up)") as caught:
        tcp.connect(at(host, 9), Options(), monotonic() + 60)
    assert host in str(caught.value)
    assert caught.value.call_status == "not sent"


@needs_network
def test_networks_that_cannot_be_reached():
    finished = run_python(
        """
        from tests.support.networks import enter_network
        from pyroipc.errors import ConnectError, DaemonError
        from pyroipc.location import Location
        from pyroipc.transports import tcp
        from pyroipc.transports.base import Options
        enter_network()
        def attempt(function, host):
            try:
                function(Location(host, 4242), Options())
            except (ConnectError, DaemonError) as error:
                print(error)
        attempt(tcp.connect, "10.1.2.3")
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as switch:
            switch.write("1")
        attempt(tcp.connect, "::1")
        attempt(tcp.listen, "::1")
        """
    )
    assert finished.stderr == ""
    first, second, third = finished.stdout.splitlines()
    assert "10.1.2.3:4242 is in a network that cannot be reached; look at the interf" in first
    assert "[::1]:4242 cannot be reached from any address of this machine" in second
    assert "IPv6 may be switched off" in second
    assert "[::1]:4242: this machine has no such address; use one of its own (localhost)" in third


@needs_ipv6
@needs_network
def test_link_local_addresses_need_their_interface():
    finished = run_python(
        """
        from tests.support.networks import add_ipv6, enter_network, wait_for_client
        from pyroipc.errors import ConnectError, DaemonError
        from pyroipc.location import Location
        from pyroipc.transports import descriptors, tcp
        from pyroipc.transports.base import Options
        enter_network()
        add_ipv6("fe80::7")
        (listener,) = tcp.listen(Location("fe80::7%lo", 0, zero_port=True), Options())
        print(str(listener.location).replace(str(listener.location.port), "PORT"))
        near = tcp.connect(listener.location, Options())
        far = wait_for_client(listener)
        near.sendall(b"there")
        print(far.recv(10))
        for function in (tcp.connect, tcp.listen):
            try:
                function(Location("fe80::7", listener.location.port), Options())
            except (ConnectError, DaemonError) as error:
                print(error)
        for sock in (near, far):
            descriptors.close(sock)
        listener.close()
        """
    )
    assert finished.stderr == ""
    location, data, *errors = finished.stdout.splitlines()
    assert (location, data) == ("[fe80::7%lo]:PORT", "b'there'")
    assert len(errors) == 2
    assert all("needs the interface, as in [fe80::1%eth0]:9090" in error for error in errors)


@needs_network
def test_a_connection_to_itself_is_refused():
    # With one port only to choose from, the kernel gives a client the very port it connects to.
    finished = run_python(
        """
        import socket
        from time import monotonic
        from tests.support.networks import enter_network
        from pyroipc.errors import ConnectError
        from pyroipc.location import Location
        from pyroipc.transports import tcp
        from pyroipc.transports.base import Options
        enter_network()
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as ports:
            ports.write("40000 40000")
        with socket.create_connection(("127.0.0.1", 40000)) as plain:
            print(plain.getsockname() == plain.getpeername())
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        try:
            tcp.connect(Location("127.0.0.1", 40000), Options(), monotonic() + 10)
        except ConnectError as error:
            print(error)
        """
    )
    assert finished.stderr == ""
    control, error = finished.stdout.splitlines()
    assert control == "True"
    assert "refused the connection; is a daemon running there?" in error


def test_sockets_of_failed_attempts_are_closed(known):
    known["box"] = ["127.0.0.1", "127.0.0.2"]
    before = len(descriptors._sockets)
    with pytest.raises(ConnectError):
        tcp.connect(at("box", free_port()), Options())
    assert len(descriptors._sockets) == before

"""pyroipc/transports/addresses.py: what is known about hosts, with and without looking them up."""

from __future__ import annotations

import socket

import pytest

from pyroipc.errors import ConnectError
from pyroipc.transports import addresses
from tests.support.networks import needs_ipv6, needs_network
from tests.support.snippets import run_python


@pytest.fixture
def known(monkeypatch):
    """Names of this test, with their addresses; all others are unknown."""
    names = {}

    def look_up(host, port, family=0, kind=0, *rest):
        host = host.decode() if isinstance(host, bytes) else host
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, kind, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, port))
            for address in names[host]
        ]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    return names


@pytest.fixture
def no_look_up(monkeypatch):
    def fail(*args):
        raise AssertionError("it was looked up")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fail)


@pytest.mark.parametrize(
    ("host", "version", "loopback", "wildcard"),
    [
        ("127.0.0.1", 4, True, False),
        ("127.9.8.7", 4, True, False),
        ("128.0.0.1", 4, False, False),
        ("::1", 6, True, False),
        ("0:0::0:1", 6, True, False),
        ("::2", 6, False, False),
        ("::ffff:127.0.0.1", 6, True, False),
        ("::ffff:10.0.0.1", 6, False, False),
        ("0.0.0.0", 4, False, True),
        ("::", 6, False, True),
        ("0::0", 6, False, True),
        ("::ffff:0.0.0.0", 6, False, True),
        ("", 0, False, True),
        ("fe80::1%eth0", 6, False, False),
        ("localhost", 0, True, False),
        ("LocalHost.", 0, True, False),
        ("db.localhost", 0, True, False),
        ("notlocalhost", 0, False, False),
        ("localhost.example.org", 0, False, False),
        ("127.0.0.1.example.org", 0, False, False),
        ("1.2.3", 0, False, False),
        ("1.2.3.4.5", 0, False, False),
        ("a\0b", 0, False, False),
        ("\udc80", 0, False, False),
        ("münchen", 0, False, False),
    ],
)
def test_what_a_host_is(no_look_up, host, version, loopback, wildcard):
    assert addresses.ip_version(host) == version
    assert addresses.is_loopback(host) is loopback
    assert addresses.is_wildcard(host) is wildcard


def test_resolving_numeric_addresses():
    assert addresses.resolve("127.0.0.1", 80) == [("127.0.0.1", 80)]
    assert addresses.resolve("127.0.0.1", 80, 6) == [("127.0.0.1", 80)]


@needs_ipv6
def test_resolving_numeric_ipv6_addresses():
    assert addresses.resolve("::1", 80, 4) == [("::1", 80, 0, 0)]
    index = socket.if_nametoindex("lo")
    assert addresses.resolve("fe80::1%lo", 80) == [("fe80::1", 80, 0, index)]


def test_versions_of_a_name(known):
    known["both"] = ["::1", "127.0.0.1", "::1", "127.0.0.2"]
    v4, v6 = [("127.0.0.1", 5), ("127.0.0.2", 5)], [("::1", 5, 0, 0)]
    assert addresses.resolve("both", 5) == [*v6, *v4]
    assert addresses.resolve("both", 5, 4) == v4
    assert addresses.resolve("both", 5, 6) == v6
    known["old"] = ["127.0.0.1"]
    assert addresses.resolve("old", 5, 6) == [("127.0.0.1", 5)]  # preferred, not demanded
    assert list(map(addresses.family_of, [*v6, *v4])) == [10, 2, 2]
    assert list(map(addresses.shown, [*v6, v4[0]])) == ["[::1]:5", "127.0.0.1:5"]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a\0b", "x" * 300, "ü" * 70, "\udc80"])
def test_names_that_are_unknown(host):
    with pytest.raises(ConnectError, match=r"cannot be (found|looked up)") as caught:
        addresses.resolve(host, 5)
    assert repr(host) in str(caught.value)


def test_names_without_addresses(known):
    known["nothing"] = []
    with pytest.raises(ConnectError, match="neither an IPv4 nor an IPv6 address"):
        addresses.resolve("nothing", 5)


def test_a_name_server_that_does_not_answer(monkeypatch):
    def fail(*args):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fail)
    with pytest.raises(ConnectError, match=r"temporary failure.*try again"):
        addresses.resolve("somewhere", 5)


def test_plain_names_need_no_codec_of_international_ones():
    finished = run_python(
        """
        import sys
        from pyroipc.transports import addresses
        addresses.resolve("localhost", 5)
        print("encodings.idna" in sys.modules)
        """
    )
    assert (finished.stdout, finished.stderr) == ("False\n", "")


def test_the_interface_towards_this_machine():
    assert addresses.interface_towards("127.0.0.1") == "127.0.0.1"
    assert addresses.interface_towards("localhost") in ("127.0.0.1", "::1")
    with pytest.raises(ConnectError, match=r"no-such-host\.invalid"):
        addresses.interface_towards("no-such-host.invalid")


@needs_network
def test_addresses_that_others_could_use():
    finished = run_python(
        """
        from tests.support.networks import add_ipv6, enter_network
        from pyroipc.errors import ConnectError
        from pyroipc.transports import addresses
        import socket
        enter_network()
        addresses.socket.gethostname = lambda: "no-such-host.invalid"
        print(addresses.reachable_hosts())
        try:
            addresses.interface_towards("10.0.0.1")
        except ConnectError as error:
            print(error)
        add_ipv6("fe80::7")
        add_ipv6("2001:db8:7::1")
        print(addresses.reachable_hosts())
        """
    )
    assert finished.stderr == ""
    before, error, after = finished.stdout.splitlines()
    assert before == "[]"
    assert error.startswith("no network of this machine leads to '10.0.0.1' (")
    assert after == "['2001:db8:7::1']"


def test_the_same_addresses_as_the_system_says():
    # Each can be bound here, and the one of the way out comes first.
    found = addresses.reachable_hosts()
    assert len(found) == len(set(found))
    for host in found:
        (address,) = addresses.resolve(host, 0)
        with socket.socket(addresses.family_of(address), socket.SOCK_DGRAM) as sock:
            sock.bind(address)
        assert not addresses.is_loopback(host)


def test_the_warning_about_dns(known):
    known.update(
        bad=["127.0.1.1"], good=["10.1.2.3"], mixed=["10.1.2.3", "127.0.1.1"], six=["::1"]
    )
    text = addresses.dns_warning("bad")
    assert text is not None
    assert text.startswith("weird DNS setup: bad resolves to localhost (127.0.1.1)")
    assert "hosts file" in text
    assert "(::1)" in (addresses.dns_warning("six") or "")
    assert "(127.0.1.1)" in (addresses.dns_warning("mixed") or "")
    for host in ("good", "unknown"):
        assert addresses.dns_warning(host) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "", "x.localhost"])
def test_no_warning_for_hosts_that_are_meant_to_be_local(no_look_up, host):
    assert addresses.dns_warning(host) is None

"""Daemons and proxies on several hosts: routers, two networks, IPv6 alone, cables that are cut.

The hosts are network namespaces; see :mod:`tests.support.namespaces`.
"""

from __future__ import annotations

from time import monotonic

import pytest

from pyroipc.uri import URI
from tests.support.namespaces import ConsoleError, Network, why_not

NAME = "server.test"


@pytest.fixture
def network():
    """A network without any hosts yet."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Network() as made:
        yield made


def two_hosts(network, ours, theirs, names=None):
    """Return consoles of a client and a server in one network, and their hosts."""
    client, server = network.host(names=names), network.host(names=names)
    near, far = network.cable(client, server)
    for address in ours:
        client.add_address(near, address)
    for address in theirs:
        server.add_address(far, address)
    return client.console(), server.console(), client, server


def step(report, name, status):
    """Return the texts of the steps of a report that have this name and status."""
    found = [one for one in report["steps"] if (one["step"], one["status"]) == (name, status)]
    return " | ".join(" ".join((one["text"], *one["advice"])) for one in found)


# ------------------------------------------------------------------------------------- NAT


@pytest.mark.parametrize("natport", [9999, 0])
def test_a_router_with_nat(network, natport):
    client, router, server = network.host(), network.host(), network.host()
    near, outside = network.cable(client, router)
    inside, far = network.cable(router, server)
    client.add_address(near, "198.51.100.2/24")
    router.add_address(outside, "198.51.100.1/24")
    router.add_address(inside, "10.9.0.1/24")
    server.add_address(far, "10.9.0.2/24")
    server.ip("route", "add", "default", "via", "10.9.0.1")
    caller, host, forwarder = client.console(), server.console(), router.console()
    friend = client.console().ask("serve('friend', host='127.0.0.1')")

    uri = host.ask(f"serve(host='10.9.0.2', nathost='198.51.100.1', natport={natport})")
    inner = URI(host.ask("uri_inside()"))
    assert (inner.host, URI(uri).host) == ("10.9.0.2", "198.51.100.1")
    assert URI(uri).port == natport or inner.port
    here, there = ("198.51.100.1", URI(uri).port), ("10.9.0.2", inner.port)
    forwarder.ask(f"forward({here}, {there})")

    assert caller.ask(f"call('{uri}')") == "pong"
    # An object that is handed on to a third party is called through the router, too.
    assert caller.ask(f"hand_on('{uri}', '{friend}')") == "pong"
    assert forwarder.ask(f"call('{inner}')") == "pong"
    with pytest.raises(ConsoleError, match="in a network that cannot be reached") as caught:
        caller.ask(f"call('{inner}')")
    assert (caught.value.name, caught.value.call_status) == ("ConnectError", "not sent")

    assert client.doctor(uri)["exit_status"] == 0
    report = client.doctor(str(inner))
    assert report["exit_status"] == 3
    assert "Daemon(nathost=..., natport=...)" in step(report, "connect", "failed")


# -------------------------------------------------------------------------- two interfaces


@pytest.fixture
def between(network):
    """A server between two networks, and a client in each; the way out leads to the second."""
    first, server, second = network.host(), network.host(), network.host()
    for number, host in ((1, first), (2, second)):
        near, far = network.cable(host, server)
        host.add_address(near, f"10.{number}.0.2/24")
        server.add_address(far, f"10.{number}.0.1/24")
    server.ip("route", "add", "default", "via", "10.2.0.2")
    return first, server, second


def test_all_addresses_of_two_networks(between):
    first, server, second = (host.console() for host in between)
    uri = server.ask("serve(host='0.0.0.0')")
    assert URI(uri).host == "10.2.0.1"  # the one that leads to the world
    assert second.ask(f"call('{uri}')") == "pong"
    assert first.ask(f"call('PYRO:thing@10.1.0.1:{URI(uri).port}')") == "pong"
    local = server.ask("serve('local', host='localhost')")
    with pytest.raises(ConsoleError, match="refused the connection") as caught:
        first.ask(f"call('PYRO:local@10.1.0.1:{URI(local).port}')")
    assert caught.value.name == "ConnectError"
    report = between[0].doctor(f"PYRO:local@10.1.0.1:{URI(local).port}")
    assert report["exit_status"] == 3
    assert any("127.0.0.1" in line for line in report["check_by_hand"])


def test_one_daemon_at_two_addresses(between):
    first, server, second = (host.console() for host in between)
    uri = server.ask("serve(host='10.1.0.1', listen=['10.2.0.1:0'])")
    places = server.ask("locations()")
    assert [place.partition(":")[0] for place in places] == ["10.1.0.1", "10.2.0.1"]
    assert uri == f"PYRO:thing@{places[0]}"
    assert first.ask(f"call('{uri}')") == "pong"
    assert second.ask(f"call('PYRO:thing@{places[1]}')") == "pong"


# -------------------------------------------------------------------------------- IPv6


def test_ipv6_alone(network):
    client, server, host, _ = two_hosts(
        network, ["fd00:7::2/64"], ["fd00:7::1/64"], names={"fd00:7::1": NAME}
    )
    for listen in ("fd00:7::1", "::", NAME):
        uri = server.ask(f"serve(host='{listen}')")
        assert URI(uri).host in {"fd00:7::1", NAME}
        assert client.ask(f"call('{uri}')") == "pong"
    by_name = f"PYRO:thing@{NAME}:{URI(uri).port}"
    assert client.ask(f"call('{by_name}', PREFER_IP_VERSION=4)") == "pong"  # it has no other
    report = host.doctor(by_name, PREFER_IP_VERSION="4")
    assert report["exit_status"] == 0
    assert "has no IPv4 address" in step(report, "address", "warning")
    with pytest.raises(ConsoleError, match="network that cannot be reached"):
        client.ask("call('PYRO:thing@10.0.0.1:9090')")


def test_a_host_with_both_versions(network):
    names = {"10.3.0.1": NAME, "fd00:3::1": NAME}
    client, server, host, _ = two_hosts(
        network, ["10.3.0.2/24", "fd00:3::2/64"], ["10.3.0.1/24", "fd00:3::1/64"], names=names
    )
    port = URI(server.ask("serve(host='::')")).port
    for address in ("10.3.0.1", "[fd00:3::1]", NAME):
        assert client.ask(f"call('PYRO:thing@{address}:{port}')") == "pong"
    port = URI(server.ask("serve('four', host='10.3.0.1')")).port
    uri = f"PYRO:four@{NAME}:{port}"
    assert client.ask(f"call('{uri}')") == "pong"  # the second address, if not the first
    assert client.ask(f"call('{uri}', PREFER_IP_VERSION=4)") == "pong"
    with pytest.raises(ConsoleError, match="refused the connection"):
        client.ask(f"call('{uri}', PREFER_IP_VERSION=6)")
    report = host.doctor(uri)
    assert report["exit_status"] == 0
    assert "one version of IP in common" in step(report, "connect", "warning")


def test_a_link_local_address(network):
    client, server, host, _ = two_hosts(network, ["fe80::2/64"], ["fe80::1/64"])
    uri = server.ask("serve(host='fe80::1%eth0')")
    assert URI(uri).host == "fe80::1%eth0"
    assert client.ask(f"call('{uri}')") == "pong"
    bare = uri.replace("%eth0", "")
    with pytest.raises(ConsoleError, match="needs the interface") as caught:
        client.ask(f"call('{bare}')")
    assert caught.value.name == "ConnectError"
    report = host.doctor(uri)
    assert (report["exit_status"], report["status"]) == (0, "warning")
    report = host.doctor(bare)
    assert report["exit_status"] == 3
    assert f"[{'fe80::1'}%eth0]" in step(report, "address", "warning")


# --------------------------------------------------------------------- out of reach


def test_a_host_that_does_not_answer(network):
    names = {"fd00:4::9": NAME, "10.4.0.1": NAME}
    client, server, host, _ = two_hosts(
        network, ["10.4.0.2/24", "fd00:4::2/64"], ["10.4.0.1/24"], names=names
    )
    for address in ("10.4.0.9", "fd00:4::9"):  # what is sent there gets lost
        host.ip("neigh", "add", address, "lladdr", "02:00:00:00:00:99", "dev", "eth0")
    with pytest.raises(ConsoleError, match="did not answer") as caught:
        client.ask("call('PYRO:thing@10.4.0.9:9090', CONNECT_TIMEOUT=0.5)")
    assert (caught.value.name, caught.value.call_status) == ("TimeoutError", "not sent")
    assert 0.4 < caught.value.seconds < 5
    # A first address that does not answer leaves time for the second.
    port = URI(server.ask("serve(host='10.4.0.1')")).port
    assert client.ask(f"call('PYRO:thing@{NAME}:{port}', CONNECT_TIMEOUT=1.0)") == "pong"

    begin = monotonic()
    report = host.doctor("PYRO:thing@10.4.0.9:9090", "--timeout", "1")
    assert monotonic() - begin < 8
    assert report["exit_status"] == 3
    assert "does a firewall let the port pass?" in step(report, "connect", "failed")
    assert "private address" in step(report, "connect", "failed")


# ------------------------------------------------------------------------------ a cut cable


def test_a_cable_that_is_cut_in_the_middle_of_a_call(network):
    switch = network.switch()
    client, server = network.host(), network.host()
    switch.plug_in(client, "10.5.0.2/24")
    switch.plug_in(server, "10.5.0.1/24")
    caller, host = client.console(), server.console()
    uris = {}
    for kind in ("thread", "multiplex"):
        options = f"host='10.5.0.1', SOCK_KEEPALIVE=1.0, SERVERTYPE='{kind}'"
        uris[kind] = host.ask(f"serve('{kind}', {options})")
        caller.ask(f"begin('{uris[kind]}', 'wait', SOCK_KEEPALIVE=1.0)")
        assert host.ask(f"wait_for('called', '{kind}')")

    moment = monotonic()
    switch.cut(server)
    for uri in uris.values():
        with pytest.raises(ConsoleError) as caught:
            caller.ask(f"outcome('{uri}')")
        # The kernel asks after one second, and four times more, each after another one.
        assert 3 < monotonic() - moment < 12
        assert caught.value.name == "ConnectionClosedError"
        assert caught.value.call_status == "unknown"
    for kind in uris:
        host.ask(f"release('{kind}')")
        assert host.ask(f"wait_for('gone', '{kind}')")  # the daemon has noticed it, too
    assert monotonic() - moment < 15

    switch.mend(server)
    for uri in uris.values():
        assert caller.ask(f"call_again('{uri}')") == "pong"  # it connects again by itself

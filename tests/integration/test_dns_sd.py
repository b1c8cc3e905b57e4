"""Finding a name server by DNS-SD: over loopback, and between hosts that have IPv6 only."""

from __future__ import annotations

import contextlib
import json
import sys
import time

import pytest

import pyroipc
from pyroipc.client import dns_sd as looking
from pyroipc.client.dns_sd import browse
from pyroipc.errors import NamingError
from pyroipc.naming.dns_sd import Announcement
from pyroipc.naming.server import NameServerDaemon
from tests.support import namespaces
from tests.support.commands import running
from tests.support.daemons import settings as changed_settings
from tests.support.name_servers import directory, name_server
from tests.support.namespaces import Network

pytest.importorskip("zeroconf")

LOOPBACK = ["127.0.0.1"]
needs_namespaces = pytest.mark.skipif(
    namespaces.why_not() is not None, reason=str(namespaces.why_not())
)


def found_at(port, seconds=3.0):
    """Look until the name server with a port is found; the URIs of others do not count."""
    with contextlib.closing(browse(time.monotonic() + seconds, interfaces=LOOPBACK)) as uris:
        return next((str(uri) for uri in uris if uri.port == port), None)


@pytest.mark.slow
def test_announced_found_and_taken_back():
    with name_server() as names:
        with Announcement(names.daemon, interfaces=LOOPBACK) as announcement:
            assert len(announcement.names) == 1
            assert announcement.names[0].endswith(f"-{names.port}")
            assert found_at(names.port) == f"PYRO:Pyro.NameServer@127.0.0.1:{names.port}"
        assert found_at(names.port, 0.5) is None
        announcement.close()


def test_what_only_this_machine_can_use_is_not_announced():
    with name_server() as names, pytest.raises(NamingError, match="only this machine can connect"):
        Announcement(names.daemon)
    with (
        directory() as path,
        NameServerDaemon(unixsocket=f"{path}/ns.sock") as daemon,
        pytest.raises(NamingError, match="only this machine can connect"),
    ):
        Announcement(daemon)


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)


def test_without_the_library(no_library):
    with pytest.raises(NamingError, match=r'pip install "pyroipc\[zeroconf\]"'):
        next(browse())
    settings = changed_settings(NS_PORT=1, BROADCAST_ADDRS=[], NS_DNS_SD=True)
    with pytest.raises(NamingError, match=r"failed to locate.*DNS-SD needs the library zeroconf"):
        pyroipc.locate_ns(settings=settings)
    with (
        name_server("0.0.0.0") as names,
        pytest.raises(NamingError, match="DNS-SD needs the library"),
    ):
        Announcement(names.daemon)


def test_it_is_off_unless_asked_for(monkeypatch):
    asked = []

    def ask(_deadline):
        asked.append(True)
        yield from ()

    monkeypatch.setattr(looking, "browse", ask)
    settings = changed_settings(NS_PORT=1, BROADCAST_ADDRS=[])
    with pytest.raises(NamingError):
        pyroipc.locate_ns(settings=settings)
    assert not asked
    settings.NS_DNS_SD = True
    with pytest.raises(NamingError):
        pyroipc.locate_ns(broadcast=False, settings=settings)
    assert not asked
    with pytest.raises(NamingError, match="DNS-SD: no answer"):
        pyroipc.locate_ns(settings=settings)
    assert asked


def test_what_is_found_has_to_be_a_name_server(monkeypatch):
    with name_server() as names, pyroipc.Daemon("127.0.0.1") as other:
        found = [
            pyroipc.URI(f"PYRO:Pyro.NameServer@{where}")
            for where in ("127.0.0.1:1", names.location)
        ]
        monkeypatch.setattr(looking, "browse", lambda _deadline: (uri for uri in found))
        settings = changed_settings(NS_PORT=1, BROADCAST_ADDRS=[], NS_DNS_SD=True)
        with pyroipc.locate_ns(settings=settings) as ns:
            assert ns._pyroUri == found[1]
        assert other.locations


def test_a_deadline_ends_it():
    begin = time.monotonic()
    assert found_at(1, 0.2) is None
    assert time.monotonic() - begin < 6


@pytest.mark.slow
@needs_namespaces
def test_hosts_that_have_ipv6_only():
    with Network() as network:
        server, client = network.host(), network.host()
        switch = network.switch()
        switch.plug_in(server, "fd00:1::1/64")
        switch.plug_in(client, "fd00:1::2/64")
        options = ("-n", "::", "-p", "9090", "--dns-sd")
        with running("pyroipc", "ns", *options, host=server) as command:
            command.read_until(r"^URI = ")
            assert "Announced by DNS-SD as " in command.printed
            status, printed = client.run(
                "-m",
                "pyroipc",
                "nsc",
                "ping",
                environment={"PYRO_NS_PORT": "1", "PYRO_NS_DNS_SD": "1"},
            )
            assert status == 0, printed
            assert "PYRO:Pyro.NameServer@[fd00:1::1]:9090" in printed
            environment = {"PYRO_NS_PORT": "1", "PYRO_BROADCAST_ADDRS": "", "PYRO_NS_DNS_SD": "1"}
            status, printed = client.run(
                "-m", "pyroipc", "doctor", "--json", environment=environment
            )
            steps = json.loads(printed)["steps"]
            found = [step["facts"]["uri"] for step in steps if step["step"] == "dns-sd"]
            assert (status, found) == (0, ["PYRO:Pyro.NameServer@[fd00:1::1]:9090"])

"""Several name servers over one cluster of etcd: names outlive any one of them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

import pytest

import pyroipc
from pyroipc.errors import CommunicationError, NamingError
from tests.support.daemons import serving
from tests.support.daemons import settings as changed_settings
from tests.support.etcd import needs_etcd, running_cluster
from tests.support.hosts import PATIENCE, Child, Worker
from tests.support.name_servers import child_name_server
from tests.support.waiting import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.etcd import Cluster

pytestmark = [needs_etcd, pytest.mark.slow]

SOMEWHERE = "PYRO:thing@192.0.2.1:9000"


@pyroipc.expose
class Thing:
    def where(self):
        return "here"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(3) as running:
        yield running


class Site:
    """Some name servers that share a storage, and the settings of a client that knows them all."""

    def __init__(self, servers):
        self.servers = servers
        self.settings = changed_settings(
            NS_HOST=", ".join(server.location for server in servers), BROADCAST_ADDRS=[]
        )

    def resolve(self, name):
        return pyroipc.resolve(f"PYRONAME:{name}", settings=self.settings)

    def is_there(self, name):
        """Say whether a name is known; False also while that cannot be told."""
        try:
            self.resolve(name)
        except (NamingError, CommunicationError):
            return False
        return True


@contextlib.contextmanager
def site(storage, number):
    with contextlib.ExitStack() as stack:
        options = {"storage": storage}
        yield Site([stack.enter_context(child_name_server(**options)) for _ in range(number)])


# --- one database ------------------------------------------------------------------------------


def test_what_is_registered_at_one_is_found_at_the_others(cluster):
    with site(cluster.new_text(), 2) as running:
        one, other = running.servers
        with one.locate() as first, other.locate() as second:
            first.register("x", SOMEWHERE, metadata={"red"})
            assert str(second.lookup("x")) == SOMEWHERE
            assert set(second.yplookup(meta_all={"red"})) == {"x"}
            second.set_metadata("x", {"blue"})
            assert first.lookup("x", return_metadata=True)[1] == {"blue"}
            assert second.remove("x") == 1
            assert "x" not in first.list()
            # Each is an entry of its own, and there is no other.
            assert first.list() == {"Pyro.NameServer": f"PYRO:Pyro.NameServer@{one.location}"}
            assert second.list() == {"Pyro.NameServer": f"PYRO:Pyro.NameServer@{other.location}"}


def _registered(ns, name, uri):
    """Register a name that is free; say whether it was."""
    try:
        ns.register(name, uri, safe=True)
    except NamingError as error:
        if "name already registered" not in str(error):
            raise
        return False
    return True


def test_of_two_that_register_the_same_name_one_wins(cluster):
    names = [f"name {i}" for i in range(40)]

    def register_all(server, uri, gate):
        won = set()
        with server.locate() as ns:
            for name in names:
                gate.wait(PATIENCE)
                if _registered(ns, name, uri):
                    won.add(name)
        return won

    with site(cluster.new_text(), 2) as running:
        gate = threading.Barrier(4)
        uris = [f"PYRO:thing@192.0.2.{i}:9000" for i in range(4)]
        workers = [
            Worker(register_all, running.servers[i % 2], uri, gate) for i, uri in enumerate(uris)
        ]
        winners = [worker.result(30) for worker in workers]
        assert sum(map(len, winners)) == len(names)
        assert set().union(*winners) == set(names)
        for server in running.servers:
            with server.locate() as ns:
                for uri, won in zip(uris, winners, strict=True):
                    assert {name for name, found in ns.list().items() if found == uri} == won


# --- parts of it die -----------------------------------------------------------------------------


class Clients:
    """Look names up and call the objects, in threads, and count what goes wrong."""

    def __init__(self, running, name):
        self._running, self._name = running, name
        self._stop = threading.Event()
        self.calls = 0
        self.retries = []
        self._workers = [Worker(self._work) for _ in range(3)]

    def _work(self):
        while not self._stop.is_set():
            try:
                self._call()
            except (NamingError, CommunicationError) as error:
                self.retries.append(repr(error))
                self._call()  # a second time it has to work
            self.calls += 1

    def _call(self):
        with pyroipc.Proxy(f"PYRONAME:{self._name}", settings=self._running.settings) as proxy:
            proxy._pyroTimeout = PATIENCE
            assert proxy.where() == "here"

    def goes_on(self):
        """Return when calls have been made that began after now."""
        done = self.calls
        wait_until(lambda: self.calls > done + 30, "objects are found and called", 20)

    def stop(self):
        self._stop.set()
        for worker in self._workers:
            worker.result(20)


@pytest.mark.timeout(90)
def test_names_are_found_while_a_node_and_then_a_name_server_are_killed():
    with (
        running_cluster(3) as cluster,
        site(cluster.new_text(), 3) as running,
        serving({"thing": Thing()}) as served,
        pyroipc.publish(served.daemon, {"thing": "thing"}, settings=running.settings),
    ):
        clients = Clients(running, "thing")
        try:
            clients.goes_on()
            for number in range(3):  # one of them is the leader
                cluster.nodes[number].kill()
                clients.goes_on()
                cluster.start(number)
            for server in running.servers[:2]:
                server.kill()
                clients.goes_on()
        finally:
            clients.stop()
        assert len(clients.retries) <= 1, clients.retries


def test_a_name_server_that_hangs_is_left_for_another_one(cluster):
    with site(cluster.new_text(), 2) as running, running.servers[0].locate() as ns:
        ns.register("x", SOMEWHERE)
        running.settings.COMMTIMEOUT = 0.3
        assert running.is_there("x")
        child = running.servers[0].child
        child.kill(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            with pytest.raises(CommunicationError):
                running.resolve("x")
            for _ in range(3):
                assert str(running.resolve("x")) == SOMEWHERE
            assert time.monotonic() - begin < 8
        finally:
            child.kill(signal.SIGCONT)


# --- leases --------------------------------------------------------------------------------------


def _publish(settings, names, ttl, writer):
    objects = dict.fromkeys(names, "thing")
    with (
        serving({"thing": Thing()}) as served,
        pyroipc.publish(served.daemon, objects, ttl=ttl, settings=settings),
    ):
        os.write(writer, b"!")
        signal.pause()


def test_names_of_a_killed_owner_go_within_their_time(cluster):
    ttl = 2.0
    with site(cluster.new_text(), 2) as running:
        reader, writer = os.pipe()
        owner = Child(_publish, running.settings, ["x", "y"], ttl, writer)
        os.close(writer)
        try:
            assert select.select([reader], [], [], PATIENCE)[0], "the names are not published"
            with running.servers[1].locate() as ns:
                ns.register("for ever", SOMEWHERE)
                end = time.monotonic() + 1.5 * ttl
                wait_until(lambda: time.monotonic() > end, "one and a half leases are over")
                assert set(ns.list()) == {"Pyro.NameServer", "for ever", "x", "y"}
                owner.kill()
                owner.wait()
                killed = time.monotonic()
                wait_until(lambda: not running.is_there("x"), "the name is gone")
                assert time.monotonic() - killed < ttl + 3
                wait_until(
                    lambda: set(ns.list()) == {"Pyro.NameServer", "for ever"}, "the other one, too"
                )
        finally:
            os.close(reader)
            if owner.status is None:
                owner.kill()
                owner.wait()


@pytest.mark.timeout(90)
def test_publications_come_back_with_the_cluster(caplog):
    with (
        running_cluster(1) as cluster,
        site(cluster.text(), 2) as running,
        serving({"thing": Thing()}) as served,
        pyroipc.publish(served.daemon, {"thing": "thing"}, ttl=1, settings=running.settings),
    ):
        (node,) = cluster.nodes
        node.kill()
        wait_until(lambda: "cannot be renewed" in caplog.text, "it is missed", 20)
        with running.servers[0].locate() as ns:
            assert ns.ping() is None  # what needs no storage is answered meanwhile
            with pytest.raises(NamingError, match="etcd"):
                ns.lookup("thing")
        cluster.start()
        wait_until(lambda: running.is_there("thing"), "the name is registered again", 20)
        assert str(running.resolve("thing")) == served.uri()
        wait_until(lambda: "renewed again" in caplog.text, "that is told")

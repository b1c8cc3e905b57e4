"""Names with a lease: kept as long as their server lives, and no longer."""

from __future__ import annotations

import os
import select
import time

import pytest

import pyroipc
from pyroipc.errors import DaemonError, NamingError
from tests.support.daemons import serving
from tests.support.hosts import PATIENCE, Child
from tests.support.name_servers import child_name_server, name_server
from tests.support.waiting import wait_until

SOMEWHERE = "PYRO:thing@192.0.2.1:9000"
ELSEWHERE = "PYRO:thing@192.0.2.2:9000"


@pyroipc.expose
class Thing:
    def where(self):
        return "here"


def test_a_name_ends_with_its_lease():
    with name_server() as names, names.locate() as ns:
        ns.register("x", SOMEWHERE, ttl=1)
        ns.register("y", SOMEWHERE)
        assert set(ns.list(regex="[xy]")) == {"x", "y"}
        begin = time.monotonic()
        wait_until(lambda: "x" not in ns.list(), "the lease is over")
        assert 0.5 < time.monotonic() - begin < 5
        with pytest.raises(NamingError, match="unknown name: x"):
            ns.lookup("x")
        ns.register("x", SOMEWHERE, safe=True)  # it is free again
        assert ns.count() == 3


def test_renewing():
    with name_server() as names, names.locate() as ns:
        ns.register("mine", SOMEWHERE, ttl=1, metadata={"t"})
        ns.register("taken", ELSEWHERE, ttl=1)
        ns.register("for ever", SOMEWHERE)
        wanted = dict.fromkeys(("mine", "taken", "for ever", "gone"), SOMEWHERE)
        assert ns.renew(wanted, 60) == {"taken": "taken", "gone": "unknown"}
        wait_until(lambda: "taken" not in ns.list(), "the other lease is over")
        assert ns.lookup("mine", return_metadata=True) == (pyroipc.URI(SOMEWHERE), {"t"})
        entry = names.daemon.nameserver.storage.get("for ever")
        assert entry.expires is None
        with pytest.raises(TypeError, match="name must be a str, not int"):
            ns.renew({7: SOMEWHERE}, 60)
        with pytest.raises(TypeError, match="renew takes a dict"):
            ns._pyroInvoke("renew", ([], 60), {})
        with pytest.raises(NamingError, match="a ttl is from"):
            ns.renew(wanted, 0)


def test_a_publication_keeps_names_and_takes_them_with_it():
    thing = Thing()
    with (
        name_server() as names,
        names.locate() as ns,
        serving({"known": thing}) as served,
        pyroipc.publish(
            served.daemon,
            {"one": thing, "two": Thing(), "three": "known", "four": pyroipc.URI(SOMEWHERE)},
            ttl=1,
            metadata={"one": ["a", "b"], "two": {"b"}},
            settings=names.settings,
        ) as publication,
    ):
        assert publication.names == {"one", "two", "three", "four"}
        assert {name: str(uri) for name, uri in publication.uris.items()} == {
            name: uri for name, uri in ns.list().items() if name != "Pyro.NameServer"
        }
        assert set(ns.yplookup(meta_any=["b"])) == {"one", "two"}
        end = time.monotonic() + 1.5  # more than a lease
        wait_until(lambda: time.monotonic() > end, "one and a half leases are over")
        with names.proxy("PYRONAME:two") as proxy:
            assert proxy.where() == "here"
        ns.register("four", ELSEWHERE)
        publication.close()
        assert ns.list() == {"Pyro.NameServer": ns.list()["Pyro.NameServer"], "four": ELSEWHERE}
        publication.close()


def test_names_that_are_taken_are_left_alone(caplog):
    with name_server() as names, names.locate() as ns, serving({"thing": Thing()}) as served:
        ns.register("old", SOMEWHERE)
        with pytest.raises(NamingError, match="name already registered: old"):
            pyroipc.publish(
                served.daemon, {"new": "thing", "old": "thing"}, safe=True, settings=names.settings
            )
        assert set(ns.list()) == {"Pyro.NameServer", "old"}
        with pyroipc.publish(
            served.daemon, {"old": "thing", "own": "thing"}, ttl=1, settings=names.settings
        ) as publication:
            ns.register("old", ELSEWHERE)
            wait_until(lambda: publication.names == {"own"}, "it is given up")
            wait_until(lambda: "somebody else has registered it" in caplog.text, "that is told")
            assert str(ns.lookup("old")) == ELSEWHERE
        assert set(ns.list()) == {"Pyro.NameServer", "old"}


def test_names_come_back_with_the_name_server(caplog):
    with serving({"thing": Thing()}) as served:
        with child_name_server() as first:
            publication = pyroipc.publish(
                served.daemon, {"thing": "thing"}, ttl=1.5, settings=first.settings
            )
            first.kill()
            wait_until(lambda: "cannot be renewed" in caplog.text, "it is missed")
        with publication, child_name_server(port=first.port) as second, second.locate() as ns:
            wait_until(lambda: "thing" in ns.list(), "the name is registered again")
            assert str(ns.lookup("thing")) == served.uri()
            wait_until(lambda: "renewed again" in caplog.text, "that is told")


def test_closing_without_a_name_server():
    with serving({"thing": Thing()}) as served:
        with child_name_server() as names:
            publication = pyroipc.publish(
                served.daemon, {"thing": "thing"}, ttl=60, settings=names.settings
            )
            names.kill()
        begin = time.monotonic()
        publication.close()
        assert time.monotonic() - begin < 5


def test_the_names_of_a_closed_daemon_go():
    with name_server() as names, names.locate() as ns:
        with serving({"thing": Thing()}) as served:
            publication = pyroipc.publish(
                served.daemon, {"thing": "thing"}, ttl=1, settings=names.settings
            )
        begin = time.monotonic()
        wait_until(lambda: "thing" not in ns.list(), "the name is gone")
        assert time.monotonic() - begin < 1
        publication.close()


def test_what_is_killed_disappears():
    with name_server() as names, names.locate() as ns:
        reader, writer = os.pipe()

        def run():
            with pyroipc.Daemon("127.0.0.1") as daemon:
                pyroipc.publish(
                    daemon, {"x": Thing(), "y": Thing()}, ttl=1, settings=names.settings
                )
                os.write(writer, b"x")
                daemon.requestLoop()

        child = Child(run)
        assert select.select([reader], [], [], PATIENCE)[0]
        os.close(reader)
        os.close(writer)
        assert set(ns.list(regex="[xy]$")) == {"x", "y"}
        child.kill()
        child.wait()
        begin = time.monotonic()
        wait_until(lambda: not ns.list(regex="[xy]$"), "the names are gone")
        assert time.monotonic() - begin < 5


def test_a_forked_child_does_not_end_the_lease_of_its_parent():
    with name_server() as names, names.locate() as ns, serving({"thing": Thing()}) as served:
        with pyroipc.publish(
            served.daemon, {"thing": "thing"}, settings=names.settings
        ) as publication:
            assert Child(publication.close).wait() == 0
            assert "thing" in ns.list()
        assert "thing" not in ns.list()


def test_what_cannot_be_published():
    import socket

    with name_server() as names, serving({"thing": Thing()}) as served:
        for objects, options, error in (
            ({"x": "thing"}, {"ttl": 0}, NamingError),
            ({"Pyro.x": "thing"}, {}, NamingError),
            ({"x": "thing"}, {"metadata": "tag"}, TypeError),
            ({"x": "thing"}, {"host": "127.0.0.1", "port": 1}, NamingError),
        ):
            with pytest.raises(error):
                pyroipc.publish(served.daemon, objects, settings=names.settings, **options)
        near, far = socket.socketpair()
        with (
            near,
            far,
            pyroipc.Daemon(connected_socket=near) as daemon,
            pytest.raises(DaemonError, match="a daemon that listens"),
        ):
            pyroipc.publish(daemon, {"x": Thing()}, settings=names.settings)
        with names.locate() as ns:
            assert ns.count() == 1

"""What ends with a client: tracked resources, sessions, and the hook that tells of it."""

from __future__ import annotations

import signal
import threading

import pytest

from pyroipc import Daemon, Proxy, behavior, current_context, expose
from tests.support.hosts import Child, Worker, unix_pair
from tests.support.waiting import wait_until


class Resource:
    def __init__(self, log, name, error=None):
        self._log, self._name, self._error = log, name, error

    def close(self):
        self._log.append(self._name)
        if self._error:
            raise self._error


@expose
@behavior(instance_mode="session")
class Office:
    log: list = []  # noqa: RUF012

    def __init__(self):
        self._kept = []

    def open(self, name, fails=False):
        resource = Resource(self.log, name, OSError("cannot be closed") if fails else None)
        self._kept.append(resource)
        current_context.track_resource(resource)

    def drop(self):
        self._kept.clear()

    def untrack(self):
        for resource in self._kept:
            current_context.untrack_resource(resource)

    def client(self):
        client = current_context.client
        client.visits = getattr(client, "visits", 0) + 1
        return [client.family(), client.visits, client.sock.fileno() >= 0]


class Watching(Daemon):
    def clientDisconnect(self, conn):
        Office.log.append("client gone")


@pytest.fixture
def office():
    Office.log.clear()
    near, far = unix_pair()
    with near, far:
        daemon = Watching(connected_socket=far)
        daemon.register(Office, "office")
        loop = Worker(daemon.requestLoop)
        yield near, daemon, loop
        daemon.close()
        loop.result()


def connected(near):
    proxy = Proxy("office", connected_socket=near)
    proxy.open("a")
    return proxy


def gone():
    wait_until(lambda: "a" in Office.log, "the resource was closed")
    assert Office.log == ["client gone", "a"]  # once, and in this order


def test_after_a_goodbye(office):
    near, *_ = office
    connected(near)._pyroRelease()
    gone()


def test_after_the_end_of_the_stream(office):
    near, *_ = office
    connected(near)
    near.shutdown(2)
    gone()


def test_after_a_shutdown_of_the_daemon(office):
    near, daemon, loop = office
    connected(near)
    daemon.shutdown()
    loop.result()
    gone()


def test_after_the_death_of_the_client():
    Office.log.clear()
    near, far = unix_pair()
    with far:

        def body():
            far.close()
            connected(near)
            signal.pause()

        child = Child(body)
        near.close()
        daemon = Watching(connected_socket=far)
        daemon.register(Office, "office")
        loop = Worker(daemon.requestLoop)
        wait_until(lambda: daemon._service and daemon._service.connection._tracked, "it came")
        child.kill()
        child.wait()
        loop.result()
        gone()
        daemon.close()


def test_each_client_once(office):
    near, *_ = office
    for number in range(1, 4):
        with Proxy("office", connected_socket=near) as proxy:
            assert list(proxy.client()) == ["Unix", 1, True]
            assert proxy.client()[1] == 2
        wait_until(lambda n=number: Office.log.count("client gone") == n, "the client has gone")


def test_an_error_of_one_does_not_keep_the_others(office, caplog):
    near, *_ = office
    proxy = connected(near)
    proxy.open("b", True)
    proxy.open("c")
    proxy._pyroRelease()
    wait_until(lambda: len(Office.log) == 4, "all are closed")
    assert sorted(Office.log[1:]) == ["a", "b", "c"]
    wait_until(lambda: "cannot be closed" in caplog.text, "that is logged")


def test_dropped_and_untracked_ones_are_left_alone(office):
    near, *_ = office
    proxy = connected(near)
    proxy.drop()
    proxy.open("b")
    proxy.untrack()
    proxy._pyroRelease()
    wait_until(lambda: Office.log, "the client has gone")
    assert Office.log == ["client gone"]


def test_errors_of_the_hook_are_logged(caplog):
    class Failing(Daemon):
        def clientDisconnect(self, conn):
            done.set()
            raise RuntimeError("the hook failed")

    done = threading.Event()
    near, far = unix_pair()
    with near, far:
        daemon = Failing(connected_socket=far)
        daemon.register(Office, "office")
        loop = Worker(daemon.requestLoop)
        Proxy("office", connected_socket=near).client()
        daemon.close()
        loop.result()
    assert done.is_set()
    assert "the hook failed" in caplog.text

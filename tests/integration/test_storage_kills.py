"""Storages whose users or nodes are killed: what was acknowledged is there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming.storage.base import Entry
from pyroipc.naming.storage.table import open_storage
from tests.support.etcd import needs_etcd, running_cluster
from tests.support.hosts import Worker
from tests.support.snippets import ROOT
from tests.support.waiting import wait_until

KILLS = int(os.environ.get("PYROIPC_STORAGE_KILLS", "20"))
URI = "PYRO:obj@host:9090"
# Four threads, so that commits have several changes in them; each line is an acknowledged name.
REGISTRAR = """
import os, sys, threading
from pyroipc.naming.storage.base import Entry
from pyroipc.naming.storage.table import open_storage

storage = open_storage(sys.argv[1], timeout=20)

def work(number):
    i = 0
    while True:
        name = f"{sys.argv[2]}.{number}.{i}"
        if i % 5 == 4:
            storage.remove(f"{sys.argv[2]}.{number}.{i - 1}")
            os.write(1, f"-{sys.argv[2]}.{number}.{i - 1}\\n".encode())
        storage.put(Entry(name, "uri", frozenset({sys.argv[2], name})), only_new=bool(i % 2))
        os.write(1, f"+{name}\\n".encode())
        i += 1

for number in range(4):
    threading.Thread(target=work, args=(number,)).start()
"""


def killed_while_registering(text, turn, after):
    """Run a process that registers, kill it when it has done so much; return what it said."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", REGISTRAR, text, str(turn)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        said = [process.stdout.readline() for _ in range(after)]
    finally:
        process.kill()
        rest = process.communicate()[0]
    assert process.returncode == -9
    return [line.decode().strip() for line in [*said, *rest.splitlines()]]


def test_nothing_acknowledged_is_lost_when_a_process_is_killed(tmp_path):
    text = f"sqlite:{tmp_path}/names.db"
    chance = random.Random(5)
    there, gone = set(), set()
    for turn in range(KILLS):
        for line in killed_while_registering(text, turn, chance.randrange(1, 60)):
            (there if line[0] == "+" else gone).add(line[1:])
    # The last one of each thread may be there without having been acknowledged, or the other way
    # round: removed, and nobody was told.
    storage = open_storage(text)
    try:
        found = {entry.name for entry in storage.entries()}
        lost = there - gone - found
        assert all(f"{name.rpartition('.')[0]}.{_number(name) + 1}" not in there for name in lost)
        assert all(_number(name) % 5 == 3 for name in lost)  # only such are removed
        assert not gone & found
        for entry in storage.entries():
            assert entry.metadata == {entry.name.partition(".")[0], entry.name}
        for name in sorted(found)[:50]:
            assert [entry.name for entry in storage.entries(tags_all={name})] == [name]
    finally:
        storage.close()
    assert len(there) > KILLS


def _number(name):
    return int(name.rpartition(".")[2])


class Load:
    """Threads that register names, and look each of them up, until they are told to stop."""

    def __init__(self, storage):
        self._storage = storage
        self._stop = threading.Event()
        self.written = []
        self.durations = []
        self._workers = [Worker(self._work, number) for number in range(3)]

    def _work(self, number):
        i = 0
        while not self._stop.is_set():
            entry = Entry(f"{number}.{i}", URI, frozenset({"tag"}), time.time() + 600)
            begin = time.monotonic()
            assert self._storage.put(entry, only_new=True) is True
            assert self._storage.get(entry.name) == entry
            self.durations.append(time.monotonic() - begin)
            self.written.append(entry.name)
            i += 1

    def goes_on(self):
        done = len(self.written)
        wait_until(lambda: len(self.written) > done + 30, "names are registered again", 20)

    def stop(self):
        """End; raise what went wrong in a thread."""
        self._stop.set()
        for worker in self._workers:
            worker.result()


@needs_etcd
@pytest.mark.timeout(120)
@pytest.mark.slow
def test_names_are_found_while_a_node_of_three_is_killed():
    with running_cluster(3) as cluster:
        storage = open_storage(cluster.text())
        load = Load(storage)
        try:
            load.goes_on()
            for number in (0, 1, 2):  # one of them is the leader
                cluster.nodes[number].kill()
                load.goes_on()
                cluster.start(number)
            cluster.nodes[0].pause()
            load.goes_on()
        finally:
            cluster.nodes[0].go_on()
            load.stop()
            storage.close()
        assert max(load.durations) < 5
        other = open_storage(cluster.text())
        try:
            assert [entry.name for entry in other.entries()] == sorted(load.written)
            assert len(other.entries(tags_all={"tag"})) == len(load.written)
        finally:
            other.close()


@needs_etcd
def test_most_nodes_are_gone():
    with running_cluster(3) as cluster:
        storage = open_storage(cluster.text(), timeout=1)
        try:
            storage.put(Entry("name", URI))
            for number in (0, 1):
                cluster.nodes[number].kill()
            for use in (
                lambda: storage.put(Entry("other", URI)),
                lambda: storage.get("name"),
            ):
                begin = time.monotonic()
                with pytest.raises(NamingError, match="did not answer within 1 s"):
                    use()
                assert time.monotonic() - begin < 3
            cluster.start(0)
            wait_until(lambda: _is_there(storage, "name"), "the cluster has a leader again")
            assert storage.put(Entry("third", URI), only_new=True) is True
        finally:
            storage.close()


def _is_there(storage, name):
    try:
        return storage.get(name) is not None
    except NamingError:
        return False

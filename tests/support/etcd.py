"""Real nodes of etcd on loopback, each with a folder of its own."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = shutil.which("etcd")
needs_etcd = pytest.mark.skipif(
    PROGRAM is None, reason="there is no etcd on this machine (Debian's package: etcd-server)"
)
PATIENCE = 20.0
_prefixes = itertools.count()
_no_proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Node:
    """One node: a process that can be killed, stopped for a while, and started again."""

    def __init__(self, number: int, folder: Path, client_port: int, peer_port: int) -> None:
        self.name = f"node{number}"
        self.folder = folder / self.name
        self.address = f"127.0.0.1:{client_port}"
        self.peer = f"http://127.0.0.1:{peer_port}"
        self._log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str) -> None:
        assert PROGRAM is not None
        client = f"http://{self.address}"
        command = [
            PROGRAM, "--name", self.name, "--data-dir", str(self.folder),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", cluster, "--log-level", "error",
            # Elections within half a second, so that tests of failures are short.
            "--heartbeat-interval", "50", "--election-timeout", "500",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def is_healthy(self) -> bool:
        assert self.process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            with _no_proxies.open(f"http://{self.address}/health", timeout=2) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def pause(self) -> None:
        """Have it hear everything and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # its threads stop one by one

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Cluster:
    """Some nodes. ``text(prefix)`` is what a name server would be given."""

    def __init__(self, size: int, folder: Path) -> None:
        ports = _free_ports(2 * size)
        self.nodes = [Node(i, folder, ports[2 * i], ports[2 * i + 1]) for i in range(size)]
        self._whole = ",".join(f"{node.name}={node.peer}" for node in self.nodes)

    def text(self, prefix: str = "") -> str:
        return f"etcd:{','.join(node.address for node in self.nodes)}{prefix}"

    def new_text(self) -> str:
        """Return a text whose names nobody else uses."""
        return self.text(f"/test{next(_prefixes)}")

    def start(self, *numbers: int) -> None:
        """Start these nodes, or all, and wait until they serve."""
        chosen = [self.nodes[number] for number in numbers] or self.nodes
        for node in chosen:
            node.start(self._whole)
        for node in chosen:
            wait_until(node.is_healthy, f"{node.name} of etcd serves", PATIENCE)

    def stop(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(AssertionError):  # it was never started
                node.kill()


@contextlib.contextmanager
def running_cluster(size: int) -> Iterator[Cluster]:
    """Run so many nodes; afterwards nothing of them is left."""
    with tempfile.TemporaryDirectory(prefix="pyroipc-etcd-") as folder:
        cluster = Cluster(size, Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@functools.cache
def _kept() -> tuple[contextlib.ExitStack, Cluster]:
    stack = contextlib.ExitStack()
    return stack, stack.enter_context(running_cluster(1))


def shared_node() -> Cluster:
    """Return a cluster of one node that runs until the tests of this process end."""
    return _kept()[1]


def stop_shared_node() -> None:
    """Stop it if it runs."""
    if _kept.cache_info().currsize:
        _kept()[0].close()
        _kept.cache_clear()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]

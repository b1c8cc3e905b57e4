"""An object that is given shared memory and descriptors, and what a test asks it about."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pyroipc
from pyroipc.server.exposure import expose, oneway

SERIALIZERS = ("pickle", "cloudpickle", "dill", "msgpack", "serpent", "json", "marshal")


def maps() -> int:
    """Count the segments that this process has mapped."""
    gc.collect()
    return Path("/proc/self/maps").read_text().count("/memfd:pyroipc")


def descriptors() -> int:
    """Count the open descriptors of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@expose
class Holder:
    """Holds what it is given."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.opened: list[Any] = []
        self.gate = threading.Event()

    def give_later(self) -> Any:
        self.gate.wait(10)
        return self.held[-1]

    def open_gate(self) -> None:
        self.gate.set()

    def echo(self, x: Any) -> Any:
        return x

    def hold(self, x: Any) -> None:
        self.held.append(x)

    @oneway
    def hold_soon(self, x: Any) -> None:
        self.held.append(x)

    def close(self, buffer: Any) -> None:
        buffer.close()

    def give(self, index: int = -1) -> Any:
        return self.held[index]

    def drop_last(self) -> None:
        self.held.pop()

    def drop(self) -> None:
        self.held.clear()
        while self.opened:
            self.opened.pop().close()

    def fill(self, array: Any, value: Any) -> Any:
        array[...] = value
        return type(array).__name__

    def total(self, array: Any) -> Any:
        return array.sum().item()

    def shared(self, array: Any) -> bool:
        return pyroipc.shared_owner(array) is not None

    def poke(self, buffer: Any, index: int, value: int) -> str:
        buffer[index] = value
        return type(buffer).__name__

    def make_array(self, shape: Any) -> Any:
        array = pyroipc.shared_array(shape, "i8")
        self.held.append(array)
        return array

    def counts(self) -> tuple[int, int]:
        return descriptors(), maps()

    def links(self) -> Any:
        gc.collect()
        found = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
        return sorted(found)

    def read(self, file: Any) -> Any:
        with file:
            return file.read()

    def write(self, file: Any, data: Any) -> None:
        file.write(data)
        file.flush()

    def kind(self, x: Any) -> str:
        return type(x).__name__

    def open(self, path: str, mode: str = "r") -> Any:
        file = open(path, mode)  # noqa: SIM115
        self.opened.append(file)
        return file

    def accept(self, listener: Any) -> bytes:
        connection, _ = listener.accept()
        with connection, listener:
            return connection.recv(100)

    def receive(self, x: Any) -> Any:
        return x.recv()

    def read_number(self, x: Any, n_bytes: int) -> bytes:
        return os.read(x.fileno(), n_bytes)

    def fail_with(self, x: Any) -> None:
        raise ValueError("on purpose")

    def items(self, x: Any, n: int) -> Any:
        for _ in range(n):
            yield x

    def call_back(self, near: Any, x: Any) -> Any:
        return near.echo(x)

    def limit_files(self, spare: int) -> None:
        import resource

        number = max(map(int, os.listdir("/proc/self/fd"))) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))
        fillers = []
        try:
            while True:
                fillers.append(os.dup(0))
        except OSError:
            for fd in fillers[:spare]:
                os.close(fd)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

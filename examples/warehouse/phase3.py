"""The warehouse, phase 3: many people at once, near and far, each a program of its own.

The daemon listens at two addresses: people on this machine use the unix socket, others TCP. The
warehouse has a lock now, because calls of different people run at the same time.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading

import phase1

import pyroipc


@pyroipc.expose
class BusyWarehouse(phase1.Warehouse):
    """Hands out each thing once, to whoever is first."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()

    def take_any(self):
        with self._lock:
            return self._contents.pop() if self._contents else None


def serve(path):
    # The first address is the one in the URIs.
    with pyroipc.Daemon("localhost", listen=[f"./u:{path}"]) as daemon:
        daemon.register(BusyWarehouse(), "warehouse")
        for location in daemon.locations:
            print(f"PYRO:warehouse@{location}", flush=True)
        daemon.requestLoop()


def visit(uri):
    with pyroipc.Proxy(uri) as warehouse:
        while thing := warehouse.take_any():
            print(thing)


def started(*arguments):
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def server(path):
    with started("serve", path) as process:
        try:
            yield [process.stdout.readline().strip() for _ in range(2)]
        finally:
            process.terminate()


def main():
    with (
        tempfile.TemporaryDirectory() as directory,
        server(os.path.join(directory, "warehouse.sock")) as uris,
        contextlib.ExitStack() as stack,
    ):
        people = [stack.enter_context(started("visit", uri)) for uri in [*uris, *uris]]
        taken = [thing for person in people for thing in person.stdout.read().split()]
        print(len(people), "people took", ", ".join(sorted(taken)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", path]:
            serve(path)
        case ["visit", uri]:
            visit(uri)
        case _:
            main()

# Output:
#   4 people took bike, chair, couch, flashlight, laptop

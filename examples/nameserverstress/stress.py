"""Many clients that change and look up names at the same time: ``python stress.py [SECONDS]``.

What one has registered is its own; what all of them want, one gets. At the end everything is
counted. With a number of seconds it goes on for so long, and tells how much was done.
"""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

import pyroipc

N_CLIENTS = 6
ROUNDS = 50


class Client(threading.Thread):
    """Registers, finds and removes names, over a connection of its own."""

    def __init__(self, number, end):
        super().__init__()
        self.number, self.end = number, end
        self.operations = self.kept = self.won = self.problems = 0
        self.random = random.Random(number)

    def run(self):
        with pyroipc.locate_ns() as ns:
            for i in self.rounds():
                self.one_round(ns, i)

    def rounds(self):
        i = 0
        while i < ROUNDS or time.monotonic() < self.end:
            yield i
            i += 1

    def one_round(self, ns, i):
        name = f"client{self.number}.{i}"
        uri = f"PYRO:object{i}@198.51.100.{self.number}:9000"
        ns.register(name, uri, metadata={f"round:{i}", "stress"})
        try:
            # All of them want this one.
            ns.register(f"shared.{i}", uri, safe=True)
            self.won += 1
        except pyroipc.NamingError:
            pass
        if str(ns.lookup(name)) != uri:
            self.problems += 1
        if name not in ns.yplookup(meta_all={f"round:{i}", "stress"}):
            self.problems += 1
        if ns.list(prefix=f"client{self.number}.{i}")[name] != uri:
            self.problems += 1
        self.operations += 5
        if self.random.random() < 0.5:
            self.operations += 1
            self.problems += ns.remove(name) != 1
        else:
            self.kept += 1


@contextlib.contextmanager
def name_server(storage):
    command = [sys.executable, __file__, "serve", storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def serve(storage):
    uri, daemon, _ = pyroipc.start_ns("localhost", port=0, storage=storage)
    with daemon:
        print(uri.port, flush=True)
        daemon.requestLoop()


def stress(seconds):
    begin = time.monotonic()
    clients = [Client(number, begin + seconds) for number in range(N_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - begin
    with pyroipc.locate_ns() as ns:
        own = len(ns.list(prefix="client"))
        shared = len(ns.list(prefix="shared."))
    print("problems:", sum(client.problems for client in clients))
    print("what was kept is there:", own == sum(client.kept for client in clients))
    print("each shared name has one owner:", shared == sum(client.won for client in clients))
    if seconds:
        print(round(sum(client.operations for client in clients) / took), "operations per second")


def main(seconds):
    with tempfile.TemporaryDirectory() as directory:
        for storage in ("memory", f"sqlite:{os.path.join(directory, 'names.db')}"):
            print(storage.partition(":")[0])
            with name_server(storage) as port:
                pyroipc.config.NS_PORT = port
                stress(seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 0)

# Output:
#   memory
#   problems: 0
#   what was kept is there: True
#   each shared name has one owner: True
#   sqlite
#   problems: 0
#   what was kept is there: True
#   each shared name has one owner: True

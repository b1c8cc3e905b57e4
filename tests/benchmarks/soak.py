"""A server for many minutes, whose clients are killed all the time: does it keep its memory?

    python -m tests.benchmarks.soak --minutes 10

Clients in processes of their own make calls of all kinds over TCP and check each answer. Every
second one of them is killed and another one takes its place; now and then the server is ended and
started again at the same port, and the clients come back by themselves. Printed are wrong answers,
which there must be none of, and by how much the private memory of the server grew per hour after
the first quarter of the time.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pyroipc

CLIENTS = 4
_SECONDS = 1.0


@pyroipc.expose
class Thing:
    """What is called."""

    def __init__(self):
        self.told = 0

    def echo(self, value):
        return value

    def count(self, n):
        yield from range(n)

    def fail(self, text):
        raise ValueError(text)

    @pyroipc.oneway
    def tell(self):
        self.told += 1

    def call_back(self, other, value):
        return other.echo(value)


def serve(port):
    """Be the server."""
    with pyroipc.Daemon("127.0.0.1", int(port)) as daemon:
        daemon.register(Thing(), "thing")
        print("ready", flush=True)
        daemon.requestLoop()


def call(uri):
    """Be a client: call until killed; a wrong answer ends it with status 3."""
    chance = random.Random()
    proxy = pyroipc.Proxy(uri)
    proxy._pyroMaxRetries = 20
    daemon = pyroipc.Daemon("127.0.0.1")
    here = Thing()
    daemon.register(here)
    pause = threading.Event()
    while True:
        proxy._pyroSerializer = chance.choice(["serpent", "msgpack", "json"])
        try:
            wrong = _one(proxy, here, chance)
        except pyroipc.CommunicationError:
            continue  # the server was restarted
        if wrong:
            print(wrong, flush=True)
            os._exit(3)
        pause.wait(chance.random() * 0.004)


def _one(proxy, here, chance):
    """Make one call of some kind; return what is wrong, or nothing."""
    value = ["x" * chance.randrange(2000), chance.random(), None]
    kind = chance.randrange(7)
    if kind == 0:
        return proxy.echo(value) != value and "echo"
    if kind == 1:
        return list(proxy.count(50)) != list(range(50)) and "a stream"
    if kind == 2:
        next(proxy.count(1000))  # dropped in the middle
        return None
    if kind == 3:
        try:
            proxy.fail("text")
        except ValueError as error:
            return str(error) != "text" and "an exception"
        return "no exception"
    if kind == 4:
        proxy.tell()
        return proxy.echo.submit(value).result(60) != value and "a future"
    if kind == 5:
        return proxy.call_back(here, 5) != 5 and "a callback"
    batch = pyroipc.batch(proxy)
    for i in range(5):
        batch.echo(i)
    return list(batch()) != list(range(5)) and "a batch"


def start(*arguments):
    """Start this file as a server or a client."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.soak", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def private_kib(pid):
    """Return the memory that a process has for itself."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if line.startswith("Private_Dirty")]
    return int(lines[0].split()[1])


def slope(samples):
    """Return the growth per second by the line that fits best."""
    middle = sum(at for at, _ in samples) / len(samples)
    mean = sum(kib for _, kib in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return sum((at - middle) * (kib - mean) for at, kib in samples) / spread


def soak(minutes, restarts):
    """Run it; return what was found."""
    with pyroipc.Daemon("127.0.0.1") as free:
        port = str(free.locations[0].port)
    uri = f"PYRO:thing@127.0.0.1:{port}"
    server = start("--serve", port)
    server.stdout.readline()
    clients = [start("--call", uri) for _ in range(CLIENTS)]
    chance, pause = random.Random(1), threading.Event()
    begin = monotonic()
    end = begin + minutes * 60
    restart_at = [begin + minutes * 60 * (i + 1) / (restarts + 1) for i in range(restarts)]
    killed, wrong, samples, slopes = 0, [], [], []
    try:
        while monotonic() < end:
            pause.wait(_SECONDS)
            for i, client in enumerate(clients):
                if client.poll() is not None:
                    wrong.append(client.stdout.read().strip() or f"status {client.returncode}")
                    clients[i] = start("--call", uri)
            victim = chance.randrange(CLIENTS)
            clients[victim].kill()
            clients[victim].communicate()
            clients[victim] = start("--call", uri)
            killed += 1
            samples.append((monotonic(), private_kib(server.pid)))
            if restart_at and monotonic() > restart_at[0]:
                restart_at.pop(0)
                slopes.append(_judge(samples))
                samples = []
                server.send_signal(signal.SIGTERM)
                server.wait(60)
                server = start("--serve", port)
                server.stdout.readline()
        slopes.append(_judge(samples))
    finally:
        for process in (*clients, server):
            process.kill()
            process.communicate()
    return killed, wrong, slopes


def _judge(samples):
    settled = samples[len(samples) // 4 :]
    return settled[0][1], settled[-1][1], slope(settled) * 3600 / 1024


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--serve", metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--call", metavar="URI", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    if options.call:
        return call(options.call)
    killed, wrong, slopes = soak(options.minutes, options.restarts)
    print(f"{killed} clients were killed, {len(wrong)} answers were wrong {wrong[:5]}")
    for first, last, per_hour in slopes:
        print(f"a server: from {first} to {last} KiB, {per_hour:+.2f} MiB per hour")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

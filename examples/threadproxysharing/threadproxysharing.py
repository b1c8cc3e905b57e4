"""Threads that share a proxy, and threads that have one each: both work.

A proxy belongs to no thread. The calls of all threads are on their way at the same time, over its
one connection. What copies are good for is to have a connection each: then a large message of one
thread does not hold up the others.
"""

import concurrent.futures
import contextlib
import copy
import subprocess
import sys
import threading

import pyroipc

N_THREADS = 4


@pyroipc.expose
class Meeting:
    def __init__(self):
        self._all_here = threading.Barrier(N_THREADS)

    def attend(self, name):
        """Return when all are here: so that many calls must be running at once."""
        self._all_here.wait(10)
        return name, id(pyroipc.current_context.client)


def serve():
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Meeting(), "meeting"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server():
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def report(title, futures):
    results = [future.result() for future in futures]
    names = [name for name, _ in results]
    print(f"{title}: {names} over {len({client for _, client in results})} connection(s)")


def attend_with_a_copy(proxy, name):
    with copy.copy(proxy) as own:  # not connected yet
        return own.attend(name)


def main():
    with (
        server() as uri,
        pyroipc.Proxy(uri) as meeting,
        concurrent.futures.ThreadPoolExecutor(N_THREADS) as pool,
    ):
        names = [f"thread {number}" for number in range(N_THREADS)]
        report("shared", [pool.submit(meeting.attend, name) for name in names])
        report("copies", [pool.submit(attend_with_a_copy, meeting, name) for name in names])


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   shared: ['thread 0', 'thread 1', 'thread 2', 'thread 3'] over 1 connection(s)
#   copies: ['thread 0', 'thread 1', 'thread 2', 'thread 3'] over 4 connection(s)

"""The two kinds of servers: one runs calls on many threads, the other one after the other.

Which of them it is makes no difference to a client, and little to the server: neither needs a
thread for a client that is idle. With threads an object must look after its own locks; with
"multiplex" it is never in two calls at once, and a slow call keeps everybody waiting.
"""

import concurrent.futures
import contextlib
import subprocess
import sys
import threading

import pyroipc

N_CLIENTS = 20


@pyroipc.expose
class Office:
    def __init__(self):
        self._door = threading.Barrier(2)

    def meet(self, seconds):
        """Say whether a second caller comes before this one is gone."""
        try:
            self._door.wait(seconds)
        except threading.BrokenBarrierError:
            self._door.reset()
            return "met nobody"
        return "met somebody"

    def n_threads(self):
        return threading.active_count()


def serve(servertype):
    pyroipc.config.SERVERTYPE = servertype  # or PYRO_SERVERTYPE in the environment
    pyroipc.config.THREADPOOL_SIZE = 10  # of the kind "thread"
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Office(), "office"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server(servertype):
    command = [sys.executable, __file__, servertype]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def visit(uri, seconds):
    with pyroipc.Proxy(uri) as office:
        return office.meet(seconds)


def main():
    for servertype, seconds in (("thread", 10), ("multiplex", 0.2)):
        print(servertype)
        with server(servertype) as uri:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                visits = [pool.submit(visit, uri, seconds) for _ in range(2)]
                print("  two clients at once:", *{visit.result() for visit in visits})
            with contextlib.ExitStack() as stack:
                offices = [stack.enter_context(pyroipc.Proxy(uri)) for _ in range(N_CLIENTS)]
                n_threads = [office.n_threads() for office in offices]
                print("  fewer threads than clients:", max(n_threads) < N_CLIENTS)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

# Output:
#   thread
#     two clients at once: met somebody
#     fewer threads than clients: True
#   multiplex
#     two clients at once: met nobody
#     fewer threads than clients: True

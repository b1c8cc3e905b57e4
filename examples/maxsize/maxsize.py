"""Messages that are too large, in both directions.

The limit is 64 MiB, unless a setting says otherwise. Each side has its own, both know both, and
the lower one counts. It is looked at before any memory is taken.
"""

import contextlib
import subprocess
import sys

import pyroipc

KIB = 1024


@pyroipc.expose
class Warehouse:
    def store(self, text):
        return len(text)

    def fetch(self, length):
        return "x" * length


def serve():
    settings = pyroipc.config.copy()
    settings.MAX_MESSAGE_SIZE = 100 * KIB  # PYRO_MAX_MESSAGE_SIZE=102400 does it for a program
    with pyroipc.Daemon(settings=settings) as daemon:
        print(daemon.register(Warehouse(), "warehouse"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server():
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def attempt(what, method, *args):
    try:
        method(*args)
    except pyroipc.MessageTooLargeError as error:
        # The text tells the size, the limit, and the setting that raises it.
        who = "the daemon: no" if str(error).startswith("refused by the peer") else "not even sent"
        print(f"  {what}: {who}, at most", str(error).partition("at most ")[2].split()[0], "bytes")
    else:
        print(f"  {what}: fine")


def attempt_all(warehouse):
    for kib in (5, 50, 200):
        attempt(f"store {kib} KiB", warehouse.store, "x" * (kib * KIB))
        attempt(f"fetch {kib} KiB", warehouse.fetch, kib * KIB)


def main():
    small = pyroipc.config.copy()
    small.MAX_MESSAGE_SIZE = 10 * KIB
    with server() as uri:
        with pyroipc.Proxy(uri) as warehouse:
            print("the daemon takes 100 KiB, and its client 64 MiB")
            attempt_all(warehouse)
        with pyroipc.Proxy(uri, settings=small) as warehouse:
            print("the daemon takes 100 KiB, and its client 10 KiB")
            attempt_all(warehouse)
            print("and the connection is as good as before")
            attempt("store 1 KiB", warehouse.store, "x" * KIB)


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   the daemon takes 100 KiB, and its client 64 MiB
#     store 5 KiB: fine
#     fetch 5 KiB: fine
#     store 50 KiB: fine
#     fetch 50 KiB: fine
#     store 200 KiB: not even sent, at most 102400 bytes
#     fetch 200 KiB: the daemon: no, at most 102400 bytes
#   the daemon takes 100 KiB, and its client 10 KiB
#     store 5 KiB: fine
#     fetch 5 KiB: fine
#     store 50 KiB: not even sent, at most 10240 bytes
#     fetch 50 KiB: the daemon: no, at most 10240 bytes
#     store 200 KiB: not even sent, at most 10240 bytes
#     fetch 200 KiB: the daemon: no, at most 10240 bytes
#   and the connection is as good as before
#     store 1 KiB: fine

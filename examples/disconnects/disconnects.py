"""A server that lets idle clients go, and clients that do not notice.

The proxy connects again when it is used. What does not survive is what the server keeps for one
connection: the instance of a class that is registered for sessions, and resources it tracks.
"""

import contextlib
import subprocess
import sys
import threading

import pyroipc

gone = threading.Semaphore(0)


@pyroipc.behavior(instance_mode="session")
@pyroipc.expose
class Basket:
    """Each client has one of its own, for as long as it is connected."""

    def __init__(self):
        self._things = []

    def put(self, thing):
        self._things.append(thing)
        return self._things


@pyroipc.expose
class Doorman:
    def wait_until_somebody_left(self):
        return gone.acquire(timeout=10)


class Shop(pyroipc.Daemon):
    def clientDisconnect(self, conn):
        gone.release()


def serve():
    settings = pyroipc.config.copy()
    settings.COMMTIMEOUT = 0.5  # of a daemon: how long a client may be idle
    with Shop(settings=settings) as daemon:
        print(daemon.register(Basket, "basket"), daemon.register(Doorman(), "doorman"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server():
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()
        finally:
            process.terminate()


def main():
    with (
        server() as (basket_uri, doorman_uri),
        pyroipc.Proxy(basket_uri) as basket,
        pyroipc.Proxy(doorman_uri) as doorman,
    ):
        print(basket.put("bread"))
        print(basket.put("milk"))
        # A client whose call runs is not idle, however long it takes.
        print("somebody left:", doorman.wait_until_somebody_left())
        print(basket.put("jam"))  # the same proxy, a new connection, an empty basket


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   ['bread']
#   ['bread', 'milk']
#   somebody left: True
#   ['jam']

"""An object in a thread, called over a socket pair by several other threads at once.

For a thread that is started and stopped for you, see ``pyroipc.spawn(..., where="thread")``.
"""

import socket
import threading

import pyroipc


@pyroipc.expose
class Counters:
    """Named counters. Calls run side by side, so what they share has a lock, as in any program."""

    def __init__(self):
        self._counts = {}
        self._lock = threading.Lock()

    def count(self, name):
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1
            return self._counts[name]

    def counts(self):
        return dict(self._counts)


near, far = socket.socketpair()
with near, far:
    # One end: a daemon hosts the object. Any thread may run its loop.
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(Counters(), "counters")
    host = threading.Thread(target=daemon.requestLoop)
    host.start()

    # The other end: one proxy, shared by all threads that want to call.
    counters = pyroipc.Proxy("counters", connected_socket=near)

    def work(name):
        for _ in range(100):
            counters.count(name)

    workers = [threading.Thread(target=work, args=(name,)) for name in ("red", "green", "blue")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    for name, total in sorted(counters.counts().items()):
        print(name, total)

    try:
        counters.count()
    except TypeError as error:
        print("it said:", error)

    # The end: the loop returns; the sockets are ours, and are closed by the with statement.
    daemon.shutdown()
    host.join()
    print("the host has ended:", not host.is_alive())

# Output:
#   blue 100
#   green 100
#   red 100
#   it said: Counters.count() missing 1 required positional argument: 'name'
#   the host has ended: True

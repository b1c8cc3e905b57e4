"""A class is registered instead of an object: who gets which instance?"""

import socket
import threading

import pyroipc


class Counter:
    def __init__(self):
        self._count = 0

    @pyroipc.expose
    def count(self):
        self._count += 1
        return self._count


@pyroipc.behavior(instance_mode="single")
class Single(Counter):
    """One instance for all."""


@pyroipc.behavior(instance_mode="session")
class Session(Counter):
    """One instance for each client, until it goes."""


@pyroipc.behavior(instance_mode="percall", instance_creator=lambda cls: cls())
class PerCall(Counter):
    """A new instance for each call."""


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
for cls in (Single, Session, PerCall):
    daemon.register(cls, cls.__name__)
host = threading.Thread(target=daemon.requestLoop)
host.start()

for client in ("first", "second"):
    print("the", client, "client counts")
    for cls in (Single, Session, PerCall):
        with pyroipc.Proxy(cls.__name__, connected_socket=near) as counter:
            print(f"   {cls.__name__}:", counter.count(), counter.count())

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   the first client counts
#      Single: 1 2
#      Session: 1 2
#      PerCall: 1 1
#   the second client counts
#      Single: 3 4
#      Session: 1 2
#      PerCall: 1 1

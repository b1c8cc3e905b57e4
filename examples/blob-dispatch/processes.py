"""Client, dispatcher and worker as three processes: the dispatcher cannot open the data.

The dispatcher is forked before the class of the data exists, so it knows nothing of it. It hands
the data on all the same.
"""

import dataclasses
import os
import socket

import pyroipc


@pyroipc.expose
class Dispatcher:
    def __init__(self, worker):
        self._worker = worker

    def handle(self, blob):
        return self._worker.handle(blob)  # the same bytes go on

    def look_at(self, blob):
        try:
            blob.deserialized()
        except pyroipc.SerializeError:
            return f"I can read {blob.info!r}, and open nothing"
        return "I know what it is"


def host(sock, thing, name):
    """Serve one object until the other end is closed, and end this process."""
    daemon = pyroipc.Daemon(connected_socket=sock)
    daemon.register(thing, name)
    daemon.requestLoop()
    os._exit(0)


# client <-> dispatcher, dispatcher <-> worker. Each process keeps its own ends only.
client_end, front = socket.socketpair()
back, worker_end = socket.socketpair()

dispatcher_pid = os.fork()
if dispatcher_pid == 0:
    client_end.close()
    worker_end.close()
    host(front, Dispatcher(pyroipc.Proxy("worker", connected_socket=back)), "dispatcher")
front.close()
back.close()


# Only the client, and the worker that is forked below, know this class.
@dataclasses.dataclass
class Order:
    item: str
    count: int


pyroipc.register_class(Order)


@pyroipc.expose
class Worker:
    def handle(self, blob):
        order = blob.deserialized()
        return f"{order.count} times {order.item}, known as {type(order).__name__}"


worker_pid = os.fork()
if worker_pid == 0:
    client_end.close()
    host(worker_end, Worker(), "worker")
worker_end.close()

with pyroipc.Proxy("dispatcher", connected_socket=client_end) as dispatcher:
    # A blob keeps its serializer all the way. Pickle would bring the class along; json does not.
    dispatcher._pyroSerializer = "json"
    blob = pyroipc.SerializedBlob("an order", Order("tea", 3))
    print("the dispatcher:", dispatcher.look_at(blob))
    print("the worker:", dispatcher.handle(blob))

client_end.close()  # the dispatcher ends, and with it the worker
for pid in (dispatcher_pid, worker_pid):
    _, status = os.waitpid(pid, 0)
    print("ended with", os.waitstatus_to_exitcode(status))

# Output:
#   the dispatcher: I can read 'an order', and open nothing
#   the worker: 3 times tea, known as Order
#   ended with 0
#   ended with 0

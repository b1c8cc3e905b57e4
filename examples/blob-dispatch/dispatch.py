"""A dispatcher that hands on work without opening it.

The caller packs its data into a blob, with a small label for those in between. The dispatcher
reads the label and passes the blob on. Only the worker unpacks the data: the dispatcher neither
spends time on them nor needs the classes that they are made of.
"""

import socket
import threading

import pyroipc


class Worker:
    def __init__(self, name):
        self._name = name

    def work(self, blob):
        numbers = blob.deserialized()  # here, and nowhere else
        return f"{self._name} got {len(numbers)} numbers, the sum is {sum(numbers)}"


class Dispatcher:
    def __init__(self, workers):
        self._workers = workers
        self.handed_on = []

    @pyroipc.expose
    def work(self, blob):
        self.handed_on.append((blob.info, type(blob).__name__))
        return self._workers[blob.info].work(blob)


with (
    pyroipc.spawn(Worker, "the worker for small things") as small,
    pyroipc.spawn(Worker, "the worker for large things") as large,
):
    # The dispatcher is here in a thread; it could be anywhere.
    dispatcher = Dispatcher({"small": small.proxy, "large": large.proxy})
    near, far = socket.socketpair()
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(dispatcher, "dispatcher")
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()

    with near, far, pyroipc.Proxy("dispatcher", connected_socket=near) as proxy:
        # The label first, then the data. A blob is the only argument of its call.
        print(proxy.work(pyroipc.SerializedBlob("small", [1, 2, 3])))
        print(proxy.work(pyroipc.SerializedBlob("large", list(range(100_000)))))
        print("handed on:", dispatcher.handed_on)
        daemon.close()
        thread.join()

# Output:
#   the worker for small things got 3 numbers, the sum is 6
#   the worker for large things got 100000 numbers, the sum is 4999950000
#   handed on: [('small', 'SerializedBlob'), ('large', 'SerializedBlob')]

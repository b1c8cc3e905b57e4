"""Tracked resources: what a client has left open is closed when it is gone."""

import socket
import threading

import pyroipc
from pyroipc import current_context


class Table:
    """Stands for a file, a lock, a row in a database: something to be closed."""

    def __init__(self, number):
        self._number = number

    def close(self):
        print("table", self._number, "is cleared")


@pyroipc.expose
class Restaurant:
    def __init__(self):
        self._tables = {}

    def sit_down(self, number):
        table = self._tables[number] = Table(number)  # resources are held weakly: keep them
        current_context.track_resource(table)

    def pay(self, number):
        table = self._tables.pop(number)
        current_context.untrack_resource(table)
        table.close()


class Waiter(pyroipc.Daemon):
    def clientDisconnect(self, conn):
        print("a guest has left")
        gone.set()


gone = threading.Event()
near, far = socket.socketpair()
daemon = Waiter(connected_socket=far)
daemon.register(Restaurant(), "restaurant")
host = threading.Thread(target=daemon.requestLoop)
host.start()

with pyroipc.Proxy("restaurant", connected_socket=near) as restaurant:
    restaurant.sit_down(1)
    restaurant.sit_down(2)
    restaurant.pay(1)
gone.wait()

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   table 1 is cleared
#   a guest has left
#   table 2 is cleared

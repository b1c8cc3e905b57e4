"""A server as it was written for Pyro4, many years ago. It needs the package Pyro4."""

import Pyro4


@Pyro4.expose
class Store:
    def __init__(self):
        self._stock = {"tea": 3, "coffee": 0}

    @property
    def library(self):
        return "Pyro4"

    def take(self, thing, number=1):
        if self._stock.get(thing, 0) < number:
            raise ValueError("there is not enough " + thing)
        self._stock[thing] -= number
        return self._stock[thing]

    def things(self):
        return iter(sorted(self._stock))


daemon = Pyro4.Daemon()
print(daemon.register(Store(), "store"), flush=True)
daemon.requestLoop()

"""A server that was written for Pyro5. It needs the package Pyro5."""

import Pyro5.api


@Pyro5.api.expose
class Store:
    def __init__(self):
        self._stock = {"tea": 1, "milk": 2}

    @property
    def library(self):
        return "Pyro5"

    def take(self, thing, number=1):
        if self._stock.get(thing, 0) < number:
            raise ValueError(f"there is not enough {thing}")
        self._stock[thing] -= number
        return self._stock[thing]

    def things(self):
        yield from sorted(self._stock)


daemon = Pyro5.api.Daemon()
print(daemon.register(Store(), "store"), flush=True)
daemon.requestLoop()

"""A server of today. Clients of Pyro4 and Pyro5 can call it, too, at the same port."""

import pyroipc


@pyroipc.expose
class Store:
    def __init__(self):
        self._stock = {"sugar": 5, "tea": 2}

    @property
    def library(self):
        return "pyroipc"

    def take(self, thing, number=1):
        if self._stock.get(thing, 0) < number:
            raise ValueError(f"there is not enough {thing}")
        self._stock[thing] -= number
        return self._stock[thing]

    def things(self):
        yield from sorted(self._stock)

    def take_from(self, others, thing):
        """Take one from the first of other stores that has it, whatever it was written for."""
        for other in others:
            try:
                return other.library, other.take(thing)
            except ValueError:
                pass
        return "nobody", 0


with pyroipc.Daemon() as daemon:
    print(daemon.register(Store(), "store"), flush=True)
    daemon.requestLoop()

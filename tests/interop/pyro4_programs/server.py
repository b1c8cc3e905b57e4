"""A server as users of Pyro4 write them. It is told where to listen, and prints its URI.

python server.py tcp | unix PATH [name server's port]
"""

import os
import sys
import threading

import Pyro4
import Pyro4.naming
from garden import Plant

if os.environ.get("GARDEN_SERIALIZERS"):
    Pyro4.config.SERIALIZERS_ACCEPTED = set(os.environ["GARDEN_SERIALIZERS"].split(","))
else:
    Pyro4.config.SERIALIZERS_ACCEPTED.add("msgpack")


@Pyro4.expose
class Bed:
    """Registered while a client digs in it."""

    def __init__(self, size):
        self._size = size
        self._plants = []

    @property
    def size(self):
        return self._size

    @size.setter
    def size(self, value):
        self._size = value

    def plant(self, name):
        self._plants.append(name)
        return len(self._plants)

    def identity(self):
        return [self._pyroId, str(self._pyroDaemon.uriFor(self))]

    def leave(self):
        self._pyroDaemon.unregister(self)
        return self._plants


@Pyro4.behavior(instance_mode="single")
class Garden:
    def __init__(self):
        self._weather = "sunny"
        self._diary = []
        self._written = threading.Event()

    @Pyro4.expose
    @property
    def weather(self):
        return self._weather

    @weather.setter
    def weather(self, value):
        self._weather = value

    @Pyro4.expose
    def add(self, a, b=5, *more, **named):
        return [a + b + sum(more), sorted(named)]

    @Pyro4.expose
    def same(self, value):
        return value

    @Pyro4.expose
    @Pyro4.oneway
    def water(self, litres):
        self._diary.append(litres)
        self._written.set()

    @Pyro4.expose
    def diary(self):
        assert self._written.wait(10)
        self._written.clear()
        return self._diary

    @Pyro4.expose
    def divide(self, a, b):
        return a / b

    @Pyro4.expose
    def harvest(self, what):
        error = LookupError("nothing ripe", what)
        error.month = 9
        raise error

    @Pyro4.expose
    def refuse(self):
        raise Pyro4.errors.DaemonError("closed for the winter")

    @Pyro4.expose
    def rows(self, number):
        yield from range(number)

    @Pyro4.expose
    def squares(self, number):
        return (row * row for row in range(number))

    @Pyro4.expose
    def grow(self, plant, centimetres):
        assert isinstance(plant, Plant)
        return Plant(plant.name, plant.height + centimetres)

    @Pyro4.expose
    def weigh(self, blob):
        return [blob.info, len(blob.deserialized())]

    @Pyro4.expose
    def new_bed(self, size):
        bed = Bed(size)
        self._pyroDaemon.register(bed)
        return bed

    @Pyro4.expose
    def what_came(self):
        context = Pyro4.current_context
        context.response_annotations = {"BACK": b"with a rose"}
        own = {key: bytes(context.annotations[key]).decode() for key in ("HAND", "NOTE")
               if key in context.annotations}  # fmt: skip
        return [own, str(context.correlation_id), context.client_sock_addr is not None]

    @Pyro4.expose
    def ask_back(self, neighbour, times):
        assert isinstance(neighbour, Pyro4.Proxy)
        return [neighbour.told(number) for number in range(times)]

    @Pyro4.expose
    def ask_in_vain(self, neighbour):
        try:
            neighbour.shout()
        except ValueError:
            return "".join(Pyro4.util.getPyroTraceback())
        return "no error"

    def secret(self):
        return "not exposed"


@Pyro4.expose
@Pyro4.behavior(instance_mode="session")
class Basket:
    def __init__(self):
        self._fruit = []

    def put(self, fruit):
        self._fruit.append(fruit)
        return len(self._fruit)


@Pyro4.expose
@Pyro4.behavior(instance_mode="percall", instance_creator=lambda cls: cls("fresh"))
class Cup:
    def __init__(self, state):
        self._state = state
        self._sips = 0

    def sip(self):
        self._sips += 1
        return [self._state, self._sips]


class GardenDaemon(Pyro4.Daemon):
    def validateHandshake(self, conn, data):
        assert conn.sock is not None
        if data == "a mole":
            raise Pyro4.errors.SecurityError("moles stay outside")
        return ["welcome", data]

    def annotations(self):
        return {"GATE": b"green"}

    def clientDisconnect(self, conn):
        print("a client is gone", flush=True)


def main():
    where, *rest = sys.argv[1:]
    if where == "unix":
        daemon = GardenDaemon(unixsocket=rest.pop(0))
    else:
        daemon = GardenDaemon(host="localhost")
    if os.environ.get("GARDEN_KEY"):
        daemon._pyroHmacKey = os.environ["GARDEN_KEY"]
    uri = daemon.register(Garden, "garden")
    basket = daemon.register(Basket, "basket")
    daemon.register(Cup, "cup")
    if rest:
        tags = Pyro4.naming.type_meta(Garden) | {"town"}
        with Pyro4.locateNS("localhost", int(rest[0])) as ns:
            ns.register("interop.garden", uri, metadata=tags)
            ns.register("interop.basket", basket, metadata=["town", "small"])
    print("uri:", uri, flush=True)
    daemon.requestLoop()
    daemon.close()
    print("closed", flush=True)


if __name__ == "__main__":
    main()

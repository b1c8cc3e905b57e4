"""A server as users of Pyro5 write them. It is told where to listen, and prints its URIs.

python server.py tcp | unix PATH [name server's port]
"""

import sys
import threading

import Pyro5.api
import Pyro5.errors
from Pyro5.api import behavior, callback, current_context, expose, oneway
from shop import Article, OutOfStock


@expose
class Account:
    def __init__(self, owner):
        self.owner = owner
        self._balance = 0

    @property
    def balance(self):
        return self._balance

    @balance.setter
    def balance(self, value):
        self._balance = value

    def close(self):
        self._pyroDaemon.unregister(self)
        return self._balance


@behavior(instance_mode="single")
class Shop:
    def __init__(self):
        self.notes = []
        self.noted = threading.Event()
        self._label = "open"

    @expose
    def add(self, a, b=10, *more, **named):
        return [a + b, more, named]

    @expose
    @property
    def label(self):
        return self._label

    @label.setter
    def label(self, value):
        self._label = value

    @expose
    @oneway
    def note(self, text):
        self.notes.append(text)
        self.noted.set()

    @expose
    def take_notes(self):
        assert self.noted.wait(10)
        self.noted.clear()
        return self.notes

    @expose
    def divide(self, a, b):
        return a / b

    @expose
    def sell(self, what):
        error = ValueError("no such article", what)
        error.shelf = 7
        raise error

    @expose
    def search(self, what):
        raise OutOfStock(what)

    @expose
    def count(self, number):
        yield from range(number)

    @expose
    def raise_price(self, article):
        return Article(article.name, article.price + 1)

    @expose
    def open_account(self, owner):
        account = Account(owner)
        self._pyroDaemon.register(account)
        return account

    @expose
    def same(self, value):
        return value

    @expose
    def weigh(self, blob):
        return [blob.info, len(blob.deserialized())]

    @expose
    def annotated(self):
        sent = {key: bytes(value) for key, value in current_context.annotations.items()}
        current_context.response_annotations = {"BACK": b"from the method"}
        return [sent["GOTO"].decode(), str(current_context.correlation_id)]

    @expose
    def call_back(self, customer, times):
        return [customer.told(number) for number in range(times)]

    @expose
    def call_back_in_vain(self, customer):
        try:
            customer.broken()
        except ValueError:
            return "".join(Pyro5.errors.get_pyro_traceback())
        return "no error"

    @expose
    def serializer(self):
        return current_context.serializer_id

    def secret(self):
        return "not exposed"

    @expose
    @callback
    def who(self):
        return current_context.client_sock_addr is not None


@expose
@behavior(instance_mode="session")
class Basket:
    def __init__(self):
        self._items = []

    def put(self, item):
        self._items.append(item)
        return len(self._items)

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]


@expose
@behavior(instance_mode="percall", instance_creator=lambda cls: cls("made"))
class Ticket:
    def __init__(self, how):
        self._how = how
        self._stamps = 0

    def stamp(self):
        self._stamps += 1
        return [self._how, self._stamps]


class ShopDaemon(Pyro5.api.Daemon):
    def validateHandshake(self, conn, data):
        if data == "a thief":
            raise Pyro5.errors.SecurityError("we know you")
        return ["welcome", data]

    def annotations(self):
        return {"SHOP": b"corner shop"}

    def clientDisconnect(self, conn):
        print("a client is gone", flush=True)


def main():
    where, *rest = sys.argv[1:]
    if where == "unix":
        daemon = ShopDaemon(unixsocket=rest.pop(0))
    else:
        daemon = ShopDaemon(host="localhost")
    failures = []
    daemon.methodcall_error_handler = lambda *args: failures.append(args)
    uris = {
        "shop": daemon.register(Shop, "shop"),
        "basket": daemon.register(Basket, "basket"),
        "ticket": daemon.register(Ticket, "ticket"),
    }
    if rest:
        with Pyro5.api.locate_ns("localhost", int(rest[0])) as ns:
            ns.register("interop.shop", uris["shop"], metadata={"kind:shop", "town"})
            ns.register("interop.basket", uris["basket"], metadata=["town"])
    print("uri:", uris["shop"], flush=True)
    with daemon:
        daemon.requestLoop()


if __name__ == "__main__":
    main()

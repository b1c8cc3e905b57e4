"""Step 3: the same program with pyroipc's own names, which are Pyro5's without its modules."""

import sys

import pyroipc


@pyroipc.expose
@pyroipc.behavior(instance_mode="single")
class Guestbook:
    def __init__(self):
        self._entries = []

    def sign(self, name, text):
        if not text:
            raise ValueError(f"{name} wrote nothing")
        self._entries.append(f"{name}: {text}")
        return len(self._entries)

    def read(self):
        yield from self._entries


def serve():
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Guestbook, "guestbook"), flush=True)
        daemon.requestLoop()


def visit(uri):
    with pyroipc.Proxy(uri) as guestbook:
        print("entries:", guestbook.sign("Ada", "what an engine"))
        try:
            guestbook.sign("Bob", "")
        except ValueError as error:
            print("refused:", error)
            print("raised in sign:", "in sign" in "".join(pyroipc.get_pyro_traceback()))
        for entry in guestbook.read():
            print(entry)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        visit(sys.argv[1])

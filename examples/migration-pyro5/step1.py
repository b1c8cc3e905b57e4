"""Step 1: a program as it was written for Pyro5. It knows nothing of pyroipc.

python step1.py serve
python step1.py <the URI that it prints>
"""

import sys

import Pyro5.api
import Pyro5.errors


@Pyro5.api.expose
@Pyro5.api.behavior(instance_mode="single")
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
    with Pyro5.api.Daemon() as daemon:
        print(daemon.register(Guestbook, "guestbook"), flush=True)
        daemon.requestLoop()


def visit(uri):
    with Pyro5.api.Proxy(uri) as guestbook:
        print("entries:", guestbook.sign("Ada", "what an engine"))
        try:
            guestbook.sign("Bob", "")
        except ValueError as error:
            print("refused:", error)
            print("raised in sign:", "in sign" in "".join(Pyro5.errors.get_pyro_traceback()))
        for entry in guestbook.read():
            print(entry)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        visit(sys.argv[1])

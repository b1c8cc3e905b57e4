"""A server that needs nothing but itself: it prints the URI of its object, for the clients."""

import sys

import pyroipc


@pyroipc.expose
class Greeter:
    def greet(self, name):
        return f"Hello, {name}."


# localhost: for clients on this machine. "" is for all addresses, and so for other machines too.
host = sys.argv[1] if len(sys.argv) > 1 else "localhost"

with pyroipc.Daemon(host) as daemon:
    # With a name and a port of your own the URI stays the same from start to start, and clients
    # can have it in a file or know it by heart: Daemon(host, 4711), register(greeter, "greeter").
    print(daemon.register(Greeter()), flush=True)
    daemon.requestLoop()  # until Ctrl-C or SIGTERM

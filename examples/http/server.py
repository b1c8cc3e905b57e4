"""An object that is called over HTTP. It knows nothing of that: it has a name, and that is all.

By hand, each in a terminal of its own:

    pyroipc ns
    python server.py
    pyroipc gateway
    python client.py                          or http://localhost:8080/pyro/ in a browser
"""

import pyroipc


@pyroipc.expose
class Fortunes:
    def __init__(self):
        self._told = 0

    def tell(self, name, lucky_numbers=()):
        if not name:
            raise ValueError("whose fortune?")
        self._told += 1
        # Whatever it is: over HTTP arguments are texts, or what JSON has.
        return {"fortune": f"{name} will travel far.", "numbers": sorted(map(int, lucky_numbers))}

    def count_down(self, start):
        yield from range(int(start), 0, -1)

    @property
    def told(self):
        return self._told


with pyroipc.Daemon("localhost") as daemon:
    # The gateway exposes names that begin with "http.", unless it is told otherwise.
    pyroipc.publish(daemon, {"http.fortunes": Fortunes()})
    print("http.fortunes is published", flush=True)
    daemon.requestLoop()

"""TLS with certificates at both ends, as users of Pyro4 write it: each looks at the other's.

    python gate.py serve | python gate.py URI

What TLS needs to know is in the environment.
"""

import sys

import Pyro4
import Pyro4.core
import Pyro4.errors


def owner_of(certificate):
    return dict(pair for pairs in certificate["subject"] for pair in pairs)["commonName"]


@Pyro4.expose
class Gate:
    def open(self):
        return "open"


class LookingDaemon(Pyro4.core.Daemon):
    def validateHandshake(self, conn, data):
        owner = owner_of(conn.getpeercert())
        if owner != "ann":
            raise Pyro4.errors.CommunicationError(f"{owner} has no key")
        return super().validateHandshake(conn, data)


class LookingProxy(Pyro4.core.Proxy):
    def _pyroValidateHandshake(self, response):
        owner = owner_of(self._pyroConnection.getpeercert())
        if owner != "the garden":
            raise Pyro4.errors.CommunicationError(f"this is the gate of {owner}")


def main():
    if sys.argv[1] == "serve":
        daemon = LookingDaemon()
        print("uri:", daemon.register(Gate, "gate"), flush=True)
        daemon.requestLoop()
    else:
        with LookingProxy(sys.argv[1]) as gate:
            print(gate.open(), flush=True)


if __name__ == "__main__":
    main()

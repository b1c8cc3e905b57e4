"""TLS with certificates at both ends, as users of Pyro5 write it: each looks at the other's.

    python safe.py serve | python safe.py URI

What TLS needs to know is in the environment.
"""

import sys

import Pyro5.api


def name_of(certificate):
    subject = {key: value for pairs in certificate["subject"] for key, value in pairs}
    return subject["commonName"]


@Pyro5.api.expose
class Safe:
    def content(self):
        return "gold"


class CheckingDaemon(Pyro5.api.Daemon):
    def validateHandshake(self, conn, data):
        name = name_of(conn.getpeercert())
        if name != "ann":
            raise ValueError(f"{name} is not on the list")
        return super().validateHandshake(conn, data)


class CheckingProxy(Pyro5.api.Proxy):
    def _pyroValidateHandshake(self, response):
        name = name_of(self._pyroConnection.getpeercert())
        assert name == "the safe", name


def main():
    if sys.argv[1] == "serve":
        with CheckingDaemon() as daemon:
            print("uri:", daemon.register(Safe, "safe"), flush=True)
            daemon.requestLoop()
    else:
        with CheckingProxy(sys.argv[1]) as safe:
            print(safe.content(), flush=True)


if __name__ == "__main__":
    main()

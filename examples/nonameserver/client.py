"""A client that is told the URI of the object: ``python client.py PYRO:...@localhost:...``."""

import sys

import pyroipc

uri = sys.argv[1] if len(sys.argv) > 1 else input("the URI that the server prints: ").strip()

with pyroipc.Proxy(uri) as greeter:
    for name in ("Ada", "Grace"):
        print(greeter.greet(name))

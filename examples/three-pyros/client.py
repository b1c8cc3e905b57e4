"""A client that does not care what the servers were written for."""

import sys

import pyroipc

# Each proxy finds out by itself which library its server uses.
stores = [pyroipc.Proxy(uri) for uri in sys.argv[1:]]

for store in stores:
    print(f"{store.library}: {', '.join(store.things())}")
    print("  left:", store.take("tea"))
    try:
        store.take("coffee", number=2)
    except ValueError as error:
        print("  no:", error)

# The last one is of pyroipc. It is given proxies of the others, and calls them.
print("from another one:", *stores[-1].take_from(stores[:-1], "milk"))

for store in stores:
    store._pyroRelease()

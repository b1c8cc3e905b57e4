"""Large transfers: texts and bytes of some kinds, at once and piece by piece.

Run with a number of megabytes it also says how fast that was:

    python examples/hugetransfer/hugetransfer.py 500
"""

import array
import sys
import threading
import time

import pyroipc

PIECE = 5 << 20
MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 0
TOTAL = max(1, (MEGABYTES << 20) // PIECE) * PIECE
KINDS = {
    "text": "x" * PIECE,
    "bytes": b"x" * PIECE,
    "bytearray": bytearray(PIECE),
    "array": array.array("B", bytes(PIECE)),
}


@pyroipc.expose
class Receiver:
    def take(self, data):
        return len(data)

    def pieces(self, n_bytes):
        for _ in range(n_bytes // PIECE):
            yield bytes(PIECE)


def timed(name, kind, send):
    start = time.perf_counter()
    n_bytes = send()
    speed = n_bytes / (time.perf_counter() - start) / 2**20
    text = f"{speed:,.0f} MB/s" if MEGABYTES else "all of it"
    print(f"{name}, {kind}: {text if n_bytes == TOTAL else 'something is missing'}")


def transfer(receiver, name):
    receiver._pyroSerializer = name
    count = TOTAL // PIECE
    for kind, data in KINDS.items():
        timed(name, kind, lambda data=data: sum(receiver.take(data) for _ in range(count)))
    timed(name, "an iterator", lambda: sum(map(len, receiver.pieces(TOTAL))))


print("To a child:")
with pyroipc.spawn(Receiver) as child:
    transfer(child.proxy, "pickle")

print("Over TCP:")
daemon = pyroipc.Daemon()
uri = daemon.register(Receiver())
thread = threading.Thread(target=daemon.requestLoop)
thread.start()
with pyroipc.Proxy(uri) as receiver:
    for name in ("msgpack", "serpent", "json"):
        transfer(receiver, name)
daemon.shutdown()
thread.join()

# Output:
#   To a child:
#   pickle, text: all of it
#   pickle, bytes: all of it
#   pickle, bytearray: all of it
#   pickle, array: all of it
#   pickle, an iterator: all of it
#   Over TCP:
#   msgpack, text: all of it
#   msgpack, bytes: all of it
#   msgpack, bytearray: all of it
#   msgpack, array: all of it
#   msgpack, an iterator: all of it
#   serpent, text: all of it
#   serpent, bytes: all of it
#   serpent, bytearray: all of it
#   serpent, array: all of it
#   serpent, an iterator: all of it
#   json, text: all of it
#   json, bytes: all of it
#   json, bytearray: all of it
#   json, array: all of it
#   json, an iterator: all of it

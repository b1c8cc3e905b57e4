"""A file in the annotations of answers: beside the results, which say what else is to be said.

Pyro's way for peers that cannot do better. An annotation has four letters for a name and any
size; the pieces are sent as they are, whatever the serializer is.
"""

import io
import socket
import threading

import pyroipc

FILE = b"0123456789" * 100_000
PIECE = 300_000


@pyroipc.expose
class Files:
    def piece(self, number):
        """Return whether that is all; the piece itself is in the annotation FILE."""
        data = FILE[number * PIECE : (number + 1) * PIECE]
        pyroipc.current_context.response_annotations["FILE"] = data
        return (number + 1) * PIECE >= len(FILE)


near, far = socket.socketpair()
with near, far, pyroipc.Daemon(connected_socket=far) as daemon:
    daemon.register(Files(), "files")
    loop = threading.Thread(target=daemon.requestLoop)
    loop.start()
    with pyroipc.Proxy("files", connected_socket=near) as files:
        received = io.BytesIO()
        number = 0
        while True:
            is_last = files.piece(number)
            data = pyroipc.current_context.response_annotations["FILE"]
            print("piece", number, "of", len(data), "bytes")
            received.write(data)
            number += 1
            if is_last:
                break
    daemon.shutdown()
    loop.join()
print("all of it:", received.getvalue() == FILE)

# Output:
#   piece 0 of 300000 bytes
#   piece 1 of 300000 bytes
#   piece 2 of 300000 bytes
#   piece 3 of 100000 bytes
#   all of it: True

"""A file over a socket of its own beside the daemon: calls agree on it, and the kernel copies.

A call announces the file and gets a token; whoever connects to the raw socket and shows it gets
the bytes, by ``socket.sendfile``. That is how to feed clients that are no Pyro clients.
"""

import pathlib
import secrets
import socket
import tempfile
import threading

import pyroipc


@pyroipc.expose
class Files:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.waiting = {}
        threading.Thread(target=self.serve, daemon=True).start()

    def announce(self, name):
        """Return the size of a file, where to fetch it, and the token to show there."""
        path = self.directory / pathlib.PurePath(name).name
        token = secrets.token_bytes(16)
        self.waiting[token] = path
        return path.stat().st_size, self.listener.getsockname(), token

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed
                return
            with client:
                path = self.waiting.pop(client.recv(16, socket.MSG_WAITALL), None)
                if path is not None:
                    with path.open("rb") as file:
                        client.sendfile(file)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def fetch(files, name):
    size, address, token = files.announce(name)
    with socket.create_connection(tuple(address)) as sock:
        sock.sendall(token)
        data = bytearray()
        while piece := sock.recv(1 << 20):
            data += piece
    if len(data) != size:
        raise EOFError(f"{len(data)} bytes of {size}")
    return bytes(data)


with tempfile.TemporaryDirectory() as directory:
    content = b"raw bytes " * 200_000
    (pathlib.Path(directory) / "data").write_bytes(content)
    with pyroipc.Daemon() as daemon:
        thing = Files(directory)
        uri = daemon.register(thing, "files")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        with pyroipc.Proxy(uri) as files:
            print("fetched:", fetch(files, "data") == content)
        daemon.shutdown()
        loop.join()
        thing.close()

# Output:
#   fetched: True

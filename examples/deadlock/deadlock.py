"""What deadlocks elsewhere and works here: a callback uses the very proxy whose call it is in."""

import socket
import threading

import pyroipc


@pyroipc.expose
class Server:
    def process(self, client):
        return client.answer("ready?")

    def ping(self):
        return "pong"


@pyroipc.expose
class Client:
    def __init__(self, server, lock):
        self._server = server
        self._lock = lock

    def answer(self, question):
        with self._lock:  # the caller holds it: this runs on the caller's thread
            return f"{question} {self._server.ping()}"


near, far = socket.socketpair()
host_daemon = pyroipc.Daemon(connected_socket=far)
host_daemon.register(Server(), "server")
host = threading.Thread(target=host_daemon.requestLoop)
host.start()

server = pyroipc.Proxy("server", connected_socket=near)
lock = threading.RLock()
with pyroipc.Daemon(connected_socket=near) as daemon:  # its loop need not run
    client = Client(server, lock)
    daemon.register(client)
    with lock:
        print(server.process(client))
    print(server.ping())

host_daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   ready? pong
#   pong

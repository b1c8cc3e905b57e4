"""User sessions: who is calling is told once, in the handshake, and known in every call."""

import socket
import threading

import pyroipc
from pyroipc import current_context


class LoginDaemon(pyroipc.Daemon):
    def validateHandshake(self, conn, data):
        conn.user = data["user"]  # a connection may be given attributes
        return "hello"


@pyroipc.expose
@pyroipc.behavior(instance_mode="session")
class Cart:
    def __init__(self):
        self._things = []

    def add(self, thing):
        self._things.append(thing)
        return f"{current_context.client.user} has {', '.join(self._things)}"


near, far = socket.socketpair()
daemon = LoginDaemon(connected_socket=far)
daemon.register(Cart, "cart")
host = threading.Thread(target=daemon.requestLoop)
host.start()

for user in ("Irmen", "Guido"):
    with pyroipc.Proxy("cart", connected_socket=near) as cart:
        cart._pyroHandshake = {"user": user}
        cart.add("tea")
        print(cart.add("cake"))

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   Irmen has tea, cake
#   Guido has tea, cake

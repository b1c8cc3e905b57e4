"""What travels beside a call: annotations both ways, and a correlation id through nested calls."""

import socket
import threading
import uuid

import pyroipc
from pyroipc import current_context


@pyroipc.expose
class Shop:
    def order(self, what):
        user = bytes(current_context.annotations["USER"]).decode()
        current_context.response_annotations = {"TIME": b"12 ms"}
        return f"{what} for {user}, request {current_context.correlation_id}"


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
daemon.register(Shop(), "shop")
host = threading.Thread(target=daemon.requestLoop)
host.start()

shop = pyroipc.Proxy("shop", connected_socket=near)
current_context.annotations = {"USER": b"Irmen"}
current_context.correlation_id = uuid.UUID(int=42)
print(shop.order("tea"))
print("it took", bytes(current_context.response_annotations["TIME"]).decode())

current_context.annotations = {"HMAC": b"mine"}
try:
    shop.order("more tea")
except pyroipc.ProtocolError as error:
    print("refused:", error)
current_context.annotations = {"USER": b"Guido"}
current_context.correlation_id = None
print(shop.order("coffee"))

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   tea for Irmen, request 00000000-0000-0000-0000-00000000002a
#   it took 12 ms
#   refused: annotation id HMAC is reserved for Pyro itself; use another one
#   coffee for Guido, request None

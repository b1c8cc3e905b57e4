"""A handshake: a daemon that looks at its clients before it serves them anything."""

import socket
import threading

import pyroipc


@pyroipc.expose
class Vault:
    def open(self):
        return "gold"


class Guarded(pyroipc.Daemon):
    def validateHandshake(self, conn, data):
        if data != {"user": "Irmen", "word": "open sesame"}:
            raise ValueError("who are you?")
        return f"welcome, {data['user']}"


class PoliteProxy(pyroipc.Proxy):
    def _pyroValidateHandshake(self, response):
        print("the daemon says:", response)


near, far = socket.socketpair()
daemon = Guarded(connected_socket=far)
daemon.register(Vault(), "vault")
host = threading.Thread(target=daemon.requestLoop)
host.start()

vault = PoliteProxy("vault", connected_socket=near)
try:
    vault.open()
except pyroipc.CommunicationError as error:
    print("refused:", error)

vault._pyroHandshake = {"user": "Irmen", "word": "open sesame"}
print(vault.open())

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   refused: connection rejected: who are you?
#   the daemon says: welcome, Irmen
#   gold

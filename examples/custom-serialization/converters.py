"""An object of any class, turned into a dict and back by functions of your own."""

import os
import socket

import pyroipc


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __str__(self):
        return f"{self.cents // 100}.{self.cents % 100:02}"

    def plus(self, other):
        return Money(self.cents + other.cents)


def to_dict(money):
    return {"__class__": "Money", "cents": money.cents}


def from_dict(name, data):
    return Money(data["cents"])


# Both ends do both here: money goes there and comes back.
pyroipc.register_class_to_dict(Money, to_dict)
pyroipc.register_dict_to_class("Money", from_dict)


@pyroipc.expose
class Bank:
    def add(self, *amounts):
        total = Money(0)
        for amount in amounts:
            total = total.plus(amount)
        return total


near, far = socket.socketpair()
pid = os.fork()
if pid == 0:
    near.close()
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(Bank(), "bank")
    daemon.requestLoop()
    os._exit(0)

far.close()
with pyroipc.Proxy("bank", connected_socket=near) as bank:
    for serializer in ("serpent", "json", "marshal", "msgpack"):
        bank._pyroSerializer = serializer
        print(serializer, "->", bank.add(Money(199), Money(250)))
near.close()  # the child sees it, and ends
os.waitpid(pid, 0)

# Output:
#   serpent -> 4.49
#   json -> 4.49
#   marshal -> 4.49
#   msgpack -> 4.49

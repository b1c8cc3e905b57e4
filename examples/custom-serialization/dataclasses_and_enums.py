"""Dataclasses and enums with json: arguments by annotation, results by register_class."""

import datetime
import os
import socket
import threading
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

import pyroipc


class Size(Enum):
    SMALL = 1
    LARGE = 2


@dataclass(frozen=True)
class Order:
    number: int
    size: Size
    price: Decimal


@pyroipc.register_class  # a result: the caller has to know it
@dataclass
class Receipt:
    orders: tuple
    when: datetime.datetime


@pyroipc.expose
class Shop:
    def buy(self, orders: list[Order]):  # the annotation allows Order, and Size with it
        when = datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.UTC)
        return Receipt(tuple(order.price for order in orders), when)

    def look(self, thing):  # no annotation: a dataclass is refused
        return repr(thing)


near, far = socket.socketpair()
pid = os.fork()
if pid == 0:
    near.close()
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(Shop(), "shop")
    daemon.requestLoop()
    os._exit(0)

far.close()
with pyroipc.Proxy("shop", connected_socket=near) as shop:
    shop._pyroSerializer = "json"
    receipt = shop.buy([Order(1, Size.SMALL, Decimal("1.50")), Order(2, Size.LARGE, Decimal("2"))])
    print("got a", type(receipt).__name__, receipt.orders, receipt.when)
    print("the shop saw", shop.look((1, {2, 3}, b"bytes", {"key": (4, 5)})))
    for argument in (Size.LARGE, {"order": [1, threading.Lock()]}):
        try:
            shop.look(argument)
        except pyroipc.SerializeError as error:
            print("no:", str(error).partition(";")[0].partition(":")[0])
near.close()  # the child sees it, and ends
os.waitpid(pid, 0)

# Output:
#   got a Receipt (Decimal('1.50'), Decimal('2')) 2024-02-29 12:00:00+00:00
#   the shop saw (1, {2, 3}, b'bytes', {'key': (4, 5)})
#   no: the enum '__main__.Size' is not known in this process
#   no: cannot send an object of type _thread.lock (at argument 0['order'][1]) with json

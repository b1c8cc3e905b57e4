"""What a type checker must know of typed proxies. Lines with ``# E`` must be reported."""

from __future__ import annotations

import socket

import pyroipc
from pyroipc import Proxy


class Calculator:
    @property
    def precision(self) -> int:
        return 2

    def add(self, a: int, b: int) -> int:
        return a + b


sock, _ = socket.socketpair()

with Proxy[Calculator]("calc", connected_socket=sock) as calculator:
    total: int = calculator.add(1, 2)
    digits: int = calculator.precision
    calculator.add("1", 2)  # E
    calculator.subtract(1, 2)  # E
    wrong: str = calculator.add(1, 2)  # E

with pyroipc.spawn(Calculator) as child:
    total = child.add(1, 2)
    child.add(1)  # E

handle = pyroipc.spawn(Calculator)
total = handle.proxy.add(1, 2)
handle.proxy.add(1, "2")  # E
number: int = handle.pid


def use(proxy: Proxy[Calculator]) -> int:
    proxy._pyroTimeout = 5.0
    with proxy as it:
        it.add(None, 1)  # E
        return it.add(1, 2)


plain = Proxy[Calculator]("calc", connected_socket=sock)
anything = plain.add("not checked", "without a with statement")
Proxy(5, connected_socket=sock)  # E

"""Pyro4's Future: a function of this process, called in the background."""

import threading

from pyroipc.client.futures import Future


def add(a, b):
    return a + b


gate = threading.Event()


def wait_and_add(a, b):
    gate.wait()
    return a + b


# Calling a Future returns at once; the value is asked for later.
result = Future(wait_and_add)(4, 5)
print("ready at once:", result.ready)
gate.set()
print("value:", result.value)

# Functions can be chained: each gets what the one before it returned.
future = Future(add).then(add, 100).then(str)
print("chained:", repr(future(1, 2).value))

# An error ends the chain.
future = Future(add).then(add, "not a number").then(print).iferror(lambda error: print("!", error))
future(1, 2).wait()

# It can be delayed, and cancelled as long as it has not begun.
future = Future(add)
future.delay(3600)
result = future(1, 2)
print("cancelled:", future.cancel())
try:
    print(result.value)
except RuntimeError as error:
    print("it said:", error)

# Output:
#   ready at once: False
#   value: 9
#   chained: '103'
#   ! unsupported operand type(s) for +: 'int' and 'str'
#   cancelled: True
#   it said: future has been cancelled

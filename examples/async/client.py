"""An asynchronous proxy: its methods return at once; the results are fetched later."""

import pyroipc
from pyroipc.client.futures import asyncproxy


class Worker:
    def __init__(self):
        self._calls = 0

    @pyroipc.expose
    @property
    def calls(self):
        return self._calls

    @pyroipc.expose
    def square(self, number):
        self._calls += 1
        return number * number

    @pyroipc.expose
    def divide(self, a, b):
        return a / b


with pyroipc.spawn(Worker) as worker:
    # Switch the mode of the proxy. To have both modes, make a copy of it first.
    asyncproxy(worker)

    results = [worker.square(number) for number in range(5)]
    print([result.value for result in results])

    # Functions are chained to what a call will return. They may call the same object.
    result = worker.square(3)
    result.then(lambda value: value + 1).then(lambda value: worker.square(value).value)
    print("of the chain:", result.value)
    result.then(print)  # the value is there: it is printed now

    # An error ends the chain, and goes to those who asked for it.
    result = worker.divide(1, 0).then(print).iferror(lambda error: print("failed:", error))
    print("in time:", result.wait(60))
    try:
        print(result.value)
    except ZeroDivisionError as error:
        print("raised:", error)

    # Attributes are read as ever.
    print("calls:", worker.calls)

# Output:
#   [0, 1, 4, 9, 16]
#   of the chain: 100
#   100
#   failed: division by zero
#   in time: True
#   raised: division by zero
#   calls: 7

"""Many calls under way on one connection: futures of the standard library's kind."""

import threading
from concurrent.futures import FIRST_COMPLETED, as_completed, wait

import pyroipc


class Worker:
    def __init__(self):
        self._gate = threading.Event()

    def square(self, number):
        return number * number

    def wait_for_gate(self):
        self._gate.wait()
        return "the gate is open"

    def open_gate(self):
        self._gate.set()

    def divide(self, a, b):
        return a / b


with pyroipc.spawn(Worker) as worker:
    # submit sends the call and returns at once. All of them go over the one connection.
    squares = [worker.square.submit(number) for number in range(1000)]
    print("sum of the squares:", sum(future.result() for future in squares))

    # The functions of concurrent.futures take them.
    slow = worker.wait_for_gate.submit()
    quick = worker.square.submit(12)
    done, not_done = wait([slow, quick], return_when=FIRST_COMPLETED)
    print("first:", [future.result() for future in done], "not done:", len(not_done))
    worker.open_gate()
    print(slow.result())

    numbers = {worker.square.submit(number): number for number in (1, 2, 3)}
    print(sorted((numbers[future], future.result()) for future in as_completed(numbers)))

    # Nobody need wait: a callback is called by a thread of the library's. It may call, too.
    told = threading.Event()

    def tell(future):
        print("called back with", future.result(), "and then", worker.square(future.result()))
        told.set()

    worker.square.submit(3).add_done_callback(tell)
    told.wait()

    # An error comes out where the result is asked for.
    future = worker.divide.submit(1, 0)
    try:
        future.result()
    except ZeroDivisionError as error:
        print("it said:", error)

# Output:
#   sum of the squares: 332833500
#   first: [144] not done: 1
#   the gate is open
#   [(1, 1), (2, 4), (3, 9)]
#   called back with 9 and then 81
#   it said: division by zero

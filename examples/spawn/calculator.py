"""An object in a child process: calls, results, exceptions."""

import os

import pyroipc


class Calculator:
    def __init__(self, total):
        self.total = total

    def add(self, *numbers):
        """Add numbers to the total and return it."""
        self.total += sum(numbers)
        return self.total

    def divide(self, by):
        return self.total / by

    def where(self):
        return os.getpid()


with pyroipc.spawn(Calculator, 10) as calculator:
    print("in another process:", calculator.where() != os.getpid())
    print("add(1, 2) ->", calculator.add(1, 2))
    try:
        calculator.divide(0)
    except ZeroDivisionError as error:
        print("divide(0) ->", error)
    print("divide(2) ->", calculator.divide(2))
print("the child ended with", calculator.exitcode)

# Output:
#   in another process: True
#   add(1, 2) -> 13
#   divide(0) -> division by zero
#   divide(2) -> 6.5
#   the child ended with 0

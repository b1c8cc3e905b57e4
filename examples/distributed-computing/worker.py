"""A worker: it takes work, finds the prime factors, and takes the next. Start as many as you like.

``python worker.py URI``; with ``--clumsy`` it takes some work and then falls over.
"""

import os
import sys

import pyroipc


def factors(number):
    found = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


if __name__ == "__main__":
    with pyroipc.Proxy(sys.argv[1]) as dispatcher:
        while (number := dispatcher.get_work()) is not None:
            if "--clumsy" in sys.argv:
                os._exit(1)
            dispatcher.put_result(number, factors(number))

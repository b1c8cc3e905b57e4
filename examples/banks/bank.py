"""A bank in a process of its own: ``python bank.py NAME`` prints the URI of its counter.

With ``--publish`` the counter also has a name in the name server, ``bank.NAME``.
"""

import contextlib
import sys
import threading

import pyroipc


class InsufficientFundsError(ValueError):
    pass


@pyroipc.expose
class Bank:
    def __init__(self, name):
        self._name = name
        self._balances = {}
        self._lock = threading.Lock()  # many clients at once: each call is on a thread of its own

    @property
    def name(self):
        return self._name

    def open_account(self, owner):
        with self._lock:
            if owner in self._balances:
                raise ValueError(f"{owner} has an account here")
            self._balances[owner] = 0

    def deposit(self, owner, amount):
        with self._lock:
            self._balances[owner] += self._positive(amount)

    def withdraw(self, owner, amount):
        with self._lock:
            missing = self._positive(amount) - self._balances[owner]
            if missing > 0:
                error = InsufficientFundsError(f"{owner} has {missing} too little")
                error.missing = missing
                raise error
            self._balances[owner] -= amount

    def balance(self, owner):
        return self._balances[owner]

    def accounts(self):
        """Owner and balance of each account, one after the other: a remote iterator."""
        yield from sorted(self._balances.items())

    @staticmethod
    def _positive(amount):
        if amount <= 0:
            raise ValueError("the amount must be positive")
        return amount


if __name__ == "__main__":
    with pyroipc.Daemon() as daemon:
        uri = daemon.register(Bank(sys.argv[1]), "bank")
        with contextlib.ExitStack() as stack:
            if "--publish" in sys.argv:
                stack.enter_context(pyroipc.publish(daemon, {f"bank.{sys.argv[1]}": "bank"}))
            print(uri, flush=True)
            daemon.requestLoop()

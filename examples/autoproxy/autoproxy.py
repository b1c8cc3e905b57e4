"""Autoproxy: a registered object that is returned arrives as a proxy, and comes home as itself."""

import socket
import threading

import pyroipc


@pyroipc.expose
class Account:
    def __init__(self, owner):
        self._owner = owner
        self._balance = 0

    @property
    def owner(self):
        return self._owner

    def deposit(self, amount):
        self._balance += amount
        return self._balance


@pyroipc.expose
class Bank:
    def __init__(self, daemon):
        self._daemon = daemon
        self._accounts = []

    def open(self, owner):
        account = Account(owner)
        self._daemon.register(account)  # without this line it would have to travel
        self._accounts.append(account)
        return account

    def knows(self, account):
        return account in self._accounts  # here it is the object, not a proxy


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
daemon.register(Bank(daemon), "bank")
host = threading.Thread(target=daemon.requestLoop)
host.start()

bank = pyroipc.Proxy("bank", connected_socket=near)
account = bank.open("Irmen")
print("a proxy:", isinstance(account, pyroipc.Proxy), "of", account.owner)
print("balance:", account.deposit(20))
print("balance:", account.deposit(5))
print("known:", bank.knows(account))

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   a proxy: True of Irmen
#   balance: 20
#   balance: 25
#   known: True

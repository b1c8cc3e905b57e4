"""A customer of two banks: ``python client.py URI URI``. What a bank raises is caught here."""

import sys

import pyroipc


def transfer(giver, taker, owner, amount):
    giver.withdraw(owner, amount)
    try:
        taker.deposit(owner, amount)
    except Exception:
        giver.deposit(owner, amount)
        raise


with pyroipc.Proxy(sys.argv[1]) as first, pyroipc.Proxy(sys.argv[2]) as second:
    for bank in (first, second):
        bank.open_account("ann")
    second.open_account("bob")
    first.deposit("ann", 100)
    second.deposit("bob", 20)

    transfer(first, second, "ann", 30)

    try:
        transfer(first, second, "ann", 1000)
    except ValueError as error:
        # This program does not know the class of the bank. So it is a subclass of the nearest
        # one that it knows, and of RemoteError, and it has brought its attributes along.
        print(f"{first.name}: {error} ({error.missing}), an {type(error).__name__}")

    try:
        transfer(first, second, "ann", -5)
    except ValueError as error:
        print(f"{first.name}: {error}")

    try:
        transfer(second, first, "bob", 20)
    except KeyError as error:  # of the deposit; the money has gone back
        print(f"{first.name}: nobody of the name {error}")
        where = error._pyroTraceback[-2].strip().splitlines()[0]
        print("raised in", where.rpartition(" in ")[2])

    for bank in (first, second):
        print(f"{bank.name}:", ", ".join(f"{owner} {sum_}" for owner, sum_ in bank.accounts()))

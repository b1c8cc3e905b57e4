"""Many small calls in one request.

Each call over a connection costs a trip to the other process and back. A batch makes one trip for
all of them: it notes the calls, sends them together, and gets the results together.
"""

import pyroipc


class Account:
    def __init__(self):
        self._balance = 0

    def deposit(self, amount):
        self._balance += amount
        return self._balance

    def withdraw(self, amount):
        if amount > self._balance:
            raise ValueError(f"there are only {self._balance}")
        self._balance -= amount
        return self._balance

    @property
    def balance(self):
        return self._balance


with pyroipc.spawn(Account) as account:
    batch = pyroipc.BatchProxy(account.proxy)

    # These only note what is to be called, and return None.
    batch.deposit(100)
    batch.deposit(50)
    batch.withdraw(30)

    # Calling the batch itself makes the calls. The results come in their order.
    for result in batch():
        print("balance:", result)

    # It is empty now and can be used again. An exception comes out in its place, and ends the
    # batch: what follows was not called.
    batch.withdraw(20)
    batch.withdraw(1_000_000)
    batch.withdraw(1)
    results = batch()
    print("made", len(results), "calls")
    print("balance:", next(results))
    try:
        next(results)
    except ValueError as error:
        print("refused:", error)

    # Nobody waits for the results of a oneway batch.
    for _ in range(1000):
        batch.deposit(1)
    print(batch(oneway=True))

    # Attributes can be part of a batch, too.
    batch.balance  # noqa: B018 - it notes that the attribute is to be read
    print("balance:", *batch())

# Output:
#   balance: 100
#   balance: 150
#   balance: 120
#   made 2 calls
#   balance: 100
#   refused: there are only 100
#   None
#   balance: 1100

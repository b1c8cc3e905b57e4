"""The same object in a forked child, in a fresh interpreter, and in a thread.

No ``if __name__ == "__main__"`` is needed.
"""

import os

import pyroipc


class Where:
    def __init__(self, home):
        self.home = home

    def describe(self):
        return "same process" if os.getpid() == self.home else "other process"


for options in ({"start": "fork"}, {"start": "spawn"}, {"where": "thread"}):
    with pyroipc.spawn(Where, os.getpid(), **options) as where:
        print(*options.values(), "->", where.describe())

# Output:
#   fork -> other process
#   spawn -> other process
#   thread -> same process

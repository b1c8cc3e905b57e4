"""A child that dies in the middle of a call, and a class whose constructor fails."""

import os
import signal

import pyroipc


class Fragile:
    def __init__(self, strength):
        if strength < 0:
            raise ValueError("strength must not be negative")

    def exit(self):
        os._exit(3)

    def crash(self):
        os.kill(os.getpid(), signal.SIGKILL)


for member in ("exit", "crash"):
    with pyroipc.spawn(Fragile, 1) as fragile:
        try:
            getattr(fragile, member)()
        except pyroipc.PeerDiedError as error:
            print(member, "->", error.exitcode, error.signal_name)

try:
    pyroipc.spawn(Fragile, -1)
except ValueError as error:
    print("start ->", error)

# Output:
#   exit -> 3 None
#   crash -> -9 SIGKILL
#   start -> strength must not be negative

"""The warehouse, phase 2: the warehouse is another program, and the people do not notice.

What is new is a server around the warehouse, which says what may be called, and a proxy instead of
the warehouse for the people. Both classes are those of phase 1.
"""

import contextlib
import subprocess
import sys

import phase1

import pyroipc


def serve():
    with pyroipc.Daemon() as daemon:
        # @pyroipc.expose could stand above the class, or above some of its methods, as well.
        print(daemon.register(pyroipc.expose(phase1.Warehouse)(), "warehouse"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server():
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main():
    with server() as uri, pyroipc.Proxy(uri) as warehouse:
        phase1.visits(warehouse)


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   Janet sees: chair, bike, flashlight, laptop, couch
#   Janet stored the lamp
#   Janet took the bike
#   Henry sees: chair, flashlight, laptop, couch, lamp
#   Henry stored the radio
#   Henry looked for the bike in vain
#   now there are: chair, flashlight, laptop, couch, lamp, radio

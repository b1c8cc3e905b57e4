"""A server that is restarted at the same address, and a proxy that does not mind.

A proxy connects when it is used, and again when it is used after its connection was lost. What a
program has to decide is only what becomes of a call that was on its way when that happened; the
error says how far it had come.
"""

import os
import subprocess
import sys

import pyroipc


@pyroipc.expose
class Counter:
    def __init__(self):
        self._count = 0

    def add(self):
        self._count += 1
        return self._count

    def crash(self):
        os._exit(1)


def serve(port):
    with pyroipc.Daemon("localhost", port) as daemon:
        # The same port and the same name each time, and so the same URI.
        print(daemon.register(Counter(), "counter"), flush=True)
        daemon.requestLoop()


def start(port=0):
    command = [sys.executable, __file__, str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main():
    with start() as server:
        uri = pyroipc.URI(server.stdout.readline().strip())
        counter = pyroipc.Proxy(uri)
        print("counted to", counter.add(), counter.add())
        server.terminate()

    try:
        counter.add()
    except pyroipc.ConnectError as error:
        print("no server; the call was", error.call_status)

    with start(uri.port) as server:
        server.stdout.readline()  # it is up
        print("restarted, and counted to", counter.add())
        try:
            counter.crash()
        except pyroipc.ConnectionClosedError as error:
            print("it crashed in a call; what became of that is", error.call_status)

    with start(uri.port) as server:
        # Wait for it: it tries every two seconds, as often as you like.
        server.stdout.readline()
        counter._pyroReconnect(tries=5)
        print("restarted, and counted to", counter.add())
        counter._pyroRelease()
        print("released, and counted to", counter.add())
        server.terminate()
    counter._pyroRelease()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        main()

# Output:
#   counted to 1 2
#   no server; the call was not sent
#   restarted, and counted to 1
#   it crashed in a call; what became of that is unknown
#   restarted, and counted to 1
#   released, and counted to 2

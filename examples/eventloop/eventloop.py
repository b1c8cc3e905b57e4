"""A program with a loop of its own, and a daemon in it: one ``select`` waits for everything.

Beside its daemon the server below reads commands from a pipe. A second daemon, with a socket of
another kind, is combined with the first: then one loop serves both.
"""

import contextlib
import os
import select
import subprocess
import sys
import tempfile

import pyroipc


@pyroipc.expose
class Notes:
    def __init__(self):
        self._lines = []

    def add(self, line):
        self._lines.append(line)

    def lines(self):
        return self._lines


def serve(path):
    # In a loop of one's own calls run on its thread: "multiplex". (With "thread" only the
    # listening sockets are waited for here, and the calls run on threads of the daemon.)
    pyroipc.config.SERVERTYPE = "multiplex"
    notes = Notes()
    with pyroipc.Daemon() as daemon, pyroipc.Daemon(unixsocket=path) as other:
        print(daemon.register(notes, "notes"), flush=True)
        print(other.register(notes, "notes"), flush=True)
        daemon.combine(other)
        while True:
            # Ask for the sockets each time: clients come and go.
            readable, _, _ = select.select([sys.stdin, *daemon.sockets], [], [])
            if sys.stdin in readable:
                command = os.read(sys.stdin.fileno(), 1000).decode().strip()
                if command in {"", "stop"}:
                    break
                notes.add(f"from the pipe: {command}")
                print("noted", flush=True)
            daemon.events([sock for sock in readable if sock is not sys.stdin])


@contextlib.contextmanager
def server(path):
    command = [sys.executable, __file__, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as process:
        yield process  # leaving the block closes the pipe, and that ends the server


def main():
    with (
        tempfile.TemporaryDirectory() as directory,
        server(os.path.join(directory, "notes.sock")) as process,
    ):
        uris = [process.stdout.readline().strip() for _ in range(2)]
        with pyroipc.Proxy(uris[0]) as over_tcp, pyroipc.Proxy(uris[1]) as over_unix:
            over_tcp.add("from TCP")
            over_unix.add("from the unix socket")
            process.stdin.write("hello\n")
            print("the server:", process.stdout.readline().strip())
            for line in over_tcp.lines():
                print(line)
        process.stdin.write("stop\n")
        print("the server ended with", process.wait())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

# Output:
#   the server: noted
#   from TCP
#   from the unix socket
#   from the pipe: hello
#   the server ended with 0

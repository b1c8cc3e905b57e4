"""A daemon at a unix socket: for programs of this machine, faster than TCP, and with a gain.

The kernel says who the client is, so only processes of the same user are let in, and with them
pickle may be used. Over TCP it never is.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

import pyroipc


class Point:  # no class that Pyro knows, and nobody tells it how to turn one into a dict
    def __init__(self, x, y):
        self.x, self.y = x, y


@pyroipc.expose
class Mirror:
    def swap(self, point):
        return Point(point.y, point.x)

    def who_calls(self):
        peer = pyroipc.current_context.client.peer
        return peer.uid, peer.pid


def serve(path):
    with pyroipc.Daemon(unixsocket=path) as daemon:
        print(daemon.register(Mirror(), "mirror"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server(path):
    command = [sys.executable, __file__, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "mirror.sock")
        with server(path) as uri:
            print("the URI:", uri.replace(directory, "<directory>"))
            print("mode of the file:", oct(os.stat(path).st_mode & 0o777))
            with pyroipc.Proxy(uri) as mirror:
                point = mirror.swap(Point(1, 2))  # pickle, without a word about it
                print("swapped:", point.x, point.y)
                uid, pid = mirror.who_calls()
                print("the daemon knows me:", (uid, pid) == (os.geteuid(), os.getpid()))
        print("left behind:", list(pathlib.Path(directory).iterdir()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

# Output:
#   the URI: PYRO:mirror@./u:<directory>/mirror.sock
#   mode of the file: 0o600
#   swapped: 2 1
#   the daemon knows me: True
#   left behind: []

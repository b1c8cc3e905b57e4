"""A service with privileges at a unix socket, for programs that run under other user ids.

The kernel tells the service which user a client runs as; nobody can lie about that. Who is not
named is not let in, and the methods can look at the user id, too. Run it as root to see two ids.
"""

import contextlib
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile

import pyroipc

NOBODY = 65534


@pyroipc.expose
class Mailbox:
    """Each user gets at their own letters only."""

    def __init__(self):
        self._letters = {}

    def put(self, uid, letter):
        self._letters.setdefault(uid, []).append(letter)

    def read(self):
        return self._letters.pop(pyroipc.current_context.client.peer.uid, [])


def serve(path):
    # No pickle: it could run code here. The same goes for clients of our own user id.
    daemon = pyroipc.Daemon(
        unixsocket=path, allowed_uids={NOBODY}, serializers_accepted={"serpent"}
    )
    with daemon:
        print(daemon.register(Mailbox(), "mailbox"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server(path):
    command = [sys.executable, __file__, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def visit(uri):
    """What the program without privileges does."""
    with pyroipc.Proxy(uri) as mailbox:
        mailbox._pyroSerializer = "serpent"
        mailbox.put(NOBODY, "for nobody")
        mailbox.put(0, "for root")
        # So far it ran as before, and loaded what it needs. The next connection is that of nobody.
        mailbox._pyroRelease()
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        mailbox.put(os.geteuid(), "for me")
        letters = mailbox.read()
        print("for me:", "for me" in letters)
        print("for root:", "for root" in letters)
        print("left:", mailbox.read())


def main():
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory).chmod(0o755)
        with server(os.path.join(directory, "mailbox.sock")) as uri:
            program = multiprocessing.get_context("fork").Process(target=visit, args=(uri,))
            program.start()
            program.join()
            print("the program ended with", program.exitcode)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

# Output:
#   for me: True
#   for root: False
#   left: []
#   the program ended with 0

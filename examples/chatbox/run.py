"""A chat of two, each in a process of its own; what you would type and read in two terminals."""

import contextlib
import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}


@contextlib.contextmanager
def started(*command):
    with subprocess.Popen([sys.executable, *command], **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


def client(uri, nick):
    return started(here / "client.py", uri, "tea", nick)


def reads(nick, process):
    """Print the next line that somebody sees."""
    print(f"{nick} reads:", process.stdout.readline().strip())


with started(here / "server.py") as server:
    uri = server.stdout.readline().strip()
    with client(uri, "ann") as ann:
        reads("ann", ann)
        with client(uri, "bob") as bob:
            reads("ann", ann)
            reads("bob", bob)

            ann.stdin.write("a cup of tea?\n")
            reads("ann", ann)
            reads("bob", bob)
            bob.stdin.write("with milk\n")
            reads("bob", bob)
            reads("ann", ann)

            bob.kill()  # without a word
        reads("ann", ann)
        ann.stdin.close()
        print("ann ended with", ann.wait())

# Output:
#   ann reads: in the channel: ann
#   ann reads: <*> bob has joined
#   bob reads: in the channel: ann, bob
#   ann reads: <ann> a cup of tea?
#   bob reads: <ann> a cup of tea?
#   bob reads: <bob> with milk
#   ann reads: <bob> with milk
#   ann reads: <*> bob has left
#   ann ended with 0

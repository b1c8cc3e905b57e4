"""The built-in echo server, ``pyroipc echo``, and what a client can try with it.

It is there to find out whether two machines can talk to each other at all, before any code of
yours is in the way. ``python client.py URI`` asks one that runs already; else one is started.
"""

import contextlib
import subprocess
import sys

import pyroipc


@contextlib.contextmanager
def echo_server():
    command = [sys.executable, "-m", "pyroipc", "echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("echo uri:"):
                    yield line.split()[-1]
                    break
        finally:
            process.terminate()


def attempt(uri):
    with pyroipc.Proxy(uri) as echo:
        print(echo.echo("hello"))
        print(echo.echo({"numbers": [1, 2.5, 10**30], "nothing": None, "bytes": b"\0\xff"}))
        print("nobody waits:", echo.oneway_echo("hello"))
        print("one by one:", list(echo.generator()))
        try:
            echo.error()
        except ValueError as error:
            print("an error:", error)
        echo._pyroTimeout = 0.2
        try:
            echo.slow()  # takes 5 seconds
        except pyroipc.TimeoutError:
            print("too slow")
        echo._pyroTimeout = None
        print(echo.echo("still there"))
        echo.shutdown()


if len(sys.argv) > 1:
    attempt(sys.argv[1])
else:
    with echo_server() as uri:
        attempt(uri)

# Output:
#   hello
#   {'numbers': [1, 2.5, 1000000000000000000000000000000], 'nothing': None, 'bytes': b'\x00\xff'}
#   nobody waits: None
#   one by one: ['one', 'two', 'three']
#   an error: this is the generated error from echoserver error() method
#   too slow
#   still there

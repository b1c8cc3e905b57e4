"""Calls that may take only so long, and what is left of them when they took longer."""

import contextlib
import socket
import subprocess
import sys
import threading

import pyroipc


@pyroipc.expose
class Gate:
    def __init__(self):
        self._open = threading.Event()
        self._passed = threading.Semaphore(0)

    def pass_through(self):
        """Wait until the gate is open."""
        self._open.wait(10)
        self._passed.release()
        return "passed"

    def open(self):
        self._open.set()
        # A call that nobody waits for any more goes on here: it is not stopped.
        return self._passed.acquire(timeout=10)

    def time_limit(self):
        return pyroipc.current_context.time_limit


def serve():
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Gate(), "gate"), flush=True)
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
    with server() as uri, pyroipc.Proxy(uri) as gate:
        print("no limit:", gate.time_limit())

        gate._pyroTimeout = 0.2  # seconds, for a whole call
        try:
            gate.pass_through()
        except TimeoutError as error:  # Python's own; pyroipc.TimeoutError is one
            # "unknown": it may have been done, or half of it. Only you know whether to repeat it.
            print("too slow, and what became of it is", error.call_status)

        gate._pyroTimeout = 10
        # The same connection. The late answer is dropped when it comes, and not taken for ours.
        print("opened, and somebody passed:", gate.open())
        print(gate.pass_through())
        print("the method knows how long its caller waits:", 0 < gate.time_limit() <= 10)

    # For all proxies that are made from here on; by the environment: PYRO_COMMTIMEOUT=10.
    pyroipc.config.COMMTIMEOUT = 10.0
    # Connecting has a time of its own, 10 s by default.
    pyroipc.config.CONNECT_TIMEOUT = 0.2
    mute = socket.create_server(("localhost", 0))  # who connects to it waits for ever
    with mute, pyroipc.Proxy(f"PYRO:gate@localhost:{mute.getsockname()[1]}") as gate:
        try:
            gate.open()
        except TimeoutError as error:
            print("nobody answers there; the call was", error.call_status)


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   no limit: None
#   too slow, and what became of it is unknown
#   opened, and somebody passed: True
#   passed
#   the method knows how long its caller waits: True
#   nobody answers there; the call was not sent

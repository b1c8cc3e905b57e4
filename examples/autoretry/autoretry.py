"""Calls that are made again by themselves when the connection is lost or time runs out.

Only for methods of which it does no harm if they run twice: the first try may have been done, and
just the answer got lost. That is what happens here.
"""

import contextlib
import socket
import subprocess
import sys
import threading

import pyroipc


@pyroipc.expose
class Flaky:
    """Answers each third call; at the first it is silent, at the second it cuts the connection."""

    def __init__(self):
        self._calls = 0
        self._third = threading.Event()

    def shout(self, text):
        self._calls += 1
        if self._calls % 3 == 1:
            self._third.clear()
            self._third.wait(10)  # so long that the client gives up
        elif self._calls % 3 == 2:
            pyroipc.current_context.client.sock.shutdown(socket.SHUT_RDWR)
        else:
            self._third.set()
        return text.upper()

    def calls(self):
        return self._calls


def serve():
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Flaky(), "flaky"), flush=True)
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
    settings = pyroipc.config.copy()
    settings.COMMTIMEOUT = 0.5  # seconds for each try
    settings.MAX_RETRIES = 2  # after the first try
    settings.RETRY_SECONDS = 0.01  # the first pause; the next one is twice as long
    with server() as uri, pyroipc.Proxy(uri, settings=settings) as flaky:
        print("at first:", flaky.calls(), "calls")
        print(flaky.shout("done"), "after", flaky.calls(), "calls")
        print(flaky.shout("again"), "after", flaky.calls(), "calls")

        flaky._pyroMaxRetries = 0
        try:
            flaky.shout("once")
        except pyroipc.TimeoutError:
            print("without retries: too slow")
        try:
            flaky.shout("once")
        except pyroipc.ConnectionClosedError:
            print("without retries: the connection is lost")
        print(flaky.shout("the next call connects again"))


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   at first: 0 calls
#   DONE after 3 calls
#   AGAIN after 6 calls
#   without retries: too slow
#   without retries: the connection is lost
#   THE NEXT CALL CONNECTS AGAIN

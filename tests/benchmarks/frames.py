"""How many Python frames a plain call makes, on both sides together: exact, whatever the machine.

Two threads, as there the reader never looks before it sleeps: how often it does so depends on
time. Each side is counted on its own thread.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading

from tests.benchmarks.figures import exact_figure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

GOAL = 32
_TRIES = 9


class FrameCounter:
    """Counts the Python frames that a thread enters, here or, hosted, at the daemon's side."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def _count(self, frame, event, _argument) -> None:
        if event == "call":
            self.names.append(frame.f_code.co_qualname)

    def begin(self) -> None:
        """Count from here on, on this thread."""
        self.names = []
        sys.setprofile(self._count)

    def end(self) -> list[str]:
        """Stop counting, and return the frames."""
        sys.setprofile(None)
        return self.names[:-1]  # without this one

    def echo(self, value):
        return value


def measure(_effort: Effort) -> list[Figure]:
    """Count the frames of ``echo(42)``."""
    ours, theirs = count_frames()
    detail = f"the caller {ours}, the daemon {theirs}, the method itself included"
    title = "Python frames of a plain call, both sides together"
    return [exact_figure("frames", title, "frames", GOAL, ours + theirs, detail)]


def count_frames() -> tuple[int, int]:
    """Return the frames of one call at the caller's and at the daemon's side."""
    import pyroipc

    near, far = socket.socketpair()
    with near, far, pyroipc.Daemon(connected_socket=far) as daemon:
        daemon.register(pyroipc.expose(FrameCounter)(), "echo")
        thread = threading.Thread(target=daemon.requestLoop, daemon=True)
        thread.start()
        try:
            with pyroipc.Proxy("echo", connected_socket=near) as proxy:
                return _count_both(proxy)
        finally:
            daemon.shutdown()
            thread.join()


def _count_both(proxy) -> tuple[int, int]:
    echo, begin, end = proxy.echo, proxy.begin, proxy.end
    for _ in range(20):
        echo(42)
    counter = FrameCounter()
    near, far = [], []
    for _ in range(_TRIES):  # a daemon that hands over to its stand-by thread spoils one try
        counter.begin()
        echo(42)
        near.append(len(counter.end()))
        counts = []
        for calls in (1, 2):
            begin()
            for _ in range(calls):
                echo(42)
            counts.append(len(end()))
        far.append(counts[1] - counts[0])
    return statistics.mode(near), statistics.mode(far)

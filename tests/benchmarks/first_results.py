"""From nothing to the first result of a child; each contestant in a parent process of its own.

So neither pays for what the other has loaded: not for memory that a fork has to copy, nor for
functions that run at a fork. The parents have no main module that a fresh child would have to load
again, which is as good as it gets for multiprocessing.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from time import perf_counter

from tests.benchmarks.hosts import Echo, pipe_echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 20.0
_CODE = "from tests.benchmarks.first_results import main; main()"


def start_pyroipc(method: str) -> float:
    """Return the ms until the first result of an object in a child."""
    import pyroipc

    start = perf_counter()
    with pyroipc.spawn(Echo, start=method) as echo:
        assert echo.echo(42) == 42
        return (perf_counter() - start) * 1e3


def start_multiprocessing(method: str) -> float:
    """Return the ms until the first result of a hand-written echo in a child."""
    import multiprocessing

    context = multiprocessing.get_context(method)
    start = perf_counter()
    near, far = context.Pipe()
    process = context.Process(target=pipe_echo, args=(far,), daemon=True)
    with near, far:
        process.start()
        try:
            near.send(42)
            assert near.poll(PATIENCE_SECONDS), "the child does not answer"
            assert near.recv() == 42
            return (perf_counter() - start) * 1e3
        finally:
            process.kill()
            process.join()
            process.close()


STARTERS = {"pyroipc": start_pyroipc, "multiprocessing": start_multiprocessing}


@contextlib.contextmanager
def starter(name: str, method: str) -> Iterator[Callable[[], float]]:
    """Yield a function that has the parent of a contestant start a child, and returns the ms."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, name, method],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def start() -> float:
        process.stdin.write("start\n")
        return float(process.stdout.readline())

    with process:  # waits for its end, which follows the end of its input
        yield start


def main() -> None:
    """Be such a parent: for each line, start a child and print the ms."""
    name, method = sys.argv[1:]
    for _ in sys.stdin:
        print(STARTERS[name](method), flush=True)

"""The contestants without foreign libraries: ours, and what people write by hand.

Each is a context manager that yields a function which sends a value to a child and returns what
comes back.
"""

from __future__ import annotations

import contextlib
import multiprocessing

from tests.benchmarks.children import Placement, forked
from tests.benchmarks.hosts import Echo, pipe_echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.rounds import Call


@contextlib.contextmanager
def pyroipc_echo(placement: Placement, serializer: str = "pickle") -> Iterator[Call]:
    """An object in a forked child, called through a proxy."""
    import pyroipc

    def make() -> Echo:
        placement.settle_child()
        return Echo()

    # Both sides tell each other in their hello which CPUs they have, and it is spawn that says
    # hello: if that is one CPU, the child has to be born there.
    with placement.settled_parent() if placement.together else contextlib.nullcontext():
        child = pyroipc.spawn(make, start="fork")
    with child:
        child._pyroSerializer = serializer
        yield child.echo


@contextlib.contextmanager
def pipe(placement: Placement) -> Iterator[Call]:
    """``multiprocessing.Pipe``, written by hand."""
    near, far = multiprocessing.Pipe()

    def serve() -> None:
        near.close()
        pipe_echo(far)

    with near, far, forked(serve, placement):
        far.close()
        send, receive = near.send, near.recv

        def call(value: object) -> object:
            send(value)
            return receive()

        yield call

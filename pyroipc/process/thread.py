"""An object in a thread of this process: the same handle, no process.

The constructor's arguments are handed over as they are; calls are encoded and decoded like those
to a process, so caller and object share no values.
"""

from __future__ import annotations

import os
import threading

from pyroipc.client.session import Session
from pyroipc.client.sharing import open_channel
from pyroipc.errors import ConnectionClosedError
from pyroipc.process import child
from pyroipc.process.birth import Order
from pyroipc.transports import descriptors
from pyroipc.transports.trust import own_pair_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    import signal

    from pyroipc.process.child import Recipe
    from pyroipc.protocol.hello import Hello
    from pyroipc.settings import Settings


class HostThread:
    """The thread that hosts an object; has what :class:`pyroipc.process.watching.Child` has."""

    kind = "thread"

    def __init__(self, far: socket.socket, recipe: Recipe, settings: Settings) -> None:
        self.pid = self.owner = os.getpid()
        self.exitcode: int | None = None
        """Always None: a thread has none."""
        self.ended = False
        self.stopping = False
        self._thread = threading.Thread(
            target=child.Service(far, settings, recipe).run,
            name=f"pyroipc-{getattr(recipe[0], '__name__', 'object')}",
            daemon=True,
        )
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Wait until the thread has ended; say whether it has."""
        if not self.ended and self._thread is not threading.current_thread():
            self._thread.join(seconds)
            self.ended = not self._thread.is_alive()
        return self.ended

    def send_signal(self, number: signal.Signals) -> None:
        """Do nothing: a thread cannot be ended from outside."""

    def explain(self, error: ConnectionClosedError, _: Hello | None) -> ConnectionClosedError:
        """Say why the stream from the thread ended."""
        if self.stopping:
            return ConnectionClosedError("the thread that hosts the object was told to stop")
        return error

    def check(self) -> None:
        """Do nothing: the end of the stream tells it all."""

    def release(self) -> None:
        """Do nothing: a thread has no descriptors."""

    def describe(self) -> str:
        """Say in words what it is and how it is, for a repr."""
        return f"thread {self._thread.name!r} {'ended' if self.wait(0) else 'runs'}"


def start_in_thread(recipe: Recipe, settings: Settings) -> tuple[HostThread, Order]:
    """Start a thread that hosts an object.

    Returns:
        The thread, and the order to make the object.

    Raises:
        OSError, RuntimeError: no more descriptors or threads are to be had.
    """
    with descriptors.lock:
        near, far = descriptors.make_pair()
        descriptors.own(far)
    try:
        session = Session(open_channel(near, own_pair_peer(), settings, owned=True), settings)
        session.greet_ahead()
        order = Order(session)
        order.send()
        return HostThread(far, recipe, settings), order
    except BaseException:
        descriptors.close(near)
        descriptors.close(far)
        raise

"""SIGTERM: what a supervisor sends to a process that is to end.

By default the process ends on the spot, in the middle of calls. While a daemon that listens runs
its loop in the main thread, the signal instead lets the calls that run finish. A program that has
a handler of its own keeps it.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def drain_on_sigterm(drain: Callable[[], None]) -> Iterator[None]:
    """Have the first SIGTERM call a function; a second one ends the process."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def take_signal(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        drain()

    signal.signal(signal.SIGTERM, take_signal)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is take_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

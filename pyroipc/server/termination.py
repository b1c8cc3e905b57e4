"""Signals that end a process, while a daemon that listens runs its loop in the main thread.

SIGTERM is what a supervisor sends to a process that is to end. By default it ends on the spot, in
the middle of calls; here it lets the calls that run finish.

Ctrl-C (SIGINT) raises KeyboardInterrupt wherever the thread just is. In a method of the user's it
still does, and the client is told; anywhere else the loop ends in good order first. Either way
KeyboardInterrupt comes out of the request loop.

A program that has handlers of its own keeps them, and so does a child that is forked meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any


def handling_signals(
    drain: Callable[[], None], interrupt: Callable[[], bool]
) -> AbstractContextManager[object]:
    """Have signals end a loop, for as long as a with statement runs.

    Args:
        drain: called for the first SIGTERM; a second one ends the process.
        interrupt: called for Ctrl-C; says whether to raise KeyboardInterrupt on the spot.
    """
    stack = ExitStack()
    if threading.current_thread() is not threading.main_thread():
        return stack
    pid = os.getpid()

    def on_sigterm(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != pid:  # a forked child ends as if we were not here
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            drain()

    def on_sigint(number: int, frame: object) -> None:
        if os.getpid() != pid or interrupt():
            raise KeyboardInterrupt

    stack.enter_context(_handling(signal.SIGTERM, signal.SIG_DFL, on_sigterm))
    stack.enter_context(_handling(signal.SIGINT, signal.default_int_handler, on_sigint))
    return stack


@contextmanager
def _handling(number: int, default: Any, handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle a signal, if the program leaves it at its default."""
    if signal.getsignal(number) is not default:
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        if signal.getsignal(number) is handler:
            signal.signal(number, default)

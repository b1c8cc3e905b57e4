"""Waiting for something that has no event of its own."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL = 0.002


def wait_until(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Return as soon as ``condition()`` is true; fail if it is not within ``timeout`` seconds.

    ``what`` completes the sentence "waited in vain until ...". Where there is an event, a
    descriptor or a thread to wait for, wait for that instead.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain until {what}")
        pause.wait(_INTERVAL)

"""The janitor: one thread for what must not be done where it becomes necessary.

When a proxy or a remote iterator is collected, the peer should be told. But the collector may
run anywhere, also in the middle of sending, so nothing may be sent and no lock taken there. A
``SimpleQueue`` is made for that: its ``put`` may be called from anywhere. The callbacks of futures
are called here, too: the thread that receives an answer must not run code of the user's.
"""

from __future__ import annotations

import sys
from _queue import Empty, SimpleQueue  # the C part of queue
from bisect import insort
from time import monotonic

from pyroipc.client.forks import after_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_tasks: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()
_started = False


def later(function: Callable[..., object], *args: Any) -> None:
    """Have the janitor call a function; may be called from anywhere, also from a finalizer."""
    _tasks.put((function, args))


def later_on(seconds: float, function: Callable[..., object], *args: Any) -> None:
    """Have the janitor call a function after a while."""
    _tasks.put((_wait_for, (monotonic() + seconds, function, args)))


_waiting: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []


def _wait_for(when: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
    insort(_waiting, (when, function, args), key=_when)


def _when(task: tuple[float, Callable[..., object], tuple[Any, ...]]) -> float:
    return task[0]


def _next() -> tuple[Callable[..., object], tuple[Any, ...]]:
    """Return what is to be done next; wait until there is something."""
    while True:
        timeout = None
        if _waiting:
            timeout = _waiting[0][0] - monotonic()
            if timeout <= 0:
                return _waiting.pop(0)[1:]
        try:
            return _tasks.get(timeout=timeout)
        except Empty:
            pass


def start() -> None:
    """Start the janitor, if it does not run yet; not to be called from a finalizer."""
    global _started
    if not _started:
        _started = True
        import threading

        threading.Thread(target=_work, name="pyroipc-janitor", daemon=True).start()


def _work() -> None:
    while True:
        function, args = _next()
        try:
            function(*args)
        except BaseException as error:  # noqa: BLE001 - it must not keep the others from it
            sys.excepthook(type(error), error, error.__traceback__)
        del function, args


def _after_fork_in_child() -> None:
    global _tasks, _started
    _tasks = SimpleQueue()
    _waiting.clear()
    _started = False


after_fork.append(_after_fork_in_child)

"""Threads that futures share: crews that run functions of the user's, and a clock that waits.

What completes a future and calls its callbacks runs code of the user's, which may wait for
another future, or for ever. So neither the thread that receives nor the janitor may do it, nor a
single thread of its own: a callback that waits for a future whose callback comes later would wait
for itself. A *patient* crew has one thread, which runs one function after the other in their
order, as long as that goes on; if one of them holds up the others for ``patience`` seconds,
another thread takes over. An impatient crew has a thread for each function, up to a number.

All are daemon threads, and end when there has been nothing to do for a while.
"""

from __future__ import annotations

import sys
import threading
from _queue import Empty, SimpleQueue  # the C part of queue
from heapq import heapify, heappop, heappush
from itertools import count
from time import monotonic

from pyroipc.client import sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Task: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]

__all__ = ["Clock", "Crew", "callbacks", "clock", "workers"]

_IDLE_SECONDS = 1.0
"""A thread that had nothing to do for so long ends."""


class Appointment:
    """A function that the clock is to call; :meth:`Clock.cancel` takes it back."""

    __slots__ = ("function", "number", "when")

    def __init__(self, when: float, number: int, function: Callable[[], object]) -> None:
        self.when = when
        self.number = number
        self.function: Callable[[], object] | None = function

    def __lt__(self, other: Appointment) -> bool:
        return (self.when, self.number) < (other.when, other.number)


class Clock:
    """Calls functions at given times, all on one thread: they must be short."""

    def __init__(self) -> None:
        self._numbers = count()
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: the thread and the appointments are the parent's."""
        self._changed = threading.Condition()
        self._heap: list[Appointment] = []
        self._runs = False

    def call_at(self, when: float, function: Callable[[], object]) -> Appointment:
        """Call a function at a time of the monotonic clock; any thread."""
        appointment = Appointment(when, next(self._numbers), function)
        with self._changed:
            heappush(self._heap, appointment)
            if not self._runs:
                self._runs = True
                try:
                    threading.Thread(target=self._run, name="pyroipc-clock", daemon=True).start()
                except BaseException:
                    self._runs = False
                    raise
            elif self._heap[0] is appointment:
                self._changed.notify()
        return appointment

    def cancel(self, appointment: Appointment) -> None:
        """Do not call it after all."""
        with self._changed:
            if appointment.function is not None:
                appointment.function = None
                self._heap = [each for each in self._heap if each.function is not None]
                heapify(self._heap)

    def _run(self) -> None:
        while True:
            function = self._await_next()
            if function is None:
                return
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - the others are to run all the same
                sys.excepthook(type(error), error, error.__traceback__)
            del function

    def _await_next(self) -> Callable[[], object] | None:
        """Wait until a function is due; None: there is nothing to do, and this thread may end."""
        with self._changed:
            while True:
                if not self._heap and not self._changed.wait(_IDLE_SECONDS) and not self._heap:
                    self._runs = False
                    return None
                if self._heap:
                    seconds = self._heap[0].when - monotonic()
                    if seconds > 0:
                        self._changed.wait(min(seconds, threading.TIMEOUT_MAX))
                        continue
                    appointment = heappop(self._heap)
                    function, appointment.function = appointment.function, None
                    if function is not None:
                        return function


class Crew:
    """Runs functions on daemon threads, started when they are needed.

    Args:
        name: of the threads.
        size: how many there may be.
        patience: seconds for which one function may hold up those that wait; then there is
            another thread. 0: no function waits while there may be another thread.
    """

    def __init__(self, name: str, size: int, patience: float) -> None:
        self._name = name
        self._size = size
        self._patience = patience
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: the threads and what they were to do are the parent's."""
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may come here, too
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._watched = False

    def put(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function run as soon as possible; any thread, waits for nothing."""
        self._tasks.put((function, args))
        with self._lock:
            if not self._threads:
                self._start()
            elif self._tasks.qsize() > self._idle and self._threads < self._size:
                if not self._patience:
                    self._start()
                elif not self._watched:
                    self._watch()

    def _start(self) -> None:
        self._threads += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:  # no more threads to be had
            self._threads -= 1
            if not self._threads:
                raise
        # After a signal handler has raised in there nobody knows whether the thread runs. If it
        # does not, the next function that is put, or the clock, starts another one.

    def _watch(self) -> None:
        self._watched = True
        taken = self._taken
        clock.call_at(monotonic() + self._patience, lambda: self._look(taken))

    def _look(self, taken: int) -> None:
        """Start another thread if no function was begun since ``taken`` was read."""
        with self._lock:
            self._watched = False
            if self._tasks.qsize() > self._idle and self._threads < self._size:
                if self._taken == taken:
                    self._start()
                self._watch()

    def _work(self) -> None:
        tasks = self._tasks
        while True:
            with self._lock:
                self._idle += 1
            try:
                function, args = tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    self._idle -= 1
                    if tasks.empty():
                        self._threads -= 1
                        return
                continue
            with self._lock:
                self._idle -= 1
                self._taken += 1
                behind = tasks.qsize() > self._idle and self._threads < self._size
                if behind and not self._patience:
                    self._start()
            try:
                function(*args)
            except BaseException as error:  # noqa: BLE001 - the others are to run all the same
                sys.excepthook(type(error), error, error.__traceback__)
            del function, args


clock = Clock()
callbacks = Crew("pyroipc-callbacks", 32, 0.05)
"""Completes the futures that no thread waits for, and calls what was given to be called then."""
workers = Crew("pyroipc-future", 32, 0)
"""Runs what takes long: the callables of ``Future``."""


def _after_fork_in_child() -> None:
    clock.forget()
    callbacks.forget()
    workers.forget()


sharing.after_fork.append(_after_fork_in_child)

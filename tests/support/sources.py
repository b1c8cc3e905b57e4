"""Objects whose methods return iterators, for the tests of streams."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

from pyroipc.context import current_context
from pyroipc.server.exposure import expose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0


class Letters:
    """An iterator that is no generator, and has no close."""

    def __init__(self, text: str) -> None:
        self._text = iter(text)

    def __iter__(self) -> Letters:
        return self

    def __next__(self) -> str:
        return next(self._text)


@expose
class Source:
    """Iterators of all kinds, and what became of them."""

    def __init__(self) -> None:
        self._produced = 0
        self._closed = 0
        self._changed = threading.Condition()
        self._gate = threading.Semaphore(0)
        self._opened = threading.Event()

    # --- what became of them ---------------------------------------------------------------------

    def produced(self) -> int:
        """Return how many items the generators have yielded, or are about to."""
        return self._produced

    def wait_produced(self, count: int) -> bool:
        """Return when that many were."""
        return self._wait(lambda: self._produced >= count)

    def wait_closed(self, count: int = 1) -> bool:
        """Return when that many generators have run their ``finally``."""
        return self._wait(lambda: self._closed >= count)

    def closed(self) -> int:
        return self._closed

    def _wait(self, condition: Any) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, PATIENCE)

    def let(self, count: int) -> None:
        """Let the gated generators yield so many more items."""
        for _ in range(count):
            self._gate.release()

    def echo(self, value: Any) -> Any:
        return value

    def pid(self) -> int:
        return os.getpid()

    # --- the iterators ---------------------------------------------------------------------------

    def count(self, n: int) -> Iterator[int]:
        try:
            for i in range(n):
                self._produced = i + 1
                yield i
        finally:
            with self._changed:
                self._closed += 1
                self._changed.notify_all()

    def items(self, values: list[Any]) -> Iterator[Any]:
        yield from values

    def gated(self, fast: int = 0) -> Iterator[int]:
        """Yield the first items at once, and each other one when the test lets it."""
        try:
            i = 0
            while True:
                if i >= fast:
                    assert self._gate.acquire(timeout=PATIENCE), "nobody opened the gate"
                with self._changed:
                    self._produced = i + 1
                    self._changed.notify_all()
                yield i
                i += 1
        finally:
            with self._changed:
                self._closed += 1
                self._changed.notify_all()

    def failing(self, n: int) -> Iterator[int]:
        yield from range(n)
        error = ValueError("the end of", n)
        error.add_note("a note")
        error.extra = [n]  # type: ignore[attr-defined]
        raise error

    def late_count(self) -> Iterator[int]:
        """Return an iterator, but not before ``open_gate``."""
        assert self._opened.wait(PATIENCE), "nobody opened the gate"
        return self.count(1 << 40)

    def open_gate(self) -> None:
        self._opened.set()

    def closing_badly(self) -> Iterator[int]:
        try:
            yield from range(1 << 40)
        finally:
            raise ValueError("closing goes wrong")

    def unsendable(self, n: int) -> Iterator[Any]:
        yield from range(n)
        yield threading.Lock()
        yield "never seen"

    def large(self, n: int, size: int, small: int = 0) -> Iterator[str]:
        for _ in range(small):
            yield "s"
        for i in range(n):
            self._produced = i + 1
            yield "x" * size

    def letters(self, text: str) -> Letters:
        return Letters(text)

    def lines(self) -> Any:
        return io.StringIO("one\ntwo\n")

    def mapped(self) -> Any:
        return map(str, range(3))

    def empty(self) -> Iterator[int]:
        return iter(())

    @property
    def squares(self) -> Iterator[int]:
        return (i * i for i in range(5))

    def context(self) -> Iterator[Any]:
        for _ in range(3):
            yield [current_context.seq > 0, sorted(current_context.annotations)]

    def calling_back(self, listener: Any, n: int) -> Iterator[Any]:
        for i in range(n):
            yield listener.hear(i)

    def numbers_of(self, other: Any, n: int) -> Iterator[Any]:
        """Hand on the iterator of another object."""
        return other.count(n)  # type: ignore[no-any-return]

    def keep_iterator(self, other: Any) -> str:
        """Open a stream of the caller's, and do not wait for its items."""
        self._kept = other.gated()
        return "opened"

    def next_kept(self) -> Any:
        return next(self._kept)

    def total_of(self, other: Any, n: int) -> int:
        return sum(other.count(n))

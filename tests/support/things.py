"""Objects to host in tests."""

from __future__ import annotations

import os
import threading
from typing import Any

from pyroipc.context import current_context
from pyroipc.server.exposure import expose, oneway

PATIENCE = 10.0


class Strange(Exception):
    """An exception of a module that the peer has, too, and with an __init__ of its own."""

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@expose
class Thing:
    """A bit of everything."""

    limit = 5  # a plain class attribute: never reachable

    def __init__(self) -> None:
        self._value: Any = 0
        self._notes: list[Any] = []
        self._secret_reads = 0
        self.unlisted = "not exposed"

    def echo(self, x: Any = None) -> Any:
        """Return what was given."""
        return x

    def add(self, a: int, b: int = 1, *, c: int = 0) -> int:
        """Add up to three numbers."""
        return a + b + c

    def all_of(self, *args: Any, **kwargs: Any) -> Any:
        return [list(args), dict(kwargs)]

    def nothing(self) -> None:
        pass

    def pid(self) -> int:
        return os.getpid()

    def thread(self) -> int:
        return threading.get_ident()

    def blob(self, size: int) -> str:
        return "b" * size

    def size(self, data: Any) -> int:
        return len(data)

    def fail(self, kind: str, *args: Any) -> None:
        known = {
            "ValueError": ValueError,
            "KeyError": KeyError,
            "ZeroDivisionError": ZeroDivisionError,
            "OSError": OSError,
            "SystemExit": SystemExit,
            "KeyboardInterrupt": KeyboardInterrupt,
            "GeneratorExit": GeneratorExit,
            "StopIteration": StopIteration,
            "BaseException": BaseException,
            "TimeoutError": TimeoutError,
            "RecursionError": RecursionError,
            "MemoryError": MemoryError,
        }
        raise known[kind](*args)

    def fail_with_cause(self) -> None:
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error

    def fail_strangely(self) -> None:
        raise Strange(7, detail="odd")

    def fail_unknown(self) -> None:
        class Local(LookupError):
            pass

        raise Local("nobody knows me")

    @oneway
    def note(self, x: Any) -> None:
        self._notes.append(x)

    @oneway
    def fail_oneway(self) -> None:
        raise ValueError("nobody hears this")

    def notes(self) -> list[Any]:
        return self._notes

    @property
    def value(self) -> Any:
        """The value."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value

    @property
    def constant(self) -> int:
        return 42

    @property
    def broken(self) -> int:
        raise ValueError("this property is broken")

    @staticmethod
    def twice(x: Any) -> Any:
        return x * 2

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    def context(self) -> dict[str, Any]:
        return {
            "seq": current_context.seq,
            "annotations": sorted(current_context.annotations),
            "correlation": str(current_context.correlation_id),
            "address": str(current_context.client_sock_addr),
            "time_limit": current_context.time_limit,
        }

    def answer_with(self, key: str, value: str) -> None:
        current_context.response_annotations = {key: value.encode()}

    def __len__(self) -> int:
        return 3

    def _private(self) -> None:
        raise AssertionError("a private method ran")


class Gate:
    """Methods that wait for each other or for the test; for hosts in the same process."""

    def __init__(self, parties: int = 2) -> None:
        self._barrier = threading.Barrier(parties)
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.order: list[Any] = []
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    @expose
    def meet(self, x: Any) -> Any:
        """Return when as many callers as there are parties are here."""
        self._barrier.wait(PATIENCE)
        return x

    @expose
    def hold(self, x: Any = None) -> Any:
        """Return when the test opens the gate."""
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.entered.release()
        try:
            assert self.opened.wait(PATIENCE), "nobody opened the gate"
        finally:
            with self._lock:
                self.running -= 1
        return x

    @expose
    @oneway
    def hold_oneway(self, x: Any = None) -> None:
        self.hold(x)
        self.order.append(x)

    @expose
    @oneway
    def note(self, x: Any) -> None:
        self.order.append(x)

    @expose
    def echo(self, x: Any = None) -> Any:
        return x

    def wait_entered(self) -> None:
        """Wait until one more caller is inside."""
        assert self.entered.acquire(timeout=PATIENCE), "nobody came"

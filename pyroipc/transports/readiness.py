"""Which of many sockets are ready: ``epoll`` where there is one, else what ``selectors`` finds.

Any thread may register, change and unregister while another one waits. A socket is reported as
long as it is ready (level-triggered), so whoever was told and does nothing is told again.

Waiting begins with looking, as in :mod:`pyroipc.transports.spin` and for the same reason: whoever
has just been answered asks again soon, and waking a thread that sleeps costs more than the call.
"""

from __future__ import annotations

import select
from time import perf_counter
from weakref import WeakSet

from pyroipc.transports import descriptors
from pyroipc.transports.spin import Looking, sched_yield

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """A socket, or anything else with a descriptor."""

        def fileno(self) -> int:
            """Return the number of the descriptor."""
            ...


READ = 1
WRITE = 4
_EVENTS_MAX = 64


class Readiness:
    """Watches descriptors, by their numbers.

    Args:
        look_seconds: how long to look before sleeping, at the most; 0: not at all.
    """

    def __init__(self, look_seconds: float = 0.0) -> None:
        self._backend: _Epoll | _Selector = _Epoll() if hasattr(select, "epoll") else _Selector()
        self._poll = self._backend.poll
        self._looking = Looking(look_seconds)

    def fileno(self) -> int:
        """Return the number of a descriptor that is readable when something is ready.

        Raises:
            OSError: there is none on this system.
        """
        return self._backend.fileno()

    def register(self, fd: int, events: int = READ) -> None:
        """Watch a descriptor for READ, WRITE, both or neither (0)."""
        self._backend.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        """Watch a descriptor for something else from now on; one that is unknown is ignored."""
        self._backend.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Watch a descriptor no longer; one that is unknown is ignored."""
        self._backend.unregister(fd)

    def wait(self, seconds: float, *, look: bool) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, with READ, WRITE or both.

        Args:
            seconds: how long to wait if none is; rounded up to milliseconds.
            look: whether it may pay to look for a while before sleeping.

        Returns:
            Number and events; a peer that is gone counts as READ. Empty if none became ready.
        """
        ready = self._poll(0.0)
        if ready or seconds <= 0:
            return ready
        if look:
            ready = self._look()
            if ready:
                return ready
        return self._poll(seconds)

    def _look(self) -> list[tuple[int, int]]:
        looking = self._looking
        if not (looking.seconds and (looking.on or looking.try_again())):
            return []
        until = perf_counter() + looking.seconds
        while True:
            if looking.yielding:
                sched_yield()
            ready = self._poll(0.0)
            if ready:
                looking.misses = 0
                return ready
            if perf_counter() >= until:
                looking.miss()
                return []

    def close(self) -> None:
        """Give back the descriptor."""
        self._backend.close()


_open: WeakSet[_Epoll] = WeakSet()


def _close_in_child() -> None:
    # The parent goes on with it. What is done to it here would be done to the parent's.
    for epoll in list(_open):
        epoll.close()
    _open.clear()


descriptors.forget_in_children(_close_in_child)


def unsent_bytes(sock: HasFileno) -> int:
    """Return how much the kernel has of what was sent and the other end has not taken.

    A socket only counts as writable when a good part of its buffer is free, so this tells much
    earlier that somebody who reads slowly does read. 0 where the system does not say it.
    """
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (ImportError, AttributeError, OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])


class _Epoll:
    def __init__(self) -> None:
        with descriptors.lock:  # no fork until it is in the table
            self._epoll = select.epoll()  # close-on-exec
            _open.add(self)
        self.fileno = self._epoll.fileno
        self.close = self._epoll.close

    def register(self, fd: int, events: int) -> None:
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        try:
            self._epoll.modify(fd, events)
        except (FileNotFoundError, ValueError, OSError):
            pass

    def unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (FileNotFoundError, ValueError, OSError):
            pass

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        return self._epoll.poll(seconds, _EVENTS_MAX)


class _Selector:
    """The same with kqueue, poll or select."""

    def __init__(self) -> None:
        import selectors
        import threading

        self._selector = selectors.DefaultSelector()
        self._events: dict[int, int] = {}  # also those that are watched for nothing
        self._lock = threading.Lock()

    def fileno(self) -> int:
        number = getattr(self._selector, "fileno", None)
        if number is None:
            raise OSError("this system's selector has no descriptor")
        return int(number())

    def register(self, fd: int, events: int) -> None:
        with self._lock:
            self._events[fd] = 0
        self.modify(fd, events)

    def modify(self, fd: int, events: int) -> None:
        with self._lock:
            before = self._events.get(fd)
            if before is None or before == events:
                return
            self._events[fd] = events
            wanted = bool(events & READ) | bool(events & WRITE) << 1
            try:
                if not before:
                    self._selector.register(fd, wanted)
                elif events:
                    self._selector.modify(fd, wanted)
                else:
                    self._selector.unregister(fd)
            except (KeyError, ValueError, OSError):
                pass

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)
        with self._lock:
            self._events.pop(fd, None)

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        found = self._selector.select(seconds)
        return [(key.fd, (events & 1) | (events & 2) << 1) for key, events in found]

    def close(self) -> None:
        self._selector.close()

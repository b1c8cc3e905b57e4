"""Who waits for messages of a session: threads, and things that no thread waits for right now."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from pyroipc.errors import ProtocolError
from pyroipc.protocol.calls import STREAM_WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.errors import PyroError
    from pyroipc.wire.message import Buffer, Message


class Waiter:
    """A follower: a thread that sleeps on ``bell`` until there is something for it.

    That is its answer, an invitation to lead, or a request that belongs to the call it waits for.
    """

    __slots__ = ("bell", "busy", "error", "left", "message", "work")

    def __init__(self) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()
        self.message: Message | None = None
        self.error: PyroError | None = None
        self.work: list[Message] = []
        """Requests that this thread is to run."""
        self.busy = False
        """Whether the thread runs such a request, and cannot lead."""
        self.left = False
        """Whether the thread waits no more: what is in ``work`` is for others to run."""

    def wake(self) -> None:
        """End the sleep, or make the next one end at once."""
        try:
            self.bell.release()
        except RuntimeError:
            pass  # it is awake already

    def sleep(self, seconds: float, deadline: float | None) -> bool:
        """Sleep until woken, or for so many seconds; False if the deadline has passed."""
        if deadline is not None:
            seconds = min(seconds, deadline - monotonic())
            if seconds <= 0:
                return False
        self.bell.acquire(timeout=seconds)
        return True


class Sink:
    """Takes the messages of a request that no thread need wait for: a future or a stream.

    ``deliver`` and ``fail`` are called by whichever thread receives, which holds the lead of the
    session: they must not wait for anything, call the peer, or run code of the user's.
    """

    __slots__ = ("watchers",)

    def __init__(self) -> None:
        self.watchers: set[Waiter] = set()
        """Threads that wait until this is ready."""

    def wake_watchers(self) -> None:
        """Have the threads that wait look whether this is ready."""
        for waiter in list(self.watchers):
            waiter.wake()

    @property
    def is_ready(self) -> bool:
        """Whether a thread that waits for something in here need wait no longer."""
        raise NotImplementedError

    def deliver(self, message: Message) -> None:
        """Take an answer or an item."""
        raise NotImplementedError

    def fail(self, error: PyroError) -> None:
        """Take note that nothing more will come."""
        raise NotImplementedError


class Chunks(Sink):
    """The chunks of a stream that have arrived and were not fetched yet."""

    __slots__ = ("_taken", "error", "messages")

    def __init__(self) -> None:
        super().__init__()
        self.messages: deque[Message] = deque()
        self._taken: Message | None = None  # the last one that was
        self.error: PyroError | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a chunk, or will never be one."""
        return bool(self.messages) or self.error is not None

    def deliver(self, message: Message) -> None:
        """Take a chunk.

        Raises:
            ProtocolError: the peer sends more than this end has room for.
        """
        messages = self.messages
        # After a signal handler has raised in here, the same message comes once more.
        if message is self._taken or (messages and messages[-1] is message):
            return
        if len(messages) > STREAM_WINDOW:  # one more, for the end
            raise ProtocolError("the peer sends more items than it was given credit for")
        messages.append(message)
        self.wake_watchers()

    def take(self) -> Buffer:
        """Take the first chunk away, and return its payload."""
        message = self._taken = self.messages[0]
        self.messages.popleft()
        payload, message.payload = message.payload, b""  # what was taken is not kept
        return payload

    def fail(self, error: PyroError) -> None:
        """Take note that no more chunks will come."""
        self.error = error
        self.wake_watchers()

"""The loop of objects that are called over a connection on which no daemon serves.

A client that passes a registered object to its server is called back over its own connection. What
is part of a call is run by the thread that waits for it; for all else there are a few threads
here, made when they are needed, that go when they have had nothing to do for a while. Requests
come from whoever receives: a thread that waits for an answer, or the pump of the session.
"""

from __future__ import annotations

import threading
from collections import deque

from pyroipc.server.loops.runner import Runner, unexpected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.session import Session
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession
    from pyroipc.wire.message import Message

_IDLE_SECONDS = 10.0


class GuestLoop(Runner):
    """Runs requests that others receive.

    Args:
        session: the connection.
        handler: runs requests.
        streams: sends the items of the iterators that methods return.
        threads: how many threads may run methods at once.
        oneway_queue: how many oneway calls may wait.
    """

    def __init__(
        self,
        session: Session,
        handler: ServerSession,
        streams: Streams,
        *,
        threads: int,
        oneway_queue: int,
    ) -> None:
        super().__init__(session, handler, streams, threads=threads, oneway_queue=oneway_queue)
        self._inbox: deque[Message] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads = 0
        self._busy = 0
        self._ended = False

    serves = False

    def take(self, message: Message) -> None:
        """Take a request; a thread of this loop will run it."""
        if self.refuses_circle(message):
            return
        if self._admit(message):
            self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        with self._changed:
            self._inbox.append(message)
            idle = self._threads - self._busy
            if len(self._inbox) <= idle or self._threads >= self._threads_max:
                self._changed.notify()
            else:
                thread = threading.Thread(target=self._work, name="pyroipc-guest", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: those that there are go on
                    return
                self._threads += 1

    def has_enough(self) -> bool:
        """Say whether so many requests wait that a sender should take no more meanwhile."""
        return len(self._inbox) >= self._oneway_max

    def end(self) -> None:
        """Let the threads go: the conversation has ended."""
        with self._changed:
            self._ended = True
            self._inbox.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            message = self._next()
            if message is None:
                return
            try:
                self.execute(message)
            except Exception as error:  # noqa: BLE001 - a mistake of ours costs this connection
                self.session.broken(unexpected(error))
            finally:
                with self._changed:
                    self._busy -= 1
            del message

    def _next(self) -> Message | None:
        """Return the next request; None after there was none for long enough."""
        with self._changed:
            while not self._inbox:
                if self._ended:
                    self._threads -= 1
                    return None
                if not self._changed.wait(_IDLE_SECONDS) and not self._inbox:
                    self._threads -= 1
                    return None
            self._busy += 1
            return self._inbox.popleft()

"""What all loops do with a request: run it, send its answer, keep oneway calls in order.

Oneway calls of a connection run in the order in which they came, one at a time; at most
``oneway_queue`` of them wait, then the connection is not read any further.
"""

from __future__ import annotations

import threading
from collections import deque

from pyroipc.context import running
from pyroipc.errors import MessageTooLargeError
from pyroipc.protocol.calls import refusal
from pyroipc.wire.message import ONEWAY, REQUEST, STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.session import Session
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession
    from pyroipc.wire.message import Message

_UNUSUAL = ONEWAY | STREAM


class Runner:
    """Runs the requests of one session on the threads that a loop has.

    Args:
        session: the connection.
        handler: runs requests.
        streams: sends the items of the iterators that methods return.
        oneway_queue: how many oneway calls may wait.
    """

    def __init__(
        self, session: Session, handler: ServerSession, streams: Streams, *, oneway_queue: int
    ) -> None:
        self._session = session
        self._handler = handler
        self._handle = handler.handle
        self._streams = streams
        self._oneway_max = oneway_queue
        self._lane: deque[Message] = deque()
        self._lane_lock = threading.RLock()

    def _run(self, message: Message) -> None:
        """Run a request and send its answer."""
        if message.flags & _UNUSUAL:
            if message.kind != REQUEST:
                self._streams.control(message)
                return
            if message.flags & ONEWAY:
                self._run_oneway(message)
                return
        handle = self._handle
        answer = handle(message)
        if answer is not None:
            if isinstance(answer, bytes):
                self._session.answer(answer)
                return
            try:
                self._session.check_size(answer)
            except MessageTooLargeError as error:
                answer = refusal(message.request_id, error)
            self._session.answer(answer)
            if self._handler.is_refused:
                self._session.leave("the handshake was refused")
            self._streams.produce(message.request_id)  # if the answer opened one

    def run_nested(self, message: Message) -> None:
        """Run a request on a thread that waits for an answer, in between."""
        outer = running.get()
        try:
            self._run(message)
        finally:
            running.set(outer)

    def _run_oneway(self, message: Message) -> None:
        self._lane.append(message)
        if len(self._lane) > self._oneway_max:
            self.flush()
        while self._lane and self._lane_lock.acquire(blocking=False):
            try:
                self._run_lane()
            finally:
                self._lane_lock.release()

    def _run_lane(self) -> None:
        while self._lane:
            self._handle(self._lane.popleft())

    def flush(self) -> None:
        """Run the oneway calls that wait; return when they have run."""
        with self._lane_lock:
            self._run_lane()

"""One iterator on its way to a caller: what was fetched, what was sent, and how it ended.

The items of a stream have numbers, from 0. What was fetched and not sent yet waits in ``fetched``;
what was sent and not yet taken by the reader, in ``sent``. So a stream outlives the conversation
that it was opened in: another one gives it a new :class:`Feed`, and it goes on.

Two locks, neither of which a receiver ever waits for. ``producing`` is held by the one thread
that runs the iterator. ``sending`` is held from the moment items are taken out of ``fetched``
until they are in the socket, so that they keep their order: producer and flusher both send.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from itertools import islice
from time import monotonic

from pyroipc.context import running
from pyroipc.errors import (
    ConnectionClosedError,
    MessageTooLargeError,
    ProtocolError,
    PyroError,
    SerializeError,
    TimeoutError,
)
from pyroipc.protocol.calls import STREAM_WINDOW
from pyroipc.server.batches import drop_frames
from pyroipc.wire.message import END, ERROR, ITEM
from pyroipc.wire.native import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec, Encoded, Payload

CHUNK_ITEMS = 512
CHUNK_BYTES = 64 << 10
_FAST_SECONDS = 0.002
"""Fetching for a chunk ends when it has taken this long, and the next chunk is smaller."""
_LOOKS = 15
"""How large the items are is looked at with each item whose count has none of these bits."""
_END_SECONDS = 1.0
"""How long the end of a stream that is too old may wait for a reader that reads nothing."""


class Feed:
    """The way of a stream in one conversation.

    Args:
        session: the connection.
        codec: encodes the items.
        request_id: the id of the request that opened or resumed the stream.
        forget: called with the id when the stream is over.
    """

    __slots__ = ("active", "codec", "forget", "request_id", "session")

    def __init__(
        self,
        session: Session,
        codec: CallCodec,
        request_id: int,
        forget: Callable[[int], object],
    ) -> None:
        self.session = session
        self.codec = codec
        self.request_id = request_id
        self.forget = forget
        self.active = False
        """Whether the answer that announces the stream has been sent."""

    def encode(self, flags: int, payload: Payload) -> Encoded:
        """Encode an item message."""
        return encode(self.codec.message(ITEM, self.request_id, payload, flags))


class Stream:
    """One iterator on its way to a caller.

    Args:
        iterator: what the method returned.
        lifetime_seconds: how long it may live; 0: as long as it takes.
        detailed: whether tracebacks show the values of local variables.
    """

    def __init__(
        self, iterator: Iterator[Any], lifetime_seconds: float = 0.0, *, detailed: bool = False
    ) -> None:
        self.iterator = iterator
        self.token = os.urandom(16).hex()
        self.expires = monotonic() + lifetime_seconds if lifetime_seconds > 0 else None
        self.feed: Feed | None = None
        self.fetched: deque[Any] = deque()
        """Items that were fetched and not sent yet."""
        self.sent: deque[tuple[int, list[Any]]] = deque()
        """Chunks that the reader has not taken: the number that follows them, and their items."""
        self.closed = False
        self.over = False
        """Whether the end was sent; the reader may not have taken it yet."""
        self.producing = threading.Lock()
        self.sending = threading.Lock()
        self._context = running.get()  # what current_context shows to the iterator
        self._detailed = detailed
        self._next_number = 0  # that of the next item to be sent
        self._wanted = 1  # items for the next chunk
        self._most = CHUNK_ITEMS  # of them; fewer if they are large
        self._singly = 0  # so many items go in messages of their own
        self._outcome: BaseException | None = None  # how the iterator ended

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise TypeError("a stream is not iterated over, it is opened")  # it only looks like one

    # --- fetching ------------------------------------------------------------------------------

    @property
    def can_go_on(self) -> bool:
        """Whether there is something to fetch or to send, and room for it on the way."""
        feed = self.feed
        if feed is None or self.over or self.closed:
            return False
        return feed.active and len(self.sent) < STREAM_WINDOW

    def produce(self, watch: Callable[[Stream], object]) -> None:
        """Fetch and send items as long as there is room for them, unless another thread does.

        Args:
            watch: told of each stream of which items may be held back for a full chunk.
        """
        # Whoever makes room looks here after he has made it; who holds the lock looks for room
        # before he gives the lock back, and again afterwards.
        while self.can_go_on and self.producing.acquire(blocking=False):
            outer = running.get()
            try:
                running.set(self._context)
                while self.can_go_on:
                    if self._outcome is None and not self.fetched:
                        if self._wanted > 1:
                            watch(self)
                        self._fetch()
                    self.send_fetched()
            finally:
                running.set(outer)
                if self.over or self.closed:
                    self._close_iterator()
                self.producing.release()
                if self.closed:
                    self.close()  # it was closed at the last moment

    def _fetch(self) -> None:
        """Fetch some items; whatever the iterator raises is noted."""
        wanted, limit = self._wanted, monotonic() + _FAST_SECONDS
        # Each is there for the flusher as soon as it is fetched.
        append = self.fetched.append
        n = 0
        try:
            for n, item in enumerate(islice(self.iterator, wanted), 1):
                append(item)
                if monotonic() > limit or self.closed:
                    self._wanted = max(1, n // 2)
                    return
                if not n & _LOOKS and n * _weigh(item) > CHUNK_BYTES:
                    return
        except BaseException as error:  # noqa: BLE001 - it becomes the last word of the stream
            self._outcome = error
            return
        if n < wanted:
            self._outcome = StopIteration()
        self._wanted = min(2 * wanted, self._most)

    # --- sending -------------------------------------------------------------------------------

    def send_fetched(self) -> None:
        """Send what has been fetched, as far as there is room, and the end if it has come."""
        self._send_fetched()
        if self.is_too_old and not (self.over or self.closed):
            self.expire()  # it became so meanwhile, when nobody else could tell the reader

    def _send_fetched(self) -> None:
        with self.sending:
            # Read before the items: what is fetched before the end is sent before the end.
            outcome = self._outcome
            feed = self.feed
            if self.is_too_old:
                self._send_too_old(feed)
            while feed is not None and feed is self.feed and self.fetched and self.can_go_on:
                error = self._send_chunk(feed)
                if error is not None:
                    self._outcome = outcome = error
                    self.fetched.clear()
            if feed is None or outcome is None or self.fetched or self.over or self.closed:
                return
            if feed is self.feed:
                self._send_end(feed, outcome)

    def _send_chunk(self, feed: Feed) -> BaseException | None:
        """Send the first of the items that have been fetched; return why they cannot be sent."""
        fetched = self.fetched
        count = 1 if self._singly else min(len(fetched), max(self._most, 1))
        items = [fetched.popleft() for _ in range(count)]
        try:
            payload = feed.codec.dumps([self._next_number, items])
            data = feed.encode(0, payload)
            feed.session.check_size(data)
        except (SerializeError, MessageTooLargeError) as error:
            if count == 1:
                return error
            fetched.extendleft(reversed(items))
            self._singly = count  # those before the one that cannot be sent are to arrive
            return None
        self._singly = max(0, self._singly - 1)
        self._next_number += count
        self.sent.append((self._next_number, items))
        if len(payload) > CHUNK_BYTES:
            self._most = max(1, count * CHUNK_BYTES // len(payload))
            self._wanted = min(self._wanted, self._most)
        elif count >= self._most:
            self._most = min(2 * self._most, CHUNK_ITEMS)
        feed.session.answer(data)
        return None

    def _send_end(self, feed: Feed, outcome: BaseException) -> None:
        self.over = True
        if isinstance(outcome, StopIteration):
            feed.session.answer(feed.encode(END, b""))
        else:
            feed.session.answer(feed.encode(END | ERROR, self._last_words(feed, outcome)))

    def _last_words(self, feed: Feed, outcome: BaseException) -> bytes:
        from pyroipc.protocol.remote_errors import dump_error  # when first needed

        return dump_error(outcome, feed.codec.serializer, detailed=self._detailed)

    # --- lifetime ------------------------------------------------------------------------------

    @property
    def is_too_old(self) -> bool:
        """Whether it has lived longer than it may."""
        return self.expires is not None and monotonic() >= self.expires

    def expire(self) -> None:
        """Close it because it is too old, and tell the reader; whoever just sends will do it."""
        if self.sending.acquire(blocking=False):
            try:
                self._send_too_old(self.feed)
            finally:
                self.sending.release()
            self.close()

    def _send_too_old(self, feed: Feed | None) -> None:
        if self.over or self.closed:
            return
        self.closed = True
        if feed is not None and feed.active:
            feed.forget(feed.request_id)
            error = PyroError("item stream terminated: it has lived longer than it may")
            data = feed.encode(END | ERROR, self._last_words(feed, error))
            try:
                feed.session.send(data, monotonic() + _END_SECONDS)
            except (ConnectionClosedError, TimeoutError, ProtocolError):
                pass

    # --- another conversation ------------------------------------------------------------------

    def take_back(self, number: int) -> None:
        """Go back to an item that was sent already, because the conversation has ended.

        Args:
            number: of the item that is wanted next.

        Raises:
            PyroError: it is not to be had any more, or does not exist yet.
        """
        with self.sending:
            rest: list[Any] = []
            for _, items in self.sent:
                rest.extend(items)
            skipped = number - (self._next_number - len(rest)) if type(number) is int else -1
            if not 0 <= skipped <= len(rest):
                raise PyroError("item stream terminated: items between were given away already")
            self.sent.clear()
            self.fetched.extendleft(reversed(rest[skipped:]))
            self._next_number = number
            self.over = False

    def take_note(self, number: int) -> bool:
        """Take note that the reader has taken all items before this number; the end has one, too.

        Only for whoever receives: no two threads may do this at once.

        Returns:
            Whether it has taken the end.
        """
        if number > self._next_number + self.over:
            return False  # nonsense
        sent = self.sent
        while sent and sent[0][0] <= number:
            sent.popleft()
        return self.over and number > self._next_number

    def finish(self) -> None:
        """Let go of what an exception holds: the reader has it, or will never ask."""
        if self._outcome is not None:
            drop_frames(self._outcome)

    def close(self) -> None:
        """Close the iterator, if nobody is just using it; whoever does will."""
        self.closed = True
        remote = sys.modules.get("pyroipc.client.streams")
        iterator: Any = self.iterator
        if remote is not None and isinstance(iterator, remote.RemoteIterator):
            iterator.close()  # whoever waits for its next item wakes up
        if self.producing.acquire(blocking=False):
            try:
                self._close_iterator()
            finally:
                self.producing.release()

    def _close_iterator(self) -> None:
        close = getattr(self.iterator, "close", None)
        self.iterator = iter(())
        if self.closed:
            self.fetched.clear()
            self.sent.clear()
            self.finish()
        if callable(close):
            outer = running.get()
            running.set(self._context)
            try:
                close()
            except BaseException:
                from logging import getLogger

                getLogger("pyroipc.server").warning("closing a stream failed", exc_info=True)
            finally:
                running.set(outer)


def _weigh(item: object, depth: int = 3) -> int:
    """Guess the size of an item in bytes from what it holds, looking at a few of its parts."""
    n_bytes = sys.getsizeof(item, 64)
    if depth and isinstance(item, list | tuple | set | frozenset | dict) and item:
        parts = list(islice(item.values() if isinstance(item, dict) else item, 4))
        n_bytes += sum(_weigh(part, depth - 1) for part in parts) * len(item) // len(parts)
    return n_bytes

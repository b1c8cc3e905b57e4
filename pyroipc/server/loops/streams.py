"""Streams at the hosting end: an iterator that a method returned, pushed to the caller.

At most STREAM_WINDOW chunks are on their way: sent, and not taken by the reader. As long as there
is room, the thread that ran the method, or the one that was told of more room, fetches items and
sends them in chunks. Without room nothing is fetched, so a slow reader slows the writer, and
nothing piles up.

A chunk begins small and grows while items come fast, up to CHUNK_ITEMS items and about CHUNK_BYTES
bytes. Items are never held back for the sake of a full chunk: what has been fetched and waits
longer than a tick is sent by the flusher, a thread that a connection has while it sends streams.

Items that were sent are kept until the reader has taken them. If the conversation ends, the
stream lingers for ITER_STREAM_LINGER seconds, and a new conversation may resume it by its token.

====== =========================================================================================
answer flag STREAM; payload: the token of the stream
item   id of the request; payload: a list, the number of its first item and the items. The last
       message has the flag END and no items; with ERROR its payload is an exception
credit id of the request, flag STREAM; payload: the number of the item that the reader wants next,
       in ASCII; the end counts as an item. However often it comes, it says the same
cancel id of the request, flag STREAM: the caller closes the stream
====== =========================================================================================
"""

from __future__ import annotations

import threading

from pyroipc.errors import ProtocolError
from pyroipc.server.loops.stream import Feed, Stream
from pyroipc.wire.message import CREDIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.loops.lingering import Lingering
    from pyroipc.wire.message import Message

STREAMS_MAX = 256
"""How many streams one conversation may have open."""
_FLUSH_SECONDS = 0.005
_IDLE_TICKS = 10
"""After so many looks without anything to flush the flusher ends."""


class Streams:
    """The streams of one conversation; any thread.

    Args:
        session: the connection.
        lingering: those of the daemon that wait for another conversation.
    """

    __slots__ = ("_flusher", "_lingering", "_session", "_streams")

    def __init__(self, session: Session, lingering: Lingering) -> None:
        self._session = session
        self._lingering = lingering
        self._streams: dict[int, Stream] = {}
        self._flusher: _Flusher | None = None

    def open(self, message: Message, codec: CallCodec, iterator: Iterator[Any]) -> Any:
        """Take an iterator that a method returned; return the payload of the answer.

        Raises:
            ProtocolError: there are too many streams.
        """
        if len(self._streams) >= STREAMS_MAX:
            close = getattr(iterator, "close", None)
            if callable(close):
                close()
            raise ProtocolError(
                f"this connection has {STREAMS_MAX} streams open already; close some of them"
            )
        if self._flusher is None:
            self._flusher = _Flusher()
        stream = iterator if isinstance(iterator, Stream) else self._lingering.make(iterator)
        stream.feed = Feed(self._session, codec, message.request_id, self._forget)
        self._streams[message.request_id] = stream
        return codec.dumps(stream.token)

    def _forget(self, request_id: int) -> None:
        self._streams.pop(request_id, None)

    def announced(self, request_id: int) -> bool:
        """Take note that an answer was sent; say whether it has announced a stream."""
        stream = self._streams.get(request_id)
        feed = None if stream is None else stream.feed
        if feed is None:
            return False
        feed.active = True
        return True

    def produce(self, request_id: int) -> None:
        """Fetch and send items of a stream, as long as there is room for them."""
        stream = self._streams.get(request_id)
        if stream is not None and self._flusher is not None:
            stream.produce(self._flusher.watch)

    def take_note(self, message: Message) -> bool:
        """Take note of what the reader says; only for whoever receives.

        Returns:
            Whether some thread is to :meth:`follow` it. A peer can say so much; each stream gives
            work but once.
        """
        stream = self._streams.get(message.request_id)
        if stream is None or stream.closed:
            return False
        if message.kind != CREDIT:
            stream.closed = True
            return True
        text = bytes(message.payload[:20])
        if text.isdigit() and stream.take_note(int(text)):
            self._forget(message.request_id)
            stream.finish()
            return False
        return stream.can_go_on and not stream.producing.locked()

    def follow(self, message: Message) -> None:
        """Do what the reader wants: go on with a stream, or close it."""
        stream = self._streams.get(message.request_id)
        if stream is None:
            return
        if message.kind == CREDIT:
            self.produce(message.request_id)
        else:
            self._forget(message.request_id)
            stream.close()

    def end(self) -> None:
        """Let the streams linger: the conversation has ended."""
        while self._streams:
            try:
                _, stream = self._streams.popitem()
            except KeyError:
                return
            # No lock is taken here: this may be the thread that is in the middle of sending.
            stream.feed = None
            self._lingering.add(stream)


class _Flusher:
    """The thread that sends what is held back only because its chunk is not full."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Stream] = set()
        self._runs = False

    def watch(self, stream: Stream) -> None:
        """Look after a stream while it is being produced."""
        if stream not in self._watched:
            with self._lock:
                self._watched.add(stream)
                if not self._runs:
                    self._runs = True
                    threading.Thread(target=self._run, name="pyroipc-flusher", daemon=True).start()

    def _run(self) -> None:
        tick = threading.Event()
        idle_ticks = 0
        while idle_ticks < _IDLE_TICKS or not self._may_end():
            tick.wait(_FLUSH_SECONDS)
            idle_ticks += 1
            for stream in list(self._watched):
                if stream.fetched:
                    stream.send_fetched()
                if stream.producing.locked():
                    idle_ticks = 0
                else:
                    self._watched.discard(stream)

    def _may_end(self) -> bool:
        with self._lock:
            self._runs = bool(self._watched)
            return not self._runs

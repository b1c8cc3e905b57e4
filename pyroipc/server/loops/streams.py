"""Streams at the hosting end: an iterator that a method returned, pushed to the caller.

The caller gives credit: how many chunks may be on their way. As long as there is some, the thread
that ran the method, or the one that received new credit, fetches items and sends them in chunks.
Without credit nothing is fetched, so a slow reader slows the writer, and nothing piles up.

A chunk begins small and grows while items come fast, up to CHUNK_ITEMS items and about CHUNK_BYTES
bytes. Items are never held back for the sake of a full chunk: what has been fetched and waits
longer than a tick is sent by the flusher, a thread that runs while streams are being produced.

Items that were sent are kept until credit for them comes back. If the conversation ends, the
stream lingers for ITER_STREAM_LINGER seconds, and a new conversation may resume it by its token.

====== =========================================================================================
answer flag STREAM; payload: the token of the stream
item   id of the request; payload: a list, the number of its first item and the items; flag END on
       the last one; with ERROR the payload is an exception instead
credit id of the request, flag STREAM; payload: how many more chunks may come, in ASCII
cancel id of the request, flag STREAM: the caller closes the stream
====== =========================================================================================
"""

from __future__ import annotations

import os
import threading
from collections import deque
from itertools import islice
from time import monotonic

from pyroipc.context import running
from pyroipc.errors import MessageTooLargeError, ProtocolError, PyroError, SerializeError
from pyroipc.protocol.calls import FIRST_CREDIT
from pyroipc.wire.message import CREDIT, END, ERROR, ITEM, FullMessage
from pyroipc.wire.native import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.settings import Settings
    from pyroipc.wire.message import Message

CHUNK_ITEMS = 512
CHUNK_BYTES = 64 << 10
STREAMS_MAX = 256
"""How many streams one conversation may have open."""
_FAST_SECONDS = 0.002
"""A chunk that takes longer than this to fetch is followed by a smaller one."""
_FLUSH_SECONDS = 0.005


class Stream:
    """One iterator on its way to a caller."""

    def __init__(self, iterator: Iterator[Any], context: Any) -> None:
        self.iterator = iterator
        self.context = context
        """What ``current_context`` shows to the iterator."""
        self.token = os.urandom(16).hex()
        self.born = monotonic()
        self.lingers_since: float | None = None
        self.request_id = 0
        self.credit = 0
        self.fetched: deque[Any] = deque()
        """Items that were fetched and not sent yet."""
        self.sent: deque[tuple[int, list[Any]]] = deque()
        """Chunks without credit: the number of the first item, and the items."""
        self.next_number = 0  # that of the next item to be sent
        self.items_per_chunk = 1
        self.outcome: BaseException | None = None
        """How the iterator ended: StopIteration, or what it raised."""
        self.closed = False
        self.over = False
        """Whether the end was sent."""
        self.producing = threading.Lock()
        self.sending = threading.Lock()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        return self.fetched.popleft() if self.fetched else next(self.iterator)

    def fetch(self) -> None:
        """Fetch some items; whatever the iterator raises is noted."""
        began = monotonic()
        wanted = self.items_per_chunk
        before = self.next_number + len(self.fetched)
        try:
            self.fetched.extend(islice(self.iterator, wanted))
        except BaseException as error:  # noqa: BLE001 - it becomes the last word of the stream
            self.outcome = error
            return
        if monotonic() - began > _FAST_SECONDS:
            self.items_per_chunk = max(1, wanted // 4)
        elif self.next_number + len(self.fetched) - before < wanted:
            self.outcome = StopIteration()
        else:
            self.items_per_chunk = min(2 * wanted, CHUNK_ITEMS)

    def close(self) -> None:
        """Close the iterator, if nobody is just using it; whoever does will."""
        self.closed = True
        if self.producing.acquire(blocking=False):
            try:
                self._close_iterator()
            finally:
                self.producing.release()

    def _close_iterator(self) -> None:
        close = getattr(self.iterator, "close", None)
        self.iterator = iter(())
        self.fetched.clear()
        self.sent.clear()
        if callable(close):
            try:
                close()
            except BaseException:
                from logging import getLogger

                getLogger("pyroipc.server").warning("closing a stream failed", exc_info=True)


class Lingering:
    """Streams of a daemon whose conversation has ended, by token.

    Args:
        settings: ITER_STREAM_LINGER and ITER_STREAM_LIFETIME are read from it.
    """

    def __init__(self, settings: Settings) -> None:
        self.linger_seconds = settings.ITER_STREAM_LINGER
        self.lifetime_seconds = settings.ITER_STREAM_LIFETIME
        self._streams: dict[str, Stream] = {}

    def add(self, stream: Stream) -> None:
        """Keep a stream for a while, or close it."""
        self.tidy()
        if self.linger_seconds <= 0 or stream.over or stream.closed:
            stream.close()
            return
        stream.lingers_since = monotonic()
        self._streams[stream.token] = stream
        timer = threading.Timer(self.linger_seconds + 0.01, self.tidy)
        timer.daemon = True
        timer.start()

    def take(self, token: str) -> Stream:
        """Return a stream that is to go on.

        Raises:
            PyroError: there is none, or not any more.
        """
        self.tidy()
        stream = self._streams.pop(token, None)
        if stream is None:
            raise PyroError("item stream terminated: it is over, or has waited for too long")
        stream.lingers_since = None
        return stream

    def resume(self, token: str, number: int) -> Stream:
        """Return a stream of an earlier conversation, to go on with the item of this number.

        Raises:
            PyroError: it is over, or item ``number`` is not to be had any more.
        """
        stream = self.take(token)
        rest: list[Any] = []
        for first, items in stream.sent:
            rest.extend(items[max(0, number - first) :])
        if number != stream.next_number - len(rest):
            stream.close()
            raise PyroError("item stream terminated: items between were given away already")
        stream.sent.clear()
        stream.fetched.extendleft(reversed(rest))
        stream.next_number = number
        return stream

    def tidy(self) -> None:
        """Close the streams that have waited long enough."""
        now = monotonic()
        for token, stream in list(self._streams.items()):
            since = stream.lingers_since
            too_long = since is not None and now - since >= self.linger_seconds
            if too_long or self.is_too_old(stream):
                self._streams.pop(token, None)
                stream.close()

    def is_too_old(self, stream: Stream) -> bool:
        """Say whether a stream has lived longer than it may."""
        return 0 < self.lifetime_seconds < monotonic() - stream.born

    def close(self) -> None:
        """Close them all."""
        for token in list(self._streams):
            stream = self._streams.pop(token, None)
            if stream is not None:
                stream.close()


class Streams:
    """The streams of one conversation; any thread.

    Args:
        session: the connection.
        lingering: those of the daemon that wait for another conversation.
    """

    def __init__(self, session: Session, lingering: Lingering) -> None:
        self._session = session
        self._lingering = lingering
        self._streams: dict[int, tuple[Stream, CallCodec]] = {}
        self._busy: set[int] = set()

    def open(self, message: Message, codec: CallCodec, iterator: Iterator[Any]) -> bytes:
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
        stream = iterator if isinstance(iterator, Stream) else Stream(iterator, running.get())
        stream.request_id = message.request_id
        stream.credit = FIRST_CREDIT
        self._streams[message.request_id] = (stream, codec)
        return codec.dumps(stream.token)

    def control(self, message: Message) -> None:
        """Take credit for a stream, or close it."""
        known = self._streams.get(message.request_id)
        if known is None:
            return
        stream = known[0]
        if message.kind != CREDIT:
            self._streams.pop(message.request_id, None)
            stream.close()
            return
        text = bytes(message.payload[:20])
        count = int(text) if text.isdigit() else 0
        with stream.sending:
            for _ in range(min(count, len(stream.sent))):
                stream.sent.popleft()
            stream.credit += min(count, 1 << 20)
        self.produce(message.request_id)

    def produce(self, request_id: int) -> None:
        """Fetch and send items of a stream as long as there is credit for it."""
        known = self._streams.get(request_id)
        if known is None:
            return
        stream, codec = known
        # Whoever gives credit looks here after he has given it; who holds the lock looks at the
        # credit before he gives the lock back, and again afterwards.
        while self._can_go_on(stream) and stream.producing.acquire(blocking=False):
            outer = running.get()
            self._busy.add(request_id)
            _start_flusher(self)
            try:
                running.set(stream.context)
                while self._can_go_on(stream):
                    if stream.outcome is None and not stream.fetched:
                        stream.fetch()
                    self._send_fetched(stream, codec)
            finally:
                self._busy.discard(request_id)
                running.set(outer)
                stream.producing.release()
                if stream.closed:
                    stream.close()

    def _can_go_on(self, stream: Stream) -> bool:
        if stream.over or stream.closed:
            return False
        return stream.credit > 0

    def flush(self) -> None:
        """Send what was fetched and is held back only because its chunk is not full."""
        for request_id in list(self._busy):
            known = self._streams.get(request_id)
            if known is not None and known[0].fetched:
                self._send_fetched(*known)

    @property
    def is_producing(self) -> bool:
        """Whether some stream is being produced."""
        return bool(self._busy)

    def _send_fetched(self, stream: Stream, codec: CallCodec) -> None:
        """Send what has been fetched, and the end if it has come."""
        with stream.sending:
            if stream.credit <= 0 or stream.over or stream.closed:
                return
            # Read before the items: what is fetched before the end is sent before the end.
            outcome = stream.outcome
            if outcome is None and self._lingering.is_too_old(stream):
                outcome = PyroError("item stream terminated: it has lived longer than it may")
            items = [stream.fetched.popleft() for _ in range(len(stream.fetched))]
            if items:
                outcome = self._send_items(stream, codec, items, outcome)
            if outcome is not None:
                self._send_end(stream, codec, outcome)

    def _send_items(
        self, stream: Stream, codec: CallCodec, items: list[Any], outcome: BaseException | None
    ) -> BaseException | None:
        try:
            payload = codec.dumps([stream.next_number, items])
            data = _item(codec, stream, 0, payload)
            self._session.check_size(data)
        except (SerializeError, MessageTooLargeError) as error:
            if len(items) == 1:
                return error
            for item in items:  # those before the one that cannot be sent arrive
                failure = self._send_items(stream, codec, [item], None)
                if failure is not None:
                    return failure
            return outcome
        stream.sent.append((stream.next_number, items))
        stream.next_number += len(items)
        stream.credit -= 1
        if len(payload) > CHUNK_BYTES:
            limit = max(1, len(items) * CHUNK_BYTES // len(payload))
            stream.items_per_chunk = min(stream.items_per_chunk, limit)
        self._session.answer(data)
        return outcome

    def _send_end(self, stream: Stream, codec: CallCodec, outcome: BaseException) -> None:
        stream.over = True
        self._streams.pop(stream.request_id, None)
        if isinstance(outcome, StopIteration):
            self._session.answer(_item(codec, stream, END, b""))
        else:
            from pyroipc.protocol.remote_errors import dump_error  # when first needed

            payload = dump_error(outcome, codec.serializer)
            self._session.answer(_item(codec, stream, END | ERROR, payload))
            outcome.__traceback__ = None
        stream.close()

    def end(self) -> None:
        """Let the streams linger: the conversation has ended."""
        while self._streams:
            try:
                _, (stream, _) = self._streams.popitem()
            except KeyError:
                return
            with stream.sending:
                stream.credit = 0  # who produces stops
            self._lingering.add(stream)


def _item(codec: CallCodec, stream: Stream, flags: int, payload: bytes) -> Any:
    return encode(FullMessage(ITEM, codec.serializer_id, flags, stream.request_id, payload))


class _Flusher:
    """The thread that flushes all streams of this process that are being produced."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.pid = 0
        self.served: set[Streams] = set()

    def add(self, streams: Streams) -> None:
        with self.lock:
            self.served.add(streams)
            if self.thread is None or self.pid != os.getpid():
                self.pid = os.getpid()
                self.thread = threading.Thread(
                    target=self._run, name="pyroipc-flusher", daemon=True
                )
                self.thread.start()

    def _run(self) -> None:
        tick = threading.Event()
        while True:
            tick.wait(_FLUSH_SECONDS)
            with self.lock:
                self.served = {streams for streams in self.served if streams.is_producing}
                served = list(self.served)
                if not served:
                    self.thread = None
                    return
            for streams in served:
                streams.flush()


_flusher = _Flusher()


def _start_flusher(streams: Streams) -> None:
    if streams not in _flusher.served:
        _flusher.add(streams)


def _after_fork_in_child() -> None:
    global _flusher
    _flusher = _Flusher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

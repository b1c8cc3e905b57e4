"""Streams for clients that are Pyro: iterators whose items are asked for, one by one.

They age and linger as those of our own clients do (:mod:`pyroipc.server.loops.lingering`). Whoever
knows the id of a stream, which nobody can guess, may ask for its items or close it: a client of
Pyro's that has made other calls meanwhile closes a stream over a second connection.
"""

from __future__ import annotations

import threading

from pyroipc.context import running
from pyroipc.errors import ProtocolError, PyroError
from pyroipc.server.loops.stream import Stream
from pyroipc.server.loops.streams import STREAMS_MAX, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.loops.lingering import Lingering
    from pyroipc.wire.message import Message

__all__ = ["PulledStreams"]

_TERMINATED = "item stream terminated"
_moving = threading.Lock()  # around what connection a stream belongs to


class PulledStream(Stream):
    """One iterator whose items are asked for."""

    home: PulledStreams | None = None
    """The streams of the connection over which it was asked for last."""

    def pull(self) -> Any:
        """Return the next item.

        Raises:
            StopIteration: there is none.
            PyroError: the stream is closed.
            Exception: what the iterator raised.
        """
        with self.producing:  # two threads may ask; a generator runs in one
            if self.closed or self.over:
                raise PyroError(_TERMINATED)
            outer = running.get()
            try:
                return next(self.iterator)
            except BaseException:
                self.over = True
                raise
            finally:
                running.set(outer)
                if self.closed:  # by another thread, meanwhile
                    self._close_iterator()


class PulledStreams(Streams):
    """The streams of one connection with a client that is Pyro; any thread.

    Args:
        session: the connection.
        lingering: those of the daemon that wait for another connection.
    """

    __slots__ = ("_pulled",)

    def __init__(self, session: Session, lingering: Lingering) -> None:
        super().__init__(session, lingering)  # which has no stream, and so nothing to push
        self._pulled: dict[str, PulledStream] = {}

    def open(self, message: Message, codec: CallCodec, iterator: Iterator[Any]) -> bytes:
        """Take an iterator that a method returned; return the id of its stream.

        Raises:
            ProtocolError: there are too many streams.
        """
        if len(self._pulled) >= STREAMS_MAX:
            close = getattr(iterator, "close", None)
            if callable(close):
                close()
            raise ProtocolError(
                f"this connection has {STREAMS_MAX} streams open already; close some of them"
            )
        stream = self._lingering.make(iterator, PulledStream)
        stream.home = self
        self._pulled[stream.token] = stream
        return stream.token.encode("ascii")

    def next_item(self, stream_id: object) -> Any:
        """Return the next item of a stream.

        Raises:
            StopIteration: there is none.
            PyroError: there is no such stream, or not any more.
            Exception: what the iterator raised.
        """
        stream = self._find(stream_id)
        if stream.is_too_old:
            self.close(stream_id)
            raise PyroError(f"{_TERMINATED}: it has lived longer than it may")
        try:
            return stream.pull()
        except BaseException:
            self._pulled.pop(stream.token, None)
            raise

    def close(self, stream_id: object) -> None:
        """Close a stream; an unknown one is ignored."""
        try:
            stream = self._find(stream_id)
        except PyroError:
            return
        self._pulled.pop(stream.token, None)
        stream.close()

    def _find(self, stream_id: object) -> PulledStream:
        stream = self._pulled.get(stream_id) if isinstance(stream_id, str) else None
        if stream is not None:
            return stream
        with _moving:
            stream = self._lingering.adopt(stream_id, PulledStream)
            if stream is None:
                raise PyroError(_TERMINATED)
            if stream.home is not None:
                stream.home._pulled.pop(stream.token, None)  # noqa: SLF001 - of this class
            stream.home = self
            self._pulled[stream.token] = stream
        return stream

    def end(self) -> None:
        """Let the streams linger: the connection has ended."""
        while self._pulled:
            try:
                _, stream = self._pulled.popitem()
            except KeyError:
                return
            with _moving:
                if stream.home is self:
                    stream.home = None
                    self._lingering.add(stream)

"""Streams whose conversation has ended, and which wait for another one; and streams that age.

One thread for a daemon looks after them, while there are any.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from weakref import WeakValueDictionary

from pyroipc.errors import PyroError
from pyroipc.server.loops.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from pyroipc.settings import Settings

    S = TypeVar("S", bound=Stream)

__all__ = ["Lingering"]


class Lingering:
    """The streams of a daemon, as far as time matters to them; any thread.

    Args:
        settings: ITER_STREAM_LINGER, ITER_STREAM_LIFETIME and DETAILED_TRACEBACK are read from it.
    """

    def __init__(self, settings: Settings) -> None:
        self._linger_seconds = settings.ITER_STREAM_LINGER
        self._lifetime_seconds = settings.ITER_STREAM_LIFETIME
        self._detailed = settings.DETAILED_TRACEBACK
        self._waiting: dict[str, tuple[float, Stream]] = {}  # until when, by token
        self._made: WeakValueDictionary[str, Stream] = WeakValueDictionary()  # by token
        self._aging: set[Stream] = set()
        self._changed = threading.Condition(threading.Lock())
        self._is_closed = False
        self._pid = 0  # of the process in which the thread runs; 0: there is none

    def make(self, iterator: Iterator[Any], kind: type[S] = Stream) -> S:  # type: ignore[assignment]
        """Make a stream of an iterator that a method has returned."""
        stream = kind(iterator, self._lifetime_seconds, detailed=self._detailed)
        self._made[stream.token] = stream
        if stream.expires is not None:
            with self._changed:
                if not self._is_closed:
                    self._aging.add(stream)
                    self._watch()
        return stream

    def add(self, stream: Stream) -> None:
        """Keep a stream for a while, or close it; what it runs then runs on another thread."""
        seconds = 0.0 if stream.closed else self._linger_seconds
        with self._changed:
            if not self._is_closed:  # which close() says before it takes what waits
                self._waiting[stream.token] = (monotonic() + seconds, stream)
                self._watch()
                return
        stream.close()

    def resume(self, token: str, number: int) -> Stream:
        """Return a stream of an earlier conversation, to go on with the item of this number.

        Raises:
            PyroError: it is over, or item ``number`` is not to be had any more.
        """
        stream = self._take(token)
        try:
            stream.take_back(number)
        except PyroError:
            stream.close()
            raise
        return stream

    def adopt(self, token: object, kind: type[S]) -> S | None:
        """Return a stream of another connection, as it is; None: there is none of this kind.

        The other connection may have ended, and the stream waits; or it goes on.
        """
        waits = self._waiting.get(str(token))
        if waits is None:
            made = self._made.get(str(token))
            return made if isinstance(made, kind) and not (made.over or made.closed) else None
        if not isinstance(waits[1], kind):
            return None
        try:
            stream = self._take(str(token))
        except PyroError:
            return None
        return stream if isinstance(stream, kind) else None

    def end(self, token: str) -> None:
        """Close a stream that waits; an unknown one is ignored."""
        try:
            self._take(token).close()
        except PyroError:
            pass

    def _take(self, token: str) -> Stream:
        """Return a stream that waits no more.

        Raises:
            PyroError: there is none.
        """
        with self._changed:
            until, stream = self._waiting.pop(str(token), (0.0, None))
        if stream is None:
            until, stream = monotonic() + self._linger_seconds, self._take_over(str(token))
        if stream is None or monotonic() >= until or stream.is_too_old:
            if stream is not None:
                stream.close()
            raise PyroError("item stream terminated: it is over, or has waited for too long")
        return stream

    def _take_over(self, token: str) -> Stream | None:
        """Return a stream whose conversation has ended, although nobody here has noticed it yet.

        A client may be back before its old connection is seen to have ended. Nobody but the client
        that opened the stream knows the token.
        """
        stream = self._made.get(token)
        feed = None if stream is None else stream.feed
        if stream is None or feed is None:
            return None
        feed.forget(feed.request_id)
        stream.feed = None
        return stream

    def close(self) -> None:
        """Close all that wait, and from now on those that would."""
        self._is_closed = True
        if self._pid not in (0, os.getpid()):
            return  # in a forked child they are copies, and the parent's to close
        with self._changed:
            streams = [stream for _, stream in self._waiting.values()]
            self._waiting.clear()
            self._aging.clear()
            self._changed.notify_all()
        for stream in streams:
            stream.close()

    # --- the thread ------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            threading.Thread(target=self._run, name="pyroipc-linger", daemon=True).start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._aging = {one for one in self._aging if not (one.over or one.closed)}
                ends = [until for until, _ in self._waiting.values()]
                ends += [one.expires for one in self._aging if one.expires is not None]
                if not ends:
                    self._pid = 0
                    return
                now = monotonic()
                if min(ends) > now:
                    self._changed.wait(min(ends) - now)
                    continue
                late = [one for until, one in self._waiting.values() if until <= now]
                old = [one for one in self._aging if one.is_too_old]
                for stream in (*late, *old):
                    self._waiting.pop(stream.token, None)
                    self._aging.discard(stream)
            for end in (*(one.close for one in late), *(one.expire for one in old)):
                try:
                    end()
                except Exception:  # a mistake of ours: the other streams go on
                    from logging import getLogger

                    getLogger("pyroipc.server").exception("a stream could not be ended")

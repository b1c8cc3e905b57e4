"""Remote iterators at the calling end.

The items of a stream are pushed by the other end, in chunks, as far as this end gives credit for
them (:mod:`pyroipc.server.loops.streams` has the whole story). They wait here until somebody asks
for them; whoever fetches a chunk gives credit for another one.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque

from pyroipc.client import janitor
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    ForkedConnectionError,
    ProtocolError,
    PyroError,
    SerializeError,
    TimeoutError,
)
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.wire.message import CREDIT, END, ERROR, STREAM
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.wire.message import Message

__all__ = ["RemoteIterator", "open_stream"]

_CREDIT = plain_prefix(CREDIT, 0, STREAM)


class RemoteIterator:
    """Iterates over what a remote iterator yields; what a remote method returned.

    Any thread may ask for items; each item comes out once, and in order. It holds a generator open
    at the other end until it is exhausted or closed: close it, or use it as a context manager, if
    you do not read it to its end. Dropping it closes it, too.

    If the connection ends and is opened again within ITER_STREAM_LINGER seconds, it goes on.
    """

    def __init__(self, proxy: Proxy[Any], codec: CallCodec, token: str, request_id: int) -> None:
        self._proxy = proxy
        self._token = token
        self._next_number = 0  # of the item that follows those in _items
        self._items: deque[Any] = deque()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._is_over = False
        self._last_word: BaseException | None = None
        self._attach(codec, request_id)

    def _attach(self, codec: CallCodec, request_id: int) -> None:
        """Take the items that come as answers to this request."""
        session: Session = self._proxy._pyro_connected()
        self._codec = codec
        self._session = session
        self._request_id = request_id
        self._chunks = session.chunks_of(request_id)
        janitor.start()
        self._finalizer = weakref.finalize(
            self, janitor.later, _cancel, weakref.ref(session), request_id, self._pid
        )
        self._finalizer.atexit = False

    # --- reading -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next item.

        Raises:
            StopIteration: there is none.
            ConnectionClosedError: the connection has ended, and the stream with it or not: after
                ``_pyroReconnect`` of the proxy the next call goes on, if the stream lingers.
            TimeoutError: none came within the ``_pyroTimeout`` of the proxy.
            Exception: what the remote iterator raised.
        """
        items = self._items
        while True:
            # Two threads may meet here; popleft gives an item to one of them.
            try:
                return items.popleft()
            except IndexError:
                pass
            if self._pid != os.getpid():
                raise ForkedConnectionError("this remote iterator belongs to the parent process")
            with self._lock:
                if not items and not self._fetch():
                    raise StopIteration

    def _fetch(self) -> bool:
        """Fetch the next chunk; False at the end.

        Raises:
            Exception: as :meth:`__next__`.
        """
        if self._last_word is not None:
            error, self._last_word = self._last_word, None
            raise error
        if self._is_over:
            return False
        self._await_chunk()
        message = self._chunks.messages.popleft()
        if message.flags & END:
            return self._end(message)
        try:
            number, items = self._codec.loads(message.payload)  # type: ignore[misc]
        except Exception as failure:
            self.close()
            raise self._codec.load_failed(failure) from failure
        if number != self._next_number or type(items) is not list or not items:
            self.close()
            raise ProtocolError("the items of a stream came in the wrong order")
        self._next_number += len(items)
        self._items.extend(items)
        try:
            self._session.post(encode_plain(_CREDIT, self._request_id, b"1"), None)
        except CommunicationError:
            pass  # the next item, if somebody wants one, tells
        return True

    def _end(self, message: Message) -> bool:
        """Take the last message; False if it says that there are no more items.

        Raises:
            Exception: what the remote iterator raised.
        """
        self._is_over = True
        self._finalizer.detach()
        self._session.sinks.pop(self._request_id, None)
        if not message.flags & ERROR:
            return False
        from pyroipc.protocol.remote_errors import load_error  # when first needed

        raise load_error(message.payload, self._codec.serializer)

    def _await_chunk(self) -> None:
        """Wait until a chunk is there.

        Raises:
            ConnectionClosedError, TimeoutError: none will come, or none came in time.
        """
        if not self._chunks.messages and self._chunks.error is not None:
            self._resume(self._chunks.error)
        from time import monotonic

        timeout = self._proxy._pyroTimeout
        deadline = None if timeout is None else monotonic() + timeout
        if not self._session.await_sink(self._chunks, deadline):
            raise TimeoutError("no item of the stream came in time")
        if not self._chunks.messages:
            assert self._chunks.error is not None
            raise self._chunks.error

    def _resume(self, error: PyroError) -> None:
        """Ask for the rest of the stream over another conversation, if there is one.

        Raises:
            ConnectionClosedError: there is none.
            PyroError: the stream did not linger.
        """
        session = self._proxy._pyroConnection
        if session is None:
            raise ConnectionClosedError(
                "the proxy for this stream result has been closed; after _pyroReconnect() it goes "
                f"on, if it lingers ({error})"
            ) from error
        try:
            rest = self._proxy._pyroInvoke(
                "resume_stream", (self._token, self._next_number), {}, 0, DAEMON_NAME
            )
        except CommunicationError:
            raise
        except PyroError:
            self._is_over = True
            raise
        assert isinstance(rest, RemoteIterator)
        rest._finalizer.detach()
        self._finalizer.detach()
        session = rest._session
        self._codec, self._session, self._request_id = rest._codec, session, rest._request_id
        self._chunks = rest._chunks
        self._finalizer = weakref.finalize(
            self, janitor.later, _cancel, weakref.ref(session), self._request_id, self._pid
        )
        self._finalizer.atexit = False

    # --- closing -------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the iterator at the other end, too; nothing comes out any more."""
        if self._is_over or self._pid != os.getpid():
            return
        self._is_over = True
        self._items.clear()
        self._finalizer.detach()
        self._session.cancel_stream(self._request_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "over" if self._is_over else "open"
        return f"<remote iterator, {state}, {self._next_number - len(self._items)} items read>"


def _cancel(reference: weakref.ref[Session], request_id: int, pid: int) -> None:
    """Close a stream whose iterator was dropped; called by the janitor."""
    session = reference()
    if session is not None and pid == os.getpid():
        session.cancel_stream(request_id)


def open_stream(proxy: Proxy[Any], codec: CallCodec, message: Message) -> RemoteIterator:
    """Return the iterator that an answer announces.

    Raises:
        SerializeError: the answer makes no sense.
    """
    try:
        token = codec.loads(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure
    if not isinstance(token, str):
        raise SerializeError("the answer does not name the stream that it opens")
    return RemoteIterator(proxy, codec, token, message.request_id)

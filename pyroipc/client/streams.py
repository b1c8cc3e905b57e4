"""Remote iterators at the calling end.

The items of a stream are pushed by the other end, in chunks, of which at most STREAM_WINDOW are on
their way (:mod:`pyroipc.server.loops.streams` has the whole story). They wait here until somebody
asks for them; whoever fetches a chunk tells the other end, which makes room for another one.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from time import monotonic

from pyroipc.client import janitor
from pyroipc.client.peers import fresh_copy
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
from pyroipc.wire.message import COMPRESSED, CREDIT, END, ERROR, ONEWAY, STREAM
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.wire.message import Message

__all__ = ["RemoteIterator", "open_stream"]

_CREDIT = plain_prefix(CREDIT, 0, STREAM)


class _Items(deque[object]):
    """Items that nobody has asked for yet.

    Args:
        items: the items.
        end: the number of the item that follows them.
        origin: the message that brought them, until that has been put away.
    """

    __slots__ = ("end", "origin")

    def __init__(self, items: Iterable[object], end: int, origin: Message | None = None) -> None:
        super().__init__(items)
        self.end = end
        self.origin = origin


class RemoteIterator:
    """Iterates over what a remote iterator yields; what a remote method returned.

    Any thread may ask for items; each item comes out once, and in order. It holds a generator open
    at the other end until it is exhausted or closed: close it, or use it as a context manager, if
    you do not read it to its end. Dropping it closes it, too.

    If the connection ends and is opened again within ITER_STREAM_LINGER seconds, it goes on. That
    of a proxy for an address is opened by whoever asks for the next item.
    """

    def __init__(
        self,
        proxy: Proxy[Any],
        session: Session,
        codec: CallCodec,
        token: str,
        request_id: int,
    ) -> None:
        self._proxy = proxy
        self._token = token
        self._items = _Items((), 0)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._is_over = False
        self._attach(session, codec, request_id)

    def _attach(self, session: Session, codec: CallCodec, request_id: int) -> None:
        """Take the items that come as answers to this request."""
        self._session, self._codec, self._request_id = session, codec, request_id
        self._chunks = session.chunks_of(request_id)
        self._told = self._items.end  # up to where the peer knows that items were taken
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
            ForkedConnectionError: it was inherited through a fork.
            Exception: what the remote iterator raised.
        """
        while True:
            # Two threads may meet here; popleft gives an item to one of them.
            try:
                return self._items.popleft()
            except IndexError:
                pass
            if self._pid != os.getpid():
                raise ForkedConnectionError("this remote iterator belongs to the parent process")
            with self._lock:
                if not self._items and not self._fetch():
                    raise StopIteration

    def _fetch(self) -> bool:
        """Fetch the next chunk; False at the end.

        A signal handler may raise at any moment. So a chunk stays where it is until its items have
        been stored, with their number, in one step.

        Raises:
            Exception: as :meth:`__next__`.
        """
        if not self._await_chunk():
            return False
        messages = self._chunks.messages
        message = messages[0]
        if message.flags & END:
            return self._end(message)
        if message is not self._items.origin:
            self._items = self._read(message)
        self._chunks.take()
        self._items.origin = None
        if self._is_over:  # closed meanwhile
            self._items.clear()
            return False
        if not (messages and messages[-1].flags & END):
            self._give_credit(self._items.end)
        return True

    def _read(self, message: Message) -> _Items:
        """Return the items of a chunk.

        Raises:
            SerializeError: they cannot be decoded.
            ProtocolError: they are not those that come next.
        """
        if message.flags & COMPRESSED:
            self._codec.unpack(message)
        try:
            data: Any = self._codec.value_of(message)
        except Exception:
            self.close()
            raise
        match data:
            case [int(number), list(items)] if items and number == self._items.end:
                return _Items(items, number + len(items), message)
        self.close()
        raise ProtocolError("the items of a stream came in the wrong order")

    def _give_credit(self, end: int) -> None:
        """Tell the peer up to where items were taken, if it does not know that."""
        if self._told != end and self._session.is_open:
            data = encode_plain(_CREDIT, self._request_id, b"%d" % end)
            try:
                self._session.post(data, self._deadline())
                self._told = end
            except CommunicationError:
                pass  # it is told before the next wait, or there is nobody to be told

    def _deadline(self) -> float | None:
        timeout = self._proxy._pyroTimeout
        return None if timeout is None else monotonic() + timeout

    def _end(self, message: Message) -> bool:
        """Take the last message; False if it says that there are no more items.

        Raises:
            Exception: what the remote iterator raised.
        """
        error = None
        if message.flags & COMPRESSED:
            self._codec.unpack(message)
        if message.flags & ERROR:
            from pyroipc.protocol.remote_errors import load_error  # when first needed

            error = load_error(message.payload, self._codec.serializer)
        self._is_over = True
        self._finalizer.detach()
        self._session.sinks.pop(self._request_id, None)
        self._give_credit(self._items.end + 1)  # so that the peer need not keep anything
        try:
            if error is not None:
                raise error
        finally:
            del error  # see requests._noted
        return False

    def _await_chunk(self) -> bool:
        """Wait until a chunk is there; False if there will be none because this is over.

        Raises:
            ConnectionClosedError: none will come.
            TimeoutError: none came in time.
        """
        while not (self._is_over or self._chunks.messages):
            if self._chunks.error is not None:
                self._resume(self._chunks.error)
            self._give_credit(self._items.end)
            if not self._await_arrival():
                raise TimeoutError("no item of the stream came in time")
        return not self._is_over

    def _await_arrival(self) -> bool:
        """Wait until there is something to look at; False if time ran out.

        Raises:
            ConnectionClosedError: nothing will come, and there is no way to connect again.
        """
        try:
            return self._session.await_sink(self._chunks, self._deadline())
        except ConnectionClosedError:
            if self._proxy._pyro_line is None or self._chunks.error is None:
                raise
            return True  # it is asked for over another connection

    def _resume(self, error: PyroError) -> None:
        """Ask for the rest of the stream over another conversation, if there is one.

        Raises:
            ConnectionClosedError: there is none.
            CommunicationError: that went wrong.
            ProtocolError: the answer makes no sense.
            PyroError: the stream did not linger.
        """
        if self._proxy._pyro_line is None:  # else it connects by itself
            if self._session.is_over:
                why: PyroError = fresh_copy(error)
                raise why
            if self._proxy._pyroConnection is None:
                raise ConnectionClosedError(
                    "the proxy for this stream result has been closed; after _pyroReconnect() it "
                    f"goes on, if it lingers ({error})"
                ) from error
        try:
            rest = self._proxy._pyroInvoke(
                "resume_stream", (self._token, self._items.end), {}, 0, DAEMON_NAME
            )
        except CommunicationError:
            raise
        except PyroError:
            self._is_over = True
            raise
        if not isinstance(rest, RemoteIterator):
            raise ProtocolError("the peer does not go on with a stream when it is asked to")
        rest._finalizer.detach()
        self._finalizer.detach()
        self._attach(rest._session, rest._codec, rest._request_id)

    # --- closing -------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the iterator at the other end, too; nothing comes out any more."""
        if self._is_over or self._pid != os.getpid():
            return
        self._is_over = True
        self._items.clear()
        self._finalizer.detach()
        if self._chunks.error is None:
            self._session.cancel_stream(self._request_id)
        elif self._proxy._pyroConnection is not None:  # it lingers
            try:
                self._proxy._pyroInvoke("end_stream", (self._token,), {}, ONEWAY, DAEMON_NAME)
            except PyroError:
                pass  # then its time will come

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
        return f"<remote iterator, {state}, {self._items.end - len(self._items)} items read>"


def _cancel(reference: weakref.ref[Session], request_id: int, pid: int) -> None:
    """Close a stream whose iterator was dropped; called by the janitor."""
    session = reference()
    if session is not None and pid == os.getpid():
        session.cancel_stream(request_id)


def open_stream(
    proxy: Proxy[Any], session: Session, codec: CallCodec, message: Message
) -> RemoteIterator:
    """Return the iterator that an answer announces.

    Raises:
        SerializeError: the answer makes no sense.
    """
    token = codec.value_of(message)
    if not isinstance(token, str):
        raise SerializeError("the answer does not name the stream that it opens")
    return RemoteIterator(proxy, session, codec, token, message.request_id)

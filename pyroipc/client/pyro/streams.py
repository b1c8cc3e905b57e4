"""Remote iterators of a server that is Pyro: each item is asked for with a call.

Where the connection ends, the stream lingers at the server, which knows it by its id: the next
item is asked for over the new connection.
"""

from __future__ import annotations

import threading
import weakref

from pyroipc.client import janitor
from pyroipc.errors import CommunicationError, ConnectionClosedError, ProtocolError, PyroError
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.pyro.session import PyroSession
    from pyroipc.wire.message import Message

__all__ = ["PulledIterator", "open_stream"]

_ID = "STRM"
_ID_BYTES_MAX = 200


def open_stream(proxy: Proxy[Any], session: PyroSession, message: Message) -> PulledIterator:
    """Return what iterates over the stream that an answer has opened.

    Raises:
        ProtocolError: the server sends no streams, or the id is none.
    """
    stream_id = bytes((message.annotations or {}).get(_ID, b""))
    if not stream_id:
        raise ProtocolError(
            "result of call is an iterator, but the server is not configured to allow streaming: "
            "its setting ITER_STREAMING is off"
        )
    if not stream_id.isascii() or len(stream_id) > _ID_BYTES_MAX:
        raise ProtocolError(f"this is no id of a stream: {stream_id[:_ID_BYTES_MAX]!r}")
    return PulledIterator(proxy, stream_id.decode("ascii"))


class PulledIterator:
    """Iterates over what a remote iterator yields; what a remote method returned.

    Any thread may ask for items. It holds a generator open at the server until it is exhausted or
    closed: close it, or use it as a context manager, if you do not read it to its end. Dropping it
    closes it, too.

    Args:
        proxy: over whose connection the stream was opened.
        stream_id: what the server calls it.
    """

    def __init__(self, proxy: Proxy[Any], stream_id: str) -> None:
        self._proxy = proxy
        self._stream_id = stream_id
        self._lock = threading.Lock()
        self._is_over = False
        janitor.start()
        self._finalizer = weakref.finalize(self, janitor.later, _close, proxy, stream_id)
        self._finalizer.atexit = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next item.

        Raises:
            StopIteration: there is none.
            ConnectionClosedError: the proxy was released; ``_pyroReconnect`` lets it go on.
            CommunicationError: the item could not be fetched.
            PyroError: the server has closed the stream.
            Exception: what the remote iterator raised.
        """
        with self._lock:
            if self._is_over:
                raise StopIteration
            if self._proxy._pyroConnection is None:  # noqa: SLF001 - as for all in this package
                raise ConnectionClosedError("the proxy for this stream result has been closed")
            try:
                return self._fetch()
            except CommunicationError:
                raise
            except PyroError as error:
                if getattr(error, "_pyroTraceback", None) is not None:
                    self._end()
                raise
            except BaseException as error:
                if isinstance(error, StopIteration) or hasattr(error, "_pyroTraceback"):
                    self._end()
                raise

    def _fetch(self) -> Any:
        return self._proxy._pyroInvoke(  # noqa: SLF001
            "get_next_stream_item", [self._stream_id], {}, 0, DAEMON_NAME
        )

    def _end(self) -> None:
        self._is_over = True
        self._finalizer.detach()

    def close(self) -> None:
        """Close the remote iterator; what cannot be said to the server is not said."""
        if not self._is_over:
            self._end()
            _close(self._proxy, self._stream_id)

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
        return f"<remote iterator {self._stream_id}, {state}>"


def _close(proxy: Proxy[Any], stream_id: str) -> None:
    """Close a stream, if its connection still stands; else the server drops it by itself."""
    if proxy._pyroConnection is not None:  # noqa: SLF001
        try:
            proxy._pyroInvoke("close_stream", [stream_id], {}, ONEWAY, DAEMON_NAME)  # noqa: SLF001
        except PyroError:
            pass

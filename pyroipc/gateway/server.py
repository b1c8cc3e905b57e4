"""A server for the gateway, of the standard library's parts, that a slow client cannot stop.

One thread for each request, and so many at once; when all are busy, further clients wait in the
kernel's queue. Each of these has its limit, after which a client is cut off:

====================  ===========================================================
the header            ``header_seconds`` for all of it, and 64 KiB
the body              ``body_seconds`` for all of it
taking the answer     ``write_seconds`` for each 64 KiB of it
====================  ===========================================================

It speaks HTTP/1.0: a connection ends with its answer. For TLS, and for more than a few hundred
requests a second, put a web server before it, or run the application in another one.
"""

from __future__ import annotations

import io
import selectors
import socket
import threading
from http import HTTPStatus
from time import monotonic
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from pyroipc.errors import DaemonError
from pyroipc.logs import get as get_logger
from pyroipc.transports import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from wsgiref.types import WSGIApplication

__all__ = ["GatewayServer"]

_log = get_logger("gateway")  # now: without descriptors nothing can be imported any more

HEADER_BYTES_MAX = 1 << 16
_PIECE = 1 << 16
_DRAINED_BYTES_MAX = 4 << 20
_DRAIN_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_WARNING_SECONDS = 1.0


class _TooMuchError(OSError):
    """A header is longer than it may be."""


class _Incoming(io.RawIOBase):
    """What a client sends, up to a deadline, and up to so many bytes."""

    def __init__(self, sock: socket.socket, seconds: float, room: int) -> None:
        super().__init__()
        self._sock = sock
        self.extend(seconds, room)

    def extend(self, seconds: float, room: int) -> None:
        """Allow more: so many seconds from now on, and so many bytes."""
        self._deadline = monotonic() + seconds
        self._room = room

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive something.

        Raises:
            TimeoutError: it did not come in time.
            _TooMuchError: more came than may.
        """
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the request did not come in time")
        if self._room <= 0:
            raise _TooMuchError("the request is too long")
        self._sock.settimeout(left)
        received = self._sock.recv_into(buffer)
        self._room -= received
        return received


class _Outgoing:
    """What is sent to a client: little pieces together, and each large one in time."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._waiting = bytearray()

    def write(self, data: Any) -> int:
        """Take something to send."""
        self._waiting += data
        if len(self._waiting) > _PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Send what is there.

        Raises:
            TimeoutError: the client did not take it in time.
        """
        waiting, self._waiting = self._waiting, bytearray()
        with memoryview(waiting) as view:
            for begin in range(0, len(view), _PIECE):
                self._sock.settimeout(self._seconds)
                self._sock.sendall(view[begin : begin + _PIECE])


class _Handler(WSGIRequestHandler):
    """One request."""

    server_version = "pyroipc"

    def setup(self) -> None:
        server: Any = self.server
        self._server: GatewayServer = server
        self.connection = self.request
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = _Incoming(self.request, self._server.header_seconds, HEADER_BYTES_MAX)
        self.rfile = io.BufferedReader(self._incoming)
        outgoing: Any = _Outgoing(self.request, self._server.write_seconds)
        self.wfile = outgoing
        self._status = 0

    def version_string(self) -> str:
        return self.server_version

    def handle(self) -> None:
        try:
            self._handle()
        except _TooMuchError:
            self.send_error(431)
        except TimeoutError:
            if not self._status:
                self.send_error(408)
        self.wfile.flush()

    def _handle(self) -> None:
        self.requestline = self.request_version = self.command = ""
        self.raw_requestline = self.rfile.readline(HEADER_BYTES_MAX + 1)
        if not self.raw_requestline:
            return  # the client has only had a look
        if len(self.raw_requestline) > HEADER_BYTES_MAX:
            self.send_error(414)
        elif not self.parse_request():
            if not self._status:
                self.send_error(400, "an empty line")
        elif self.request_version == "HTTP/0.9":
            self.send_error(505, "this version has no headers")
        else:
            self._server.has_come(self.request)
            self._incoming.extend(self._server.body_seconds, 1 << 62)
            out: Any = self.wfile
            handler = _Run(
                self.rfile, out, self.get_stderr(), self.get_environ(), multithread=True
            )
            handler.request_handler = self  # type: ignore[attr-defined]  # it logs there
            handler.run(self._server.gateway)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        self._status = int(str(getattr(code, "value", code)).partition(" ")[0])
        path = self.path.partition("?")[0] if hasattr(self, "path") else ""  # a key may be behind
        _log.info("%s %s %s: %s", self.client_address[0], self.command, path, self._status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        _log.info("%s %s", self.client_address[0], format % args)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Answer a request that is none, in words; also to those who do not name a version."""
        status = HTTPStatus(code)
        self.request_version = self.protocol_version
        self.log_error("%s %s", status, message or "")
        text = f"{status.value} {status.phrase}".encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def finish(self) -> None:
        headers = getattr(self, "headers", {})
        may_send_more = (
            not headers or "Content-Length" in headers or "Transfer-Encoding" in headers
        )
        if self._status >= 400 and self._status != HTTPStatus.REQUEST_TIMEOUT and may_send_more:
            self._drain()

    def _drain(self) -> None:
        """Read what the client still sends, for a while, so that it can read the answer."""
        try:
            self.request.shutdown(socket.SHUT_WR)
            self._incoming.extend(_DRAIN_SECONDS, _DRAINED_BYTES_MAX)
            while self.rfile.read1(_PIECE):
                pass
        except OSError:
            pass


class _Run(ServerHandler):
    """One run of the application."""

    server_software = "pyroipc"

    def log_exception(self, exc_info: Any) -> None:
        if isinstance(exc_info[1], OSError):
            _log.info("a client is gone, or too slow: %s", exc_info[1])
        else:
            _log.error("the application failed", exc_info=exc_info)


class GatewayServer(WSGIServer):
    """Serves an application over HTTP, each request in a thread.

    Args:
        application: what answers; a WSGI application that any number of threads may call.
        host: where to listen; ``""``: at all IPv4 addresses.
        port: 0: any free one.
        threads: how many requests are served at once.
        header_seconds: how long the header of a request may take.
        body_seconds: how long its body may take.
        write_seconds: how long a client may take 64 KiB of nothing.

    Raises:
        ConnectError: there is no such host.
        DaemonError: nobody can listen there.
    """

    request_queue_size = 128

    def __init__(
        self,
        application: WSGIApplication,
        host: str = "localhost",
        port: int = 8080,
        *,
        threads: int = 64,
        header_seconds: float = 10.0,
        body_seconds: float = 30.0,
        write_seconds: float = 30.0,
    ) -> None:
        if not 0 <= port <= 65535:
            raise DaemonError(f"a port is a number from 0 to 65535, not {port}")
        self.threads = threads
        self.header_seconds = header_seconds
        self.body_seconds = body_seconds
        self.write_seconds = write_seconds
        self._lock = threading.Condition()
        self._active: dict[socket.socket, bool] = {}  # and whether the request has come
        self._is_stopping = False
        self._warned_at = float("-inf")
        address = addresses.resolve(host or "0.0.0.0", port, 4)[0]  # noqa: S104 - as asked for
        self.address_family = addresses.family_of(address)
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            super().__init__(address[:2], _Handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DaemonError(
                f"cannot listen at {host or 'all addresses'}, port {port}: {reason}; choose "
                "another port or host"
            ) from error
        self.gateway = application

    def server_bind(self) -> None:
        """Listen, without asking anybody for the name of the host."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.settimeout(0)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def server_close(self) -> None:
        """Let nobody in any more; :meth:`serve` does this at its end."""
        super().server_close()
        if not self._active:  # else their threads still say when they are done
            for resource in (self._selector, self._waker, self._woken):
                resource.close()

    @property
    def url(self) -> str:
        """The address of the home page."""
        host = str(self.server_name)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.server_port}/pyro/"

    def serve(self, *, patience: float = 5.0) -> None:
        """Serve until :meth:`stop`; then let requests end that run.

        Args:
            patience: how long to wait for them, in seconds; after that their connections are cut.
        """
        try:
            while not self._is_stopping:
                self._serve_once(self._selector)
        finally:
            self.server_close()
            self._end(patience)

    def _serve_once(self, selector: selectors.BaseSelector) -> None:
        """Wait for a client, or for a free thread if there is none."""
        is_listening = len(selector.get_map()) > 1
        is_full = len(self._active) >= self.threads
        if is_listening and is_full:
            selector.unregister(self.socket)
        elif not is_listening and not is_full:
            selector.register(self.socket, selectors.EVENT_READ)
        ready = [key.fileobj for key, _ in selector.select()]
        if self._woken in ready:
            try:
                self._woken.recv(4096)
            except BlockingIOError:
                pass
        if self.socket in ready and not self._is_stopping:
            self._accept()

    def _accept(self) -> None:
        try:
            request, address = self.get_request()
        except OSError as error:  # the client has gone again, or there are no descriptors left
            if monotonic() - self._warned_at > _WARNING_SECONDS:
                self._warned_at = monotonic()
                _log.warning("a client cannot be let in: %s", error)
            if not isinstance(error, BlockingIOError | ConnectionError):
                threading.Event().wait(_PAUSE_SECONDS)
            return
        with self._lock:
            self._active[request] = False
        thread = threading.Thread(
            target=self._serve_request, args=(request, address), name="gateway", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            _log.warning("there is no thread for a request")
            self._finished(request)

    def _serve_request(self, request: socket.socket, address: Any) -> None:
        try:
            self.finish_request(request, address)
        except OSError:
            pass  # the client is gone
        except Exception:  # noqa: BLE001 - the thread ends in any case
            _log.exception("a request failed")
        finally:
            self._finished(request)

    def _finished(self, request: socket.socket) -> None:
        with self._lock:
            self.shutdown_request(request)
            self._active.pop(request, None)
            self._lock.notify_all()
        self._wake()

    def _wake(self) -> None:
        try:
            self._waker.send(b"!")
        except OSError:
            pass  # it is awake already, or over

    def stop(self) -> None:
        """End :meth:`serve`; may be called by any thread, and by a signal handler."""
        self._is_stopping = True
        self._wake()

    def has_come(self, request: socket.socket) -> None:
        """Take note that a client has sent the header of a request."""
        if request in self._active:
            self._active[request] = True

    def _end(self, patience: float) -> None:
        with self._lock:
            self._cut([request for request, has_come in self._active.items() if not has_come])
            if not self._lock.wait_for(lambda: not self._active, patience):
                self._cut(list(self._active))
                self._lock.wait_for(lambda: not self._active, _DRAIN_SECONDS)
            self._active.clear()  # the others cannot be waited for any longer
        self.server_close()

    def _cut(self, requests: list[socket.socket]) -> None:
        for request in requests:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the client was faster

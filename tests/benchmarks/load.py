"""Many clients in one thread: each sends its next request as soon as it has the last answer.

The same loop and the same sockets for all servers. A request is always the same bytes; an answer
is complete when as much has come as its header says, in however many pieces.
"""

from __future__ import annotations

import contextlib
import selectors
from time import perf_counter
from typing import NamedTuple

from tests.benchmarks.transcripts import PATIENCE_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.benchmarks.network_servers import Server
    from tests.benchmarks.transcripts import Transcript

_CHUNK_BYTES = 1 << 16


class Load(NamedTuple):
    """What a crowd of clients saw: all of them together, and each on its own."""

    microseconds: float
    """For one call: the time divided by the number of answers."""
    middle_ms: float
    """From the request to the answer, the median."""
    late_ms: float
    """The same, the 99th percentile."""


class _Client:
    __slots__ = ("pending", "receive", "send", "sent_at")

    def __init__(self, sock: socket.socket) -> None:
        self.receive, self.send = sock.recv, sock.send
        self.pending = b""
        """What has come of an answer that is not complete."""
        self.sent_at = 0.0


class Crowd:
    """Clients that are connected, and say what a transcript says."""

    def __init__(self, transcript: Transcript, sockets: list[socket.socket]) -> None:
        self._transcript = transcript
        self._selector = selectors.DefaultSelector()
        self._clients = []
        for sock in sockets:
            transcript.call(sock)
            sock.setblocking(False)
            client = _Client(sock)
            self._selector.register(sock, selectors.EVENT_READ, client)
            self._clients.append(client)

    def close(self) -> None:
        """Forget the sockets; they stay open."""
        self._selector.close()

    def run(self, seconds: float) -> Load:
        """Have all clients call for so long; when this returns, none waits for an answer.

        Raises:
            AssertionError: an answer was wrong, or did not come.
            ConnectionError: the server closed a connection.
        """
        request = self._transcript.request
        latencies: list[float] = []
        start = perf_counter()
        for client in self._clients:
            client.sent_at = perf_counter()
            client.send(request)
        while (elapsed := perf_counter() - start) < seconds or not latencies:
            assert elapsed < seconds + PATIENCE_SECONDS, "no answer came"
            for client in self._answered():
                now = perf_counter()
                latencies.append(now - client.sent_at)
                client.sent_at = now
                client.send(request)
        calls = len(latencies)
        self._wait_for_the_last()
        latencies.sort()
        return Load(
            elapsed / calls * 1e6,
            latencies[calls // 2] * 1e3,
            latencies[min(calls * 99 // 100, calls - 1)] * 1e3,
        )

    def _wait_for_the_last(self) -> None:
        missing, end = len(self._clients), perf_counter() + PATIENCE_SECONDS
        while missing:
            assert perf_counter() < end, f"{missing} answers did not come"
            missing -= sum(1 for _ in self._answered())

    def _answered(self) -> Iterator[_Client]:
        """Receive what has come; yield the clients whose answers are complete."""
        transcript = self._transcript
        total_of = transcript.dialect.total
        for key, _ in self._selector.select(1.0):
            client = key.data
            data = client.receive(_CHUNK_BYTES)
            if not data:
                raise ConnectionError("the server closed the connection")
            if client.pending:
                data = client.pending + data
            total = total_of(data)
            if total is None or len(data) < total:
                client.pending = data
                continue
            assert len(data) == total, "more came than an answer"
            transcript.check(data)
            client.pending = b""
            yield client


@contextlib.contextmanager
def crowd(transcript: Transcript, server: Server, size: int) -> Iterator[Crowd]:
    """Connect so many clients, which have called once when this begins."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(transcript.connect(server)) for _ in range(size)]
        clients = Crowd(transcript, sockets)
        stack.callback(clients.close)
        yield clients

"""What a real client sends, word for word, so that a thousand clients cost no more than sockets.

A client is led through a relay, which writes down what goes to and fro: what it takes to be let
in, and one call. Whoever says the same over a socket of his own is a client like that one, and
the server has as much to do. This needs to know nothing of a library but how it says how long a
message is.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import NamedTuple

from tests.benchmarks.network_servers import HOST
from tests.benchmarks.rounds import ARGUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.benchmarks.network_clients import Connect
    from tests.benchmarks.network_servers import Server

PATIENCE_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16


class Dialect(NamedTuple):
    """How the messages of a library say how long they are.

    Attributes:
        header: its size in bytes.
        sizes: the sizes of all that follows it, and nothing else.
    """

    header: int
    sizes: struct.Struct

    def total(self, data: bytes) -> int | None:
        """Return how long the message is that begins here; None: too little is there to say."""
        if len(data) < self.header:
            return None
        return self.header + sum(self.sizes.unpack_from(data))

    def split(self, data: bytes) -> list[bytes]:
        """Return the messages that stand one after the other.

        Raises:
            ValueError: the last one is not complete.
        """
        messages = []
        while data:
            total = self.total(data)
            if total is None or total > len(data):
                raise ValueError("a message is not complete")
            messages.append(data[:total])
            data = data[total:]
        return messages


NATIVE = Dialect(36, struct.Struct(">16xQ4xQ"))
PYRO5 = Dialect(40, struct.Struct(">12xII"))
CONNECTION = Dialect(4, struct.Struct(">i"))  # of short messages


class Transcript(NamedTuple):
    """What a client says.

    Attributes:
        dialect: of what is sent to it.
        greetings: what is sent until it is let in and has made its first call, each with how
            many messages come back before it goes on.
        request: a call of ``echo(42)``.
        reply: the answer that came.
    """

    dialect: Dialect
    greetings: list[tuple[bytes, int]]
    request: bytes
    reply: bytes

    def connect(self, server: Server) -> socket.socket:
        """Return a socket of a client that was let in, and has called once.

        Raises:
            ConnectionError: the server closed the connection.
        """
        sock = socket.create_connection((HOST, server.port), PATIENCE_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for greeting, welcomes in self.greetings:
                sock.sendall(greeting)
                for _ in range(welcomes):
                    self._receive(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def call(self, sock: socket.socket) -> None:
        """Make the call over a socket.

        Raises:
            AssertionError: that was another answer.
            ConnectionError: the server closed the connection.
        """
        sock.sendall(self.request)
        self.check(self._receive(sock))

    def check(self, reply: bytes) -> None:
        """Look at a complete answer; its header may be another each time, and nothing else.

        Raises:
            AssertionError: it is another one.
        """
        assert reply[self.dialect.header :] == self.reply[self.dialect.header :]

    def _receive(self, sock: socket.socket) -> bytes:
        dialect = self.dialect
        data = _receive_exactly(sock, dialect.header)
        total = dialect.total(data)
        assert total is not None
        return data + _receive_exactly(sock, total - len(data))


def _receive_exactly(sock: socket.socket, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        more = sock.recv(n_bytes - len(data))
        if not more:
            raise ConnectionError("the server closed the connection")
        data += more
    return data


def record(server: Server, connect: Connect, dialect: Dialect) -> Transcript:
    """Lead a client to a server, have it call twice, and write down what it says."""
    with _Relay(server.port) as relay, connect(server.at(relay.port)) as call:
        assert call(ARGUMENT) == ARGUMENT  # the first call: it is let in
        assert call(ARGUMENT) == ARGUMENT
        *first, request, reply = map(bytes, relay.turns)
        greetings = [
            (greeting, len(dialect.split(welcome)))
            for greeting, welcome in zip(first[::2], first[1::2], strict=True)
        ]
        return Transcript(dialect, greetings, request, reply)


class _Relay:
    """Stands between one client and a server, and writes down what they say.

    What was said is written down before it is handed on, so that whoever has an answer finds it
    here.

    Attributes:
        turns: what the client said, what the server said then, and so on, in turns.
    """

    def __init__(self, port: int) -> None:
        self.turns: list[bytearray] = []
        self._lock = threading.Lock()
        self._port = port

    def __enter__(self) -> _Relay:
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        self._listener.settimeout(PATIENCE_SECONDS)
        with (
            self._listener.accept()[0] as near,
            socket.create_connection((HOST, self._port)) as far,
        ):
            near.setblocking(True)
            back = threading.Thread(target=self._copy, args=(far, near, 1))
            back.start()
            self._copy(near, far, 0)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, parity: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                with self._lock:
                    if len(self.turns) % 2 == parity:
                        self.turns.append(bytearray())
                    self.turns[-1] += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

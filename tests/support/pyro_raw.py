"""Peers that speak Pyro's dialects by hand, rightly or wrongly: clients, and a server."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from pyroipc.wire.message import Limits
from tests.support.hosts import Worker
from tests.support.pyro_frames import (
    CONNECT,
    CONNECTOK,
    INVOKE,
    PING,
    RESULT,
    Facts,
    Kind,
    said,
)
from tests.support.raw import PATIENCE, RawPeer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METADATA = {"methods": ["echo", "note"], "oneway": ["note"], "attrs": ["value"]}


class RawPyro(RawPeer):
    """One end of a stream in a dialect of Pyro's; payloads are json.

    Args:
        sock: connected.
        kind: the dialect.
        serving: whether it plays the server.
        key: what it signs with.
    """

    def __init__(
        self, sock: socket.socket, kind: Kind, *, serving: bool = False, key: bytes = b""
    ) -> None:
        super().__init__(sock)
        self.kind = kind
        self.serving = serving
        self.decoder.speak(kind.dialect(serving=serving, key=key))
        self.decoder.limits = Limits(1 << 30)
        self._key = key

    def frame(self, *args: Any, **parts: Any) -> bytes:
        """Put a frame together, signed if there is a key; see :meth:`Kind.frame`."""
        if self._key:
            import hmac

            payload = parts.get("payload", b"")
            signature = hmac.digest(self._key, payload, "sha1")
            parts["area"] = parts.get("area", b"") + self.kind.area({"HMAC": signature})
        return self.kind.frame(*args, **parts)

    def hears(self) -> Facts | None:
        """Receive a message; None at the end of the stream."""
        try:
            message = self.read()
        except ConnectionResetError:
            return None
        return None if message is None else said(message)

    # --- as a client ---------------------------------------------------------------------------

    def introduction(
        self, object_id: str = "thing", handshake: Any = "hello", **parts: Any
    ) -> bytes:
        """Encode the message that a client opens with."""
        flags = 0x10 if self.kind.name == "pyro4" else 0
        payload = json.dumps({"handshake": handshake, "object": object_id}).encode()
        given = {"flags": flags, "seq": 0, "payload": payload, **parts}
        return self.frame(CONNECT, self.kind.json, **given)

    def introduce(self, object_id: str = "thing", handshake: Any = "hello") -> dict[str, Any]:
        """Introduce itself; return what the server answers."""
        self.send(self.introduction(object_id, handshake))
        answer = self.hears()
        assert answer is not None, "the stream ended"
        assert not answer.flags & 1, answer
        found: dict[str, Any] = json.loads(answer.payload)
        return found

    def call(
        self, seq: int, member: str, *args: Any, object_id: str = "thing", **parts: Any
    ) -> bytes:
        """Encode a call."""
        call = {"object": object_id, "method": member, "params": args, "kwargs": {}}
        given = {"seq": seq, "payload": json.dumps(call).encode(), **parts}
        return self.frame(INVOKE, self.kind.json, **given)

    def ask(self, seq: int, member: str, *args: Any, **parts: Any) -> Any:
        """Make a call, and return what the answer holds, be it an exception."""
        self.send(self.call(seq, member, *args, **parts))
        return self.answered(seq)

    def answered(self, seq: int) -> Any:
        """Return what the answer to a call holds, be it an exception."""
        answer = self.hears()
        assert answer is not None, "the stream ended"
        assert answer.request_id == seq, answer
        return json.loads(answer.payload)

    def ping(self) -> bytes:
        """Encode a ping."""
        return self.frame(PING, 42, seq=0, payload=b"ping")

    # --- as a server ---------------------------------------------------------------------------

    def welcome(self, serializer: int, meta: Any = METADATA, seq: int = 0) -> bytes:
        """Encode the answer to an introduction."""
        flags = 0x10 if self.kind.name == "pyro4" else 0
        payload = json.dumps({"handshake": "hello", "meta": meta}).encode()
        return self.frame(CONNECTOK, serializer, flags=flags, seq=seq, payload=payload)

    def result(self, seq: int, value: Any, flags: int = 0, **parts: Any) -> bytes:
        """Encode the answer to a call."""
        payload = json.dumps(value).encode()
        return self.frame(
            RESULT, self.kind.json, **{"flags": flags, "seq": seq, "payload": payload, **parts}
        )

    def exception(self, seq: int, name: str, *args: Any, **parts: Any) -> bytes:
        """Encode that a call raised an exception."""
        value = {"__class__": name, "__exception__": True, "args": args, "attributes": {}}
        return self.result(seq, value, 1, **parts)


@contextlib.contextmanager
def served_by_hand(
    kind: Kind, answer: Callable[[RawPyro, Facts], bytes | None], key: bytes = b""
) -> Iterator[str]:
    """Serve by hand at a port: what ``answer`` returns is sent; None ends the connection.

    Yields:
        The location.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)
    open_sockets: list[socket.socket] = []

    def serve_one(sock: socket.socket) -> None:
        with sock:
            peer = RawPyro(sock, kind, serving=True, key=key)
            with contextlib.suppress(OSError):
                while (message := peer.hears()) is not None:
                    data = answer(peer, message)
                    if data is None:
                        return
                    peer.send(data)

    def serve() -> None:
        workers = []
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                open_sockets.append(sock)
                workers.append(Worker(serve_one, sock))
        for sock in open_sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for worker in workers:
            worker.result()

    server = Worker(serve)
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.result()

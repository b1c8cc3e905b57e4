"""Peers that speak the native dialect by hand, rightly or wrongly."""

from __future__ import annotations

import json
from typing import Any

from pyroipc.protocol.hello import Hello
from pyroipc.wire.message import (
    ERROR,
    HELLO,
    ONEWAY,
    REQUEST,
    RESPONSE,
    WELCOME,
    Limits,
    Message,
)
from pyroipc.wire.native import Decoder
from tests.support.messages import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

JSON = 3
PATIENCE = 10.0


class BudgetSpent(Exception):
    """The bytes that this peer was to send have been sent."""


class RawPeer:
    """One end of a stream, with a decoder of its own; sends ``budget`` bytes and not one more."""

    def __init__(self, sock: socket.socket, budget: int | None = None) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.decoder = Decoder(Limits(1 << 30))
        self.budget = budget

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.budget is not None:
            data, rest = data[: self.budget], data[self.budget :]
            self.sock.sendall(data)
            self.budget -= len(data)
            if rest or not self.budget:
                raise BudgetSpent
        else:
            self.sock.sendall(data)

    def read(self) -> Message | None:
        """Receive the next message; None at the end of the stream."""
        while True:
            message = self.decoder.advance()
            if message is not None:
                return message
            self.decoder.received = self.sock.recv_into(self.decoder.get_buffer())
            if not self.decoder.received:
                return None

    def expect(self, kind: int) -> Message:
        """Receive a message that must be of this kind."""
        message = self.read()
        assert message is not None, "the stream ended"
        assert message.kind == kind, message
        return message

    def greet(self) -> None:
        """Say hello and wait for the welcome."""
        self.send(hello_frame())
        self.expect(WELCOME)


def hello_frame(kind: int = HELLO, request_id: int = 1, **facts: Any) -> bytes:
    """Encode a hello, or a welcome; ``facts`` replace those of a well-behaved peer."""
    told = {
        "features": ("ping", "objects"),
        "serializers": ("json", "serpent", "msgpack"),
        "max_message_bytes": 1 << 30,
        "pid": 0,
        **facts,
    }
    return plain(kind, request_id, Hello(**told).encode(), 0)


def call_frame(
    request_id: int, member: str, *args: Any, object_id: str = "thing", flags: int = 0
) -> bytes:
    """Encode a call with json."""
    call = {"object": object_id, "method": member, "params": args, "kwargs": {}}
    return plain(REQUEST, request_id, json.dumps(call).encode(), JSON, flags)


def result_frame(request_id: int, value: Any, flags: int = 0) -> bytes:
    """Encode a result with json."""
    return plain(RESPONSE, request_id, json.dumps(value).encode(), JSON, flags)


def error_text(message: Message) -> str:
    """Read an error that was refused in plain text or is encoded with json."""
    assert message.flags & ERROR, message
    return bytes(message.payload).decode()


METADATA = {"methods": ["echo"], "oneway": [], "attrs": []}


def answer_to(message: Message) -> bytes:
    """Encode what a well-behaved daemon with one object and one method, echo, would answer."""
    if message.kind == HELLO:
        return hello_frame(WELCOME, message.request_id)
    if message.kind != REQUEST or message.flags & ONEWAY:
        return b""
    call = json.loads(bytes(message.payload))
    if call["method"] == "connect":
        value = {"handshake": "hello", "meta": METADATA}
    else:
        value = call["params"][0]
    return result_frame(message.request_id, value)


def serve(peer: RawPeer) -> None:
    """Answer until the stream ends, or until the budget is spent (BudgetSpent)."""
    while (message := peer.read()) is not None:
        data = answer_to(message)
        if data:
            peer.send(data)

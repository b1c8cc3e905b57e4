"""Frames of Pyro4 and Pyro5 for tests: made by hand, rightly or wrongly, and how they are read."""

from __future__ import annotations

import contextlib
import struct
import warnings
from typing import Any, NamedTuple

from pyroipc.errors import ProtocolError, SecurityError
from pyroipc.wire.message import Limits
from pyroipc.wire.native import Decoder
from pyroipc.wire.pyro4 import Pyro4
from pyroipc.wire.pyro5 import Pyro5
from tests.support.messages import Facts, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

CONNECT, CONNECTOK, CONNECTFAIL, INVOKE, RESULT, PING = range(1, 7)
TYPES = range(1, 7)
SERVED = (CONNECT, INVOKE, PING)
"""The types that an end that serves is sent."""
ANSWERED = (CONNECTOK, CONNECTFAIL, RESULT, PING)
"""The types that a client is sent."""
EXCEPTION, COMPRESSED, ONEWAY, BATCH = 1, 2, 4, 8
ROOMY = Limits(1 << 30)


class Parts(NamedTuple):
    """A frame before it is put together; what is None is computed."""

    type: int = INVOKE
    serializer: int = 1
    flags: int = 0
    seq: int = 1
    payload: bytes = b""
    area: bytes = b""
    correlation: bytes = bytes(16)
    payload_bytes: int | None = None
    area_bytes: int | None = None
    version: int | None = None
    check: int | None = None
    tag: bytes = b"PYRO"
    reserved: int = 0


class Kind(NamedTuple):
    """One of Pyro's dialects, for tests that hold for both."""

    name: str
    version: int
    header_bytes: int
    chunk: struct.Struct
    stream: int
    blob: int
    json: int
    marshal: int

    def dialect(self, *, serving: bool, key: bytes = b"") -> Pyro4 | Pyro5:
        """Return our codec."""
        if self.name == "pyro4":
            return Pyro4(serving=serving, key=key)
        assert not key
        return Pyro5(serving=serving)

    def decoder(self, *, serving: bool, limits: Limits = ROOMY, key: bytes = b"") -> Decoder:
        """Return a decoder that speaks it."""
        decoder = Decoder(limits)
        decoder.speak(self.dialect(serving=serving, key=key))
        return decoder

    def area(self, annotations: Mapping[str, bytes]) -> bytes:
        """Put annotation chunks together."""
        return b"".join(
            self.chunk.pack(key.encode("ascii"), len(value)) + value
            for key, value in annotations.items()
        )

    def frame(self, *args: Any, **parts: Any) -> bytes:
        """Put a frame together; takes what :class:`Parts` has."""
        given = Parts(*args, **parts)
        sizes = (
            len(given.payload) if given.payload_bytes is None else given.payload_bytes,
            len(given.area) if given.area_bytes is None else given.area_bytes,
        )
        version = self.version if given.version is None else given.version
        header = _pyro4_header if self.name == "pyro4" else _pyro5_header
        return header(given, version, *sizes) + given.area + given.payload


def _pyro4_header(given: Parts, version: int, payload_bytes: int, area_bytes: int) -> bytes:
    check = given.check
    if check is None:
        fields = (given.type, version, payload_bytes, area_bytes, given.serializer, given.flags)
        check = (sum(fields) + given.seq + 0x34E9) & 0xFFFF
    return struct.pack(
        ">4sHHHHiHHHH", given.tag, version, given.type, given.flags, given.seq, payload_bytes,
        given.serializer, area_bytes, given.reserved, check,
    )  # fmt: skip


def _pyro5_header(given: Parts, version: int, payload_bytes: int, area_bytes: int) -> bytes:
    return struct.pack(
        ">4sHBBHHII16sHH", given.tag, version, given.type, given.serializer, given.flags,
        given.seq, payload_bytes, area_bytes, given.correlation, given.reserved,
        0x4DC5 if given.check is None else given.check,
    )  # fmt: skip


PYRO4 = Kind("pyro4", 48, 24, struct.Struct(">4sH"), 0x20, 0x40, json=2, marshal=3)
PYRO5 = Kind("pyro5", 502, 40, struct.Struct(">4sI"), 0x10, 0x20, json=3, marshal=2)
KINDS = (PYRO4, PYRO5)


def said(message: Any) -> Facts:
    """Copy what a message says, its flags included."""
    return Facts(
        message.kind,
        message.serializer_id,
        message.flags,
        message.request_id,
        bytes(message.payload),
        {key: bytes(value) for key, value in (message.annotations or {}).items()},
        message.correlation_id,
        message.time_limit,
        [],
        message.descriptors,
    )


def decoded(decoder: Decoder, pieces: Iterable[bytes]) -> list[Facts]:
    """Feed pieces as a reader does, and return the messages that came out, or raise."""
    return list(_decoding(decoder, pieces))


def outcome(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[list[Facts], type | None]:
    """Feed pieces; return the messages before the first error, and the class of the error."""
    found: list[Facts] = []
    try:
        for facts in _decoding(decoder, pieces):
            found.append(facts)  # noqa: PERF402 - those before an error count
    except (ProtocolError, SecurityError) as error:
        return found, type(error)
    return found, None


def _decoding(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[Facts]:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[write(decoder, rest) :]
            while (message := decoder.advance()) is not None:
                yield said(message)


def pyro4_module(name: str) -> ModuleType:
    """Import a module of the released Pyro4, which warns of its age."""
    import importlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"Pyro4.{name}")


@contextlib.contextmanager
def configured(config: Any, **items: Any) -> Iterator[None]:
    """Change items of the configuration of a released package for a while."""
    before = {name: getattr(config, name) for name in items}
    try:
        for name, value in items.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


class Tape:
    """A connection of Pyro's, as its functions see it: bytes that were received already."""

    def __init__(self, data: bytes) -> None:
        self.rest = data
        self.is_closed = False

    def recv(self, size: int) -> bytes:
        """Return so many bytes, as a socket connection of Pyro's does, or fail."""
        assert len(self.rest) >= size, "the connection would wait for ever"
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def close(self) -> None:
        """Take note."""
        self.is_closed = True

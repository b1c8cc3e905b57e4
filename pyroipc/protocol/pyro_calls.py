"""What a call is on the wire of Pyro's dialects, for one serializer; see :mod:`calls`.

Nothing is put together by hand here: each message goes through the dialect. So there are no plain
messages, which is what the limit of -1 bytes says.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.protocol.calls import CallCodec
from pyroipc.protocol.compression import compress
from pyroipc.protocol.remote_errors import dress_error
from pyroipc.serializers.parts import Parts
from pyroipc.serializers.pyro import PyroForm
from pyroipc.serializers.wrapped import ExceptionWrapper
from pyroipc.wire.message import COMPRESSED, ERROR, INTRODUCTION, REQUEST, RESPONSE, WELCOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyroipc.protocol.calls import BatchParts, Encoded, Payload, Places
    from pyroipc.serializers.base import Serializer
    from pyroipc.wire.message import Buffer
    from pyroipc.wire.pyro4 import Pyro4
    from pyroipc.wire.pyro5 import Pyro5

__all__ = ["PyroCodec"]


class PyroCodec(CallCodec):
    """Encodes calls and results with one serializer for a peer that is Pyro.

    Args:
        dialect: puts messages together.
        serializer: in its form for this peer.
        number: the id that the serializer has in the dialect.
        limit_bytes: how large a message may be.
        compress_from: compress payloads of so many bytes or more; None: none.
    """

    __slots__ = ("_compress_from", "_dialect", "_number")

    def __init__(
        self,
        dialect: Pyro4 | Pyro5,
        serializer: Serializer,
        number: int,
        *,
        limit_bytes: int,
        compress_from: int | None,
    ) -> None:
        self._dialect = dialect
        self._number = number
        self._compress_from = compress_from
        super().__init__(serializer, None, limit_bytes)
        self.plain_bytes = -1

    @property
    def form(self) -> PyroForm:
        """The serializer, in its form for this peer."""
        assert isinstance(self.serializer, PyroForm)
        return self.serializer

    @property
    def blob_key(self) -> tuple[str, str]:
        """What the form of a blob has to be that can be sent as it is."""
        return self._dialect.name, self.serializer.name

    def bind(self, serializer: Serializer) -> None:
        """Use this serializer."""
        super().bind(serializer)
        self.serializer_id = self._number

    def _bind_dumps(self) -> None:
        super()._bind_dumps()
        dumps_call = self.serializer.dumps_call

        def dumps_call_of_pyro(
            object_id: str, member: str, args: Sequence[object], kwargs: dict[str, object] | None
        ) -> bytes:
            # A server that is Pyro cannot call anything without keywords, be there none.
            return dumps_call(object_id, member, args, kwargs or {})

        self.dumps_call = dumps_call_of_pyro

    def compressed(self, flags: int, payload: Payload) -> tuple[int, Buffer]:
        """Return the flags and the payload of a message, compressed if that is wanted.

        Nothing goes apart in these dialects: the payload is one piece.
        """
        assert not isinstance(payload, Parts)
        if self._compress_from is None or flags & ERROR or len(payload) < self._compress_from:
            return flags, payload
        packed = compress(payload)
        return (flags, payload) if packed is None else (flags | COMPRESSED, packed)

    def batch_calls(self, calls: list[Any]) -> list[Any]:
        """Return the calls of a batch as they are sent: none of them is without keywords."""
        return [(name, args, kwargs or {}) for name, args, kwargs in calls]

    def batch_results(self, value: Any) -> BatchParts:
        """Take the answer to a batch apart: results, of which the last may be an exception.

        Raises:
            SerializeError: it is no such answer.
        """
        if not isinstance(value, list | tuple):
            raise SerializeError("the answer to a batch does not hold its results")
        results: list[Any] = list(value)
        failures: Places = {
            place: dress_error(result.exception)
            for place, result in enumerate(results)
            if isinstance(result, ExceptionWrapper)
        }
        return results, failures, {}

    def request(
        self,
        request_id: int,
        payload: Payload,
        *,
        flags: int = 0,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
        time_limit: float | None = None,
    ) -> Encoded:
        """Encode a call; the peer is not told of a time limit."""
        return self._encode(REQUEST, request_id, payload, flags, annotations, correlation_id)

    def response(
        self,
        request_id: int,
        payload: Payload,
        *,
        flags: int = 0,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
    ) -> Encoded:
        """Encode the answer to a call, or with the flag INTRODUCTION to an introduction."""
        kind = WELCOME if flags & INTRODUCTION else RESPONSE
        return self._encode(kind, request_id, payload, flags, annotations, correlation_id)

    def _encode(
        self,
        kind: int,
        request_id: int,
        payload: Payload,
        flags: int,
        annotations: Mapping[str, Buffer] | None,
        correlation_id: bytes | None,
    ) -> Encoded:
        flags, packed = self.compressed(flags, payload)
        parts = self._dialect.encode(
            kind, self._number, flags, request_id, packed, annotations, correlation_id
        )
        # One piece can be sent at once by whoever receives the answer, without a hand-over; and
        # nobody looks again whether it is too large.
        whole = parts[0]
        if len(parts) == 1 and isinstance(whole, bytes) and len(whole) <= self._limit_bytes:
            return whole
        return parts

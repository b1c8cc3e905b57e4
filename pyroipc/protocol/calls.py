"""What a call is on the wire of the native dialect, for one serializer: requests and responses.

A :class:`CallCodec` is made once per connection and serializer. It binds the functions of the
serializer and the constant part of the headers, so that a call only fills in what differs.
"""

from __future__ import annotations

from pyroipc.errors import (
    MessageTooLargeError,
    ProtocolError,
    SecurityError,
    SerializeError,
)
from pyroipc.wire.message import (
    ERROR,
    ONEWAY,
    REQUEST,
    RESPONSE,
    FullMessage,
)
from pyroipc.wire.native import encode, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from pyroipc.errors import PyroError
    from pyroipc.serializers.base import Serializer
    from pyroipc.wire.message import Buffer

    Encoded: TypeAlias = bytes | list[Buffer]

GET_ATTRIBUTE = "__getattr__"
SET_ATTRIBUTE = "__setattr__"
"""The members of the call that reads and writes a remote attribute, as Pyro names them."""


class CallCodec:
    """Encodes calls and results with one serializer.

    What is encoded is one ``bytes`` object if it is small, else a list of buffers to be sent one
    after the other. ``loads`` and ``loads_call`` may be the bare functions of the serializer:
    what they raise has to go through ``load_failed``. The plain call and its plain answer, small
    and with nothing but their payload, are put together where they arise: ``pack_header`` with
    one of the two prefixes, and the payload.
    """

    __slots__ = (
        "dumps",
        "dumps_call",
        "load_failed",
        "loads",
        "loads_call",
        "request_prefix",
        "response_prefix",
        "serializer",
        "serializer_id",
    )

    def __init__(self, serializer: Serializer) -> None:
        self.bind(serializer)

    def bind(self, serializer: Serializer) -> None:
        """Use this serializer from now on."""
        self.serializer = serializer
        self.serializer_id = serializer.id
        bare_loads = type(serializer).bare_loads
        self.loads: Callable[[Buffer], Any] = bare_loads or serializer.loads
        self.loads_call: Callable[[Buffer], Any] = bare_loads or serializer.loads_call
        self.load_failed = serializer.load_failed
        self.dumps = serializer.dumps
        self.dumps_call = serializer.dumps_call
        self.request_prefix = plain_prefix(REQUEST, serializer.id, 0)
        self.response_prefix = plain_prefix(RESPONSE, serializer.id, 0)

    def request(
        self,
        request_id: int,
        payload: Buffer,
        *,
        oneway: bool = False,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
        time_limit: float | None = None,
    ) -> Encoded:
        """Encode a call whose arguments ``dumps_call`` has encoded."""
        return encode(
            FullMessage(
                REQUEST,
                self.serializer_id,
                ONEWAY if oneway else 0,
                request_id,
                payload,
                annotations=annotations,
                correlation_id=correlation_id,
                time_limit=time_limit,
            )
        )

    def response(
        self,
        request_id: int,
        payload: Buffer,
        *,
        error: bool = False,
        annotations: Mapping[str, Buffer] | None = None,
        correlation_id: bytes | None = None,
    ) -> Encoded:
        """Encode a response whose payload is encoded already."""
        return encode(
            FullMessage(
                RESPONSE,
                self.serializer_id,
                ERROR if error else 0,
                request_id,
                payload,
                annotations=annotations,
                correlation_id=correlation_id,
            )
        )


def refusal(request_id: int, error: BaseException) -> Encoded:
    """Encode an error about a request whose serializer is not accepted: plain text, id 0."""
    text = f"{type(error).__name__}: {error}"
    return encode(FullMessage(RESPONSE, 0, ERROR, request_id, text.encode(errors="replace")))


def read_refusal(payload: Buffer) -> PyroError:
    """Read the error that :func:`refusal` encoded."""
    name, _, text = bytes(payload).decode(errors="replace").partition(": ")
    kinds: dict[str, type[PyroError]] = {
        "MessageTooLargeError": MessageTooLargeError,
        "SecurityError": SecurityError,
        "SerializeError": SerializeError,
    }
    return kinds.get(name, ProtocolError)(f"refused by the peer: {text}")

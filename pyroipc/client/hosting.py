"""What a conversation wants of those that run requests and send for it, and its limits."""

from __future__ import annotations

from pyroipc.protocol.hello import DESCRIPTORS, FEATURES
from pyroipc.transports.side import can_carry
from pyroipc.wire.message import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sized
    from typing import Protocol

    from pyroipc.protocol.calls import Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.message import Message

    class Host(Protocol):
        """What runs the requests of a peer; any thread."""

        serves: bool
        """Whether a loop receives requests all the time."""

        def take(self, message: Message) -> None:
            """Take a request, or word on a stream, that a waiting thread has met."""

        def run_nested(self, message: Message) -> None:
            """Run a request on the calling thread, and answer it."""

        def has_enough(self) -> bool:
            """Say whether so many requests wait that a sender should take no more meanwhile."""
            ...

    class Outbox(Protocol):
        """What sends without waiting; any thread."""

        @property
        def backlog(self) -> Sized:
            """What waits; it must not be overtaken."""
            ...

        def put(self, data: Encoded) -> None:
            """Send something; what the socket does not take at once, later."""


_LOCAL_EAGER_BYTES = 64 << 20
"""Towards a local peer: more is not taken at once for a message that only claims to be large."""
_KNOWN_LIMITS_MAX = 16
_known_limits: dict[tuple[bool, int], Limits] = {}


def limits_for(peer: Peer, settings: Settings) -> Limits:
    """Return the limits towards a peer; the same object for all connections with the same."""
    n_bytes = settings.LOCAL_MAX_MESSAGE_SIZE if peer.trusted else settings.MAX_MESSAGE_SIZE
    key = peer.trusted, n_bytes
    limits = _known_limits.get(key)
    if limits is None:
        if peer.trusted:
            eager_bytes = min(n_bytes, _LOCAL_EAGER_BYTES)
            limits = Limits(n_bytes, eager_bytes=eager_bytes, setting="LOCAL_MAX_MESSAGE_SIZE")
        else:
            limits = Limits(n_bytes)
        if len(_known_limits) >= _KNOWN_LIMITS_MAX:
            _known_limits.clear()
        _known_limits[key] = limits
    return limits


def features_of(channel: StreamChannel, host: Host | None) -> tuple[str, ...]:
    """Return what this end of a channel can do."""
    carries = can_carry(channel.sock) and channel.peer.trusted
    return (*FEATURES, *((DESCRIPTORS,) * carries), *(("objects",) if host else ()))

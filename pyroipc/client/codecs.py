"""Which serializers may be used on a connection, and the codecs of those that are used.

The one place where trust decides: a serializer whose loading can run code is only for a peer that
is verified local, whatever any setting says, and it is refused before it is even imported.
"""

from __future__ import annotations

from pyroipc.client.peers import peer_image
from pyroipc.errors import PyroError, SecurityError, SerializeError
from pyroipc.protocol.calls import CallCodec, refusal
from pyroipc.protocol.compression import FEATURE
from pyroipc.protocol.hello import BUFFERS
from pyroipc.serializers import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyroipc.client.references import References
    from pyroipc.protocol.calls import Encoded
    from pyroipc.protocol.hello import Hello
    from pyroipc.serializers.base import Serializer
    from pyroipc.settings import Settings
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.message import Message


class Codecs:
    """The codecs of one connection.

    Args:
        peer: what the kernel says about the other end.
        limit_bytes: how large a message may be, also when it is unpacked.
        compress_from: compress payloads of so many bytes or more; None: none.
    """

    __slots__ = (
        "_compress_from",
        "_limit_bytes",
        "_peer",
        "_references",
        "_theirs",
        "accepted",
        "by_key",
    )

    def __init__(
        self, peer: Peer, *, limit_bytes: int = 64 << 20, compress_from: int | None = None
    ) -> None:
        self._peer = peer
        self._limit_bytes = limit_bytes
        self._compress_from = compress_from
        self._theirs: Hello | None = None
        self._references: References | None = None
        self.by_key: dict[str | int, CallCodec] = {}
        """The codecs in use, by serializer name and by serializer id."""
        self.accepted: frozenset[str] = frozenset()
        """Names of the serializers that this end accepts."""
        self.accept(None)

    def accept(self, names: Iterable[str] | None) -> None:
        """Accept what the trust in the peer allows, narrowed to ``names`` unless that is None.

        Raises:
            SerializeError: a name is unknown.
        """
        allowed = _allowed(is_trusted=self._peer.trusted)
        if names is not None:
            wanted = names if isinstance(names, frozenset) else frozenset(names)
            for name in wanted:
                table.id_of(name)  # complains about what does not exist
            allowed = wanted if wanted <= allowed else allowed & wanted
        self.accepted = allowed
        self.by_key.clear()

    def greet(self, hello: Hello) -> None:
        """Take note of what the peer says about itself, also in codecs that are in use already."""
        self._theirs = hello
        for codec in set(self.by_key.values()):
            codec.bind(self._tuned(codec.serializer.name))
            self._measure(codec)

    def _measure(self, codec: CallCodec) -> None:
        """Tell a codec what both ends take: how much, and whether compressed."""
        limit, compress_from, puts_apart = self._limit_bytes, None, False
        theirs = self._theirs
        if theirs is not None:
            limit = min(limit, theirs.max_message_bytes or limit)
            compress_from = self._compress_from if FEATURE in theirs.features else None
            puts_apart = BUFFERS in theirs.features
        codec.measure(limit, compress_from, puts_apart=puts_apart)

    def refer(self, references: References) -> None:
        """Have objects that are registered go as references."""
        self._references = references

    def _tuned(self, name: str) -> Serializer:
        references = self._references
        classes_for = None if references is None else references.classes_for
        return table.get(name).for_connection(peer_image(self._theirs), references, classes_for)

    def get(self, key: str | int) -> CallCodec:
        """Return the codec of a serializer, by its name or by the id in a message.

        Raises:
            SecurityError: loading it may run code and the peer is not verified local, or this end
                does not accept it.
            SerializeError: it is unknown, its library is missing, or the peer does not accept it.
        """
        codec = self.by_key.get(key)
        if codec is None:
            name = key if isinstance(key, str) else table.name_of(key)
            self._check(name)
            references = self._references
            take_back = None if references is None else references.take_back
            codec = CallCodec(self._tuned(name), take_back, self._limit_bytes)
            self._measure(codec)
            self.by_key[name] = self.by_key[codec.serializer_id] = codec
        return codec

    def refusal(self, message: Message, error: BaseException) -> Encoded:
        """Encode the answer to a request whose serializer is not accepted, or that nobody runs."""
        return refusal(message.request_id, error)

    def default(self, settings: Settings) -> str:
        """Return the name of the serializer that the settings name for this peer."""
        return settings.LOCAL_SERIALIZER if self._peer.trusted else settings.SERIALIZER

    def _check(self, name: str) -> None:
        error: PyroError | None = None
        if table.trust_of(name) == "code" and not self._peer.trusted:
            error = SecurityError(
                f"serializer {name!r} is refused: what it loads can run code, and the peer is "
                f"not verified local ({self._peer.reason}). Use serpent, msgpack or json here: on "
                "this dialect tuples, sets, dataclasses and the like arrive as what they are; or "
                "connect over a unix socket"
            )
        elif name not in self.accepted:
            error = SecurityError(
                f"serializer {name!r} is not accepted here, only {_listed(self.accepted)}"
            )
        elif self._theirs is not None and name not in self._theirs.serializers:
            error = SerializeError(
                f"the peer does not accept serializer {name!r}, only "
                f"{_listed(self._theirs.serializers)}; choose one with proxy._pyroSerializer or "
                "with the settings SERIALIZER and LOCAL_SERIALIZER"
            )
        if error is not None:
            raise error


_allowed_names: dict[tuple[bool, tuple[str, ...]], frozenset[str]] = {}


def _allowed(*, is_trusted: bool) -> frozenset[str]:
    """Return the names of what trust allows; the same object for all connections."""
    names = table.names()
    key = is_trusted, tuple(names)
    found = _allowed_names.get(key)
    if found is None:
        _allowed_names.clear()
        found = _allowed_names[key] = frozenset(
            name for name in names if is_trusted or table.trust_of(name) == "data"
        )
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

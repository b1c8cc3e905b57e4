"""Which serializers may be used towards a peer that is Pyro, and their codecs.

What :mod:`pyroipc.client.codecs` says about trust holds here, too, with one exception: marshal,
which Pyro's users choose for its speed, may be used if it was named explicitly, in the list that a
daemon accepts or by a proxy. Its bytes can crash this process, but not run code in it.
"""

from __future__ import annotations

from pyroipc.client.codecs import Codecs, _listed
from pyroipc.errors import SecurityError, SerializeError
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.protocol.remote_errors import dump_error
from pyroipc.serializers import table
from pyroipc.serializers.exceptions import safe_text
from pyroipc.wire.message import ERROR, INTRODUCTION, RESPONSE, WELCOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyroipc.client.pyro.manner import PyroManner
    from pyroipc.client.references import References
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.protocol.hello import Hello
    from pyroipc.settings import Settings
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.message import Message
    from pyroipc.wire.pyro4 import Pyro4
    from pyroipc.wire.pyro5 import Pyro5

_MARSHAL = "marshal"
_REASON_MAX = 10_000
"""So many characters of why a client is not let in are sent, and read."""
_READ_BY = {"cloudpickle": "pickle", "dill": "pickle"}
"""In place of formats that a stranger shall not have us import: theirs read this one, too."""


class PyroCodecs(Codecs):
    """The codecs of one connection with a peer that is Pyro.

    Args:
        peer: what the kernel says about the other end.
        dialect: puts messages together.
        manner: how objects are described to the peer.
        limit_bytes: how large a message may be, also when it is unpacked.
        compress_from: compress payloads of so many bytes or more; None: none.
    """

    __slots__ = ("_dialect", "_ids", "_manner")

    def __init__(
        self,
        peer: Peer,
        dialect: Pyro4 | Pyro5,
        manner: PyroManner,
        *,
        limit_bytes: int,
        compress_from: int | None,
    ) -> None:
        self._dialect = dialect
        self._manner = manner
        self._ids: Mapping[str, int] = {name: key for key, name in dialect.serializers.items()}
        super().__init__(peer, limit_bytes=limit_bytes, compress_from=compress_from)

    def accept(self, names: Iterable[str] | None) -> None:
        """Accept what the trust in the peer allows, narrowed to ``names`` unless that is None.

        Raises:
            SerializeError: a name is unknown.
        """
        super().accept(names)
        accepted = self.accepted
        if names is not None and _MARSHAL in names:
            accepted |= {_MARSHAL}
        self.accepted = accepted.intersection(self._ids)

    def greet(self, hello: Hello) -> None:
        """Take no note: a peer of this kind does not say what it accepts."""

    def refer(self, references: References) -> None:
        """Take no note: nothing refers to objects over this connection."""

    def default(self, settings: Settings) -> str:
        """Return the name of the serializer that the settings name, as Pyro itself does."""
        return settings.SERIALIZER

    def get(self, key: str | int) -> CallCodec:
        """Return the codec of a serializer, by its name or by the id in a message.

        Raises:
            SecurityError: loading it may run code and the peer is not verified local.
            SerializeError: the peer has no such serializer, or this end does not accept it.
        """
        codec = self.by_key.get(key)
        if codec is None:
            if isinstance(key, str):
                name = key
                self._check_choice(name)
            else:
                name = self._dialect.serializers.get(key, "")
                if name not in self.accepted:
                    raise self._not_accepted(key, name)
            codec = self._make(name)
            self.by_key[name] = self.by_key[codec.serializer_id] = codec
        return codec

    def _make(self, name: str) -> CallCodec:
        return PyroCodec(
            self._dialect,
            table.get(name).for_pyro(self._manner),
            self._ids[name],
            limit_bytes=self._limit_bytes,
            compress_from=self._compress_from,
        )

    def _check_choice(self, name: str) -> None:
        """Refuse a serializer that was chosen at this end, and that cannot be used.

        Raises:
            SecurityError: loading it may run code and the peer is not verified local.
            SerializeError: the peer has no such serializer.
        """
        table.id_of(name)  # complains about what does not exist
        if name not in self._ids:
            raise SerializeError(
                f"{self._dialect.family} has no serializer {name!r}; it has "
                f"{_listed(self._ids)}. Choose one with proxy._pyroSerializer or with the setting "
                "SERIALIZER"
            )
        if name != _MARSHAL and table.trust_of(name) == "code" and not self._peer.trusted:
            raise SecurityError(self._refused(name))

    def _not_accepted(self, key: int, name: str) -> SecurityError | SerializeError:
        text = f"message used serializer that is not accepted: {key}"
        if not name:
            return SerializeError(f"{text}; accepted are {_listed(self.accepted)}")
        if table.trust_of(name) == "code" and name != _MARSHAL and not self._peer.trusted:
            return SecurityError(f"{text}. {self._refused(name)}")
        return SerializeError(f"{text} ({name}); accepted are {_listed(self.accepted)}")

    def _refused(self, name: str) -> str:
        return (
            f"serializer {name!r} is refused, whatever SERIALIZERS_ACCEPTED says: what it loads "
            f"can run code, and the peer is not verified local ({self._peer.reason}). Use "
            "serpent, json or msgpack (config.SERIALIZER, proxy._pyroSerializer), or connect over "
            "a unix socket or a socket pair; between two ends of pyroipc those three also keep "
            "tuples, sets and dataclasses"
        )

    def refusal(self, message: Message, error: BaseException) -> Encoded:
        """Encode the answer to a request that cannot be answered with its serializer.

        The answer uses it all the same, for the client reads nothing else: to write is safe. It is
        no more accepted after that.
        """
        if message.flags & INTRODUCTION:
            return self.failure(safe_text(error), message.request_id)
        number = message.serializer_id
        codec = self.by_key.get(number)
        if codec is None:
            name = self._dialect.serializers.get(number, "")
            try:
                codec = self._make(_READ_BY.get(name, name))
            except SerializeError:  # nobody knows it here
                codec = self._make("serpent")
                number = codec.serializer_id
        return self._dialect.encode(
            RESPONSE,
            number,
            ERROR,
            message.request_id,
            dump_error(error, codec.serializer),
            None,
            message.correlation_id,
        )

    def failure(self, text: str, request_id: int, serializer_id: int | None = None) -> Encoded:
        """Encode that a client is not let in.

        Args:
            text: why.
            request_id: of its introduction.
            serializer_id: that of the introduction, if it is accepted.
        """
        text = safe_text(text)[:_REASON_MAX]
        codec = None if serializer_id is None else self.by_key.get(serializer_id)
        if codec is None:
            from pyroipc.serializers.marshal_reader import write

            number, payload = self._ids[_MARSHAL], write(text)
        else:
            number, payload = codec.serializer_id, codec.dumps(text)
        flags = ERROR | INTRODUCTION
        return self._dialect.encode(WELCOME, number, flags, request_id, payload)

    def read_failure(self, message: Message, codec: CallCodec) -> str:
        """Read why this end is not let in.

        Args:
            message: the refusal, which is unpacked.
            codec: that of this end. Nothing else is read, but marshal by a reader of our own.

        Raises:
            SerializeError: it cannot be read.
        """
        if self._dialect.serializers.get(message.serializer_id) == _MARSHAL:
            from pyroipc.serializers.marshal_reader import read

            text = read(message.payload)
        elif message.serializer_id == codec.serializer_id:
            try:
                text = codec.loads(message.payload)
            except Exception as failure:
                raise codec.load_failed(failure) from failure
        else:
            text = None
        if not isinstance(text, str):
            raise SerializeError("the server refuses the connection, but says so unreadably")
        return text[:_REASON_MAX]

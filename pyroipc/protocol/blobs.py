"""``SerializedBlob``: an argument that dispatchers hand on without opening it.

On the wire of the native dialect a call with a blob is a request with the flag BLOB. Its payload
is the data, encoded as a value; the annotation ``BLBI`` holds ``(info, object id, member)``,
encoded with the same serializer. A blob that is handed on keeps its bytes and its serializer.

The data may go through any number of processes, so nothing in them may count on what the two ends
of one connection know of each other: they are encoded as for a stranger, without references to
registered objects.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyroipc.serializers.base import Buffer, Serializer

    class Reader(Protocol):
        """What reads the payload of a received blob; mostly a serializer."""

        def loads(self, data: Buffer) -> object:
            """Return the data."""
            ...


__all__ = ["BlobError", "SerializedBlob", "for_anyone"]


class _NoReferences:
    """What the data of a blob refer to: nothing."""

    types: frozenset[type] = frozenset()

    def encode(self, value: object) -> list[Any] | None:
        """Return None: every value travels itself.

        Raises:
            SerializeError: it cannot do that.
            BlobError: it is a blob.
        """
        if type(value) is SerializedBlob:
            raise BlobError
        if hasattr(type(value), "_pyroReference"):
            raise SerializeError("a proxy is of use on its own connection only, not in a blob")
        return None

    def decode(self, data: list[Any]) -> object:
        """Refuse.

        Raises:
            SerializeError: always.
        """
        raise SerializeError("the data of a blob cannot refer to objects of a connection")

    def why_not_carried(self) -> str | None:
        """Say why no descriptors go with the data of a blob."""
        return "the data of a blob are for anyone"

    def begin_to_carry(self) -> None:
        """Do nothing: it never comes to that."""

    def reduce(self, value: object) -> str | tuple[Any, ...]:
        """Return how pickle sends it."""
        return value.__reduce_ex__(5)

    def withdraw_reduced(self, reduced: object) -> None:
        """Do nothing."""

    def lend(self, passenger: object) -> None:
        """Say that nothing is lent."""

    def reduce_lent(self, passenger: object) -> None:
        """Say the same to pickle."""

    def take_back(self, dumps: Callable[..., object], *args: object) -> None:
        """Do nothing: nothing was counted."""


_NO_REFERENCES = _NoReferences()


def for_anyone(name: str) -> Serializer:
    """Return the serializer of this name in the form that serves blobs."""
    return table.get(name).for_connection(PeerImage(), _NO_REFERENCES)


class BlobError(SerializeError):
    """A blob stands where only its data could be encoded."""

    def __init__(self) -> None:
        super().__init__(
            "if SerializedBlob is used, it must be the only argument; it cannot be a result, nor "
            "a part of another value (return its deserialized() data)"
        )


class SerializedBlob:
    """Data that is serialized once, by whoever made it, and deserialized only where it is wanted.

    Pass it as the only argument of a remote method. The method gets a blob, too: it reads
    ``info``, and either calls :meth:`deserialized` or passes the blob on to another proxy.

    Args:
        info: small data for those who hand it on; anything that the serializer can send.
        data: the data itself.
        is_blob: of one that was received: ``data`` is its payload.
    """

    __slots__ = ("_data", "_is_blob", "_serializer", "info")

    def __init__(self, info: Any, data: Any, is_blob: bool = False) -> None:  # noqa: FBT001, FBT002 - Pyro's
        self.info = info
        self._data = data
        self._is_blob = is_blob
        self._serializer: Reader | None = None

    def bind(self, serializer: Reader) -> None:
        """Note with which serializer the payload was made."""
        self._serializer = serializer

    @property
    def serializer(self) -> Reader | None:
        """The serializer of a received blob; None for one that was made here."""
        return self._serializer

    @property
    def payload(self) -> Buffer | None:
        """The bytes of a received blob; None for one that was made here."""
        return self._data if self._is_blob else None

    @property
    def data(self) -> Any:
        """The data of a blob that was made here."""
        return None if self._is_blob else self._data

    def deserialized(self) -> Any:
        """Return the data.

        Raises:
            SerializeError: they cannot be deserialized.
        """
        if not self._is_blob:
            return self._data
        if self._serializer is None:
            raise SerializeError("this blob does not know how it was serialized")
        return self._serializer.loads(self._data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise BlobError

    def __repr__(self) -> str:
        what = f"{len(self._data)} bytes" if self._is_blob else type(self._data).__name__
        return f"<SerializedBlob {self.info!r}: {what}>"

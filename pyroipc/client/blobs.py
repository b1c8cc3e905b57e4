"""Blobs at the calling end: see :mod:`pyroipc.protocol.blobs`."""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.protocol.blobs import SerializedBlob, for_anyone
from pyroipc.protocol.pyro_calls import PyroCodec
from pyroipc.serializers.base import Serializer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec

__all__ = ["encode_blob", "find_blob"]


def find_blob(args: Sequence[Any], kwargs: dict[str, Any] | None) -> SerializedBlob | None:
    """Return the blob that is the argument of a call, or None.

    Raises:
        SerializeError: there is one beside other arguments.
    """
    given = [*args, *(kwargs or {}).values()]
    blobs = [value for value in given if type(value) is SerializedBlob]
    if not blobs:
        return None
    if len(given) > 1 or kwargs:
        raise SerializeError("if SerializedBlob is used, it must be the only argument")
    return blobs[0]


def encode_blob(
    codec: CallCodec, session: Session, blob: SerializedBlob, object_id: str, member: str
) -> tuple[CallCodec, bytes, dict[str, bytes]]:
    """Return the codec, the payload and the annotations of a call with a blob.

    A blob that was received keeps its serializer, whatever ``codec`` is.

    Raises:
        SerializeError: the data cannot be encoded, or the peer does not accept the serializer.
    """
    if isinstance(codec, PyroCodec):
        from pyroipc.protocol import pyro_blobs

        payload, annotations = pyro_blobs.encode(codec, blob, object_id, member)
        return codec, payload, annotations
    if not isinstance(blob.serializer, Serializer):  # made here, or received from a Pyro
        payload = for_anyone(codec.serializer.name).dumps(blob.deserialized())
    else:
        codec = session.codecs.get(blob.serializer.name)
        assert blob.payload is not None
        payload = bytes(blob.payload)
    return codec, payload, {"BLBI": codec.serializer.dumps([blob.info, object_id, member])}

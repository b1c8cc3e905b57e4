"""Blobs on the wire of Pyro's dialects: the data stand where the arguments of a call do.

A blob that was received holds a whole call, of which only the third part is looked at. It is
handed on as it is to a peer of the same dialect and serializer; for another one its data are
encoded anew.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers.marshal_reader import read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.protocol.blobs import SerializedBlob
    from pyroipc.protocol.pyro_calls import PyroCodec
    from pyroipc.serializers.base import Buffer
    from pyroipc.serializers.pyro import PyroForm

__all__ = ["BlobForm", "describe", "encode", "read_description"]

ANNOTATION = "BLBI"


class BlobForm:
    """How the payload of a received blob is read.

    Args:
        serializer: that of the connection it came over.
        dialect: of that connection.
    """

    __slots__ = ("_serializer", "key")

    def __init__(self, serializer: PyroForm, dialect: str) -> None:
        self._serializer = serializer
        self.key = dialect, serializer.name
        """Two blobs with the same key have the same form."""

    @property
    def name(self) -> str:
        """The name of the serializer."""
        return self._serializer.name

    def loads(self, data: Buffer) -> object:
        """Return the data.

        Raises:
            SerializeError: they cannot be deserialized.
        """
        return self._serializer.loads_blob(data)


def encode(
    codec: PyroCodec, blob: SerializedBlob, object_id: str, member: str
) -> tuple[bytes, dict[str, bytes]]:
    """Return the payload and the annotations of a call with a blob.

    Raises:
        SerializeError: the data, or its info, cannot be encoded.
    """
    form: Any = blob.serializer
    if blob.payload is not None and isinstance(form, BlobForm) and form.key == codec.blob_key:
        payload = bytes(blob.payload)
    else:
        payload = codec.form.dumps_blob(object_id, member, blob.deserialized())
    return payload, {ANNOTATION: describe(blob.info, object_id, member)}


def describe(info: object, object_id: str, member: str) -> bytes:
    """Encode what a blob is for.

    Raises:
        SerializeError: its info is no plain data.
    """
    try:
        return write((info, object_id, member))
    except SerializeError as error:
        raise SerializeError(
            f"the info of a blob goes to a Pyro as plain data, which {info!r:.100} is not: {error}"
        ) from None


def read_description(what: Buffer | None) -> tuple[Any, str, str]:
    """Return the info, object id and member of a blob.

    Raises:
        SerializeError: the annotation is missing, or nonsense.
    """
    if what is not None:
        match read(what):
            case (info, str(object_id), str(member)):
                return info, object_id, member
    raise SerializeError("a blob came without saying for which object and method it is")

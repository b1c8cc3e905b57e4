"""Blobs at the hosting end: arguments that are handed on without being opened."""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.protocol.blobs import SerializedBlob, for_anyone
from pyroipc.wire.message import FullMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.wire.message import Message

__all__ = ["receive_blob"]


def receive_blob(codec: CallCodec, message: Message) -> tuple[str, str, SerializedBlob]:
    """Return the object id and the member of a call, and its argument unopened.

    Raises:
        SerializeError: the annotation that says what is called is missing or wrong.
    """
    annotations = dict(message.annotations or {})
    what = annotations.pop("BLBI", None)
    if isinstance(message, FullMessage):
        message.annotations = annotations  # the user is shown his own
    described = codec.serializer.loads(what) if what is not None else None
    match described:
        case [info, str(object_id), str(member)]:
            blob = SerializedBlob(info, message.payload, is_blob=True)
            blob.bind(for_anyone(codec.serializer.name))
            return object_id, member, blob
    raise SerializeError("a blob came without saying for which object and method it is")

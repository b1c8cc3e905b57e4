"""What a connection keeps of an object of this end that its peer may call."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Exported"]


class Exported:
    """An object that peers may refer to.

    Args:
        object_id: its id over there.
        class_key: a number that is the same for all objects with the same members.
        entry: what the host needs to call it.
        target: the object; kept alive by the reference.
        origin: the entry as it is registered; for an instance of a registered class, that class's.
        uri: where others can reach it, or None.
    """

    __slots__ = ("class_key", "count", "entry", "object_id", "origin", "target", "uri")

    def __init__(
        self,
        object_id: str,
        class_key: int,
        entry: Any,
        target: object,
        origin: Any = None,
        uri: str | None = None,
    ) -> None:
        self.uri = uri
        self.object_id = object_id
        self.class_key = class_key
        self.entry = entry
        self.target = target
        self.origin = entry if origin is None else origin
        self.count = 0

"""What a client is owed: answers in their order, but that small ones pass by long ones.

A long message is given out chunk by chunk. What came after it goes between its chunks, unless it
belongs to the same call, or is a goodbye: those come when all before them has been sent.
"""

from __future__ import annotations

from pyroipc.wire.message import GOODBYE
from pyroipc.wire.native import HEADER_BYTES, LongMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.protocol.calls import Encoded
    from pyroipc.wire.message import Buffer

__all__ = ["Backlog"]


class Backlog(list["Encoded"]):
    """Messages that wait to be sent; any thread may add some, and one at a time takes some.

    A long message that is under way stays the first one until all of it was taken. It is a list,
    so that each call can look whether there is something without another frame.
    """

    __slots__ = ("_long", "_next", "launched")

    def __init__(self) -> None:
        super().__init__()
        self._long: LongMessage | None = None  # that is under way
        self._next = 0  # the number of its next chunk
        self.launched: list[LongMessage] = []
        """Messages whose descriptors have to go before what was taken away."""

    @property
    def is_long(self) -> bool:
        """Whether a long message is under way."""
        return self._long is not None

    def append(self, data: Encoded) -> None:
        """Add a message, if it is one: an answer may also be nothing."""
        if data:
            super().append(data)

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self.launched.clear()
        self._long = None

    def take(self) -> list[Buffer]:
        """Take away what is to be sent next: what is small, and one chunk of what is long."""
        parts: list[Buffer] = []
        try:
            while not parts and self:
                self._take_small(parts)
                self._take_chunk(parts)
        except IndexError:  # another thread has cleared it: the client is gone
            parts.clear()
        return parts

    def _take_chunk(self, parts: list[Buffer]) -> None:
        long = self._long
        if long is None:
            return
        if self._next < long.count:
            parts += long.chunk(self._next)
            self._next += 1
        else:
            self._long = None  # what has waited for its end may go now
            del self[0]

    def _take_small(self, parts: list[Buffer]) -> None:
        long = self._long
        tied = set() if long is None else {long.request_id}
        place = 0 if long is None else 1
        while place < len(self):
            data = self[place]
            if isinstance(data, LongMessage):
                if self._long is None:  # and so it is the first
                    self._long, self._next = data, 0
                    if data.waits_for_descriptors:
                        self.launched.append(data)
                tied.add(data.request_id)
                place += 1
                continue
            if tied:  # and so it is of the native dialect
                kind, request_id = _facts(data)
                if kind == GOODBYE or request_id in tied:
                    tied.add(request_id)
                    place += 1
                    continue
            del self[place]
            parts += (data,) if isinstance(data, bytes) else data


def _facts(data: bytes | list[Buffer]) -> tuple[int, int]:
    """Return kind and request id of an encoded message."""
    head = bytes(data[:HEADER_BYTES]) if isinstance(data, bytes) else bytes(data[0][:HEADER_BYTES])
    return head[6], int.from_bytes(head[24:28], "big")

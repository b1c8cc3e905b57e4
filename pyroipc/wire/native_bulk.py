"""Out-of-band buffers in the native dialect: they follow their message in frames of kind data.

A message says how many buffers it has, and how large they are; their bytes come behind it in any
number of frames of kind DATA, between which other messages may come, so that nobody waits for
longer than one of those takes. Only one message at a time may be waiting for its data.

A sender makes a :class:`LongMessage` of it, whose pieces are views of the sender's memory. A
receiver keeps an :class:`Assembly` until all has arrived: each buffer lands in memory of its own,
which somebody else provides (:class:`Landing`), and the bytes are received straight into it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from pyroipc.errors import MessageTooLargeError
from pyroipc.wire.message import DATA, ERROR, PAYLOAD
from pyroipc.wire.native_layout import HEADER, PREFIX, SIGNATURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol, TypeAlias

    from pyroipc.wire.message import Buffer, FullMessage, Message

    class Landing(Protocol):
        """The memory of one buffer that arrives."""

        def room(self, filled: int) -> memoryview:
            """Return writable memory for what comes after the first so many bytes, not empty.

            It may be less than what is missing. The same is asked for again if it was not filled.
            """
            ...

        def finish(self) -> Any:
            """Return the buffer as the message is to have it; all of it has arrived."""
            ...

    Land: TypeAlias = Callable[[int, int], Landing]
    """Takes memory for a buffer of this form and size; raises MemoryError if there is none."""
    Place: TypeAlias = tuple[int, int, int]
    """Number of a buffer, how much of it has arrived, and how much of all is missing."""

CHUNK_BYTES = 1 << 20
"""How much data go in one frame, at most: for so long others wait who want to send."""
_DATA_PREFIX = PREFIX.pack(SIGNATURE, DATA, 0, 0, 0, 0, 0)
_GIVEN_UP_PREFIX = PREFIX.pack(SIGNATURE, DATA, 0, ERROR, 0, 0, 0)


class LongMessage:
    """A message with out-of-band buffers or descriptors, encoded.

    Args:
        message: what it is.
        head: its frame, in pieces.
        views: its buffers, as bytes.
    """

    __slots__ = (
        "_data_bytes",
        "_head",
        "_head_bytes",
        "_starts",
        "_views",
        "chunk_bytes",
        "kind",
        "parcel",
        "request_id",
        "sent",
        "waits_for_descriptors",
    )

    def __init__(
        self, message: FullMessage, head: Sequence[Buffer], views: Sequence[memoryview]
    ) -> None:
        self.kind = message.kind
        self.request_id = message.request_id
        self.parcel = message.parcel
        """What holds the descriptors that belong to it; None: there are none."""
        self.waits_for_descriptors = bool(message.parcel)
        """Whether they are to be sent before anything else of it."""
        self._head = head
        self._head_bytes = sum(map(len, head))
        self._views = views
        self._starts = [0, *accumulate(map(len, views))]
        self._data_bytes = self._starts[-1]
        self.chunk_bytes = CHUNK_BYTES
        """How much data there are in a chunk."""
        self.sent = 0
        """How many chunks are in the socket; counted by whoever has sent the last of one."""

    def __len__(self) -> int:
        """Return how large the message is for its receiver: without the headers of the data."""
        return self._head_bytes + self._data_bytes

    def __iter__(self) -> Iterator[Buffer]:
        for number in range(self.count):
            yield from self.chunk(number)

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return max(1, -(-self._data_bytes // self.chunk_bytes))

    def chunk(self, number: int) -> list[Buffer]:
        """Return a part of what is to be sent; others may send before it and after it."""
        lot: list[Buffer] = [] if number else [*self._head]
        start = number * self.chunk_bytes
        stop = min(start + self.chunk_bytes, self._data_bytes)
        if start == stop:
            return lot
        lot.append(HEADER.pack(_DATA_PREFIX, self.request_id, stop - start))
        index = bisect_right(self._starts, start) - 1
        while start < stop:
            view = self._views[index][start - self._starts[index] : stop - self._starts[index]]
            if view:
                lot.append(view)
            start += len(view)
            index += 1
        return lot

    def give_up(self) -> bytes:
        """Return what tells the receiver that nothing more of this message comes."""
        return HEADER.pack(_GIVEN_UP_PREFIX, self.request_id, 0)


class Assembly:
    """A message of which data are still missing.

    What is said of Ctrl-C in :mod:`pyroipc.transports.stream` is true here as well: nothing has
    happened before the decoder has stored a new ``at``, and everything can be done again.

    Args:
        message: what has arrived.
        sizes: of its buffers.
        forms: of its buffers.
        land: provides the memory.
    """

    __slots__ = ("_forms", "_land", "_landings", "_sizes", "at", "message")

    def __init__(
        self, message: FullMessage, sizes: Sequence[int], forms: bytes, land: Land
    ) -> None:
        self.message = message
        self._sizes = sizes
        self._forms = forms
        self._land = land
        self._landings: dict[int, Landing] = {}
        self.at: Place = self._place(0, 0, sum(sizes))
        """Up to where the data have arrived; stored by the decoder."""

    def _place(self, index: int, filled: int, rest: int) -> Place:
        while index < len(self._sizes) and filled == self._sizes[index]:
            index, filled = index + 1, 0
        return index, filled, rest

    def _landing(self, index: int) -> Landing:
        landing = self._landings.get(index)
        if landing is None:
            n_bytes = self._sizes[index]
            try:
                landing = self._land(self._forms[index], n_bytes)
            except MemoryError:
                text = f"there is no memory for a buffer of {n_bytes} bytes"
                raise MessageTooLargeError(text) from None
            self._landings[index] = landing
        return landing

    def room(self, at: Place, most_bytes: int) -> memoryview:
        """Return writable memory for what comes next.

        Args:
            at: up to where data have arrived then; some are missing.
            most_bytes: so much at the most.

        Raises:
            MessageTooLargeError: there is none.
        """
        index, filled, _ = at
        missing = min(self._sizes[index] - filled, most_bytes)
        try:
            return self._landing(index).room(filled)[:missing]
        except MemoryError:
            text = f"there is no memory for a buffer of {self._sizes[index]} bytes"
            raise MessageTooLargeError(text) from None

    def after(self, at: Place, n_bytes: int) -> Place:
        """Return up to where data have arrived after so many more of one buffer."""
        index, filled, rest = at
        return self._place(index, filled + n_bytes, rest - n_bytes)

    def finish(self) -> FullMessage:
        """Return the message with its buffers; nothing is missing."""
        message = self.message
        buffers = [self._landing(index).finish() for index in range(len(self._sizes))]
        if self._forms[:1] == bytes([PAYLOAD]) and not isinstance(buffers[0], Lost):
            message.payload = buffers.pop(0)
        message.buffers = buffers
        return message


class Lost:
    """Stands for a buffer that was thrown away, because the receiver had no memory for it.

    Args:
        n_bytes: its size.
    """

    __slots__ = ("n_bytes",)

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes


def check_landed(message: Message) -> None:
    """See to it that all buffers of a message are there.

    Raises:
        MessageTooLargeError: there was no memory for one.
    """
    for buffer in message.buffers:
        if type(buffer) is Lost:
            raise MessageTooLargeError(
                f"the receiver has no memory for a buffer of {buffer.n_bytes} bytes; send it in "
                "pieces, or let the receiver have more"
            )


class PlainLanding:
    """A bytearray, for those who provide nothing else."""

    __slots__ = ("_memory",)

    def __init__(self, form: int, n_bytes: int) -> None:
        self._memory = bytearray(n_bytes)

    def room(self, filled: int) -> memoryview:
        """Return the memory behind the first so many bytes."""
        return memoryview(self._memory)[filled:]

    def finish(self) -> bytearray:
        """Return the memory."""
        return self._memory

"""Staging: the large arguments of a call pass through shared memory that is used again and again.

To a process that serves calls on a local connection, one copy into memory that both have mapped,
and one out of it, takes half the time or less of what the kernel needs to take the same bytes in
and give them out (``docs/project/benchmarks.md``). So the second call with large arguments lends
the peer a segment (:mod:`pyroipc.client.loans`), and from then on such arguments go there if they
fit, and the request only says where they are. What does not fit goes over the stream as ever, and
so do results: only the arguments of a call are known to have been read when its answer comes.

A request whose arguments are staged has the flag STAGED. At the end of its payload stand, for each
buffer, its form (1 byte), its place and its size (8 each), and then how many there are (2) and the
token of the segment (16). A receiver copies them before it looks at anything in them.
"""

from __future__ import annotations

import struct
import threading
import weakref
from time import monotonic

from pyroipc.client import janitor
from pyroipc.client.landing import land
from pyroipc.errors import CommunicationError, ProtocolError, SerializeError
from pyroipc.serializers.parts import BYTES
from pyroipc.transports.segments import SharedBuffer, make_segment
from pyroipc.wire.message import LENT, STAGED, FullMessage
from pyroipc.wire.native import JOIN_BYTES, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.loans import Loans
    from pyroipc.client.session import Session
    from pyroipc.serializers.parts import Parts
    from pyroipc.wire.message import Message

__all__ = ["SEGMENT_BYTES", "Berth", "Staging", "unstage"]

SEGMENT_BYTES = 8 << 20
"""How large the segment is; what is never used of it costs nothing."""
IDLE_SECONDS = 10.0
"""It is given back when it was not used for so long."""
_WORTH_IT = 2  # calls with large arguments
_ENTRY = struct.Struct(">BQQ")
_TAIL = struct.Struct(">H16s")


class Berth:
    """What one call has in the segment, until its answer is here.

    Args:
        staging: whose segment.
        start: where it begins in the segment.
        stop: where it ends.
    """

    __slots__ = ("_staging", "payload", "start", "stop")

    def __init__(self, staging: Staging, start: int, stop: int) -> None:
        self._staging = staging
        self.payload = b""
        """That of the request, with the places of the buffers."""
        self.start = start
        self.stop = stop

    def leave(self) -> None:
        """Give the room back: what was in it has been read, or was never sent."""
        self._staging.leave(self)

    def abandon(self) -> None:
        """Leave it for good: nobody knows whether it has been read yet."""
        self._staging.retire()


class Staging:
    """Where one end of a connection puts the large arguments of its calls; any thread.

    Args:
        session: not kept alive.
    """

    __slots__ = (
        "__weakref__",
        "_berths",
        "_calls",
        "_is_watched",
        "_lock",
        "_segment",
        "_session",
        "_used_at",
    )

    def __init__(self, session: weakref.ref[Session]) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._segment: SharedBuffer | None = None
        self._berths: list[Berth] = []  # in the order of their places
        self._calls = 0
        self._used_at = 0.0
        self._is_watched = False  # by the janitor

    def take(self, parts: Parts, limit_bytes: int) -> Berth | None:
        """Stage the buffers of a call; None: they go over the stream.

        Args:
            parts: the arguments.
            limit_bytes: how large a message may be.

        Raises:
            CommunicationError: the connection is of no more use.
        """
        session = self._session()
        if session is None or parts.parcel or len(parts) > min(SEGMENT_BYTES, limit_bytes // 2):
            return None
        segment = self._segment
        if segment is None:
            self._lend_one(session)
            return None
        if len(parts.payload) > JOIN_BYTES // 2 or not session.courier.loans.lends(segment):
            return None
        berth = self._berth(sum(map(len, parts.buffers)))
        if berth is not None:
            try:
                _fill(segment, berth, parts)
            except BaseException:
                berth.leave()
                raise
        return berth

    def _lend_one(self, session: Session) -> None:
        self._calls += 1
        if self._calls < _WORTH_IT or session.references.why_not_carried() is not None:
            return
        with self._lock:
            if self._segment is not None or self._calls < _WORTH_IT:
                return
            self._calls = -1 << 62  # not again, unless this succeeds
            try:
                segment = make_segment(SEGMENT_BYTES)
            except OSError:
                return
            self._segment = segment
        self._used_at = monotonic()
        try:
            session.courier.begin()
            offer = FullMessage(
                LENT,
                0,
                0,
                session.next_id(),
                segment.token + SEGMENT_BYTES.to_bytes(8, "big"),
                descriptors=1,
                parcel=(segment,),
            )
            session.post(encode(offer), None)
        except CommunicationError:
            self.retire()
            return
        except BaseException:  # a signal handler has raised: the next call tries again
            self.retire()
            self._calls = _WORTH_IT
            raise
        self._calls = _WORTH_IT
        if not self._is_watched:
            self._is_watched = True
            janitor.start()
            janitor.later_on(IDLE_SECONDS, _tidy, weakref.ref(self))

    def _berth(self, n_bytes: int) -> Berth | None:
        """Return free room; None: there is none."""
        with self._lock:
            start = index = 0
            for other in self._berths:
                if start + n_bytes <= other.start:
                    break
                start = other.stop
                index += 1
            if start + n_bytes > SEGMENT_BYTES:
                return None
            berth = Berth(self, start, start + n_bytes)
            self._berths.insert(index, berth)
            return berth

    def leave(self, berth: Berth) -> None:
        """Give room back: what was in it has been read, or was never sent."""
        with self._lock:
            if berth in self._berths:
                self._berths.remove(berth)
            self._used_at = monotonic()

    def retire(self) -> None:
        """Use another segment from now on: nobody knows who may still read in this one."""
        with self._lock:
            segment, self._segment = self._segment, None
            self._berths.clear()
        del segment  # not within the lock: the end of it tells the peer

    def tidy(self) -> bool:
        """Give the segment back if it was not used for long; say whether to look again."""
        with self._lock:
            segment = self._segment
            if segment is None or (
                not self._berths and monotonic() - self._used_at >= IDLE_SECONDS
            ):
                self._segment = None
            self._is_watched = self._segment is not None
        del segment
        return self._is_watched


def _tidy(staging: weakref.ref[Staging]) -> None:
    found = staging()
    if found is not None and found.tidy():
        janitor.later_on(IDLE_SECONDS, _tidy, staging)


def _fill(segment: SharedBuffer, berth: Berth, parts: Parts) -> None:
    """Copy the buffers to where they are to be read."""
    start = berth.start
    table = []
    for view, form in zip(parts.buffers, parts.forms, strict=True):
        stop = start + len(view)
        segment[start:stop] = view
        table.append(_ENTRY.pack(form, start, len(view)))
        start = stop
    tail = _TAIL.pack(len(table), segment.token)
    berth.payload = b"".join((parts.payload, *table, tail))


def unstage(message: Message, loans: Loans) -> FullMessage:
    """Return a request with the buffers that were staged, copied.

    Raises:
        ProtocolError: the places make no sense.
        SerializeError: the segment was not lent.
    """
    payload = memoryview(message.payload)
    try:
        token, begin, places = _places(payload)
        segment = loans.kept.get(token)
        if segment is None:
            raise SerializeError("the arguments lie in shared memory that was not lent")
        buffers = _copied(segment, places)
    except (struct.error, ValueError):
        raise ProtocolError("a request whose buffers are staged nowhere") from None
    flags = message.flags & ~STAGED
    return FullMessage(
        message.kind,
        message.serializer_id,
        flags,
        message.request_id,
        payload[:begin],
        annotations=message.annotations,
        correlation_id=message.correlation_id,
        time_limit=message.time_limit,
        buffers=buffers,
    )


def _places(payload: memoryview) -> tuple[bytes, int, list[tuple[int, int, int]]]:
    """Return the token of the segment, where the table begins, and form, start and size of each.

    Raises:
        ValueError: there are more places than there is payload.
    """
    count, token = _TAIL.unpack(payload[-_TAIL.size :])
    end = len(payload) - _TAIL.size
    begin = end - count * _ENTRY.size
    if begin < 0:
        raise ValueError("more places than there is payload")
    return token, begin, [*_ENTRY.iter_unpack(payload[begin:end])]


def _copied(segment: SharedBuffer, places: list[tuple[int, int, int]]) -> list[object]:
    """Copy the buffers out of the segment.

    Raises:
        ValueError: they are more than it holds.
    """
    if sum(n_bytes for _, _, n_bytes in places) > segment.n_bytes:
        raise ValueError("more than the segment holds")
    return [_landed(segment, *place) for place in places]


def _landed(segment: SharedBuffer, form: int, start: int, n_bytes: int) -> object:
    """Copy a buffer into memory of its own.

    Raises:
        ValueError: it does not lie in the segment.
        MemoryError: there is none.
    """
    if start + n_bytes > segment.n_bytes:
        raise ValueError("not in the segment")
    if form == BYTES:
        return segment[start : start + n_bytes]
    landing = land(form, n_bytes)
    with memoryview(segment) as whole:
        filled = 0
        while filled < n_bytes:
            room = landing.room(filled)
            taken = min(len(room), n_bytes - filled)
            room[:taken] = whole[start + filled : start + filled + taken]
            filled += taken
            room.release()
    return landing.finish()

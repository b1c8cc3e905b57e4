"""Loans: shared memory that both ends of a connection know, so that its name is enough.

When shared memory has come to this end as a descriptor, it is kept mapped, and the end that made
it is told. From then on that one names it by its token in the arguments of its calls: no
descriptor travels, nothing is mapped, and such a call costs little more than any other. When the
maker has no more use for the memory it says so, and the other end lets go of it. So nothing is
kept for longer than by whom it belongs to, and all of it goes with the conversation.

Only who made the memory lends it. If each end kept what the other one has passed on, the two
would hold each other's for ever. Results are not lent: a result may be gone before it is sent, and
then the word that it is gone could overtake it. The arguments of a call are held by the caller.
"""

from __future__ import annotations

import weakref
from functools import partial

from pyroipc.client import janitor, sharing
from pyroipc.errors import CommunicationError, PyroError, SerializeError
from pyroipc.serializers.passengers import is_held
from pyroipc.settings import config
from pyroipc.transports.segments import adopt_segment, made_segment, map_again
from pyroipc.wire.message import END, KEPT
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.transports.segments import SharedBuffer
    from pyroipc.wire.message import Message

__all__ = ["Loans"]

_KEPT_MAX = 32
_CONNECTIONS_MAX = 100
"""With more connections nothing is kept that the peer offers by itself: each takes descriptors."""
_PART_OF_LIMIT = 4  # of SHARED_MEMORY_MAX, for all that is kept on one connection
_TOKEN_BYTES = 16
_KEPT = plain_prefix(KEPT, 0, 0)
_RETURNED = plain_prefix(KEPT, 0, END)


class Loans:
    """The loans of one conversation, both ways; any thread.

    Args:
        session: not kept alive.
    """

    __slots__ = ("__weakref__", "_lent", "_session", "kept")

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._lent: set[bytes] = set()
        self.kept: dict[object, SharedBuffer] = {}
        """What the peer has lent, by its token."""

    # --- what the peer has made ------------------------------------------------------------------

    def keep(self, segment: SharedBuffer) -> bool:
        """Keep memory that the peer has made, if there is room, and tell it.

        Only where a loop receives all the time: nobody else would hear that it may go.
        """
        if segment.token in self.kept:
            return True
        session = self._session()
        if session is None or not session.is_served or made_segment(segment.token) is not None:
            return False  # the last: the peer is another thread
        n_bytes = sum(one.n_bytes for one in (segment, *self.kept.values()))
        if len(self.kept) >= _KEPT_MAX or n_bytes > config.SHARED_MEMORY_MAX // _PART_OF_LIMIT:
            return False
        self.kept[segment.token] = segment
        segment.on_gone.append(partial(_keep_on, weakref.ref(self)))
        janitor.start()
        janitor.later(_say, self._session, _KEPT, segment.token)
        return True

    def offered(self, message: Message) -> None:
        """Keep what the peer lends, if it is what it is said to be and there is room."""
        payload = bytes(message.payload)
        if message.parcel is None:
            return
        if len(payload) != _TOKEN_BYTES + 8 or len(sharing.sessions) > _CONNECTIONS_MAX:
            message.parcel.close()
            return
        token, n_bytes = payload[:_TOKEN_BYTES], int.from_bytes(payload[_TOKEN_BYTES:], "big")
        try:
            number = message.parcel.take(0)
            self.keep(adopt_segment(number, token, n_bytes, config.SHARED_MEMORY_MAX))
        except PyroError:
            pass  # then it is not kept, and large arguments go over the stream
        finally:
            message.parcel.close()

    @property
    def loans(self) -> Loans:
        """This: for whoever makes values of descriptors it is a parcel, numbered by tokens."""
        return self

    def take(self, token: object) -> int:
        """Complain about a token that means nothing here.

        Raises:
            SerializeError: always.
        """
        raise SerializeError(f"the peer names shared memory that it has not lent: {token!r:.50}")

    # --- what was made here ----------------------------------------------------------------------

    def lends(self, holder: Any) -> bool:
        """Say whether this is shared memory whose token is enough for the peer."""
        return getattr(holder, "token", None) in self._lent and is_held()

    def told(self, message: Message) -> None:
        """Take note that the peer keeps memory of this end, or need not keep its own any more.

        Nothing is sent here: whoever receives may be in the midst of sending.
        """
        token = bytes(message.payload[: _TOKEN_BYTES + 1])
        if message.flags & END:
            self.kept.pop(token, None)
            return
        janitor.start()
        segment = made_segment(token)
        if segment is not None and token not in self._lent:
            self._lent.add(token)
            segment.on_gone.append(partial(_gone, weakref.ref(self)))
        if (segment is None or segment.closed) and len(token) == _TOKEN_BYTES:
            janitor.later(_end, weakref.ref(self), token)

    def end(self, token: bytes) -> None:
        """Tell the peer that this end has no more use for memory that it has lent."""
        self._lent.discard(token)
        _say(self._session, _RETURNED, token)


def _gone(loans: weakref.ref[Loans], segment: SharedBuffer) -> None:
    janitor.later(_end, loans, segment.token)


def _keep_on(loans: weakref.ref[Loans], segment: SharedBuffer) -> None:
    """The user closes what is kept: that is his map, and the peer relies on ours."""
    found = loans()
    if found is not None and found.kept.get(segment.token) is segment:
        found.kept[segment.token] = again = map_again(segment)
        again.on_gone.append(partial(_keep_on, loans))


def _end(loans: weakref.ref[Loans], token: bytes) -> None:
    found = loans()
    if found is not None:
        found.end(token)


def _say(session: weakref.ref[Session], prefix: bytes, token: bytes) -> None:
    found = session()
    if found is not None and found.is_open:
        try:
            found.post(encode_plain(prefix, found.next_id(), token), None)
        except CommunicationError:
            pass  # then nothing is lent any more

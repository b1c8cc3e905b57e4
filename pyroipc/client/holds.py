"""What this end holds of objects of the peer, and how it lets go."""

from __future__ import annotations

import os
import weakref

from pyroipc.client import janitor
from pyroipc.errors import ConnectionClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.session import Session


class Hold:
    """What this end holds of an object of the peer; its proxy and the copies of that share it.

    When the last of them goes, the peer is told. That may be inside the garbage collector.

    Args:
        session: the connection; not kept alive.
        object_id: what the peer calls the object.
    """

    __slots__ = ("_object_id", "_pid", "_session", "conversation", "received")

    def __init__(self, session: Session, object_id: str) -> None:
        self._session = weakref.ref(session)
        self._object_id = object_id
        self._pid = os.getpid()
        self.conversation = session.references.conversation
        """The number of the conversation in which it came, and with which it ends."""
        self.received = 1
        """How often it came."""

    def check(self) -> None:
        """See to it that the conversation still goes on.

        Raises:
            ConnectionClosedError: it has ended, and the reference with it.
        """
        session = self._session()
        if session is None or session.references.conversation != self.conversation:
            error = ConnectionClosedError(
                f"the reference to {self._object_id!r} ended with the conversation in which it "
                "came; have the peer send it again"
            )
            error.call_status = "not sent"
            raise error

    def __del__(self) -> None:
        janitor.later(
            _release, self._session, self._object_id, self.received, self.conversation, self._pid
        )


def _release(
    session: weakref.ref[Session], object_id: str, count: int, conversation: int, pid: int
) -> None:
    alive = session()
    if alive is not None and pid == os.getpid():
        alive.references.release(alive, object_id, count, conversation)

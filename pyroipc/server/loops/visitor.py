"""One client of a network loop: what it sent, what it is owed, and how long it may take.

A visitor never makes the loop wait. Messages are decoded as their bytes arrive; what its socket
does not take of an answer is kept and sent when it does, and until then nothing more is read from
it. So a client that sends half a message, or reads no answers, has its own connection to blame.

Who reads: the leader of the loop, or a thread that runs a method of this client's and waits for
an answer of its own from it. Who writes: whichever thread has something to send.
"""

from __future__ import annotations

from pyroipc.client.conversation import BREAKING
from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.protocol.calls import refusal
from pyroipc.server.loops.runner import UNUSUAL, Runner
from pyroipc.transports.readiness import READ, WRITE
from pyroipc.wire.message import ONEWAY, REQUEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pyroipc.client.session import Session
    from pyroipc.errors import PyroError
    from pyroipc.protocol.calls import Encoded
    from pyroipc.server.loops.overload import Lanes
    from pyroipc.server.loops.runner import Circles
    from pyroipc.server.loops.streams import Streams
    from pyroipc.server.session import ServerSession
    from pyroipc.transports.spin import Spin
    from pyroipc.wire.message import Buffer, Message

    class Loop(Protocol):
        """What a visitor wants of its loop; all of it is for any thread."""

        threads: int
        circles: Circles
        lanes: Lanes

        def enqueue(self, visitor: Visitor, message: Message | None) -> None:
            """Run a message that another thread has received; None: its oneway calls."""

        def watch(self, visitor: Visitor) -> None:
            """Watch the socket for what the visitor ``wants`` now."""

        def now(self) -> float:
            """Return the time, by the monotonic clock."""

        def look_again(self, visitor: Visitor) -> None:
            """Have :meth:`Visitor.look_again` called in a few milliseconds."""


class Visitor(Runner):
    """A client.

    Args:
        loop: serves it.
        session: its connection.
        handler: runs its requests.
        streams: sends the items of the iterators that its methods return.
        oneway_queue: how many oneway calls may wait before nothing more is read.
        on_end: called once, when it is gone, by a thread that may run code of the user's.
    """

    __slots__ = (
        "_backlog",
        "_loop",
        "_on_end",
        "active_at",
        "came_at",
        "error",
        "fd",
        "has_ended",
        "has_more",
        "is_postponed",
        "is_read",
        "is_slow",
        "owes_since",
        "owner",
        "watched",
    )

    def __init__(
        self,
        loop: Loop,
        session: Session,
        handler: ServerSession,
        streams: Streams,
        *,
        oneway_queue: int,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(
            session,
            handler,
            streams,
            threads=loop.threads,
            oneway_queue=oneway_queue,
            circles=loop.circles,
        )
        self._loop = loop
        self._on_end = on_end
        self._backlog: list[Encoded] = []
        self.fd = session.channel.sock.fileno()
        self.is_read = True
        """Whether to read what it sends."""
        self.watched = 0
        """What its socket is watched for; kept by the loop."""
        self.came_at = self.active_at = loop.now()
        """When it came, and when a call of it last ended, by the monotonic clock."""
        self.owes_since: float | None = None
        """Since when it has taken nothing of what it was sent; None: it owes nothing."""
        self.is_slow: bool | None = None
        """Whether its last call took long; None: it has made none."""
        self.is_postponed = False
        """Whether a request of it waits for a thread."""
        self.owner: object = None
        """What it came through."""
        self.has_more = False
        """Whether something has been received that was not looked at yet."""
        self.has_ended = False
        self.error: PyroError | None = None
        """Why it is gone."""
        session.outgoing = self._put
        session.backlog = self._backlog

    @property
    def session(self) -> Session:
        """The connection."""
        return self._session

    @property
    def is_admitted(self) -> bool:
        """Whether it has said all that it has to say before it is served."""
        return self._session.peer_hello is not None and not self._handler.wants_handshake

    # --- in --------------------------------------------------------------------------------------

    def step(
        self, scratch: tuple[bytearray, memoryview], spin: Spin | None = None
    ) -> Message | None:
        """Receive what is there, without waiting; the caller leads the loop.

        Args:
            scratch: the memory to receive into, lent for the time of this call.
            spin: looks at the socket of this client for a moment; None: once is enough.

        Returns:
            A request to run; None: nothing now, or ``has_ended`` says that it is gone.
        """
        session = self._session
        decoder = session.decoder
        held = False
        try:
            for held in session.try_lead:  # noqa: B007 - see transports/stream.py
                break
            if not held or self.is_postponed or (self._lane and self.has_enough()):
                self._pause()
                return None
            decoder.borrow(scratch)
            if spin is not None and not self._look(spin):
                return None
            message = session.receive_request_now()
            while message is not None and message.flags & UNUSUAL and not self._admit(message):
                message = session.receive_request_now()
        except BREAKING as error:
            self._fail(error)
            return None
        finally:
            if held:
                self.has_more = decoder.buffered
                decoder.rest()
                session.lead.release()
                if session.waiters:
                    session.invite()
        if not session.is_open and session.peer_hello is not None:
            self.has_ended = True
            return None
        pending = session.channel.has_pending
        if pending is not None and pending():
            self.has_more = True
        return message

    def _look(self, spin: Spin) -> bool:
        """Say whether something is there, or arrives in a moment."""
        decoder = self._session.decoder
        try:
            return decoder.buffered or spin.look(decoder)
        except OSError:
            return True  # receiving again tells what it is

    def _fail(self, error: PyroError) -> None:
        self.error = self._session.broken(error)
        self.has_ended = True

    @property
    def wants(self) -> int:
        """What the socket is to be watched for: READ, WRITE or neither."""
        if self.owes_since is not None:
            return WRITE
        return READ if self.is_read and not self.has_ended else 0

    def _pause(self) -> None:
        """Read nothing for a moment: another thread reads, or there is enough to do."""
        self.is_read = False
        self._loop.watch(self)
        if not self.is_postponed:
            self._loop.look_again(self)

    def look_again(self) -> None:
        """Send what could not be sent, and read again, if that is possible now."""
        self.flush()
        if self.has_ended or self.is_postponed:
            return
        if self._session.lead.locked() or self.has_enough():
            self._loop.look_again(self)
        else:
            self.is_read = True
            self._loop.watch(self)

    def take(self, message: Message) -> None:
        """Take a request that a thread has received while it waited for an answer of its own."""
        if self.refuses_circle(message):
            return
        if self._admit(message):
            self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        self._loop.enqueue(self, message)

    def has_enough(self) -> bool:
        """Say whether so many requests wait that a sender should take no more meanwhile."""
        return len(self._lane) >= self._oneway_max

    def run_oneway(self) -> None:
        """Run the oneway calls that wait, if there is a thread for them and none does that yet."""
        lanes = self._loop.lanes
        while self._lane and self._lane_lock.acquire(blocking=False):
            try:
                if not lanes.enter(self):
                    return
                try:
                    self._run_lane()
                finally:
                    other = lanes.leave()
                    if other is not None:
                        self._loop.enqueue(other, None)
            finally:
                self._lane_lock.release()

    # --- out -------------------------------------------------------------------------------------

    def _put(self, data: Encoded) -> None:
        """Send something as far as it goes, and keep the rest; any thread."""
        self._backlog.append(data)
        self.flush()

    def flush(self) -> None:
        """Send what was kept, as far as that goes without waiting; any thread."""
        session = self._session
        channel = session.channel
        backlog = self._backlog
        while (backlog or channel.unsent) and not self.has_ended:
            if not session.sending.acquire(blocking=False):
                self._loop.look_again(self)
                return
            try:
                parts: list[Buffer] = []
                while backlog:
                    data = backlog.pop(0)
                    if isinstance(data, bytes):
                        parts.append(data)
                    else:
                        parts.extend(data)
                before = channel.offset
                if not channel.send_what_goes(parts):
                    self._owe(made_progress=channel.offset != before)
                    return
            except ConnectionClosedError:
                backlog.clear()  # whoever reads finds out why
                return
            finally:
                session.sending.release()
        if self.owes_since is not None:
            self.owes_since = None
            self._loop.watch(self)

    def _owe(self, *, made_progress: bool) -> None:
        """Read nothing more from a client that does not take what it was sent."""
        if self.owes_since is None or made_progress:
            self.owes_since = self._loop.now()
        self._loop.watch(self)

    # --- the end ---------------------------------------------------------------------------------

    def refuse(self, message: Message, error: PyroError) -> None:
        """Answer a request with an error: it was not begun."""
        if message.kind == REQUEST and not message.flags & ONEWAY:
            self._session.answer(refusal(message.request_id, error))

    def dismiss(self, reason: str) -> None:
        """Say goodbye, without waiting for the client to hear it."""
        self._session.leave(reason)
        self.has_ended = True

    def end(self) -> None:
        """Let everything go that lived as long as this client; may run code of the user's."""
        self.has_ended = True
        self._backlog.clear()
        try:
            self._on_end()
        finally:
            self._session.close()

    def cut_off(self, why: str) -> None:
        """End the connection of a client that takes too long."""
        self._fail(TimeoutError(why))

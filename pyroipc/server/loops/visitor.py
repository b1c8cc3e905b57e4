"""One client of a network loop: what it sent, what it is owed, and how long it may take.

A visitor never makes the loop wait. Messages are decoded as their bytes arrive; what its socket
does not take of an answer is kept and sent when it does, and until then nothing more is read from
it. So a client that sends half a message, or reads no answers, has its own connection to blame.

Who reads: the leader of the loop, or a thread that runs a method of this client's and waits for
an answer of its own from it. Who writes: whichever thread has something to send.
"""

from __future__ import annotations

from pyroipc.client.conversation import BREAKING
from pyroipc.errors import CommunicationError, ConnectionClosedError, TimeoutError
from pyroipc.server.loops.backlog import Backlog
from pyroipc.server.loops.runner import UNUSUAL, Runner, unexpected
from pyroipc.transports.readiness import READ, WRITE
from pyroipc.transports.stream import MSG_DONTWAIT
from pyroipc.wire.dialect import NATIVE, OtherDialectError
from pyroipc.wire.message import ONEWAY, REQUEST
from pyroipc.wire.native import LongMessage

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
    from pyroipc.wire.message import Message

    class Loop(Protocol):
        """What a visitor wants of its loop; all of it is for any thread."""

        threads: int
        circles: Circles
        lanes: Lanes
        gives_up_at: float

        def enqueue(self, visitor: Visitor, message: Message | None) -> None:
            """Run a message that another thread has received.

            None: its oneway calls, or let it end.
            """

        def watch(self, visitor: Visitor) -> None:
            """Watch the socket for what the visitor ``wants`` now."""

        def now(self) -> float:
            """Return the time, by the monotonic clock."""
            ...

        def look_again(self, visitor: Visitor) -> None:
            """Have :meth:`Visitor.look_again` called in a few milliseconds."""

        def resume(self, visitor: Visitor) -> None:
            """Watch the socket again, and have the visitor step in any case."""


_SENDING_SECONDS = 0.002
"""Whoever sends to a client does so without waiting, and so is done in a moment."""
_TURN_CALLS = 16
"""So many oneway calls of a client run, and then those of another one, if one waits."""
_AHEAD_MAX = 8
"""So many answers may wait behind a long one, and then nothing more is read."""
_CHUNKS_MAX = 2
"""So many chunks of a long answer are sent, and then it is somebody else's turn."""
_TURN_NOTES = 64
"""So much is heard from a client about its streams, and then others are listened to."""
_DISCARD_BYTES = 64 << 10
_DISCARDS_MAX = 16


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
        "_has_let_go",
        "_loop",
        "_on_end",
        "active_at",
        "backlog",
        "came_at",
        "error",
        "fd",
        "foreign",
        "has_ended",
        "has_more",
        "is_looked_after",
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
        self._has_let_go = False
        self.backlog = Backlog()
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
        self.is_looked_after = False
        """Whether the loop will look at it again in a moment; kept by the loop."""
        self.owner: object = None
        """What it came through."""
        self.has_more = False
        """Whether something has been received that was not looked at yet."""
        self.has_ended = False
        self.error: PyroError | None = None
        """Why it is gone."""
        self.foreign: OtherDialectError | None = None
        """What it has turned out to speak; then somebody who does takes its place."""

    @property
    def is_admitted(self) -> bool:
        """Whether it has said all that it has to say before it is served."""
        return self.session.peer_hello is not None and not self._handler.wants_handshake

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
        session = self.session
        decoder = session.decoder
        held = False
        try:
            for held in session.try_lead:  # noqa: B007 - see transports/stream.py
                break
            if (
                not held
                or self.is_postponed
                or (self.owes_since is not None and self._owes_too_much)
                or (self._lane and self.has_enough())
            ):
                self._pause()
                return None
            decoder.borrow(scratch)
            if spin is not None and not self._look(spin):
                return None
            message = session.receive_request_now()
            patience = _TURN_NOTES
            while message is not None and message.flags & UNUSUAL and not self._admit(message):
                patience -= 1
                message = session.receive_request_now() if patience else None
        except Exception as error:  # noqa: BLE001 - a mistake of ours costs one client, not all
            self._note_error(error)
            return None
        finally:
            if held:
                self.has_more = decoder.buffered
                decoder.rest()
                session.lead.release()
                if session.waiters:
                    session.invite()
        if session.channel.has_pending is not None:
            self.has_more |= session.channel.has_pending()
        if message is None:
            self._note_silence()
        return message

    def _note_error(self, error: Exception) -> None:
        """Take note of why nothing more can be received, or not in this dialect."""
        session = self.session
        may_speak_another = session.dialect == NATIVE and session.peer_hello is None
        if may_speak_another and isinstance(error, OtherDialectError):
            self.foreign = error
        else:
            self._fail(error if isinstance(error, BREAKING) else unexpected(error))

    def _note_silence(self) -> None:
        """Take note that there is no request: the client has left, or waits for something."""
        if self.session.has_left:
            self.has_ended = True
        elif self.backlog:
            self.flush()

    def _look(self, spin: Spin) -> bool:
        """Say whether something is there, or arrives in a moment."""
        decoder = self.session.decoder
        try:
            if self.session.channel.expects_descriptor:
                return True  # which the look would lose
            return decoder.buffered or spin.look(decoder)
        except OSError:
            return True  # receiving again tells what it is

    def _fail(self, error: PyroError) -> None:
        self.error = self.session.broken(error)
        self.has_ended = True

    @property
    def wants(self) -> int:
        """What the socket is to be watched for: READ, WRITE or neither."""
        reads = READ if self.is_read and not self.has_ended else 0
        if self.owes_since is not None:
            return WRITE if self._owes_too_much else WRITE | reads
        return reads

    @property
    def _owes_too_much(self) -> bool:
        """Whether nothing more is to be read before it has taken what it was sent.

        While a long answer is on its way, its other calls go on.
        """
        return self.owes_since is not None and not (
            self.backlog.is_long and len(self.backlog) <= _AHEAD_MAX
        )

    def _pause(self) -> None:
        """Read nothing for a moment: another thread reads, or there is enough to do."""
        self.is_read = False
        self._loop.watch(self)
        if not (self.is_postponed or self._owes_too_much):  # else somebody else resumes
            self._loop.look_again(self)

    def look_again(self) -> None:
        """Send what could not be sent, and read again, if that is possible now."""
        if self.has_ended:
            return
        try:
            self.flush()
            if self.has_ended or self.is_read or self.is_postponed or self._owes_too_much:
                return
            if self.session.lead.locked() or self.has_enough():
                self._loop.look_again(self)
            else:
                self._resume()
        except Exception as error:  # noqa: BLE001 - see step
            self.fail(error)

    def _resume(self) -> None:
        """Read again. What was received before the pause makes no socket readable."""
        self.is_read = True
        self._loop.resume(self)

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

    @property
    def has_oneway(self) -> bool:
        """Whether oneway calls wait."""
        return bool(self._lane)

    @property
    def is_waited_for(self) -> bool:
        """Whether a request of it waits for a thread, or a thread for an answer of this client."""
        return self.is_postponed or bool(self.session.waiters)

    def run_oneway(self) -> None:
        """Run the oneway calls that wait, if there is a thread for them and none does that yet."""
        lanes = self._loop.lanes
        while self._lane and lanes.enter(self):
            try:
                self._run_some(lanes)
            finally:
                other = lanes.leave(self)
                if other is not None:
                    self._loop.enqueue(other, None)
        if lanes.may_end(self):
            self._on_end()

    def _run_some(self, lanes: Lanes) -> None:
        """Run oneway calls until there are no more, or until somebody else has waited enough."""
        lane = self._lane
        n_calls = 0
        while lane and not (n_calls >= _TURN_CALLS and lanes.are_full):
            self._handle(lane.popleft())
            n_calls += 1

    def finish_oneway(self) -> None:
        """Run the oneway calls that wait, unless the loop gives them up."""
        lane = self._lane
        while lane and self._loop.now() < self._loop.gives_up_at:
            self._handle(lane.popleft())
        if lane:
            from pyroipc import logs

            logs.get("server").warning(
                "%d oneway calls were dropped, because the daemon stopped", len(lane)
            )
            lane.clear()

    # --- out -------------------------------------------------------------------------------------

    def put(self, data: Encoded) -> None:
        """Send something as far as it goes, and keep the rest; any thread."""
        self.backlog.append(data)
        if isinstance(data, LongMessage):
            self.session.channel.widen()
        # The welcome waits for the answer to the introduction that came with the hello, so that
        # both are one piece, and wake the client once.
        if self.is_slow is not None or not self.session.decoder.buffered:
            self.flush(_SENDING_SECONDS)

    def flush(self, patience: float = 0.0) -> None:
        """Send what was kept, as far as that goes without waiting; any thread.

        Args:
            patience: how long to wait for another thread that is just sending, in seconds.
        """
        session = self.session
        channel = session.channel
        backlog = self.backlog
        chunks = 0
        while (backlog or channel.unsent) and not self.has_ended:
            if not session.sending.acquire(timeout=patience):
                self._loop.look_again(self)
                return
            try:
                before = channel.offset
                parts = () if channel.unsent else backlog.take()
                while backlog.launched:
                    self._send_descriptors(backlog.launched.pop(0))
                if not channel.send_what_goes(parts):
                    self._owe(made_progress=channel.offset != before)
                    return
                chunks += 1
                if chunks >= _CHUNKS_MAX and backlog:  # others want to be served, too
                    self._owe(made_progress=True)
                    return
            except BREAKING:
                backlog.clear()  # whoever reads finds out why
                break
            finally:
                session.sending.release()
        if self.owes_since is not None:
            self.owes_since = None
            self._resume()

    def _send_descriptors(self, message: LongMessage) -> None:
        """Send the descriptors of an answer; if that is impossible, it tells the client so.

        Raises:
            CommunicationError: the connection is of no more use.
        """
        try:
            self.session.courier.send_now(message)
        except CommunicationError as error:
            if isinstance(error, BREAKING):
                raise

    def _owe(self, *, made_progress: bool) -> None:
        """Read nothing more from a client that does not take what it was sent."""
        if self.owes_since is None or made_progress:
            self.owes_since = self._loop.now()
        self._loop.watch(self)

    # --- the end ---------------------------------------------------------------------------------

    def refuse(self, message: Message, error: PyroError) -> None:
        """Answer a request with an error: it was not begun."""
        if message.kind == REQUEST and not message.flags & ONEWAY:
            self.session.answer(self.session.codecs.refusal(message, error))

    def dismiss(self, reason: str, *, busy: bool = False) -> None:
        """Say goodbye, without waiting for the client to hear it.

        Args:
            reason: for people.
            busy: some call of this client was begun and is not answered.
        """
        self.session.leave(reason, busy=busy)
        self.has_ended = True

    def end(self) -> None:
        """Let everything go that lived as long as this client; may run code of the user's.

        Only once. If a thread runs oneway calls of this client, it lets go what they may use.
        """
        if self._has_let_go:
            return
        self.has_ended = self._has_let_go = True
        self.backlog.clear()
        try:
            if self._loop.lanes.end(self):
                self._on_end()
        finally:
            self._close()

    def _close(self) -> None:
        """Close the connection, when no other thread is in the middle of receiving or sending."""
        session = self.session
        try:
            # What was sent arrives only if nothing is left that was not received.
            raw = getattr(session.channel.sock, "raw", session.channel.sock)
            for _ in range(_DISCARDS_MAX):
                if not raw.recv(_DISCARD_BYTES, MSG_DONTWAIT):
                    break
        except OSError:
            pass
        try:
            session.channel.sock.shutdown(2)  # whoever waits for it wakes up
        except OSError:
            pass
        locks = [lock for lock in (session.lead, session.sending) if lock.acquire(timeout=1.0)]
        try:
            session.close()
        finally:
            for lock in locks:
                lock.release()

    def fail(self, error: Exception) -> None:
        """End the connection because of a mistake of ours; any thread. Other clients go on."""
        try:
            self._fail(unexpected(error))
        except Exception as another:  # noqa: BLE001 - the same one, perhaps: it cannot be told
            unexpected(another)
            self.has_ended = True
        if not self._has_let_go:
            self._loop.enqueue(self, None)

    def turn_away(self, error: PyroError) -> None:
        """End the connection of a client that is not let in, and tell it why."""
        self.foreign = None
        self._fail(error)

    def give_up(self, error: OSError) -> None:
        """End the connection because this machine cannot serve it."""
        self._fail(ConnectionClosedError(f"the connection cannot be served: {error}"))

    def cut_off(self, why: str) -> None:
        """End the connection of a client that takes too long."""
        self._fail(TimeoutError(why))

"""A session: one connection that all threads of a process share, many calls in flight.

There is no reader thread. A thread that waits for an answer reads: the first one takes the lead
(a lock that it never waits for) and receives until its own answer is there; answers of others
that it meets on the way are handed to their threads, which sleep meanwhile as followers. A leader
that is done invites a follower to lead. So a call that is alone on its connection is one send and
one receive on the caller's own stack, and N threads have N calls in flight.

Every place where a signal handler may raise (Ctrl-C) leaves the session in step: what was
received but not yet handed on stays in ``arrived`` for the next leader, and an answer that
nobody waits for any more is dropped by its id.
"""

from __future__ import annotations

import threading
from itertools import repeat
from time import monotonic
from weakref import WeakSet

from pyroipc.client import sharing
from pyroipc.client.conversation import Conversation, ConversationEndedError
from pyroipc.client.peers import fresh_copy
from pyroipc.errors import ConnectionClosedError, ProtocolError, PyroError, TimeoutError
from pyroipc.protocol import state as states
from pyroipc.protocol.calls import refusal
from pyroipc.settings import config
from pyroipc.transports.stream import WokenError
from pyroipc.wire.message import (
    GOODBYE,
    HELLO,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    WELCOME,
    Message,
)
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket

    from pyroipc.protocol.calls import Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel

NO_WAIT = False  # the argument of Lock.acquire that makes it a try
_ANSWERS = (RESPONSE, WELCOME, PONG)
_FOLLOW_SECONDS = 1.0
"""A follower looks for itself whether somebody leads, at least this often."""


class _Waiter:
    """A follower: sleeps on ``bell`` until its answer is there or it is invited to lead."""

    __slots__ = ("bell", "error", "message")

    def __init__(self) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()
        self.message: Message | None = None
        self.error: PyroError | None = None

    def wake(self) -> None:
        """End the sleep, or make the next one end at once."""
        try:
            self.bell.release()
        except RuntimeError:
            pass  # it is awake already


class Session(Conversation):
    """One connection for any number of threads.

    Args:
        channel: a connected channel that nobody else reads.
        settings: read now; later changes do not matter.
    """

    __slots__ = (
        "_abandoned",
        "_users",
        "arrived",
        "lead",
        "receive",
        "try_lead",
        "try_sending",
        "waiters",
    )

    def __init__(self, channel: StreamChannel, settings: Settings = config) -> None:
        super().__init__(channel, settings)
        self.receive = channel.receive
        self.arrived: Message | None = None
        """Received, and not handed on yet."""
        self.waiters: dict[int, _Waiter] = {}
        self._abandoned: set[int] = set()  # requests whose answers may still come
        self._users: WeakSet[object] = WeakSet()  # proxies
        sharing.sessions.add(self)

    def _make_locks(self) -> None:
        super()._make_locks()
        self.lead = threading.Lock()  # who holds it may receive
        self.try_lead = map(self.lead.acquire, repeat(NO_WAIT))
        self.try_sending = map(self.sending.acquire, repeat(NO_WAIT))

    # --- calls -------------------------------------------------------------------------------

    def exchange(self, request_id: int, data: Encoded, deadline: float | None) -> Message:
        """Send a message and wait for its answer.

        Raises:
            ConnectionClosedError, ProtocolError: the connection is of no more use.
            TimeoutError: the deadline passed; the connection stays in step.
        """
        try:
            if isinstance(data, bytes):
                message = self._exchange_as_leader(request_id, data, deadline)
                if message is not None:
                    return message
            return self._exchange_as_follower(request_id, data, deadline)
        except ConversationEndedError as ended:
            raise ended.error from None
        except (ConnectionClosedError, ProtocolError) as error:
            raise self.broken(error) from None
        except BaseException:  # a deadline, or a signal handler such as that of Ctrl-C
            self._abandon(request_id)
            raise

    def _exchange_as_leader(
        self, request_id: int, data: bytes, deadline: float | None
    ) -> Message | None:
        """Send and receive, if nobody else does either; None if that is not so: nothing was sent.

        A leader must not wait for the peer to read, because nobody would receive meanwhile. So
        only what the socket takes at once is sent here.
        """
        held = False
        try:
            for held in self.try_lead:  # noqa: B007 - see transports/stream.py
                break
            if held and self._send_at_once(data):
                return self._await_answer(request_id, deadline)
            return None
        finally:
            if held:
                self.lead.release()
                if self.waiters:
                    self.invite()

    def _send_at_once(self, data: bytes) -> bool:
        """Send a small message, if no other thread sends and the socket takes it right now."""
        held = False
        try:
            for held in self.try_sending:  # noqa: B007
                break
            return held and self.channel.send_now(data)
        finally:
            if held:
                self.sending.release()

    def _abandon(self, request_id: int) -> None:
        """Note that an answer may still come; until then this session must not be forgotten."""
        self._abandoned.add(request_id)
        sharing.unquiet.add(self)

    def _await_answer(self, request_id: int, deadline: float | None) -> Message:
        """As the leader, receive until the answer to this request is there."""
        decoder = self.decoder
        while True:
            message = self.arrived
            if message is None:
                if not (decoder.buffered or decoder.received):
                    try:
                        self.receive(deadline)
                    except WokenError:
                        continue  # it was meant for a server loop that shares this session
                self.arrived = decoder.advance()
            elif message.request_id == request_id and message.kind in _ANSWERS:
                self.arrived = None
                return message
            else:
                self._hand_on(message)

    def _exchange_as_follower(
        self, request_id: int, data: Encoded, deadline: float | None
    ) -> Message:
        waiter = self.waiters[request_id] = _Waiter()
        try:
            self.send(data, deadline)
            while True:
                message = self._lead_or_follow(request_id, waiter, deadline)
                if message is not None:
                    return message
        finally:
            self.waiters.pop(request_id, None)
            if self.waiters and not self.lead.locked():
                self.invite()  # in case the invitation to lead was ours

    def _lead_or_follow(
        self, request_id: int, waiter: _Waiter, deadline: float | None
    ) -> Message | None:
        held = False
        try:
            for held in self.try_lead:  # noqa: B007
                break
            if waiter.error is not None:
                raise ConversationEndedError(waiter.error)
            if waiter.message is not None:
                return waiter.message
            if held:
                return self._await_answer(request_id, deadline)
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                self.lead.release()
                if self.waiters:
                    self.invite()
        seconds = _FOLLOW_SECONDS
        if deadline is not None:
            seconds = min(seconds, deadline - monotonic())
            if seconds <= 0:
                raise TimeoutError("the deadline passed while waiting for the answer")
        waiter.bell.acquire(timeout=seconds)
        return None

    def invite(self) -> None:
        """Wake a follower that still has no answer, so that it leads."""
        for waiter in list(self.waiters.values()):
            if waiter.message is None and waiter.error is None:
                waiter.wake()
                return

    def post(self, data: Encoded, deadline: float | None) -> None:
        """Send a message that has no answer.

        Raises:
            ConnectionClosedError: the connection is of no more use.
            TimeoutError: the peer did not read until the deadline.
        """
        try:
            self.send(data, deadline)
        except ConversationEndedError as ended:
            raise ended.error from None
        except ConnectionClosedError as error:
            raise self.broken(error) from None

    def answer(self, data: Encoded) -> None:
        """Send the answer to a request; if the peer is gone, the next receive finds out why."""
        try:
            if not (isinstance(data, bytes) and self._send_at_once(data)):
                self.send(data)
        except (ConnectionClosedError, ConversationEndedError):
            pass

    # --- what arrives beside answers -----------------------------------------------------------

    def receive_request(self, deadline: float | None = None) -> Message:
        """Receive the next request; the caller holds the lead.

        Raises:
            ConnectionClosedError: the stream ended.
            ProtocolError: the peer broke the rules.
            TimeoutError: the deadline passed.
            WokenError: the channel was woken.
        """
        decoder = self.decoder
        while True:
            message = self.arrived
            if message is None:
                if not (decoder.buffered or decoder.received):
                    self.receive(deadline)
                self.arrived = decoder.advance()
            elif message.kind == REQUEST and self.is_open:
                self.arrived = None
                return message
            else:
                try:
                    self._hand_on(message)
                except ConversationEndedError:
                    pass  # the stream may carry another conversation

    def _receive_meanwhile(self) -> bool:
        """Receive while the peer takes nothing; False if another thread does that.

        The caller is sending, so nothing may be sent in answer here: a message that wants that
        is left where it is, for the next leader.
        """
        held = False
        try:
            for held in self.try_lead:  # noqa: B007
                break
            if not held:
                return False
            while True:
                message = self.arrived
                if message is None:
                    self.arrived = message = self.decoder.advance()
                    if message is None and not self.channel.receive_now():
                        return True
                elif message.kind == HELLO or message.kind == PING:
                    return False
                elif message.kind == REQUEST and self.has_enough is not None and self.has_enough():
                    return False  # of a peer that asks and asks, and reads no answer
                else:
                    self._hand_on(message)
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                self.lead.release()
                if self.waiters:
                    self.invite()

    def _hand_on(self, message: Message) -> None:
        """Deal with a message that is not what the leader waits for."""
        kind = message.kind
        if kind == HELLO:
            self._greeted(message)
        elif kind == GOODBYE:
            self.arrived = None
            self._left(message)
        else:
            event = states.RECEIVE_WELCOME if kind == WELCOME else states.RECEIVE_CALL
            state = states.after(self._state, event)
            if state == states.IDLE and kind == REQUEST:
                self.send(refusal(message.request_id, ProtocolError(_NO_CONVERSATION)))
            elif state != states.LEFT:
                self._dispatch(message)
        self.arrived = None

    def _dispatch(self, message: Message) -> None:
        if message.kind in _ANSWERS:
            waiter = self.waiters.get(message.request_id)
            if waiter is not None:
                waiter.message = message
                waiter.wake()
            else:
                self._drop_late_answer(message.request_id)
        elif message.kind == PING:
            self.send(encode_plain(_PONG, message.request_id, bytes(message.payload[:64])))
        elif message.kind == REQUEST:
            if self.on_request is None:
                raise ProtocolError("the peer sent a request, but this end hosts no objects")
            self.on_request(message)
        # CANCEL comes too late here: what was received is run. CREDIT and ITEM are for later.

    def _drop_late_answer(self, request_id: int) -> None:
        self._abandoned.discard(request_id)
        if not self._abandoned:
            sharing.unquiet.discard(self)

    def retain(self, user: object) -> None:
        """Note that a proxy uses this session, until it releases it or is gone."""
        self._users.add(user)

    def release(self, user: object) -> None:
        """Say goodbye if this end has no more use for the conversation."""
        self._users.discard(user)
        if not self._users and self.on_request is None:
            self.leave("its proxies were released")

    def disown(self) -> None:
        """In a forked child: this connection is the parent's; have nothing to do with it."""
        self.waiters = {}
        self.arrived = None
        super().disown()

    def _fail_calls(self, error: PyroError) -> None:
        for waiter in list(self.waiters.values()):
            if waiter.message is None:
                waiter.error = fresh_copy(error)
                waiter.wake()


_PONG = plain_prefix(PONG, 0, 0)
_NO_CONVERSATION = "no conversation is going on; it begins with a hello"


def session_for(sock: socket.socket, settings: Settings = config) -> Session:
    """Return the session of a connected socket that the user lent, the same for all its proxies.

    The socket is never closed or changed. The session lives as long as somebody uses it.
    """
    return sharing.shared_session(Session, sock, settings)

"""How a thread sends a request and waits for its answer, beside others that do the same.

There is no reader thread. A thread that waits for an answer reads: the first one takes the lead
(a lock that it never waits for) and receives until its own answer is there; answers of others
that it meets on the way are handed to their threads, which sleep meanwhile as followers. A leader
that is done invites a follower to lead. So a call that is alone on its connection is one send and
one receive on the caller's own stack, and N threads have N calls in flight.

Every place where a signal handler may raise (Ctrl-C) leaves the session in step: what was
received but not yet handed on stays in ``arrived`` for the next leader, and an answer that
nobody waits for any more is dropped by its id.

A request that the peer makes on behalf of a call (NESTED) is run by the thread that waits for that
call, so that two objects that call each other neither deadlock nor lose the locks they hold.
"""

from __future__ import annotations

import threading
from itertools import repeat

from pyroipc.client import sharing
from pyroipc.client.conversation import BREAKING, Conversation, ConversationEndedError
from pyroipc.client.waiters import Waiter
from pyroipc.errors import ConnectionClosedError, ProtocolError, TimeoutError
from pyroipc.protocol import state as states
from pyroipc.protocol.calls import drop_parent, parent_of
from pyroipc.transports.stream import PartlySentError, WokenError
from pyroipc.wire.message import (
    GOODBYE,
    HELLO,
    NESTED,
    OFFER,
    PING,
    PONG,
    REQUEST,
    RESPONSE,
    STREAM,
    WELCOME,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.errors import PyroError
    from pyroipc.protocol.calls import Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel
    from pyroipc.wire.message import Buffer, Message

NO_WAIT = False  # the argument of Lock.acquire that makes it a try
_TRIES = repeat(NO_WAIT)
ANSWERS = (RESPONSE, WELCOME, PONG)
FOLLOW_SECONDS = 1.0
"""A follower looks for itself whether somebody leads, at least this often."""
_WANTING = (HELLO, PING, OFFER)
"""What is answered at once."""
NO_OBJECTS = "this end hosts no objects"
_SHORT_BYTES = 60 << 10
_NO_CONVERSATION = "no conversation is going on; it begins with a hello"


class Exchange(Conversation):
    """A conversation in which any number of threads make calls.

    Args:
        channel: a connected channel that nobody else reads.
        settings: read now; later changes do not matter.
    """

    __slots__ = (
        "_abandoned",
        "arrived",
        "lead",
        "receive",
        "try_lead",
        "try_sending",
        "waiters",
    )

    def __init__(self, channel: StreamChannel, settings: Settings) -> None:
        super().__init__(channel, settings)
        self.receive = channel.receive
        self.arrived: Message | None = None
        """Received, and not handed on yet."""
        self.waiters: dict[int, Waiter] = {}
        """The threads that wait, by the id of what they wait for."""
        self._abandoned: set[int] | None = None  # requests whose answers may still come

    def _make_locks(self) -> None:
        super()._make_locks()
        self.lead = threading.Lock()  # who holds it may receive
        self.try_lead = map(self.lead.acquire, _TRIES)
        self.try_sending = map(self.sending.acquire, _TRIES)

    def _expect_items(self, request_id: int) -> None:
        """Prepare for the items of a stream that an answer has opened."""
        raise NotImplementedError

    def _forget_items(self, request_id: int) -> None:
        """Close a stream that nobody will read, if this request has opened one."""
        raise NotImplementedError

    def _dispatch(self, message: Message) -> None:
        """Give a message of a conversation that is going on to whom it concerns."""
        raise NotImplementedError

    def exchange(self, request_id: int, data: Encoded, deadline: float | None) -> Message:
        """Send a message and wait for its answer.

        Raises:
            ConnectionClosedError, ProtocolError: the connection is of no more use.
            TimeoutError: the deadline passed; the connection stays in step.
        """
        try:
            if isinstance(data, list):
                data = _joined(data)
            if isinstance(data, bytes):
                message = self._exchange_as_leader(request_id, data, deadline)
                if message is not None:
                    return message
                if request_id in self.waiters:  # it was sent, or begun to be
                    data = []
            return self._exchange_as_follower(request_id, data, deadline)
        except ConversationEndedError as ended:
            raise ended.error from None
        except BREAKING as error:
            raise self._why(error) from None
        except BaseException:  # a deadline, or a signal handler such as that of Ctrl-C
            self._abandon(request_id)
            raise

    def _exchange_as_leader(
        self, request_id: int, data: bytes, deadline: float | None
    ) -> Message | None:
        """Send and receive, if nobody else does either; None if that is not so: nothing was sent.

        A leader must not wait for the peer to read, because nobody would receive meanwhile. So
        only what the socket takes at once is sent here. None is also returned if that was a part
        of it, or if this thread has to run a request of the peer first; it then has a waiter.
        """
        held = False
        try:
            for held in self.try_lead:  # noqa: B007 - see transports/stream.py
                break
            if held and self._send_at_once(data):
                return self._await_answer(request_id, deadline)
        except PartlySentError:
            self.waiters[request_id] = Waiter()
        finally:
            if held:
                self.lead.release()
                if self.waiters and (len(self.waiters) > 1 or request_id not in self.waiters):
                    self.invite()
        return None

    def _send_at_once(self, data: bytes) -> bool:
        """Send a small message, if no other thread sends and the socket takes it right now."""
        held = False
        try:
            for held in self.try_sending:  # noqa: B007
                break
            if not held or (self.outbox is not None and self.outbox.backlog):
                return False
            return self.channel.send_now(data)
        finally:
            if held:
                self.sending.release()

    def _abandon(self, request_id: int) -> None:
        """Note that an answer may still come; until then this session must not be forgotten."""
        waiter = self.waiters.pop(request_id, None)
        if waiter is not None:
            waiter.left = True
            self._pass_on(waiter)
        self._forget_items(request_id)
        freight = self._freight
        if freight is not None and request_id in freight.taken_back:
            freight.taken_back.discard(request_id)
            return  # the peer has never seen it
        if self._abandoned is None:
            self._abandoned = set()
        self._abandoned.add(request_id)
        sharing.unquiet.add(self)

    def _await_answer(self, request_id: int, deadline: float | None) -> Message | None:
        """As the leader, receive until the answer to this request is there.

        None: the peer has made a request on behalf of this one, which this thread is to run.
        """
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
            elif message.request_id == request_id and message.kind in ANSWERS:
                if message.flags & STREAM:  # its first items may be the next thing that comes
                    self._expect_items(request_id)
                self.arrived = None
                if decoder.buffered:
                    self._hand_on_rest()
                return message
            elif message.kind == REQUEST and message.flags & NESTED and self.is_open:
                if parent_of(message) != request_id:
                    self._hand_on(message)
                    continue
                # Whoever leads while this thread runs the request finds a waiter for its answer.
                waiter = self.waiters.get(request_id) or Waiter()
                self.waiters[request_id] = waiter
                drop_parent(message)
                waiter.work.append(message)
                self.arrived = None
                return None
            else:
                self._hand_on(message)

    def _hand_on_rest(self) -> None:
        """Hand on what came together with an answer: nobody may receive for a long while now.

        An answer that nobody is known to wait for is left to the next leader: its request may have
        been sent ahead, by somebody who is yet to wait.
        """
        try:
            while self.decoder.buffered:
                self.arrived = message = self.decoder.advance()
                if message is None or (message.kind in ANSWERS and not self._is_awaited(message)):
                    return
                if message.kind == GOODBYE:  # for whoever calls next: his call was not begun
                    return
                self._hand_on(message)
        except ConversationEndedError:
            pass  # the answer came before
        except BREAKING as error:
            self.broken(error)

    def _is_awaited(self, message: Message) -> bool:
        """Say whether it is known who waits for an answer, or that nobody does any more."""
        abandoned = self._abandoned
        return message.request_id in self.waiters or (
            abandoned is not None and message.request_id in abandoned
        )

    def _exchange_as_follower(
        self, request_id: int, data: Encoded, deadline: float | None
    ) -> Message:
        waiter = self.waiters.get(request_id) or Waiter()
        self.waiters[request_id] = waiter
        try:
            if data or self.channel.unsent:
                self.send_waiting(data, deadline)
            while True:
                while waiter.work:
                    if self.host is None:
                        self._refuse(waiter.work.pop(0))
                    else:
                        waiter.busy = True
                        self.host.run_nested(waiter.work.pop(0))
                        waiter.busy = False
                message = self._lead_or_follow(request_id, waiter, deadline)
                if message is not None:
                    return message
        finally:
            self.waiters.pop(request_id, None)
            waiter.left = True
            if waiter.work:
                self._pass_on(waiter)
            if self.waiters and not self.lead.locked():
                self.invite()  # in case the invitation to lead was ours

    def _refuse(self, message: Message) -> None:
        """Answer a request that nobody here can run."""
        self.send(self.codecs.refusal(message, ProtocolError(NO_OBJECTS)))

    def _pass_on(self, waiter: Waiter) -> None:
        """Give the requests that a waiter was to run to whoever runs requests otherwise."""
        while waiter.work:
            try:
                message = waiter.work.pop(0)
            except IndexError:
                return  # another thread does the same
            if self.host is None:
                self._refuse(message)
            else:
                self.host.take(message)

    def _lead_or_follow(
        self, request_id: int, waiter: Waiter, deadline: float | None
    ) -> Message | None:
        # Return the answer; None if it is to be tried again, after the work of the waiter.
        held = False
        try:
            for held in self.try_lead:  # noqa: B007
                break
            if waiter.error is not None:
                raise ConversationEndedError(waiter.error)
            if waiter.message is not None:
                return waiter.message
            if waiter.work:
                return None
            if held:
                return self._await_answer(request_id, deadline)
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                self.lead.release()
                if len(self.waiters) > 1:
                    self.invite()
        if not waiter.sleep(FOLLOW_SECONDS, deadline):
            raise TimeoutError("the deadline passed while waiting for the answer")
        return None

    def invite(self) -> None:
        """Wake a follower that still has no answer, so that it leads."""
        for waiter in list(self.waiters.values()):
            idle = not (waiter.work or waiter.busy)
            if idle and waiter.message is None and waiter.error is None:
                waiter.wake()
                return

    def post(self, data: Encoded, deadline: float | None) -> None:
        """Send a message that has no answer.

        Raises:
            ConnectionClosedError: the connection is of no more use.
            TimeoutError: the peer did not read until the deadline.
        """
        try:
            if isinstance(data, list):
                data = _joined(data)
            if not (isinstance(data, bytes) and self._send_at_once(data)):
                self.send(data, deadline)
        except PartlySentError:
            self.post([], deadline)
        except ConversationEndedError as ended:
            raise ended.error from None
        except BREAKING as error:
            raise self._why(error) from None

    def _why(self, error: PyroError) -> PyroError:
        """Note that the stream is of no more use; return what to tell the user.

        To send fails when the peer has closed its end, and then nobody has read yet what it said
        last: a goodbye, which tells whether calls may be made again.
        """
        if isinstance(error, ConnectionClosedError) and not self.is_over:
            try:
                self.receive_meanwhile()
            except ConversationEndedError as ended:
                return ended.error
            except BREAKING:
                pass
        return self.broken(error)

    def answer(self, data: Encoded) -> None:
        """Send the answer to a request; if the peer is gone, the next receive finds out why."""
        try:
            if isinstance(data, list):
                data = _joined(data)
            if not (isinstance(data, bytes) and self._send_at_once(data)):
                self.send(data)
        except PartlySentError:
            self._send_rest()
        except (*BREAKING, ConversationEndedError):
            pass

    def _send_rest(self) -> None:
        try:
            self.send([])
        except (*BREAKING, ConversationEndedError):
            pass

    def receive_meanwhile(self) -> bool:
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
                elif message.kind in _WANTING:
                    return False
                elif message.kind == REQUEST and self.is_served and self.host.has_enough():  # type: ignore[union-attr]
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
                self.send(self.codecs.refusal(message, ProtocolError(_NO_CONVERSATION)))
            elif state != states.LEFT:
                self._dispatch(message)
        self.arrived = None


def _joined(data: list[Buffer]) -> list[Buffer] | bytes:
    """Join the pieces of a message that is not large: then it has the short way to the socket.

    The copy costs a few microseconds, the long way about twenty.
    """
    return b"".join(data) if data and sum(map(len, data)) <= _SHORT_BYTES else data

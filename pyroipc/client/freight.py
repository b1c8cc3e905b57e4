"""Long messages: sent one at a time, in chunks, between which others send what they have.

Whoever sends a long message gives the socket away after each chunk to those who wait for it. A
lock of Python's does not do that of itself: who releases it and takes it again at once mostly gets
it. So those who wait are noted, and wake the sender of the long message when they have sent.

If sending is broken off (the deadline passed, or a signal handler raised), the other end must not
wait for the rest. A request is taken back: the receiver is told that nothing more comes, and never
sees it. Of anything else the rest is sent in one piece, by whoever sends next. Whoever breaks off
sees to that, and if he is interrupted in that too, the one who sends the next long message.
"""

from __future__ import annotations

import threading
from time import monotonic

from pyroipc.client import janitor
from pyroipc.errors import CommunicationError, ConnectionClosedError, TimeoutError
from pyroipc.wire.message import REQUEST
from pyroipc.wire.native import LongMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyroipc.client.conversation import Conversation
    from pyroipc.protocol.calls import Encoded
    from pyroipc.wire.message import Buffer

__all__ = ["Freight"]

_LOOK_SECONDS = 0.02
"""Whoever waits for others looks for himself whether they have sent, at least this often."""
_PATIENCE_SECONDS = 1.0
"""For so long the sender of a long message waits for others who want to send, and no longer."""
_REST_SECONDS = 0.2


class Freight:
    """The long messages of one connection, and who waits to send something else."""

    __slots__ = ("_bell", "_turn", "_under_way", "taken_back", "waiting")

    def __init__(self) -> None:
        self._turn = threading.Lock()  # held by the one who sends a long message
        self._bell = threading.Lock()
        self._bell.acquire()
        self._under_way: LongMessage | None = None  # or broken off, and not dealt with yet
        # Those who want to send something else. One who was interrupted before he could say that
        # he does not want it any more costs a little time, once for each long message.
        self.waiting: list[object] = []
        self.taken_back: set[int] = set()
        """The ids of requests that were broken off: no answer comes."""

    def _send_between(
        self, conversation: Conversation, parts: Sequence[Buffer], deadline: float | None
    ) -> None:
        """Send something else, between the chunks of a long message if one is under way.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        ticket = object()
        self.waiting.append(ticket)
        try:
            send_in_turn(conversation, parts, deadline)
        finally:
            self._leave(ticket)

    def _leave(self, ticket: object) -> None:
        self.waiting.remove(ticket)
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has rung already

    def send(self, conversation: Conversation, data: Encoded, deadline: float | None) -> None:
        """Send a message; any thread.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed; if it is a long request, it was taken back.
        """
        if isinstance(data, LongMessage):
            self._send_long(conversation, data, deadline)
        else:
            parts = (data,) if isinstance(data, bytes) else data
            self._send_between(conversation, parts, deadline)

    def _send_long(
        self, conversation: Conversation, message: LongMessage, deadline: float | None
    ) -> None:
        """Send a long message, chunk by chunk.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed; if it is a request, it was taken back.
        """
        held = False
        seconds = (
            -1
            if deadline is None
            else min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
        )
        try:
            for held in map(self._turn.acquire, (True,), (seconds,)):  # noqa: B007
                break
            if not held:
                self._take_back(message)
                late = TimeoutError("the deadline passed while another call was being sent")
                late.call_status = "not sent"
                raise late
            conversation.channel.widen()
            self._settle(conversation)
            self._under_way = message
            for number in range(message.count):
                send_in_turn(conversation, message.chunk(number), deadline, message)
                if self.waiting:
                    self._let_others_go()
            self._under_way = None
        except ConnectionClosedError:
            self._under_way = None
            raise
        except BaseException as error:
            if self._under_way is message:
                self._settle(conversation)
                if message.request_id in self.taken_back and isinstance(error, TimeoutError):
                    error.call_status = "not started"
            raise
        finally:
            if held:
                self._turn.release()

    def _let_others_go(self) -> None:
        """Wait until those have sent who are waiting now."""
        others = list(self.waiting)
        until = monotonic() + _PATIENCE_SECONDS
        while any(other in self.waiting for other in others) and monotonic() < until:
            self._bell.acquire(timeout=_LOOK_SECONDS)

    def _take_back(self, message: LongMessage) -> None:
        """Take note that the peer never sees a request, so that no answer is expected."""
        if message.kind == REQUEST:
            self.taken_back.add(message.request_id)

    def _settle(self, conversation: Conversation) -> None:
        """Do what has to be done after a long message was broken off, before anything else.

        How far it came is known to the channel and to the message itself, wherever it was.
        """
        message = self._under_way
        if message is None:
            return
        with conversation.sending:
            channel = conversation.channel
            begun = message.sent + (channel.cargo is message)
            more: list[Buffer] = []
            if begun < message.count:
                self._take_back(message)
            if 0 < begun < message.count:
                if message.kind == REQUEST:
                    more = [message.give_up()]
                else:
                    for number in range(begun, message.count):
                        more += message.chunk(number)
            unsent = [*channel.unsent, *more]
            if not channel.unsent:
                channel.offset = 0
            # No call between these: a signal handler could raise there.
            channel.unsent = unsent
            self._under_way = None
        if unsent:
            janitor.start()
            janitor.later(_send_rest, conversation)


def send_in_turn(
    conversation: Conversation,
    parts: Sequence[Buffer],
    deadline: float | None,
    cargo: LongMessage | None = None,
) -> None:
    """Send some pieces one after the other, with nothing in between.

    Args:
        conversation: whose.
        parts: the pieces.
        deadline: by the monotonic clock.
        cargo: what they are a part of.

    Raises:
        ConnectionClosedError: the stream broke.
        TimeoutError: the deadline passed while the peer did not read.
    """
    channel, meanwhile = conversation.channel, conversation.receive_meanwhile
    session: Any = conversation  # only those carry descriptors
    if deadline is None:
        with conversation.sending:
            if cargo is not None and cargo.waits_for_descriptors:
                session.send_descriptors(cargo, None)
            channel.send_parts(parts, None, meanwhile, cargo)
        return
    held = False
    try:
        seconds = min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
        for held in map(conversation.sending.acquire, (True,), (seconds,)):  # noqa: B007
            break
        if not held:
            raise TimeoutError("the deadline passed while another call was being sent")
        if cargo is not None and cargo.waits_for_descriptors:
            session.send_descriptors(cargo, deadline)
        channel.send_parts(parts, deadline, meanwhile, cargo)
    finally:
        if held:
            conversation.sending.release()


def _send_rest(conversation: Conversation) -> None:
    """Send what was kept of a message; called by the janitor, which nobody is to keep waiting."""
    try:
        conversation.send_waiting([], monotonic() + _REST_SECONDS)
    except TimeoutError:
        janitor.later_on(_REST_SECONDS, _send_rest, conversation)
    except CommunicationError:
        pass  # then nobody waits for it any more

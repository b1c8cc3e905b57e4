"""Long messages: sent one at a time, in chunks, between which others send what they have.

Whoever sends a long message gives the socket away after each chunk to those who wait for it. A
lock of Python's does not do that of itself: who releases it and takes it again at once mostly gets
it. So those who wait are noted, and wake the sender of the long message when they have sent.

If sending is broken off (the deadline passed, or a signal handler raised), the other end must not
wait for the rest. A request is taken back: the receiver is told that nothing more comes, and never
sees it. Of anything else the rest is sent in one piece, by whoever sends next.
"""

from __future__ import annotations

import threading
from time import monotonic

from pyroipc.client import janitor
from pyroipc.errors import CommunicationError, ConnectionClosedError, TimeoutError
from pyroipc.wire.message import REQUEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyroipc.client.conversation import Conversation
    from pyroipc.wire.message import Buffer
    from pyroipc.wire.native import LongMessage

__all__ = ["Freight"]

_LOOK_SECONDS = 0.02
"""Whoever waits for others looks for himself whether they have sent, at least this often."""
_PATIENCE_SECONDS = 1.0
"""For so long the sender of a long message waits for others who want to send, and no longer."""
_REST_SECONDS = 0.2


class Freight:
    """The long messages of one connection, and who waits to send something else."""

    __slots__ = ("_bell", "_debt", "_turn", "taken_back", "waiting")

    def __init__(self) -> None:
        self._turn = threading.Lock()  # held by the one who sends a long message
        self._bell = threading.Lock()
        self._bell.acquire()
        self._debt: list[Buffer] = []  # what has to go before another long message
        # Those who want to send something else. One who was interrupted before he could say that
        # he does not want it any more costs a little time, once for each long message.
        self.waiting: list[object] = []
        self.taken_back: set[int] = set()
        """The ids of requests that were broken off: no answer comes."""

    def send_between(
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

    def send(
        self, conversation: Conversation, message: LongMessage, deadline: float | None
    ) -> None:
        """Send a long message; any thread.

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
                raise TimeoutError("the deadline passed while another call was being sent")
            conversation.channel.widen()
            self._settle(conversation)
            self._send_chunks(conversation, message, deadline)
        finally:
            if held:
                self._turn.release()

    def _send_chunks(
        self, conversation: Conversation, message: LongMessage, deadline: float | None
    ) -> None:
        lots = message.chunks()
        first = lot = next(lots)
        try:
            while True:
                send_in_turn(conversation, lot, deadline)
                if self.waiting:
                    self._let_others_go()
                following = next(lots, None)
                if following is None:
                    return
                lot = following
        except ConnectionClosedError:
            raise
        except BaseException as error:
            if lot is not first or _has_begun(conversation, lot):
                self._break_off(conversation, message, lots)
                if isinstance(error, CommunicationError) and message.kind == REQUEST:
                    error.call_status = "not started"
            raise

    def _let_others_go(self) -> None:
        """Wait until those have sent who are waiting now."""
        others = list(self.waiting)
        until = monotonic() + _PATIENCE_SECONDS
        while any(other in self.waiting for other in others) and monotonic() < until:
            self._bell.acquire(timeout=_LOOK_SECONDS)

    def _break_off(
        self, conversation: Conversation, message: LongMessage, lots: Iterator[list[Buffer]]
    ) -> None:
        if message.kind == REQUEST:
            self._debt = [message.give_up()]
            self.taken_back.add(message.request_id)
        else:
            self._debt = [part for lot in lots for part in lot]
        self._settle(conversation)
        janitor.start()
        janitor.later(_send_rest, conversation)

    def _settle(self, conversation: Conversation) -> None:
        """Have what is owed sent before anything else."""
        if not self._debt:
            return
        with conversation.sending:
            channel = conversation.channel
            unsent = [*channel.unsent, *self._debt]
            if not channel.unsent:
                channel.offset = 0
            # No call between these: a signal handler could raise there.
            channel.unsent = unsent
            self._debt = []


def send_in_turn(
    conversation: Conversation, parts: Sequence[Buffer], deadline: float | None
) -> None:
    """Send some pieces one after the other, with nothing in between.

    Raises:
        ConnectionClosedError: the stream broke.
        TimeoutError: the deadline passed while the peer did not read.
    """
    channel, meanwhile = conversation.channel, conversation.receive_meanwhile
    if deadline is None:
        with conversation.sending:
            channel.send_parts(parts, None, meanwhile)
        return
    held = False
    try:
        seconds = min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
        for held in map(conversation.sending.acquire, (True,), (seconds,)):  # noqa: B007
            break
        if not held:
            raise TimeoutError("the deadline passed while another call was being sent")
        channel.send_parts(parts, deadline, meanwhile)
    finally:
        if held:
            conversation.sending.release()


def _has_begun(conversation: Conversation, lot: list[Buffer]) -> bool:
    """Say whether a part of the first chunk was sent; then the rest of it is kept."""
    head = lot[0]
    return any(
        part is head or (isinstance(part, memoryview) and part.obj is head)
        for part in conversation.channel.unsent
    )


def _send_rest(conversation: Conversation) -> None:
    """Send what was kept of a message; called by the janitor, which nobody is to keep waiting."""
    try:
        conversation.send_waiting([], monotonic() + _REST_SECONDS)
    except TimeoutError:
        janitor.later_on(_REST_SECONDS, _send_rest, conversation)
    except CommunicationError:
        pass  # then nobody waits for it any more

"""The courier of a connection: descriptors that go beside its messages, between local peers.

They go over a socket of their own (:mod:`pyroipc.transports.side`), which is made when the first
descriptor is to be sent. To get the end of that to the peer, there is one exchange: an *offer*,
whose answer says that the peer looks for a descriptor beside the bytes now, and then that end
itself, whose arrival is confirmed. From then on nothing more is waited for, and whoever receives
from the stream itself need not look for anything beside it.

Descriptors are for peers that are verified local. From others none are taken: an offer is
refused, and the kernel closes what comes with bytes that were received without looking.
"""

from __future__ import annotations

import threading
import weakref
from time import monotonic

from pyroipc.client.loans import Loans
from pyroipc.client.waiters import Waiter
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    ProtocolError,
    SerializeError,
    TimeoutError,
)
from pyroipc.protocol.hello import DESCRIPTORS
from pyroipc.transports import descriptors
from pyroipc.transports.side import Parcel, SideChannel, can_carry, make_side_pair
from pyroipc.wire.message import END, KEPT, LENT, OFFER, PONG
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.conversation import Conversation
    from pyroipc.client.exchange import Exchange
    from pyroipc.client.session import Session
    from pyroipc.client.staging import Staging
    from pyroipc.wire.message import Message
    from pyroipc.wire.native import LongMessage

__all__ = ["Courier", "carries", "why_not_carried"]

_OFFER_SECONDS = 30.0
_SIDES_MAX = 2  # each end may have made one
_PAUSE_SECONDS = 0.002
_PATIENCE_SECONDS = 10.0
_OFFER = plain_prefix(OFFER, 0, 0)
_HERE = plain_prefix(OFFER, 0, END)
_PONG = plain_prefix(PONG, 0, 0)


def carries(conversation: Conversation) -> bool:
    """Say whether this end takes descriptors from the peer of a conversation."""
    channel = conversation.channel
    return bool(channel.peer.trusted) and can_carry(channel.sock)


def why_not_carried(conversation: Conversation) -> str | None:
    """Say why no descriptors can be sent to the peer of a conversation; None: they can."""
    channel, hello = conversation.channel, conversation.peer_hello
    if not channel.peer.trusted:
        return (
            "descriptors go only to a peer that is verified local, over a unix socket, and "
            f"{channel.peer.reason}"
        )
    if not can_carry(channel.sock):
        return "descriptors go only over a plain unix socket"
    if hello is None or DESCRIPTORS not in hello.features:
        return "the peer takes no descriptors"
    return None


class Courier:
    """Takes descriptors to the peer of one conversation, and from it.

    Args:
        session: not kept alive.
    """

    __slots__ = ("_lock", "_out", "_session", "_sides", "_staging", "loans")

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self.loans = Loans(session)
        """Shared memory that need not travel again."""
        self._staging: Staging | None = None
        self._lock = threading.RLock()
        self._sides: list[SideChannel] = []  # where something may come
        self._out: SideChannel | None = None  # where this end sends

    @property
    def staging(self) -> Staging:
        """Where large arguments of calls may pass through."""
        if self._staging is None:
            from pyroipc.client.staging import Staging

            self._staging = Staging(self._session)
        return self._staging

    # --- how the two ends come to it -------------------------------------------------------------

    def begin(self) -> None:
        """See to it that descriptors can be sent; the first time this asks the peer.

        Raises:
            CommunicationError: the peer refuses, or does not answer.
            ConnectionClosedError: there is no peer any more.
            SerializeError: this process may not open more files.
        """
        if self._out is not None:
            return
        session = self._session()
        if session is None:
            raise ConnectionClosedError("the conversation has ended")
        with self._lock:
            if self._out is None:
                self._offer(session)

    def _offer(self, session: Session) -> None:
        """Ask the peer, and send it its end.

        Raises:
            CommunicationError: it refuses, or does not answer.
            SerializeError: this process may not open more files.
        """
        deadline = monotonic() + _OFFER_SECONDS
        request_id = session.next_id()
        _check(session.exchange(request_id, encode_plain(_OFFER, request_id, b""), deadline))
        try:
            side, far = make_side_pair()
        except OSError as error:
            raise SerializeError(f"no descriptor can be sent: {error}") from None
        try:
            request_id = session.next_id()
            # Before it is sent: another thread may receive the answer.
            session.waiters[request_id] = Waiter()
            data = encode_plain(_HERE, request_id, b"")
            self._listen(session, side)  # the peer may send at once
            with session.sending:
                session.channel.send_beside(
                    data, far.fileno(), deadline, session.receive_meanwhile
                )
            _check(session.exchange(request_id, [], deadline))
        except BaseException:
            session.waiters.pop(request_id, None)
            if side in self._sides:
                self._sides.remove(side)
            side.close()
            raise
        finally:
            descriptors.close(far)
        self._out = self._out or side

    def _listen(self, session: Exchange, side: SideChannel) -> None:
        self._sides.append(side)
        session.decoder.claim = self.claim

    def take(self, message: Message) -> None:
        """Answer an offer, or take note of what the peer keeps; the caller receives."""
        session = self._session()
        if message.kind == KEPT:
            self.loans.told(message)
        elif message.kind == LENT:
            self.loans.offered(message)
        elif session is not None:
            reason = self._accept(session, message)
            session.send(encode_plain(_PONG, message.request_id, reason.encode()))

    def _accept(self, session: Exchange, message: Message) -> str:
        """Do what an offer asks for; return why not, or nothing."""
        channel = session.channel
        if not carries(session):
            return f"this end takes no descriptors: {channel.peer.reason}"
        if not message.flags & END:
            if len(self._sides) >= _SIDES_MAX:
                return "there is a socket for descriptors already"
            channel.expect_descriptor()
            return ""
        number = channel.take_descriptor()
        if number is None:
            return "no descriptor came with the offer: too many files are open (ulimit -n)"
        descriptors.disown_number(number)
        side = SideChannel.adopt(number)
        if side is None or len(self._sides) >= _SIDES_MAX:
            return "what came with the offer is no socket for descriptors"
        self._listen(session, side)
        self._out = self._out or side
        return ""

    # --- beside messages -------------------------------------------------------------------------

    def send(self, message: LongMessage, deadline: float | None) -> None:
        """Send the descriptors of a message, before it; the caller sends, and waits.

        Raises:
            CommunicationError: they cannot be sent, nor can the message.
            TimeoutError: the deadline passed.
        """
        if self.send_now(message):
            return
        until = monotonic() + _PATIENCE_SECONDS
        session = self._session()
        pause = threading.Event()
        while not self.send_now(message):
            if monotonic() >= (until if deadline is None else min(until, deadline)):
                raise TimeoutError("the peer does not take the descriptors of earlier messages")
            if session is not None:
                session.receive_meanwhile()
            pause.wait(_PAUSE_SECONDS)

    def send_now(self, message: LongMessage) -> bool:
        """Send the descriptors of a message; False: not now. The caller sends.

        Raises:
            CommunicationError: they cannot be sent.
            ConnectionClosedError: there is no peer any more.
        """
        try:
            if self._out is None:
                raise ConnectionClosedError("the conversation has ended")
            numbers = [holder.fileno() for holder in message.parcel]
            is_sent = self._out.send(message.kind, message.request_id, numbers)
        except (BrokenPipeError, ConnectionError) as error:
            raise ConnectionClosedError(f"the connection was lost: {error}") from None
        except (OSError, ValueError) as error:
            raise CommunicationError(f"a descriptor cannot be sent: {error}") from None
        message.waits_for_descriptors = not is_sent
        return is_sent

    def claim(self, message: Message) -> Parcel:
        """Take in what came beside a message that was just received; for the decoder."""
        for side in list(self._sides):
            parcel = side.receive(message.kind, message.request_id, message.descriptors)
            if parcel is not None:
                parcel.loans = self.loans
                return parcel
        return Parcel(())

    def end(self) -> None:
        """Close everything: the conversation has ended."""
        self._out = self._staging = None
        while self._sides:
            self._sides.pop().close()


def _check(message: Message) -> None:
    if message.kind != PONG:
        raise ProtocolError(f"the peer answers an offer with {message!r}")
    reason = bytes(message.payload).decode(errors="replace")
    if reason:
        raise CommunicationError(f"the peer takes no descriptors: {reason}")

"""A session: one connection that all threads of a process share, many calls in flight.

How calls share it stands in :mod:`pyroipc.client.exchange`. Here is what else comes and goes over
a connection: requests of the peer, answers that no thread waits for (futures, streams) and that go
to *sinks*, and references. If nobody reads, the session's pump (:mod:`pyroipc.client.pump`) does.
"""

from __future__ import annotations

from time import monotonic
from weakref import WeakValueDictionary

from pyroipc.client import janitor, sharing
from pyroipc.client.conversation import BREAKING, ConversationEndedError
from pyroipc.client.exchange import ANSWERS, FOLLOW_SECONDS, NO_OBJECTS, Exchange
from pyroipc.client.luggage import learn_handles
from pyroipc.client.peers import fresh_copy
from pyroipc.client.pump import Pump
from pyroipc.client.references import References
from pyroipc.client.waiters import Chunks, Waiter
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    ProtocolError,
    PyroError,
    TimeoutError,
)
from pyroipc.protocol.calls import drop_parent, parent_of
from pyroipc.settings import config
from pyroipc.transports.stream import WokenError
from pyroipc.wire.dialect import NATIVE
from pyroipc.wire.message import (
    CANCEL,
    CREDIT,
    ITEM,
    KEPT,
    LENT,
    NESTED,
    OFFER,
    PING,
    PONG,
    RELEASE,
    REQUEST,
    STREAM,
)
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.client.courier import Courier
    from pyroipc.client.proxy import Proxy
    from pyroipc.client.waiters import Sink
    from pyroipc.protocol.calls import CallCodec, Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel
    from pyroipc.wire.message import Message
    from pyroipc.wire.native import LongMessage

_PING = plain_prefix(PING, 0, 0)
_PONG = plain_prefix(PONG, 0, 0)
_CANCEL = plain_prefix(CANCEL, 0, STREAM)
_CANCEL_SECONDS = 0.2
_TURNS = 8
"""So often is received for one client, if all belongs to a long message."""
_STREAM_CONTROL = (CREDIT, CANCEL)
_FOR_US = (PING, OFFER, KEPT, LENT)
_TURN_MESSAGES = 64
"""So many messages that are no requests are dealt with, and then those of others."""


class Session(Exchange):
    """One connection for any number of threads.

    Args:
        channel: a connected channel that nobody else reads.
        settings: read now; later changes do not matter.
    """

    __slots__ = ("_courier", "_pump", "_users", "references", "sinks")

    def __init__(self, channel: StreamChannel, settings: Settings = config) -> None:
        super().__init__(channel, settings)
        self.sinks: dict[int, Sink] = {}
        """What takes the answers that no thread need wait for, by the id of the request."""
        self._pump: Pump | None = None
        self._courier: Courier | None = None
        self.references = References(self)
        self.codecs.refer(self.references)
        learn_handles()
        # Proxies, by their id: equal ones are several users.
        self._users: WeakValueDictionary[int, object] | None = None
        sharing.sessions.add(self)

    @property
    def dialect(self) -> str:
        """How the two ends speak, by the name that users give it."""
        return NATIVE

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the certificate that the peer has shown in TLS, as a dict; None without TLS."""
        ask = getattr(self.channel.sock, "getpeercert", None)
        certificate: dict[str, Any] | None = None if ask is None else ask()
        return certificate

    @property
    def pump(self) -> Pump:
        """Receives when nobody else does; made when it is first needed."""
        pump = self._pump
        if pump is None:
            pump = self._pump = Pump(self)
        return pump

    @property
    def courier(self) -> Courier:
        """Takes descriptors to the peer and from it; made when there are some."""
        courier = self._courier
        if courier is None:
            from pyroipc.client.courier import Courier

            courier = self._courier = Courier(self)
        return courier

    def send_descriptors(self, message: LongMessage, deadline: float | None) -> None:
        """Send the descriptors of a message, before it; the caller sends.

        Raises:
            CommunicationError: they cannot be sent, and so the message must not be.
        """
        try:
            self.courier.send(message, deadline)
        except CommunicationError as error:
            error.call_status = "not sent"
            if message.kind == REQUEST:
                self.freight.taken_back.add(message.request_id)
            raise

    # --- what arrives beside answers -----------------------------------------------------------

    def receive_request(self, deadline: float | None = None) -> Message:
        """Receive the next request, or word on a stream; the caller holds the lead.

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
                if not message.flags & NESTED or not self._give_to_waiter(message):
                    return message
            elif message.flags & STREAM and message.kind in _STREAM_CONTROL and self.is_open:
                self.arrived = None
                return message
            else:
                try:
                    self._hand_on(message)
                except ConversationEndedError:
                    pass  # the stream may carry another conversation

    def receive_request_now(self) -> Message | None:
        """Receive as :meth:`receive_request` does, but only what is there; the caller leads.

        Returns:
            None: no request has arrived, or the peer has left, or has sent so much else that
            others should have their turn before the rest.

        Raises:
            ConnectionClosedError, ProtocolError, SecurityError: as there.
        """
        decoder = self.decoder
        turns = 0
        patience = _TURN_MESSAGES
        while True:
            message = self.arrived
            if message is None:
                turns += 1
                if turns > _TURNS and decoder.filling is not None and not self._has_pending():
                    return None  # of a long message; others want to be served, too
                if not (decoder.buffered or decoder.received or self.channel.receive_now()):
                    return None
                self.arrived = decoder.advance()
            elif message.kind == REQUEST and self.is_open:
                self.arrived = None
                if not message.flags & NESTED or not self._give_to_waiter(message):
                    return message
            elif message.flags & STREAM and message.kind in _STREAM_CONTROL and self.is_open:
                self.arrived = None
                return message
            else:
                try:
                    self._hand_on(message)
                except ConversationEndedError:
                    return None
                patience -= 1
                if not patience:
                    return None

    def _has_pending(self) -> bool:
        """Say whether something has been received below that makes no socket readable."""
        has_pending = self.channel.has_pending
        return has_pending is not None and has_pending()

    def _dispatch(self, message: Message) -> None:
        kind = message.kind
        if kind in ANSWERS:
            self._deliver(message)
        elif kind == ITEM:
            sink = self.sinks.get(message.request_id)
            if sink is not None:
                sink.deliver(message)
        elif kind in _FOR_US:
            self._see_to(message)
        elif kind == REQUEST:
            if message.flags & NESTED and self._give_to_waiter(message):
                return
            if self.host is None:
                raise ProtocolError(f"the peer sent a request, but {NO_OBJECTS}")
            self.host.take(message)
        elif kind == RELEASE:
            self.references.released(message.payload)
        elif self.host is not None and message.flags & STREAM and kind in _STREAM_CONTROL:
            self.host.take(message)  # credit, or the cancelling of a stream

    def ping(self, request_id: int) -> Encoded:
        """Encode a message that the peer answers at once."""
        return encode_plain(_PING, request_id, b"")

    def _pong(self, message: Message) -> Encoded:
        return encode_plain(_PONG, message.request_id, bytes(message.payload[:64]))

    def _see_to(self, message: Message) -> None:
        if message.kind == PING:
            self.send(self._pong(message))
        else:
            self.courier.take(message)

    def _is_awaited(self, message: Message) -> bool:
        return message.request_id in self.sinks or super()._is_awaited(message)

    def _deliver(self, message: Message) -> None:
        """Give an answer to the sink or to the thread that waits for it."""
        sink = self.sinks.get(message.request_id)
        waiter = self.waiters.get(message.request_id)
        if message.flags & STREAM:
            self._expect_items(message.request_id)
        if sink is not None:
            sink.deliver(message)
        elif waiter is not None:
            waiter.message = message
            waiter.wake()
        else:
            self._drop_late_answer(message.request_id)

    def _give_to_waiter(self, message: Message) -> bool:
        """Give a nested request to the thread that waits for its parent; False if none does."""
        waiter = self.waiters.get(parent_of(message))
        if waiter is None:
            return False
        drop_parent(message)
        waiter.work.append(message)
        waiter.wake()
        if waiter.left:
            self._pass_on(waiter)
        return True

    # --- answers that no thread waits for --------------------------------------------------------

    def submit(self, request_id: int, data: Encoded, sink: Sink, deadline: float | None) -> None:
        """Send a request whose answer goes to a sink.

        Raises:
            ConnectionClosedError: the connection is of no more use.
            TimeoutError: the peer did not read until the deadline.
        """
        self.sinks[request_id] = sink
        try:
            self.post(data, deadline)
        except BaseException:
            self.sinks.pop(request_id, None)
            raise

    def await_sink(self, sink: Sink, deadline: float | None = None) -> bool:
        """Receive, or wait for others that do, until a sink is ready; False if time ran out.

        Raises:
            ConnectionClosedError, ProtocolError: the connection is of no more use.
        """
        waiter = Waiter()
        key = -id(waiter)  # no request has a negative id
        try:
            sink.watchers.add(waiter)
            self.waiters[key] = waiter
            if not sink.is_ready:
                self.check()
            while not sink.is_ready and self._lead_until_ready(sink, waiter, deadline):
                pass
        except ConversationEndedError as ended:
            raise ended.error from None
        except BREAKING as error:
            raise self.broken(error) from None
        finally:
            sink.watchers.discard(waiter)
            self.waiters.pop(key, None)
            if self.waiters and not self.lead.locked():
                self.invite()
        return sink.is_ready

    def receive_now(self) -> bool:
        """Receive and hand on what is there; False if that is nothing, or another thread leads.

        Raises:
            ConnectionClosedError: the stream ended.
            ProtocolError: the peer broke the rules.
        """
        held = False
        received = False
        try:
            for held in self.try_lead:  # noqa: B007
                break
            while held:
                message = self.arrived
                if message is not None:
                    self._hand_on(message)
                    received = True
                    continue
                decoder = self.decoder
                if not (decoder.buffered or decoder.received or self.channel.receive_now()):
                    break
                self.arrived = self.decoder.advance()
        except (WokenError, ConversationEndedError):
            pass
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                self.lead.release()
                if self.waiters:
                    self.invite()
        return received

    def _lead_until_ready(self, sink: Sink, waiter: Waiter, deadline: float | None) -> bool:
        # Lead until a sink is ready, or sleep for a while; False if the deadline has passed.
        held = False
        decoder = self.decoder
        try:
            for held in self.try_lead:  # noqa: B007
                break
            while held and not sink.is_ready:
                message = self.arrived
                if message is not None:
                    self._hand_on(message)
                    continue
                if not (decoder.buffered or decoder.received):
                    self.receive(deadline)
                self.arrived = decoder.advance()
            if held and decoder.buffered and self.arrived is None:
                self._hand_on_rest()
        except WokenError:
            return True
        except TimeoutError:
            return False
        finally:
            if held:
                # Not in a function: a signal handler may raise as soon as one is entered.
                self.lead.release()
                if self.waiters:
                    self.invite()
        return held or sink.is_ready or waiter.sleep(FOLLOW_SECONDS, deadline)

    def _expect_items(self, request_id: int) -> None:
        """Prepare for the items of a stream that an answer has opened."""
        self.sinks[request_id] = Chunks()

    def note_failure(self, error: Exception) -> None:
        """Take note of the exception that an answer holds: the connection goes on."""

    def open_stream(self, proxy: Proxy[Any], codec: CallCodec, message: Message) -> Iterator[Any]:
        """Return what iterates over the stream that an answer has opened."""
        from pyroipc.client.streams import open_stream

        return open_stream(proxy, self, codec, message)

    def chunks_of(self, request_id: int) -> Chunks:
        """Return what takes the items of the stream that this request has opened."""
        chunks = self.sinks.get(request_id)
        if not isinstance(chunks, Chunks):
            chunks = Chunks()
            chunks.fail(ConnectionClosedError("the conversation has ended"))
        return chunks

    def _forget_items(self, request_id: int) -> None:
        """Close a stream that nobody will read, if this request has opened one."""
        if isinstance(self.sinks.get(request_id), Chunks):
            janitor.start()
            janitor.later(self.cancel_stream, request_id)

    def cancel_stream(self, request_id: int) -> None:
        """Tell the peer to close a stream, unless that is over already; any thread."""
        sink = self.sinks.pop(request_id, None)
        if sink is not None:
            sink.fail(ConnectionClosedError("the stream was closed at this end"))
            self._send_cancel(request_id)
            if sink.watchers:
                self._nudge()

    def _nudge(self) -> None:
        """Have the peer send something, so that a thread that receives looks around."""
        try:
            self.post(self.ping(self.next_id()), monotonic() + _CANCEL_SECONDS)
        except CommunicationError:
            pass  # then it does so anyway

    def _send_cancel(self, request_id: int) -> None:
        try:
            if self.is_open:
                self.post(encode_plain(_CANCEL, request_id, b""), monotonic() + _CANCEL_SECONDS)
        except TimeoutError:  # the peer does not read now; nobody is to wait for it
            janitor.start()
            janitor.later_on(_CANCEL_SECONDS, self._send_cancel, request_id)
        except CommunicationError:
            pass  # then it is over anyway

    def _drop_late_answer(self, request_id: int) -> None:
        self._forget_items(request_id)
        if self._abandoned:
            self._abandoned.discard(request_id)
        if not self._abandoned:
            sharing.unquiet.discard(self)

    def retain(self, user: object) -> None:
        """Note that a proxy uses this session, until it releases it or is gone."""
        if self._users is None:
            self._users = WeakValueDictionary()
        self._users[id(user)] = user

    def release(self, user: object) -> None:
        """Say goodbye if this end has no more use for the conversation."""
        if self._users is not None:
            self._users.pop(id(user), None)
        if not self._users and not self.is_served:
            self.dismiss("its proxies were released")

    def dismiss(self, reason: str) -> None:
        """Say goodbye, and end at this end too what lived as long as the conversation."""
        is_watched = any(sink.watchers for sink in list(self.sinks.values()))
        self.leave(reason)
        if is_watched:
            self._nudge()
        if self.on_conversation_end is not None:
            self.on_conversation_end()

    def hang_up(self) -> None:
        """Close a connection that this end has made: that its stream ends tells the peer enough.

        A goodbye is for streams that go on.
        """
        was_open, self.is_open = self.is_open, False
        error = ConnectionClosedError("this end closed the connection")
        if self._error is None:
            self._error = error
        self._fail_calls(error)
        if was_open and self.on_conversation_end is not None:
            self.on_conversation_end()
        sharing.unquiet.discard(self)  # no late answer will come
        self.channel.close()

    def disown(self) -> None:
        """In a forked child: this connection is the parent's; have nothing to do with it."""
        self.waiters = {}
        self.sinks = {}
        self.arrived = None
        self._pump = self._courier = None
        super().disown()

    def _fail_calls(self, error: PyroError) -> None:
        for waiter in list(self.waiters.values()):
            if waiter.message is None:
                waiter.error = fresh_copy(error)
                waiter.wake()
        while self.sinks:
            try:
                _, sink = self.sinks.popitem()
            except KeyError:
                break
            sink.fail(fresh_copy(error))
        self.references.end()
        courier, self._courier = self._courier, None
        if courier is not None:
            self.decoder.claim = None
            courier.end()

"""A conversation: hello, goodbye, and what is known of the peer in between.

The half of a session that has nothing to do with single calls: which state the connection is in
(:mod:`pyroipc.protocol.state` has the table), what both sides told each other, what they may send,
and why it ended.
"""

from __future__ import annotations

import os
import threading
from itertools import count
from time import monotonic

from pyroipc.client import sharing
from pyroipc.client.codecs import Codecs
from pyroipc.client.freight import Freight
from pyroipc.client.hosting import features_of, limits_for
from pyroipc.client.peers import explain_end, fresh_copy
from pyroipc.errors import (
    ConnectionClosedError,
    ForkedConnectionError,
    MessageTooLargeError,
    ProtocolError,
    PyroError,
    SecurityError,
    TimeoutError,
    VersionMismatchError,
)
from pyroipc.protocol import state as states
from pyroipc.protocol.hello import Hello
from pyroipc.serializers import main_names
from pyroipc.transports.spin import make_spin, usable_cpus
from pyroipc.wire.dialect import PYRO5, VERSIONS, OtherDialectError
from pyroipc.wire.message import GOODBYE, HELLO, REFUSED, WELCOME
from pyroipc.wire.native import LongMessage, encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from pyroipc.client.hosting import Host, Outbox
    from pyroipc.protocol.calls import Encoded
    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.message import Message

    Explain: TypeAlias = Callable[[ConnectionClosedError, Hello | None], ConnectionClosedError]

_OBJECTS_SECONDS = 0.5
"""How long a proxy waits for an end that talks already to host objects as well."""
_GOODBYE_SECONDS = 1.0
"""How long a goodbye may wait for a peer that does not read."""
_LAST_WORD_SECONDS = 0.05  # for a thread that has sent, but not let go of the lock yet
ID_MASK = 0xFFFFFFFF
BREAKING = (ConnectionClosedError, ProtocolError, SecurityError)
"""The errors after which a stream is of no more use."""
_HELLO = plain_prefix(HELLO, 0, 0)
_WELCOME = plain_prefix(WELCOME, 0, 0)
_GOODBYE = plain_prefix(GOODBYE, 0, 0)
_REFUSED = plain_prefix(GOODBYE, 0, REFUSED)
_REFUSALS: Mapping[str, type[PyroError]] = {
    "version": VersionMismatchError,
    "security": SecurityError,
}
_LEFT = "left"  # how the payload of a goodbye begins: what was begun was answered
_BUSY = "busy"  # something that was begun will never be answered


_making = threading.Lock()  # of locks


class ConversationEndedError(Exception):
    """A conversation ended, not the stream; ``error`` is for the callers that waited."""

    def __init__(self, error: PyroError) -> None:
        super().__init__(error)
        self.error = error


class Conversation:
    """What both sides know of each other; the base of a session, which adds the calls.

    Args:
        channel: a connected channel that nobody else reads.
        settings: read now; later changes do not matter.
    """

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_error",
        "_freight",
        "_greeting",
        "_handshake_seconds",
        "_limits",
        "_spin_seconds",
        "_state",
        "_token",
        "channel",
        "codecs",
        "decoder",
        "explain",
        "host",
        "ids",
        "is_open",
        "on_conversation_end",
        "outbox",
        "peer_hello",
        "sending",
    )

    def __init__(self, channel: StreamChannel, settings: Settings) -> None:
        self.channel = channel
        self.decoder = channel.decoder
        self._limits = limits_for(channel.peer, settings)
        self.codecs = Codecs(
            channel.peer,
            limit_bytes=self._limits.message_bytes,
            compress_from=settings.COMPRESS_FROM if settings.COMPRESSION else None,
        )
        self.peer_hello: Hello | None = None
        """What the peer told about itself, once it has."""
        self.host: Host | None = None
        """Runs the requests of the peer; None: this end hosts no objects."""
        self.on_conversation_end: Callable[[], None] | None = None
        """Called after each conversation has ended."""
        self.outbox: Outbox | None = None
        """Takes what is to be sent and sends it without waiting, for a loop that serves many;
        None: whoever sends waits."""
        self.explain: Explain | None = None
        """Finds out why the stream ended; made for a channel to a process we know."""
        self.is_open = False
        """Whether a conversation is going on: the state is OPEN."""
        self.ids = count(1)
        self._spin_seconds = settings.SPIN_SECONDS
        self._handshake_seconds = settings.HANDSHAKE_TIMEOUT or None
        self._token = os.urandom(8).hex()
        self._state = states.IDLE
        self._ahead: int | None = None  # the id of a hello that was sent by greet_ahead
        self._error: PyroError | None = None  # why the stream is of no use any more
        self._make_locks()

    def _make_locks(self) -> None:
        self.sending = threading.Lock()
        self._greeting: threading.Lock | None = None
        self._freight: Freight | None = None

    @property
    def peer(self) -> Peer:
        """What the kernel says about the other end."""
        return self.channel.peer

    def next_id(self) -> int:
        """Return the id of a new request; never used again on this stream."""
        return next(self.ids) & ID_MASK

    def exchange(self, request_id: int, data: Encoded, deadline: float | None) -> Message:
        """Send a message and wait for its answer."""
        raise NotImplementedError

    def receive_meanwhile(self) -> bool:
        """Receive while the peer takes nothing; False if another thread does that."""
        raise NotImplementedError

    def _fail_calls(self, error: PyroError) -> None:
        """Make all calls fail that wait for an answer."""
        raise NotImplementedError

    def send(self, data: Encoded, deadline: float | None = None) -> None:
        """Send one encoded message; any thread.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        if self.outbox is not None:
            self.outbox.put(data)
        else:
            self.send_waiting(data, deadline)

    @property
    def freight(self) -> Freight:
        """Long messages, and who waits for them; made when somebody has to wait to send."""
        with _making:
            if self._freight is None:
                self._freight = Freight()
            return self._freight

    def send_waiting(self, data: Encoded, deadline: float | None) -> None:
        """Send one encoded message, and wait for the socket to take it; any thread.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        self.freight.send(self, data, deadline)

    def check_size(self, data: Encoded) -> None:
        """Refuse to send a message that is over the limit of one of the two ends.

        Raises:
            MessageTooLargeError: it is; nothing is sent, and the connection is as before.
        """
        limit = self._limits.message_bytes
        if self.peer_hello is not None and self.peer_hello.max_message_bytes:
            limit = min(limit, self.peer_hello.max_message_bytes)
        n_bytes = len(data) if isinstance(data, bytes | LongMessage) else sum(map(len, data))
        if n_bytes > limit:
            error = MessageTooLargeError(
                f"message of {n_bytes} bytes, at most {limit} are allowed between the two ends; "
                f"{self._limits.setting} raises this limit"
            )
            error.call_status = "not sent"
            raise error

    def hello(self) -> Hello:
        """Say what this end is."""
        return Hello(
            features=features_of(self.channel, self.host),
            serializers=self.codecs.accepted,
            max_message_bytes=self._limits.message_bytes,
            image=main_names.image_identity(),
            cpus=usable_cpus(),
            session=self._token,
        )

    def open(self, deadline: float | None = None) -> None:
        """Open a conversation, if none is going on.

        Raises:
            ConnectionClosedError: the stream has ended, or the peer refused.
            TimeoutError: no welcome came in time.
            VersionMismatchError: the peer speaks another version.
            ForkedConnectionError: this session was inherited through a fork.
        """
        if self._handshake_seconds is not None and deadline is None:
            deadline = monotonic() + self._handshake_seconds
        self.check()
        greeting = self._greeting_lock()
        held = False
        try:
            seconds = (
                -1
                if deadline is None
                else min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
            )
            for held in map(greeting.acquire, (True,), (seconds,)):  # noqa: B007
                break
            if not held:
                raise TimeoutError("no welcome came in time to another thread, nor to this one")
            if not self.is_open:
                self._greet(deadline)
        finally:
            if held:
                greeting.release()

    def greet_ahead(self, more: Encoded = b"") -> None:
        """Send the hello without waiting for the welcome; ``open`` then does.

        Args:
            more: what is to be sent right behind it, though nobody has said that it is welcome.
        """
        self._state = states.after(self._state, states.SEND_HELLO)
        self._ahead = self.next_id()
        parts = (more,) if isinstance(more, bytes) else more
        try:
            self.send([encode_plain(_HELLO, self._ahead, self.hello().encode()), *parts])
        except ConnectionClosedError:
            pass  # what the peer has said before it closed its end comes while we wait

    def _greeting_lock(self) -> threading.Lock:
        """Return what is held by whoever says hello; an end that only answers has none."""
        with _making:
            if self._greeting is None:
                self._greeting = threading.Lock()
            return self._greeting

    def begin(self, hello: Hello) -> None:
        """Begin a conversation without a greeting: what the peer would say is known."""
        self._converse(hello, states.RECEIVE_HELLO)

    def _greet(self, deadline: float | None) -> None:
        self.check()
        if self._ahead is None:
            self._state = states.after(self._state, states.SEND_HELLO)
            request_id = self.next_id()
            hello: Encoded = encode_plain(_HELLO, request_id, self.hello().encode())
        else:
            request_id, hello, self._ahead = self._ahead, [], None
        try:
            message = self.exchange(request_id, hello, deadline)
        except TimeoutError:
            raise TimeoutError(
                "no welcome came in time: does a daemon serve the other end of this socket?"
            ) from None
        try:
            if message.kind != WELCOME:
                raise ProtocolError(f"the peer answers a hello with {message!r}")
            self._converse(Hello.decode(message.payload), states.RECEIVE_WELCOME)
        except ProtocolError as error:
            raise self.broken(error) from None

    def await_objects(self) -> bool:
        """Say whether the other end hosts objects; wait a moment for a daemon that just starts.

        Raises:
            ConnectionClosedError, TimeoutError: as :meth:`open`.
        """
        deadline = monotonic() + _OBJECTS_SECONDS
        while self.peer_hello is not None and "objects" not in self.peer_hello.features:
            if monotonic() > deadline:
                return False
            with self._greeting_lock():
                self._greet(deadline + _OBJECTS_SECONDS)
            threading.Event().wait(_OBJECTS_SECONDS / 50)
        return True

    def check(self) -> None:
        """Raise why this session is of no use any more, if it is not.

        Raises:
            PyroError: ConnectionClosedError, ProtocolError or one of their subclasses.
        """  # noqa: DOC501 - what a function returns
        if self._error is not None:
            raise fresh_copy(self._error, call_status="not sent")

    @property
    def is_over(self) -> bool:
        """Whether the stream is of no more use."""
        return self._error is not None

    @property
    def has_left(self) -> bool:
        """Whether there was a conversation, and there is none any more."""
        return self.peer_hello is not None and not self.is_open

    @property
    def is_served(self) -> bool:
        """Whether a loop receives requests all the time."""
        return self.host is not None and self.host.serves

    @property
    def token(self) -> str:
        """What tells this end from all others: the ``session`` of its hello."""
        return self._token

    def give_up(self) -> None:
        """Take note that the user has closed his socket."""
        self.broken(ConnectionClosedError("the socket of this connection was closed at this end"))

    def _converse(self, hello: Hello, event: str) -> None:
        self.peer_hello = hello
        self.decoder.limits = self._limits
        self.codecs.greet(hello)
        channel = self.channel
        channel.spin = None
        if hello.pid != os.getpid() and self.outbox is None:
            channel.spin = make_spin(channel.sock, channel.decoder, self._spin_seconds, hello.cpus)
        self._state = states.after(self._state, event)
        self.is_open = self._state == states.OPEN

    def _greeted(self, message: Message) -> None:
        """Answer the hello of the peer."""
        try:
            hello = Hello.decode(message.payload)
        except VersionMismatchError as error:
            self.send(
                encode_plain(_REFUSED, message.request_id, b"version: " + str(error).encode())
            )
            return
        before = self.peer_hello
        # Two hellos may cross; one of another end of the stream begins anew.
        if self.is_open and before is not None and before.session != hello.session:
            self._fail_calls(ConnectionClosedError("the peer began a new conversation"))
            if self.on_conversation_end is not None:
                self.on_conversation_end()
        self._converse(hello, states.RECEIVE_HELLO)
        self.send(encode_plain(_WELCOME, message.request_id, self.hello().encode()))

    def _left(self, message: Message) -> None:
        """The peer said goodbye: every pending call fails.

        Raises:
            ConversationEndedError: always, unless it belongs to the conversation before.
        """
        reason, _, text = bytes(message.payload).decode(errors="replace").partition(": ")
        error: PyroError
        if message.flags & REFUSED:
            error = _REFUSALS.get(reason, ConnectionClosedError)(text)
        else:
            error = ConnectionClosedError(f"the peer ended the conversation: {text or reason}")
            if reason == _LEFT:  # and it had answered all that it had begun
                error.call_status = "not started"
        event = states.RECEIVE_GOODBYE
        if self._state == states.GREETING:
            if not message.flags & REFUSED:
                return  # it was said before our hello was heard
            event = states.RECEIVE_REFUSAL
        was_open, self.is_open = self.is_open, False
        self._state = states.after(self._state, event)
        self._fail_calls(error)
        if was_open and self.on_conversation_end is not None:
            self.on_conversation_end()
        raise ConversationEndedError(error)

    def leave(self, reason: str, *, busy: bool = False) -> None:
        """Say goodbye, if a conversation is going on; the stream stays open.

        Args:
            reason: for people at the other end.
            busy: some call of the other end was begun and is not answered.
        """
        if not self.is_open or self._state != states.OPEN:  # the latter: it is just breaking
            return
        self.is_open = False
        self._state = states.after(self._state, states.SEND_GOODBYE)
        self._fail_calls(ConnectionClosedError(f"this end left the conversation: {reason}"))
        goodbye = encode_plain(
            _GOODBYE, self.next_id(), f"{_BUSY if busy else _LEFT}: {reason}".encode()
        )
        try:
            self.send(goodbye, monotonic() + _GOODBYE_SECONDS)
        except (*BREAKING, TimeoutError, ConversationEndedError):
            pass  # the peer left first, or does not read: then it finds out otherwise

    def broken(self, error: PyroError) -> PyroError:
        """Note that the stream is of no more use; return what to tell the user."""
        if self._error is None:
            if isinstance(error, ConnectionClosedError):
                self._state = states.after(self._state, states.STREAM_ENDED)
                error = (self.explain or explain_end)(error, self.peer_hello)
            else:
                self._state = states.after(self._state, states.RULE_BROKEN)
                self._tell_why(error)
            was_open, self.is_open = self.is_open, False
            self._error = error
            self.decoder.forget()
            self._fail_calls(error)
            sharing.unquiet.discard(self)
            if was_open and self.on_conversation_end is not None:
                self.on_conversation_end()
        return fresh_copy(self._error)

    def _tell_why(self, error: PyroError) -> None:
        """Tell the peer why this end gives up, if that can be sent at once."""
        if isinstance(error, OtherDialectError):
            if self.is_served:  # else whoever has called is told
                self.turn_down(error)
        else:
            reason = f"failed: {type(error).__name__}: {error}".encode(errors="replace")[:1000]
            self._say_last(encode_plain(_GOODBYE, self.next_id(), reason))

    def turn_down(self, error: OtherDialectError) -> None:
        """Tell a client, in its own dialect, that this one is not spoken here."""
        from pyroipc.wire.refusals import connect_failure

        self._say_last(connect_failure(error.version or VERSIONS[PYRO5], str(error)[:1000]))

    def _say_last(self, data: Encoded) -> None:
        """Send what nobody waits for, if that can be done at once."""
        if self.sending.acquire(timeout=_LAST_WORD_SECONDS):
            try:
                parts = (data,) if isinstance(data, bytes) else [*data]
                self.channel.send_parts(parts, monotonic())
            except (ConnectionClosedError, TimeoutError, SecurityError):
                pass
            finally:
                self.sending.release()

    def close(self) -> None:
        """Give back what the session holds; an owned socket is closed, a lent one is not."""
        self.leave("closed")
        if self._error is None and self.channel.owned:
            self._error = ConnectionClosedError("this end closed the connection")
            self.is_open = False
            sharing.unquiet.discard(self)
        self.channel.close()
        if self._error is not None:
            self.decoder.forget()

    def disown(self) -> None:
        """In a forked child: this connection is the parent's; have nothing to do with it."""
        self.is_open = False
        self._error = ForkedConnectionError(
            "this connection was inherited through a fork and belongs to the parent process; "
            "make a new socket pair before the fork, and a new proxy or daemon after it"
        )
        self._make_locks()


def _after_fork_in_child() -> None:
    global _making
    _making = threading.Lock()


sharing.after_fork.append(_after_fork_in_child)

"""The blocking channel over a connected stream socket: the only code that waits on one.

Three things are its own:

* **It never loses count.** A signal handler, most of all the one of Ctrl-C, may raise right
  after any call returns, a system call too. Were the number of bytes lost there, the stream
  would be out of step for ever. So the numbers are taken by ``for x.attribute in map(...)``:
  between the return of the system call and the storing of its result the interpreter does not
  look for signals. What a sender could not finish is finished by the next one.
* **It never changes the socket** that a user lent: neither its blocking mode nor its time-out,
  and it does not close it or shut it down.
* **A wait has a way out**: a deadline, the end of the stream, or :meth:`StreamChannel.wake`.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
import select
import struct
import sys
from time import monotonic

from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.transports import descriptors
from pyroipc.transports.spin import sched_yield

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from pyroipc.transports.spin import Spin
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.message import Buffer
    from pyroipc.wire.native import Decoder

MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_PARTS_MAX = 512
_TICK_SECONDS = 1
_MEANWHILE_MILLISECONDS = 20
_POLL_MAX = 86_400_000  # milliseconds; more than poll() can take would be an error


class WokenError(Exception):
    """A receiver was woken by :meth:`StreamChannel.wake`; nothing was received."""


class PartlySentError(Exception):
    """A part of a piece was sent; the rest is kept, and goes before whatever is sent next."""


class StreamChannel:
    """A connected stream socket.

    One thread at a time may receive, and one at a time may send.

    Args:
        sock: a connected stream socket, or a coat around one (:mod:`pyroipc.transports.coated`).
        peer: what is known of the process at the other end.
        decoder: receives what arrives.
        owned: this library made the socket: it may be configured, shut down and closed.
    """

    __slots__ = (
        "_atomic_bytes",
        "_plain",
        "_poll",
        "_recv_into",
        "_send",
        "_sent",
        "_wake_pair",
        "_woken",
        "decoder",
        "has_pending",
        "offset",
        "on_tick",
        "owned",
        "peer",
        "sock",
        "spin",
        "unsent",
    )

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        decoder: Decoder,
        *,
        owned: bool = False,
    ) -> None:
        self.sock = sock
        self.peer = peer
        self.owned = owned
        self.decoder = decoder
        self.spin: Spin | None = None
        """Looks for data before sleeping, once it is set."""
        self.on_tick: Callable[[], None] | None = None
        """Called about once a second while a receiver sleeps, if it was set by :meth:`tick`."""
        self._recv_into = sock.recv_into
        self._send = sock.send
        self.has_pending: Callable[[], bool] | None = getattr(sock, "has_pending", None)
        """Of a coat: says whether it has received something that it has not given out."""
        self.unsent: list[Buffer] = []
        """The message on its way, or what has to go before the next one."""
        self.offset = 0
        """How much of that has gone."""
        self._sent = 0  # what the last system call took, not yet counted in the offset
        self._atomic_bytes = _atomic_bytes(sock)
        self._woken = False
        self._wake_pair: tuple[socket.socket, socket.socket] | None = None
        self._poll: select.poll | None = None
        # Whether a plain blocking call may be used to receive: one system call instead of two.
        self._plain = sock.gettimeout() is None

    def tick(self, on_tick: Callable[[], None]) -> None:
        """Have a function called about once a second while a receiver of this channel sleeps.

        Args:
            on_tick: what it raises comes out of the receiving call. The socket is owned.
        """
        self.on_tick = on_tick
        _set_tick(self.sock)

    def make_wakeable(self) -> None:
        """From now on a receiver must end at once when another thread calls :meth:`wake`.

        For an owned socket this costs nothing. For a lent one, which may not be shut down, each
        wait takes a second system call from here on.
        """
        if not self.owned and self._wake_pair is None:
            self._wake_pair = socket.socketpair()
            self._plain = False
            self._poll = None

    def make_unwakeable(self) -> None:
        """Take back :meth:`make_wakeable`; nobody may be receiving."""
        pair, self._wake_pair = self._wake_pair, None
        self._woken = False
        self._plain = self.sock.gettimeout() is None
        self._poll = None
        for sock in pair or ():
            sock.close()

    def receive(self, deadline: float | None = None) -> None:
        """Receive some bytes into the decoder, and leave their number in its ``received``.

        Args:
            deadline: absolute, by the monotonic clock; None: wait as long as it takes.

        Raises:
            ConnectionClosedError: the stream ended or broke.
            TimeoutError: the deadline passed; nothing was received.
            WokenError: :meth:`wake` was called.
        """
        decoder = self.decoder
        spin = self.spin
        try:
            if spin is not None and spin.on and not decoder.end:
                if spin.yielding:
                    spin.offers -= 1
                    if spin.offers:
                        sched_yield()
                    else:
                        spin.timed_offer()
                for decoder.received in spin.first_look:
                    spin.misses = 0
                    break
            else:
                self._receive_slowly(deadline)
        except OSError as error:
            if not _would_block(error):
                _raise_translated(error)
            self._receive_slowly(deadline)
        if not decoder.received:
            self._ended()

    def _ended(self) -> None:
        if self._woken:
            self._woken = False
            raise WokenError
        where = " in the middle of a message" if self.decoder.in_message else ""
        raise ConnectionClosedError(f"the peer closed the connection{where}")

    def _receive_slowly(self, deadline: float | None) -> None:
        """Look for a while, if that pays, and then sleep."""
        spin = self.spin
        try:
            if (
                spin is not None
                and (spin.on or spin.try_again())
                and not self.sock.gettimeout()  # such a socket would wait in every look
                and spin.look(self.decoder)
            ):
                return
            if not (self._plain and deadline is None and self._receive_plainly()):
                self._receive_by_poll(deadline)
        except OSError as error:
            _raise_translated(error)

    def _receive_plainly(self) -> bool:
        """Wait in the receiving call itself; False if the socket does not do that.

        Raises:
            OSError: as ``recv_into`` does.
        """
        decoder = self.decoder
        while True:
            try:
                for decoder.received in map(self._recv_into, (decoder.get_buffer(),)):
                    return True
            except OSError as error:
                if not _would_block(error):
                    raise
                if not self.owned:  # the user has changed its mode, or another process has
                    return False
                if self.on_tick is not None:
                    self.on_tick()

    def _receive_by_poll(self, deadline: float | None) -> None:
        decoder = self.decoder
        while True:
            self._wait_readable(deadline)
            reads = map(self._recv_into, (decoder.get_buffer(),), (0,), (MSG_DONTWAIT,))
            try:
                for decoder.received in reads:
                    return
            except OSError as error:
                if not _would_block(error):
                    raise

    def receive_now(self) -> bool:
        """Receive what is there into the decoder, without waiting; False if that is nothing.

        Raises:
            ConnectionClosedError: the stream ended or broke.
        """
        decoder = self.decoder
        if self.sock.gettimeout() and not _is_readable(self.sock):
            return False  # such a socket would wait in the receiving call, whatever the flags
        try:
            for decoder.received in map(
                self._recv_into, (decoder.get_buffer(),), (0,), (MSG_DONTWAIT,)
            ):
                break
        except OSError as error:
            if not _would_block(error):
                _raise_translated(error)
            return False
        if not decoder.received:
            self._ended()
        return True

    def _wait_readable(self, deadline: float | None) -> None:
        """Wait until the socket is readable.

        Raises:
            TimeoutError: the deadline passed.
            WokenError: :meth:`wake` was called.
        """
        if self._poll is None:
            self._poll = self._make_poll()
        while True:
            if self._woken:
                self._woken = False
                if self._wake_pair is not None:
                    self._wake_pair[0].recv(4096)
                raise WokenError
            if self.has_pending is not None and self.has_pending():
                return
            if self._poll.poll(self._poll_milliseconds(deadline)):
                if not self._woken:
                    return
            elif self.on_tick is not None:
                self.on_tick()
            if deadline is not None and monotonic() >= deadline:
                raise TimeoutError("the deadline passed while waiting for the peer")

    def _make_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if self._wake_pair is not None:
            poll.register(self._wake_pair[0], select.POLLIN)
        return poll

    def _poll_milliseconds(self, deadline: float | None) -> float | None:
        tick = _TICK_SECONDS * 1000 if self.on_tick is not None else None
        if deadline is None:
            return tick
        rest = min(max(0.0, (deadline - monotonic()) * 1000 + 1), _POLL_MAX)
        return rest if tick is None else min(rest, tick)

    def wake(self) -> None:
        """Make the receiver that waits, or else the next one, raise :class:`WokenError`.

        Only for channels that were made wakeable; an owned one receives nothing afterwards.
        """
        if self._woken:
            return
        self._woken = True
        pair = self._wake_pair
        if pair is not None:
            try:
                pair[1].send(b"w")
            except OSError:
                pass  # taken back at this moment: nobody receives any more
        elif self.owned:
            _shut(self.sock, socket.SHUT_RD)

    def send_now(self, data: bytes) -> bool:
        """Send one small piece whole and without waiting, if that is possible now.

        Returns:
            False if nothing was sent: the socket takes nothing now, or something else goes first.

        Raises:
            ConnectionClosedError: the stream broke.
            PartlySentError: a part of it was sent.
        """
        if self.unsent:
            return False
        n_bytes = len(data)
        if n_bytes > self._atomic_bytes:
            # A socket with a time-out would wait in the sending call.
            return not self.sock.gettimeout() and self._begin_to_send(data, n_bytes)
        send = self._send
        try:
            return send(data, MSG_DONTWAIT) == n_bytes
        except OSError as error:
            if not _would_block(error):
                _raise_translated(error)
            return False

    def _begin_to_send(self, data: bytes, n_bytes: int) -> bool:
        """Do what send_now does where the kernel may take a piece in part.

        Raises:
            PartlySentError: it did.
        """
        try:
            # Up to the end of this block there is no call after which a signal handler could run.
            for self._sent in map(self._send, (data,), (MSG_DONTWAIT,)):
                if self._sent == n_bytes:
                    self._sent = 0
                    return True
                self.unsent = [data]
                self.offset = self._sent
                self._sent = 0
        except OSError as error:
            if not _would_block(error):
                _raise_translated(error)
            if not self._is_committed:
                return False
            self.unsent = [data]
            self.offset = 0
        raise PartlySentError

    @property
    def _is_committed(self) -> bool:
        """Whether a coat has taken something of which it could not send all."""
        return self.has_pending is not None and self.sock.is_committed  # type: ignore[attr-defined]

    def send_what_goes(self, parts: Sequence[Buffer]) -> bool:
        """Put pieces behind what is unsent, and send as much of all that as goes without waiting.

        Args:
            parts: what to send; it is kept until it is sent.

        Returns:
            Whether nothing is left.

        Raises:
            ConnectionClosedError: the stream broke.
        """
        if not self.unsent:
            self.offset = 0
        self.unsent.extend(part for part in parts if len(part))
        while rest := _after(self.unsent, self.offset):
            try:
                if not self._send_some(rest):
                    return False
            except OSError as error:
                self.unsent = []
                _raise_translated(error)
            finally:
                self.offset += self._sent
                self._sent = 0
        self.unsent = []
        return True

    def send_parts(
        self,
        parts: Sequence[Buffer],
        deadline: float | None = None,
        meanwhile: Callable[[], bool] | None = None,
    ) -> None:
        """Send pieces whole, one after the other, without joining them.

        If it is interrupted in the middle of a message, by a signal handler that raises or by the
        deadline, the rest is kept and sent before anything else, so that the stream stays in
        step; a message of which nothing was sent is forgotten.

        Args:
            parts: what to send.
            deadline: absolute, by the monotonic clock; None: wait as long as it takes.
            meanwhile: called while the peer takes nothing, to receive what it sends: two sides
                that both only send would wait for each other for ever. Returns False if it
                could not, because another thread receives.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        if self.unsent:  # first finish what was interrupted
            self._send_unsent(deadline, meanwhile)
        views: list[Buffer] = [memoryview(part).cast("B") for part in parts if len(part)]
        if views:
            self.unsent, self.offset = views, 0
            try:
                self._send_unsent(deadline, meanwhile)
            finally:
                if not self.offset + self._sent and not self._is_committed:
                    self.unsent = []

    def _send_unsent(self, deadline: float | None, meanwhile: Callable[[], bool] | None) -> None:
        while rest := _after(self.unsent, self.offset):
            try:
                # A socket with a time-out would wait in the sending call, whatever the flags.
                if self.sock.gettimeout() or not self._send_some(rest):
                    self._wait_writable(deadline, meanwhile)
            except TimeoutError:
                raise
            except OSError as error:
                self.unsent = []
                _raise_translated(error)
            finally:
                # No call may stand here: a signal handler could raise between the two.
                self.offset += self._sent
                self._sent = 0
        self.unsent = []

    def _send_some(self, views: list[Buffer]) -> bool:
        """Send what the socket takes without waiting; False if that is nothing.

        Raises:
            OSError: as ``sendmsg`` does.
        """
        try:
            for self._sent in map(self.sock.sendmsg, (views,), ((),), (MSG_DONTWAIT,)):
                return True
        except OSError as error:
            if not _would_block(error):
                raise
        return False

    def _wait_writable(self, deadline: float | None, meanwhile: Callable[[], bool] | None) -> None:
        """Wait until the socket may take something, receiving in the meantime.

        Raises:
            TimeoutError: the deadline passed.
        """
        reads = meanwhile is not None and meanwhile()
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT | select.POLLIN if reads else select.POLLOUT)
        milliseconds = self._poll_milliseconds(deadline)
        if meanwhile is not None and not reads:  # somebody else receives: for how long?
            milliseconds = min(_MEANWHILE_MILLISECONDS, milliseconds or _MEANWHILE_MILLISECONDS)
        poll.poll(milliseconds)
        if deadline is not None and monotonic() >= deadline:
            raise TimeoutError("the deadline passed while the peer did not read")
        if self.sock.gettimeout() and any(event & select.POLLOUT for _, event in poll.poll(0)):
            self._send_some(_after(self.unsent, self.offset))

    def close(self) -> None:
        """Give back what belongs to the channel, and the socket if it is owned."""
        self.make_unwakeable()
        if self.owned:
            _shut(self.sock, socket.SHUT_RDWR)
            descriptors.close(self.sock)


class ConnectionChannel(StreamChannel):
    """A channel over a socket that nobody else has: when it is collected, the socket is closed."""

    __slots__ = ()

    def send_now(self, data: bytes) -> bool:
        """Send one small piece without waiting, as :meth:`StreamChannel.send_now` does.

        Raises:
            ConnectionClosedError: the stream broke.
            PartlySentError: a part of it was sent.
        """
        # Nobody has set a time-out, and there is but one way to send: two frames less.
        return not self.unsent and self._begin_to_send(data, len(data))

    def __del__(self) -> None:
        descriptors.close_soon(getattr(self.sock, "raw", self.sock))


def _after(views: list[Buffer], offset: int) -> list[Buffer]:
    """List what follows the first ``offset`` bytes of ``views``, few enough for one call."""
    rest: list[Buffer] = []
    for view in views:
        if offset < len(view):
            rest.append(memoryview(view)[offset:] if offset else view)
            if len(rest) == _PARTS_MAX:
                break
        offset = max(0, offset - len(view))
    return rest


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _atomic_bytes(sock: socket.socket) -> int:
    """Return up to how many bytes the kernel takes a piece whole or not at all.

    Linux puts what is sent on a unix stream socket into buffers of up to half the send buffer
    each, so a small piece is never divided. Such a send needs no account of how far it came.
    """
    if sys.platform != "linux" or sock.family != socket.AF_UNIX or sock.gettimeout():
        return 0  # a socket with a time-out would wait in the sending call, whatever the flags
    return min(32 << 10, sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2 - 64)


def _set_tick(sock: socket.socket) -> None:
    """Let a sleeping receiver look around once a second (a receive time-out of the kernel's)."""
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TICK_SECONDS, 0))


def _shut(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the peer is gone already


def _would_block(error: OSError) -> bool:
    """Say whether a call came back because the socket may not wait, or not any longer.

    The latter is the time-out that a user has set on his socket, and not that of the kernel for a
    peer that does not answer any more, which has a number.
    """
    return isinstance(error, BlockingIOError) or (
        isinstance(error, socket.timeout)
        and error.errno is None
        and not isinstance(error, TimeoutError)
    )


def _raise_translated(error: OSError) -> NoReturn:
    """Raise the error of ours that says what an OSError means here.

    Raises:
        ConnectionClosedError: always, but for a TimeoutError of ours, which it raises again.
    """
    if isinstance(error, TimeoutError):
        raise error
    text = f"the connection was lost: {error.strerror or error}"
    raise ConnectionClosedError(text) from None

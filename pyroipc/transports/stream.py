"""The blocking channel over a connected stream socket: the only code that waits on one.

The sending half has a module of its own, :mod:`pyroipc.transports.sending`. What is special:

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
from time import monotonic

from pyroipc.errors import ConnectionClosedError, TimeoutError
from pyroipc.transports import descriptors
from pyroipc.transports.sending import (
    MSG_DONTWAIT,
    TICK_SECONDS,
    PartlySentError,
    SendingHalf,
    raise_translated,
    would_block,
)
from pyroipc.transports.side import numbers_in
from pyroipc.transports.spin import sched_yield

__all__ = [
    "MSG_DONTWAIT",
    "ConnectionChannel",
    "PartlySentError",
    "StreamChannel",
    "WokenError",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroipc.transports.spin import Spin
    from pyroipc.transports.trust import Peer
    from pyroipc.wire.native import Decoder


_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_ONE_BESIDE = socket.CMSG_SPACE(struct.calcsize("i")) if hasattr(socket, "CMSG_SPACE") else 0


class WokenError(Exception):
    """A receiver was woken by :meth:`StreamChannel.wake`; nothing was received."""


class StreamChannel(SendingHalf):
    """A connected stream socket.

    One thread at a time may receive, and one at a time may send.

    Args:
        sock: a connected stream socket, or a coat around one (:mod:`pyroipc.transports.coated`).
        peer: what is known of the process at the other end.
        decoder: receives what arrives.
        owned: this library made the socket: it may be configured, shut down and closed.
    """

    __slots__ = (
        "_beside",
        "_plain",
        "_poll",
        "_recv_into",
        "_spin_aside",
        "_wake_pair",
        "_woken",
        "decoder",
        "owned",
        "peer",
        "spin",
    )

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        decoder: Decoder,
        *,
        owned: bool = False,
    ) -> None:
        super().__init__(sock)
        self.peer = peer
        self.owned = owned
        self._is_wide = not owned
        self.decoder = decoder
        self.spin: Spin | None = None
        """Looks for data before sleeping, once it is set."""
        self._recv_into = sock.recv_into
        # What came beside the bytes; None, and no look for it, unless a descriptor is expected.
        self._beside: list[tuple[int, int, bytes]] | None = None
        self._spin_aside: Spin | None = None
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

    @property
    def expects_descriptor(self) -> bool:
        """Whether whoever receives has to look for what comes beside the bytes."""
        return self._beside is not None

    def expect_descriptor(self) -> None:
        """Look for a descriptor beside the bytes from now on; the caller is the receiver."""
        if self._beside is None:
            self._beside = []
            self._recv_into = self._receive_beside  # type: ignore[assignment] # as it is called
            self._spin_aside, self.spin = self.spin, None

    def take_descriptor(self) -> int | None:
        """Stop looking, and return the descriptor that came, which is in the table of ours."""
        beside, self._beside = self._beside, None
        if beside is None:
            return None
        self._recv_into = self.sock.recv_into
        self.spin = self.spin or self._spin_aside
        self._spin_aside = None
        first, *others = [*numbers_in(beside), None]
        for number in others:
            if number is not None:
                descriptors.close_number(number)
        return first

    def _receive_beside(self, view: memoryview, _: int = 0, flags: int = 0) -> int:
        """Receive as ``recv_into`` does, and what comes beside the bytes."""
        decoder = self.decoder
        before = self._beside
        for decoder.received, self._beside, _, _ in map(
            self.sock.recvmsg_into, ((view,),), (_ONE_BESIDE,), (flags | _CLOEXEC,)
        ):
            break
        if before:  # one came already
            surplus, self._beside = self._beside, before
            for number in numbers_in(surplus or ()):
                descriptors.close_number(number)
        return decoder.received

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
            if not would_block(error):
                raise_translated(error)
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
                # The rest of what has begun to arrive is on its way. Who looks for it again and
                # again gets it in small pieces, and large data in twice the time.
                and not self.decoder.end
                and (spin.on or spin.try_again())
                and not self.sock.gettimeout()  # such a socket would wait in every look
                and spin.look(self.decoder)
            ):
                return
            if not (self._plain and deadline is None and self._receive_plainly()):
                self._receive_by_poll(deadline)
            if spin is not None and spin.began:
                spin.slept()
        except OSError as error:
            raise_translated(error)

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
                if not would_block(error):
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
                if not would_block(error):
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
            if not would_block(error):
                raise_translated(error)
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
            if self._poll.poll(self.poll_milliseconds(deadline)):
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

    def close(self) -> None:
        """Give back what belongs to the channel, and the socket if it is owned."""
        self.make_unwakeable()
        number = self.take_descriptor()
        if number is not None:
            descriptors.close_number(number)
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


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _set_tick(sock: socket.socket) -> None:
    """Let a sleeping receiver look around once a second (a receive time-out of the kernel's)."""
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TICK_SECONDS, 0))


def _shut(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the peer is gone already

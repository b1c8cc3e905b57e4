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

import os
import select
import socket
import struct
import sys
from time import monotonic

from pyroipc.errors import ConnectionClosedError, TimeoutError
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


class WokenError(Exception):
    """A receiver was woken by :meth:`StreamChannel.wake`; nothing was received."""


class StreamChannel:
    """A connected stream socket.

    One thread at a time may receive, and one at a time may send.

    Args:
        sock: a connected stream socket.
        peer: what is known of the process at the other end.
        decoder: receives what arrives.
        owned: this library made the socket: it may be configured, shut down and closed.
    """

    __slots__ = (
        "_atomic_bytes",
        "_offset",
        "_plain",
        "_poll",
        "_recv_into",
        "_send",
        "_sent",
        "_unsent",
        "_wake_pair",
        "_woken",
        "decoder",
        "on_tick",
        "owned",
        "peer",
        "sock",
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
        self.sock = sock
        self.peer = peer
        self.owned = owned
        self.decoder = decoder
        self.spin: Spin | None = None
        """Looks for data before sleeping, once it is set."""
        self.on_tick: Callable[[], None] | None = None
        """Called about once a second while a receiver of an owned socket sleeps; may raise."""
        self._recv_into = sock.recv_into
        self._send = sock.send
        self._unsent: list[memoryview] = []  # the message on its way, or what precedes the next
        self._offset = 0  # how much of it has gone
        self._sent = 0  # what the last system call took, not yet counted in the offset
        self._atomic_bytes = _atomic_bytes(sock)
        self._woken = False
        self._wake_pair: tuple[socket.socket, socket.socket] | None = None
        self._poll: select.poll | None = None
        # Whether a plain blocking call may be used to receive: one system call instead of two.
        self._plain = sock.gettimeout() is None
        if owned:
            _set_tick(sock)

    def make_wakeable(self) -> None:
        """From now on a receiver must end at once when another thread calls :meth:`wake`.

        For an owned socket this costs nothing. For a lent one, which may not be shut down, each
        wait takes a second system call from here on.
        """
        if not self.owned and self._wake_pair is None:
            self._wake_pair = socket.socketpair()
            self._plain = False
            self._poll = None

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
        except BlockingIOError:
            self._receive_slowly(deadline)
        except OSError as error:
            _raise_translated(error)
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
            if spin is not None and (spin.on or spin.try_again()) and spin.look(self.decoder):
                return
            if self._plain and deadline is None:
                self._receive_plainly()
            else:
                self._receive_by_poll(deadline)
        except OSError as error:
            _raise_translated(error)

    def _receive_plainly(self) -> None:
        decoder = self.decoder
        while True:
            try:
                for decoder.received in map(self._recv_into, (decoder.get_buffer(),)):
                    return
            except BlockingIOError:  # the tick
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
            except BlockingIOError:
                continue

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
        rest = max(0.0, (deadline - monotonic()) * 1000 + 1)
        return rest if tick is None else min(rest, tick)

    def wake(self) -> None:
        """Make the receiver that waits, or else the next one, raise :class:`WokenError`.

        Only for channels that were made wakeable; an owned one receives nothing afterwards.
        """
        if self._woken:
            return
        self._woken = True
        if self._wake_pair is not None:
            self._wake_pair[1].send(b"w")
        elif self.owned:
            _shut(self.sock, socket.SHUT_RD)

    def send(self, data: bytes) -> None:
        """Send one small piece whole.

        Raises:
            ConnectionClosedError: the stream broke.
        """
        if self._unsent or len(data) > self._atomic_bytes:
            self._send_counting(data)
            return
        send = self._send
        try:
            sent = send(data)
        except BlockingIOError:
            self.send_parts((data,))  # a socket in non-blocking mode: this waits
        except OSError as error:
            _raise_translated(error)
        else:
            if sent != len(data):
                self.send_parts((memoryview(data)[sent:],))

    def _send_counting(self, data: bytes) -> None:
        """Send a piece of which the kernel may take just a part."""
        if self._unsent:
            self.send_parts((data,))
            return
        self._sent = 0
        try:
            for self._sent in map(self._send, (data,)):
                pass
        except BlockingIOError:
            pass  # a socket in non-blocking mode: send_parts waits
        except OSError as error:
            _raise_translated(error)
        finally:
            if self._sent != len(data):
                self._sending_cut(data)
        if self._unsent:
            self.send_parts(())
        elif not self._sent:
            self.send_parts((data,))

    def _sending_cut(self, data: bytes) -> None:
        """Keep what was not sent of a message of which something was sent."""
        if self._sent:
            self._unsent, self._offset, self._sent = [memoryview(data)], self._sent, 0

    def send_parts(self, parts: Sequence[Buffer], deadline: float | None = None) -> None:
        """Send pieces whole, one after the other, without joining them.

        If it is interrupted in the middle of a message, by a signal handler that raises or by the
        deadline, the rest is kept and sent before anything else, so that the stream stays in
        step; a message of which nothing was sent is forgotten.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        if self._unsent:  # first finish what was interrupted
            self._send_unsent(deadline)
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        if views:
            self._unsent, self._offset = views, 0
            try:
                self._send_unsent(deadline)
            finally:
                if not self._offset + self._sent:
                    self._unsent = []

    def _send_unsent(self, deadline: float | None) -> None:
        while rest := _after(self._unsent, self._offset):
            try:
                self._send_some(rest, deadline)
            except TimeoutError:
                raise
            except OSError as error:
                self._unsent = []
                _raise_translated(error)
            finally:
                # No call may stand here: a signal handler could raise between the two.
                self._offset += self._sent
                self._sent = 0
        self._unsent = []

    def _send_some(self, views: list[memoryview], deadline: float | None) -> None:
        sendmsg = self.sock.sendmsg
        if deadline is None and self.sock.gettimeout() is None:
            for self._sent in map(sendmsg, (views,)):
                return
        while True:
            try:
                for self._sent in map(sendmsg, (views,), ((),), (MSG_DONTWAIT,)):
                    return
            except BlockingIOError:
                rest = None if deadline is None else max(0.0, deadline - monotonic())
                if not select.select([], [self.sock], [], rest)[1]:
                    text = "the deadline passed while the peer did not read"
                    raise TimeoutError(text) from None

    def close(self) -> None:
        """Give back what belongs to the channel, and the socket if it is owned."""
        self._poll = None
        if self._wake_pair is not None:
            pair, self._wake_pair = self._wake_pair, None
            for sock in pair:
                sock.close()
        if self.owned:
            _shut(self.sock, socket.SHUT_RDWR)
            self.sock.close()


def _after(views: list[memoryview], offset: int) -> list[memoryview]:
    """List what follows the first ``offset`` bytes of ``views``, few enough for one call."""
    rest = []
    for view in views:
        if offset < len(view):
            rest.append(view[offset:] if offset else view)
            if len(rest) == _PARTS_MAX:
                break
        offset = max(0, offset - len(view))
    return rest


def _atomic_bytes(sock: socket.socket) -> int:
    """Return up to how many bytes the kernel takes a piece whole or not at all.

    Linux puts what is sent on a unix stream socket into buffers of up to half the send buffer
    each, so a small piece is never divided. Such a send needs no account of how far it came.
    """
    if sys.platform != "linux" or sock.family != socket.AF_UNIX:
        return 0
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


def _raise_translated(error: OSError) -> NoReturn:
    """Raise the error of ours that says what an OSError means here.

    Raises:
        ConnectionClosedError: always, but for a TimeoutError of ours, which it raises again.
    """
    if isinstance(error, TimeoutError):
        raise error
    text = f"the connection was lost: {error.strerror or error}"
    raise ConnectionClosedError(text) from None

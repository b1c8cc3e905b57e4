"""The sending half of a channel, and what both halves have in common.

What a sender could not finish, because its socket took no more, because of a deadline, or because
a signal handler raised, is kept and goes before whatever is sent next. How far it came is never
lost; :mod:`pyroipc.transports.stream` tells how.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import select
import struct
import sys
from time import monotonic

from pyroipc.errors import ConnectionClosedError, TimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, Protocol

    from pyroipc.wire.message import Buffer

    class Cargo(Protocol):
        """Something that is sent in parts."""

        sent: int
        """How many of them have been sent."""


MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
TICK_SECONDS = 1
_PARTS_MAX = 512
_WIDE_BYTES = 1 << 20
_MEANWHILE_MILLISECONDS = 20
_POLL_MAX = 86_400_000  # milliseconds; more than poll() can take would be an error


class PartlySentError(Exception):
    """A part of a piece was sent; the rest is kept, and goes before whatever is sent next."""


class SendingHalf:
    """Sends over a connected stream socket; one thread at a time.

    Args:
        sock: the socket, or a coat around one.
    """

    __slots__ = (
        "_atomic_bytes",
        "_is_wide",
        "_send",
        "_sent",
        "cargo",
        "has_pending",
        "offset",
        "on_tick",
        "sock",
        "unsent",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.has_pending: Callable[[], bool] | None = getattr(sock, "has_pending", None)
        """Of a coat: says whether it has received something that it has not given out."""
        self.on_tick: Callable[[], None] | None = None
        """Called about once a second while somebody waits for the socket; may raise."""
        self.unsent: Sequence[Buffer] = ()
        """The message on its way, or what has to go before the next one."""
        self.offset = 0
        """How much of that has gone."""
        self.cargo: Cargo | None = None
        """What the message on its way is a part of."""
        self._send = sock.send
        self._sent = 0  # what the last system call took, not yet counted in the offset
        self._atomic_bytes = _atomic_bytes(sock)
        self._is_wide = True

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
            if not would_block(error):
                raise_translated(error)
            return False

    def _begin_to_send(self, data: bytes, n_bytes: int) -> bool:
        """Do what send_now does where the kernel may take a piece in part.

        Raises:
            PartlySentError: it did.
        """
        if self.has_pending is not None:
            return self._begin_in_coat(data)
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
            if not would_block(error):
                raise_translated(error)
            return False
        raise PartlySentError

    def _begin_in_coat(self, data: bytes) -> bool:
        """Do the same through a coat, within which a signal handler may raise.

        What the coat has taken by then has to be given again, so it is put by before.

        Raises:
            PartlySentError: not all was sent.
        """
        self.unsent, self.offset = [data], 0
        try:
            self._send_some([data])
        except OSError as error:
            self.unsent = ()
            raise_translated(error)
        finally:
            # No call may stand between these: a signal handler could raise there.
            self.offset += self._sent
            self._sent = 0
            if not self.offset and not self._is_committed:
                self.unsent = ()
        if not self.unsent:
            return False
        if self.offset < len(data):
            raise PartlySentError
        self.unsent = ()
        return True

    @property
    def _is_committed(self) -> bool:
        """Whether a coat has taken something of which it could not send all."""
        return self.has_pending is not None and self.sock.is_committed  # type: ignore[attr-defined]

    def widen(self) -> None:
        """Have the kernel take a whole chunk of a long message at once, if that can be chosen.

        Not on a socket that a user has lent; and TCP finds out by itself what is best.
        """
        if self._is_wide:
            return
        self._is_wide = True
        if self.has_pending is None and self.sock.family == getattr(socket, "AF_UNIX", None):
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WIDE_BYTES)
            except OSError:
                pass  # then it goes in more pieces

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
        self.unsent = [*self.unsent, *(part for part in parts if len(part))]
        while rest := _after(self.unsent, self.offset):
            try:
                if not self._send_some(rest):
                    return False
            except OSError as error:
                self.cargo = None
                self.unsent = ()
                raise_translated(error)
            finally:
                self.offset += self._sent
                self._sent = 0
        self._all_is_sent()
        return True

    def send_parts(
        self,
        parts: Sequence[Buffer],
        deadline: float | None = None,
        meanwhile: Callable[[], bool] | None = None,
        cargo: Cargo | None = None,
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
            cargo: what the pieces are a part of; it is counted by whoever sends the last of them.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        if self.unsent:  # first finish what was interrupted
            self._send_unsent(deadline, meanwhile)
        views: list[Buffer] = [memoryview(part).cast("B") for part in parts if len(part)]
        if views:
            # No call between these: a signal handler could raise there.
            self.offset = 0
            self.unsent = views
            self.cargo = cargo
            try:
                self._send_unsent(deadline, meanwhile)
            finally:
                if not self.offset + self._sent and not self._is_committed:
                    self.cargo = None
                    self.unsent = ()

    def send_beside(
        self,
        data: bytes,
        fd: int,
        deadline: float | None = None,
        meanwhile: Callable[[], bool] | None = None,
    ) -> None:
        """Send a small piece, and a descriptor beside it.

        Raises:
            ConnectionClosedError: the stream broke.
            TimeoutError: the deadline passed while the peer did not read.
        """
        if self.unsent:
            self._send_unsent(deadline, meanwhile)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        while not self._sent:
            try:
                for self._sent in map(self.sock.sendmsg, ((data,),), (rights,), (MSG_DONTWAIT,)):
                    break
            except OSError as error:
                if not would_block(error):
                    raise_translated(error)
                self._wait_writable(deadline, meanwhile)
        # No call between these: a signal handler could raise there.
        self.unsent = (data,)
        self.offset = self._sent
        self._sent = 0
        self._send_unsent(deadline, meanwhile)

    def _send_unsent(self, deadline: float | None, meanwhile: Callable[[], bool] | None) -> None:
        while rest := _after(self.unsent, self.offset):
            try:
                # A socket with a time-out would wait in the sending call, whatever the flags.
                if self.sock.gettimeout() or not self._send_some(rest):
                    self._wait_writable(deadline, meanwhile)
            except TimeoutError:
                raise
            except OSError as error:
                self.cargo = None
                self.unsent = ()
                raise_translated(error)
            finally:
                # No call may stand here: a signal handler could raise between the two.
                self.offset += self._sent
                self._sent = 0
        self._all_is_sent()

    def _all_is_sent(self) -> None:
        # No call in here: a signal handler could raise there.
        cargo = self.cargo
        self.unsent = ()
        self.cargo = None
        if cargo is not None:
            cargo.sent += 1

    def _send_some(self, views: list[Buffer]) -> bool:
        """Send what the socket takes without waiting; False if that is nothing.

        Raises:
            OSError: as ``sendmsg`` does.
        """
        try:
            for self._sent in map(self.sock.sendmsg, (views,), ((),), (MSG_DONTWAIT,)):
                return True
        except OSError as error:
            if not would_block(error):
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
        milliseconds = self.poll_milliseconds(deadline)
        if meanwhile is not None and not reads:  # somebody else receives: for how long?
            milliseconds = min(_MEANWHILE_MILLISECONDS, milliseconds or _MEANWHILE_MILLISECONDS)
        poll.poll(milliseconds)
        if deadline is not None and monotonic() >= deadline:
            raise TimeoutError("the deadline passed while the peer did not read")
        if self.sock.gettimeout() and any(event & select.POLLOUT for _, event in poll.poll(0)):
            self._send_some(_after(self.unsent, self.offset))

    def poll_milliseconds(self, deadline: float | None) -> float | None:
        """Return how long to wait for the socket: until the deadline, or the next tick."""
        tick = TICK_SECONDS * 1000 if self.on_tick is not None else None
        if deadline is None:
            return tick
        rest = min(max(0.0, (deadline - monotonic()) * 1000 + 1), _POLL_MAX)
        return rest if tick is None else min(rest, tick)


def _after(views: Sequence[Buffer], offset: int) -> list[Buffer]:
    """List what follows the first ``offset`` bytes of ``views``, few enough for one call."""
    rest: list[Buffer] = []
    for view in views:
        if offset < len(view):
            rest.append(memoryview(view)[offset:] if offset else view)
            if len(rest) == _PARTS_MAX:
                break
        offset = max(0, offset - len(view))
    return rest


def _atomic_bytes(sock: socket.socket) -> int:
    """Return up to how many bytes the kernel takes a piece whole or not at all.

    Linux puts what is sent on a unix stream socket into buffers of up to half the send buffer
    each, so a small piece is never divided. Such a send needs no account of how far it came.
    """
    if sys.platform != "linux" or sock.family != socket.AF_UNIX or sock.gettimeout():
        return 0  # a socket with a time-out would wait in the sending call, whatever the flags
    return min(32 << 10, sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2 - 64)


def would_block(error: OSError) -> bool:
    """Say whether a call came back because the socket may not wait, or not any longer.

    The latter is the time-out that a user has set on his socket, and not that of the kernel for a
    peer that does not answer any more, which has a number.
    """
    return isinstance(error, BlockingIOError) or (
        isinstance(error, socket.timeout)
        and error.errno is None
        and not isinstance(error, TimeoutError)
    )


def raise_translated(error: OSError) -> NoReturn:
    """Raise the error of ours that says what an OSError means here.

    Raises:
        ConnectionClosedError: always, but for a TimeoutError of ours, which it raises again.
    """
    if isinstance(error, TimeoutError):
        try:
            raise error
        finally:
            del error
    text = f"the connection was lost: {error.strerror or error}"
    raise ConnectionClosedError(text) from None

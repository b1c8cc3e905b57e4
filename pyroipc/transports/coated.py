"""Sockets with a coat over them: plain bytes for a channel, protected ones for the kernel.

A :class:`CoatedSocket` puts a :class:`~pyroipc.transports.coat.Coat` over a connected socket and
looks like a socket in non-blocking mode, so that a channel waits on it as on any other. Coats can
be worn over each other.

Some things differ from a plain socket:

* **A send that could not be finished must be repeated.** Bytes that the coat took are protected
  in one piece. If the kernel takes only a part of that piece, ``send`` raises BlockingIOError, and
  ``is_committed`` says that the same bytes have to be given again, before any others; then
  ``send`` returns how many were taken. OpenSSL has the same rule.
* **Bytes may wait here.** A receiver asks ``has_pending()`` before it waits on the descriptor.
* **Receiving may have to send**, and the other way round: in a handshake, or after an error, of
  which the peer is told. While ``wants_write`` is true, somebody has to wait until the socket
  takes bytes, and call again.
* **An error of the coat is final**: every later use raises the same again.

Like a channel, a coat never loses count of the stream when a signal handler raises. The
interpreter looks for signals when a call returns and when a loop turns, and nowhere else. So
what a call did is stored by ``for x in map(...)``, or by plain statements with no call between
them, and each step can be begun again by whoever comes next. A signal handler that wants to use
the very socket whose step it interrupts gets a DeadlockError.
"""

from __future__ import annotations

import _socket as socket
import errno
import select
import threading
from time import monotonic

from pyroipc.errors import ConnectionClosedError, DeadlockError, PyroError, TimeoutError
from pyroipc.transports.coat import gather

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from pyroipc.transports.coat import Buffer, Coat

    AnySocket: TypeAlias = "socket.socket | CoatedSocket"

MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_POLL_MAX = 86_400_000  # milliseconds; more than poll() can take would be an error


class CoatedSocket:
    """A connected stream socket with a coat over it, always in non-blocking mode.

    One thread at a time may receive, and one at a time may send. What looks like a method of a
    socket behaves like it, but for what the module's docstring says.

    Args:
        sock: the socket below, or another coat. It may be in blocking or non-blocking mode; a
            time-out would make each call wait.
        coat: turns plain bytes into raw ones and back.
    """

    __slots__ = (
        "_failure",
        "_inside",
        "_lock",
        "_parted",
        "_recv",
        "_send",
        "_shut_read",
        "_sock",
        "coat",
        "raw",
    )

    def __init__(self, sock: AnySocket, coat: Coat) -> None:
        self._sock = sock
        self.coat = coat
        self.raw: socket.socket = sock.raw if isinstance(sock, CoatedSocket) else sock
        """The real socket, innermost."""
        self._recv = sock.recv
        self._send = sock.send
        # Reentrant, so that a signal handler gets an error instead of waiting for itself.
        self._lock = threading.RLock()
        self._inside = False
        self._failure: PyroError | None = None
        self._shut_read = False
        self._parted = False  # the farewell was said: nothing can be sent after it

    def __repr__(self) -> str:
        state = "" if self.coat.handshake_done else ", handshake not done"
        return f"<CoatedSocket {self.coat.name}{state}, over {self._sock!r}>"

    # ------------------------------------------------------------------------- receiving

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """Receive plain bytes, and go on with the handshake until it is done.

        Args:
            buffer: writable memory.
            nbytes: at most so many; 0: as many as the buffer holds.
            flags: ignored; it never waits.

        Returns:
            How many bytes were received; 0: the orderly end of the stream.

        Raises:
            BlockingIOError: nothing has arrived, or the handshake is not done.
            SecurityError: the peer is not who it should be, or bytes were changed on the way.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended where it may not.
            DeadlockError: a signal handler interrupted a step of the same socket.
            OSError: as the socket below says.
        """
        view = memoryview(buffer).cast("B")
        coat = self.coat
        if coat.plain_start == len(coat.plain):
            self._exclusively(self._fill)
        left = len(coat.plain) - coat.plain_start
        n_bytes = min(left, nbytes or len(view), len(view))
        # No call may stand from here to the end: a signal handler could raise there.
        start = coat.plain_start
        stop = start + n_bytes
        view[:n_bytes] = coat.plain[start:stop]
        coat.plain_start = stop
        return n_bytes

    def recv(self, nbytes: int, flags: int = 0) -> bytes:
        """Receive up to ``nbytes`` plain bytes; otherwise like :meth:`recv_into`."""
        coat = self.coat
        if coat.plain_start == len(coat.plain):
            self._exclusively(self._fill)
        start = coat.plain_start
        data = bytes(coat.plain[start : start + nbytes])
        stop = start + len(data)
        # No call may stand from here to the end: a signal handler could raise there.
        coat.plain_start = stop
        return data

    def _fill(self) -> None:
        """Make plain bytes from raw ones, as long as there are any, until there are some.

        Raises:
            BlockingIOError: more raw bytes are needed.
        """
        while not self.coat.advance():
            self._flush_if_taken()
            self._receive_raw()
        self._flush_if_taken()

    def _receive_raw(self) -> None:
        """Receive raw bytes for the coat.

        Raises:
            BlockingIOError: there are none.
        """
        coat = self.coat
        recv = self._recv
        wanted = coat.wanted
        for coat.arrived in map(recv, (wanted,), (MSG_DONTWAIT,)):
            break
        if self._shut_read and not coat.arrived:  # we have ended it ourselves
            coat.arrived = 0
            coat.ended = True

    def has_pending(self) -> bool:
        """Say whether ``recv_into`` may do something although the descriptor is not readable."""
        coat = self.coat
        if coat.plain_start < len(coat.plain) or not coat.hungry or coat.ended:
            return True
        if isinstance(coat.arrived, bytes) or self._failure is not None:
            return True
        return isinstance(self._sock, CoatedSocket) and self._sock.has_pending()

    # --------------------------------------------------------------------------- sending

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send plain bytes, all or some of them.

        Args:
            data: what to send; not looked at while :attr:`is_committed`.
            flags: ignored; it never waits.

        Returns:
            How many bytes were taken by the coat and, protected, by the socket below.

        Raises:
            BlockingIOError: the socket takes nothing now, or not all; or the handshake is not
                done. Look at :attr:`is_committed`.
            SecurityError: the peer is not who it should be, or has refused us.
            ConnectionClosedError: the connection was ended by an earlier error.
            DeadlockError: a signal handler interrupted a step of the same socket.
            OSError: as the socket below says.
        """
        return self.sendmsg((data,))

    def sendmsg(self, buffers: Iterable[Buffer], ancdata: object = (), flags: int = 0) -> int:
        """Send plain bytes that lie in several pieces; otherwise like :meth:`send`."""
        self._exclusively(self._transmit, buffers)
        coat = self.coat
        # No call may stand from here to the end: a signal handler could raise there.
        n_bytes = coat.taken
        coat.taken = 0
        return n_bytes

    def _transmit(self, buffers: Iterable[Buffer]) -> None:
        """Have bytes taken and sent.

        Raises:
            BlockingIOError: not all was sent.
            BrokenPipeError: the socket was shut down for sending.
        """
        coat = self.coat
        coat.collect()
        if self._parted:
            raise BrokenPipeError(errno.EPIPE, "the socket was shut down")
        if not coat.taken:
            if not coat.handshake_done and not self._drive():
                raise BlockingIOError("the handshake is not done")
            self._flush_or_raise()
            data = gather(buffers)
            if data:
                coat.write(data)
        self._flush_or_raise()

    def _flush_or_raise(self) -> None:
        """Send what is outgoing, whole.

        Raises:
            BlockingIOError: not all was sent.
            OSError: as the socket below says.
            SecurityError: the peer has refused us.
        """
        try:
            if self._flush():
                return
        except OSError as error:
            if _is_gone(error):
                self._look_for_reason()
            raise
        raise BlockingIOError("the socket does not take all now")

    def _look_for_reason(self) -> None:
        """Find out whether the peer, who has closed the connection, has said why before.

        Raises:
            SecurityError: the peer has refused us.
        """
        try:
            while not self.coat.advance():
                self._receive_raw()
        except (OSError, ConnectionClosedError):
            pass  # this says less than the error that brought us here

    def _flush_if_taken(self) -> None:
        """Flush while receiving: what the peer has said before it left is still to be heard.

        Raises:
            OSError: as the socket below says, unless the peer is gone.
        """
        try:
            self._flush()
        except OSError as error:
            if not _is_gone(error):
                raise

    def _flush(self) -> bool:
        coat = self.coat
        send = self._send
        coat.collect()
        while coat.outgoing:
            if coat.outgoing_start == len(coat.outgoing):
                coat.outgoing = b""
                coat.outgoing_start = 0
                break
            rest = memoryview(coat.outgoing)[coat.outgoing_start :]
            try:
                for n_bytes in map(send, (rest,), (MSG_DONTWAIT,)):
                    coat.outgoing_start += n_bytes  # no call between this and the system call
            except BlockingIOError:
                return False
        return True

    def flush(self) -> bool:
        """Send raw bytes that wait, as far as the socket takes them; say whether none are left.

        Raises:
            DeadlockError: a signal handler interrupted a step of the same socket.
            OSError: as the socket below says.
        """
        return bool(self._exclusively(self._flush))

    @property
    def is_committed(self) -> bool:
        """Whether a send is to be repeated with the same bytes, before any others."""
        coat = self.coat
        with self._lock:
            if not self._inside:
                coat.collect()  # an interrupted write is only settled now
            return bool(coat.taken)

    @property
    def wants_write(self) -> bool:
        """Whether raw bytes wait until the socket takes them."""
        sock = self._sock
        if not isinstance(sock, CoatedSocket):
            return bool(self.coat.outgoing)
        # A coat whose handshake is not done takes nothing, however writable the socket is.
        return sock.wants_write or (bool(self.coat.outgoing) and sock.coat.handshake_done)

    # ------------------------------------------------------------------------- handshake

    def drive(self) -> bool:
        """Go on with the handshake as far as that is possible now; say whether it is done.

        Raises:
            SecurityError: the peer is not who it should be, or has refused us.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended.
            DeadlockError: a signal handler interrupted a step of the same socket.
            OSError: as the socket below says.
        """
        return bool(self._exclusively(self._drive))

    def _drive(self) -> bool:
        coat = self.coat
        if not coat.handshake_done:
            try:
                self._fill()
            except BlockingIOError:
                pass
        return coat.handshake_done

    def handshake(self, deadline: float | None = None) -> None:
        """Wait until the handshake is done.

        Args:
            deadline: absolute, by the monotonic clock; None: wait as long as it takes.

        Raises:
            TimeoutError: the deadline passed.
            SecurityError: the peer is not who it should be, or has refused us.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended or broke.
        """
        name = self.coat.name
        poll = select.poll()
        try:
            while not self.drive() or not self.flush():
                events = 0 if self.coat.handshake_done else select.POLLIN
                if self.wants_write:
                    events |= select.POLLOUT
                poll.register(self.fileno(), events)
                poll.poll(_milliseconds(deadline))
                if deadline is not None and monotonic() >= deadline:
                    text = f"the peer did not finish the {name} handshake in time"
                    raise TimeoutError(f"{text}; perhaps it does not use {name}")
        except TimeoutError:
            raise
        except OSError as error:
            text = f"the connection was lost in the {name} handshake: {error.strerror or error}"
            raise ConnectionClosedError(f"{text}; perhaps the peer does not use {name}") from None

    # ------------------------------------------------------------------- one at a time

    def _exclusively(self, step: Callable[..., object], *arguments: object) -> object:
        """Run a step while no other runs; remember the error that ends all.

        Raises:
            DeadlockError: a signal handler interrupted a step of the same socket.
            PyroError: as the step raises, or an earlier one did.
        """
        with self._lock:
            if self._inside:
                raise DeadlockError(
                    "a signal handler uses the connection that it interrupted at work"
                )
            self._inside = True
            try:
                if self._failure is not None:
                    error = _again(self._failure)
                    raise error
                return step(*arguments)
            except PyroError as error:
                if self._failure is None:
                    self._failure = _again(error)  # that one has no traceback that keeps frames
                    self._flush_at_last()
                raise
            finally:
                self._inside = False

    def _flush_at_last(self) -> None:
        """Tell the peer what it did wrong, if that is possible without waiting."""
        try:
            self._flush()
        except (OSError, PyroError):
            pass  # it does not want to know

    # --------------------------------------------------------------------------- the end

    def shutdown(self, how: int) -> None:
        """Shut the socket down; say farewell first, if sending ends and nothing is in the way.

        Raises:
            OSError: as the socket below says.
        """
        if how != socket.SHUT_WR:
            self._shut_read = True
        if how != socket.SHUT_RD:
            self._say_farewell()
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket; say farewell first, if nothing is in the way. Any number of times."""
        if self.fileno() >= 0:
            self._say_farewell()
        self._sock.close()

    def _say_farewell(self) -> None:
        with self._lock:
            if self._inside or self._parted or self._failure is not None:
                return
            self._inside = True
            self._parted = True
            try:
                if self._flush() and self.coat.handshake_done:
                    self.coat.farewell()
                    self._flush()
            except (OSError, PyroError):
                pass  # the peer is gone already
            finally:
                self._inside = False

    def detach(self) -> int:
        """Give away the descriptor, without a farewell."""
        return self._sock.detach()

    # ------------------------------------------------------------- what the socket knows

    @property
    def family(self) -> int:
        """The address family of the real socket."""
        return self.raw.family

    @property
    def type(self) -> int:
        """The type of the real socket."""
        return self.raw.type

    def gettimeout(self) -> float:
        """Return 0.0: it never waits."""
        return 0.0

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 when it is closed."""
        return self.raw.fileno()

    def getpeername(self) -> Any:
        """Return the address of the peer."""
        return self.raw.getpeername()

    def getpeercert(self) -> Any:
        """Return the certificate that the peer has shown in TLS; None: none, or no coat is TLS."""
        ask = getattr(self.coat, "getpeercert", None) or getattr(self._sock, "getpeercert", None)
        return None if ask is None else ask()

    def getsockname(self) -> Any:
        """Return our own address."""
        return self.raw.getsockname()

    def getsockopt(self, *arguments: Any) -> Any:
        """Read an option of the real socket."""
        return self.raw.getsockopt(*arguments)

    def setsockopt(self, *arguments: Any) -> None:
        """Set an option of the real socket."""
        self.raw.setsockopt(*arguments)


def _is_gone(error: OSError) -> bool:
    return error.errno in {errno.EPIPE, errno.ECONNRESET}


def _again(error: PyroError) -> PyroError:
    return type(error)(*error.args)


def _milliseconds(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return min(max(0.0, (deadline - monotonic()) * 1000 + 1), _POLL_MAX)

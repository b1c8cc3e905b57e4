"""Descriptors that go beside a stream, over a small socket of their own: one packet per message.

What is received over a stream is received without looking for descriptors, which would cost each
plain call something. So they go over a second socket, one for both directions: for each message
that has some one packet, with the key of the message and its descriptors. It is sent before the
message is, and in the order of the messages; so whoever has received a message finds its packet at
once, and what lies before it belongs to messages that were never sent.

What was not taken by anybody stays in the kernel, as the sender's, until this end takes it; so a
peer can make this process hold no more than ``DESCRIPTORS_MAX`` for each message that arrives.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
import struct
import sys
from array import array

from pyroipc.errors import SerializeError
from pyroipc.transports import descriptors
from pyroipc.transports.sending import MSG_DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["DESCRIPTORS_MAX", "Parcel", "SideChannel", "can_carry", "make_side_pair", "numbers_in"]

DESCRIPTORS_MAX = 16
"""So many descriptors go with one message, at most."""
_ITEM_BYTES = array("i").itemsize
_KEY = struct.Struct(">BI")
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_TYPE = getattr(socket, "SOCK_SEQPACKET" if sys.platform == "linux" else "SOCK_DGRAM", 0)
_STALE_MAX = 4096
_LOST = (
    "the descriptors of this message did not arrive: too many are open in this process "
    "(ulimit -n), or too many were on their way"
)


def can_carry(sock: Any) -> bool:
    """Say whether descriptors can be sent over a socket at all."""
    return (
        hasattr(socket, "SCM_RIGHTS")
        and isinstance(sock, socket.socket)
        and sock.family == socket.AF_UNIX
    )


def make_side_pair() -> tuple[SideChannel, socket.socket]:
    """Make a side channel, and the socket for its other end, which the caller closes.

    Raises:
        OSError: there are no more descriptors.
    """
    with descriptors.lock:
        near, far = (_made(sock) for sock in socket.socketpair(socket.AF_UNIX, _TYPE))
    return SideChannel(near), far


def _made(sock: socket.socket) -> socket.socket:
    sock.settimeout(0.0)
    descriptors.own(sock)
    return sock


def numbers_in(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came, all of them close-on-exec and in the table of ours."""
    found = array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _ITEM_BYTES])
    for fd in found:
        if not _CLOEXEC:
            os.set_inheritable(fd, False)  # noqa: FBT003
        descriptors.own_number(fd)
    return list(found)


class Parcel:
    """The descriptors that came with one message; what nobody takes is closed with it.

    Args:
        numbers: the descriptors; in the table of :mod:`descriptors`.
    """

    __slots__ = ("_numbers", "kept", "loans")

    def __init__(self, numbers: Sequence[int]) -> None:
        self.kept: dict[int, Any] = {}
        """What was made of some of them and may be asked for again, by their indexes."""
        self.loans: Any = None
        """Where shared memory among them may be kept; None: nowhere."""
        self._numbers: list[int | None] = list(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, index: int) -> int:
        """Give a descriptor to the caller, who is to close it.

        Raises:
            SerializeError: it did not arrive, or was given away already.
        """
        if not self._numbers:
            raise SerializeError(_LOST)
        if not 0 <= index < len(self._numbers):
            raise SerializeError(f"there is no descriptor {index} beside this message")
        number = self._numbers[index]
        if number is None:
            raise SerializeError(f"descriptor {index} of this message is named twice")
        self._numbers[index] = None
        descriptors.disown_number(number)
        return number

    def close(self) -> None:
        """Close what was not taken."""
        self.kept.clear()
        for index, number in enumerate(self._numbers):
            if number is not None:
                self._numbers[index] = None
                descriptors.close_number_soon(number)

    def __del__(self) -> None:
        self.close()


class SideChannel:
    """One end of the socket beside a stream; sending and receiving, one thread each.

    Args:
        sock: that socket, from now on this object's.
    """

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    def adopt(cls, number: int) -> SideChannel | None:
        """Make one of a descriptor that came; None, and that is closed: it is no such socket."""
        sock: socket.socket | None = None
        try:
            sock = socket.socket(fileno=number)
            if sock.family == socket.AF_UNIX and sock.type == _TYPE:
                return cls(_made(sock))
        except OSError:
            pass
        if sock is None:
            os.close(number)
        else:
            sock.close()
        return None

    def send(self, kind: int, request_id: int, numbers: Sequence[int]) -> bool:
        """Send the descriptors of a message; False if the socket takes nothing now.

        Raises:
            OSError: they cannot be sent.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", numbers))]
        try:
            self.sock.sendmsg([_KEY.pack(kind, request_id)], rights, MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def receive(self, kind: int, request_id: int, count: int) -> Parcel | None:
        """Return what came with a message that has arrived; None: nothing is here.

        It is empty if they are not all here. Those of messages that never came are closed.
        """
        wanted = _KEY.pack(kind, request_id)
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * _ITEM_BYTES)
        for _ in range(_STALE_MAX):
            try:
                key, ancillary, flags, _ = self.sock.recvmsg(
                    _KEY.size + 1, room, MSG_DONTWAIT | _CLOEXEC
                )
            except OSError:
                return None
            parcel = Parcel(numbers_in(ancillary))
            if key == wanted:
                is_whole = len(parcel) == count and not flags & socket.MSG_CTRUNC
                return parcel if is_whole else Parcel(())
            parcel.close()
            if not key:
                return None  # its end
        return None

    def close(self) -> None:
        """Close the socket; any number of times."""
        descriptors.close(self.sock)

    def __del__(self) -> None:
        descriptors.close_soon(self.sock)

"""Open files, sockets and pipes: how they travel over a connection between local peers.

What arrives is a working object of the same kind over a descriptor of its own; the sender's stays
open, and is still his. Both share what the kernel keeps for the open file: the position above all.
"""

from __future__ import annotations

import os

from pyroipc.errors import SerializeError
from pyroipc.serializers.passengers import Passenger
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.passengers import Parcel

__all__ = ["Descriptor", "find_handle", "make_handle"]

_MODES = frozenset("rwab+")


class Descriptor:
    """A descriptor of the operating system, such as an end of ``os.pipe()``, as an argument.

    Args:
        fd: its number, or an object with ``fileno()``.
        owned: it is closed with this object, as it is at the end where it arrives.
    """

    def __init__(self, fd: Any, *, owned: bool = False) -> None:
        self._fd: int = fd if isinstance(fd, int) else fd.fileno()
        self._owned = owned

    def fileno(self) -> int:
        """Return the number.

        Raises:
            ValueError: it is closed.
        """
        if self._fd < 0:
            raise ValueError("the descriptor is closed")
        return self._fd

    def detach(self) -> int:
        """Return the number; whoever has it closes it."""
        fd, self._fd = self.fileno(), -1
        return fd

    def close(self) -> None:
        """Close it, if it is owned; any number of times."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._owned:
            os.close(fd)

    def __enter__(self) -> Descriptor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot pickle 'Descriptor' object: it travels only over a connection")

    def __repr__(self) -> str:
        return f"<Descriptor {self._fd}>" if self._fd >= 0 else "<Descriptor, closed>"


class _Duplicate:
    """A second descriptor of the same, so that the user may close his own at once."""

    __slots__ = ("_number",)

    def __init__(self, fd: int) -> None:
        with descriptors.lock:
            self._number = descriptors.own_number(os.dup(fd))

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        number = getattr(self, "_number", None)
        if number is not None:
            descriptors.close_number_soon(number)


# --- out ---------------------------------------------------------------------------------------


def find_handle(value: Any) -> Passenger:
    """Return how an open file, a socket or a pipe travels.

    Raises:
        SerializeError: it is closed, or has no descriptor.
    """
    kind = _KINDS[type(value).__qualname__]
    what = f"this {_NAMES[kind]} ({value!r})"
    if type(value).__qualname__ == "_TemporaryFileWrapper":
        value = value.file  # the receiver must not remove it from the disk
    try:
        data = _DESCRIBE[kind](value)
        return Passenger(kind, _Duplicate(value.fileno()), lambda: data, what)
    except (OSError, ValueError) as error:
        raise SerializeError(f"{what} cannot be sent: {error}") from None


def _describe_file(value: Any) -> list[Any]:
    """Describe a file; what was written is flushed, what was read ahead is given back."""
    name = value.name if isinstance(getattr(value, "name", None), str) else None
    text = None
    if hasattr(value, "encoding"):
        text = [value.encoding, value.errors, bool(value.line_buffering)]
    _settle(value)
    mode = "".join(letter for letter in value.mode.replace("x", "w") if letter in _MODES)
    return [mode, name, text, hasattr(value, "raw") or text is not None]


def _settle(value: Any) -> None:
    """Have the position in the file be where the user of the object sees it.

    Raises:
        OSError: nobody knows where that is.
    """
    if value.writable():
        value.flush()
    if not (value.readable() and value.seekable()):
        return
    if hasattr(value, "encoding"):
        try:
            value.seek(value.tell())
        except OSError:
            text = "a loop over its lines was left, which has read ahead; use readline() instead"
            raise OSError(text) from None
        value = value.buffer
    if hasattr(value, "raw"):
        # From the end: a seek within what was read ahead would not reach the kernel.
        place = value.tell()
        value.seek(place - os.fstat(value.fileno()).st_size, os.SEEK_END)


def _describe_socket(value: Any) -> list[Any]:
    return [value.gettimeout()]


def _describe_pipe(value: Any) -> list[Any]:
    return [bool(value.readable), bool(value.writable)]


def _describe_number(_: Any) -> list[Any]:
    return []


# --- in ----------------------------------------------------------------------------------------


def make_handle(kind: str, parcel: Parcel, index: int, data: Any) -> object:
    """Make the object that a descriptor and its description stand for.

    Raises:
        SerializeError: they do not fit together.
    """
    fd = parcel.take(index)
    try:
        return _MAKE[kind](fd, *data)
    except (OSError, ValueError, TypeError, LookupError, ImportError) as error:
        try:
            os.close(fd)
        except OSError:
            pass
        raise SerializeError(f"what was sent is no {_NAMES[kind]}: {error}") from None


def _make_file(fd: int, mode: str, name: str | None, text: Any, is_buffered: bool) -> Any:  # noqa: FBT001 - data
    if text is None:
        file: Any = open(fd, mode, buffering=-1 if is_buffered else 0)  # noqa: SIM115 - the user's
    else:
        encoding, errors, by_lines = text
        file = open(  # noqa: SIM115 - the user's
            fd, mode, buffering=1 if by_lines else -1, encoding=encoding, errors=errors
        )
    if name is not None:
        getattr(getattr(file, "buffer", file), "raw", file).name = name
    return file


def _make_socket(fd: int, timeout: float | None) -> Any:
    from socket import socket

    made = socket(fileno=fd)
    made.settimeout(timeout)
    return made


def _make_pipe(fd: int, readable: bool, writable: bool) -> Any:  # noqa: FBT001 - data
    from multiprocessing.connection import Connection

    return Connection(fd, readable=readable, writable=writable)


def _make_number(fd: int) -> Descriptor:
    return Descriptor(fd, owned=True)


_NAMES = {"file": "file", "socket": "socket", "pipe": "pipe", "descriptor": "descriptor"}
_KINDS = {
    "TextIOWrapper": "file",
    "BufferedReader": "file",
    "BufferedWriter": "file",
    "BufferedRandom": "file",
    "FileIO": "file",
    "_TemporaryFileWrapper": "file",
    "socket": "socket",
    "Connection": "pipe",
    "Descriptor": "descriptor",
}
_DESCRIBE: dict[str, Callable[[Any], list[Any]]] = {
    "file": _describe_file,
    "socket": _describe_socket,
    "pipe": _describe_pipe,
    "descriptor": _describe_number,
}
_MAKE: dict[str, Callable[..., object]] = {
    "file": _make_file,
    "socket": _make_socket,
    "pipe": _make_pipe,
    "descriptor": _make_number,
}

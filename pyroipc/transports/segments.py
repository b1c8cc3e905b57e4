"""Memory that several processes see: anonymous, without a name in any file system.

A segment is a file that only descriptors lead to (``memfd_create``; where there is none, a
temporary file without a name). Whoever has a descriptor, or has mapped it, holds it; it goes when
the last holder goes, however that happens, and nobody has to clean up.

Nobody may make a segment smaller: whoever touched what is gone would be killed (SIGBUS). So
segments are sealed against that when they are made, and one that is not is refused.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import threading
import weakref

from pyroipc.errors import SecurityError, SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "SharedBuffer",
    "adopt_segment",
    "made_segment",
    "make_segment",
    "map_again",
    "owner_of",
]

_TOKEN_BYTES = 16
_ADD_SEALS = 1033
_GET_SEALS = 1034
_SEAL_SHRINK = 0x0002
_SEAL_GROW = 0x0004
_SEAL_WRITE = 0x0008
_SEAL_FUTURE_WRITE = 0x0010
_HAS_SEALS = sys.platform == "linux" and hasattr(os, "memfd_create")


class _Descriptor:
    """A descriptor that is closed with the object that has it.

    So it is nowhere without an owner, also where a signal handler raises.
    """

    number = -1  # also of one whose making was interrupted

    def __init__(self, number: int = -1) -> None:
        self.number = number

    def close(
        self,
        # When the interpreter ends, the globals of this module may be gone.
        _close: Callable[[int], None] = os.close,
    ) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            _close(number)

    def __del__(self) -> None:
        self.close()


class SharedBuffer(mmap.mmap):
    """Memory that every process sees to which it is passed, over a local connection.

    Use it as any buffer: ``buffer[3] = 7``, ``memoryview(buffer)``, ``numpy.frombuffer(buffer)``.
    Over other connections what it holds is copied, and arrives as a bytearray.

    ``close`` gives it back at this end only; others keep what they hold. It raises BufferError as
    long as there are views of it. Without it the memory goes when the last view does.
    """

    token: bytes
    n_bytes: int
    is_readonly: bool
    on_gone: list[Callable[[SharedBuffer], object]]
    """Called when this end gives the memory back, just before the descriptor is closed; perhaps by
    the garbage collector."""
    was_passed = False
    """Whether it has been sent to somebody."""
    _descriptor: _Descriptor | None = None
    _address: int | None = None

    @classmethod
    def over(
        cls, descriptor: _Descriptor, n_bytes: int, token: bytes, *, readonly: bool = False
    ) -> SharedBuffer:
        """Map a segment; its descriptor belongs to the buffer from now on.

        Raises:
            OSError: it cannot be mapped.
        """
        access = mmap.ACCESS_READ if readonly else mmap.ACCESS_WRITE
        made = cls(descriptor.number, n_bytes, access=access)
        made.token = token
        made.n_bytes = n_bytes
        made.is_readonly = readonly
        made.on_gone = []
        made._descriptor = descriptor
        return made

    def fileno(self) -> int:
        """Return the descriptor of the segment; it stays the buffer's.

        Raises:
            ValueError: the buffer is closed.
        """
        if self.closed or self._descriptor is None:
            raise ValueError("the shared buffer is closed")
        return self._descriptor.number

    @property
    def address(self) -> int:
        """Where it is mapped; needs numpy."""
        if self._address is None:
            import numpy

            data = numpy.frombuffer(self, numpy.uint8, count=1).__array_interface__["data"]
            self._address = int(data[0])
        return self._address

    def seal(self) -> None:
        """From now on nobody else can map it to write to it: pass it on only afterwards.

        This process can still write, and so can those that have it already.

        Raises:
            NotImplementedError: this system has no such seal (Linux 5.1 has).
        """
        if not _HAS_SEALS:
            raise NotImplementedError("shared memory that others only read needs Linux 5.1")
        import fcntl

        try:
            fcntl.fcntl(self.fileno(), _ADD_SEALS, _SEAL_FUTURE_WRITE)
        except OSError as error:
            raise NotImplementedError(
                f"this kernel makes no shared memory that others only read: {error}"
            ) from None

    @property
    def is_sealed(self) -> bool:
        """Whether those that are given it from now on can only read it."""
        return self.is_readonly or bool(_seals_of(self.fileno()) & _SEAL_FUTURE_WRITE)

    def close(self) -> None:
        """Give the memory back at this end.

        Raises:
            BufferError: there are views of it, such as arrays.
        """
        super().close()
        self._forget()

    def _forget(self, _is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        descriptor = self._descriptor
        if descriptor is not None:
            for tell in () if _is_ending() else self.on_gone:
                tell(self)
            self._descriptor = None
            descriptor.close()

    def __del__(self) -> None:
        self._forget()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot pickle 'SharedBuffer' object: it travels only over a connection")

    def __repr__(self) -> str:
        if self.closed:
            return "<SharedBuffer, closed>"
        return f"<SharedBuffer of {len(self)} bytes{', read-only' if self.is_readonly else ''}>"


_by_identity: weakref.WeakValueDictionary[tuple[bytes, int, int], SharedBuffer] = (
    weakref.WeakValueDictionary()
)
_made: weakref.WeakValueDictionary[bytes, SharedBuffer] = weakref.WeakValueDictionary()
_adopted: weakref.WeakSet[SharedBuffer] = weakref.WeakSet()
_lock = threading.Lock()


def make_segment(n_bytes: int) -> SharedBuffer:
    """Make a segment of so many bytes, all of them 0.

    Raises:
        OSError: there is no memory, or no descriptor left.
    """
    try:
        if not 0 < n_bytes <= sys.maxsize:
            code = errno.ENOMEM if n_bytes > 0 else errno.EINVAL
            raise OSError(code, os.strerror(code))
        descriptor = _make_sealed(n_bytes) if _HAS_SEALS else _make_file(n_bytes)
        made = SharedBuffer.over(descriptor, n_bytes, os.urandom(_TOKEN_BYTES))
    except OSError as error:
        text = f"cannot make shared memory of {n_bytes} bytes: {error.strerror or error}"
        raise OSError(error.errno, text) from None
    return _known(made, os.fstat(descriptor.number))


def _make_sealed(n_bytes: int) -> _Descriptor:
    import fcntl

    made = _Descriptor()
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    for made.number in map(os.memfd_create, ("pyroipc",), (flags,)):
        break
    os.ftruncate(made.number, n_bytes)
    fcntl.fcntl(made.number, _ADD_SEALS, _SEAL_SHRINK | _SEAL_GROW)
    return made


def _make_file(n_bytes: int) -> _Descriptor:
    import tempfile

    with tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), n_bytes)
        return _Descriptor(os.dup(file.fileno()))


def _known(buffer: SharedBuffer, status: os.stat_result) -> SharedBuffer:
    with _lock:
        _by_identity[buffer.token, status.st_dev, status.st_ino] = buffer
        _made[buffer.token] = buffer
    return buffer


def made_segment(token: bytes) -> SharedBuffer | None:
    """Return the segment of this token that was made in this process; None: there is none."""
    return _made.get(token)


def map_again(segment: SharedBuffer) -> SharedBuffer:
    """Map anew what a peer has sent and the user closes just now.

    Raises:
        OSError: it cannot be mapped.
    """
    descriptor = _Descriptor(os.dup(segment._descriptor.number))  # type: ignore[union-attr] # noqa: SLF001 - it is open until the end of close()
    made = SharedBuffer.over(
        descriptor, segment.n_bytes, segment.token, readonly=segment.is_readonly
    )
    return _adopt(made, os.fstat(descriptor.number))


def adopt_segment(
    fd: int,
    token: bytes,
    n_bytes: int,
    most_bytes: int,
    make_room: Callable[[], None] | None = None,
) -> SharedBuffer:
    """Map a segment that a peer has sent: the map that is here already, or a new one.

    Args:
        fd: it is closed, or belongs to the buffer that is returned.
        token: what tells it from all others.
        n_bytes: how large it is said to be.
        most_bytes: so much may be mapped for peers in all.
        make_room: called if that is not enough, to let go of maps that nobody uses.

    Raises:
        SecurityError: it is not what it is said to be, not sealed, or more than may be mapped.
        SerializeError: it cannot be mapped.
    """
    try:
        status = os.fstat(fd)
        key = token, status.st_dev, status.st_ino
        with _lock:
            known = _by_identity.get(key)
            if known is not None and not known.closed:
                return known
            seals = _check(fd, status, n_bytes)
            if make_room is not None and _mapped() + n_bytes > most_bytes:
                make_room()
            mapped = _mapped()
            if mapped + n_bytes > most_bytes:
                raise SecurityError(
                    f"a peer sent shared memory of {n_bytes} bytes; {mapped} bytes of such memory "
                    f"are in use, and SHARED_MEMORY_MAX allows {most_bytes} in all"
                )
            readonly = bool(seals & (_SEAL_WRITE | _SEAL_FUTURE_WRITE))
            own, fd = _Descriptor(fd), -1
            return _adopt(SharedBuffer.over(own, n_bytes, token, readonly=readonly), status)
    except (OSError, ValueError) as error:
        raise SerializeError(f"shared memory cannot be mapped: {error}") from None
    finally:
        if fd >= 0:
            os.close(fd)


def _adopt(buffer: SharedBuffer, status: os.stat_result) -> SharedBuffer:
    _by_identity[buffer.token, status.st_dev, status.st_ino] = buffer
    _adopted.add(buffer)
    return buffer


def _mapped() -> int:
    return sum(len(buffer) for buffer in _adopted if not buffer.closed)


def _check(fd: int, status: os.stat_result, n_bytes: int) -> int:
    """Return the seals of a segment.

    Raises:
        SecurityError: it is none, or not as large as it is said to be, or can become smaller.
    """
    if not stat.S_ISREG(status.st_mode) or status.st_size != n_bytes or n_bytes < 1:
        raise SecurityError(f"what a peer sent is no shared memory of {n_bytes} bytes")
    seals = _seals_of(fd)
    if _HAS_SEALS and not seals & _SEAL_SHRINK:
        raise SecurityError(
            "a peer sent shared memory that it could make smaller, which would kill this process"
        )
    return seals


def _seals_of(fd: int) -> int:
    if not _HAS_SEALS:
        return 0
    import fcntl

    try:
        return fcntl.fcntl(fd, _GET_SEALS)
    except OSError:  # no memory, but a file
        return 0


def owner_of(value: Any) -> SharedBuffer | None:
    """Return the shared buffer in which an array or a view lies; None: in none."""
    while value is not None:
        if isinstance(value, SharedBuffer):
            return value
        value = value.obj if type(value) is memoryview else getattr(value, "base", None)
    return None


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for buffer in list(_by_identity.values()):
        buffer.on_gone = []  # that is for the connections of the parent
    _made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

"""What has arrived of a file, until it is complete: beside its place, under a temporary name.

The temporary name tells the version of the file that is being transferred. So a transfer that was
broken off goes on where it stopped, and never with the pieces of another version.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from hashlib import blake2b
from threading import Event
from time import monotonic

from pyroipc.errors import (
    DigestMismatchError,
    DiskFullError,
    FileChangedError,
    SecurityError,
    TransferError,
)
from pyroipc.transfer.confined import PART_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import blake2b as Hash  # noqa: N812 - its type

__all__ = ["Partial", "check_unchanged", "new_digest", "version_of"]

_READ_BYTES = 1 << 20
_NAME_BYTES = 100
"""So much of a name is in that of its temporary file: most systems allow 255 bytes in all."""
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.01
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


def new_digest() -> Hash:
    """Begin a digest of a file."""
    return blake2b(digest_size=32)


def version_of(fd: int) -> tuple[int, str]:
    """Return the size of an open file, and what changes with its content."""
    status = os.fstat(fd)
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return status.st_size, blake2b(repr(facts).encode(), digest_size=12).hexdigest()


def check_unchanged(fd: int, version: str, name: str) -> None:
    """Compare an open file with the version that is being transferred.

    Raises:
        FileChangedError: it is another one.
    """
    if version_of(fd)[1] != version:
        raise FileChangedError(f"{name!r} was changed while it was being transferred; begin anew")


class Partial:
    """A file that is arriving.

    Args:
        directory: where it is to be, as a descriptor; it stays the caller's.
        last: its name there.
        version: of the file at the other end.
    """

    def __init__(self, directory: int, last: str, version: str) -> None:
        if not (0 < len(version) <= 64 and version.isalnum() and version.isascii()):
            raise SecurityError(f"{version!r} is no version of a file")
        self._directory = directory
        self._last = last
        self._temporary = f".{_shortened(last)}.{version}{PART_SUFFIX}"

    @contextmanager
    def open(self, *, make: bool = True) -> Iterator[int]:
        """Open what has arrived, to read and to write it; nobody else may do so meanwhile.

        Args:
            make: it is made if nothing has arrived.

        Raises:
            IsADirectoryError: there is a directory in its place.
            TransferError: somebody else does, or nothing has arrived.
            DiskFullError: what was done with it found no room.
            OSError: the directory cannot be written to.
        """
        fd = -1
        try:
            fd = self._locked(make=make)
            yield fd
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFullError(
                    f"there is no room for {self._last!r}: {error.strerror}; the transfer goes "
                    "on where it stopped when it is made again"
                ) from None
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    def _locked(self, *, make: bool) -> int:
        """Open the temporary file, and lock it.

        Raises:
            IsADirectoryError: there is a directory in its place.
            TransferError: somebody else has it, or nothing has arrived.
            FileNotFoundError: the directory is gone.
        """
        self._check_place()
        flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
        while True:
            try:
                fd = os.open(self._temporary, flags, 0o600, dir_fd=self._directory)
            except FileNotFoundError:
                if make:
                    raise
                text = f"a piece of {self._last!r} is missing: nothing has arrived; begin anew"
                raise TransferError(text) from None
            try:
                if not _lock(fd):
                    text = f"{self._last!r} is being transferred by somebody else already"
                    raise TransferError(text)
                if self._is(fd):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            # Whoever had it has put it in its place meanwhile, or removed it.
            os.close(fd)

    def _check_place(self) -> None:
        """Refuse to begin what could not be put in its place.

        Raises:
            IsADirectoryError: there is a directory.
        """
        try:
            mode = os.stat(self._last, dir_fd=self._directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._last)

    def _is(self, fd: int) -> bool:
        """Say whether the temporary name leads to an open file."""
        try:
            named = os.stat(self._temporary, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(fd))

    def check_source(self, fd: int, version: str, name: str) -> None:
        """Compare the file that is copied with the version that this is of.

        Raises:
            FileChangedError: it was changed; what has arrived is removed.
        """
        try:
            check_unchanged(fd, version, name)
        except FileChangedError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what has arrived."""
        try:
            os.unlink(self._temporary, dir_fd=self._directory)
        except FileNotFoundError:
            pass

    def finish(self, fd: int, n_bytes: int, digest: str | None) -> None:
        """Put the file in its place; what was there is replaced in one step.

        Args:
            fd: as :meth:`open` gave it.
            n_bytes: how large it must be.
            digest: what its digest must be; None: that was seen to otherwise.

        Raises:
            TransferError: it is not as large.
            DigestMismatchError: it has another digest; what has arrived is removed.
        """
        size = os.fstat(fd).st_size
        if size != n_bytes:
            raise TransferError(f"{self._last!r} has {size} bytes of {n_bytes}")
        if digest is not None and digest_of(fd, n_bytes).hexdigest() != digest:
            self.discard()
            raise DigestMismatchError(
                f"{self._last!r} arrived with another digest than it was sent with; begin anew"
            )
        os.fchmod(fd, 0o666 & ~_umask())
        os.fsync(fd)
        os.rename(
            self._temporary, self._last, src_dir_fd=self._directory, dst_dir_fd=self._directory
        )
        os.fsync(self._directory)


def _shortened(name: str) -> str:
    """Return a name that leaves room for what is put around it, and is of this name alone."""
    data = os.fsencode(name)
    if len(data) <= _NAME_BYTES:
        return name
    return f"{os.fsdecode(data[:_NAME_BYTES])}-{blake2b(data, digest_size=12).hexdigest()}"


def _lock(fd: int) -> bool:
    """Lock a file; False if somebody else has it and does not give it away in a moment.

    A transfer that was broken off at the other end ends here a little later.
    """
    import fcntl

    until = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                return False
            Event().wait(_PAUSE_SECONDS)
        else:
            return True


def digest_of(fd: int, n_bytes: int) -> Hash:
    """Return the digest of the first bytes of a file, to be continued."""
    digest = new_digest()
    offset = 0
    while offset < n_bytes:
        piece = os.pread(fd, min(_READ_BYTES, n_bytes - offset), offset)
        if not piece:
            break
        digest.update(piece)
        offset += len(piece)
    return digest


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of some bytes.

    Raises:
        OSError: as ``os.pwrite`` does.
    """
    view = memoryview(data)
    while view:
        n_bytes = os.pwrite(fd, view, offset)
        view = view[n_bytes:]
        offset += n_bytes


def _umask() -> int:
    """Return the mask for new files; threads that make files meanwhile get a strict one."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

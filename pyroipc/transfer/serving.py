"""The object that serves files: those below one directory, to be fetched and, if wanted, sent."""

from __future__ import annotations

import os
from contextlib import contextmanager

from pyroipc.client.handles import Descriptor
from pyroipc.errors import SecurityError, TransferError
from pyroipc.server.exposure import expose
from pyroipc.transfer.confined import open_below, parent_below
from pyroipc.transfer.copying import copy_pieces
from pyroipc.transfer.partial import (
    Partial,
    check_unchanged,
    digest_of,
    version_of,
    write_at,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileServer"]

_PIECE_MAX = 16 << 20


class FileServer:
    """Serves the ordinary files below a directory; register it in a daemon.

    Names are relative to the directory, with ``/`` between their parts. Nothing outside of it can
    be reached: names with ``..`` are refused, and symbolic links are not followed. At the other
    end, :func:`pyroipc.fetch_file` and :func:`pyroipc.send_file` use it.

    Args:
        root: the directory.
        writable: whether files may be sent here; existing ones are replaced.
        max_bytes: how large a file may be that is sent here; None: as large as there is room.

    Raises:
        NotADirectoryError: there is no such directory.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        writable: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self._root = os.path.realpath(root)
        if not os.path.isdir(self._root):
            raise NotADirectoryError(f"{self._root} is no directory")
        self._writable = writable
        self._max_bytes = max_bytes

    # --- to be fetched ---------------------------------------------------------------------------

    @expose
    def describe(self, name: str) -> tuple[int, str]:
        """Return the size of a file, and what changes with its content.

        Raises:
            SecurityError: the name leads elsewhere.
            OSError: there is no such file, or it may not be read.
        """
        with Descriptor(open_below(self._root, name), owned=True) as file:
            return version_of(file.fileno())

    @expose
    def open(self, name: str) -> Descriptor:
        """Return an open file, to a caller on this machine.

        Raises:
            SecurityError: the name leads elsewhere.
            OSError: there is no such file, or it may not be read.
        """
        return Descriptor(open_below(self._root, name), owned=True)

    @expose
    def read(
        self, name: str, version: str, offset: int, piece_bytes: int
    ) -> Iterator[bytes | str]:
        """Yield the file from an offset on, piece by piece, and at last the digest of all of it.

        Raises:
            FileChangedError: it is not the version that was described.
            SecurityError: the name leads elsewhere.
            OSError: there is no such file, or it may not be read.
        """
        piece_bytes = max(1, min(piece_bytes, _PIECE_MAX))
        with Descriptor(open_below(self._root, name), owned=True) as file:
            fd = file.fileno()
            check_unchanged(fd, version, name)
            digest = digest_of(fd, offset)
            size, _ = version_of(fd)
            while piece := os.pread(fd, min(piece_bytes, max(0, size - offset)), offset):
                digest.update(piece)
                offset += len(piece)
                yield piece
            check_unchanged(fd, version, name)
            yield digest.hexdigest()

    # --- to be sent ------------------------------------------------------------------------------

    @expose
    def begin(self, name: str, version: str, n_bytes: int) -> int:
        """Prepare for a file that is to be sent; return how much of it has arrived before.

        Raises:
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: it is larger than allowed.
            OSError: there is no such directory, or it may not be written to.
        """
        with self._partial(name, version, n_bytes) as (_, fd):
            arrived = os.fstat(fd).st_size
            if arrived > n_bytes:
                os.ftruncate(fd, 0)
                arrived = 0
            return arrived

    @contextmanager
    def _partial(
        self, name: str, version: str, n_bytes: int, *, make: bool = True
    ) -> Iterator[tuple[Partial, int]]:
        """Open what has arrived of a file.

        Raises:
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: it is larger than allowed, or nothing of it has arrived.
        """
        if not self._writable:
            raise SecurityError("files may only be fetched here: FileServer(writable=True)")
        if self._max_bytes is not None and n_bytes > self._max_bytes:
            raise TransferError(f"{name!r} has {n_bytes} bytes, at most {self._max_bytes} may be")
        with parent_below(self._root, name) as (directory, last):
            partial = Partial(directory, last, version)
            with partial.open(make=make) as fd:
                yield partial, fd

    @expose
    def write(self, name: str, version: str, offset: int, data: bytes) -> None:
        """Take the next piece of a file.

        Raises:
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: it is not the next one, or would make the file larger than allowed.
            OSError: it cannot be written.
        """
        with self._partial(name, version, offset + len(data), make=not offset) as (_, fd):
            if os.fstat(fd).st_size != offset:
                raise TransferError(f"a piece of {name!r} is missing before byte {offset}")
            write_at(fd, data, offset)

    @expose
    def take(self, name: str, version: str, n_bytes: int, file: Descriptor) -> Iterator[int]:
        """Copy an open file that a caller on this machine has passed; yield how far it came.

        It is put in its place by :meth:`finish`: the caller may yet break it off.

        Raises:
            FileChangedError: it was changed meanwhile.
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: it is larger than allowed.
            OSError: it cannot be written.
        """
        with file:
            start = self.begin(name, version, n_bytes)
            with self._partial(name, version, n_bytes) as (partial, fd):
                yield from copy_pieces(file.fileno(), fd, start, n_bytes)
                partial.check_source(file.fileno(), version, name)

    @expose
    def finish(self, name: str, version: str, n_bytes: int, digest: str | None) -> None:
        """Put a file in its place when all of it has arrived.

        Without a digest it is not compared: the kernel has copied it (:meth:`take`).

        Raises:
            DigestMismatchError: it is not what was sent.
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: a part of it is missing.
            OSError: it cannot be written.
        """
        with self._partial(name, version, n_bytes, make=False) as (partial, fd):
            partial.finish(fd, n_bytes, digest)

    @expose
    def discard(self, name: str, version: str) -> None:
        """Remove what has arrived of a file that is not there any more as it was.

        Raises:
            SecurityError: the name leads elsewhere, or files may not be sent here.
            TransferError: nothing has arrived, or somebody else is sending it.
            OSError: it cannot be removed.
        """
        with self._partial(name, version, 0, make=False) as (partial, _):
            partial.discard()

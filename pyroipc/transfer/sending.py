"""Send a file to a FileServer: resumable, checked, and in its place at once or not at all."""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import os

from pyroipc.client.handles import Descriptor
from pyroipc.errors import FileChangedError, TransferError
from pyroipc.transfer.fetching import passes_descriptors, piece_bytes
from pyroipc.transfer.partial import check_unchanged, digest_of, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.proxy import Proxy
    from pyroipc.transfer.fetching import Progress

__all__ = ["send_file"]

PIECE_BYTES = 4 << 20


def send_file(
    proxy: Proxy[Any],
    path: str | os.PathLike[str],
    name: str,
    *,
    progress: Progress | None = None,
) -> int:
    """Send a file to a :class:`FileServer` that is ``writable``.

    A call that was broken off goes on where it stopped when it is made again. When all has
    arrived and was checked, the file is put in its place there in one step.

    Args:
        proxy: for the FileServer.
        path: of the file here.
        name: that it is to have there.
        progress: called with how many bytes have arrived and how many there are; what it raises
            breaks the transfer off.

    Returns:
        The size of the file.

    Raises:
        FileChangedError: the file was changed meanwhile.
        DigestMismatchError: it did not arrive as it was.
        DiskFullError: there is no room there.
        TransferError: the same file is being sent to the same place already, or is too large.
        SecurityError: the name leads out of the directory, or nothing may be sent there.
        OSError: there is no such file here, or no such directory there.
        CommunicationError: the connection failed.
    """
    proxy._pyroBind()
    with open(path, "rb") as file:
        fd = file.fileno()
        size, version = version_of(fd)
        done = proxy.begin(name, version, size)
        if progress is not None:
            progress(done, size)
        if passes_descriptors(proxy):
            steps = proxy.take(name, version, size, Descriptor(fd))
            try:
                for done in steps:
                    if progress is not None:
                        progress(done, size)
            finally:
                steps.close()
            proxy.finish(name, version, size, None)
            return size
        digest = digest_of(fd, done)
        most_bytes = piece_bytes(proxy, PIECE_BYTES)
        while piece := os.pread(fd, min(most_bytes, size - done), done):
            proxy.write(name, version, done, piece)
            digest.update(piece)
            done += len(piece)
            if progress is not None:
                progress(done, size)
        try:
            check_unchanged(fd, version, os.fspath(path))
        except FileChangedError:
            proxy.discard(name, version)
            raise
        if done != size:
            raise TransferError(f"{os.fspath(path)!r} ended after {done} bytes of {size}")
        proxy.finish(name, version, size, digest.hexdigest())
        return size

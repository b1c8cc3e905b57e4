"""Fetch a file from a FileServer: resumable, checked, and in its place at once or not at all."""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import os

from pyroipc.client.courier import why_not_carried
from pyroipc.client.hosting import limits_for
from pyroipc.errors import DigestMismatchError, FileChangedError, TransferError
from pyroipc.transfer.copying import copy_pieces
from pyroipc.transfer.partial import Partial, digest_of, version_of, write_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyroipc.client.proxy import Proxy

    Progress: TypeAlias = Callable[[int, int], object]

__all__ = ["fetch_file", "passes_descriptors", "piece_bytes"]

PIECE_BYTES = 1 << 20
_GROWTH = 5
"""So many times as long bytes may become in a message; serpent makes four characters of one."""


def fetch_file(
    proxy: Proxy[Any],
    name: str,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> int:
    """Fetch a file from a :class:`FileServer`.

    What has arrived is kept beside ``path`` until all of it has; a call that was broken off, by
    whatever error, goes on from there when it is made again. Then the file is put in its place in
    one step. Over a network its digest is checked; on one machine the kernel copies it.

    Args:
        proxy: for the FileServer.
        name: of the file there.
        path: where the file is to be here.
        progress: called with how many bytes have arrived and how many there are; what it raises
            breaks the transfer off.

    Returns:
        The size of the file.

    Raises:
        FileChangedError: the file was changed meanwhile.
        DigestMismatchError: it did not arrive as it was.
        DiskFullError: there is no room here.
        TransferError: the same file is being fetched to the same place already.
        SecurityError: the name leads out of the directory that is served.
        OSError: there is no such file there, or no such directory here.
        CommunicationError: the connection failed.
    """
    target = os.path.abspath(path)
    note = progress or _note_nothing
    directory = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        proxy._pyroBind()
        if passes_descriptors(proxy):
            with proxy.open(name) as file:
                size, version = version_of(file.fileno())
                partial = Partial(directory, os.path.basename(target), version)
                _copy(partial, file.fileno(), size, version, name, note)
        else:
            size, version = proxy.describe(name)
            partial = Partial(directory, os.path.basename(target), version)
            _receive(partial, proxy, size, version, name, note)
        return size
    finally:
        os.close(directory)


def passes_descriptors(proxy: Proxy[Any]) -> bool:
    """Say whether descriptors can be passed over the connection of a proxy."""
    session = proxy._pyroConnection
    settings = proxy._pyro_settings
    return session is not None and why_not_carried(session) is None and not settings.COMPRESSION


def piece_bytes(proxy: Proxy[Any], wanted: int) -> int:
    """Return how large a piece may be to pass as a message."""
    session = proxy._pyroConnection
    if session is None:
        return wanted
    limit = limits_for(session.channel.peer, proxy._pyro_settings).message_bytes
    if session.peer_hello is not None and session.peer_hello.max_message_bytes:
        limit = min(limit, session.peer_hello.max_message_bytes)
    return max(1, min(wanted, limit // _GROWTH))


def _copy(
    partial: Partial, source: int, size: int, version: str, name: str, note: Progress
) -> None:
    """Have the kernel copy a file.

    Raises:
        FileChangedError: the file was changed meanwhile.
    """
    with partial.open() as fd:
        start = os.fstat(fd).st_size
        if start > size:
            os.ftruncate(fd, 0)
            start = 0
        note(start, size)
        for done in copy_pieces(source, fd, start, size):
            note(done, size)
        partial.check_source(source, version, name)
        partial.finish(fd, size, None)


def _receive(
    partial: Partial, proxy: Proxy[Any], size: int, version: str, name: str, note: Progress
) -> None:
    """Receive a file piece by piece.

    Raises:
        FileChangedError: the file was changed meanwhile.
        DigestMismatchError: it did not arrive as it was.
        TransferError: it ended early.
    """
    with partial.open() as fd:
        offset = os.fstat(fd).st_size
        if offset > size:
            os.ftruncate(fd, 0)
            offset = 0
        digest = digest_of(fd, offset)
        note(offset, size)
        pieces = proxy.read(name, version, offset, piece_bytes(proxy, PIECE_BYTES))
        try:
            for piece in pieces:
                if isinstance(piece, str):
                    if piece != digest.hexdigest():
                        partial.discard()
                        raise DigestMismatchError(f"{name!r} arrived with another digest")
                    partial.finish(fd, size, None)
                    return
                write_at(fd, piece, offset)
                digest.update(piece)
                offset += len(piece)
                note(offset, size)
        except FileChangedError:
            partial.discard()
            raise
        finally:
            pieces.close()
        raise TransferError(f"{name!r} ended after {offset} bytes of {size}")


def _note_nothing(done: int, total: int) -> None:
    pass

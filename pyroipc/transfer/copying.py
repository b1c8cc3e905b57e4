"""Bytes from one open file into another, by the kernel where it does that."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["copy_pieces"]

_PIECE_BYTES = 16 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


def copy_pieces(source: int, target: int, start: int, end: int) -> Iterator[int]:
    """Copy bytes to the same place in another file; yield up to where, piece by piece.

    It ends early if the source does.

    Raises:
        OSError: reading or writing failed.
    """
    by_kernel = hasattr(os, "copy_file_range")
    while start < end:
        wanted = min(_PIECE_BYTES, end - start)
        done = 0
        if by_kernel:
            try:
                done = os.copy_file_range(source, target, wanted, start, start)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                by_kernel = False
                continue
        else:
            data = os.pread(source, min(wanted, 1 << 20), start)
            done = os.pwrite(target, data, start)
        if not done:
            return
        start += done
        yield start

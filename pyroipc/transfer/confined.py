"""Names of files below one directory -> open files, and never anything else.

A name is walked from the directory on, one part after the other, and no symbolic link is followed
on the way, nor at its end. So what another process does to the tree meanwhile leads nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from pyroipc.errors import SecurityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PART_SUFFIX", "open_below", "parent_below"]

PART_SUFFIX = ".pyroipc-part"
"""How the names of files end that have not arrived completely; such names are refused."""
_MAX_PARTS = 100
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_LINKS = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


def _parts_of(name: str) -> list[str]:
    """Return the parts of a name.

    Raises:
        SecurityError: it may lead elsewhere.
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    if (
        len(parts) > _MAX_PARTS
        or any(part in {"", ".", ".."} or "\0" in part or "\\" in part for part in parts)
        or parts[-1].endswith(PART_SUFFIX)
    ):
        raise SecurityError(
            f"{name!r} is no name of a file here: names are relative, with / between their "
            "parts, and have no part that is empty, '.' or '..'"
        )
    return parts


@contextmanager
def parent_below(root: str, name: str) -> Iterator[tuple[int, str]]:
    """Open the directory in which a file is, or is to be, and yield it with the last part.

    Raises:
        SecurityError: the name leads elsewhere.
        OSError: there is no such directory.
    """
    if os.open not in os.supports_dir_fd:
        raise NotImplementedError("files are not served on this system")
    *directories, last = _parts_of(name)
    fd = os.open(root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for directory in directories:
            try:
                inner = os.open(directory, os.O_RDONLY | _DIRECTORY, dir_fd=fd)
            except OSError as error:
                _refuse_link(name, error)
                raise
            os.close(fd)
            fd = inner
        yield fd, last
    finally:
        os.close(fd)


def open_below(root: str, name: str) -> int:
    """Open a file to read it; return its descriptor.

    Raises:
        SecurityError: the name leads elsewhere, or to no ordinary file.
        OSError: there is no such file, or it may not be read.
    """
    with parent_below(root, name) as (directory, last):
        try:
            # Not waiting: opening a pipe for reading would wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(last, flags, dir_fd=directory)
        except OSError as error:
            _refuse_link(name, error)
            raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SecurityError(f"{name!r} is no ordinary file")
    os.set_blocking(fd, True)
    return fd


def _refuse_link(name: str, error: OSError) -> None:
    """Raise if an error says that there is a link.

    Raises:
        SecurityError: so it is.
    """
    if error.errno in _LINKS:
        text = f"a part of {name!r} is a symbolic link, or no directory"
        raise SecurityError(text) from None

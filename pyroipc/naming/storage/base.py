"""The contract of a storage: names, and what is registered under them.

A storage keeps entries and knows nothing of the rules of a name server: which names are reserved,
how long one may be, whether a URI makes sense. It stores any text that is UTF-8. Whatever waits
for a name, watches it or matches a pattern stands above it.

Rules that every plug-in keeps, held by ``tests/contracts/test_storages.py``:

* Any thread may call anything at any time.
* What went wrong is a NamingError whose text names the storage and says what to do; nothing is
  half done. It comes within ``timeout`` seconds if somebody else makes the storage wait.
* An entry that has expired is not there, even if nobody has removed it yet. Expiry is told by the
  wall clock, because an entry outlives the process that stored it, and often the machine's boot.
* What ``put`` returned for is kept: a storage that is ``persistent`` has it on disk by then.
* ``put(only_new=True)`` is atomic, also between the processes and machines that share a storage.
* A prefix is literal and case-sensitive; no character is a wildcard. Names are sorted by their
  code points.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from time import time
from typing import NamedTuple

from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set
    from typing import ClassVar

__all__ = [
    "NO_TAGS",
    "Entry",
    "Storage",
    "check_entry",
    "check_expiry",
    "check_texts",
    "prefix_end",
]

NO_TAGS: frozenset[str] = frozenset()

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class Entry(NamedTuple):
    """What is registered under a name. A tuple, because a list of them is made 10 000 at a time.

    ``expires`` is by the wall clock, in seconds since the epoch; None: never.
    """

    name: str
    uri: str
    metadata: frozenset[str] = NO_TAGS
    expires: float | None = None

    def is_alive(self, now: float) -> bool:
        """Tell whether it has not expired yet."""
        return self.expires is None or self.expires > now


class Storage(ABC):
    """Where names are kept. See the module for the rules.

    Args:
        where: what stands behind the colon in the text that users give, such as a path.
        timeout: how many seconds others may make an operation wait.
        clock: seconds since the epoch; tests have their own.
    """

    persistent: ClassVar[bool] = False
    """What it holds survives this process."""
    shared: ClassVar[bool] = False
    """Other name servers may write to the same storage."""

    def __init__(
        self, where: str = "", *, timeout: float = 5.0, clock: Callable[[], float] = time
    ) -> None:
        self._where = where
        self._timeout = timeout
        self._clock = clock

    @abstractmethod
    def get(self, name: str) -> Entry | None:
        """Return what is registered under a name, or None.

        Raises:
            NamingError: the name is not UTF-8, or the storage cannot be used.
        """

    @abstractmethod
    def put(self, entry: Entry, *, only_new: bool = False) -> bool:
        """Store an entry; one of the same name is replaced with all that belonged to it.

        Returns:
            False if nothing was stored, because ``only_new`` was asked for and the name is there.

        Raises:
            NamingError: a text is not UTF-8, the expiry is not finite, or the storage cannot be
                used; then it is not known whether the entry is stored.
        """

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Remove a name; return whether it was there.

        Raises:
            NamingError: the name is not UTF-8, or the storage cannot be used.
        """

    @abstractmethod
    def entries(
        self, prefix: str = "", *, tags_all: Set[str] = NO_TAGS, tags_any: Set[str] = NO_TAGS
    ) -> list[Entry]:
        """Return what is registered, sorted by name.

        Args:
            prefix: only names that begin so.
            tags_all: only entries with all of these tags.
            tags_any: only entries with at least one of these tags; none given: all entries.

        Raises:
            NamingError: a text is not UTF-8, or the storage cannot be used.
        """

    @abstractmethod
    def count(self) -> int:
        """Return how many names there are.

        A storage that removes expired entries by itself may count those of the last few seconds.

        Raises:
            NamingError: the storage cannot be used.
        """

    @abstractmethod
    def renew(self, names_and_expiries: Mapping[str, float]) -> set[str]:
        """Give entries a new time at which they expire, and change nothing else of them.

        Returns:
            The names that are not there (any more): their owners should register again.

        Raises:
            NamingError: a name is not UTF-8, an expiry is not finite, or the storage cannot be
                used; then it is not known which entries were renewed.
        """

    @abstractmethod
    def remove_expired(self, now: float) -> list[str]:
        """Remove the entries that have expired at a time; return their names, sorted.

        A storage that removes them by itself has nothing to do and returns none.

        Raises:
            NamingError: the storage cannot be used.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections. Closing twice does no harm; using it later does."""


def check_entry(entry: Entry) -> None:
    """Make sure that any storage can hold an entry.

    Raises:
        NamingError: a text of it is not UTF-8, or its expiry is not finite.
    """
    check_texts((entry.name, entry.uri, *entry.metadata))
    if entry.expires is not None:
        check_expiry(entry.name, entry.expires)


def check_expiry(name: str, expires: float) -> None:
    """Make sure that a time at which an entry is to expire is one.

    Raises:
        NamingError: it is infinite, or no number.
    """
    if not math.isfinite(expires):
        raise NamingError(f"{name!r:.200} cannot expire at {expires!r}: give a time, or None")


def check_texts(texts: Iterable[str]) -> None:
    """Make sure that texts can be written as UTF-8: half of a surrogate pair cannot.

    Raises:
        NamingError: one cannot.
    """
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise NamingError(
                    f"{text!r:.200} is no valid text: it has a lone surrogate, and cannot be "
                    "written as UTF-8"
                ) from None


def prefix_end(prefix: str) -> str | None:
    """Return the first text behind all that begin with a prefix; None if there is no such text.

    The order is that of code points, which is also that of the bytes of UTF-8. Surrogates are
    left out, because they cannot be written.
    """
    kept = prefix.rstrip(chr(_LAST))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return kept[:-1] + chr(following)

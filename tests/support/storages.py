"""A storage of each kind, new and empty, for tests that are the same for all kinds."""

from __future__ import annotations

import itertools
import time
from typing import NamedTuple

import pytest

from pyroipc.naming.storage import table
from tests.support.etcd import needs_etcd, shared_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyroipc.naming.storage.base import Storage

_numbers = itertools.count()

TEXTS: dict[str, Callable[[Path], str]] = {
    "memory": lambda folder: "memory",
    "sqlite": lambda folder: f"sqlite:{folder}/names{next(_numbers)}.db",
    "etcd": lambda folder: shared_node().new_text(),
}
"""Kind -> a text that names a storage that nobody has used."""


class Clock:
    """A clock that the test sets. It begins with the time of day, because leases do not."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Place(NamedTuple):
    """Where a storage is: it can be opened several times, if its kind is shared."""

    kind: str
    text: str

    def opened(self, clock: Callable[[], float] = time.time, timeout: float = 10.0) -> Storage:
        made = table.open_storage(self.text, timeout=timeout)
        made.close()
        return type(made)(self.text.partition(":")[2], timeout=timeout, clock=clock)


def kinds() -> list[object]:
    """Return all kinds of storages, as parameters of a test."""
    return [pytest.param(kind, marks=needs_etcd if kind == "etcd" else ()) for kind in TEXTS]


def new_place(kind: str, folder: Path) -> Place:
    """Return where a storage of a kind may be."""
    return Place(kind, TEXTS[kind](folder))

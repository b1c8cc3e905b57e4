"""Entries into answers, as the client that is calling expects them: ours, Pyro5's or Pyro4's.

What differs between them:

* Pyro4 searches by tags with ``list(metadata_all=)`` or ``list(metadata_any=)``, where no tags
  mean everything; Pyro5 does with ``yplookup``.  Everybody may use either.
* Tags are lists in answers to Pyro4, and sets in all others.
* ``register`` answers nothing to either of them.
* Nobody removes the entry of the name server itself; for them that is no error, they get 0.
"""

from __future__ import annotations

from pyroipc.context import current_context
from pyroipc.wire.dialect import NATIVE, PYRO4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pyroipc.naming.storage.base import Entry

__all__ = ["answer", "caller", "kind_of_tags"]


def caller() -> str:
    """Return the dialect of the client that is calling; native, too, if it is this process."""
    client = current_context.client
    dialect: str = NATIVE if client is None else client.session.dialect
    return dialect


def kind_of_tags() -> Callable[[frozenset[str]], object]:
    """Return what makes the tags of an entry into what the caller expects.

    Pyro4 also runs on a Python that cannot read sets, and so it has lists.
    """
    return sorted if caller() == PYRO4 else set


def answer(entries: Iterable[Entry], return_metadata: object) -> dict[str, Any]:
    """Return names and the texts of their URIs; or pairs of URI and tags."""
    if return_metadata:
        tags = kind_of_tags()
        return {entry.name: (entry.uri, tags(entry.metadata)) for entry in entries}
    return {entry.name: entry.uri for entry in entries}

"""Which values travel as descriptors, by name: nothing is imported before one is met."""

from __future__ import annotations

import sys

from pyroipc.client import references
from pyroipc.serializers.passengers import late_types, makers, recognisers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.serializers.passengers import Parcel, Passenger

__all__ = ["learn_handles"]

_HANDLES = (
    ("_io", "TextIOWrapper"),
    ("_io", "BufferedReader"),
    ("_io", "BufferedWriter"),
    ("_io", "BufferedRandom"),
    ("_io", "FileIO"),
    ("tempfile", "_TemporaryFileWrapper"),
    ("socket", "socket"),
    ("_socket", "socket"),
    ("multiprocessing.connection", "Connection"),
    ("pyroipc.client.handles", "Descriptor"),
)


def _find(value: Any) -> Passenger | None:
    from pyroipc.client.handles import find_handle

    return find_handle(value)


def _maker(kind: str) -> Any:
    def make(parcel: Parcel, index: int, data: Any) -> object:
        from pyroipc.client.handles import make_handle

        return make_handle(kind, parcel, index, data)

    return make


def _shared_maker(kind: str) -> Any:
    def make(parcel: Parcel, index: int, data: Any) -> object:
        import pyroipc.client.shared  # noqa: F401 - it puts itself in the place of this

        return makers[kind](parcel, index, data)

    return make


def learn_handles() -> None:
    """Have a class looked at that pickle would send as if it were ordinary, once it is there."""
    module = sys.modules.get("multiprocessing.connection")
    cls = getattr(module, "Connection", None)
    if isinstance(cls, type):
        references.look_at_type(cls)


late_types["multiprocessing.connection"] = learn_handles
recognisers.update(dict.fromkeys(_HANDLES, _find))
makers.update({kind: _maker(kind) for kind in ("file", "socket", "pipe", "descriptor")})
for _kind in ("array", "memory"):
    makers.setdefault(_kind, _shared_maker(_kind))  # that module may have been imported before

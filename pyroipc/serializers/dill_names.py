"""dill with our rule for ``__main__``: what the peer has too goes by its name.

Imported only when dill is used: it takes 40 ms to load, and is not among the requirements.
"""

from __future__ import annotations

import sys
from io import BytesIO

import dill  # pyright: ignore[reportMissingImports] - not among the requirements

from pyroipc.serializers.main_names import MAIN_MODULES, known_by_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.serializers.base import Buffer, PeerImage

__all__ = ["dill_dumps", "dill_loads", "find_in_main"]


def dill_dumps(value: object, peer: PeerImage, table: Mapping[type, Any] | None = None) -> bytes:
    """Pickle a value with dill.

    Raises:
        Exception: whatever pickling raises, from dill or from the value's own methods.
    """
    file = BytesIO()
    _NamingPickler(file, peer, table).dump(value)
    return file.getvalue()


def dill_loads(data: Buffer) -> object:
    """Load what dill made.

    Raises:
        Exception: whatever loading raises.
    """
    return dill.loads(data)  # noqa: S301 - the session has checked that the peer is trusted


class _NamingPickler(dill.Pickler):  # type: ignore[misc]
    def __init__(self, file: BytesIO, peer: PeerImage, table: Mapping[type, Any] | None) -> None:
        super().__init__(file, protocol=5)
        self._peer = peer
        self._table = table

    def reducer_override(self, obj: object) -> Any:
        if (
            self._peer.shares_main
            and (issubclass(type(obj), type) or type(obj) is type(dill_dumps))
            and getattr(obj, "__module__", None) in MAIN_MODULES
            and known_by_reference(obj, self._peer.generation)
        ):
            return find_in_main, (obj.__qualname__,)  # type: ignore[attr-defined]
        if self._table is not None:
            try:
                return self._table[type(obj)](obj)
            except KeyError:
                pass
        return NotImplemented


def find_in_main(qualname: str) -> object:
    """Return a class or function of ``__main__`` by its qualified name.

    Raises:
        AttributeError: there is none.
    """
    found: object = sys.modules["__main__"]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found

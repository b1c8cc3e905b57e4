"""dill with our rule for ``__main__``: what the peer has too goes by its name.

Imported only when dill is used: it takes 40 ms to load, and is not among the requirements.
"""

from __future__ import annotations

import sys
from _pickle import PickleBuffer
from io import BytesIO

import dill  # pyright: ignore[reportMissingImports] - not among the requirements

from pyroipc.serializers.main_names import MAIN_MODULES, known_by_reference
from pyroipc.serializers.pickle_parts import own_reducer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyroipc.serializers.base import Buffer, PeerImage
    from pyroipc.serializers.parts import Parts
    from pyroipc.serializers.pickle_parts import Collector

__all__ = ["dill_dumps", "dill_dumps_apart", "dill_loads", "find_in_main"]


def dill_dumps(value: object, peer: PeerImage, table: Mapping[type, Any] | None = None) -> bytes:
    """Pickle a value with dill.

    Raises:
        Exception: whatever pickling raises, from dill or from the value's own methods.
    """
    file = BytesIO()
    _NamingPickler(file, peer, table).dump(value)
    return file.getvalue()


def dill_dumps_apart(value: object, peer: PeerImage, collector: Collector) -> bytes | Parts:
    """Pickle a value with dill, with large buffers apart.

    Raises:
        Exception: whatever pickling raises, from dill or from the value's own methods.
    """
    return collector.parts(_NamingPickler(collector, peer, collector.table, collector), value)


def dill_loads(data: Buffer, buffers: Sequence[Any] = ()) -> object:
    """Load what dill made.

    Raises:
        Exception: whatever loading raises.
    """
    return dill.loads(data, buffers=buffers)  # noqa: S301 - the session has checked that the peer is trusted


class _NamingPickler(dill.Pickler):  # type: ignore[misc]
    def __init__(
        self,
        file: BytesIO | Collector,
        peer: PeerImage,
        table: Mapping[type, Any] | None,
        collector: Collector | None = None,
    ) -> None:
        take = None if collector is None else collector.take
        super().__init__(file, protocol=5, buffer_callback=take)
        self._own_reducer = _in_band if collector is None else collector.own_reducer
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
        if type(obj) is PickleBuffer and not obj.raw().nbytes:
            # The pickler that is written in Python (3.11) stumbles over a second empty one.
            return (bytes if obj.raw().readonly else bytearray), ()
        own = self._own_reducer(type(obj))
        if own is not None:
            return own(obj)
        if self._table is not None:
            try:
                return self._table[type(obj)](obj)
            except KeyError:
                pass
        return NotImplemented


def _in_band(cls: type) -> Callable[[Any], Any] | None:
    return own_reducer(cls, None)


def find_in_main(qualname: str) -> object:
    """Return a class or function of ``__main__`` by its qualified name.

    Raises:
        AttributeError: there is none.
    """
    found: object = sys.modules["__main__"]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found

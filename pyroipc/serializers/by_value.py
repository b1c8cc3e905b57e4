"""Classes and functions that travel by value: what cloudpickle adds to pickle, and our own rules.

Imported only when plain pickle cannot do something, because cloudpickle costs 25 ms to load.

cloudpickle takes care of lambdas, closures and classes that cannot be imported. On top of it:

* A class or function of ``__main__`` that the peer has too (``main_names``) goes by its name.
* A class made in a function goes by value, together with the address at which a fork of the
  same image finds its own copy of the class, if it was made before the fork.
* A class is filled once. cloudpickle gives every class a tracker id, so that a class that comes
  home is the original; but it sets the attributes again, and would replace the methods of the
  original by copies that see copies of their globals. Here the first definition stays.
"""

from __future__ import annotations

import sys
from _weakref import ref
from io import BytesIO
from types import FunctionType

import cloudpickle

from pyroipc.serializers.main_names import (
    MAIN_MODULES,
    find_local_class,
    known_by_reference,
    known_local_class,
)
from pyroipc.serializers.pickle_parts import own_reducer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyroipc.serializers.base import PeerImage
    from pyroipc.serializers.parts import Parts
    from pyroipc.serializers.pickle_parts import Collector

__all__ = ["dumps_by_value", "dumps_by_value_apart", "fill_class", "make_class"]

_PROTOCOL = 5

# Classes whose attributes must not be set again: those that were sent from here, and those that
# arrived and are complete. Keyed by id, because a metaclass may define __eq__ without __hash__.
_settled: dict[int, ref[type]] = {}


def dumps_by_value(
    value: object, peer: PeerImage, table: Mapping[type, Any] | None = None
) -> bytes:
    """Pickle a value with what pickle alone cannot do; plain pickle can load it.

    Args:
        value: what to pickle.
        peer: what the process at the other end has in common with this one.
        table: how to reduce objects that are referred to, by type.

    Raises:
        Exception: whatever pickling raises, from cloudpickle or from the value's own methods.
    """
    file = BytesIO()
    _ByValuePickler(file, peer, table).dump(value)
    return file.getvalue()


def dumps_by_value_apart(value: object, peer: PeerImage, collector: Collector) -> bytes | Parts:
    """Do the same, with large buffers apart.

    Args:
        value: what to pickle.
        peer: what the process at the other end has in common with this one.
        collector: takes the pickle and its buffers; it knows the objects that are referred to.

    Raises:
        Exception: whatever pickling raises, from cloudpickle or from the value's own methods.
    """
    pickler = _ByValuePickler(collector, peer, collector.table, collector)
    return collector.parts(pickler, value)


class _ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(
        self,
        file: BytesIO | Collector,
        peer: PeerImage,
        table: Mapping[type, Any] | None,
        collector: Collector | None = None,
    ) -> None:
        take = None if collector is None else collector.take
        super().__init__(file, protocol=_PROTOCOL, buffer_callback=take)
        self._own_reducer = _in_band if collector is None else collector.own_reducer
        self._peer = peer
        self._table = table  # the C part has looked at dispatch_table already
        multiprocessing_main = sys.modules.get("__mp_main__")
        if multiprocessing_main is not None:
            # The main module of a child of multiprocessing. Nobody else can import that name.
            cloudpickle.register_pickle_by_value(multiprocessing_main)

    def reducer_override(self, obj: object) -> Any:
        is_class = issubclass(type(obj), type)
        if not is_class and type(obj) is not FunctionType:
            own = self._own_reducer(type(obj))
            if own is not None:
                return own(obj)
            if self._table is not None and type(obj) not in self.dispatch_table:
                try:
                    reduce = self._table[type(obj)]
                except KeyError:
                    return super().reducer_override(obj)
                return reduce(obj)
            return super().reducer_override(obj)
        peer = self._peer
        shared = peer.shares_main
        if (
            shared
            and getattr(obj, "__module__", None) in MAIN_MODULES
            and known_by_reference(obj, peer.generation)
        ):
            return NotImplemented  # pickle's own way: by name
        reduced = super().reducer_override(obj)
        # Six parts, the last one a setter: a class by value. Everything else is as it should be.
        if is_class and type(reduced) is tuple and len(reduced) == 6 and reduced[5] is not None:
            assert isinstance(obj, type)
            maker, args, state, _, _, setter = reduced
            _settle(obj)
            where = known_local_class(obj) if shared else None
            if where is not None:
                maker, args = make_class, (where, maker, args)
            return maker, args, (setter, state), None, None, fill_class
        return reduced


def _in_band(cls: type) -> Callable[[Any], Any] | None:
    return own_reducer(cls, None)


def _settle(cls: type) -> None:
    key = id(cls)
    if key not in _settled:
        _settled[key] = ref(cls, lambda _, key=key: _settled.pop(key, None))  # type: ignore[misc]


def make_class(
    where: tuple[int, str, str] | None, maker: Callable[..., type], args: tuple[object, ...]
) -> type:
    """Find or make a class that arrives by value; :func:`fill_class` follows.

    Args:
        where: what ``find_local_class`` takes, or None.
        maker: cloudpickle's way to find the class by its tracker id, or to make it empty.
        args: the arguments of *maker*.
    """
    if where is not None:
        cls = find_local_class(*where)
        if cls is not None:
            _settle(cls)
            return cls
    return maker(*args)


def fill_class(cls: type, state: tuple[Callable[[type, object], object], object]) -> None:
    """Set the attributes of a class that arrives by value, unless it has them.

    Args:
        cls: what :func:`make_class` returned.
        state: cloudpickle's setter for the attributes, and the attributes.
    """
    if id(cls) not in _settled:
        setter, attributes = state
        setter(cls, attributes)
        _settle(cls)

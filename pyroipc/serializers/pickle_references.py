"""How a pickler is told of the objects that do not travel: its dispatch table.

What pickling counts is counted by the connection. A value is at times pickled more than once for
one message; only the first time counts.
"""

from __future__ import annotations

from _pickle import Pickler  # the C part of pickle, as in serializers/pickle.py
from copyreg import dispatch_table
from io import BytesIO

from pyroipc.serializers.parts import LargeFoundError
from pyroipc.serializers.passengers import board, find, knows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _pickle import PickleBuffer
    from collections.abc import Callable, Iterable
    from typing import Any

    from pyroipc.serializers.base import References

__all__ = [
    "FAILURES",
    "MAIN",
    "PLAIN",
    "ReferenceTable",
    "is_flat",
    "may_name_main",
    "pickled",
]

# What user code inside of a (un)pickling may raise. A KeyboardInterrupt is somebody's Ctrl-C.
FAILURES = (Exception, SystemExit, GeneratorExit)

PLAIN = frozenset({bytes, bytearray, str, int, float, bool, type(None), complex})
"""Types of values that hold no others."""
MAIN = b"_main__"
"""The end of both names in MAIN_MODULES; a search runs at about 2.5 GB/s."""
_SMALL = 64  # items that are worth to be looked at one by one


class ReferenceTable(dict[type, "Callable[[Any], Any]"]):
    """The dispatch table of a pickler: how to reduce objects of a type.

    It is empty: what it is asked for depends on what is registered at that moment.
    """

    __slots__ = ("_references",)

    def __init__(self, references: References) -> None:
        self._references = references

    def again(self) -> ReferenceTable:
        """Return a table for a second look at a value: it counts nothing."""
        return _UncountedTable(self._references)

    def take_back(self, dumps: Callable[..., object], *args: object) -> None:
        """Uncount what was counted in vain; see ``References.take_back``."""
        self._references.take_back(dumps, *args)

    def __missing__(self, cls: type) -> Callable[[Any], Any]:
        if knows(cls):
            return self._look
        if cls in self._references.types:
            return self._references.reduce
        return dispatch_table[cls]

    def _look(self, value: Any) -> str | tuple[Any, ...]:
        """Reduce a value as it likes, unless it travels as a descriptor.

        Raises:
            LargeFoundError: it does.
            SerializeError: it would have to, and must not be copied.
        """
        passenger = find(value)
        if passenger is not None:
            if self._references.why_not_carried() is None:
                raise LargeFoundError
            board(passenger, None, self._references)
        reduce = dispatch_table.get(type(value))
        reduced: str | tuple[Any, ...] = (
            value.__reduce_ex__(5) if reduce is None else reduce(value)
        )
        return reduced


class _UncountedTable(ReferenceTable):
    __slots__ = ()

    def __missing__(self, cls: type) -> Callable[[Any], Any]:
        reduce = super().__missing__(cls)
        references = self._references
        if reduce != references.reduce:
            return reduce

        def uncounted(value: object) -> str | tuple[Any, ...]:
            reduced = reduce(value)
            references.withdraw_reduced(reduced)
            return reduced

        return uncounted


def pickled(
    value: object,
    table: ReferenceTable | None,
    callback: Callable[[PickleBuffer], bool] | None = None,
) -> bytes:
    """Return the pickle of a value.

    Raises:
        Exception: whatever pickling raises.
    """
    file = BytesIO()
    pickler = Pickler(file, 5, buffer_callback=callback)
    if table is not None:
        pickler.dispatch_table = table
    pickler.dump(value)
    return file.getvalue()


def is_flat(value: object) -> bool:
    """Tell whether a value is a small container of plain values: that is quick."""
    kind = type(value)
    if kind is dict:
        items: Any = value.values()  # type: ignore[attr-defined]
        if not PLAIN.issuperset(map(type, value)):  # type: ignore[call-overload]
            return False
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    return len(items) <= _SMALL and PLAIN.issuperset(map(type, items))


def _is_number_array(value: object) -> bool:
    """Tell whether a value is a numpy array without Python objects in it."""
    cls = type(value)
    if cls.__name__ != "ndarray" or cls.__module__ != "numpy":
        return False
    return not value.dtype.hasobject  # type: ignore[attr-defined]


def may_name_main(data: bytes, parts: Iterable[object], table: ReferenceTable | None) -> bool:
    """Search a large pickle for main modules, but not its blocks of bytes, text and numbers.

    64 MiB take 30 ms to search, more than to pickle them.
    """
    others = []
    skipped_bytes = 0
    for part in parts:
        if type(part) in PLAIN:
            skipped_bytes += len(part) if isinstance(part, bytes | bytearray | str) else 0
        elif _is_number_array(part):
            skipped_bytes += part.nbytes  # type: ignore[attr-defined]
        else:
            others.append(part)
    if skipped_bytes > len(data) // 2:
        data = pickled(others, table)
    return MAIN in data

"""Whether a peer has all the names of ``__main__`` that the pickle of a value would have."""

from __future__ import annotations

from _pickle import Pickler

from pyroipc.serializers.main_names import MAIN_MODULES, known_by_reference
from pyroipc.serializers.passengers import find, knows
from pyroipc.serializers.pickle_parts import drop_buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.serializers.pickle_references import ReferenceTable

__all__ = ["knows_all_names"]

_Function = type(lambda: None)


def knows_all_names(generation: int, table: ReferenceTable | None, value: object) -> bool:
    """Say whether a peer has all classes and functions of ``__main__`` that a value refers to.

    Args:
        generation: the fork generation up to which the names of ``__main__`` are common.
        table: reduces objects that are referred to, and counts none.
        value: it can be pickled.
    """
    try:
        _CheckingPickler(generation, table).dump(value)
    except _UnknownNameError:
        return False
    return True


class _UnknownNameError(Exception):
    """A class or function of ``__main__`` that the peer does not have."""


class _NoFile:
    """A file for a pickler whose output nobody wants."""

    __slots__ = ()

    def write(self, data: bytes) -> int:
        return len(data)


class _CheckingPickler(Pickler):
    """Pickles nowhere, and stops at the first name of ``__main__`` that the peer does not have.

    It is asked about every object that is not of a plain type, about 0.2 µs each; therefore it
    runs only if the name of a main module was seen in the bytes.
    """

    def __init__(self, generation: int, table: ReferenceTable | None) -> None:
        super().__init__(_NoFile(), 5, buffer_callback=drop_buffer)
        self._generation = generation
        if table is not None:
            self.dispatch_table = table

    def reducer_override(self, obj: object) -> Any:
        if (
            (type(obj) is _Function or issubclass(type(obj), type))
            and getattr(obj, "__module__", None) in MAIN_MODULES
            and not known_by_reference(obj, self._generation)
        ):
            raise _UnknownNameError
        if knows(type(obj)) and find(obj) is not None:
            return bool, ()  # it travels as a descriptor, and has no names
        return NotImplemented

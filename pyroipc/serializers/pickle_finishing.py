"""Pickles with objects in them that become others when their state is known; lenient loading.

C's unpickler cannot put one object in the place of another, so these go through its twin in
Python, which is slow. Imported only when there are such objects.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - the part of it that is written in Python
from _pickle import Unpickler
from io import BytesIO

from pyroipc.serializers.exceptions import make_without_init, rebuild_exception
from pyroipc.serializers.pickle_names import Unfinished, find_for_pyro

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.base import Buffer

__all__ = ["FinishingUnpickler", "load_leniently"]

_Base: Any = pickle._Unpickler  # noqa: SLF001 - the only name it has
_BUILD = pickle.BUILD[0]


class FinishingUnpickler(_Base):  # type: ignore[misc]
    """Finishes objects when it has read their state.

    Args:
        file: has the bytes.
        find: how another library finds what a name stands for; None: as pickle does.
    """

    def __init__(self, file: BytesIO, find: Callable[[str, str], Any] | None = None) -> None:
        super().__init__(file)
        self._find = find or super().find_class

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for."""
        found = find_for_pyro(module, name)
        return self._find(module, name) if found is None else found

    def load_build(self) -> None:
        """Give the object on the stack its state, or put another in its place."""
        unfinished = self.stack[-2]
        if not isinstance(unfinished, Unfinished):
            _Base.load_build(self)
            return
        finished = unfinished.finished(self.stack.pop())
        self.stack[-1] = finished
        memo = self.memo
        for key in reversed(memo):  # it is not far from the end
            if memo[key] is unfinished:
                memo[key] = finished
                break

    dispatch = {**_Base.dispatch, _BUILD: load_build}  # noqa: RUF012 - the library's name for it


# ----------------------------------------------------------------------- errors of missing classes


class Missing:
    """An object of a class that this process does not have."""

    class_name = ""

    def __new__(cls, *args: object) -> Missing:
        """Keep what the class was called with."""
        made = super().__new__(cls)
        made.args = args
        made.state = None
        return made

    args: tuple[object, ...]
    state: object

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.class_name} object, its class is missing here>"


class _LenientUnpickler(Unpickler):
    """Takes a class that is missing for one of some exception, and calls no ``__init__``s."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        found = find_for_pyro(module_name, global_name)
        if found is not None:
            return found
        try:
            found = super().find_class(module_name, global_name)
        except (ImportError, AttributeError):
            class_name = f"{module_name}.{global_name}"
            return type("Missing", (Missing,), {"class_name": class_name})
        if isinstance(found, type) and issubclass(found, Exception):
            return lambda *args: make_without_init(found, args)
        return found


def load_leniently(data: Buffer) -> object:
    """Load the pickle of an exception that could not be loaded as it is.

    Raises:
        Exception: whatever loading raises.
    """
    loaded = _LenientUnpickler(BytesIO(data)).load()
    if isinstance(loaded, Missing):
        attributes = loaded.state if isinstance(loaded.state, dict) else {}
        return rebuild_exception({
            "__class__": loaded.class_name,
            "args": loaded.args,
            "attributes": attributes,
        })
    return loaded

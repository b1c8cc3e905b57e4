"""dill for a peer that is Pyro4: its own pickler and unpickler, asked after ours."""

from __future__ import annotations

from io import BytesIO

import dill  # pyright: ignore[reportMissingImports] - not among the requirements

from pyroipc.serializers.pickle_names import find_for_pyro

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DillPickler", "DillUnpickler", "find_with_dill"]


class DillPickler(dill.Pickler):  # type: ignore[misc]
    """Pickles more than pickle does; the peer needs dill to load that.

    Args:
        file: takes the bytes.
        reduce: says how to send an object, or NotImplemented.
    """

    def __init__(self, file: BytesIO, reduce: Callable[[object], Any]) -> None:
        super().__init__(file, protocol=5)
        self._reduce = reduce

    def reducer_override(self, obj: object) -> Any:
        """Return what ``__reduce__`` might, or NotImplemented."""
        return self._reduce(obj)


class DillUnpickler(dill.Unpickler):  # type: ignore[misc]  # noqa: S301 - of a trusted peer
    """Loads what dill made."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for."""
        found = find_for_pyro(module, name)
        return super().find_class(module, name) if found is None else found


def find_with_dill(module: str, name: str) -> Any:
    """Return what dill finds under a name.

    Raises:
        Exception: it finds nothing.
    """
    return dill.Unpickler(BytesIO()).find_class(module, name)  # noqa: S301 - it loads nothing

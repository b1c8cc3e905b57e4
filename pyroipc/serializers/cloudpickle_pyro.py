"""cloudpickle for a peer that is Pyro4: its own pickler, asked after ours."""

from __future__ import annotations

import cloudpickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BytesIO
    from typing import Any

__all__ = ["CloudPickler"]


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what has no name elsewhere; the peer needs cloudpickle to load it.

    Args:
        file: takes the bytes.
        reduce: says how to send an object, or NotImplemented.
    """

    def __init__(self, file: BytesIO, reduce: Callable[[object], Any]) -> None:
        super().__init__(file, protocol=5)
        self._reduce = reduce

    def reducer_override(self, obj: object) -> Any:
        """Return what ``__reduce__`` might, or NotImplemented."""
        reduced = self._reduce(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced

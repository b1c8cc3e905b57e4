"""What is to be done in a forked child before anything else, in the order of this list."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["after_fork"]

after_fork: list[Callable[[], None]] = []
"""Called without arguments, one after the other; modules add to it when they are imported."""


def _after_fork_in_child() -> None:
    for function in after_fork:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

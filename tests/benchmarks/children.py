"""Children that are gone when the block ends, whatever happens, and the CPUs that they run on."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = {
    "one": "both on one CPU",
    "two": "on different CPUs",
    "free": "unpinned",
}
NOT_HERE = "this machine cannot place processes so"


def modes_here() -> list[str]:
    """Return the modes that this machine allows."""
    if not hasattr(os, "sched_setaffinity"):
        return ["free"]
    if len(os.sched_getaffinity(0)) < 2:
        return ["one", "free"]
    return list(MODES)


class Placement:
    """Which CPUs the parent and its children may use.

    Both sides settle right after the fork: the child with :meth:`settle_child`, the parent, when
    all children have settled, with :meth:`settled_parent`.

    Attributes:
        together: all are on one and the same CPU.
    """

    def __init__(self, mode: str) -> None:
        self.together = mode == "one"
        self._parent: set[int] | None = None
        self._child: set[int] | None = None
        if mode != "free":
            cpus = sorted(os.sched_getaffinity(0))
            self._parent = {cpus[0]}
            self._child = {cpus[0 if mode == "one" else 1]}

    def settle_child(self) -> None:
        """Go where the children of this mode belong."""
        if self._child is not None:
            os.sched_setaffinity(0, self._child)

    @contextlib.contextmanager
    def settled_parent(self) -> Iterator[None]:
        """Stay where the parent of this mode belongs."""
        if self._parent is None:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._parent)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@contextlib.contextmanager
def forked(body: Callable[[], object], placement: Placement) -> Iterator[int]:
    """Run a function in a forked child; yield the child's pid. It is killed at the end.

    Raises:
        RuntimeError: the child did not settle on its CPUs.
    """
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        _live_as_child(body, placement, writable)
    try:
        os.close(writable)
        with open(readable, "rb", buffering=0) as settled:
            if not settled.read(1):
                raise RuntimeError("the child could not settle on its CPUs")
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _live_as_child(body: Callable[[], object], placement: Placement, settled: int) -> None:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        placement.settle_child()
        os.write(settled, b"!")
        os.close(settled)
        body()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)

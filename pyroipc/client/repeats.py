"""Futures whose calls are made again when they fail, as ``_pyroMaxRetries`` asks for.

Each try is a future of its own, with a callback, and what the user holds is settled by the last
one. Between two tries the clock waits, and no thread does.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError
from time import monotonic

from pyroipc.client import sharing
from pyroipc.client.calling import is_worth_a_retry, pauses
from pyroipc.client.crew import clock, workers
from pyroipc.client.futures import submit_call
from pyroipc.errors import ForkedConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.proxy import Proxy

__all__ = ["submit_repeatedly"]

_under_way: set[Tries] = set()


class Tries:
    """One call, made as often as need be and its proxy allows.

    Args:
        proxy: that of the object.
        name: of the method.
        args: positional arguments; not to be changed before the future is done.
        kwargs: keyword arguments.
    """

    def __init__(
        self, proxy: Proxy[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.future: Future[Any] = Future()
        self._call = proxy, name, args, kwargs
        self._pauses = pauses(proxy)
        _under_way.add(self)

    def begin(self) -> None:
        """Send the call, unless it was cancelled meanwhile."""
        if self.future.cancelled():
            _under_way.discard(self)
            return
        try:
            trial = submit_call(*self._call)
        except BaseException as error:  # noqa: BLE001 - it is the outcome of this try
            self._failed(error)
        else:
            trial.add_done_callback(self._done)

    def _done(self, trial: Future[Any]) -> None:
        error = trial.exception()
        if error is not None:
            self._failed(error)
        else:
            self._settle(trial.result(), None)

    def _failed(self, error: BaseException) -> None:
        pause = None
        if is_worth_a_retry(error):
            pause = next(self._pauses, None)
        if pause is None:
            self._settle(None, error)
        else:  # not on the clock's thread: connecting may take long
            clock.call_at(monotonic() + pause, lambda: workers.put(self.begin))

    def _settle(self, value: Any, error: BaseException | None) -> None:
        _under_way.discard(self)
        try:
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(value)
        except InvalidStateError:
            pass  # it was cancelled

    def disown(self) -> None:
        """In a forked child: nobody tries any more."""
        self.future._condition = threading.Condition()  # another thread may have held it
        self._settle(
            None,
            ForkedConnectionError(
                "this future was inherited through a fork: its call is the parent's"
            ),
        )


def submit_repeatedly(
    proxy: Proxy[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any]:
    """Send a call of a method, and again while it fails; return the future of its result.

    Args:
        proxy: that of the object; ``_pyroMaxRetries`` says how often, ``_pyroTimeout`` how long
            each try may take.
        name: of the method.
        args: positional arguments; they must not be changed before the future is done.
        kwargs: keyword arguments.
    """
    tries = Tries(proxy, name, args, kwargs)
    tries.begin()
    return tries.future


def _after_fork_in_child() -> None:
    for tries in list(_under_way):
        tries.disown()
    _under_way.clear()


sharing.after_fork.append(_after_fork_in_child)

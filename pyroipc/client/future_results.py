"""Pyro4's futures: ``FutureResult``, ``Future``, and what a proxy in asynchronous mode returns.

They are built on those of concurrent.futures. The functions of a chain run one after the other, on
the thread that brings the value: the callback crew, a thread of the workers, or, if the value is
there already, the thread that adds the function. Never on one that receives, so all of them may
make remote calls, and wait for other futures.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import os
from _thread import RLock
from collections import deque
from concurrent.futures import CancelledError
from concurrent.futures import Future as StandardFuture
from time import monotonic

from pyroipc.client.crew import clock, workers
from pyroipc.errors import ForkedConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeAlias

    from pyroipc.client.batch import BatchProxy
    from pyroipc.client.crew import Appointment
    from pyroipc.client.methods import RemoteMethod
    from pyroipc.client.proxy import Proxy

    Link: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

__all__ = ["AsynchronousMethod", "Future", "FutureResult", "asyncproxy", "submit_batch"]

_OPEN = "open"  # the first value is not there yet
_WALKING = "walking"  # a thread runs the functions of the chain
_DONE = "done"
_CANCELLED = "future has been cancelled"
_EVALUATED = "the future has already been evaluated"


class FutureResult:
    """The result of a call that runs in the background; any thread may use it.

    Functions can be added with :meth:`then`: the first is called with the result of the call, the
    next with what that returned, and so on. ``value`` is what the last one returned. What goes
    wrong on the way ends the chain, and is raised by ``value``.

    Args:
        source: the future of the call; None: somebody will call :meth:`set_value`.
    """

    def __init__(self, source: StandardFuture[Any] | None = None) -> None:
        self._lock = RLock()  # never held while a function of the user's runs
        # As long as nothing was added, the source itself is what is waited for.
        self._source = source
        self._future: StandardFuture[Any] = StandardFuture() if source is None else source
        self._origin = source
        self._state = _OPEN
        self._links: deque[Link] = deque()
        self._handlers: list[Callable[[BaseException], object]] = []
        self._pid = os.getpid()

    # --- waiting -------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the value is there, or the error."""
        return self._future.done()

    @property
    def value(self) -> Any:
        """The result of the call, or of the last function of the chain; waits for it.

        Raises:
            Exception: what the call or one of the functions raised.
            RuntimeError: it was cancelled.
        """
        return self.get_value()

    def get_value(self) -> Any:
        """Wait for the value and return it.

        Raises:
            Exception: as :attr:`value`.
            RuntimeError: it was cancelled.
        """
        self._wait(None)
        try:
            return self._future.result()
        except CancelledError:
            raise RuntimeError(_CANCELLED) from None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the value or the error is there.

        Args:
            timeout: seconds; None: as long as it takes.

        Returns:
            False if the time has passed.
        """
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else monotonic() + timeout
        # First the call itself, because a thread that waits for that receives: nobody else need.
        for future in (self._origin, self._future):
            if future is None or future.done():
                continue
            if future is not self._origin and self._pid != os.getpid():
                raise ForkedConnectionError("this future belongs to the parent process")
            try:
                future.exception(None if deadline is None else max(0.0, deadline - monotonic()))
            except CancelledError:
                pass
            except TimeoutError:
                return self._future.done()
        return True

    # --- the chain -----------------------------------------------------------------------------

    def then(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """Call a function with the value, and let the value be what that returns.

        If the value is there already, it is called now, by this thread. If there is an error
        instead, it is not called at all.

        Args:
            call: gets the value as its first argument.
            args: further positional arguments.
            kwargs: keyword arguments.

        Returns:
            This object.
        """
        self._add((call, args, kwargs), None)
        return self

    def iferror(self, exceptionhandler: Callable[[BaseException], object]) -> Self:
        """Call a function with the error, if the call or a function of the chain raises one.

        If that has happened already, it is called now, by this thread. ``value`` raises the error
        all the same. Each function is called at most once.

        Args:
            exceptionhandler: gets the exception; what it returns is ignored.

        Returns:
            This object.
        """
        self._add(None, exceptionhandler)
        return self

    def _add(self, link: Link | None, handler: Callable[[BaseException], object] | None) -> None:
        """Add to the chain; walk it, if nobody else will."""
        with self._lock:
            if link is not None:
                self._links.append(link)
            if handler is not None:
                self._handlers.append(handler)
            source, self._source = self._source, None
            if source is None:
                if self._state != _DONE:
                    return
                self._state = _WALKING
            done, self._future = self._future, StandardFuture()
        if source is not None:
            source.add_done_callback(self._arrived)
        else:
            error = done.exception()
            self._walk(None if error is not None else done.result(), error)

    def _arrived(self, source: StandardFuture[Any]) -> None:
        """Take the outcome of the source."""
        if source.cancelled():
            self.settle(None, RuntimeError(_CANCELLED))
        elif (error := source.exception()) is not None:
            self.settle(None, error)
        else:
            self.settle(source.result())

    def settle(self, value: Any, error: BaseException | None = None) -> bool:
        """Set the first value, or the error, and walk the chain; False if that was done before."""
        with self._lock:
            if self._source is not None or self._state != _OPEN:
                return False
            self._state = _WALKING
        self._walk(value, error)
        return True

    def _walk(self, value: Any, error: BaseException | None) -> None:
        """Call the functions of the chain, and then let those know who wait for the value."""
        while (step := self._next_step(value, error)) is not None:
            call, args, kwargs = step
            try:
                if error is None:
                    value = call(value, *args, **kwargs)
                else:
                    call(error)
            except BaseException as failure:  # noqa: BLE001 - it is the new outcome
                if error is None:
                    error = failure
                else:
                    _log(failure, call)

    def _next_step(self, value: Any, error: BaseException | None) -> Link | None:
        """Return what is to be called next; None: nothing, and the outcome is made known."""
        with self._lock:
            if error is None and self._links:
                return self._links.popleft()
            if error is not None:
                self._links.clear()
                if self._handlers:
                    return self._handlers.pop(0), (), {}
            self._state = _DONE
            if error is None:
                self._future.set_result(value)
            else:
                self._future.set_exception(error)
            return None

    # --- by hand -------------------------------------------------------------------------------

    def set_value(self, value: Any) -> None:
        """Set the result of the call by hand; what the call returns is dropped.

        Raises:
            RuntimeError: the result is there already.
        """
        if not (self._leave_source() and self.settle(value)):
            raise RuntimeError("this future has its value already")

    def set_cancelled(self) -> None:
        """Give up the call, unless it is done: ``value`` raises a RuntimeError from now on."""
        if self._leave_source():
            self.settle(None, RuntimeError(_CANCELLED))

    def _leave_source(self) -> bool:
        """Expect nothing from the call any more; False if it is done."""
        with self._lock:
            if self._state != _OPEN or (self._source is not None and self._source.done()):
                return False
            if self._source is not None:
                self._source = None
                self._future = StandardFuture()
            origin, self._origin = self._origin, None
        if origin is not None:
            origin.cancel()
        return True

    def __repr__(self) -> str:
        return f"<FutureResult, {'ready' if self._future.done() else 'not ready'}>"


class Future:
    """A function to be called in the background, once; for functions of this process.

    Calling this returns a :class:`FutureResult` at once.

    Args:
        somecallable: the function.
    """

    def __init__(self, somecallable: Callable[..., Any]) -> None:
        self._callable = somecallable
        self._result = FutureResult()
        self._lock = RLock()
        self._execute_at = 0.0
        self._appointment: Appointment | None = None
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._is_cancelled = False
        self._has_begun = False

    def __call__(self, *args: Any, **kwargs: Any) -> FutureResult:
        """Call the function, now or after the delay, on a thread of the library's.

        Returns:
            What its result will be in.

        Raises:
            RuntimeError: it was called or cancelled before.
        """
        with self._lock:
            if self._is_cancelled:
                raise RuntimeError("the future has been cancelled")
            if self._arguments is not None:
                raise RuntimeError(_EVALUATED)
            self._arguments = args, kwargs
            self._schedule()
        return self._result

    def _schedule(self) -> None:
        if self._appointment is not None:
            clock.cancel(self._appointment)
            self._appointment = None
        if self._execute_at > monotonic():
            self._appointment = clock.call_at(self._execute_at, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._has_begun or self._is_cancelled or self._execute_at > monotonic():
                return
            self._has_begun = True
        workers.put(self._run)

    def _run(self) -> None:
        assert self._arguments is not None
        args, kwargs = self._arguments
        self._arguments = (), {}
        try:
            value = self._callable(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the outcome
            self._result.settle(None, error)
        else:
            self._result.settle(value)

    def delay(self, seconds: float) -> bool:
        """Do not call the function before so many seconds from now have passed.

        Returns:
            False if it has begun already.
        """
        with self._lock:
            if self._has_begun or self._is_cancelled:
                return False
            self._execute_at = monotonic() + seconds
            if self._arguments is not None:
                self._schedule()
            return True

    def cancel(self) -> bool:
        """Do not call the function at all; the value of its result is a RuntimeError then.

        Returns:
            False if it has begun already.
        """
        with self._lock:
            if self._has_begun:
                return False
            self._is_cancelled = True
            if self._appointment is not None:
                clock.cancel(self._appointment)
                self._appointment = None
        self._result.set_cancelled()
        return True

    def then(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """Add a function to the chain; see :meth:`FutureResult.then`.

        Raises:
            RuntimeError: this was called already.
        """
        self._chain().then(call, *args, **kwargs)
        return self

    def iferror(self, exceptionhandler: Callable[[BaseException], object]) -> Self:
        """Add a function for errors; see :meth:`FutureResult.iferror`.

        Raises:
            RuntimeError: this was called already.
        """
        self._chain().iferror(exceptionhandler)
        return self

    def _chain(self) -> FutureResult:
        if self._arguments is not None:
            raise RuntimeError(f"{_EVALUATED}: add to its FutureResult")
        return self._result


class AsynchronousMethod:
    """A method of a proxy in asynchronous mode: calling it returns a :class:`FutureResult`.

    Args:
        method: the same one in the ordinary mode.
    """

    __slots__ = ("_method",)

    def __init__(self, method: RemoteMethod) -> None:
        self._method = method

    @property
    def __name__(self) -> str:
        return self._method.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> FutureResult:
        """Send the call; what goes wrong, with that too, is raised by the value of the result."""
        try:
            return FutureResult(self._method.submit(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the outcome
            failed = FutureResult()
            failed.settle(None, error)
            return failed

    def __repr__(self) -> str:
        return f"<asynchronous {self._method!r}>"


def asyncproxy(proxy: Proxy[Any], asynchronous: bool = True) -> None:  # noqa: FBT001, FBT002 - Pyro4's
    """From now on have the methods of a proxy return a ``FutureResult`` at once, or not any more.

    Attributes are read and set as before. All calls go over the one connection of the proxy.
    """
    proxy._pyroAsync(asynchronous)


def submit_batch(batch: BatchProxy) -> FutureResult:
    """Make the calls of a batch in the background; return the future of its results."""
    calls = batch._pyro_take()
    return Future(batch._pyro_proxy._pyroInvokeBatch)(calls)


def _log(error: BaseException, call: object) -> None:
    import logging

    logging.getLogger("pyroipc.client.futures").error(
        "the function %r that was to handle an error raised one itself", call, exc_info=error
    )

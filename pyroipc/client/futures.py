"""Futures of remote calls: calls under way that no thread need wait for.

``submit_call`` sends a request, and its answer goes to a :class:`RemoteFuture`, which is a
:class:`concurrent.futures.Future` and a sink of the session in one. Who does what:

* Whoever receives, and so has the lead of the session, only puts the answer into the future.
* A thread in ``result()`` leads or follows, as one in a plain call does, and decodes the answer.
* If somebody else is to be told (``wait``, ``as_completed``, callbacks, asyncio), the future is
  *watched*: the pump of the session receives, and the callback crew decodes and tells.
* Of futures that are not watched the clock takes care (:class:`_Care`): it finds those whose time
  is over, and calls the pump if an answer is not fetched by anybody.

So a future whose result is simply waited for costs no thread and no switch between threads.
"""

from __future__ import annotations

import builtins
import os
from _thread import RLock
from concurrent.futures import CancelledError
from concurrent.futures import Future as StandardFuture
from time import monotonic

from pyroipc.client import sharing
from pyroipc.client.crew import callbacks, clock
from pyroipc.client.future_results import AsynchronousMethod, Future, FutureResult, asyncproxy
from pyroipc.client.future_results import submit_batch as submit_batch
from pyroipc.client.requests import encode_call, read_apart, waiting
from pyroipc.client.waiters import Sink
from pyroipc.errors import ForkedConnectionError, PyroError, TimeoutError
from pyroipc.wire.message import STREAM, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.client.crew import Appointment
    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec

__all__ = [
    "AsynchronousMethod",
    "Future",
    "FutureResult",
    "RemoteFuture",
    "asyncproxy",
    "submit_call",
]

# The states of concurrent.futures; a call is never RUNNING, so that it can be cancelled.
_PENDING = "PENDING"
_CANCELLED = "CANCELLED_AND_NOTIFIED"
_FINISHED = "FINISHED"

_LOOK_SECONDS = 0.05
"""How often the clock looks after a session that has futures which nobody waits for."""
_PUMPED_LOOK_SECONDS = 1.0
"""The same, while the pump receives."""


def submit_call(
    proxy: Proxy[Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> StandardFuture[Any]:
    """Send a call of a method; return the future of its result.

    Args:
        proxy: that of the object; its ``_pyroTimeout`` is for the whole call.
        name: of the method.
        args: positional arguments.
        kwargs: keyword arguments.

    Raises:
        CommunicationError: the call could not be sent.
    """
    if name in proxy._pyro_oneway:
        proxy._pyroInvoke(name, args, kwargs)
        done: StandardFuture[Any] = StandardFuture()
        done.set_result(None)
        return done
    session = proxy._pyro_connected()
    timeout = proxy._pyroTimeout
    deadline = None if timeout is None else monotonic() + timeout
    if not session.is_open:
        try:
            session.open(deadline)
        except PyroError as error:
            error.call_status = "not sent"  # type: ignore[attr-defined]
            raise
    codec, request_id, data = encode_call(proxy, session, name, args, kwargs)
    future = RemoteFuture(proxy, session, codec, request_id, name, deadline)
    session.submit(request_id, data, future, deadline)
    care = _cares.get(session)
    if care is None or (deadline is not None and deadline < care.next_look):
        _take_care(session, deadline)
    return future


class _Door(RLock):  # type: ignore[misc]
    """What a future has instead of a Condition: the lock alone, at a tenth of its price.

    The functions of concurrent.futures only lock it; a thread that waits for the result of a
    :class:`RemoteFuture` waits for the session.
    """

    __slots__ = ()


class _Waiters:
    """The attribute ``_waiters`` of a future, before ``wait`` or ``as_completed`` ask for it."""

    def __get__(self, future: RemoteFuture, owner: type) -> list[Any]:
        waiters: list[Any] = future.__dict__.setdefault("_waiters", [])
        future.watch()
        return waiters


class RemoteFuture(Sink, StandardFuture):  # type: ignore[type-arg]
    """The future of a remote call.

    ``result`` and ``exception`` raise what a plain call does; a ``TimeoutError`` of this library
    says that the call took longer than ``_pyroTimeout``, a plain one that the time given to
    ``result`` has passed. ``cancel`` tells nobody: the answer is dropped when it comes.

    Args:
        proxy: what was called.
        session: its connection.
        codec: of the call.
        request_id: of the call.
        member: the name of the method.
        deadline: of the whole call, by the monotonic clock.
    """

    # Nearly every future needs only some of these; the others stay as they are in the class.
    _state: str = _PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _answer: Message | BaseException | None = None  # what has come, and is not decoded yet
    is_watched = False
    """Whether somebody is to be told who does not wait in here."""
    _done_callbacks: list[Callable[[Any], object]] = []  # noqa: RUF012 - never changed
    _waiters = _Waiters()

    def __init__(
        self,
        proxy: Proxy[Any],
        session: Session,
        codec: CallCodec,
        request_id: int,
        member: str,
        deadline: float | None,
    ) -> None:
        # Not those of the bases: this is made for every call.
        self.watchers = set()
        self._condition = _Door()  # guards the state
        self._decoding = RLock()  # held while the answer is decoded
        self._proxy = proxy
        self._session = session
        self._codec = codec
        self._request_id = request_id
        self._member = member
        self.deadline = deadline

    # --- of a sink: called under the lead ------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether the answer is there, or none is expected any more."""
        return self._answer is not None or self._state != _PENDING

    def deliver(self, message: Message) -> None:
        """Take the answer."""
        sinks = self._session.sinks
        with self._condition:
            if sinks.get(self._request_id) is self:  # and not what takes the items of a stream
                del sinks[self._request_id]
            late = self._answer is not None or self._state != _PENDING
            if not late:
                self._answer = message
        if late:
            self._session._drop_late_answer(self._request_id)
        elif self.watchers or self.is_watched or message.flags & STREAM:
            self._tell()

    def fail(self, error: BaseException) -> None:
        """Take note that no answer will come."""
        with self._condition:
            if self._answer is None and self._state == _PENDING:
                self._answer = error
        self._tell()

    def _tell(self) -> None:
        self.wake_watchers()
        # The stream of a future that is forgotten must not stay open: somebody takes it.
        if self.is_watched or (isinstance(self._answer, Message) and self._answer.flags & STREAM):
            callbacks.put(self._complete_apart)

    # --- completing ----------------------------------------------------------------------------

    def _complete(self, until: float | None = None) -> bool:
        """Decode the answer that has come, once; False if another thread was busy with that.

        What a signal handler raises meanwhile changes nothing: it can be decoded again.
        """
        held = False
        try:
            seconds = -1 if until is None else max(0.0, until - monotonic())
            for held in map(self._decoding.acquire, (True,), (seconds,)):  # noqa: B007
                break
            if held and self._state == _PENDING and self._answer is not None:
                value, error = self._decode(self._answer)
                self._finish(_FINISHED, value, error)
        finally:
            if held:
                self._decoding.release()
        return held

    def _decode(self, answer: Message | BaseException) -> tuple[Any, BaseException | None]:
        if isinstance(answer, BaseException):
            return None, answer
        try:
            return read_apart(self._proxy, self._codec, answer), None
        except Exception as failure:  # noqa: BLE001 - it is the result
            return None, failure.with_traceback(None)

    def _complete_apart(self) -> None:
        """Decode the answer on a thread of the crew, whose business nothing in it is."""
        try:
            self._complete()
        except BaseException as error:  # noqa: BLE001
            self._finish(_FINISHED, None, error)

    def _finish(self, state: str, value: Any, error: BaseException | None) -> None:
        with self._condition:
            if self._state != _PENDING:
                return
            self._result, self._exception = value, error
            self._state = state
            self._answer = None
            for waiter in self._waiters if self.is_watched else ():
                if state == _CANCELLED:
                    waiter.add_cancelled(self)
                elif error is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
        _watched.discard(self)
        self.wake_watchers()
        if self._done_callbacks:
            callbacks.put(self._invoke_callbacks)  # type: ignore[attr-defined]

    # --- being watched ---------------------------------------------------------------------------

    def watch(self) -> None:
        """Have this completed although no thread waits for it in here."""
        self._look_around()
        if self._state != _PENDING:
            return
        self.is_watched = True
        _watched.add(self)
        if self._answer is not None:
            callbacks.put(self._complete_apart)
        else:
            _take_care(self._session, self.deadline, pumped=True)

    def _look_around(self) -> None:
        """Find out whether there was a fork since: then no answer comes to this process."""
        if self._proxy._pyro_pid != os.getpid():
            self.disown()
        elif self._session.is_over:
            try:
                self._session.check()
            except PyroError as error:
                self.fail(error)

    def disown(self) -> None:
        """In a forked child: the answer goes to the parent, and so do all that wait for it."""
        if self.is_watched:
            self.is_watched = False
            self._done_callbacks = []
            self.__dict__.pop("_waiters", None)
            self.watchers = set()
        # Threads that held these are not in this process; but this one may hold the first.
        self._decoding = RLock()
        if self._condition.acquire(blocking=False):
            self._condition.release()
        else:
            self._condition = _Door()
        if self._answer is None:
            self._answer = ForkedConnectionError(
                "this future was inherited through a fork: its answer goes to the parent process"
            )

    # --- of a future ---------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            TimeoutError: the time given has passed. If it is one of this library's, the call
                took longer than ``_pyroTimeout``.
            CancelledError: it was cancelled.
            Exception: as for a plain call.
        """
        if self._state != _FINISHED:
            self._await(timeout)
        if self._exception is None:
            return self._result
        try:
            raise self._exception
        finally:
            del self  # a traceback holds its frames, and this one would hold the traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end of the call; return what it raises, or None.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            TimeoutError: the time given has passed.
            CancelledError: it was cancelled.
        """
        if self._state != _FINISHED:
            self._await(timeout)
        return self._exception

    def _await(self, timeout: float | None) -> None:
        """Wait until this is done.

        Raises:
            CancelledError, TimeoutError: as :meth:`exception`.
        """
        self._look_around()
        until = None if timeout is None else monotonic() + timeout
        while self._state == _PENDING:
            if self._answer is None:
                ready = self._receive(until)
            else:
                ready = self._complete(until)
            if not ready and until is not None and monotonic() >= until and not self.is_ready:
                raise builtins.TimeoutError
        if self._state == _CANCELLED:
            raise CancelledError

    def _receive(self, until: float | None) -> bool:
        """Lead or follow until the answer has come; False if time ran out."""
        deadline = self.deadline
        if deadline is None or (until is not None and until < deadline):
            deadline = until
        session = self._session
        try:
            with waiting(session, self._proxy._pyroObjectId, self._member):
                ready = session.await_sink(self, deadline)
        except PyroError as error:
            self.fail(error)  # unless that is done already
            return True
        if not ready and self.deadline is not None and monotonic() >= self.deadline:
            self.expire()
        return ready

    def done(self) -> bool:
        """Say whether the result is there, or will never be."""
        if self._state != _PENDING:
            return True
        self._look_around()
        if self._answer is None and not self._session.is_served:
            try:
                self._session.receive_now()
            except PyroError as error:
                self._session.broken(error)
        if self._answer is not None:
            self._complete(monotonic())
        return self._state != _PENDING

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Have a function called with this future when it is done.

        It is called by a thread of this library's, one function after the other; at once if the
        future is done already.
        """
        with self._condition:
            pending = self._state == _PENDING
            if pending:
                self._done_callbacks = [*self._done_callbacks, fn]
        if pending:
            self.watch()
        else:
            fn(self)

    def cancel(self) -> bool:
        """Give up the call; False if its answer has come already. The peer is not told."""
        with self._condition:
            if self._state == _PENDING and self._answer is None:
                self._forget_answer()
                self._finish(_CANCELLED, None, None)
            return self._state == _CANCELLED

    def expire(self) -> None:
        """Take note that the call has taken too long."""
        with self._condition:
            if self._answer is not None or self._state != _PENDING:
                return
            self._forget_answer()
            self._answer = TimeoutError(
                f"no answer to {self._member!r} came within {self._proxy._pyroTimeout} s"
            )
        self._tell()

    def _forget_answer(self) -> None:
        """Have the answer dropped when it comes."""
        session = self._session
        if session.sinks.get(self._request_id) is self:
            del session.sinks[self._request_id]
        if not session.is_over:
            session._abandon(self._request_id)


class _Care:
    """Looks after the futures of one session that nobody waits for; part of it is the clock's.

    Keeps the session alive while there are any. What it does not do is to call the pump for calls
    that are answered within a moment: two threads that receive disturb each other.

    Args:
        session: the connection.
    """

    __slots__ = ("_appointment", "_is_pumped", "_oldest", "_session", "next_look")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_pumped = False
        self._oldest: RemoteFuture | None = None
        self._appointment: Appointment | None = None
        self.next_look = float("inf")

    def pump(self) -> None:
        """From now on have the pump receive, until there are no futures any more."""
        if not self._is_pumped:
            self._is_pumped = True
            self._session.pump.need(1)

    def look_at(self, when: float) -> None:
        """Look at a certain time, or earlier."""
        if when < self.next_look:
            if self._appointment is not None:
                clock.cancel(self._appointment)
            self.next_look = when
            self._appointment = clock.call_at(when, self._look)

    def _look(self) -> None:
        now = monotonic()
        pending = _futures_of(self._session)
        for future in pending:
            if future.deadline is not None and future.deadline <= now:
                future.expire()
        pending = [future for future in pending if not future.is_ready]
        with _care_lock:
            self.next_look = float("inf")
            if pending:
                if pending[0] is self._oldest:
                    self.pump()
                self._oldest = pending[0]
                deadlines = [each.deadline for each in pending if each.deadline is not None]
                seconds = _PUMPED_LOOK_SECONDS if self._is_pumped else _LOOK_SECONDS
                self.look_at(min([now + seconds, *deadlines]))
                return
            del _cares[self._session]
            if self._is_pumped:
                self._session.pump.need(-1)
        for future in _futures_of(self._session):  # submitted meanwhile
            _take_care(self._session, future.deadline, pumped=future.is_watched)


def _futures_of(session: Session) -> list[RemoteFuture]:
    return [sink for sink in list(session.sinks.values()) if isinstance(sink, RemoteFuture)]


def _take_care(session: Session, deadline: float | None, *, pumped: bool = False) -> None:
    """See to it that futures of this session come to an end although nobody waits for them."""
    with _care_lock:
        care = _cares.get(session)
        if care is None:
            care = _cares[session] = _Care(session)
        if pumped:
            care.pump()
        when = monotonic() + _LOOK_SECONDS
        care.look_at(when if deadline is None else min(when, deadline))


_cares: dict[Session, _Care] = {}
_care_lock = RLock()
_watched: set[RemoteFuture] = set()


def _after_fork_in_child() -> None:
    global _care_lock
    _care_lock = RLock()
    _cares.clear()
    for future in list(_watched):
        future.disown()
    _watched.clear()


sharing.after_fork.append(_after_fork_in_child)

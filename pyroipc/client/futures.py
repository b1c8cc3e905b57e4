"""Futures of remote calls: calls under way that no thread need wait for.

``submit_call`` sends a request, and its answer goes to a :class:`RemoteFuture`, which is a
:class:`concurrent.futures.Future` and a sink of the session in one. Who does what:

* Whoever receives, and so has the lead of the session, only puts the answer into the future.
* A thread in ``result()`` leads or follows, as one in a plain call does, and decodes the answer.
* If somebody else is to be told (``wait``, ``as_completed``, callbacks, asyncio), the future is
  *watched*: the pump of the session receives, and the callback crew decodes and tells.
* Of futures that are not watched the clock takes care (:mod:`pyroipc.client.care`): it finds those
  whose time is over, and calls the pump if an answer is not fetched by anybody.

So a future whose result is simply waited for costs no thread and no switch between threads.
"""

from __future__ import annotations

import builtins
from _thread import RLock
from concurrent.futures import CancelledError
from concurrent.futures import Future as StandardFuture
from threading import Event
from time import monotonic

from pyroipc.client import sharing
from pyroipc.client.calling import may_repeat, open_session
from pyroipc.client.care import Pending, cares, take_care
from pyroipc.client.crew import callbacks
from pyroipc.client.future_results import AsynchronousMethod, Future, FutureResult, asyncproxy
from pyroipc.client.future_results import submit_batch as submit_batch
from pyroipc.client.moves import PENDING, movable, move
from pyroipc.client.requests import encode_call, fetch, read_apart, waiting
from pyroipc.errors import CommunicationError, ForkedConnectionError, PyroError, TimeoutError
from pyroipc.wire.message import STREAM, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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
_CANCELLED = "CANCELLED_AND_NOTIFIED"
_FINISHED = "FINISHED"

_ROUSE_SECONDS = 1.0
"""How long to try to send something to a peer that does not read."""
_FETCH_MASK = 0x3F
"""Who submits call after call takes the answers once in 64 times, so that the peer, which must not
wait until somebody asks for a result, can send on."""


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
    timeout = proxy._pyroTimeout
    deadline = None if timeout is None else monotonic() + timeout
    session: Session | None = proxy._pyro_session
    if session is not None and proxy._pyro_line is not None and not session.sinks:
        fetch(session)  # a daemon may have said goodbye while nobody listened
    if session is None or not session.is_open or proxy._pyro_hold is not None:
        session = open_session(proxy, deadline)
    codec, request_id, data = encode_call(proxy, session, name, args, kwargs or None)
    future = RemoteFuture(proxy, session, codec, request_id, name, deadline)
    if proxy._pyro_line is not None:
        future._data = movable(proxy, session, data)
    session.submit(request_id, data, future, deadline)
    care = cares.get(session)
    if care is None or (deadline is not None and deadline < care.next_look):
        take_care(session, deadline)
    if not request_id & _FETCH_MASK:
        fetch(session)
    return future


if TYPE_CHECKING:
    from threading import Condition as _Door
else:

    class _Door(RLock):
        """What a future has instead of a Condition: the lock alone, at a tenth of its price.

        The functions of concurrent.futures only lock it; a thread that waits for the result of a
        RemoteFuture waits for the session.
        """

        __slots__ = ()


class _Waiters:
    """The attribute ``_waiters`` of a future, before ``wait`` or ``as_completed`` ask for it."""

    def __get__(self, future: RemoteFuture, owner: type) -> list[Any]:
        waiters: list[Any] = future.__dict__.setdefault("_waiters", [])
        future.watch()
        return waiters


class RemoteFuture(Pending, StandardFuture):  # type: ignore[type-arg]
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
    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _answer: Message | BaseException | None = None  # what has come, and is not decoded yet
    _data: bytes | None = None  # the request, if it can be sent over another connection, too
    _gap: Event | None = None  # there while it has none; set when it has one again
    is_watched = False
    _done_callbacks: list[Callable[[Any], object]] = []  # noqa: RUF012 - never changed
    if not TYPE_CHECKING:
        _waiters = _Waiters()
        watchers = frozenset()

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
        return self._answer is not None or self._state != PENDING or self._gap is not None

    def deliver(self, message: Message) -> None:
        """Take the answer."""
        sinks = self._session.sinks
        with self._condition:
            if sinks.get(self._request_id) is self:  # and not what takes the items of a stream
                del sinks[self._request_id]
            late = self._answer is not None or self._state != PENDING
            if not late:
                self._answer = message
        if late:
            self._session._drop_late_answer(self._request_id)
        elif self.watchers or self.is_watched or message.flags & STREAM:
            self._tell()

    def fail(self, error: BaseException) -> None:
        """Take note that no answer will come; it may be asked for over another connection."""
        with self._condition:
            if self._gap is not None:
                return
            moves = self._data is not None and may_repeat(self._proxy, error)
            if self._answer is None and self._state == PENDING:
                if moves:
                    self._gap = Event()
                else:
                    self._answer = error
        if self._gap is not None:
            self.wake_watchers()
            move(self)
        else:
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
            if held:
                self._decode()
        finally:
            if held:
                self._decoding.release()
        return held

    def _decode(self) -> None:
        """Decode the answer, if that is not done already; the caller holds ``_decoding``."""
        answer = self._answer
        if self._state != PENDING or answer is None:
            return
        if isinstance(answer, BaseException):
            self._finish(_FINISHED, None, answer)
            return
        try:
            value = read_apart(self._proxy, self._session, self._codec, answer)
        except Exception as failure:  # noqa: BLE001 - it is the result
            self._finish(_FINISHED, None, failure.with_traceback(None))
        else:
            self._finish(_FINISHED, value, None)

    def _complete_apart(self) -> None:
        """Decode the answer on a thread of the crew, whose business nothing in it is."""
        try:
            self._complete()
        except BaseException as error:  # noqa: BLE001
            self._finish(_FINISHED, None, error)

    def _finish(self, state: str, value: Any, error: BaseException | None) -> None:
        with self._condition:
            if self._state != PENDING:
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
        if self.watchers:
            self.wake_watchers()
        if self.is_watched:
            _watched.discard(self)
        if self._done_callbacks:
            callbacks.put(self._invoke_callbacks)  # type: ignore[attr-defined]

    # --- being watched ---------------------------------------------------------------------------

    def watch(self) -> None:
        """Have this completed although no thread waits for it in here."""
        self._look_around()
        if self._state != PENDING:
            return
        self.is_watched = True
        _watched.add(self)
        if self._answer is not None:
            callbacks.put(self._complete_apart)
        elif self._gap is None:
            take_care(self._session, self.deadline, pumped=True)

    def _look_around(self) -> None:
        """Find out whether there was a fork since: then no answer comes to this process."""
        session = self._session
        if session.is_over and self._gap is None:
            try:
                session.check()
            except ForkedConnectionError:
                self.disown()
            except PyroError as error:
                self._fail_over(session, error)

    def _fail_over(self, session: Session, error: PyroError) -> None:
        """Take note of what a session says that this has been sent over before."""
        if isinstance(error, CommunicationError) and error.call_status == "not sent":
            error.call_status = "unknown"  # that was said of calls that are yet to be sent
        if self._session is session:
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
        self._gap = None
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
            if self._answer is not None and timeout is None:  # as with those that came in one go
                with self._decoding:
                    self._decode()
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
            CancelledError: as :meth:`exception`.
            TimeoutError: as :meth:`exception`.
        """
        self._look_around()
        until = None if timeout is None else monotonic() + timeout
        while self._state == PENDING:
            ready = self._receive(until) if self._answer is None else self._complete(until)
            if not ready and until is not None and monotonic() >= until and not self.is_ready:
                raise builtins.TimeoutError
        if self._state == _CANCELLED:
            raise CancelledError

    def _receive(self, until: float | None) -> bool:
        """Lead or follow until the answer has come; False if time ran out."""
        deadline = self.deadline
        if deadline is None or (until is not None and until < deadline):
            deadline = until
        session, gap = self._session, self._gap
        with self._condition:
            if not isinstance(self.watchers, set):
                self.watchers = set()
        try:
            with waiting(session, self._proxy._pyroObjectId, self._member):
                if gap is not None:
                    ready = gap.wait(None if deadline is None else max(0, deadline - monotonic()))
                else:
                    ready = session.await_sink(self, deadline)
        except PyroError as error:
            self._fail_over(session, error)
            return True
        if not ready and self.deadline is not None and monotonic() >= self.deadline:
            self.expire()
        return ready

    def done(self) -> bool:
        """Say whether the result is there, or will never be."""
        if self._state != PENDING:
            return True
        self._look_around()
        if self._answer is None and self._gap is None:
            fetch(self._session)
        if self._answer is not None:
            self._complete(monotonic())
        return self._state != PENDING

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Have a function called with this future when it is done.

        It is called by a thread of this library's, one function after the other; at once if the
        future is done already.
        """
        with self._condition:
            pending = self._state == PENDING
            if pending:
                self._done_callbacks = [*self._done_callbacks, fn]
        if pending:
            self.watch()
        else:
            fn(self)

    def cancel(self) -> bool:
        """Give up the call; False if its answer has come already. The peer is not told."""
        with self._condition:
            gives_up = self._state == PENDING and self._answer is None
            if gives_up:
                self._forget_answer()
                self._finish(_CANCELLED, None, None)
        if gives_up and self.watchers:
            self._rouse()
        return self._state == _CANCELLED

    def _rouse(self) -> None:
        """Have a thread that waits for this, and receives, look at it: let something arrive."""
        session = self._session
        try:
            session.post(session.ping(session.next_id()), monotonic() + _ROUSE_SECONDS)
        except CommunicationError:
            pass  # then that thread finds out by itself

    def expire(self) -> None:
        """Take note that the call has taken too long."""
        with self._condition:
            if self._answer is not None or self._state != PENDING:
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
        if session.is_open:
            session._abandon(self._request_id)


_watched: set[RemoteFuture] = set()


def _after_fork_in_child() -> None:
    for future in list(_watched):
        future.disown()
    _watched.clear()


sharing.after_fork.append(_after_fork_in_child)

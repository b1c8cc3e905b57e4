"""Calls of futures that move to another connection, because the daemon did not begin them.

A daemon that stops says goodbye, and by that tells which calls it has not begun. Plain calls are
then made again on the threads that wait for them. Nobody need wait for a future, so here is a
thread that sends them again, in their order. What is sent is what was sent before: the arguments
may have changed since.
"""

# ruff: noqa: SLF001 - of futures

from __future__ import annotations

from _thread import RLock

from pyroipc.client import sharing
from pyroipc.client.calling import open_session
from pyroipc.client.care import take_care
from pyroipc.client.crew import workers
from pyroipc.errors import PyroError
from pyroipc.wire.message import BLOB, COMPRESSED, NESTED, ONEWAY
from pyroipc.wire.native import LongMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.futures import RemoteFuture
    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import Encoded

__all__ = ["movable", "move"]

PENDING = "PENDING"
"""The state of a future that is not done, as concurrent.futures has it."""
_LEAD_SECONDS = 1.0
_TIED = NESTED | BLOB | ONEWAY | COMPRESSED  # to what the two ends are, or to their state
_waiting: dict[Session, list[RemoteFuture]] = {}
_lock = RLock()


def movable(proxy: Proxy[object], session: Session, data: Encoded) -> bytes | None:
    """Return a request as it can be sent over another connection, too; None if it cannot.

    References to objects of this end mean something on one connection only. Large requests are
    not kept.
    """
    if isinstance(data, LongMessage):
        return None
    if isinstance(data, list):
        if len(data) != 1 or not isinstance(data[0], bytes):
            return None
        data = data[0]
    if proxy._pyro_line is None or session.references.exports:
        return None
    return None if int.from_bytes(data[8:10], "big") & _TIED else data


def move(future: RemoteFuture) -> None:
    """Have the call of a future sent again; any thread, waits for nothing."""
    session = future._session
    with _lock:
        waiting = _waiting.get(session)
        if waiting is not None:
            waiting.append(future)
            return
        _waiting[session] = [future]
    workers.put(_move_all, session)


def _move_all(session: Session) -> None:
    # Whoever has received the goodbye may still be telling it to the other futures.
    if session.lead.acquire(timeout=_LEAD_SECONDS):
        session.lead.release()
    with _lock:
        futures = _waiting.pop(session, [])
    for future in sorted(futures, key=lambda future: future._request_id):
        _send_again(future)


def _send_again(future: RemoteFuture) -> None:
    gap, data = future._gap, future._data
    if gap is None or data is None:
        return
    error: PyroError | None = None
    future._data = None  # once is enough
    try:
        session = open_session(future._proxy, future.deadline)
        codec = session.codecs.get(future._codec.serializer.name)
        request_id = session.next_id()
        with future._condition:
            wanted = future._answer is None and future._state == PENDING
            if wanted:
                future._session, future._codec = session, codec
                future._request_id = request_id
        if wanted:
            data = data[:24] + request_id.to_bytes(4, "big") + data[28:]  # the same, renumbered
            session.submit(request_id, data, future, future.deadline)
            take_care(session, future.deadline, pumped=future.is_watched)
    except PyroError as failure:
        error = failure.with_traceback(None)
    future._gap = None
    gap.set()
    future.wake_watchers()
    if error is not None:
        future.fail(error)


def _after_fork_in_child() -> None:
    global _lock
    _lock = RLock()
    _waiting.clear()


sharing.after_fork.append(_after_fork_in_child)

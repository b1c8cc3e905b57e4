"""One call with everything that its context and its proxy ask for, and when to make it again.

A call over an address is made again without anybody asking for it if the daemon said goodbye
before it began the call: then it is certain that nothing is done twice. Whatever else goes wrong
is for the user to judge; ``_pyroMaxRetries`` says that he does not mind.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from time import monotonic

from pyroipc.client.requests import encode_call, fetch, forget_annotations, read_result, waiting
from pyroipc.errors import (
    BusyError,
    CommunicationError,
    ConnectError,
    ConnectionClosedError,
    TimeoutError,
)
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyroipc.client.binding import Binding
    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session

__all__ = ["invoke", "is_worth_a_retry", "may_repeat", "open_session", "pauses"]

_RETRIED = (ConnectionClosedError, ConnectError, BusyError, TimeoutError)
_RETRY_SECONDS_MAX = 2.0


def pauses(proxy: Binding[Any]) -> Iterator[float]:
    """Yield the pause before each of the retries that a proxy is to make, in seconds."""
    pause = proxy._pyro_settings.RETRY_SECONDS
    for _ in range(proxy._pyroMaxRetries):
        yield pause
        pause = min(2 * pause, _RETRY_SECONDS_MAX)


def is_worth_a_retry(error: BaseException) -> bool:
    """Say whether a call that ended with this error is made again, if its user has asked for it.

    Not if the remote method itself has raised it: then it has run, and to its end.
    """
    return isinstance(error, _RETRIED) and not _came_from_method(error)


def _came_from_method(error: BaseException) -> bool:
    return hasattr(error, "_pyroTraceback")


def invoke(
    proxy: Proxy[Any],
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
    flags: int,
    object_id: str | None,
) -> Any:
    """Make a call with everything that the context and the proxy ask for; see ``_pyroInvoke``.

    Raises:
        CommunicationError: the conversation failed, or the call could not be sent.
        ConnectionClosedError: the connection ended.
    """
    timeout = proxy._pyroTimeout
    deadline = None if timeout is None else monotonic() + timeout
    try:
        return _invoke(proxy, member, args, kwargs, flags, object_id, deadline)
    except ConnectionClosedError as error:
        if not may_repeat(proxy, error):
            raise
    return _invoke(proxy, member, args, kwargs, flags, object_id, deadline)


def may_repeat(proxy: Proxy[Any], error: BaseException) -> bool:
    """Say whether a call may be made again over a new connection, without anybody asking for it.

    That is so if the daemon said goodbye before it began the call, as when it was restarted.
    """
    return (
        proxy._pyro_line is not None
        and isinstance(error, ConnectionClosedError)
        and error.call_status in ("not sent", "not started")
        and not _came_from_method(error)
    )


def _invoke(
    proxy: Proxy[Any],
    member: str,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None,
    flags: int,
    object_id: str | None,
    deadline: float | None,
) -> Any:
    session = open_session(proxy, deadline)
    if flags & ONEWAY and proxy._pyro_line is not None:
        fetch(session)  # a daemon may have said goodbye while nobody listened
        session = open_session(proxy, deadline)
    forget_annotations()
    codec, request_id, data = encode_call(
        proxy,
        session,
        member,
        args,
        kwargs,
        flags,
        object_id,
        is_held=deadline is None and not flags & ONEWAY,
    )
    if flags & ONEWAY:
        session.post(data, deadline)
        return None
    with waiting(session, object_id or proxy._pyroObjectId, member):
        message = session.exchange(request_id, data, deadline)
    return read_result(proxy, session, codec, message)


def open_session(proxy: Proxy[Any], deadline: float | None) -> Session:
    """Return the connection of a proxy, with a conversation going on.

    Raises:
        CommunicationError: that is not to be had; nothing was sent.
    """
    session: Session = proxy._pyro_connected(deadline)
    if not session.is_open:
        try:
            session.open(deadline)
        except CommunicationError as error:
            error.call_status = "not sent"
            raise
    return session

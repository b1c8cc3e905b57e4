"""Answers as plain values: texts, JSON, pages; and which status tells of which error."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from pyroipc.errors import (
    BusyError,
    CommunicationError,
    DaemonError,
    MessageTooLargeError,
    NamingError,
    SerializeError,
    TimeoutError,
)
from pyroipc.gateway.plain import described_failure, json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, TypeAlias

    from pyroipc.gateway.requests import BadRequestError

    Phase: TypeAlias = Literal["name", "connect", "call"]

__all__ = [
    "Response",
    "bad_request",
    "empty",
    "failure",
    "forbidden",
    "html",
    "json_value",
    "lines",
    "redirect",
    "status_of",
    "text",
]

_JSON = "application/json; charset=utf-8"
_NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"


class Response(NamedTuple):
    """What is sent to a client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | Iterator[bytes] = b""

    @property
    def status_line(self) -> str:
        """The status as WSGI wants it, such as ``200 OK``."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """Return the same answer with more headers."""
        return self._replace(headers=[*self.headers, *headers])

    @property
    def is_stream(self) -> bool:
        """Whether the body comes piece by piece, and has to be closed."""
        return not isinstance(self.body, bytes)


def _made(status: int, content_type: str, body: bytes, policy: str = _NOTHING_ELSE) -> Response:
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Content-Security-Policy", policy),
    ]
    return Response(status, headers, body)


def text(status: int, words: str) -> Response:
    """Return an answer in words."""
    return _made(status, "text/plain; charset=utf-8", words.encode("utf-8", "backslashreplace"))


def html(status: int, page: str, policy: str) -> Response:
    """Return a page; the policy says what a browser may do with it."""
    return _made(status, "text/html; charset=utf-8", page.encode("utf-8", "replace"), policy)


def redirect(location: str) -> Response:
    """Return an answer that leads somewhere else."""
    return text(302, "").with_headers(("Location", location))


def forbidden(why: str) -> Response:
    """Return the refusal of a request."""
    return text(403, f"403 Forbidden - {why}")


def json_value(value: object) -> Response:
    """Return a result.

    Raises:
        SerializeError: it cannot be shown as JSON.
    """
    return _made(200, _JSON, json_bytes(value))


def empty() -> Response:
    """Return what there is to say about a call that nobody waits for."""
    return _made(200, _JSON, b"")


def lines(pieces: Iterator[bytes]) -> Response:
    """Return a stream of JSON values, one in each line."""
    headers = [
        ("Content-Type", "application/x-ndjson; charset=utf-8"),
        ("Content-Security-Policy", _NOTHING_ELSE),
        ("X-Accel-Buffering", "no"),  # nginx would collect the lines
    ]
    return Response(200, headers, pieces)


def failure(status: int, error: BaseException, *, traceback: bool = False) -> Response:
    """Return an exception; of a remote one also the traceback, if that is wanted."""
    made = _made(status, _JSON, json_bytes(described_failure(error, traceback=traceback)))
    return (
        made.with_headers(("Retry-After", "1"))
        if status == HTTPStatus.SERVICE_UNAVAILABLE
        else made
    )


def bad_request(error: BadRequestError) -> Response:
    """Return what is wrong with a request, as an exception of the same form as all others."""
    return failure(error.status, ValueError(str(error)))


def status_of(error: BaseException, phase: Phase) -> int:
    """Return the status for an error.

    Args:
        error: what was raised.
        phase: ``"name"`` while the name was looked up, ``"connect"`` while the object was asked
            what it exposes, ``"call"`` while it was called.
    """
    is_remote = hasattr(error, "_pyroTraceback")
    if phase == "name":
        return 404 if is_remote and isinstance(error, NamingError) else 503
    if phase == "connect" and isinstance(error, DaemonError):
        return 404  # the daemon has no such object
    if phase == "call" and is_remote:
        return 500
    return _status_of_local(error, phase)


def _status_of_local(error: BaseException, phase: Phase) -> int:
    if isinstance(error, TimeoutError):
        return 504
    if isinstance(error, BusyError):
        return 503
    if getattr(error, "call_status", "") == "not sent":
        if isinstance(error, MessageTooLargeError):
            return 413
        if isinstance(error, SerializeError):
            return 400
    return 502 if phase == "connect" or isinstance(error, CommunicationError) else 500

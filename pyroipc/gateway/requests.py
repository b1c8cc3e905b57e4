"""An HTTP request as plain values, and what it says: arguments, options, ids, keys.

Arguments come from the query, and from the body of a POST. Those of a query and of a form are
texts; a name that is there several times is a list of them, and one without a value is dropped, as
in Pyro. A JSON body is an object, whose members are the arguments.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, NoReturn

__all__ = [
    "BODY_BYTES_MAX",
    "KEY_FIELD",
    "QUERY_BYTES_MAX",
    "BadRequestError",
    "Request",
    "accepts",
    "arguments_of",
    "correlation_of",
    "key_of",
    "options_of",
]

BODY_BYTES_MAX: Final = 1 << 20
QUERY_BYTES_MAX: Final = 1 << 16
KEY_FIELD: Final = "$key"
"""The field of a query or a form that holds the gateway key."""
ONEWAY: Final = "oneway"

_FIELDS_MAX = 1000
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


class BadRequestError(Exception):
    """A request that makes no sense.

    Args:
        status: the HTTP status of the answer.
        text: what is wrong, and what to do.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request(NamedTuple):
    """What a client has sent."""

    method: str
    path: str
    """Decoded; below the place where the application is mounted."""
    query: str = ""
    """As it was sent."""
    headers: Mapping[str, str] = {}
    """By their names in small letters."""
    body: bytes = b""
    mount: str = ""
    """The path of the place where the application is mounted, as it is written in an address."""

    def header(self, name: str) -> str | None:
        """Return a header without blanks around it, or None."""
        value = self.headers.get(name)
        return None if value is None else value.strip()

    @property
    def media_type(self) -> str:
        """What kind of data the body is, such as ``application/json``; empty if not told."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


def arguments_of(request: Request) -> dict[str, Any]:
    """Return the keyword arguments of a call.

    Raises:
        BadRequestError: they cannot be read, are too many, or two places name one.
    """
    found: dict[str, Any] = {}
    fields = _fields(request.query, "the query")
    if request.method == "POST" and request.body:
        if request.media_type == _FORM:
            for name, values in _form(request).items():
                fields.setdefault(name, []).extend(values)
        elif request.media_type == _JSON:
            found = _object(request.body)
        else:
            raise BadRequestError(
                415,
                f"a body of the type {request.media_type or '(none)'!r:.100} cannot be read; "
                f"send {_JSON} or {_FORM}",
            )
    fields.pop(KEY_FIELD, None)
    for name, values in fields.items():
        if name in found:
            raise BadRequestError(
                400, f"the argument {name!r:.100} is both in the query and in the body"
            )
        found[name] = values[0] if len(values) == 1 else values
    return found


def _fields(text: str, where: str) -> dict[str, list[str]]:
    if len(text) > (BODY_BYTES_MAX if where == "the form" else QUERY_BYTES_MAX):
        raise BadRequestError(414, f"{where} is longer than {QUERY_BYTES_MAX} bytes; use a POST")
    try:
        return parse_qs(text, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise BadRequestError(
            400, f"{where} cannot be read: {type(error).__name__}: {str(error)[:200]}"
        ) from None


def _form(request: Request) -> dict[str, list[str]]:
    try:
        text = request.body.decode("ascii")
    except UnicodeDecodeError:
        raise BadRequestError(
            400, "the form cannot be read: other letters than ASCII are written as %XX"
        ) from None
    return _fields(text, "the form")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise BadRequestError(400, f"the body is no JSON: {reason}") from None
    if not isinstance(value, dict):
        raise BadRequestError(
            400,
            "the body must be a JSON object: its members are the arguments, by their names; "
            f"it is a {type(value).__name__}",
        )
    return value


def _refuse_constant(word: str) -> NoReturn:
    """Refuse a word that Python's module takes although it is no JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"there is no {word} in JSON")


def key_of(request: Request, *, query_key: bool) -> bytes | None:
    """Return the gateway key that a request has, or None.

    Args:
        request: has it in a header, in a form that was posted, or in its query.
        query_key: whether it may be in the query.
    """
    header = request.header("x-pyro-gateway-key")
    if header is not None:
        return header.encode("latin-1", "replace")  # the bytes that were sent
    try:
        if request.method == "POST" and request.media_type == _FORM:
            found = _form(request).get(KEY_FIELD)
            if found:
                return found[0].encode()
        if query_key:
            found = _fields(request.query, "the query").get(KEY_FIELD)
            if found:
                return found[0].encode()
    except BadRequestError:
        pass  # there is no key in what cannot be read
    return None


def options_of(request: Request) -> frozenset[str]:
    """Return the options of a call.

    Raises:
        BadRequestError: one of them is unknown.
    """
    words = (request.header("x-pyro-options") or "").split(",")
    options = frozenset(word.strip().lower() for word in words) - {""}
    if not options <= {ONEWAY}:
        unknown = sorted(options - {ONEWAY})[0]
        raise BadRequestError(
            400, f"X-Pyro-Options: there is no option {unknown!r:.100}, only {ONEWAY!r}"
        )
    return options


def correlation_of(request: Request) -> UUID | None:
    """Return the correlation id that a request has, or None.

    Raises:
        BadRequestError: it is none.
    """
    text = request.header("x-pyro-correlation-id")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadRequestError(
            400, f"X-Pyro-Correlation-Id: {text!r:.100} is no UUID such as "
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
        ) from None  # fmt: skip


def accepts(request: Request, media_type: str) -> bool:
    """Say whether a client names a type of data among those that it takes."""
    ranges = (request.header("accept") or "").lower().split(",")
    return any(one.partition(";")[0].strip() == media_type for one in ranges)

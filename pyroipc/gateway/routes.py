"""A request into an answer, or into what is to be done for it. Nothing is done here.

==================================  ===============================================================
request                             what comes of it
==================================  ===============================================================
``/``                               leads to ``/pyro/``
GET, POST ``/pyro/``                :class:`Home`: the home page
GET ``/pyro/<name>/$meta``          :class:`Meta`: what an object exposes
GET, POST ``/pyro/<name>/<member>`` :class:`Call`: call a method, or read an attribute
OPTIONS, anywhere                   an empty answer, with the headers that CORS needs
HEAD                                as GET, but never calls anything
other methods                       405
other paths                         404
==================================  ===============================================================

A name may have slashes in it: the member is what is behind the last one.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import quote
from uuid import uuid4

from pyroipc.gateway import page, responses
from pyroipc.gateway.origins import host_name
from pyroipc.gateway.requests import (
    ONEWAY,
    BadRequestError,
    accepts,
    arguments_of,
    correlation_of,
    key_of,
    options_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias
    from uuid import UUID

    from pyroipc.gateway.names import ExposedNames
    from pyroipc.gateway.origins import Origins
    from pyroipc.gateway.requests import Request
    from pyroipc.gateway.responses import Response

    Step: TypeAlias = "Response | Home | Meta | Call"

__all__ = ["CORRELATION", "Call", "Home", "Meta", "Rules", "correlated", "dressed", "route"]

CORRELATION = "X-Pyro-Correlation-Id"
META = "$meta"
_METHODS = "GET, HEAD, POST, OPTIONS"
_METHODS_OF_MEMBERS = "GET, POST, OPTIONS"

_member_of = re.compile(r"(.+)/(.+)", re.DOTALL).fullmatch


class Rules(NamedTuple):
    """Who may do what."""

    names: ExposedNames
    """The objects that may be called."""
    origins: Origins
    """The sites whose pages may call them."""
    hosts: frozenset[str]
    """The names under which the gateway may be asked; empty: any."""
    key: bytes | None
    """What a client must know, or None."""
    query_key: bool
    """Whether the key may be in the query."""


class Home(NamedTuple):
    """Show the home page."""

    key: str
    """The key that the page is to use in its calls; empty if none is needed."""


class Meta(NamedTuple):
    """Tell what an object exposes."""

    name: str
    correlation: UUID


class Call(NamedTuple):
    """Call a method of an object, or read an attribute."""

    name: str
    member: str
    arguments: dict[str, Any]
    oneway: bool
    """Do not wait for the end."""
    streamed: bool
    """The items of an iterator are to be sent one by one."""
    correlation: UUID


def route(request: Request, rules: Rules) -> Step:
    """Return the answer to a request, or what is to be done first; never raises."""
    if rules.hosts and host_name(request.header("host") or "") not in {"", *rules.hosts}:
        shown = (request.header("host") or "")[:100]
        return responses.forbidden(
            f"this gateway is not asked under the name {shown!r}; see the option --allow-host"
        )
    if request.method == "OPTIONS":
        return responses.text(200, "200 OK").with_headers(("Allow", _METHODS))
    path = request.path.lstrip("/")
    if not path:
        return responses.redirect(f"{quote(request.mount)}/pyro/")
    if not path.startswith("pyro/"):
        return _not_found()
    if request.method not in {"GET", "HEAD", "POST"}:
        return _not_allowed(_METHODS)
    path = path.removeprefix("pyro/")
    return _route_object(request, rules, path) if path else _route_home(request, rules)


def _not_found() -> Response:
    return responses.text(404, "Error 404: Not Found")


def _not_allowed(allowed: str) -> Response:
    return responses.text(405, "Error 405: Method Not Allowed").with_headers(("Allow", allowed))


def _route_home(request: Request, rules: Rules) -> Response | Home:
    key = key_of(request, query_key=rules.query_key)
    if not _is_right(key, rules):
        refusal = _wrong_key()
        if accepts(request, "text/html"):
            asking, policy = page.asking_for_key(request.mount)
            return responses.html(refusal.status, asking, policy)
        return refusal
    return Home((key or b"").decode("utf-8", "replace") if rules.key is not None else "")


def _wrong_key() -> Response:
    return responses.forbidden("incorrect gateway api key")


def _is_right(key: bytes | None, rules: Rules) -> bool:
    return rules.key is None or (key is not None and compare_digest(key, rules.key))


def _route_object(request: Request, rules: Rules, path: str) -> Response | Meta | Call:
    parts = _member_of(path)
    if parts is None:
        return _not_found()
    try:
        correlation = correlation_of(request) or uuid4()
    except BadRequestError as error:
        return responses.bad_request(error)
    step = _allowed_step(request, rules, parts[1], parts[2], correlation)
    return correlated(step, correlation) if isinstance(step, responses.Response) else step


def _allowed_step(
    request: Request, rules: Rules, name: str, member: str, correlation: UUID
) -> Response | Meta | Call:
    if not _is_right(key_of(request, query_key=rules.query_key), rules):
        return _wrong_key()
    if name not in rules.names:
        return responses.forbidden("access to the requested object has been denied")
    if rules.origins.is_foreign(request):
        return responses.forbidden(
            "pages of other sites may not call objects here; see the option --cors"
        )
    if member == META:
        return Meta(name, correlation)
    if request.method == "HEAD":
        return _not_allowed(_METHODS_OF_MEMBERS)
    try:
        arguments = arguments_of(request)
        oneway = ONEWAY in options_of(request)
    except BadRequestError as error:
        return responses.bad_request(error)
    streamed = accepts(request, "application/x-ndjson")
    return Call(name, member, arguments, oneway, streamed, correlation)


def correlated(response: Response, correlation: UUID) -> Response:
    """Return an answer that says to which request it belongs."""
    return response.with_headers((CORRELATION, str(correlation)))


def dressed(response: Response, request: Request, rules: Rules) -> Response:
    """Return an answer with the headers that all of them have."""
    response = response.with_headers(
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "cross-origin" if rules.origins.any else "same-origin"),
        *rules.origins.headers(request),
    )
    return response._replace(body=b"") if request.method == "HEAD" else response

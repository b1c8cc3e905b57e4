"""Whose pages may use the gateway: what a browser says about where a request comes from.

A page of any site can have a browser send requests to any address that the browser reaches, also
to one that only this machine reaches. It cannot read the answers, unless that is allowed (CORS),
but a call has done its work by then. What tells such requests apart:

==================  ==============================================================================
``Sec-Fetch-Site``  what browsers say about a request to HTTPS, or to this machine
``Origin``          what they say about a POST, and about a request whose answer is to be read
``Referer``         what is left in a GET from an older browser, or to another machine
``Host``            the name under which a browser knows the gateway: a page of ``evil.example``
                    may have that name lead to this machine, and then is the gateway's own
==================  ==============================================================================

Requests without any of these come from programs, which are nobody's victim, or from a browser that
hides where they come from. What helps there is a gateway key, which no page of others can send.
"""

from __future__ import annotations

from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyroipc.gateway.requests import Request

__all__ = ["Origins", "host_name", "hosts_of"]

_ANY = "*"


class Origins:
    """The sites whose pages may call, and read the answers.

    Args:
        text: ``""``: none but the gateway's own; ``"*"``: all; else origins such as
            ``https://shop.example``, with commas or blanks between them.

    Raises:
        TypeError: it is no text.
        ValueError: a part is no origin.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"cors is a text, not {type(text).__name__}")
        self.text = text
        parts = text.replace(",", " ").split()
        self.any = parts == [_ANY]
        self._listed = frozenset() if self.any else frozenset(map(_origin, parts))

    def allows(self, origin: str) -> bool:
        """Say whether pages of an origin, as browsers write it, may call and read."""
        return self.any or origin.lower() in self._listed

    def is_foreign(self, request: Request) -> bool:
        """Say whether a request comes from a page that may not call anything."""
        if self.any:
            return False
        origin = request.header("origin")
        if origin is not None and self.allows(origin):
            return False
        site = request.header("sec-fetch-site")
        if site is not None:
            return site.lower() not in {"same-origin", "none"}
        if origin is None:
            referer = request.header("referer")
            if referer is None:
                return False
            origin = _origin_of_address(referer)
            if self.allows(origin):
                return False
        host = request.header("host") or ""
        return _authority(origin) != host.lower()

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """Return the headers that tell a browser which pages may read an answer."""
        origin = request.header("origin")
        if self.any:
            allowed = _ANY
        elif origin is not None and self.allows(origin):
            allowed = origin
        else:
            return [("Vary", "Origin")] if self._listed else []
        found = [("Access-Control-Allow-Origin", allowed)]
        if allowed != _ANY:
            found.append(("Vary", "Origin"))
        return [
            *found,
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
            (
                "Access-Control-Allow-Headers",
                "Content-Type, X-Pyro-Options, X-Pyro-Gateway-Key, X-Pyro-Correlation-Id",
            ),
            ("Access-Control-Expose-Headers", "X-Pyro-Correlation-Id"),
        ]


def _origin(text: str) -> str:
    """Return an origin as browsers write it.

    Raises:
        ValueError: it is none.
    """
    found = text.lower().removesuffix("/")
    if found == "null" or (_authority(found) and _origin_of_address(found) == found):
        return found
    raise ValueError(
        f"cors: {text!r:.200} is no origin; write '*', or such as https://shop.example:8443"
    )


def _origin_of_address(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}".lower()


def _authority(origin: str) -> str:
    """Return host and port of an origin; empty if it has none."""
    scheme, found, rest = origin.lower().partition("://")
    return rest if found and scheme in {"http", "https"} else ""


def hosts_of(names: Iterable[str]) -> frozenset[str]:
    """Return the names under which the gateway may be asked, to be compared.

    Raises:
        TypeError: this is a single text, or one of them is none.
    """
    if isinstance(names, str):
        raise TypeError(f"hosts are several names, not one text: {names!r:.200}")
    found = list(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"the name of a host is a str, not {type(name).__name__}")
    return frozenset(host_name(name) for name in found)


def host_name(host: str) -> str:
    """Return the name in a header ``Host``, without port, brackets and capital letters."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if text.count(":") > 1 else text.partition(":")[0]

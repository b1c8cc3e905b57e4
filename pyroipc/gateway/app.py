"""The WSGI application: reads a request, has it routed, and does what the routes say.

It has no state of its own but what is kept to be fast. Any number of threads may call it. The
settings of the process are read, and never changed.
"""

from __future__ import annotations

from contextvars import Context
from urllib.parse import quote

from pyroipc import __version__
from pyroipc.context import current_context
from pyroipc.errors import CommunicationError, DaemonError, NamingError
from pyroipc.gateway import page, responses
from pyroipc.gateway.calls import Bounds, Caller
from pyroipc.gateway.names import ExposedNames
from pyroipc.gateway.origins import Origins, hosts_of
from pyroipc.gateway.proxies import Access, NameServer, Pool
from pyroipc.gateway.requests import BODY_BYTES_MAX, BadRequestError, Request
from pyroipc.gateway.routes import Home, Rules, correlated, dressed, route
from pyroipc.logs import get as get_logger
from pyroipc.settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final, Self
    from wsgiref.types import StartResponse, WSGIEnvironment

    from pyroipc.gateway.responses import Response
    from pyroipc.gateway.routes import Call, Meta, Step
    from pyroipc.settings import Settings
    from pyroipc.uri import URI

__all__ = ["NAMES", "Gateway", "pyro_app"]

NAMES: Final = r"http\."
"""The pattern of the names that are exposed unless another one is given."""
_NO_NAME_SERVER: Final = (
    "Cannot connect to the Pyro name server. Is it running? Refresh page to retry."
)
_TOO_LARGE: Final = f"a body has at most {BODY_BYTES_MAX} bytes"


class Gateway:
    r"""A WSGI application through which objects can be called that a name server knows.

    Args:
        ns_regex: a regular expression: which names are exposed. It has to match all of a name; one
            that ends in an escaped dot, as ``http\.``, matches names that begin with it. Empty:
            every name.
        gateway_key: what clients must know, in bytes or text; None or empty: nothing.
        comm_timeout: how long a call may take, in seconds; None: as the setting COMMTIMEOUT says;
            0: as long as it takes.
        hmac_key: what daemons and name server want to know; None: the setting HMAC_KEY.
        cors: whose pages may call and read: ``""``: nobody's but the gateway's own; ``"*"``:
            everybody's; else origins with commas between them, such as ``https://shop.example``.
        query_key: whether clients may have the key in the query, as ``$key=``, where everybody
            on the way who keeps a log writes it down.
        tracebacks: whether clients are told the remote traceback of an exception.
        hosts: the names under which the gateway may be asked; empty: any.
        names_shown: how many names the home page shows.
        items_max: how many items of an iterator fit into a JSON array.
        proxies_max: how many unused proxies are kept; 0: each request has a connection of its own.
        settings: say where the name server is, and how to connect.

    All but the last two are attributes as well, which may be set at any time. Close it to let its
    connections go; it can be used again after that.

    Raises:
        TypeError: an argument is of another type.
        ValueError: an argument has a value that it cannot have.
    """

    ns_regex: str
    gateway_key: bytes | str | None
    comm_timeout: float | None
    hmac_key: bytes | str | None
    cors: str
    query_key: bool
    tracebacks: bool
    hosts: Iterable[str]
    names_shown: int
    items_max: int

    def __init__(
        self,
        ns_regex: str = NAMES,
        gateway_key: bytes | str | None = None,
        comm_timeout: float | None = None,
        hmac_key: bytes | str | None = None,
        cors: str = "",
        *,
        query_key: bool = True,
        tracebacks: bool = False,
        hosts: Iterable[str] = (),
        names_shown: int = 10,
        items_max: int = 10_000,
        proxies_max: int = 64,
        settings: Settings = config,
    ) -> None:
        self._settings = settings
        self._name_server = NameServer(settings)
        self._pool = Pool(settings, proxies_max)
        self.ns_regex = ns_regex
        self.gateway_key = gateway_key
        self.comm_timeout = comm_timeout
        self.hmac_key = hmac_key
        self.cors = cors
        self.query_key = query_key
        self.tracebacks = tracebacks
        self.hosts = hosts
        self.names_shown = names_shown
        self.items_max = items_max

    def __setattr__(self, name: str, value: Any) -> None:
        check = _CHECKS.get(name)
        object.__setattr__(self, name, value if check is None else check(value))
        object.__setattr__(self, "_rules", None)

    def locate(self) -> URI:
        """Return where the name server is.

        Raises:
            NamingError: there is none.
        """
        return self._name_server.location(self._access())

    def close(self) -> None:
        """Let all connections go that are not in use."""
        self._name_server.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI says."""
        rules = self._current_rules()
        request = Request(str(environ.get("REQUEST_METHOD", "GET")), "/")
        try:
            request = request_of(environ)
            step: Step = route(request, rules)
        except BadRequestError as error:
            step = responses.bad_request(error)
        if not isinstance(step, responses.Response):
            # A context of its own: nothing of this call is left in the thread for the next one.
            step = Context().run(self._perform, step, request, rules)
        response = dressed(step, request, rules)
        start_response(response.status_line, response.headers)
        return [response.body] if isinstance(response.body, bytes) else response.body

    def _current_rules(self) -> Rules:
        rules: Rules | None = self._rules
        if rules is None:
            key = self.gateway_key
            rules = Rules(
                ExposedNames(self.ns_regex),
                Origins(self.cors),
                hosts_of(self.hosts),
                (key.encode() if isinstance(key, str) else key) or None,
                self.query_key,
            )
            object.__setattr__(self, "_rules", rules)
        return rules

    _rules: Rules | None

    def _access(self) -> Access:
        return Access(self.comm_timeout, self.hmac_key)

    def _perform(self, step: Home | Meta | Call, request: Request, rules: Rules) -> Response:
        try:
            access = self._access()
            bounds = Bounds(
                self.items_max,
                self._settings.MAX_MESSAGE_SIZE,
                self._settings.COMMTIMEOUT if access.timeout is None else access.timeout,
                self.tracebacks,
            )
            caller = Caller(self._name_server, self._pool, access, bounds)
            if isinstance(step, Home):
                return self._home(step, caller, request, rules)
            current_context.correlation_id = step.correlation
            return correlated(caller.respond(step), step.correlation)
        except Exception as error:  # noqa: BLE001 - the client is told, and the log
            get_logger("gateway").exception("%r %r", request.method, request.path)
            failed = responses.failure(500, error, traceback=self.tracebacks)
            return failed if isinstance(step, Home) else correlated(failed, step.correlation)

    def _home(self, step: Home, caller: Caller, request: Request, rules: Rules) -> Response:
        try:
            names = caller.names(rules.names)
        except (NamingError, CommunicationError, DaemonError):
            return responses.text(503, _NO_NAME_SERVER).with_headers(("Retry-After", "1"))
        made, policy = page.home_page(
            caller.shown(names[: self.names_shown]),
            rules.names,
            total=len(names),
            version=__version__,
            mount=request.mount,
            key=step.key,
        )
        return responses.html(200, made, policy)


def request_of(environ: WSGIEnvironment) -> Request:
    """Return the request that WSGI describes.

    Raises:
        BadRequestError: it cannot be read, or is too large.
    """
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE") or ""
    method = environ["REQUEST_METHOD"]
    return Request(
        method,
        _text(environ, "PATH_INFO"),
        _text(environ, "QUERY_STRING"),
        headers,
        _body(environ) if method == "POST" else b"",
        quote(_text(environ, "SCRIPT_NAME")),
    )


def _text(environ: WSGIEnvironment, name: str) -> str:
    """Return a text of the environment, in which each letter stands for a byte.

    Raises:
        BadRequestError: these bytes are no UTF-8.
    """
    try:
        return str(environ.get(name) or "").encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise BadRequestError(400, "the address of a request is written in UTF-8") from None


def _body(environ: WSGIEnvironment) -> bytes:
    """Read the body of a request.

    Raises:
        BadRequestError: it is too large, its length is not known, or it does not come.
    """
    length = _length(environ)
    source: Any = environ["wsgi.input"]
    pieces = []
    missing = length
    try:
        while missing:
            piece = source.read(missing)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
    except OSError:
        raise BadRequestError(408, "the body did not come in time") from None
    body = b"".join(pieces)
    if environ.get("wsgi.input_terminated"):
        if len(body) > BODY_BYTES_MAX:
            raise BadRequestError(413, _TOO_LARGE)
    elif missing:
        raise BadRequestError(400, f"the body ended {missing} bytes before its Content-Length")
    return body


def _length(environ: WSGIEnvironment) -> int:
    """Return how much of a body to read, at most.

    Raises:
        BadRequestError: this cannot be known, or is too much.
    """
    text = environ.get("CONTENT_LENGTH") or ""
    if environ.get("wsgi.input_terminated"):
        return BODY_BYTES_MAX + 1
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise BadRequestError(411, "send the body at once, with a Content-Length")
    if text and not (text.isascii() and text.isdigit()):
        raise BadRequestError(400, f"Content-Length: {text!r:.100} is no number of bytes")
    if len(text) > 18 or int(text or 0) > BODY_BYTES_MAX:
        raise BadRequestError(413, _TOO_LARGE)
    return int(text or 0)


# ------------------------------------------------------------------------------------ attributes


def _pattern(value: Any) -> str:
    return ExposedNames(value).pattern


def _cors(value: Any) -> str:
    return Origins(value).text


def _key(value: Any) -> bytes | str | None:
    """Return a key.

    Raises:
        TypeError: it is none.
    """
    if value is not None and not isinstance(value, bytes | str):
        raise TypeError(f"a key is bytes, text or None, not {type(value).__name__}")
    return value


def _seconds(value: Any) -> float | None:
    """Return a time limit.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or no number at all.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"comm_timeout is a number of seconds or None, not {value!r:.100}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"comm_timeout cannot be {value!r}; 0 means as long as it takes")
    return float(value)


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "ns_regex": _pattern,
    "cors": _cors,
    "gateway_key": _key,
    "hmac_key": _key,
    "comm_timeout": _seconds,
    "hosts": hosts_of,
}

pyro_app: Final = Gateway()
"""A gateway that is ready; its attributes may be set, as in Pyro."""

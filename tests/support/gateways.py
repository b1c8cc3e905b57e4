"""HTTP gateways for tests, in a thread of this process, and clients for them."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pyroipc.gateway import Gateway
from pyroipc.gateway.server import GatewayServer
from tests.support.daemons import serving
from tests.support.hosts import PATIENCE, Worker
from tests.support.name_servers import Names, name_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.daemons import ThreadServed


class Answer(NamedTuple):
    """What a gateway has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON proper: without NaN."""
        assert self.headers["Content-Type"] == "application/json; charset=utf-8", self
        return json.loads(self.body, parse_constant=lambda word: 1 / 0)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Client:
    """Asks a gateway; a connection for each request."""

    def __init__(self, url: str) -> None:
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self.url = url

    def open(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> http.client.HTTPConnection:
        """Send a request; names of headers have ``_`` for ``-``."""
        connection = http.client.HTTPConnection(str(self.host), self.port, timeout=PATIENCE)
        if isinstance(body, dict):
            body = json.dumps(body)
            headers = {"Content_Type": "application/json", **headers}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        return connection

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """Send a request, and read the answer."""
        connection = self.open(path, method, body, **headers)
        with contextlib.closing(connection), connection.getresponse() as response:
            return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET to what is below ``/pyro/``."""
        return self.ask(f"/pyro/{path}", **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a POST to what is below ``/pyro/``."""
        return self.ask(f"/pyro/{path}", "POST", body, **headers)


class Running(Client):
    """A gateway in a thread, with its name server and a daemon."""

    def __init__(
        self, names: Names, gateway: Gateway, server: GatewayServer, served: ThreadServed
    ) -> None:
        super().__init__(server.url)
        self.names = names
        self.gateway = gateway
        self.server = server
        self.served = served


@contextlib.contextmanager
def serving_gateway(gateway: Gateway, **options: Any) -> Iterator[GatewayServer]:
    """Serve a gateway in a thread of this process."""
    server = GatewayServer(gateway, "127.0.0.1", 0, **options)
    worker = Worker(server.serve, name="gateway server")
    try:
        yield server
    finally:
        server.stop()
        worker.result()
        gateway.close()


@contextlib.contextmanager
def gateway_for(
    objects: dict[str, Any],
    *,
    server: dict[str, Any] | None = None,
    daemon: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Serve objects with these names: a name server, a daemon and a gateway, all in threads."""
    with name_server() as names, serving(objects, **(daemon or {})) as served:
        with names.locate() as ns:
            for name in objects:
                ns.register(name, served.uri(name))
        gateway = Gateway(settings=names.settings, **options)
        with serving_gateway(gateway, **(server or {})) as http_server:
            yield Running(names, gateway, http_server, served)

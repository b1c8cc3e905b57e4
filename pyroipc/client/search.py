"""Searching for a name server, and connecting to it.

What leads there is tried in this order: the place that was named; or else the places in NS_HOST,
and for this machine also the address 127.0.1.1 that some systems give their own name; or else who
answers a broadcast. Unlike Pyro, which broadcasts first if NS_HOST is another machine, the place
that somebody has configured comes before one that anybody in the network may have answered with.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import _socket as socket
from contextlib import closing
from functools import lru_cache
from time import monotonic

from pyroipc.client.broadcasting import NAMESERVER_NAME, ask
from pyroipc.errors import CommunicationError, NamingError, PyroError
from pyroipc.location import UNIX_PREFIX, Location
from pyroipc.transports import addresses
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from typing import Any, Literal

    from pyroipc.settings import Settings

_DEBIAN = "127.0.1.1"
"""What Debian and its kin give as the address of a machine's own name."""


@lru_cache(maxsize=4096)
def uri_of(text: str) -> URI:
    """Return the URI of a text; a URI is immutable, so one is enough for all.

    Raises:
        PyroError: it is none.
    """
    return URI(text)


class Search:
    """One search for a name server.

    Args:
        make: a kind of proxy; what is found is returned as one of these.
        settings: say where, and how to connect.
        deadline: absolute, by the monotonic clock; None: none.
        hmac_key: as :class:`pyroipc.Proxy` takes it.
        tls: so is this.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        settings: Settings,
        deadline: float | None = None,
        *,
        hmac_key: bytes | str | None = None,
        tls: ssl.SSLContext | Literal[False] | None = None,
    ) -> None:
        self._make = make
        self._settings = settings
        self._deadline = deadline
        self._hmac_key = hmac_key
        self._tls = tls
        self._tried: list[str] = []

    def at(self, location: Location) -> Any:
        """Connect to the name server at a location.

        Raises:
            NamingError: there is none.
        """
        found = self._connect(URI(f"PYRO:{NAMESERVER_NAME}@{location}"))
        if found is None:
            raise self._failure()
        return found

    def anywhere(self, port: int | None = None, *, broadcast: bool = True) -> Any:
        """Connect to the first name server that can be found.

        Args:
            port: instead of NS_PORT and NS_BCPORT.
            broadcast: whether to ask in the networks.

        Raises:
            NamingError: there is none.
        """
        settings = self._settings
        locations = list(self._configured(port))
        for number, location in enumerate(locations):
            uri = URI(f"PYRO:{NAMESERVER_NAME}@{location}")
            # One that does not answer leaves the others their share of the time.
            found = self._connect(uri, share=len(locations) - number)
            if found is not None:
                return found
        if broadcast and settings.BROADCAST_ADDRS and settings.PREFER_IP_VERSION != 6:
            found = self._by_broadcast(port or settings.NS_BCPORT)
            if found is not None:
                return found
        if broadcast and settings.NS_DNS_SD:
            found = self._by_dns_sd()
            if found is not None:
                return found
        raise self._failure()

    def _configured(self, port: int | None) -> Iterator[Location]:
        """Yield the places that NS_HOST names.

        Raises:
            NamingError: a part of it is no place.
        """
        for part in self._settings.NS_HOST.split(","):
            location = self._place(part.strip(), port)
            yield location
            host = location.host
            if host and addresses.is_loopback(host) and host != _DEBIAN and _is_own_name():
                yield Location(_DEBIAN, location.port)

    def _place(self, text: str, port: int | None) -> Location:
        if not text.startswith("[") and (text.count(":") != 1 or text.startswith(UNIX_PREFIX)):
            return location_of(text, port, self._settings)
        try:
            return Location.parse(text, default_port=port or self._settings.NS_PORT)
        except PyroError as error:
            raise NamingError(f"no name server can be at {text!r:.200}: {error}") from None

    def _by_broadcast(self, port: int) -> Any:
        targets = self._settings.BROADCAST_ADDRS
        heard = False
        with closing(ask(targets, port, self._deadline)) as answers:
            for uri in answers:
                heard = True
                found = self._connect(uri, "the answer to a broadcast, ")
                if found is not None:
                    return found
        if not heard:
            self._tried.append(f"broadcasts to port {port} ({', '.join(targets)}): no answer")
        return None

    def _by_dns_sd(self) -> Any:
        from pyroipc.client.dns_sd import browse

        heard = False
        try:
            with closing(browse(self._deadline)) as answers:
                for uri in answers:
                    heard = True
                    found = self._connect(uri, "found by DNS-SD, ")
                    if found is not None:
                        return found
        except NamingError as error:
            self._tried.append(str(error))
        else:
            if not heard:
                self._tried.append("DNS-SD: no answer")
        return None

    def _connect(self, uri: URI, what: str = "", *, share: int = 1) -> Any:
        proxy = self._make(uri, tls=self._tls, hmac_key=self._hmac_key, settings=self._settings)
        if self._deadline is not None:
            proxy._pyroTimeout = max(0.001, (self._deadline - monotonic()) / share)
        try:
            proxy._pyroBind()
        except PyroError as error:
            where = "" if str(uri.location) in str(error) else f"{uri.location}: "
            self._tried.append(f"{what}{where}{error}")
            proxy._pyroRelease()
            return None
        proxy._pyroTimeout = self._settings.COMMTIMEOUT or None
        return proxy

    def _failure(self) -> NamingError:
        return NamingError(
            f"failed to locate the name server; tried {'; '.join(self._tried)}. Start one "
            "(pyroipc ns), or say where it is: with host= and port=, the settings NS_HOST and "
            "NS_PORT, or @host:port behind the name"
        )


def _is_own_name() -> bool:
    """Say whether the system takes the name of this machine for 127.0.1.1."""
    try:
        found = addresses.resolve(socket.gethostname(), 0)
    except (CommunicationError, OSError):
        return False
    return any(address[0] == _DEBIAN for address in found)


def location_of(host: object, port: int | None, settings: Settings) -> Location:
    """Return the location of a name server that a user names.

    Args:
        host: a name, an address (IPv6 with or without brackets), one of the module ipaddress, or
            ``"./u:path"``.
        port: None: NS_PORT.
        settings: tell the port.

    Raises:
        NamingError: it is no location.
    """
    text = str(host)
    try:
        if text.startswith(UNIX_PREFIX):
            return Location.parse(text)
        return Location(text.removeprefix("[").removesuffix("]"), port or settings.NS_PORT)
    except PyroError as error:
        raise NamingError(f"no name server can be at {text!r:.200}: {error}") from None

"""Proxies that a gateway keeps: that of the name server, and those of the objects.

One proxy for the name server serves all threads; if it is lost, one thread looks for another, and
those that wait meanwhile are told how that went. A proxy for an object is lent to one request at a
time and kept for the next one, up to a number: so a request does not wait for another one,
whatever dialect the daemon speaks.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import copy
import threading
from collections import deque
from typing import NamedTuple

from pyroipc.client.peers import fresh_copy
from pyroipc.client.proxy import Proxy
from pyroipc.client.requests import fetch
from pyroipc.errors import CommunicationError, DaemonError, NamingError
from pyroipc.gateway.plain import Reader
from pyroipc.naming.client import locate_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.name_server import NameServerProxy
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.settings import Settings
    from pyroipc.uri import URI

__all__ = ["Access", "NameServer", "PlainProxy", "Pool"]

SERIALIZER = "json"
_NAME_SERVER_SECONDS = 10.0


class Access(NamedTuple):
    """How daemons are spoken to; proxies that were made with the same access may be used again."""

    timeout: float | None
    """Seconds for a whole call; None: as the setting COMMTIMEOUT says; 0: as long as it takes."""
    hmac_key: bytes | str | None
    """None: as the setting HMAC_KEY says."""

    def settings(self, settings: Settings) -> Settings:
        """Return settings for proxies: these, with the time limit and with json."""
        changed = settings.copy()
        changed.SERIALIZER = changed.LOCAL_SERIALIZER = SERIALIZER
        if self.timeout is not None:
            changed.COMMTIMEOUT = self.timeout
        return changed


class PlainProxy(Proxy["Any"]):
    """A proxy whose methods return plain values: nothing of the classes of remote objects."""

    def _pyro_codec(self, session: Session) -> CallCodec:
        codec = copy.copy(super()._pyro_codec(session))
        references = session.references

        def refer(data: list[Any]) -> object:
            return _described(references.decode(data))

        codec.loads = Reader(is_typed=codec.serializer.is_typed, refer=refer).loads
        return codec


def _described(value: object) -> object:
    """Return what stands for an object that does not travel."""
    if isinstance(value, Proxy):
        return {"__class__": "pyroipc.Proxy", "state": str(value._pyro_address or value._pyroUri)}
    return value


class NameServer:
    """The name server, found when it is needed and again when it was lost.

    Args:
        settings: say where it is; read each time it is looked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._proxy: NameServerProxy | None = None
        self._access: Access | None = None
        self._failures = 0
        self._failure: NamingError | None = None

    def lookup(self, access: Access, name: str) -> URI:
        """Return the URI of a name.

        Raises:
            NamingError: the name is not known, or no name server was found.
            CommunicationError: the name server does not answer.
        """
        uri: URI = self._ask(access, "lookup", name)
        return uri

    def list(self, access: Access, regex: str | None) -> list[str]:
        """Return the names whose beginning matches; all of them if there is no pattern.

        Raises:
            NamingError: no name server was found, or it cannot use the pattern.
            CommunicationError: the name server does not answer.
        """
        return list(self._ask(access, "list", None, regex or None))

    def location(self, access: Access) -> URI:
        """Return where it is.

        Raises:
            NamingError: none was found.
        """
        return self._found(access)._pyroUri

    def _ask(self, access: Access, member: str, *args: Any) -> Any:
        proxy = self._found(access)
        try:
            return getattr(proxy, member)(*args)
        except (CommunicationError, DaemonError):
            self._lose(proxy)  # it has ended, or moved; to ask twice does no harm
        return getattr(self._found(access), member)(*args)

    def _found(self, access: Access) -> NameServerProxy:
        failures = self._failures
        with self._lock:
            if self._proxy is not None and self._access == access:
                return self._proxy
            if failures != self._failures and self._failure is not None:
                failure = fresh_copy(self._failure)  # of the thread that we waited for
                raise failure
            try:
                proxy = locate_ns(
                    hmac_key=access.hmac_key, settings=access.settings(self._settings)
                )
            except NamingError as error:
                self._failure = fresh_copy(error)
                self._failures += 1
                raise
            proxy._pyroTimeout = proxy._pyroTimeout or _NAME_SERVER_SECONDS
            self._proxy, self._access = proxy, access
            return proxy

    def _lose(self, proxy: NameServerProxy) -> None:
        with self._lock:
            if self._proxy is proxy:
                self._proxy = None
        proxy._pyroRelease()

    def close(self) -> None:
        """Close the connection; the next use makes another one."""
        with self._lock:
            proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy._pyroRelease()


class Pool:
    """Proxies for objects that are lent to one request at a time.

    Args:
        settings: for new proxies; read when one is made.
        idle_max: how many are kept while nobody uses them.
    """

    def __init__(self, settings: Settings, idle_max: int) -> None:
        self._settings = settings
        self._idle_max = idle_max
        self._lock = threading.Lock()
        self._idle: deque[tuple[tuple[Access, str], PlainProxy]] = deque()

    def take(self, access: Access, uri: URI) -> PlainProxy:
        """Return a proxy that nobody else uses; to be given back.

        Raises:
            PyroError: no object can be behind this URI.
        """
        key = (access, str(uri))
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):  # that which was used last
                if self._idle[index][0] == key:
                    proxy = self._idle[index][1]
                    del self._idle[index]
                    break
            else:
                proxy = None
        if proxy is None:
            return PlainProxy(
                uri, hmac_key=access.hmac_key, settings=access.settings(self._settings)
            )
        line = proxy._pyro_line
        if line is not None and line.is_up:
            assert line.session is not None
            fetch(line.session)  # the daemon may be gone: better to know it before a call is sent
        return proxy

    def give_back(self, access: Access, uri: URI, proxy: PlainProxy) -> None:
        """Keep a proxy for the next request, or let it go."""
        going = []
        with self._lock:
            self._idle.append(((access, str(uri)), proxy))
            while len(self._idle) > self._idle_max:
                going.append(self._idle.popleft()[1])
        for proxy in going:
            proxy._pyroRelease()

    def close(self) -> None:
        """Let go what nobody uses."""
        with self._lock:
            going = [proxy for _, proxy in self._idle]
            self._idle.clear()
        for proxy in going:
            proxy._pyroRelease()

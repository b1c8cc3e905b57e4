"""The line from a proxy to a daemon at an address: connected when needed, and again when it broke.

A line has one session at a time. It is made by the first call, and anew by the first call after
the session ended, the proxy was released, or the process was forked: a child never uses the
connection of its parent. A session is not used before the daemon has taken the handshake.

The hello, and the request that introduces the proxy, travel together, so that connecting takes one
round trip.
"""

from __future__ import annotations

import os
import threading
from time import monotonic

from pyroipc.client import connecting
from pyroipc.errors import TimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, Literal

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.settings import Settings
    from pyroipc.uri import URI


class Line:
    """The connection of one proxy, and how to make it.

    Args:
        uri: of the object; a name is looked up each time a connection is made.
        settings: read when a connection is made.
        tls: how to encrypt; None: not at all.
        hmac_key: what both ends have to know; empty: nothing.
    """

    __slots__ = ("_lock", "_pid", "_tls", "hmac_key", "resolved", "session", "settings", "uri")

    def __init__(
        self,
        uri: URI,
        settings: Settings,
        tls: ssl.SSLContext | None,
        hmac_key: bytes,
    ) -> None:
        self.uri = uri
        """The URI that the user gave."""
        self.settings = settings
        self._tls = tls
        self.hmac_key = hmac_key
        """What both ends have to know."""
        self.resolved: URI | None = uri if uri.protocol == "PYRO" else None
        """The URI that leads to the object; None until a name was looked up."""
        self.session: Session | None = None
        """The connection; it may have ended."""
        self._pid = os.getpid()
        self._lock = threading.RLock()

    def copy(self) -> Line:
        """Return another line to the same object, not connected."""
        return Line(self.uri, self.settings, self._tls, self.hmac_key)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that can be used."""
        session = self.session
        return session is not None and session.is_open and self._pid == os.getpid()

    def connected(self, proxy: Proxy[Any], deadline: float | None) -> Session:
        """Return the session, and make it if there is none that can be used.

        Args:
            proxy: introduces itself with its handshake, and learns what the object exposes.
            deadline: absolute, by the monotonic clock, for all of that; None: none.

        Raises:
            ConnectError: nobody answers at the address.
            TimeoutError: the deadline passed; nothing was sent.
            CommunicationError: the daemon refuses.
        """
        if self._pid != os.getpid():
            self._lock = threading.RLock()  # another thread of the parent may have held it
            self._pid, self.session = os.getpid(), None
        held = False
        try:
            seconds = -1 if deadline is None else max(0.0, deadline - monotonic())
            for held in map(self._lock.acquire, (True,), (seconds,)):  # noqa: B007
                break
            if not held:
                error = TimeoutError("the deadline passed while another thread was connecting")
                error.call_status = "not sent"
                raise error
            session = self.session
            if session is None or not session.is_open:
                if session is not None:
                    self.drop(proxy)
                session = self._connect(proxy, deadline)
                self.session = session
            return session
        finally:
            if held:
                self._lock.release()

    def _connect(self, proxy: Proxy[Any], deadline: float | None) -> Session:
        settings = self.settings
        if settings.CONNECT_TIMEOUT:
            limit = monotonic() + settings.CONNECT_TIMEOUT
            deadline = limit if deadline is None else min(deadline, limit)
        uri = self._resolve(deadline)
        assert uri.address is not None
        session = connecting.connect(
            uri.address,
            settings,
            deadline,
            tls=None if uri.address.is_unix else self._tls,
            hmac_key=self.hmac_key,
        )
        try:
            proxy._pyro_introduce(session, deadline)
            session.retain(proxy)
        except BaseException:
            session.close()
            raise
        return session

    def _resolve(self, deadline: float | None) -> URI:
        from pyroipc.client.resolve import resolve

        self.resolved = resolve(self.uri, self.settings, deadline)
        return self.resolved

    def drop(self, user: object) -> None:
        """Let the connection go; others that use it too keep it."""
        session, self.session = self.session, None
        if session is not None and self._pid == os.getpid():
            session.release(user)
            if not session.is_open:
                session.close()


def make_line(
    uri: URI,
    settings: Settings,
    tls: ssl.SSLContext | Literal[False] | None,
    hmac_key: bytes | str | None,
) -> Line:
    """Make the line of a proxy from what its user gave.

    Raises:
        SecurityError: a file of certificates cannot be used.
        TypeError: tls or hmac_key is of another type.
    """
    context = connecting.tls_of(tls, settings, connecting.client_tls)
    return Line(uri, settings, context, connecting.key_of(hmac_key, settings))

"""The line from a proxy to a daemon at an address: connected when needed, and again when it broke.

A line has one session at a time. It is made by the first call, and anew by the first call after
the session ended, the proxy was released, or the process was forked: a child never uses the
connection of its parent. A session is not used before the daemon has taken the handshake.

Several threads that want to call wait for the one that connects. If it fails, all of them are told
so: were each to try for itself, the last one would wait many times as long.
"""

from __future__ import annotations

import os
import threading
from time import monotonic

from pyroipc.client import connecting, sharing
from pyroipc.client.peers import fresh_copy
from pyroipc.client.pyro import detection
from pyroipc.client.pyro.detection import AUTO
from pyroipc.errors import CommunicationError, PyroError, TimeoutError
from pyroipc.wire.dialect import OtherDialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Any, Literal

    from pyroipc.client.binding import Binding
    from pyroipc.client.session import Session
    from pyroipc.location import Location
    from pyroipc.settings import Settings
    from pyroipc.uri import URI

_forking = threading.Lock()
"""Held while a line finds out that it is in a forked child."""


class Line:
    """The connection of one proxy, and how to make it.

    Args:
        uri: of the object; a name is looked up each time a connection is made.
        settings: read when a connection is made.
        tls: how to encrypt; None: not at all.
        hmac_key: what both ends have to know; empty: nothing.
        dialect: of the daemon; AUTO: find out.
    """

    __slots__ = (
        "__weakref__",
        "_failures",
        "_last_failure",
        "_lock",
        "_pid",
        "_tls",
        "dialect",
        "facts",
        "hmac_key",
        "resolved",
        "session",
        "settings",
        "uri",
    )

    def __init__(
        self,
        uri: URI,
        settings: Settings,
        tls: ssl.SSLContext | None,
        hmac_key: bytes,
        dialect: str = AUTO,
    ) -> None:
        self.uri = uri
        """The URI that the user gave."""
        self.settings = settings
        self._tls = tls
        self.hmac_key = hmac_key
        """What both ends have to know."""
        self.dialect = dialect
        """The dialect of the daemon, as the user gave it."""
        self.resolved: URI | None = uri if uri.protocol == "PYRO" else None
        """The URI that leads to the object; None until a name was looked up."""
        self.session: Session | None = None
        """The connection; it may have ended."""
        self.facts: Mapping[str, Any] | None = None
        """What the object exposes, as it was said when the connection was made."""
        self._failures = 0
        self._last_failure: CommunicationError | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()

    def copy(self) -> Line:
        """Return another line to the same object, not connected."""
        return Line(self.uri, self.settings, self._tls, self.hmac_key, self.dialect)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that can be used."""
        session = self.session
        return session is not None and session.is_open and self._pid == os.getpid()

    def connected(self, proxy: Binding[Any], deadline: float | None) -> Session:
        """Return the session, and make it if there is none that can be used.

        Args:
            proxy: introduces itself with its handshake, and learns what the object exposes.
            deadline: absolute, by the monotonic clock, for all of that; None: none.

        Raises:
            ConnectError: nobody answers at the address, or not as a daemon does.
            TimeoutError: the deadline passed; nothing was sent.
            CommunicationError: the daemon refuses.
        """
        if self._pid != os.getpid():
            self._begin_anew()
        failures = self._failures
        held = False
        try:
            seconds = _seconds_until(deadline)
            for held in map(self._lock.acquire, (True,), (seconds,)):  # noqa: B007
                break
            if not held:
                error = TimeoutError(
                    f"cannot connect to {self.uri} in time: another thread still tries to"
                )
                error.call_status = "not sent"
                raise error
            session = self.session
            if session is None or not session.is_open:
                if failures != self._failures and self._last_failure is not None:
                    failure = fresh_copy(self._last_failure)  # of the thread that we waited for
                    raise failure
                session = self._connect_noting(proxy, deadline)
            return session
        finally:
            if held:
                self._lock.release()

    def _connect_noting(self, proxy: Binding[Any], deadline: float | None) -> Session:
        """Connect, and take note if that fails; the caller holds the lock.

        Raises:
            CommunicationError: it failed.
        """
        if self.session is not None and self.resolved is not None and self.resolved.address:
            detection.forget(self.resolved.address)  # a server of another kind may be there now
        self.drop()
        try:
            self.session = self._connect(proxy, deadline)
        except CommunicationError as error:
            self._last_failure = fresh_copy(error)
            self._failures += 1
            raise
        self._last_failure = None
        return self.session

    def _begin_anew(self) -> None:
        """In a forked child: forget the connection of the parent, and who held the lock there."""
        with _forking:
            if self._pid != os.getpid():
                self._lock = threading.RLock()
                self.session = None
                self._pid = os.getpid()

    def _connect(self, proxy: Binding[Any], deadline: float | None) -> Session:
        settings = self.settings
        if settings.CONNECT_TIMEOUT:
            limit = monotonic() + settings.CONNECT_TIMEOUT
            if self.uri.protocol != "PYRO":  # to wait for the name is not to wait for the daemon
                limit += settings.NS_LOOKUP_DELAY
            deadline = limit if deadline is None else min(deadline, limit)
        uri = self._resolve(deadline)
        address = uri.address
        assert address is not None
        if self.dialect != AUTO:
            return self._open(proxy, address, self.dialect, deadline)
        try:
            guess = detection.first_guess(address, self.hmac_key)
            return self._open(proxy, address, guess, deadline)
        except OtherDialectError as refusal:
            dialect = detection.learn(address, refusal, self.hmac_key)
        except PyroError:
            detection.forget(address)
            raise
        return self._open(proxy, address, dialect, deadline)

    def _open(
        self, proxy: Binding[Any], address: Location, dialect: str, deadline: float | None
    ) -> Session:
        """Connect to an address, and introduce a proxy there.

        Raises:
            OtherDialectError: the daemon speaks another dialect.
            PyroError: another one that says where it happened.
        """  # noqa: DOC501 - what a function returns
        session = connecting.connect(
            address,
            self.settings,
            deadline,
            tls=None if address.is_unix else self._tls,
            hmac_key=self.hmac_key,
            dialect=dialect,
        )
        looking = session.channel.spin
        try:
            self.facts = proxy._pyro_introduce(self, session, deadline)
            session.retain(self)
            connecting.learn_from(looking)
        except BaseException as error:
            session.close()
            if not isinstance(error, PyroError):
                raise
            raise connecting.located(address, error) from error.__cause__
        return session

    def _resolve(self, deadline: float | None) -> URI:
        from pyroipc.client.resolve import resolve

        self.resolved = resolve(self.uri, self.settings, deadline)
        return self.resolved

    def drop(self) -> None:
        """Let the connection go."""
        session, self.session = self.session, None
        if session is not None and self._pid == os.getpid():
            session.hang_up()


def _seconds_until(deadline: float | None) -> float:
    """Return how long to wait for a lock."""
    if deadline is None:
        return -1
    return min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)


def make_line(
    uri: URI,
    settings: Settings,
    tls: ssl.SSLContext | Literal[False] | None,
    hmac_key: bytes | str | None,
    dialect: str | None,
) -> Line:
    """Make the line of a proxy from what its user gave.

    Raises:
        SecurityError: a file of certificates cannot be used.
        TypeError: tls or hmac_key is of another type.
        ValueError: there is no such dialect.
    """
    context = connecting.tls_of(tls, settings, connecting.client_tls)
    key = connecting.key_of(hmac_key, settings)
    return Line(uri, settings, context, key, detection.chosen(dialect, settings))


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.Lock()


sharing.after_fork.append(_after_fork_in_child)

"""Where a daemon listens, what it publishes, and who is let in.

What a daemon *publishes* is the address in the URIs of its objects. That is the host as it was
given, with two exceptions: ``nathost`` and ``natport`` name the address that is valid outside of a
router, and for a host that means "all addresses" (0.0.0.0, ::), which nobody can connect to, the
address of the interface that leads out of this machine is published.

Who is *let in*: at a TCP address everybody who passes TLS and the HMAC key, if there are any; at a
unix socket the processes of our own user id, and of those that were named.
"""

from __future__ import annotations

import os
import threading
from _warnings import warn  # the C part of warnings
from functools import partial

from pyroipc.client.connecting import (
    is_unix,
    key_of,
    open_session,
    options_of,
    reopen_session,
    server_tls,
    tls_of,
)
from pyroipc.errors import DaemonError, ForkedConnectionError, PyroError
from pyroipc.location import Location
from pyroipc.server.loops.network import NetworkLoop
from pyroipc.server.loops.overload import Times
from pyroipc.server.serving import overridden_hooks
from pyroipc.server.termination import handling_signals
from pyroipc.server.visiting import Visit
from pyroipc.transports import addresses, table
from pyroipc.transports.stream import MSG_DONTWAIT
from pyroipc.transports.trust import identify_peer
from pyroipc.wire.dialect import (
    NATIVE,
    PYRO4,
    SIGNATURES,
    VERSIONS,
    Closed,
    OtherDialectError,
    version_of,
)
from pyroipc.wire.message import GOODBYE, REFUSED
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    import ssl
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any, Literal

    from pyroipc.server.daemon import Daemon
    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.settings import Settings
    from pyroipc.transports.base import Listener, Options
    from pyroipc.transports.trust import Peer

_REFUSED = plain_prefix(GOODBYE, 0, REFUSED)


def refusal_of(text: str, head: bytes = b"") -> bytes:
    """Encode the goodbye for somebody who is not let in, in the dialect in which he began."""
    version = version_of(head)
    if version is not None:
        from pyroipc.wire.refusals import connect_failure

        return connect_failure(version, text)
    return encode_plain(_REFUSED, 0, f"security: {text}".encode())


def _refusal_without_key(head: bytes) -> bytes:
    text = "this daemon wants an HMAC key"
    if (version_of(head) or 0) > VERSIONS[PYRO4]:
        text += (
            ", and Pyro5's protocol knows none; use pyroipc at this end, too, or have the daemon "
            "use TLS with client certificates instead"
        )
    else:
        text += ": set _pyroHmacKey, or the setting HMAC_KEY"
    return refusal_of(text, head)


class Asked:
    """The addresses that a daemon was asked to listen at and to publish.

    Args:
        host, port, unixsocket, nathost, natport, listen: as :class:`pyroipc.Daemon` takes them.
    """

    def __init__(
        self,
        host: str | None,
        port: int,
        unixsocket: str | None,
        nathost: str | None,
        natport: int | None,
        listen: Iterable[str],
    ) -> None:
        self.host = host
        self.port = port
        self.unixsocket = unixsocket
        self.nathost = nathost
        self.natport = natport
        self.listen = list(listen)

    def locations(self, settings: Settings) -> list[Location]:
        """Return where to listen; what is published comes first.

        Raises:
            PyroError: an address is no address.
            ValueError: a unix socket and a port were given.
        """
        more = [_parsed(text) for text in self.listen]
        if self.unixsocket is not None:
            if self.host is not None or self.port:
                raise ValueError(
                    "a daemon listens at host and port or at a unixsocket; the other one "
                    "goes into listen="
                )
            return [Location(sockname=self.unixsocket), *more]
        if more and self.host is None and not self.port:
            return more
        host = settings.HOST if self.host is None else self.host
        return [Location(str(host) or "0.0.0.0", self.port, zero_port=True), *more]  # noqa: S104

    def nat(self, settings: Settings, inside: Location) -> Location | None:
        """Return the location that is valid outside of a router, or None.

        Raises:
            ValueError: there is a port without a host, or a unix socket.
        """
        host = settings.NATHOST if self.nathost is None else str(self.nathost)
        port = settings.NATPORT if self.natport is None else self.natport
        if host is None:
            if port:
                raise ValueError("must provide natport with nathost")
            return None
        if inside.is_unix:
            raise ValueError("cannot use nathost together with unixsocket")
        return Location(host, port or inside.port)


class Access:
    """Who may use a daemon that listens.

    Args:
        tls, hmac_key, allowed_uids: as :class:`pyroipc.Daemon` takes them.
        settings: say what was not given.

    Raises:
        SecurityError: a file of certificates cannot be used.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | Literal[False] | None,
        hmac_key: bytes | str | None,
        allowed_uids: Collection[int],
        settings: Settings,
    ) -> None:
        self.tls = tls_of(tls, settings, server_tls)
        self.hmac_key = key_of(hmac_key, settings)
        self.allowed_uids = frozenset(allowed_uids)
        # Pyro4 signs its messages itself.
        self._unsealed = SIGNATURES[PYRO4] if PYRO4 in settings.DIALECTS else b""

    @property
    def is_guarded(self) -> bool:
        """Whether something keeps strangers from a TCP address."""
        return bool(self.hmac_key) or (
            self.tls is not None and self.tls.verify_mode == self.tls.verify_mode.CERT_REQUIRED
        )

    def check(self, sock: socket.socket, peer: Peer) -> str | None:
        """Say why the process at the other end may not use this daemon; None: it may."""
        if not is_unix(sock) or peer.trusted or peer.uid in self.allowed_uids:
            return None
        return f"{peer.reason}, and the daemon does not list it in its allowed_uids"

    def dress(self, sock: Any) -> Any:
        """Put the coats on a socket that the clients of this daemon are to wear."""
        if self.tls is not None and not is_unix(sock):
            from pyroipc.transports.coated import CoatedSocket
            from pyroipc.transports.tls import TlsCoat

            text = "this daemon speaks TLS only; connect with tls=, or with the setting SSL"
            refusal = partial(refusal_of, text)
            coat = TlsCoat(self.tls, server_side=True, refusal=refusal)
            sock = CoatedSocket(sock, coat)
        if self.hmac_key:
            from pyroipc.transports.coated import CoatedSocket
            from pyroipc.transports.seal import SealCoat

            seal = SealCoat(
                self.hmac_key,
                server_side=True,
                refusal=_refusal_without_key,
                unsealed=self._unsealed,
            )
            sock = CoatedSocket(sock, seal)
        return sock


class Listening:
    """The listening sockets of a daemon, and its loop.

    Args:
        daemon: what is served there.
        asked: the addresses.
        access: who may come.

    Raises:
        DaemonError: an address cannot be listened at.
    """

    def __init__(self, daemon: Daemon, asked: Asked, access: Access) -> None:
        self._daemon = daemon
        self.access = access
        """Who may come."""
        self._pid = os.getpid()
        self._making = threading.RLock()  # a signal handler may want the loop at any moment
        self._loop: NetworkLoop | None = None
        options = options_of(daemon.settings)
        if access.allowed_uids:  # all may open the socket, and are looked at then
            options.unix_mode = 0o666
        self.listeners = _listen(asked.locations(daemon.settings), options)
        try:
            self.published = _published(self.listeners[0].location)
            """The location in the URIs of objects, inside of a router."""
            self.nat = asked.nat(daemon.settings, self.published)
            """The location in the URIs of objects, outside of it; None: it is the same."""
            if not (access.is_guarded or "validateHandshake" in overridden_hooks(type(daemon))):
                _warn_of_strangers(self.locations)
        except BaseException:
            for listener in self.listeners:
                listener.close()
            raise

    @property
    def locations(self) -> list[Location]:
        """Where this daemon listens: the hosts as they were given, and the ports it has."""
        return [listener.location for listener in self.listeners]

    def location(self, *, nat: bool) -> Location:
        """Return the location for URIs."""
        return self.nat if nat and self.nat is not None else self.published

    @property
    def loop(self) -> NetworkLoop:
        """The loop, made when it is first needed.

        Raises:
            ForkedConnectionError: the daemon was made in the parent of this process.
        """
        if self._pid != os.getpid():
            raise ForkedConnectionError(
                "this daemon listens in the parent process, from which this one was forked; make "
                "the daemon after the fork"
            )
        with self._making:
            if self._loop is None:
                self._enter(_make_loop(self._daemon))
            assert self._loop is not None
            return self._loop

    def join(self, loop: NetworkLoop) -> None:
        """Have the loop of another daemon serve this daemon's clients."""
        if loop is not self._loop:
            self._leave("the daemon joined another one")
            self._enter(loop)

    def _enter(self, loop: NetworkLoop) -> None:
        self._loop = loop

        def welcome(sock: socket.socket) -> Visitor | None:
            return self._welcome(sock, loop)

        loop.take_in(self, self.listeners, welcome, self._daemon.housekeeping)

    def _leave(self, reason: str) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.let_go(self, self.listeners, reason)

    def claim(self) -> NetworkLoop:
        """Take the loop for :meth:`run`, and return it; from here on it can be stopped.

        Raises:
            DaemonError: it runs already, or the daemon was drained.
            ForkedConnectionError: the daemon was made in the parent of this process.
        """
        loop = self.loop
        if all(listener.fileno() < 0 for listener in self.listeners):
            raise DaemonError("this daemon was drained and listens no longer; make a new one")
        loop.claim()
        return loop

    def run(self, condition: Callable[[], bool] | None) -> None:
        """Serve until told to stop, or until the condition does not hold.

        Raises:
            KeyboardInterrupt: Ctrl-C came.
        """
        loop = self.loop
        with handling_signals(loop.drain, loop.interrupt):
            loop.run(condition)
        if loop.was_interrupted:
            raise KeyboardInterrupt

    def drain(self) -> None:
        """Stop serving when the calls that run have finished."""
        if self._pid == os.getpid():
            self.loop.drain()

    def _welcome(self, sock: socket.socket, loop: NetworkLoop) -> Visitor | None:
        """Make what serves a client; None: it is not let in."""
        peer = identify_peer(sock)
        problem = self.access.check(sock, peer)
        if problem is not None:
            sock.send(refusal_of(problem), MSG_DONTWAIT)
            return None
        dressed = self.access.dress(sock)
        session = open_session(dressed, peer, self._daemon.settings, served=True)
        if NATIVE not in self._daemon.settings.DIALECTS:
            session.decoder.speak(Closed(self._daemon.settings.DIALECTS))
        visitor = Visit(self._daemon, session, loop).visitor
        visitor.owner = self
        return visitor

    def translate(self, visitor: Visitor, error: OtherDialectError) -> Visitor:
        """Make what serves a client in the dialect that it has turned out to speak.

        Args:
            visitor: what serves it now; it keeps nothing of the connection.
            error: says what the client speaks.

        Raises:
            OtherDialectError: this daemon does not speak that.
            SecurityError: this daemon wants a key, and the dialect knows none.
        """
        dialect = error.dialect
        daemon, old = self._daemon, visitor.session
        if dialect is None or dialect not in daemon.settings.DIALECTS:
            spoken = ", ".join(daemon.settings.DIALECTS)
            raise OtherDialectError(
                f"invalid protocol version: {error}; this daemon speaks {spoken}", error.version
            )
        session = reopen_session(old, daemon.settings, dialect, self.access.hmac_key)
        loop = self.loop
        daemon.serving[id(old)].give_way()
        successor = Visit(daemon, session, loop).visitor
        successor.owner = self
        successor.came_at = visitor.came_at
        session.listen()
        return successor

    def close(self, *, later: bool = False) -> None:
        """Listen no longer, and let all clients go.

        Args:
            later: only listen no longer; a thread runs the loop, and then closes the rest.
        """
        if later and self._loop is not None:
            self._loop.shut(self.listeners)
        else:
            self._leave("the daemon was closed")
        for listener in self.listeners:
            listener.close()

    def __del__(
        self,
        # When the interpreter ends, nothing can be imported, and globals may be gone.
        _getpid: Callable[[], int] = os.getpid,
        _warn: Callable[..., None] = warn,
    ) -> None:
        listeners = [one for one in getattr(self, "listeners", ()) if one.fileno() >= 0]
        if listeners and self._pid == _getpid():
            for listener in listeners:
                listener.close()
            _warn(
                f"unclosed daemon at {', '.join(str(one.location) for one in listeners)}",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )


def _parsed(text: str) -> Location:
    """Read one of the addresses to listen at.

    Raises:
        PyroError: it is none.
    """
    try:
        return Location.parse(text, zero_port=True, part_of="address")
    except PyroError as error:
        raise PyroError(f"cannot listen at {text!r}: {error}") from None


def _listen(locations: Sequence[Location], options: Options) -> list[Listener]:
    listeners: list[Listener] = []
    try:
        for location in locations:
            listeners.extend(table.listen(location, options))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _warn_of_strangers(locations: Sequence[Location]) -> None:
    """Say that an address is open to everybody who can reach it, if it is."""
    for location in locations:
        if location.host is not None and not addresses.is_loopback(location.host):
            _log().warning(
                "everybody who can reach %s may call what is exposed there; to be asked first: a "
                "firewall, client certificates (tls=), hmac_key=, or Daemon.validateHandshake",
                location,
            )
            return


def _published(location: Location) -> Location:
    """Return the location that others can connect to, and say what is remarkable about it."""
    host = location.host
    if host is None:
        return location
    if not addresses.is_wildcard(host):
        warning = addresses.dns_warning(host)
        if warning is not None:
            _log().warning(warning)
        return location
    found = addresses.reachable_hosts()
    same = [other for other in found if (":" in other) == (":" in host)]
    chosen = (same or found or ["localhost"])[0]
    _log().info(
        "listening on all addresses (%s); URIs say %s; nathost= sets another host",
        location,
        chosen,
    )
    return Location(chosen, location.port)


def _make_loop(daemon: Daemon) -> NetworkLoop:
    settings = daemon.settings
    if settings.THREADPOOL_SIZE_MIN > settings.THREADPOOL_SIZE:
        raise DaemonError(
            f"THREADPOOL_SIZE_MIN is {settings.THREADPOOL_SIZE_MIN}, which is more than "
            f"THREADPOOL_SIZE, {settings.THREADPOOL_SIZE}"
        )
    return NetworkLoop(
        threads=settings.THREADPOOL_SIZE,
        spares=settings.THREADPOOL_SIZE_MIN,
        single=settings.SERVERTYPE == "multiplex",
        oneway_threads=settings.ONEWAY_THREADS,
        times=Times(
            busy=settings.BUSY_TIMEOUT,
            chores=settings.POLLTIMEOUT,
            handshake=settings.HANDSHAKE_TIMEOUT,
            idle=settings.COMMTIMEOUT,
            look=settings.SPIN_SECONDS,
            write=settings.WRITE_TIMEOUT,
        ),
    )


def _log() -> Any:
    from pyroipc import logs

    return logs.get("server")

"""How a connection to an address is made: a socket, its coats, a session.

Everything here waits at most until a deadline, and leaves nothing behind if it fails.
"""

from __future__ import annotations

import _socket as socket
import os

from pyroipc.client.peers import fresh_copy
from pyroipc.client.session import Session
from pyroipc.client.sharing import open_connection
from pyroipc.errors import (
    CommunicationError,
    ConnectError,
    ConnectionClosedError,
    PyroError,
    SecurityError,
)
from pyroipc.transports import descriptors, table
from pyroipc.transports.base import Options
from pyroipc.transports.spin import Looking, make_spin, usable_cpus
from pyroipc.transports.trust import identify_peer
from pyroipc.wire.dialect import (
    NATIVE,
    PYRO4,
    SIGNATURES,
    VERSIONS,
    OtherDialectError,
    named,
    version_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Any, Literal

    from pyroipc.client.pyro.session import PyroSession
    from pyroipc.location import Location
    from pyroipc.protocol.hello import Hello
    from pyroipc.settings import Settings
    from pyroipc.transports.coated import CoatedSocket
    from pyroipc.transports.spin import Spin
    from pyroipc.transports.trust import Peer

_contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
_CONTEXTS_MAX = 16
_greetings = Looking(1.0)
_GREETING_SPINS = 10
"""How many times as long as for an answer to look for a welcome, which takes more work."""


def options_of(settings: Settings) -> Options:
    """Return what the settings say about sockets."""
    return Options(
        prefer_ip_version=settings.PREFER_IP_VERSION,
        nodelay=settings.SOCK_NODELAY,
        reuse=settings.SOCK_REUSE,
        keepalive_seconds=settings.SOCK_KEEPALIVE,
        buffer_bytes=settings.SOCK_BUFFER,
    )


def open_session(
    sock: socket.socket,
    peer: Peer,
    settings: Settings,
    *,
    served: bool,
    dialect: str = NATIVE,
    hmac_key: bytes = b"",
) -> Session:
    """Make a session over a socket that this library made.

    Args:
        sock: a connected socket, or a coat over one; it belongs to the session from now on.
        peer: what is known of the other end.
        settings: read now.
        served: a loop will serve it, and lend the memory to receive into.
        dialect: of the peer.
        hmac_key: what both ends have to know, if the dialect signs messages itself.

    Raises:
        SecurityError: the dialect has no way to use a key.
    """
    channel = open_connection(sock, peer, settings, idle=served)
    if dialect == NATIVE:
        session = Session(channel, settings)
    else:
        from pyroipc.client.pyro.session import PyroSession, make_dialect

        spoken = make_dialect(dialect, serving=served, key=hmac_key)
        session = PyroSession(channel, settings, spoken, introduces=True)
    if peer.uid is None:  # it may run on any machine, so its process id says nothing here
        session.explain = _as_it_is
    return session


def reopen_session(
    session: Session, settings: Settings, dialect: str, hmac_key: bytes
) -> PyroSession:
    """Make another session over the same channel, for a client that speaks another dialect.

    What has arrived is read again; the given session is of no more use.

    Raises:
        SecurityError: the dialect has no way to use a key.
    """
    from pyroipc.client.pyro.session import PyroSession, make_dialect

    spoken = make_dialect(dialect, serving=True, key=hmac_key)
    introduces = session.channel.owned
    found = PyroSession(session.channel, settings, spoken, introduces=introduces)
    found.explain = session.explain
    return found


def seal(sock: CoatedSocket, deadline: float | None) -> None:
    """Shake hands under a seal.

    Raises:
        OtherDialectError: the daemon is Pyro's. A Pyro4 has signed that with the key: were anybody
            believed, he could have us speak a dialect that protects less.
        SecurityError: it has another key, or none.
    """
    try:
        sock.handshake(deadline)
    except SecurityError:
        head = getattr(sock.coat, "head", b"")
        version = version_of(head)
        if version is None:
            raise
        if version == VERSIONS[PYRO4]:
            from pyroipc.client.pyro.detection import check_signed

            check_signed(head, getattr(sock.coat, "key", b""))
        raise OtherDialectError(f"the peer speaks {named(version)}", version) from None


def _as_it_is(error: ConnectionClosedError, hello: Hello | None) -> ConnectionClosedError:
    return error


def connect(
    location: Location,
    settings: Settings,
    deadline: float | None,
    *,
    tls: ssl.SSLContext | None = None,
    hmac_key: bytes = b"",
    dialect: str = NATIVE,
) -> Session:
    """Connect to a location, and make a session; no conversation is opened yet.

    Args:
        location: where the daemon listens.
        settings: read now.
        deadline: absolute, by the monotonic clock; None: wait as long as it takes.
        tls: encrypt with this, and check the certificate of the server.
        hmac_key: prove to know this key, and let the other end prove it.
        dialect: of the daemon.

    Raises:
        ConnectError: nobody answers there.
        OtherDialectError: the daemon has said that it speaks another dialect.
        TimeoutError: the deadline passed.
        SecurityError: the other end is not who it should be.
        PyroError: never another one; it is ``located``.
    """  # noqa: DOC501 - what a function returns
    sock: Any = None
    try:
        for sock in map(table.connect, (location,), (options_of(settings),), (deadline,)):  # noqa: B007
            break
        peer = identify_peer(sock)
        if tls is not None:
            from pyroipc.transports.coated import CoatedSocket
            from pyroipc.transports.tls import TlsCoat

            coat = TlsCoat(tls, server_side=False, server_hostname=location.host or "")
            sock = CoatedSocket(sock, coat)
            sock.handshake(deadline)
        if hmac_key and dialect == NATIVE:
            from pyroipc.transports.coated import CoatedSocket
            from pyroipc.transports.seal import SealCoat

            unsealed = SIGNATURES[PYRO4]
            sock = CoatedSocket(sock, SealCoat(hmac_key, server_side=False, unsealed=unsealed))
            seal(sock, deadline)
        session = open_session(
            sock, peer, settings, served=False, dialect=dialect, hmac_key=hmac_key
        )
        session.channel.spin = _look_for_welcome(session, settings.SPIN_SECONDS * _GREETING_SPINS)
    except BaseException as error:
        if sock is not None:
            descriptors.close(sock)
        if not isinstance(error, PyroError):
            raise
        raise located(location, error) from error.__cause__
    return session


def _look_for_welcome(session: Session, seconds: float) -> Spin | None:
    """Make what looks for the welcome; None if looking was in vain too often lately.

    A daemon that is awake welcomes a client within this time, and waking the thread that waits
    for it would take as long again. But a new connection has learned nothing yet about the peer,
    nor about what else the machine is doing; so what the ones before have learned is kept here.
    """
    spin = None
    if _greetings.on or _greetings.try_again():
        spin = make_spin(session.channel.sock, session.decoder, seconds, usable_cpus())
        if spin is not None and _greetings.yielding:
            spin.yielding = True
    return spin


def learn_from(spin: Spin | None) -> None:
    """Take note whether it paid to look for a welcome."""
    if spin is not None:
        if spin.misses:
            _greetings.miss()
        else:
            _greetings.misses = 0


def located(location: Location, error: PyroError) -> PyroError:
    """Return an error of connecting that says where it happened, and that no call was sent."""
    text = str(error)
    refused = text.removeprefix("connection rejected: ")
    if refused != text:
        error.args = (f"connection to {location} rejected: {refused}",)
    elif hasattr(error, "_pyroTraceback"):
        pass  # the daemon itself has answered
    elif isinstance(error, ConnectionClosedError):
        error = ConnectError(
            f"cannot connect to {location}: {text}; is it a daemon of pyroipc, and does it let us "
            "in?"
        )
    elif isinstance(error, CommunicationError | SecurityError) and str(location) not in text:
        error = fresh_copy(error)
        error.args = (f"cannot connect to {location}: {text}",)
    if isinstance(error, CommunicationError):
        error.call_status = "not sent"
    return error


def client_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return what the settings say about TLS connections that are made here; None: no TLS.

    A context is made once for the same files, for reading the authorities of the system takes
    longer than a connection; files that have changed are read again.

    Raises:
        SecurityError: a file cannot be used.
    """
    if not settings.SSL:
        return None
    from pyroipc.transports.tls_contexts import client_context

    files = (settings.SSL_CACERTS, settings.SSL_CLIENTCERT, settings.SSL_CLIENTKEY)
    key = (*files, settings.SSL_CLIENTKEYPASSWD, *map(_age, files))
    context = _contexts.get(key)
    if context is None:
        authorities, certificate, own_key = files
        context = client_context(
            authorities=authorities,
            certificate=certificate,
            key=own_key,
            password=settings.SSL_CLIENTKEYPASSWD,
        )
        while len(_contexts) >= _CONTEXTS_MAX:
            _contexts.pop(next(iter(_contexts)), None)
        _contexts[key] = context
    return context


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return what the settings say about TLS connections that are accepted here; None: no TLS.

    Raises:
        SecurityError: a file cannot be used.
    """
    if not settings.SSL:
        return None
    from pyroipc.transports.tls_contexts import server_context

    return server_context(
        settings.SSL_SERVERCERT,
        key=settings.SSL_SERVERKEY,
        password=settings.SSL_SERVERKEYPASSWD,
        authorities=settings.SSL_CACERTS,
        require_client_certificate=settings.SSL_REQUIRECLIENTCERT,
    )


def tls_of(
    tls: ssl.SSLContext | Literal[False] | None,
    settings: Settings,
    by_settings: Callable[[Settings], ssl.SSLContext | None],
) -> ssl.SSLContext | None:
    """Return the context that a user means: his own, that of the settings (None), or none (False).

    Raises:
        SecurityError: a file cannot be used.
        TypeError: it is something else.
    """
    if tls is None:
        return by_settings(settings)
    if tls is False:
        return None
    if not hasattr(tls, "wrap_bio"):
        raise TypeError(f"tls is an ssl.SSLContext, None or False, not {tls!r}")
    return tls


def key_of(hmac_key: bytes | str | None, settings: Settings) -> bytes:
    """Return the key that a user means: his own, or that of the settings (None).

    Raises:
        TypeError: it is neither bytes nor text.
    """
    key = settings.HMAC_KEY if hmac_key is None else hmac_key
    if isinstance(key, str):
        return key.encode()
    if not isinstance(key, bytes):
        raise TypeError(f"an HMAC key is bytes or a str, not {type(key).__name__}")
    return key


def is_unix(sock: Any) -> bool:
    """Say whether a socket is a unix socket."""
    return bool(sock.family == getattr(socket, "AF_UNIX", None))


def _age(path: str) -> object:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino

"""One session for a socket: all proxies and the daemon on a connected socket share it.

The socket is the user's. A session holds it, so the other way round is a weak reference: the
session lives as long as somebody uses it, or as long as a part of an answer that nobody waits for
may be in its memory.
"""

from __future__ import annotations

import threading
from weakref import WeakSet, WeakValueDictionary

from pyroipc.client.forks import after_fork
from pyroipc.client.landing import land, land_warily
from pyroipc.errors import PyroError
from pyroipc.settings import config
from pyroipc.transports.stream import ConnectionChannel, StreamChannel
from pyroipc.transports.trust import identify_peer
from pyroipc.wire.message import BEFORE_HELLO
from pyroipc.wire.native import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from collections.abc import Callable
    from typing import Any

    from pyroipc.client.exchange import Exchange
    from pyroipc.client.session import Session
    from pyroipc.settings import Settings
    from pyroipc.transports.trust import Peer

sessions: WeakSet[Session] = WeakSet()
"""All sessions of this process."""
unquiet: set[Exchange] = set()
"""Those that wait for a late answer of an abandoned call; kept alive until it has come."""
_by_socket: WeakValueDictionary[int, Session] = WeakValueDictionary()  # by id of the object
_lock = threading.Lock()


def members_of(group: WeakSet[Any]) -> list[Any]:
    """Return what is in a weak set, which other threads may add to meanwhile."""
    while True:
        try:
            return list(group)
        except RuntimeError:  # it grew just now
            pass


__all__ = [
    "after_fork",
    "members_of",
    "open_channel",
    "open_connection",
    "sessions",
    "shared_session",
    "unquiet",
]


def _new_decoder(make: type[Decoder], peer: Peer, *, idle: bool = False) -> Decoder:
    return make(BEFORE_HELLO, land=land if peer.trusted else land_warily, idle=idle)


def open_channel(
    sock: socket.socket, peer: Peer, settings: Settings, *, owned: bool = False
) -> StreamChannel:
    """Make a channel over a connected socket, with a decoder that expects a hello."""
    if settings.LOGWIRE:
        from pyroipc.client.wirelog import LoggingChannel, LoggingDecoder

        return LoggingChannel(sock, peer, _new_decoder(LoggingDecoder, peer), owned=owned)
    return StreamChannel(sock, peer, _new_decoder(Decoder, peer), owned=owned)


def open_connection(
    sock: socket.socket, peer: Peer, settings: Settings, *, idle: bool
) -> ConnectionChannel:
    """Make a channel over a socket that belongs to it from now on.

    Args:
        sock: a connected socket, or a coat over one.
        peer: what is known of the other end.
        settings: read now.
        idle: take no memory to receive into before something is received.
    """
    if settings.LOGWIRE:
        from pyroipc.client.wirelog import LoggingConnectionChannel, LoggingDecoder

        noting = _new_decoder(LoggingDecoder, peer, idle=idle)
        return LoggingConnectionChannel(sock, peer, noting, owned=True)
    return ConnectionChannel(sock, peer, _new_decoder(Decoder, peer, idle=idle), owned=True)


def shared_session(
    make: Callable[[StreamChannel, Settings], Session],
    sock: socket.socket,
    settings: Settings = config,
    dialect: str = "native",
) -> Session:
    """Return the session of a socket, or make it.

    Raises:
        PyroError: another dialect is spoken over this socket.
    """
    with _lock:
        for waiting in list(unquiet):
            if waiting.channel.sock.fileno() < 0:  # closed by its user: no answer will come
                unquiet.discard(waiting)
        session = _by_socket.get(id(sock))
        if session is None:
            session = make(open_channel(sock, identify_peer(sock), settings), settings)
            _by_socket[id(sock)] = session
        elif dialect not in {session.dialect, ANY}:
            raise PyroError(
                f"the dialect {session.dialect!r} is spoken over this socket already, so "
                f"{dialect!r} cannot be"
            )
        return session


def replace(session: Session) -> None:
    """Have a session stand for its socket from now on, instead of the one that did."""
    with _lock:
        _by_socket[id(session.channel.sock)] = session


ANY = "any"
"""Stands for the dialect that a session has, if there is one already."""


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for session in members_of(sessions):
        session.disown()
    sessions.clear()
    unquiet.clear()
    _by_socket.clear()


after_fork.append(_after_fork_in_child)

"""The session of a connected socket that its user lent: the same for all who use the socket."""

from __future__ import annotations

from pyroipc.client import sharing
from pyroipc.client.session import Session
from pyroipc.settings import config
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket

    from pyroipc.settings import Settings
    from pyroipc.transports.stream import StreamChannel

__all__ = ["session_for", "session_of"]


def session_for(
    sock: socket.socket, settings: Settings = config, dialect: str = NATIVE
) -> Session:
    """Return the session of a connected socket that the user lent, the same for all its proxies.

    The socket is never closed or changed. The session lives as long as somebody uses it.

    Args:
        sock: the socket.
        settings: read if the session is made now.
        dialect: of the peer.

    Raises:
        PyroError: another dialect is spoken over this socket.
    """
    if dialect == NATIVE:
        return sharing.shared_session(Session, sock, settings, NATIVE)

    def make(channel: StreamChannel, settings: Settings) -> Session:
        from pyroipc.client.pyro.session import PyroSession, make_dialect

        spoken = make_dialect(dialect, serving=False)
        return PyroSession(channel, settings, spoken, introduces=False)

    return sharing.shared_session(make, sock, settings, dialect)


def session_of(sock: socket.socket, settings: Settings) -> Session:
    """Return the session of a connected socket, whatever is spoken over it; a new one is native.

    Who serves a socket finds out what its peer speaks.
    """
    return sharing.shared_session(Session, sock, settings, sharing.ANY)

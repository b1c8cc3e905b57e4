"""A connection as a daemon sees it: one client, from its hello until it is gone.

This is what ``current_context.client`` shows, and what the hooks of a daemon
(``validateHandshake``, ``clientDisconnect``) are given. Users may set attributes of their own.
"""

from __future__ import annotations

from pyroipc.errors import CommunicationError, PyroError
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any
    from weakref import WeakSet

    from pyroipc.client.session import Session
    from pyroipc.server.daemon import Daemon
    from pyroipc.server.registry import Entry
    from pyroipc.server.session import ServerSession
    from pyroipc.transports.trust import Peer

_FAMILIES = {1: "Unix", 2: "IPv4", 10: "IPv6", 30: "IPv6", 23: "IPv6"}


class Connection:
    """One client of a daemon.

    Args:
        session: the connection over which it calls.
        daemon: the daemon that serves it.
        handler: runs its requests.
    """

    def __init__(self, session: Session, daemon: Daemon, handler: ServerSession) -> None:
        self.session = session
        """The connection itself."""
        self.daemon = daemon
        """The daemon that serves it."""
        self._handler = handler
        self._hello = None if session.is_open else session.peer_hello
        self._tracked: WeakSet[Any] | None = None

    def wait_elsewhere(self, chain: bytes, what: str) -> AbstractContextManager[None]:
        """Note, as a context manager, that a call of this client waits for another connection.

        Args:
            chain: the correlation id of the call it waits for.
            what: that call, for people.
        """
        return self._handler.host.wait_elsewhere(chain, what)

    @property
    def was_used(self) -> bool:
        """Whether a client has been here."""
        return self.session.peer_hello is not None and self.session.peer_hello is not self._hello

    def introduce(self, handshake: Any) -> Any:
        """Give the daemon the handshake of the client; return its answer.

        Raises:
            CommunicationError: the daemon refuses the client.
        """
        try:
            answer = self.daemon.validateHandshake(self, handshake)
        except Exception as error:
            self._handler.refuse()
            raise CommunicationError(f"connection rejected: {error}") from error
        self._handler.admit()
        return answer

    def next_item(self, stream_id: str) -> Any:
        """Return the next item of a stream whose items are asked for.

        Raises:
            StopIteration: there is none.
            PyroError: there is no such stream, or not any more.
        """
        ask = getattr(self._handler.host.streams, "next_item", None)
        if ask is None:  # those of our own clients are pushed
            raise PyroError("item stream terminated")
        return ask(stream_id)

    def close_item_stream(self, stream_id: str) -> None:
        """Close a stream whose items are asked for; an unknown one is ignored."""
        streams: Any = self._handler.host.streams
        if hasattr(streams, "next_item"):
            streams.close(stream_id)

    def entry(self, object_id: str) -> Entry:
        """Return what this client may call under an object id.

        Raises:
            DaemonError: there is nothing.
        """
        return self._handler.dispatcher.entry(object_id)

    def object_ids(self) -> list[str]:
        """Return the ids of what this client may call without having been given a reference."""
        return sorted(self._handler.dispatcher.entries)

    @property
    def is_pyro(self) -> bool:
        """Whether the client speaks a dialect of Pyro's."""
        return self.session.dialect != NATIVE

    @property
    def sock(self) -> Any:
        """The socket."""
        return self.session.channel.sock

    @property
    def peer(self) -> Peer:
        """What the kernel says about the other end."""
        return self.session.peer

    @property
    def tracked_resources(self) -> WeakSet[Any]:
        """What is closed when the client is gone; held weakly."""
        if self._tracked is None:
            from weakref import WeakSet

            self._tracked = WeakSet()
        return self._tracked

    def family(self) -> str:
        """Return ``"Unix"``, ``"IPv4"``, ``"IPv6"`` or ``"???"``."""
        return _FAMILIES.get(int(self.sock.family), "???")

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the certificate that the client has shown in TLS.

        Returns:
            Its fields, as :meth:`ssl.SSLSocket.getpeercert` returns them; empty if it was not
            verified. None: it has shown none, or this is no TLS connection.
        """
        ask = getattr(self.sock, "getpeercert", None)
        certificate: dict[str, Any] | None = None if ask is None else ask()
        return certificate

    def fileno(self) -> int:
        """Return the number of the socket's descriptor."""
        return int(self.sock.fileno())

    def close_resources(self) -> None:
        """Call ``close`` of all that is tracked; what that raises is logged."""
        tracked, self._tracked = self._tracked, None
        for resource in list(tracked or ()):
            try:
                resource.close()
            except Exception:
                from logging import getLogger

                getLogger("pyroipc.server").warning(
                    "closing the tracked resource %r failed", resource, exc_info=True
                )

    def __repr__(self) -> str:
        hello = self.session.peer_hello
        who = f"process {hello.pid}" if hello is not None else "a client that said no hello"
        return f"<pyroipc connection of {who}, {self.family()}>"

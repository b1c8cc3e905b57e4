"""What a daemon tells about its addresses, and what programs with a loop of their own use."""

from __future__ import annotations

from pyroipc.errors import DaemonError, PyroError
from pyroipc.uri import CONNECTED_SOCKET, URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any

    from pyroipc.location import Location
    from pyroipc.server.listening import Listening
    from pyroipc.settings import Settings
    from pyroipc.transports.readiness import Readiness


class Addressed:
    """The base of a daemon: its addresses, if it has any."""

    _listening: Listening | None = None
    _service: Any
    _closed: bool
    settings: Settings

    def _uri(self, object_id: str, *, nat: bool = True) -> URI:
        if self._listening is None:
            return URI.for_connected_socket(object_id)
        return URI(f"PYRO:{object_id}@{self._listening.location(nat=nat)}")

    @property
    def locationStr(self) -> str:
        """Where the daemon listens, as in its URIs but for NAT: ``host:port`` or ``./u:path``."""
        return CONNECTED_SOCKET if self._listening is None else str(self._listening.published)

    @property
    def natLocationStr(self) -> str | None:
        """The address that is valid outside of the router, or None."""
        nat = None if self._listening is None else self._listening.nat
        return None if nat is None else str(nat)

    @property
    def locations(self) -> list[Location]:
        """All addresses at which the daemon listens."""
        return [] if self._listening is None else list(self._listening.locations)

    @property
    def _pyroHmacKey(self) -> bytes | None:
        """What clients have to know, in bytes, or None; a str is taken in UTF-8.

        A new key is for those who connect from now on.

        Raises:
            PyroError: it is set for a daemon on a connected socket.
        """
        listening = self._listening
        return None if listening is None else listening.access.hmac_key or None

    @_pyroHmacKey.setter
    def _pyroHmacKey(self, key: bytes | str | None) -> None:
        from pyroipc.client.connecting import key_of

        if self._listening is not None:
            self._listening.access.hmac_key = key_of(key or b"", self.settings)
        elif key:
            raise PyroError("a connected socket takes no HMAC key: nobody else has its other end")

    def _check_class(self) -> None:
        """Refuse a key that is an attribute of the class, where nobody would ask for it.

        Raises:
            PyroError: there is one.
        """
        if not isinstance(type(self)._pyroHmacKey, property):
            raise PyroError(
                f"{type(self).__name__}._pyroHmacKey keeps nobody out: give the key to each "
                "daemon (hmac_key=, or its attribute _pyroHmacKey), or set HMAC_KEY for all"
            )

    @property
    def _network(self) -> Listening:
        if self._listening is None or self._closed:
            raise DaemonError("this daemon is closed, or does not listen: it has no sockets")
        return self._listening

    @property
    def sock(self) -> socket.socket:
        """The first listening socket."""
        return self._network.listeners[0].sock  # type: ignore[return-value]

    @property
    def sockets(self) -> list[socket.socket]:
        """What a program with a loop of its own waits for, to call :meth:`events` then.

        Ask for it each time. Of a daemon with threads it is the listening sockets: the threads
        serve the clients. Otherwise something else comes last, which has a ``fileno`` as well and
        stands for all clients.
        """
        return self._network.loop.sockets

    @property
    def selector(self) -> Readiness:
        """Has a ``fileno`` that is readable when there is something to do: for :meth:`events`."""
        return self._network.loop.readiness

    def events(self, eventsockets: Iterable[Any] = ()) -> None:
        """Do what there is to do now, and return; for programs with a loop of their own.

        Call it at least every second or so, also when nothing is ready: it looks who is overdue.

        Args:
            eventsockets: those of :attr:`sockets` that are readable. It does not matter which.
        """
        self._network.loop.handle_events()

    def combine(self, daemon: Addressed) -> None:
        """Have the request loop of this daemon serve another one's clients as well.

        Each of the two can be closed; the other one is served on.

        Args:
            daemon: one that listens; its own loop must not run.

        Raises:
            DaemonError: its loop runs, or one of the two does not listen, or is closed.
        """
        if daemon._service is not None and daemon is not self:
            raise DaemonError("the request loop of that daemon runs already")
        daemon._network.join(self._network.loop)

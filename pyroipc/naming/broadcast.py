"""Answers those who ask the whole network for a name server, as Pyro does.

The question is the datagram ``GET_NSURI``, and nothing else gets an answer. The answer is the URI
of the name server, inside of a router: who asks by broadcast is there, too. A name server that
listens at all addresses, or at several, answers with the one that leads to whoever asks.

The sender of a datagram can be forged, and the answer is longer than the question. So there are
only so many answers a second, and only so many to the same address.
"""

from __future__ import annotations

import _socket as socket
import select
import threading
from _warnings import warn  # the C part of warnings
from time import monotonic

from pyroipc.client.broadcasting import QUESTION
from pyroipc.errors import ConnectError, DaemonError, NamingError
from pyroipc.location import Location
from pyroipc.server.addressing import Addressed
from pyroipc.settings import config
from pyroipc.transports import addresses, descriptors
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Final, Self

    from pyroipc.server.loops.network import NetworkLoop
    from pyroipc.settings import Settings

__all__ = ["BroadcastServer"]

_ANSWERS_MAX: Final = 500
"""In a second, to all."""
_ANSWERS_TO_ONE_MAX: Final = 20
"""In a second, to one address."""
_AT_ONCE: Final = 64
"""So many datagrams are looked at before others have their turn."""
_LISTENING_SECONDS = 0.5


class BroadcastServer(Addressed):
    """Answers broadcasts on a UDP port.

    It works on a thread (:meth:`runInThread`), in the loop of a daemon (``daemon.combine``), or in
    a loop of the user's own that calls :meth:`processRequest` when :meth:`fileno` is readable.

    Args:
        nsUri: the URI of the name server, inside of a router.
        bchost: the address to be asked at; None: the setting NS_BCHOST, or all of them.
        bcport: the port; 0: any free one. None: the setting NS_BCPORT.
        more: the URIs of its other addresses.
        settings: read once, now.

    Raises:
        DaemonError: the address cannot be had.
        NamingError: the name server has no IPv4 address: broadcasts exist only there.
    """

    def __init__(
        self,
        nsUri: str | URI,  # noqa: N803 - as in Pyro
        bchost: str | None = None,
        bcport: int | None = None,
        *,
        more: Iterable[URI] = (),
        settings: Settings = config,
    ) -> None:
        self._uris = [uri for uri in (URI(nsUri), *more) if _can_answer_with(uri)]
        if not self._uris:
            raise NamingError(
                f"{nsUri} cannot be found by broadcast: they exist with IPv4 only, and nobody "
                "else reaches this machine's loopback or unix sockets"
            )
        host = settings.NS_BCHOST if bchost is None else bchost
        port = settings.NS_BCPORT if bcport is None else bcport
        self._socket = _bound(host or "", port, settings)
        own_host, own_port = self._socket.getsockname()
        self.location = Location(own_host, own_port)
        """Where it is asked."""
        self._second = 0
        self._answers: dict[str, int] = {}
        self._answered = 0
        self._loop: NetworkLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    _service = None  # it has no loop that runs, which is what combine() wants to know

    @property
    def sock(self) -> Any:
        """The UDP socket."""
        return self._socket

    @property
    def locationStr(self) -> str:  # noqa: N802 - as in Pyro
        """Where it is asked, as text."""
        return str(self.location)

    def getPort(self) -> int:  # noqa: N802 - as in Pyro
        """Return the port."""
        assert self.location.port is not None
        return self.location.port

    def fileno(self) -> int:
        """Return the number of the descriptor; -1 once it is closed."""
        return int(self._socket.fileno())

    # --- answering -------------------------------------------------------------------------------

    def processRequest(self) -> None:  # noqa: N802 - as in Pyro
        """Answer those who have asked; returns at once."""
        for _ in range(_AT_ONCE):
            try:
                # One byte more than the question has: a longer datagram is not taken for it.
                data, sender = self._socket.recvfrom(len(QUESTION) + 1)
            except BlockingIOError:
                return
            except OSError:  # closed; or an answer was refused, which says nothing here
                if self.fileno() < 0:
                    return
                continue
            if data == QUESTION and self._may_answer(sender[0]):
                self._answer(sender)

    def _may_answer(self, host: str) -> bool:
        second = int(monotonic())
        if second != self._second:
            self._second, self._answered = second, 0
            self._answers.clear()
        number = self._answers.get(host, 0)
        if self._answered >= _ANSWERS_MAX or number >= _ANSWERS_TO_ONE_MAX:
            return False
        self._answers[host] = number + 1
        self._answered += 1
        return True

    def _answer(self, sender: tuple[str, int]) -> None:
        uri = _uri_towards(sender[0], self._uris)
        if uri is None:
            return
        try:
            self._socket.sendto(str(uri).encode("iso-8859-1"), sender)
        except (OSError, UnicodeEncodeError) as error:
            _log().debug("no answer to %s: %s", sender[0], error)

    # --- on a thread of its own ------------------------------------------------------------------

    def runInThread(self) -> threading.Thread:  # noqa: N802 - as in Pyro
        """Answer on a thread of its own until :meth:`close`; return the thread."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="pyroipc-broadcast", daemon=True
                )
                self._thread.start()
            return self._thread

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while self.fileno() >= 0:
            if poll.poll(_LISTENING_SECONDS * 1000):
                self.processRequest()

    # --- in a loop ------------------------------------------------------------------------------

    @property
    def _network(self) -> Any:  # what combine() wants of a daemon: it joins a loop
        if self.fileno() < 0:
            raise DaemonError("this responder is closed")
        return self

    @property
    def sockets(self) -> list[Any]:
        """What a program with a loop of its own waits for, to call :meth:`events` then."""
        return [self._socket]

    def events(self, eventsockets: Iterable[Any] = ()) -> None:
        """Do what there is to do now, and return."""
        self.processRequest()

    def join(self, loop: NetworkLoop) -> None:
        """Have the loop of a daemon look after the socket; ``combine`` calls this."""
        with self._lock:
            if loop is not self._loop:
                self._leave()
                self._loop = loop
                loop.take_in(self, [self], _nobody, _nothing)  # type: ignore[list-item]

    def accept(self) -> None:
        """Answer those who have asked; nobody is to be let in, which is what None says."""
        self.processRequest()

    def _leave(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.let_go(self, [self], "the responder was closed")  # type: ignore[list-item]

    def close(self) -> None:
        """Answer no more; any number of times."""
        with self._lock:
            self._leave()
            # The kernel ends a poll for a descriptor that is shut down, but not for a closed one.
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it never had a peer
            descriptors.close(self._socket)
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(
        self,
        # When the interpreter ends, nothing can be imported, and globals may be gone.
        _close: Callable[[socket.socket], None] = descriptors.close_soon,
        _warn: Callable[..., None] = warn,
    ) -> None:
        sock = self.__dict__.get("_socket")
        if sock is not None and sock.fileno() >= 0:
            _close(sock)
            _warn("unclosed broadcast server", ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        state = "" if self.fileno() >= 0 else "; closed"
        return f"<pyroipc.BroadcastServer at {self.locationStr}{state}>"


def _bound(host: str, port: int, settings: Settings) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    descriptors.own(sock)
    try:
        sock.settimeout(0)
        if settings.SOCK_REUSE:  # several name servers of a machine all answer
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind((host, port))
    except (OSError, OverflowError, TypeError) as error:
        descriptors.close(sock)
        raise DaemonError(
            f"cannot listen for broadcasts at {host or 'all addresses'}, port {port}: {error}; "
            "choose another one with bchost= and bcport=, or do without (enableBroadcast=False)"
        ) from error
    return sock


def _can_answer_with(uri: URI) -> bool:
    """Say whether somebody in the network could use a URI, and speaks its IP version."""
    host = uri.host
    return host is not None and not addresses.is_loopback(host) and ":" not in host


def _uri_towards(client: str, uris: Sequence[URI]) -> URI | None:
    """Return the URI with the address that leads to a client; None: there is none."""
    first = uris[0]
    wildcard = next((uri for uri in uris if addresses.is_wildcard(uri.host or "")), None)
    if wildcard is None and len(uris) == 1:
        return first
    try:
        own = addresses.interface_towards(client)
    except ConnectError:
        return None if wildcard is first else first
    for uri in uris:
        if uri.host == own:
            return uri
    if wildcard is not None:
        return URI(f"PYRO:{wildcard.object}@{Location(own, wildcard.port)}")
    return first


def _nobody(_sock: object) -> None:
    return None


def _nothing() -> None:
    return None


def _log() -> Any:
    from pyroipc import logs

    return logs.get("naming")

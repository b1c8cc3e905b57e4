"""Asking the networks of this machine for a name server, by broadcast.

The question is the datagram ``GET_NSURI``, the answer the URI of the name server as text; both are
Pyro's. Whoever is in the network can answer, and nothing proves who it was: an answer is a hint,
and no more. It is not even that unless it is the URI of an object ``Pyro.NameServer``.

A broadcast leaves through one interface, the one that the system likes best. A machine that is in
several networks asks in each of them, from a socket that has the address of that interface.
"""

from __future__ import annotations

import _socket as socket
import select
from time import monotonic

from pyroipc.errors import PyroError
from pyroipc.transports import addresses, descriptors
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import Final

__all__ = ["NAMESERVER_NAME", "QUESTION", "ask"]

QUESTION: Final = b"GET_NSURI"
"""The datagram that asks for a name server."""
NAMESERVER_NAME: Final = "Pyro.NameServer"
"""The id of the object that is one."""

_ROUNDS = 3
_ROUND_SECONDS = 0.7
_ANSWER_BYTES_MAX = 512
_ANSWERS_MAX = 16
"""What comes after so many different answers is not looked at."""
_EVERYBODY = {"<broadcast>": "255.255.255.255"}


def ask(
    targets: Iterable[str], port: int, deadline: float | None = None
) -> Generator[URI, None, None]:
    """Ask for a name server; yield each different answer as soon as it has come.

    Args:
        targets: addresses, or ``"<broadcast>"``.
        port: that of the name servers' responders.
        deadline: absolute, by the monotonic clock; it all ends after 2.1 seconds at the latest.
    """
    hosts = [_EVERYBODY.get(target, target) for target in targets]
    sockets = _open_sockets()
    try:
        yield from _ask(sockets, hosts, port, deadline)
    finally:
        for sock in sockets.values():
            descriptors.close(sock)


def _open_sockets() -> dict[int, socket.socket]:
    """Make a socket for the system to choose the interface, and one for each interface."""
    sockets = {}
    own = [host for host in addresses.reachable_hosts() if addresses.ip_version(host) == 4]
    for host in ("", *own):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        descriptors.own(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.settimeout(0)
            sock.bind((host, 0))
        except OSError:  # the interface is gone
            descriptors.close(sock)
        else:
            sockets[sock.fileno()] = sock
    return sockets


def _ask(
    sockets: dict[int, socket.socket], hosts: list[str], port: int, deadline: float | None
) -> Generator[URI, None, None]:
    seen: set[URI] = set()
    poll = select.poll()
    for fd in sockets:
        poll.register(fd, select.POLLIN)
    for _ in range(_ROUNDS):
        end = monotonic() + _ROUND_SECONDS
        if deadline is not None:
            end = min(end, deadline)
        _send(sockets.values(), hosts, port)
        while len(seen) < _ANSWERS_MAX:
            seconds = end - monotonic()
            if seconds <= 0:
                break
            for fd, _ in poll.poll(seconds * 1000):
                uri = _receive(sockets[fd])
                if uri is not None and uri not in seen:
                    seen.add(uri)
                    yield uri
        if deadline is not None and monotonic() >= deadline:
            return


def _send(sockets: Iterable[socket.socket], hosts: list[str], port: int) -> None:
    for sock in sockets:
        for host in hosts:
            try:
                sock.sendto(QUESTION, (host, port))
            except OSError:
                pass  # no network leads there from this interface; another one may


def _receive(sock: socket.socket) -> URI | None:
    """Return what was answered; None: nothing that makes sense."""
    try:
        answer, sender = sock.recvfrom(_ANSWER_BYTES_MAX)
    except OSError:  # nobody listens at a host that was asked directly
        return None
    try:
        uri = URI(answer.decode("iso-8859-1"))
    except PyroError:
        return None
    if uri.protocol != "PYRO" or uri.object != NAMESERVER_NAME or uri.host is None:
        return None
    if addresses.is_wildcard(uri.host):  # "all my addresses": it has answered from one of them
        return URI(f"PYRO:{NAMESERVER_NAME}@{sender[0]}:{uri.port}")
    return uri

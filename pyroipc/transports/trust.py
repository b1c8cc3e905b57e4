"""Which peer is local and trusted: the kernel's word, never the peer's own.

A peer is *verified local* when it is at the other end of an AF_UNIX socket and the kernel says
that it runs, or that the pair was made, under our effective user id; or when this library made
the pair itself. Only such peers may use serializers whose loading can run code.
"""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os
import struct
import sys

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_XUCRED = struct.Struct("=IIh14xI")  # struct xucred of the BSDs: version, uid, ngroups, gid
_FAR_REASON = "a socket of this family can reach any process or machine"
_FAR_REASONS = {
    int(getattr(socket, name)): f"an {name} socket can reach any process or machine"
    for name in ("AF_INET", "AF_INET6")
    if hasattr(socket, name)
}
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1


class Peer:
    """What is known about the process at the other end of a channel.

    ``trusted`` says whether it is verified local, and ``reason`` in words why or why not;
    ``uid`` and ``pid`` are the kernel's answers, or None where it gives none. For a socketpair
    they are those of the process that made the pair.
    """

    __slots__ = ("address", "pid", "reason", "trusted", "uid")

    def __init__(
        self,
        *,
        trusted: bool,
        reason: str,
        uid: int | None = None,
        pid: int | None = None,
        address: object = "",
    ) -> None:
        self.trusted = trusted
        self.reason = reason
        self.uid = uid
        self.pid = pid
        self.address = address

    def __repr__(self) -> str:
        return f"<Peer {'trusted' if self.trusted else 'not trusted'}: {self.reason}>"


def own_pair_peer() -> Peer:
    """Describe the peer of a pair that this library made itself and never gave away."""
    uid = os.geteuid() if hasattr(os, "geteuid") else None
    return Peer(trusted=True, reason="the pair was made by pyroipc itself", uid=uid)


def identify_peer(sock: socket.socket) -> Peer:
    """Ask the kernel who is at the other end of a connected stream socket."""
    if not hasattr(socket, "AF_UNIX") or sock.family != socket.AF_UNIX:
        return Peer(
            trusted=False,
            reason=_FAR_REASONS.get(int(sock.family), _FAR_REASON),
            address=_address(sock),
        )
    try:
        pid, uid = _peer_credentials(sock)
    except OSError as error:
        return Peer(trusted=False, reason=f"the kernel does not say who the peer is: {error}")
    ours = os.geteuid()
    if uid != ours:
        reason = f"the peer of the unix socket has user id {uid}, this process has {ours}"
        return Peer(trusted=False, reason=reason, uid=uid, pid=pid, address=_address(sock))
    reason = f"the peer of the unix socket has our user id {ours}"
    return Peer(trusted=True, reason=reason, uid=uid, pid=pid, address=_address(sock))


def _peer_credentials(sock: socket.socket) -> tuple[int | None, int]:
    if sys.platform == "linux":
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(data)
        return pid or None, uid
    data = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
    return None, _XUCRED.unpack_from(data)[1]


def _address(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return ""

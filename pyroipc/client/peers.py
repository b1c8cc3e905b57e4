"""What a session can tell about the process at the other end: kinship, and how it ended."""

from __future__ import annotations

import os
from time import monotonic

from pyroipc.errors import ConnectionClosedError, PeerDiedError
from pyroipc.serializers import main_names
from pyroipc.serializers.base import PeerImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from pyroipc.errors import PyroError
    from pyroipc.protocol.hello import Hello

    _E = TypeVar("_E", bound=PyroError)

_EXIT_SECONDS = 0.5
"""How long to wait for the exit of a process that closed its end: it follows within a
millisecond if the process is dying."""


def fresh_copy(error: _E, **attributes: object) -> _E:
    """Copy an error for another raise, so that tracebacks of several threads do not mix."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__, **attributes)
    return copy


def exit_text(pid: int, exitcode: int | None) -> str:
    """Say how a process ended; ``exitcode`` as in multiprocessing, None if it is not known."""
    if exitcode is None:
        return f"process {pid} ended"
    if exitcode >= 0:
        return f"process {pid} exited with code {exitcode}"
    name = PeerDiedError("", pid=pid, exitcode=exitcode).signal_name
    return f"process {pid} was killed by {name}"


def explain_end(error: ConnectionClosedError, hello: Hello | None) -> ConnectionClosedError:
    """Find out whether the stream ended because the peer died, if it is a child of ours.

    Nothing is reaped: whoever made the child still can wait for it.
    """
    if hello is None or not hello.pid or hello.pid == os.getpid() or not hasattr(os, "waitid"):
        return error
    try:
        exitcode = _peek_exit(hello.pid, _EXIT_SECONDS)
    except OSError:  # not a child of ours, or no descriptor is left to find out with
        return _named(error, hello.pid)
    if exitcode is None:
        return _named(error, hello.pid)
    text = f"the peer died: {exit_text(hello.pid, exitcode)}"
    return PeerDiedError(text, pid=hello.pid, exitcode=exitcode)


def _named(error: ConnectionClosedError, pid: int) -> ConnectionClosedError:
    return ConnectionClosedError(f"{error} (the peer was process {pid})")


def _peek_exit(pid: int, seconds: float) -> int | None:
    """Return the exit code of a child without reaping it; None if it still runs."""
    deadline = monotonic() + seconds
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None and hasattr(os, "pidfd_open"):
        import select

        fd = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(0.0, deadline - monotonic()) * 1000)
        finally:
            os.close(fd)
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def peer_image(hello: Hello | None) -> PeerImage:
    """Say what the peer shares with this process, from its hello."""
    return PeerImage() if hello is None else main_names.peer_image(hello.image)

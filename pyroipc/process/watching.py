"""A child process as its parent sees it: alive, or ended and how.

The watch is the child's pidfd, which becomes readable when the process ends; where there is none,
it is the parent's end of the lifeline, which ends with the child. Only this very process is ever
waited for, and exactly once.
"""

from __future__ import annotations

import os
import select
import threading
from time import monotonic

from pyroipc.client.peers import exit_text
from pyroipc.errors import ConnectionClosedError, PeerDiedError
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    import signal

    from pyroipc.protocol.hello import Hello

_EXIT_SECONDS = 0.5
"""How long to wait for the exit of a child whose stream ended. It follows within a fraction of a
millisecond, unless the child closed its descriptors and lives on."""
_GRAIN_SECONDS = 0.001


class Child:
    """A child of this process. All methods may be called by any thread.

    Args:
        pid: made by this process and not waited for by anybody yet.
        life: the parent's end of its lifeline; belongs to this object from now on.
    """

    kind = "process"

    def __init__(self, pid: int, life: socket.socket) -> None:
        self.pid = pid
        self.exitcode: int | None = None
        """As in multiprocessing: the exit code, or minus the signal; None: unknown."""
        self.ended = False
        self.stopping = False
        """Whether it was told to stop, so that its end surprises nobody."""
        self.owner = os.getpid()
        self._life = life
        self._pidfd = _open_pidfd(pid)
        self._lock = threading.RLock()  # a signal handler may come in between and ask, too
        self._waiting = 0
        self._released = False

    def wait(self, seconds: float | None) -> bool:
        """Wait until the child has ended; say whether it has.

        Args:
            seconds: at most; None: as long as it takes; 0: just look.
        """
        with self._lock:
            if self.ended or self.owner != os.getpid():
                return self.ended
            self._waiting += 1
        try:
            watch = self._pidfd if self._pidfd is not None else self._life.fileno()
            if not readable(watch, seconds):
                return False
            with self._lock:
                if not self.ended and self._collect():
                    self.ended = True
                return self.ended
        finally:
            with self._lock:
                self._waiting -= 1
                if self._released:
                    self._close()

    def _collect(self) -> bool:
        """Reap the child, which has ended or is just about to; say whether that is so."""
        deadline = monotonic() + _EXIT_SECONDS
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else reaped it, or SIGCHLD is ignored
                return True
            if pid:
                self.exitcode = os.waitstatus_to_exitcode(status)
                return True
            if monotonic() > deadline:
                return False
            readable(-1, _GRAIN_SECONDS)  # without a pidfd: the lifeline ends a moment earlier

    def send_signal(self, number: signal.Signals) -> None:
        """Send the child a signal, unless it has ended."""
        if self.wait(0):
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # somebody else reaped it just now

    def explain(self, error: ConnectionClosedError, _: Hello | None) -> ConnectionClosedError:
        """Say why the stream from the child ended."""
        if not self.wait(_EXIT_SECONDS):
            text = f"{error} (the child, process {self.pid}, still runs)"
            return ConnectionClosedError(text)
        if self.stopping and not self.exitcode:
            return ConnectionClosedError(f"the child, process {self.pid}, was told to stop")
        text = f"the child died: {exit_text(self.pid, self.exitcode)}"
        return PeerDiedError(text, pid=self.pid, exitcode=self.exitcode)

    def check(self) -> None:
        """Find out about a death that the stream does not tell, because somebody holds it open.

        Raises:
            ConnectionClosedError: the child has ended.
        """
        if self.wait(0):
            raise ConnectionClosedError("the child ended")

    def release(self) -> None:
        """Close the descriptors of the watch; the lifeline too, which ends a child that lives."""
        with self._lock:
            self._released = True
            if not self._waiting:
                self._close()

    def _close(self) -> None:
        if self.owner != os.getpid():
            return  # closed at the fork, and the numbers may be somebody else's by now
        descriptors.close(self._life)
        if self._pidfd is not None:
            descriptors.close_number(self._pidfd)
            self._pidfd = None

    def describe(self) -> str:
        """Say in words what it is and how it is, for a repr."""
        if self.owner != os.getpid():
            return f"process {self.pid}, a child of process {self.owner}"
        return exit_text(self.pid, self.exitcode) if self.wait(0) else f"process {self.pid} runs"


def _open_pidfd(pid: int) -> int | None:
    """Open the pidfd of a child that nobody has waited for, or None where that cannot be had."""
    try:
        with descriptors.lock:
            return descriptors.own_number(os.pidfd_open(pid))
    except (AttributeError, OSError):
        return None


def readable(fd: int, seconds: float | None) -> bool:
    """Wait until a descriptor is readable or at its end; say whether it is. -1: just wait."""
    poll = select.poll()
    if fd >= 0:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))

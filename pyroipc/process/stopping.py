"""The end of a child: drain, stop, SIGTERM, SIGKILL; dropped handles; the end of the interpreter.

A :class:`Lease` joins what is to be stopped (a process or a thread) with the connection to it. It
does not keep the connection alive: when nobody uses that any more, neither the handle nor a proxy
nor a method of it, the socket is closed, which ends the child, and the child waits in a list to
be reaped.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections import deque
from time import monotonic

from pyroipc.errors import PyroError
from pyroipc.server.daemon import DAEMON_NAME
from pyroipc.transports import descriptors
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    from typing import TypeAlias

    from pyroipc.client.session import Session
    from pyroipc.process.thread import HostThread
    from pyroipc.process.watching import Child

    Host: TypeAlias = Child | HostThread

CLOSE_SECONDS = 10.0
"""How long ``close()`` takes at most, unless it is told otherwise."""
_EXIT_SECONDS = 5.0
"""How long all children together may take to stop at the end of the interpreter."""
_POLITE_SHARE = 0.6
_TERM_SHARE = 0.8
_KILL_SECONDS = 1.0
"""A killed process is waited for at least this long: the kernel does not take its time."""

_leases: set[Lease] = set()
_dropped: deque[Lease] = deque()


class Lease:
    """A child or thread that hosts an object, and the connection to it.

    Args:
        host: what is to be stopped.
        session: the connection; not kept alive, but for its socket.
    """

    def __init__(self, host: Host, session: Session) -> None:
        self.host = host
        self._sock: socket.socket = session.channel.sock
        self._lock = threading.RLock()
        self._asked = False
        self._closed = False
        self._session = weakref.ref(session, self._drop)
        _leases.add(self)  # the callback needs the reference, and the reference needs us
        _watch_the_exit()

    def _drop(self, _: object) -> None:
        """Nobody uses the connection any more. Called by the garbage collector: never waits."""
        if self._closed or self.host.owner != os.getpid():
            return
        self.host.stopping = True
        descriptors.close_soon(self._sock)
        _dropped.append(self)

    def stop(self, seconds: float | None) -> None:
        """End it within ``seconds``, politely if possible; None: politely, however long it takes.

        Any number of times, by any thread; in a forked child it does nothing.
        """
        if self.host.owner != os.getpid():
            return
        start = monotonic()
        if not self._lock.acquire(timeout=-1 if seconds is None else max(0.0, seconds)):
            return  # another thread is stopping it
        try:
            if not self._closed:
                self.host.stopping = True
                polite = None if seconds is None else start + seconds * _POLITE_SHARE
                self.ask(polite)
                self._drain(polite)
                if not self.host.wait(_rest(polite)) and seconds is not None:
                    self._force(start, seconds)
                self._finish()
        finally:
            self._lock.release()

    def ask(self, deadline: float | None) -> None:
        """Ask it to end, once; its answer is that it ends."""
        session = self._session()
        if self._asked or session is None or self.host.wait(0):
            return
        self._asked = True
        try:
            session.check()
            if not session.is_open:  # never greeted: then it has nothing to finish
                self._sock.shutdown(1)
                return
            codec = session.codecs.get("pickle")
            payload = codec.dumps_call(DAEMON_NAME, "stop", (), None)
            data = codec.request(session.next_id(), payload, flags=ONEWAY)
            parts = [data] if isinstance(data, bytes) else [*data]
            if session.sending.acquire(timeout=_lock_timeout(deadline)):
                try:
                    session.channel.send_parts(parts, deadline)
                finally:
                    session.sending.release()
        except (PyroError, OSError):
            pass  # it is gone, or does not read: waiting for it will tell

    def _drain(self, deadline: float | None) -> None:
        """Read what still comes, so that it need not wait for a reader, until the stream ends."""
        session = self._session()
        held = False
        while session is not None and not self.host.wait(0):
            try:
                session.check()
                for held in map(session.lead.acquire, (True,), (_lock_timeout(deadline),)):  # noqa: B007
                    break
                if not held:
                    return
                session.receive_request(deadline)
            except PyroError:  # the stream has ended, or the time is up
                return
            finally:
                if held:  # not by a call: a signal handler could raise on entering it
                    held = False
                    session.lead.release()
                    if session.waiters:
                        session.invite()

    def _force(self, start: float, seconds: float) -> None:
        """It did not end by itself: first SIGTERM, then SIGKILL. A thread can only be left."""
        host = self.host
        if host.kind == "process":
            _warn("process %d did not stop within %.3g s: SIGTERM", host.pid, seconds * 0.6)
            host.send_signal(signal.SIGTERM)
            if host.wait(start + seconds * _TERM_SHARE - monotonic()):
                return
            _warn("process %d did not end on SIGTERM: SIGKILL", host.pid)
            host.send_signal(signal.SIGKILL)
        if not host.wait(max(start + seconds - monotonic(), _KILL_SECONDS)):
            _warn("%s did not end; it is left alone", host.describe())

    def abort(self, *, own_end: bool) -> None:
        """After a failed start: end it, politely if it is about to end by itself."""
        if own_end:
            self.stop(_EXIT_SECONDS)
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.host.stopping = True
        self.host.send_signal(signal.SIGKILL)
        with self._lock:
            if not self._closed:
                self.host.wait(_KILL_SECONDS)
                self._finish()

    def _finish(self) -> None:
        """Give back what it held. What still runs is watched from the list of dropped ones."""
        self._closed = True
        session = self._session()
        with descriptors.lock:
            if session is not None:
                session.close()
            descriptors.close(self._sock)
        if self.host.wait(0):
            self.host.release()
            _leases.discard(self)
        else:
            _dropped.append(self)

    def reap(self) -> bool:
        """Reap it if it has ended; say whether it has. Never waits."""
        if self.host.owner == os.getpid() and not self.host.wait(0):
            return False
        self.host.release()
        _leases.discard(self)
        return True


def reap_dropped() -> None:
    """Reap the children that ended after their handles were dropped."""
    for _ in range(len(_dropped)):
        try:
            lease = _dropped.popleft()
        except IndexError:
            return
        if not lease.reap():
            _dropped.append(lease)


def stop_all(seconds: float = _EXIT_SECONDS) -> None:
    """Stop everything that this process started and did not stop; all at the same time."""
    deadline = monotonic() + seconds
    leases = list(_leases)
    for lease in leases:
        lease.ask(deadline)
    for lease in leases:
        lease.stop(max(0.0, deadline - monotonic()))
    for lease in list(_dropped):
        if not lease.reap():
            lease.kill()


_watching = False


def _watch_the_exit() -> None:
    global _watching
    if not _watching:
        _watching = True
        atexit.register(stop_all)


def _forget() -> None:
    global _watching
    _watching = False
    _leases.clear()
    _dropped.clear()
    atexit.unregister(stop_all)


descriptors.forget_in_children(_forget)


def _rest(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


def _lock_timeout(deadline: float | None) -> float:
    return -1 if deadline is None else max(0.0, deadline - monotonic())


def _warn(text: str, *args: object) -> None:
    import logging

    logging.getLogger("pyroipc.process").warning(text, *args)


def log(text: str, *args: object) -> None:
    """Log something for the curious (INFO), if this program logs at all."""
    logging = sys.modules.get("logging")
    if logging is not None:  # else nobody can have asked for it
        logging.getLogger("pyroipc.process").info(text, *args)

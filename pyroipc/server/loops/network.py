"""The loop of a daemon that listens: any number of clients, and a thread only for running calls.

All connections are in one selector, and the leader of the loop waits on that
(:mod:`pyroipc.server.loops.relay` says who leads). It takes the requests that have arrived, one
client after the other, and runs each on the spot; so a call costs no hand-off between threads, an
idle connection costs no thread, and a busy client waits only for those before it. If a call takes
long, another thread takes the lead; if a client's calls usually do, it is asked to beforehand.
When only one client asks, the leader looks at its socket for a moment before it asks the selector.

======================  =======================================================================
what there is too much  what happens
======================  =======================================================================
calls at once           they wait for a thread for ``busy`` seconds; then the answer is BusyError
oneway calls            they wait, in order; only so many threads run them
silent clients          one that has not said hello is cut off after ``handshake`` seconds
idle clients            cut off after ``idle`` seconds, if that is set
deaf clients            nothing more is read from them; they are cut off after ``write`` seconds
descriptors             accepting pauses for a moment, and begins again by itself
======================  =======================================================================

A *single* loop (``SERVERTYPE`` ``"multiplex"``) has one thread only: calls run strictly one after
the other, on the thread that runs the loop. If that one waits for a call to another daemon, a
helper takes requests meanwhile, so that one that goes round in a circle is told so.
"""

from __future__ import annotations

import threading
from time import monotonic

from pyroipc.context import running
from pyroipc.errors import DaemonError
from pyroipc.server.loops.leading import Leading
from pyroipc.server.loops.overload import Lanes, send_what_is_owed
from pyroipc.server.loops.relay import FINISH_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from pyroipc.server.loops.doors import Welcome
    from pyroipc.server.loops.overload import Times
    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.transports.base import Listener
    from pyroipc.wire.message import Message

_NEVER = float("inf")


class NetworkLoop(Leading):
    """Serves clients that come through doors.

    Args:
        threads: how many may run calls at once.
        spares: how many idle threads are kept.
        single: the thread that runs the loop is the only one, and runs all calls.
        oneway_threads: how many may run oneway calls at once.
        times: how long things may take.
    """

    def __init__(
        self,
        *,
        threads: int,
        spares: int = 1,
        single: bool = False,
        oneway_threads: int = 32,
        times: Times,
    ) -> None:
        super().__init__(threads, spares, single=single, times=times)
        self.lanes = Lanes(oneway_threads)
        """Who may run oneway calls."""
        self.gives_up_at = _NEVER
        """When to drop the oneway calls that still wait, by the monotonic clock."""
        self._is_taken = False  # by a thread that runs it
        self._has_finished = False  # whether the calls that ran were waited for

    now = staticmethod(monotonic)

    # --- the life of the loop --------------------------------------------------------------------

    def take_in(
        self,
        owner: object,
        listeners: Collection[Listener],
        welcome: Welcome,
        housekeeping: Callable[[], None],
    ) -> None:
        """Let clients in.

        Args:
            owner: for :meth:`let_go`.
            listeners: where they come.
            welcome: makes what serves one, or returns None if it is not wanted.
            housekeeping: called every now and then, by a thread that leads nothing.
        """
        self._tenants[owner] = housekeeping
        for listener in listeners:
            self._doors.add(listener, welcome)
        self._waker.wake()

    def shut(self, listeners: Collection[Listener]) -> None:
        """Let nobody in any more through these listeners."""
        self._doors.remove(listeners)

    def let_go(self, owner: object, listeners: Collection[Listener], reason: str) -> None:
        """Let nobody in any more through these listeners, and let their clients go.

        The loop is over when nobody is left for whom clients are let in.
        """
        self._doors.remove(listeners)
        self._tenants.pop(owner, None)
        is_over = not (self._tenants or self._is_taken)
        if is_over and not self._has_finished:  # a program with a loop of its own has used it
            self.stop()
            self._finish()
        self.dismiss(reason, owner)
        if is_over:
            self._waker.close()
            self.readiness.close()

    def claim(self) -> None:
        """Take the loop, to :meth:`run` it; a ``stop`` that comes from here on counts.

        Raises:
            DaemonError: it runs already.
        """
        with self._lock:
            if self._is_taken:
                raise DaemonError("the loop of this daemon runs already; another one combined it")
            self._is_taken = True
        self._has_finished = False
        self._stopping = self.was_interrupted = False
        self.gives_up_at = _NEVER
        self._crew_max = 1 if self.is_single else self.threads + 1

    def run(self, condition: Callable[[], bool] | None = None) -> None:
        """Serve on the calling thread until ``stop``, or until the condition does not hold.

        Clients stay if it is the condition that ends it. The loop was claimed before.
        """
        broke_off = True
        try:
            self.relay(condition)
            broke_off = False
        finally:
            stopped, self._stopping = self._stopping or broke_off, True
            self._running.pop(threading.get_ident(), None)
            running.set(None)
            self.stop()
            self._helpless.set()
            try:
                if stopped:
                    self._finish()
                else:
                    self._finish_calls()
                if self._reception is not None:
                    self._reception.join()
            finally:
                if stopped:
                    self.dismiss("the daemon stopped serving", broke_off=broke_off)
                self._is_taken = False

    def _finish(self) -> None:
        """Let the calls that other threads run finish, and the answers on their way arrive."""
        self._finish_calls()
        send_what_is_owed(self.visitors, FINISH_SECONDS)
        self._has_finished = True

    def interrupt(self) -> bool:
        """Stop because of Ctrl-C; for the handler of the signal, on the thread of :meth:`run`.

        Returns:
            Whether the handler is to raise KeyboardInterrupt, because the thread is in code of
            the user's. Elsewhere that would break off what must not be, so it is left to the end.
        """
        again, self.was_interrupted = self.was_interrupted, True
        self.stop()
        return again or threading.get_ident() in self._running

    def drain(self) -> None:
        """Let the calls that run finish, begin no others, and then stop; any thread, or a signal.

        Those who ask meanwhile are told to ask elsewhere.
        """
        if self._drained_by is None:
            self._drained_by = monotonic() + self._times.drain
            self._chores_at = 0.0
            self._waker.wake()

    def dismiss(self, reason: str, owner: object = None, *, broke_off: bool = False) -> None:
        """Say goodbye to clients, and let go what they had.

        Args:
            reason: for people at the other end.
            owner: to those that belong to this; None: to all.
            broke_off: some call may have been begun that will never be answered.
        """
        going = [
            visitor
            for visitor in list(self.visitors.values())
            if (owner is None or visitor.owner is owner) and self._forget(visitor)
        ]
        busy = {*self._running.values(), *self._broken_off}
        self._broken_off.clear()
        for visitor in going:
            try:
                visitor.dismiss(reason, busy=broke_off or visitor in busy)
            except Exception as error:  # noqa: BLE001 - the others are told all the same
                visitor.fail(error)
        self.gives_up_at = monotonic() + FINISH_SECONDS
        for visitor in going:
            self._end(visitor)
        self.gives_up_at = _NEVER

    @property
    def sockets(self) -> list[Any]:
        """What a program with a loop of its own waits for, to read."""
        if self.is_single:
            return [*self._doors.sockets, self.readiness]
        return self._doors.sockets

    def handle_events(self) -> None:
        """Do what there is to do now, and return: for programs with a loop of their own."""
        self._stopping = self._has_finished = False
        if not self.is_single:
            self._crew_max = self.threads + 2  # the thread that calls this serves nobody itself
            self._start_helper()
            return
        while True:
            job = self._next(monotonic())
            if job is None:
                return
            self._run(*job)

    # --- what others ask for, on any thread ------------------------------------------------------

    def enqueue(self, visitor: Visitor, message: Message | None) -> None:
        """Run a message that another thread has received."""
        self._received.append((visitor, message))
        self._waker.wake()
        self._ring()

    def look_again(self, visitor: Visitor) -> None:
        """Look at a client in a few milliseconds."""
        if not visitor.is_looked_after:
            visitor.is_looked_after = True
            self._again.append(visitor)
            if len(self._again) == 1 and self._lead.locked():
                self._waker.wake()

    def resume(self, visitor: Visitor) -> None:
        """Read from a client again; what it has sent may have been received already."""
        self.watch(visitor)
        self._ready.append(visitor)
        self._waker.wake()

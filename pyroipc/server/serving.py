"""Serving one connection: what a daemon sets up for it, and what ends with it.

There are three kinds of it. A *service* is a daemon on a connected socket, with a loop of its own.
A *visit* is one of the many clients of a daemon that listens; it has a module of its own,
:mod:`visiting`. *Guests* are objects at the calling end of a connection, which the other end was
sent references to.
"""

from __future__ import annotations

import threading

from pyroipc.errors import DaemonError
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.server.connection import Connection
from pyroipc.server.dispatcher import Dispatcher, Instances
from pyroipc.server.interface import DaemonObject
from pyroipc.server.loops.connected import ConnectedLoop
from pyroipc.server.loops.guest import GuestLoop
from pyroipc.server.loops.streams import Streams
from pyroipc.server.registry import Registry
from pyroipc.server.session import ServerSession
from pyroipc.wire.dialect import NATIVE, OtherDialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.server.daemon import Daemon
    from pyroipc.server.loops.visitor import Visitor
    from pyroipc.settings import Settings
    from pyroipc.wire.message import Message


class Serving:
    """What a loop for a daemon and for guests have in common.

    Args:
        daemon: whose objects are served.
        session: the connection.
        registry: the objects that can be called by their ids; what the peer was sent references
            to can be called besides.
    """

    _loop: ConnectedLoop | GuestLoop | Visitor

    def __init__(self, daemon: Daemon, session: Session, registry: Registry) -> None:
        self.daemon = daemon
        self.session = session
        self.instances = Instances(threading.RLock)
        """The instances that live as long as the conversation."""
        streams, make_handler = kind_of(session)
        self.streams = streams(session, daemon.lingering)
        self.dispatcher = Dispatcher(registry, daemon.single, self.instances, session.references)
        overridden = overridden_hooks(type(daemon))
        self._wants_handshake = "validateHandshake" in overridden
        self.handler = make_handler(
            self.dispatcher,
            session.codecs,
            self,
            annotations=daemon.annotations if "annotations" in overridden else None,
            detailed_traceback=daemon.settings.DETAILED_TRACEBACK,
        )
        daemon.serving[id(session)] = self
        self._await_client()
        self.threads = threads_of(daemon.settings)

    def _await_client(self) -> None:
        self.connection = Connection(self.session, self.daemon, self.handler)
        self.handler.serve(self.connection, wants_handshake=self._wants_handshake)

    def give_way(self) -> None:
        """Leave the connection to somebody who speaks the dialect of its client."""
        self._leave_home()
        self.session.host = self.session.outbox = None

    def wait_elsewhere(self, chain: bytes, what: str) -> AbstractContextManager[None]:
        """Note that a call of this client waits for another connection."""
        return self._loop.wait_elsewhere(chain, what)

    def unstage(self, message: Message) -> Message:
        """Return a request with its buffers, which lie in memory that the peer has lent.

        Raises:
            ProtocolError: it does not say where.
            SerializeError: it was not lent.
        """
        from pyroipc.client.staging import unstage  # when first needed

        return unstage(message, self.session.courier.loans)

    def open_stream(self, message: Message, codec: CallCodec, iterator: Any) -> bytes:
        """Take an iterator that a method has returned; return the payload of the answer.

        Raises:
            DaemonError: the daemon sends no streams.
        """
        if not self.daemon.settings.ITER_STREAMING:
            raise DaemonError(
                "result of call is an iterator, but the server is not configured to allow "
                "streaming: its setting ITER_STREAMING is off"
            )
        return self.streams.open(message, codec, iterator)  # type: ignore[no-any-return]

    def report(
        self,
        error: BaseException,
        member: str,
        args: Any,
        kwargs: Any,
        *,
        loud: bool,
    ) -> None:
        """Take note of what a method raised, and how it was called."""
        self.daemon.report(self.connection, error, member, args, kwargs, loud=loud)

    def _be_home(self) -> None:
        self.session.references.home = self.handler

    def _leave_home(self) -> None:
        self.daemon.serving.pop(id(self.session), None)
        references = self.session.references
        references.home = None

    def _end_conversation(self) -> None:
        """End what lived as long as the conversation."""
        connection = self.connection
        self.streams.end()
        if connection.was_used:
            try:
                self.daemon.clientDisconnect(connection)
            except (Exception, SystemExit, GeneratorExit):
                from logging import getLogger

                getLogger("pyroipc.server").exception("clientDisconnect failed")
        connection.close_resources()  # before the instances go, which may be all that holds them
        self.instances.clear()


def kind_of(session: Session) -> tuple[type[Streams], type[ServerSession]]:
    """Return what sends the streams of a connection, and what answers its requests."""
    if session.dialect == NATIVE:
        return Streams, ServerSession
    from pyroipc.server.pyro.session import PyroServerSession
    from pyroipc.server.pyro.streams import PulledStreams

    return PulledStreams, PyroServerSession


def threads_of(settings: Settings) -> int:
    """Return how many threads may run calls at once."""
    return 1 if settings.SERVERTYPE == "multiplex" else settings.THREADPOOL_SIZE


def overridden_hooks(cls: type) -> set[str]:
    """Return the names that a subclass of Daemon defines itself."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__ == "pyroipc.server.daemon":
            break
        names.update(vars(base))
    return names


class Service(Serving):
    """A daemon that serves a connection, from the beginning of its loop to the end.

    Args:
        daemon: whose objects are served.
        session: a connection that nobody else serves.
    """

    _is_stopped = False

    def __init__(self, daemon: Daemon, session: Session) -> None:
        super().__init__(daemon, session, daemon.registry)
        self._make_loop()

    def _make_loop(self) -> None:
        self._loop = self._connected = ConnectedLoop(
            self.session,
            self.handler,
            self.streams,
            threads=self.threads,
            oneway_queue=self.daemon.settings.ONEWAY_QUEUE,
        )

    def run(self, condition: Callable[[], bool] | None) -> None:
        """Serve until told to stop, or until the peer is gone.

        Raises:
            ProtocolError: the peer broke the rules of the protocol.
        """
        try:
            self._run(condition)
        except OtherDialectError as error:
            self._translate(error)
            if not self._is_stopped:
                self._run(condition)

    def _translate(self, error: OtherDialectError) -> None:
        """Go on in the dialect that the peer has turned out to speak.

        Raises:
            OtherDialectError: this daemon does not speak that.
        """
        from pyroipc.client import sharing
        from pyroipc.client.connecting import reopen_session

        daemon = self.daemon
        if error.dialect is None or error.dialect not in daemon.settings.DIALECTS:
            self.session.turn_down(error)
            refused = self.session.broken(error)
            raise refused
        session = reopen_session(self.session, daemon.settings, error.dialect, b"")
        session.codecs.accept(daemon.accepted)
        if not session.channel.owned:
            sharing.replace(session)
            session.channel.make_wakeable()
        daemon.take_session(session)
        Serving.__init__(self, daemon, session, daemon.registry)
        self._make_loop()

    def _run(self, condition: Callable[[], bool] | None) -> None:
        session, loop = self.session, self._connected
        self._be_home()
        session.on_conversation_end = self._end_conversation
        session.host = loop
        ended = False
        try:
            loop.run(condition)
            ended = True
        finally:
            # An exception, such as that of Ctrl-C, may have come between a call and its answer.
            session.leave("the daemon stopped serving", busy=loop.is_busy or not ended)
            self._end_conversation()
            session.on_conversation_end = None
            session.host = None
            self._leave_home()
            if not session.channel.owned:
                session.channel.make_unwakeable()

    def stop(self) -> None:
        """Make :meth:`run` return; any thread."""
        self._is_stopped = True
        self._connected.stop()

    def _end_conversation(self) -> None:
        self._loop.finish_oneway()
        super()._end_conversation()
        self._await_client()


class Guest(Serving):
    """Objects that the peer of a connection may call because it was sent references to them.

    Nobody serves this connection otherwise: it is that of a proxy.

    Args:
        daemon: where the first of the objects is registered.
        session: the connection.
    """

    def __init__(self, daemon: Daemon, session: Session) -> None:
        registry = Registry()
        session.references.begin()
        registry.entries = session.references.entries
        super().__init__(daemon, session, registry)
        self.handler.admit()  # this end called first
        registry.register(DaemonObject(daemon), DAEMON_NAME)
        self._loop = self._guests = GuestLoop(
            session,
            self.handler,
            self.streams,
            threads=self.threads,
            oneway_queue=daemon.settings.ONEWAY_QUEUE,
        )
        loop = self._guests
        self._be_home()
        session.on_conversation_end = self._end_conversation
        session.host = loop
        session.pump.need(1)

    def _end_conversation(self) -> None:
        session = self.session
        self._loop.finish_oneway()
        self._guests.end()
        super()._end_conversation()
        session.on_conversation_end = None
        session.host = None
        self._leave_home()
        session.pump.need(-1)

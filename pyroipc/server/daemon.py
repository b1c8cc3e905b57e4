"""The daemon: hosts objects and serves them to the peer of a connected socket."""

from __future__ import annotations

import threading

from pyroipc.client.session import session_for
from pyroipc.errors import DaemonError
from pyroipc.server.dispatcher import Dispatcher, Instances
from pyroipc.server.exposure import expose
from pyroipc.server.loops.connected import ConnectedLoop
from pyroipc.server.registry import Registry
from pyroipc.server.session import ServerSession
from pyroipc.settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.client.session import Session
    from pyroipc.settings import Settings

DAEMON_NAME = "Pyro.Daemon"
"""The object id of the daemon's own object in every daemon."""
_SERVER_TYPES = ("thread", "multiplex")
_THREADS_MAX = 80
_SHUTDOWN_SECONDS = 5.0


class DaemonObject:
    """What a daemon tells about itself; registered in it as ``Pyro.Daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @expose
    def registered(self) -> list[str]:
        """Return the ids of all registered objects."""
        return sorted(self._daemon.registry.entries)

    @expose
    def ping(self) -> None:
        """Do nothing: the answer is the point."""

    @expose
    def info(self) -> str:
        """Describe the daemon in one line."""
        return repr(self._daemon)

    @expose
    def get_metadata(self, object_id: str) -> dict[str, list[str]]:
        """Name the members of an object: ``methods``, ``oneway`` (of the methods), ``attrs``."""
        return self._daemon.registry.get(object_id).metadata()

    @expose
    def get_documentation(self, object_id: str) -> dict[str, dict[str, str]]:
        """Return ``signatures`` and ``docs`` of the members of an object, by name."""
        from pyroipc.server.documentation import document

        return document(self._daemon.registry.get(object_id))


class Daemon:
    """Hosts objects and serves them over a connected socket.

    Args:
        connected_socket: a connected stream socket, such as one of ``socket.socketpair()``. It
            stays the caller's: it is never closed, shut down or reconfigured here, and may serve
            another daemon afterwards.
        serializers_accepted: names of the serializers that requests may use; narrows what the
            trust of the channel allows. None: all that it allows.
        interface: the class of the object registered as ``Pyro.Daemon``; called with the daemon.
        settings: read once, now.

    Raises:
        DaemonError: no connected socket was given.

    Objects may be registered by any thread, at any time.
    """

    def __init__(
        self,
        *,
        connected_socket: socket.socket | None = None,
        serializers_accepted: Iterable[str] | None = None,
        interface: type[DaemonObject] = DaemonObject,
        settings: Settings = config,
    ) -> None:
        if connected_socket is None:
            raise DaemonError(
                "a daemon serves a connected socket: Daemon(connected_socket=...); "
                "see socket.socketpair()"
            )
        self._set_up(serializers_accepted, interface, settings)
        self._socket: socket.socket | None = connected_socket
        self._session: Session | None = None

    @classmethod
    def over(cls, session: Session, settings: Settings = config, *, public: bool = False) -> Self:
        """Make a daemon that serves a session of this library's own, such as a child's.

        Args:
            session: a session that nobody else serves.
            settings: read once, now.
            public: objects of classes without any ``@expose`` have all their public members
                callable.
        """
        daemon = cls.__new__(cls)
        daemon._set_up(None, DaemonObject, settings)
        daemon._public = public
        daemon._socket = None
        daemon._session = session
        return daemon

    def _set_up(
        self, accepted: Iterable[str] | None, interface: type[DaemonObject], settings: Settings
    ) -> None:
        self._settings = settings
        self._accepted = None if accepted is None else frozenset(accepted)
        self._public = False
        self._single = Instances()
        self._loop: ConnectedLoop | None = None
        self._lock = threading.RLock()  # a signal handler may close the daemon at any moment
        self._closed = False
        self.registry = Registry()
        self.registry.register(interface(self), DAEMON_NAME)

    def register(
        self,
        obj_or_class: Any,
        object_id: str | None = None,
        *,
        force: bool = False,
        weak: bool = False,
    ) -> str:
        """Make an object reachable, or a class whose instances are made for callers.

        Args:
            obj_or_class: it is not written to.
            object_id: its name; None: one is made.
            force: replace what is registered under this id.
            weak: do not keep the object alive; it is unregistered when it goes.

        Returns:
            The object id.

        Raises:
            DaemonError: the id is taken, or the object is registered already.
            TypeError: the id is not a str, or a class was to be held weakly.
        """
        entry = self.registry.register(
            obj_or_class, object_id, public=self._public, force=force, weak=weak
        )
        if not entry.members:
            _log().warning(
                "class %s exposes no members: mark them with @expose", entry.cls.__qualname__
            )
        return entry.object_id

    def unregister(self, obj_or_id: Any) -> None:
        """Take an object away; running calls of it finish.

        Raises:
            DaemonError: the object is not registered. An unknown id is ignored.
        """
        if obj_or_id != DAEMON_NAME:
            self.registry.unregister(obj_or_id)

    def requestLoop(self, loopCondition: Callable[[], bool] | None = None) -> None:
        """Serve until :meth:`shutdown`, until the peer is gone, or while the condition holds.

        Args:
            loopCondition: called before each request and about twice a second; the loop ends
                when it returns false.

        Raises:
            ProtocolError: the peer broke the rules of the protocol.
            DaemonError: the loop runs already, or the daemon is closed.
            ForkedConnectionError: it served in the parent process before the fork.
        """
        with self._lock:
            if self._closed:
                raise DaemonError("this daemon is closed; make a new one")
            if self._loop is not None:
                raise DaemonError("the request loop of this daemon runs already")
            if self._settings.SERVERTYPE not in _SERVER_TYPES:
                raise DaemonError(
                    f"SERVERTYPE {self._settings.SERVERTYPE!r} is unknown: "
                    f"{' or '.join(_SERVER_TYPES)}"
                )
            session = self._serving_session()
            dispatcher = Dispatcher(self.registry, self._single)
            handler = ServerSession(
                dispatcher,
                session.codecs.by_key,
                session.codecs.get,
                session,
                _log_oneway_error,
                detailed_traceback=self._settings.DETAILED_TRACEBACK,
            )
            loop = self._loop = ConnectedLoop(
                session,
                handler,
                threads=1 if self._settings.SERVERTYPE == "multiplex" else _THREADS_MAX,
                oneway_queue=self._settings.ONEWAY_QUEUE,
            )

        def conversation_ended() -> None:
            loop.flush()
            dispatcher.end_conversation()

        session.on_conversation_end = conversation_ended
        session.on_request = loop.take
        session.has_enough = loop.has_enough
        ended = False
        try:
            loop.run(loopCondition)
            ended = True
        finally:
            # An exception, such as that of Ctrl-C, may have come between a call and its answer.
            session.leave("the daemon stopped serving", busy=loop.is_busy or not ended)
            conversation_ended()
            session.on_conversation_end = None
            session.on_request = session.has_enough = None
            if not session.channel.owned:
                session.channel.make_unwakeable()
            with self._lock:
                self._loop = None

    def _serving_session(self) -> Session:
        session = self._session
        if session is None:
            if self._socket is None:
                raise DaemonError("this daemon is closed; make a new one")
            session = self._session = session_for(self._socket, self._settings)
        session.check()
        if session.on_request is not None:
            raise DaemonError("another daemon serves this socket")
        session.channel.make_wakeable()
        session.codecs.accept(self._accepted)
        return session

    def shutdown(self) -> None:
        """Make the request loop end; returns at once. Any thread, and inside of a call too.

        A call that runs finishes, and its answer is sent. The peer is told, and the socket stays
        open.
        """
        loop = self._loop
        if loop is not None:
            loop.stop()

    def close(self) -> None:
        """Stop serving and let the objects go. The user's socket stays open."""
        with self._lock:  # a loop that is about to begin sees the one or is seen by the other
            self._closed = True
        self.shutdown()
        self.registry.entries.clear()
        self._single.clear()

    def __enter__(self) -> Self:
        if self._closed:
            raise DaemonError("this daemon is closed; make a new one")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._loop is not None else "idle"
        return f"<pyroipc.Daemon at {id(self):#x}; {state}; {len(self.registry.entries)} objects>"


def _log() -> Any:
    import logging

    return logging.getLogger("pyroipc.server")


def _log_oneway_error(error: BaseException) -> None:
    _log().warning("a oneway call failed", exc_info=error)

"""The daemon: hosts objects and serves them, to many clients or to the peer of one socket."""

from __future__ import annotations

import threading
import weakref

from pyroipc.client import references
from pyroipc.client.exported import Exported
from pyroipc.client.sockets import session_of
from pyroipc.errors import DaemonError
from pyroipc.server.addressing import Addressed
from pyroipc.server.dispatcher import Instances
from pyroipc.server.exposure import forget_members
from pyroipc.server.hooks import Hooks
from pyroipc.server.interface import DAEMON_NAME, DaemonObject
from pyroipc.server.loops.lingering import Lingering
from pyroipc.server.registry import Registry
from pyroipc.server.serving import Guest, Service
from pyroipc.settings import config
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any, Literal, Self

    from pyroipc.client.proxy import Proxy
    from pyroipc.client.session import Session
    from pyroipc.server.connection import Connection
    from pyroipc.server.loops.network import NetworkLoop
    from pyroipc.server.registry import Entry
    from pyroipc.server.serving import Serving
    from pyroipc.settings import Settings

__all__ = ["DAEMON_NAME", "Daemon", "DaemonObject", "serve"]

_attaching = threading.RLock()


class Daemon(Addressed, Hooks):
    """Hosts objects and serves them, at an address or over a connected socket.

    Args:
        host: the name or numeric address to listen at (IPv6 without brackets), or ``""`` for all
            addresses. None: the setting HOST.
        port: the port to listen at; 0: any free one.
        unixsocket: the path of a unix socket to listen at, instead of host and port.
        nathost: the host that clients outside of a router use; it is published in the URIs. None:
            the setting NATHOST.
        natport: the port that they use; 0: the same as inside. None: the setting NATPORT.
        interface: the class of the object registered as ``Pyro.Daemon``; called with the daemon.
        connected_socket: a connected stream socket, such as one of ``socket.socketpair()``, to
            serve instead of listening. It stays the caller's: it is never closed, shut down or
            reconfigured here, and may serve another daemon afterwards.
        listen: more addresses to listen at, such as ``"[::1]:9000"`` or ``"./u:/run/my.sock"``.
            If neither host nor port nor unixsocket is given, only these.
        tls: encrypt what comes over TCP: an ``ssl.SSLContext``. None: as the setting SSL says;
            False: do not.
        hmac_key: let those in who know this key, in bytes or text. None: the setting HMAC_KEY.
        allowed_uids: user ids whose processes may use the unix sockets, besides our own.
        serializers_accepted: names of the serializers that requests may use; narrows what the
            trust of the channel allows. None: the setting SERIALIZERS_ACCEPTED, or all of them.
        settings: read once, now.

    Raises:
        DaemonError: an address cannot be listened at, or a connected socket was given besides.
        PyroError: an address is no address.
        SecurityError: a file of certificates cannot be used.
        ValueError: natport without nathost, or nathost for a unix socket.

    Objects may be registered by any thread, at any time. A registered object that is passed to, or
    returned from, a remote method arrives as a proxy, over whatever connection that goes.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int = 0,
        unixsocket: str | None = None,
        nathost: str | None = None,
        natport: int | None = None,
        interface: type[DaemonObject] = DaemonObject,
        connected_socket: socket.socket | None = None,
        *,
        listen: Iterable[str] = (),
        tls: ssl.SSLContext | Literal[False] | None = None,
        hmac_key: bytes | str | None = None,
        allowed_uids: Collection[int] = (),
        serializers_accepted: Iterable[str] | None = None,
        settings: Settings = config,
    ) -> None:
        self._check_class()
        addresses = (host, port or None, unixsocket, nathost, natport, *listen)
        if connected_socket is not None and any(part is not None for part in addresses):
            raise DaemonError("a daemon serves either a connected socket or addresses, not both")
        if serializers_accepted is None:
            serializers_accepted = settings.SERIALIZERS_ACCEPTED or None
        self._set_up(serializers_accepted, interface, settings)
        self._socket: socket.socket | None = connected_socket
        self._session: Session | None = None
        if connected_socket is None:
            from pyroipc.server import listening

            asked = listening.Asked(host, port, unixsocket, nathost, natport, listen)
            access = listening.Access(tls, hmac_key, allowed_uids, settings)
            self._listening = listening.Listening(self, asked, access)

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
        self.settings = settings
        self.accepted = None if accepted is None else frozenset(accepted)
        """Names of the serializers that requests may use; None: all that trust allows."""
        self._public = False
        self._service: Service | NetworkLoop | None = None
        self._lock = threading.RLock()  # a signal handler may close the daemon at any moment
        self._closed = self._is_unwanted = False  # the latter: shut down before the first loop
        self._is_new = True  # no loop has begun
        self.serving: dict[int, Serving] = {}
        """What is set up for each connection, by the id of its session."""
        self.single = Instances(threading.RLock)
        """The instances that all clients share."""
        self.lingering = Lingering(settings)
        """The streams that wait for a client that connects again."""
        self._types: list[type] = []
        self._forget_types = weakref.finalize(self, _forget_types, self._types)
        self._forget_types.atexit = False
        self.registry = Registry()
        self.registry.register(interface(self), DAEMON_NAME)

    # --- objects -------------------------------------------------------------------------------

    def register(
        self,
        obj_or_class: Any,
        objectId: str | None = None,
        force: bool = False,  # noqa: FBT001, FBT002 - as in Pyro
        weak: bool = False,  # noqa: FBT001, FBT002
        *,
        interface: type | None = None,
    ) -> URI:
        """Make an object reachable, or a class whose instances are made for callers.

        Args:
            obj_or_class: it is not written to.
            objectId: its name; None: one is made that nobody can guess.
            force: replace what is registered under this id.
            weak: do not keep the object alive; it is unregistered when it goes.
            interface: a class or a ``typing.Protocol`` whose public members are callable, instead
                of those marked with ``@expose``; for a class that cannot be edited.

        Returns:
            The URI of the object; a proxy takes it, or its ``object``, which is the id.

        Raises:
            DaemonError: the id is taken, or the object is registered already.
            TypeError: the id is not a str, a class was to be held weakly, or the object lacks what
                the interface names.
        """
        if objectId is not None:
            self._uri(objectId)  # complains about what cannot be in a URI
        entry = self.registry.register(
            obj_or_class,
            objectId,
            public=self._public,
            force=force,
            weak=weak,
            interface=interface,
        )
        if not entry.members:
            _log().warning(
                "Class %s doesn't expose any methods or attributes. "
                "Did you forget setting @expose on them?",
                entry.cls.__qualname__,
            )
        self._types.append(entry.cls)
        references.add_type(entry.cls, self)
        return self._uri(entry.object_id)

    def unregister(self, objectOrId: Any) -> None:
        """Take an object away; running calls of it finish.

        Args:
            objectOrId: an object, or an id; an unknown id is ignored.

        Raises:
            DaemonError: the object is not registered.
        """
        target = objectOrId.object if isinstance(objectOrId, URI) else objectOrId
        if not (isinstance(target, str) and target == DAEMON_NAME):
            self.registry.unregister(target)
        references.revoke()

    def uriFor(self, objectOrId: Any, nat: bool = True) -> URI:  # noqa: FBT001, FBT002 - as in Pyro
        """Return the URI of a registered object.

        Args:
            objectOrId: the object, or an id, of which it is not checked whether it exists.
            nat: with the address that is valid outside of the router, if there is one.

        Raises:
            DaemonError: the object is not registered here.
        """
        if isinstance(objectOrId, str):
            return self._uri(objectOrId, nat=nat)
        return self._uri(self._entry_of(objectOrId).object_id, nat=nat)

    def proxyFor(self, objectOrId: Any, nat: bool = True) -> Proxy[Any]:  # noqa: FBT001, FBT002
        """Return a proxy for a registered object that goes to the peer as a reference.

        Args:
            objectOrId: the object, or its id.
            nat: is ignored: the proxy calls the object directly here.

        Raises:
            DaemonError: it is not registered here, or its class exposes nothing.
        """
        from pyroipc.server.local import local_proxy

        if isinstance(objectOrId, str):
            entry = self.registry.get(objectOrId)
        else:
            entry = self._entry_of(objectOrId)
        return local_proxy(self, entry)

    def resetMetadataCache(self, objectOrId: Any, nat: bool = True) -> None:  # noqa: FBT001, FBT002
        """Forget what the class of an object exposes; it is looked at again when it is registered.

        Args:
            objectOrId: a registered object, or its id.
            nat: is ignored.

        Raises:
            DaemonError: it is not registered here.
        """
        if isinstance(objectOrId, str):
            forget_members(self.registry.get(objectOrId).cls)
        else:
            forget_members(self._entry_of(objectOrId).cls)

    def _entry_of(self, target: Any) -> Entry:
        entry = self.registry.find(target)
        if entry is None:
            raise DaemonError("object isn't registered in this daemon")
        return entry

    # --- serving -------------------------------------------------------------------------------

    def requestLoop(self, loopCondition: Callable[[], bool] | None = None) -> None:
        """Serve until :meth:`shutdown`, or while the condition holds.

        Over a connected socket it also ends when the peer is gone. A daemon that listens, in the
        main thread of a program that has no handler of its own for SIGTERM, takes that signal for
        :meth:`drain`; a second one ends the process.

        Args:
            loopCondition: called before each request and about twice a second; the loop ends
                when it returns false. Clients stay connected then.

        Raises:
            ProtocolError, SecurityError: the peer of a connected socket broke the rules.
            DaemonError: the loop runs already, or the daemon is closed.
            ForkedConnectionError: it was made, or served, in the parent process before the fork.
        """
        with self._lock:
            if self._closed:
                raise DaemonError("this daemon is closed; make a new one")
            if self._service is not None:
                raise DaemonError("the request loop of this daemon runs already")
            self._is_new, unwanted, self._is_unwanted = False, self._is_unwanted, False
            if unwanted:
                return
            if self._listening is not None:
                service: Service | NetworkLoop = self._listening.claim()
            else:
                service = Service(self, self._serving_session())
            self._service = service
        try:
            if self._listening is not None:
                self._listening.run(loopCondition)
            else:
                service.run(loopCondition)
        finally:
            with self._lock:
                self._service = None
                is_closed = self._closed
            if is_closed and self._listening is not None:  # it was closed meanwhile
                self._listening.close()

    def _serving_session(self) -> Session:
        session = self._session
        if session is None:
            if self._socket is None:
                raise DaemonError("this daemon is closed; make a new one")
            session = self._session = session_of(self._socket, self.settings)
        session.check()
        if session.is_served:
            raise DaemonError("another daemon serves this socket")
        session.channel.make_wakeable()
        session.codecs.accept(self.accepted)
        return session

    def take_session(self, session: Session) -> None:
        """Take another session of the connected socket: its peer speaks another dialect."""
        self._session = session

    def export(self, value: object, session: Session) -> Exported | None:
        """Say under which id the peer of a session may call a value; None: it is not ours."""
        if self._closed:
            return None
        of_local_proxy = getattr(value, "__dict__", {}).get("_pyro_entry")
        if of_local_proxy is not None:
            value = of_local_proxy.target()
        origin = entry = self.registry.find(value)
        if entry is None:
            origin = self.single.find_entry(value)
            if origin is None:
                serving = self.serving.get(id(session))
                if serving is not None:
                    origin = serving.instances.find_entry(value)
            if origin is not None:
                entry = origin.for_instance(value)
        if entry is None or entry.object_id == DAEMON_NAME:
            return None
        uri = None
        if self._listening is not None and origin is entry:
            uri = str(self._uri(entry.object_id))
        return Exported(entry.object_id, entry.class_key, entry, value, origin, uri)

    def address_of(self, object_id: str) -> str | None:
        """Return the URI under which others can reach an object; None: there is none."""
        return str(self._uri(object_id)) if self._listening is not None else None

    def attach(self, session: Session) -> None:
        """See to it that the peer of a session can call what it was sent references to."""
        if session.host is None:
            with _attaching:
                if session.host is None:
                    Guest(self, session)

    def report(
        self,
        connection: Connection,
        error: BaseException,
        member: str,
        args: Any,
        kwargs: Any,
        *,
        loud: bool,
    ) -> None:
        """Take note of an exception in a method: log it if nobody else hears of it."""
        if loud:
            shown = member if str(member).isidentifier() else f"{member!r:.200}"
            _log().warning("%s raised %r", shown, error, exc_info=error)
        if (handler := self.methodcall_error_handler) is not None:
            try:
                getattr(handler, "__func__", handler)(
                    self, connection.peer.address, member, args, kwargs, error
                )
            except Exception:  # noqa: BLE001 - the answer must go out all the same
                _log().exception("the methodcall_error_handler failed")

    @staticmethod
    def serveSimple(
        objects: Mapping[Any, str | None],
        host: str | None = None,
        port: int = 0,
        daemon: Daemon | None = None,
        ns: bool = False,  # noqa: FBT001, FBT002 - as in Pyro
        verbose: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        """Do what :func:`pyroipc.serve` does; ``ns`` is its ``use_ns``."""
        serve(objects, host, port, daemon, ns, verbose)

    def shutdown(self) -> None:
        """Make the request loop end; returns at once. Any thread, and inside of a call too.

        A call that runs finishes, if that takes no longer than five seconds, and its answer is
        sent. Clients are told. If no loop has begun yet, the first one ends at once.
        """
        with self._lock:
            service = self._service
            self._is_unwanted = service is None and self._is_new
        if service is not None:
            service.stop()

    def drain(self) -> None:
        """Make the request loop end when the calls that run have finished; returns at once.

        Until then whoever calls is told to ask elsewhere (:class:`DrainingError`), and nobody else
        can connect. Any thread, inside of a call, and in a signal handler. Over a connected socket
        it is the same as :meth:`shutdown`.
        """
        if self._listening is None:
            self.shutdown()
        else:
            self._listening.drain()

    def close(self) -> None:
        """Stop serving, let the objects and the addresses go. A user's socket stays open."""
        with self._lock:  # a loop that is about to begin sees the one or is seen by the other
            self._closed = True
            is_running = self._service is not None
        self.shutdown()
        if self._listening is not None:
            self._listening.close(later=is_running)
        self.registry.clear()
        references.revoke()
        self.single.clear()
        self.lingering.close()
        self._forget_types()

    def __enter__(self) -> Self:
        if self._closed:
            raise DaemonError("this daemon is closed; make a new one")
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._service is not None else "idle"
        return (
            f"<pyroipc.Daemon at {id(self):#x}; {self.locationStr}; {state}; "
            f"{len(self.registry.entries)} objects>"
        )


def serve(
    objects: Mapping[Any, str | None],
    host: str | None = None,
    port: int = 0,
    daemon: Daemon | None = None,
    use_ns: bool = False,  # noqa: FBT001, FBT002 - as in Pyro
    verbose: bool = True,  # noqa: FBT001, FBT002
) -> None:
    """Register objects in a daemon, print where they are, and serve them until Ctrl-C.

    Args:
        objects: objects or classes, and the ids they get; None: one that nobody can guess. With
            ``use_ns`` it is the names that they get in the name server; None: none.
        host: as :class:`Daemon` takes it.
        port: as :class:`Daemon` takes it.
        daemon: one that listens, to be used instead of a new one; it is closed in the end.
        use_ns: register the names in the name server, where they stay; see
            :func:`pyroipc.publish` for names that go when the daemon does.
        verbose: print the objects and their URIs.

    Raises:
        DaemonError: the address cannot be listened at, or an object cannot be registered.
        NamingError: no name server was found, or it does not take a name.
    """
    from pyroipc.server import simple

    with daemon or Daemon(host, port) as chosen:
        simple.publish(chosen, objects, use_ns=use_ns, verbose=verbose)
        chosen.requestLoop()


def _forget_types(types: list[type]) -> None:
    for cls in types:
        references.remove_type(cls)


def _load_proxy() -> None:
    from pyroipc.client import proxy  # noqa: F401 - it makes itself known


references.load_proxy = _load_proxy


def _log() -> Any:
    import logging

    return logging.getLogger("pyroipc.server")

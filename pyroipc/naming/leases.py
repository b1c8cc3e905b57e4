"""Names with a lease: registered, renewed, and registered again after the name server was away.

A registration for ever outlives the process that made it. With a lease, it is renewed in the
background as long as the daemon serves; when the process is killed, or its machine is gone, the
name goes by itself within the ttl.

============================  =================================================================
what happens                  what is done
============================  =================================================================
nothing                       the names are renewed three times per ttl
no name server answers        it is looked for again, after a second at first, then less often
a name is gone                it is registered again: the name server was restarted without a
                              memory, or was away for too long
somebody else took a name     it is theirs; it is renewed no longer, and that is logged
the daemon is closed          nothing is renewed any more, and the names are removed
the name server has no        that is logged; a name stays until the daemon is closed, and for
leases: it is Pyro's          ever if the process is killed.  What is gone is registered again
============================  =================================================================
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic

from pyroipc.client.name_server import NameServerProxy
from pyroipc.client.search import Search, location_of
from pyroipc.errors import DaemonError, NamingError, PyroError
from pyroipc.settings import config
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final, Self

    from pyroipc.server.daemon import Daemon
    from pyroipc.settings import Settings

__all__ = ["Publication", "publish"]

DEFAULT_TTL: Final = 60.0
_RENEWALS_PER_TTL: Final = 3
_FIRST_PAUSE: Final = 1.0
_AT_ONCE: Final = 500
"""How many names are renewed in one call."""


class Publication:
    """Names that are kept registered, until :meth:`close`. Made by :func:`publish`.

    A context manager. It belongs to the process that made it: a forked child's does nothing.
    """

    def __init__(
        self,
        daemon: Daemon,
        uris: dict[str, str],
        metadata: dict[str, list[str]],
        ttl: float,
        search: _Finder,
    ) -> None:
        self._daemon = weakref.ref(daemon)
        self._uris = uris
        self._metadata = metadata
        self.ttl = ttl
        """How long the names stay when nobody renews them, in seconds."""
        self._find = search
        self._ns: NameServerProxy | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pyroipc-leases", daemon=True)
        self._is_troubled = False
        self._was_told = False  # that there are no leases

    @property
    def names(self) -> frozenset[str]:
        """The names that are renewed; those that somebody else took are not among them."""
        return frozenset(self._uris)

    @property
    def uris(self) -> dict[str, URI]:
        """The names, and where their objects are; a new dict."""
        return {name: URI(uri) for name, uri in self._uris.items()}

    # --- the names -------------------------------------------------------------------------------

    def begin(self, *, safe: bool) -> None:
        """Register the names for the first time, and begin to renew them.

        Raises:
            NamingError: there is no name server, or it does not take a name; none is left then.
            CommunicationError: it does not answer.
        """
        done: list[str] = []
        try:
            ns = self._name_server()
            for name in list(self._uris):
                self._register(ns, name, safe=safe)
                done.append(name)
        except BaseException:
            self._uris = {name: self._uris[name] for name in done}
            self._withdraw()
            raise
        self._thread.start()

    def _register(self, ns: NameServerProxy, name: str, *, safe: bool) -> None:
        ttl = self.ttl if ns.has_leases else None
        if ttl is None and not self._was_told:
            self._was_told = True
            _log().warning(
                "the name server at %s has no leases: if this process is killed, nobody removes "
                "its names: %s",
                ns._pyroUri.location,  # noqa: SLF001 - Pyro's name
                ", ".join(sorted(self._uris)),
            )
        ns.register(name, self._uris[name], safe, self._metadata[name], ttl=ttl)

    def _work(self) -> None:
        usual = self.ttl / _RENEWALS_PER_TTL
        pause = usual
        trouble = min(_FIRST_PAUSE, usual)
        while not self._stopping.wait(pause):
            if not self._is_served():
                self._withdraw()
                return
            try:
                self.renew()
            except PyroError as error:
                if not self._is_troubled and not self._stopping.is_set():
                    self._is_troubled = True
                    _log().warning("names cannot be renewed at the moment: %s", error)
                pause = trouble
                trouble = min(2 * trouble, usual)
            else:
                if self._is_troubled:
                    self._is_troubled = False
                    _log().warning("names are renewed again: %s", ", ".join(sorted(self._uris)))
                pause, trouble = usual, min(_FIRST_PAUSE, usual)

    def _is_served(self) -> bool:
        """Say whether somebody could still connect to the daemon."""
        daemon = self._daemon()
        if daemon is None:
            return False
        try:
            return daemon.sock.fileno() >= 0
        except DaemonError:
            return False

    def renew(self) -> None:
        """Renew all names now; what the name server has forgotten is registered again.

        Raises:
            NamingError: there is no name server, or it does not take a name.
            CommunicationError: it does not answer.
            PyroError: never another one.
        """
        with self._lock:
            if self._stopping.is_set():
                return
            ns = self._name_server()
            try:
                names = list(self._uris)
                for start in range(0, len(names), _AT_ONCE):
                    self._renew(ns, names[start : start + _AT_ONCE])
            except PyroError:
                self._let_go()  # the next time it is looked for anew: it may have moved
                raise
            except Exception as error:
                self._let_go()
                raise NamingError(
                    f"the name server failed: {type(error).__name__}: {error!s:.200}"
                ) from error

    def _renew(self, ns: NameServerProxy, names: list[str]) -> None:
        failed = ns.renew({name: self._uris[name] for name in names}, self.ttl)
        for name, reason in failed.items():
            why: str | None = reason
            if why == "unknown":
                try:
                    self._register(ns, name, safe=True)
                except NamingError:
                    why = ns.renew({name: self._uris[name]}, self.ttl).get(name)
                    if why != "taken":  # somebody else was faster; or else it is not allowed
                        raise
            if why == "taken":
                uri = self._uris.pop(name)
                _log().warning(
                    "the name %r is no longer that of %s: somebody else has registered it",
                    name,
                    uri,
                )

    def _name_server(self) -> NameServerProxy:
        if self._ns is None:
            self._ns = self._find(self.ttl)
        return self._ns

    def _let_go(self) -> None:
        ns, self._ns = self._ns, None
        if ns is not None:
            ns._pyroRelease()  # noqa: SLF001 - Pyro's name

    # --- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Remove the names, and renew them no longer; any number of times.

        If the name server cannot be reached, they go within the ttl.
        """
        if self._pid != os.getpid() or self._stopping.is_set():
            return
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(self.ttl)
        self._withdraw()

    def _withdraw(self) -> None:
        """Remove the names that are still ours, as far as that can be done."""
        self._stopping.set()
        with self._lock:
            try:
                if self._uris:
                    ns = self._name_server()
                    taken = ns.renew(self._uris, self.ttl)
                    for name in self._uris.keys() - taken.keys():
                        ns.remove(name)
            except Exception as error:  # noqa: BLE001 - the name server may raise what it likes
                if self._was_told:
                    _log().warning("names could not be removed, and stay: %s", error)
                else:
                    _log().info(
                        "names could not be removed, and go within %g s: %s", self.ttl, error
                    )
            finally:
                self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._stopping.is_set() else f"ttl {self.ttl:g} s"
        return f"<pyroipc.Publication of {', '.join(sorted(self._uris))}; {state}>"


def publish(
    daemon: Daemon,
    objects: Mapping[str, Any],
    *,
    ttl: float = DEFAULT_TTL,
    metadata: Iterable[str] | Mapping[str, Iterable[str]] = (),
    safe: bool = False,
    host: object = None,
    port: int | None = None,
    settings: Settings = config,
) -> Publication:
    """Register names of a daemon's objects in the name server, and keep them registered.

    The names are renewed in the background. They go when this is closed, when the daemon is, or
    within ``ttl`` seconds when the process dies.

    Args:
        daemon: one that listens.
        objects: names, and for each of them an object, a URI, or the id under which an object is
            registered. Objects that are not registered yet are.
        ttl: how long the names stay when nobody renews them, in seconds; at least 1.
        metadata: tags for all of them, or for each name its own.
        safe: refuse names that exist, instead of replacing their entries.
        host: where the name server is, as :func:`pyroipc.locate_ns` takes it.
        port: so is this.
        settings: say where it is, if host and port do not, and how to connect.

    Returns:
        A context manager; its ``close`` removes the names.

    Raises:
        DaemonError: the daemon does not listen, or an object cannot be registered in it.
        NamingError: no name server was found, or it does not take a name.
        CommunicationError: it does not answer.
        TypeError: a part is of another type.
    """
    if not daemon.locations:
        raise DaemonError("only objects of a daemon that listens can have names for others")
    if isinstance(metadata, str):
        raise TypeError("metadata should not be a str, but another iterable (set, list, etc)")
    uris = {name: _uri_of(daemon, target) for name, target in objects.items()}
    if hasattr(metadata, "keys"):
        tags = {name: list(metadata.get(name, ())) for name in uris}  # type: ignore[attr-defined]
    else:
        same = list(metadata)
        tags = dict.fromkeys(uris, same)
    publication = Publication(daemon, uris, tags, ttl, _Finder(host, port, settings))
    publication.begin(safe=safe)
    return publication


class _Finder:
    """Finds the name server, as often as it is needed."""

    def __init__(self, host: object, port: int | None, settings: Settings) -> None:
        self._location = None if host is None else location_of(host, port, settings)
        self._port = port
        self._settings = settings

    def __call__(self, ttl: float) -> NameServerProxy:
        """Return a proxy whose calls do not take longer than a lease allows.

        Raises:
            NamingError: there is none.
        """
        search = Search(NameServerProxy, self._settings, monotonic() + max(ttl, 1.0))
        found: NameServerProxy
        if self._location is None:
            found = search.anywhere(self._port)
        else:
            found = search.at(self._location)
        found._pyroTimeout = self._settings.COMMTIMEOUT or max(ttl, 1.0)  # noqa: SLF001
        return found


def _uri_of(daemon: Daemon, target: Any) -> str:
    """Return the URI of what is to get a name; an object that is not registered yet is.

    Raises:
        DaemonError: it cannot be registered.
    """
    if isinstance(target, URI):
        return str(target)
    if not isinstance(target, str) and daemon.registry.find(target) is None:
        return str(daemon.register(target))
    return str(daemon.uriFor(target))


def _log() -> Any:
    from pyroipc import logs

    return logs.get("naming")

"""References: objects that do not travel, but are called where they are, over one connection.

A registered object that is passed or returned becomes a reference, and at the other end a proxy
that calls back over the same connection. A proxy that comes home becomes the object again.

Each end counts. The end that hosts an object counts how often it sent a reference to it, and
keeps the object as long as that is not zero. The other end counts how often it received it; when
its proxy goes, it says so many times less. Nothing of that happens inside the garbage collector,
where no lock may be taken: the end of a proxy is only put on a queue (:mod:`janitor`).

What a reference looks like: ``["ref", object id, key of its class]``, with the text of its URI if
others can reach it, too; for an object that comes home ``["home", object id]``; and for one of a
third party, which has to have an address, ``["uri", text]``. The metadata of a class is asked for
once per connection.
"""

from __future__ import annotations

import os
import weakref
from _thread import RLock, get_ident
from copyreg import dispatch_table
from types import MappingProxyType

from pyroipc.client import janitor, sharing
from pyroipc.errors import CommunicationError, SerializeError
from pyroipc.protocol.blobs import BlobError, SerializedBlob
from pyroipc.serializers.passengers import makers
from pyroipc.wire.message import RELEASE
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from pyroipc.client.exported import Exported
    from pyroipc.client.session import Session
    from pyroipc.serializers.passengers import Passenger
    from pyroipc.wire.message import Buffer

    class Home(Protocol):
        """What knows the objects of this end."""

        def find_home(self, object_id: str) -> object:
            """Return an object of this end that comes home."""

        def find_entry(self, object_id: str) -> Any:
            """Say what an id means without any reference; None: nothing."""

        def classes_for(self, object_id: str, member: str) -> Mapping[str, type]:
            """Say which classes the annotations of a member name."""
            ...

    class Host(Protocol):
        """A daemon, as far as references are concerned."""

        def export(self, value: object, session: Session) -> Exported | None:
            """Say under which id a peer may call a value; None: it is not registered here."""

        def address_of(self, object_id: str) -> str | None:
            """Return the URI under which others can reach an object; None: there is none."""
            ...

        def attach(self, session: Session) -> None:
            """See to it that requests of the peer are served, if nobody does yet."""


types: dict[type, int] = {}
"""The types of the objects that are registered in this process, and how many there are of each."""
_hosts: weakref.WeakSet[Host] = weakref.WeakSet()
_senders: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
_NOTHING: Any = MappingProxyType({})
_nothing: Callable[[], Any] = weakref.ref(set())  # to what is gone at once
_lock = RLock()  # of all tables: reentrant, for a signal handler may send objects as well
_GRACE_SECONDS = 0.2
"""How long an object stays that the peer has let go: an answer that it made may bring it home."""
_FORMER_MAX = 1000
_RELEASE = plain_prefix(RELEASE, 0, 0)


def add_type(cls: type, host: Host) -> None:
    """Note that an object of this type was registered by a host."""
    _hosts.add(host)
    types[cls] = types.get(cls, 0) + 1


def look_at_type(cls: type) -> None:
    """Have values of a type looked at by pickle from now on: some travel as descriptors."""
    types.setdefault(cls, 1)


def remove_type(cls: type) -> None:
    """Note that an object of this type is not registered any more."""
    left = types.get(cls, 0) - 1
    if left > 0:
        types[cls] = left
    else:
        types.pop(cls, None)


def revoke() -> None:
    """Let nobody call any more what was unregistered."""
    for session in sharing.members_of(sharing.sessions):
        session.references.revoke()


def find_export(value: object, session: Session) -> tuple[Exported, str | None] | None:
    """Say what a registered object is for the peer of a session, and its URI, if it has one.

    For an instance of a registered class it is the URI of that class. Nothing is counted.
    """
    for host in sharing.members_of(_hosts):
        found = host.export(value, session)
        if found is not None:
            return found, host.address_of(found.origin.object_id)
    return None


def make_proxy(session: Session, object_id: str, class_key: int | None) -> Any:
    """Make a proxy; replaced by :mod:`proxy` when that is imported, which stands above this.

    Raises:
        SerializeError: nobody has said how to import it.
    """
    if load_proxy is None:
        raise SerializeError("a reference came to a process that uses no proxies")
    load_proxy()
    return make_proxy(session, object_id, class_key)


def make_address_proxy(uri: str) -> Any:
    """Make a proxy for an object that has an address; replaced as :func:`make_proxy` is.

    Raises:
        SerializeError: nobody has said how to import it.
    """
    if load_proxy is None:
        raise SerializeError("a proxy came to a process that uses no proxies")
    load_proxy()
    return make_address_proxy(uri)


load_proxy: Callable[[], None] | None = None
"""Imports the proxy when the first reference arrives; set by rooms above."""


class References:
    """The references of one connection, both ways; any thread.

    Args:
        session: not kept alive by this.
    """

    __slots__ = (
        "_changes",
        "_former",
        "_imports",
        "_leaving",
        "_session",
        "conversation",
        "entries",
        "exports",
        "home",
        "metadata",
        "types",
    )

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        # Empty tables that are never written to; the first reference brings others.
        self._changes: dict[int, int] = _NOTHING  # by what threads count that run take_back
        self._leaving: dict[str, Exported] = _NOTHING
        self._former: dict[str, weakref.ref[Any]] = _NOTHING
        self.conversation = 0
        """The number of the conversation; references of another one mean nothing."""
        self.types = types
        self.exports: dict[str, Exported] = _NOTHING
        """What the peer holds, by object id."""
        self.entries: dict[str, Any] = _NOTHING
        """Their entries; a guest serves these, and adds its own."""
        self._imports: dict[str, weakref.ref[Any]] = _NOTHING
        self.metadata: dict[int, Mapping[str, Any]] = _NOTHING
        """What is known of the peer's classes, by key."""
        self.home: Home | None = None
        """Knows the objects of this end; set by the host that serves."""

    def begin(self) -> None:
        """Make the tables, if there are none yet: most connections carry no references."""
        with _lock:
            if self.exports is _NOTHING:
                self._changes, self._leaving, self._former = {}, {}, {}
                self.entries, self._imports, self.metadata = {}, {}, {}
                self.exports = {}

    def classes_for(self, object_id: str, member: str) -> Mapping[str, type]:
        """Name the classes that the annotations of a hosted member allow, by qualified name."""
        return {} if self.home is None else self.home.classes_for(object_id, member)

    # --- out -------------------------------------------------------------------------------------

    def encode(self, value: object) -> list[Any] | None:
        """Return what stands for a registered object or a proxy; None for any other value.

        Raises:
            SerializeError: it is a proxy of a third party, which the peer cannot reach.
            BlobError: it is a blob beside other arguments.
        """
        cls = type(value)
        if cls in types:
            exported = self._export(value)
            if exported is not None:
                return _reference(exported)
        if cls is SerializedBlob:
            raise BlobError
        described = getattr(cls, "_pyroReference", None)
        if described is None:
            return None
        token, object_id = described(value)
        session = self._session()
        if session is None or token != session.token:
            address = value._pyro_address  # type: ignore[attr-defined] # noqa: SLF001
            if address is not None:
                return ["uri", address]
            raise SerializeError(
                f"the proxy for {object_id!r} goes over another connection, which the peer does "
                "not have; pass a registered object that calls it instead"
            )
        return ["home", object_id]

    def why_not_carried(self) -> str | None:
        """Say why no descriptors can go beside messages; None: they can."""
        session = self._session()
        from pyroipc.client.courier import why_not_carried  # when first needed

        return "the connection is gone" if session is None else why_not_carried(session)

    def begin_to_carry(self) -> None:
        """Prepare for descriptors beside messages; the first time this asks the peer."""
        if (session := self._session()) is not None:
            session.courier.begin()

    def lend(self, passenger: Passenger) -> list[Any] | None:
        """Return what stands for shared memory that the peer keeps; None for any other."""
        session = self._session()
        if session is None or not session.courier.loans.lends(passenger.holder):
            return None
        return ["lent", passenger.kind, passenger.data()]

    def reduce_lent(self, passenger: Passenger) -> tuple[Any, ...] | None:
        """Say how pickle is to send such memory; None likewise."""
        session, lent = self._session(), self.lend(passenger)
        return None if session is None or lent is None else (arrive, (session.token, lent))

    def reduce(self, value: object) -> str | tuple[Any, ...]:
        """Say how pickle is to send a value of one of ``types``."""
        exported = self._export(value)
        session = self._session()
        if exported is None or session is None:
            reduce = dispatch_table.get(type(value))  # what pickle would have used
            return value.__reduce_ex__(5) if reduce is None else reduce(value)
        return arrive, (session.token, _reference(exported))

    def _export(self, value: object) -> Exported | None:
        if (session := self._session()) is None:
            return None
        for host in sharing.members_of(_hosts):
            found = host.export(value, session)
            if found is not None:
                self.begin()
                with _lock:
                    exported = self._noted(found)
                    exported.count += self._changes.get(get_ident(), 1)
                host.attach(session)
                return exported
        return None

    def take_back(self, dumps: Callable[..., object], *args: Any) -> None:
        """Uncount the references in what was encoded, or failed to be, and will not be sent.

        Args:
            dumps: what encoded it; called once more.
            args: its arguments.
        """
        if not self.exports:
            return
        me = get_ident()
        change = self._changes.get(me, 1)
        self._changes[me] = -change
        try:
            dumps(*args)
        except Exception:  # noqa: BLE001, S110 - as it failed before
            pass
        finally:
            if change == 1:
                self._changes.pop(me, None)
                self._sweep()
            else:
                self._changes[me] = change

    def withdraw(self, data: list[Any]) -> None:
        """Uncount what ``encode`` returned: it was only a try."""
        if data[0] == "ref":
            change = self._changes.get(get_ident(), 1)
            with _lock:
                exported = self.exports.get(data[1])
                if exported is not None:
                    exported.count -= change
            if change == 1:
                self._sweep()

    def withdraw_reduced(self, reduced: str | tuple[Any, ...]) -> None:
        """Uncount what ``reduce`` returned: it was only a try."""
        if type(reduced) is tuple and reduced[0] is arrive:
            self.withdraw(reduced[1][1])

    def _sweep(self) -> None:
        """Let go what the peer does not hold any more."""
        with _lock:
            gone = [exported for exported in self.exports.values() if exported.count <= 0]
            for exported in gone:
                del self.exports[exported.object_id]
                self.entries.pop(exported.object_id, None)
                # It may be on its way home: what was received is decoded after this perhaps.
                self._leaving[exported.object_id] = exported
        if gone:
            janitor.start()
            janitor.later_on(_GRACE_SECONDS, self._leave, gone)

    def _leave(self, gone: list[Exported]) -> None:
        """Drop objects; by the janitor, for the end of an object may run anything."""
        for exported in gone:
            if self._leaving.get(exported.object_id) is exported:
                del self._leaving[exported.object_id]
                try:
                    self._former[exported.object_id] = weakref.ref(exported.target)
                except TypeError:
                    pass
        if len(self._former) > _FORMER_MAX:
            former = {key: known for key, known in self._former.items() if known() is not None}
            self._former = former
        gone.clear()

    def _home(self, object_id: str) -> object:
        """Return an object of this end that came home.

        Raises:
            SerializeError: it is not here, or not any more.
        """
        if object_id not in self.exports:
            leaving = self._leaving.get(object_id)
            if leaving is not None:
                return leaving.target
            target = self._former.get(object_id, _nothing)()
            if target is not None:
                return target
        if self.home is None:
            raise SerializeError(f"object {object_id!r} is not here: nothing is hosted")
        return self.home.find_home(object_id)

    def _noted(self, found: Exported) -> Exported:
        """Return the export of this object, under an id that is no other object's here."""
        known = self.exports.get(found.object_id)
        if known is not None and known.target is found.target and known.origin is found.origin:
            return known
        served = None if self.home is None else self.home.find_entry(found.object_id)
        if known is not None or (served is not None and served is not found.origin):
            for other in self.exports.values():
                if other.target is found.target and other.origin is found.origin:
                    return other
            found.object_id = f"{found.object_id}~{os.urandom(8).hex()}"
        self.exports[found.object_id] = found
        self.entries[found.object_id] = found.entry
        return found

    def revoke(self) -> None:
        """Let nobody call any more what was unregistered."""
        with _lock:
            for exported in self.exports.values():
                if exported.origin.is_withdrawn:
                    self.entries.pop(exported.object_id, None)

    def released(self, payload: Buffer) -> None:
        """Take note of what the peer has no more use for: lines of a count and an object id."""
        for line in bytes(payload).decode("utf-8", "replace").split("\n"):
            count, _, object_id = line.partition(" ")
            if count.isdecimal() and len(count) < 10:
                with _lock:
                    exported = self.exports.get(object_id)
                    if exported is not None:
                        exported.count -= int(count)
        self._sweep()

    # --- in --------------------------------------------------------------------------------------

    def decode(self, data: list[Any]) -> object:
        """Return what a reference of the peer stands for: a proxy, or an object of this end.

        Raises:
            SerializeError: the peer sent nonsense, or the object is not here any more.
        """
        session = self._session()
        match data:
            case ["home", str(object_id)] if session is not None:
                return self._home(object_id)
            case ["ref", str(object_id), int(class_key)] if session is not None:
                return self._import(session, object_id, class_key, None)
            case ["ref", str(object_id), int(class_key), str(uri)] if session is not None:
                return self._import(session, object_id, class_key, uri)
            case ["lent", "array" | "memory" as kind, [bytes(token), *_] as described] if session:
                return makers[kind](session.courier.loans, token, described)  # type: ignore[arg-type]
            case ["uri", str(uri)]:
                return make_address_proxy(uri)
        raise SerializeError("this is not a reference to an object")

    def _import(self, session: Session, object_id: str, class_key: int, uri: str | None) -> object:
        """Return the proxy for an object of the peer, always the same while it lives."""
        self.begin()
        with _lock:
            proxy = self._imports.get(object_id, _nothing)()
            if proxy is None:
                janitor.start()
                proxy = make_proxy(session, object_id, class_key)
                proxy.__dict__["_pyro_address"] = uri
                self._imports[object_id] = weakref.ref(proxy)
            else:
                proxy.__dict__["_pyro_hold"].received += 1
            return proxy

    def proxy_for(self, object_id: str) -> Any:
        """Return a proxy for an object of the peer: the one there is, or a new one."""
        session = self._session()
        proxy = self._imports.get(object_id, _nothing)()
        if proxy is None and session is not None:
            proxy = make_proxy(session, object_id, None)
        return proxy

    def release(self, session: Session, object_id: str, count: int, conversation: int) -> None:
        """Tell the peer that a reference that came ``count`` times is not held any more."""
        with _lock:
            if self._imports.get(object_id, _nothing)() is None:
                self._imports.pop(object_id, None)
        if session.is_open and conversation == self.conversation:
            payload = f"{count} {object_id}".encode()
            try:
                session.post(encode_plain(_RELEASE, session.next_id(), payload), None)
            except CommunicationError:
                pass  # then the peer knows

    def end(self) -> None:
        """Forget everything: the conversation has ended."""
        with _lock:
            self.conversation += 1
            if self.exports is _NOTHING:
                return
            gone = list(self.exports.values())
            self.exports.clear()
            self.entries.clear()
            proxies = [reference() for reference in self._imports.values()]
            self._imports.clear()
            self.metadata.clear()
            self._former.clear()
        for proxy in proxies:
            if proxy is not None:
                proxy._pyro_forget()  # noqa: SLF001
        if gone:
            janitor.start()
            janitor.later(gone.clear)  # not here: the end of an object may run anything


def _reference(exported: Exported) -> list[Any]:
    """Return what stands for an object of this end."""
    reference = ["ref", exported.object_id, exported.class_key]
    return reference if exported.uri is None else [*reference, exported.uri]


def arrive(token: str, data: list[Any]) -> object:
    """Return what a pickled reference stands for; ``token`` is that of the sender's session.

    Raises:
        SerializeError: this process does not have the other end of that session.
    """
    known = _senders.get(token)
    for session in sharing.members_of(sharing.sessions) if known is None else (known,):
        hello = session.peer_hello
        if hello is not None and hello.session == token and session.is_open:
            _senders[token] = session
            return session.references.decode(data)
    raise SerializeError(
        f"a reference to {data[1]!r} came from a connection that process {os.getpid()} does "
        "not have"
    )


def _after_fork_in_child() -> None:
    global _lock
    _lock = RLock()


sharing.after_fork.append(_after_fork_in_child)

"""References: objects that do not travel, but are called where they are, over one connection.

A registered object that is passed or returned becomes a reference, and at the other end a proxy
that calls back over the same connection. A proxy that comes home becomes the object again.

Each end counts. The end that hosts an object counts how often it sent a reference to it, and
keeps the object as long as that is not zero. The other end counts how often it received it; when
its proxy goes, it says so many times less. Nothing of that happens inside the garbage collector,
where no lock may be taken: the end of a proxy is only put on a queue (:mod:`janitor`).

What a reference looks like: ``["ref", object id, key of its class]``, and for an object that
comes home ``["home", object id]``. The metadata of a class is asked for once per connection.
"""

from __future__ import annotations

import os
import weakref

from pyroipc.client import janitor, sharing
from pyroipc.errors import CommunicationError, SerializeError
from pyroipc.protocol.blobs import BlobError, SerializedBlob
from pyroipc.wire.message import RELEASE
from pyroipc.wire.native import encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from pyroipc.client.session import Session
    from pyroipc.serializers.base import ClassesFor
    from pyroipc.wire.message import Buffer

    class Host(Protocol):
        """A daemon, as far as references are concerned."""

        def export(self, value: object, session: Session) -> Exported | None:
            """Say under which id a peer may call a value; None: it is not registered here."""

        def attach(self, session: Session) -> None:
            """See to it that requests of the peer are served, if nobody does yet."""


class Exported:
    """An object that peers may refer to.

    Args:
        object_id: its id over there.
        class_key: a number that is the same for all objects with the same members.
        entry: what the host needs to call it.
        target: the object; kept alive by the reference.
    """

    __slots__ = ("class_key", "count", "entry", "object_id", "target")

    def __init__(self, object_id: str, class_key: int, entry: Any, target: object) -> None:
        self.object_id = object_id
        self.class_key = class_key
        self.entry = entry
        self.target = target
        self.count = 0


types: dict[type, int] = {}
"""The types of the objects that are registered in this process, and how many there are of each."""
_hosts: weakref.WeakSet[Host] = weakref.WeakSet()
_RELEASE = plain_prefix(RELEASE, 0, 0)


def add_type(cls: type, host: Host) -> None:
    """Note that an object of this type was registered by a host."""
    _hosts.add(host)
    types[cls] = types.get(cls, 0) + 1


def remove_type(cls: type) -> None:
    """Note that an object of this type is not registered any more."""
    left = types.get(cls, 0) - 1
    if left > 0:
        types[cls] = left
    else:
        types.pop(cls, None)


def make_proxy(session: Session, object_id: str, class_key: int | None) -> Any:
    """Make a proxy; replaced by :mod:`proxy` when that is imported, which stands above this.

    Raises:
        SerializeError: nobody has said how to import it.
    """
    if load_proxy is None:
        raise SerializeError("a reference came to a process that uses no proxies")
    load_proxy()
    return make_proxy(session, object_id, class_key)


load_proxy: Callable[[], None] | None = None
"""Imports the proxy when the first reference arrives; set by rooms above."""


class References:
    """The references of one connection, both ways; any thread.

    Args:
        session: not kept alive by this.
    """

    __slots__ = (
        "_imports",
        "_session",
        "allowed_classes",
        "entries",
        "exports",
        "find_home",
        "metadata",
        "types",
    )

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self.types = types
        self.exports: dict[str, Exported] = {}
        """What the peer holds, by object id."""
        self.entries: dict[str, Any] = {}
        """Their entries; a guest serves these, and adds its own."""
        self._imports: dict[str, weakref.ref[Any]] = {}
        self.metadata: dict[int, Mapping[str, Any]] = {}
        """What is known of the peer's classes, by key."""
        self.find_home: Callable[[str], object] | None = None
        """Finds an object of this end that comes home; set by the host that serves."""
        self.allowed_classes: ClassesFor | None = None
        """Says which classes the annotations of a member name; set by the host that serves."""

    def classes_for(self, object_id: str, member: str) -> Mapping[str, type]:
        """Name the classes that the annotations of a hosted member allow, by qualified name."""
        return {} if self.allowed_classes is None else self.allowed_classes(object_id, member)

    # --- out -------------------------------------------------------------------------------------

    def encode(self, value: object) -> list[Any] | None:
        """Return what stands for a registered object or a proxy; None for any other value.

        Raises:
            SerializeError: it is a proxy of a third party, which the peer cannot reach.
        """
        cls = type(value)
        if cls in types:
            exported = self._export(value)
            if exported is not None:
                return ["ref", exported.object_id, exported.class_key]
        if cls is SerializedBlob:
            raise BlobError
        described = getattr(cls, "_pyroReference", None)
        if described is None:
            return None
        token, object_id = described(value)
        session = self._session()
        if session is None or token != session.token:
            raise SerializeError(
                f"the proxy for {object_id!r} goes over another connection, which the peer does "
                "not have; pass a registered object that calls it instead"
            )
        return ["home", object_id]

    def reduce(self, value: object) -> str | tuple[Any, ...]:
        """Say how pickle is to send a value of one of ``types``."""
        exported = self._export(value)
        session = self._session()
        if exported is None or session is None:
            return value.__reduce_ex__(5)
        return arrive, (session.token, ["ref", exported.object_id, exported.class_key])

    def _export(self, value: object) -> Exported | None:
        session = self._session()
        if session is None:
            return None
        for host in list(_hosts):
            found = host.export(value, session)
            if found is not None:
                exported = self.exports.setdefault(found.object_id, found)
                self.entries.setdefault(found.object_id, exported.entry)
                exported.count += 1
                host.attach(session)
                return exported
        return None

    def released(self, payload: Buffer) -> None:
        """Take note of what the peer has no more use for: lines of a count and an object id."""
        for line in bytes(payload).decode("utf-8", "replace").split("\n"):
            count, _, object_id = line.partition(" ")
            exported = self.exports.get(object_id)
            if exported is not None and count.isdecimal() and len(count) < 10:
                exported.count -= int(count)
                if exported.count <= 0:
                    self.exports.pop(object_id, None)
                    self.entries.pop(object_id, None)

    # --- in --------------------------------------------------------------------------------------

    def decode(self, data: list[Any]) -> object:
        """Return what a reference of the peer stands for: a proxy, or an object of this end.

        Raises:
            SerializeError: the peer sent nonsense, or the object is not here any more.
        """
        session = self._session()
        match data:
            case ["home", str(object_id)] if session is not None:
                if self.find_home is None:
                    raise SerializeError(f"object {object_id!r} is not here: nothing is hosted")
                return self.find_home(object_id)
            case ["ref", str(object_id), int(class_key)] if session is not None:
                return self._import(session, object_id, class_key)
        raise SerializeError("this is not a reference to an object")

    def _import(self, session: Session, object_id: str, class_key: int) -> object:
        """Return the proxy for an object of the peer, always the same while it lives."""
        known = self._imports.get(object_id)
        proxy = None if known is None else known()
        if proxy is None:
            proxy = make_proxy(session, object_id, class_key)
            self._imports[object_id] = weakref.ref(proxy)
            janitor.release_with(proxy, session, object_id)
        else:
            proxy.__dict__["_pyro_received"][0] += 1
        return proxy

    def proxy_for(self, object_id: str) -> Any:
        """Return a proxy for an object of the peer: the one there is, or a new one."""
        session = self._session()
        known = self._imports.get(object_id)
        proxy = None if known is None else known()
        if proxy is None and session is not None:
            proxy = make_proxy(session, object_id, None)
        return proxy

    def release(self, session: Session, object_id: str, count: int) -> None:
        """Tell the peer that a reference that came ``count`` times is not held any more."""
        if session.is_open:
            payload = f"{count} {object_id}".encode()
            try:
                session.post(encode_plain(_RELEASE, session.next_id(), payload), None)
            except CommunicationError:
                pass  # then the peer knows

    def end(self) -> None:
        """Forget everything: the conversation has ended."""
        self.exports.clear()
        self.entries.clear()
        self._imports.clear()
        self.metadata.clear()


def arrive(token: str, data: list[Any]) -> object:
    """Return what a pickled reference stands for; ``token`` is that of the sender's session."""
    for session in list(sharing.sessions):
        hello = session.peer_hello
        if hello is not None and hello.session == token and session.is_open:
            return session.references.decode(data)
    raise SerializeError(
        f"a reference to {data[1]!r} came from a connection that process {os.getpid()} does not have"
    )

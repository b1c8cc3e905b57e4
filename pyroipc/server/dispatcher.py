"""From a decoded call to the user's method: the one place where a member is reached.

Every message that can run something of the user's goes through :meth:`Dispatcher.find` or one of
its neighbours here, and they only know the tables of :mod:`pyroipc.server.exposure`.
"""

from __future__ import annotations

from pyroipc.errors import DaemonError, SerializeError
from pyroipc.protocol.calls import GET_ATTRIBUTE, SET_ATTRIBUTE
from pyroipc.server.exposure import METHOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from pyroipc.client.references import References
    from pyroipc.server.registry import Entry, Registry


class Instances:
    """The instances of registered classes that live as long as a conversation, or a daemon.

    Args:
        make_lock: makes what is held while an instance is made, so that two threads do not make
            two; called when the first one is.
    """

    __slots__ = ("_by_entry", "_lock", "_make_lock")

    def __init__(self, make_lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self._by_entry: dict[Entry, Any] | None = None
        self._lock: AbstractContextManager[Any] | None = None
        self._make_lock = make_lock

    def get(self, entry: Entry) -> Any:
        """Return the instance of a class, made when it is first asked for."""
        known = self._by_entry
        if known is not None and entry in known:
            return known[entry]
        lock = self._lock
        if lock is None:
            # Of two threads that come here at once, both go on with the lock of the one that
            # stored it last: no call stands between the two statements.
            made = self._make_lock()
            if self._lock is None:
                self._lock = made
            lock = self._lock
        with lock:
            if self._by_entry is None:
                self._by_entry = {}
            if entry not in self._by_entry:
                self._by_entry[entry] = make_instance(entry)
            return self._by_entry[entry]

    def find_entry(self, instance: object) -> Entry | None:
        """Return the entry whose instance this is, or None."""
        for entry, known in list((self._by_entry or {}).items()):
            if known is instance:
                return entry
        return None

    def clear(self) -> None:
        """Let all instances go."""
        self._by_entry = None


def make_instance(entry: Entry) -> Any:
    """Make an instance of a registered class.

    Raises:
        TypeError: its creator returned something else.
    """
    creator = entry.instancing[1]
    if creator is None:
        return entry.cls()
    instance = creator(entry.cls)
    if not isinstance(instance, entry.cls):
        kind = type(instance).__name__
        raise TypeError(f"the instance creator of {entry.cls.__name__} returned a {kind}")
    return instance


class Dispatcher:
    """Finds what a call of one conversation means.

    Args:
        registry: the objects of the daemon.
        single: the instances that all conversations share.
        session: the instances of this conversation.
        references: know the objects to which the peer was sent references; None: none.
    """

    __slots__ = ("_registry", "_single", "entries", "references", "session_instances")

    def __init__(
        self,
        registry: Registry,
        single: Instances,
        session: Instances,
        references: References | None = None,
    ) -> None:
        self._registry = registry
        self.entries = registry.entries
        """The entries by object id; an entry's ``methods`` can be called right away."""
        self._single = single
        self.session_instances = session
        """The instances that live as long as the conversation."""
        self.references = references
        """Know the objects to which the peer was sent references."""

    def find(self, object_id: str, member: str) -> Callable[..., Any]:
        """Return what to call, with the arguments of the call, for a member of an object.

        Raises:
            DaemonError: unknown object.
            AttributeError: the member is missing, private or not exposed.
        """
        entry = self.entry(object_id)
        known = entry.members.get(member) if isinstance(member, str) else None
        if known is not None and known.kind == METHOD:
            return known.bind(self.instance(entry))
        return self.finder(object_id)(member)

    def finder(self, object_id: str) -> Callable[[str], Callable[..., Any]]:
        """Return a function that finds members of an object, all of the same instance.

        Raises:
            DaemonError: unknown object.
        """
        entry = self.entry(object_id)
        made: list[Any] = []

        def instance() -> Any:
            if not made:
                made.append(self.instance(entry))
            return made[0]

        def find(member: str) -> Callable[..., Any]:
            if member == GET_ATTRIBUTE:
                return lambda name: _get_attribute(entry, instance, name)
            if member == SET_ATTRIBUTE:
                return lambda name, value: _set_attribute(entry, instance, name, value)
            known = entry.members.get(member) if isinstance(member, str) else None
            if known is None or known.kind != METHOD:
                raise entry.not_exposed(member)
            return known.bind(instance())

        return find

    def entry(self, object_id: object) -> Entry:
        """Return the entry of an object id.

        Raises:
            DaemonError: there is none.
        """
        references = self.references
        if references is not None and isinstance(object_id, str) and object_id not in self.entries:
            exported = references.exports.get(object_id)
            if exported is not None and not exported.origin.is_withdrawn:
                entry: Entry = exported.entry
                return entry
        return self._registry.get(object_id)

    def instance(self, entry: Entry) -> Any:
        """Return the object that an entry stands for.

        Raises:
            DaemonError: it was registered weakly, and is gone.
        """
        if not entry.is_class:
            target = entry.target()
            if target is None:
                raise DaemonError(f"the weakly registered object {entry.object_id!r} is gone")
            return target
        mode = entry.instancing[0]
        if mode == "session":
            return self.session_instances.get(entry)
        return self._single.get(entry) if mode == "single" else make_instance(entry)

    def find_home(self, object_id: str) -> Any:
        """Return the object itself to which the peer has sent a reference home.

        Raises:
            SerializeError: it is not here, or is made for each call.
        """
        try:
            entry = self.entry(object_id)
        except DaemonError as error:
            raise SerializeError(f"a reference came home, but: {error}") from None
        if entry.is_class and entry.instancing[0] == "percall":
            raise SerializeError(f"object {object_id!r} is another one in each call")
        return self.instance(entry)

    def is_callback(self, object_id: str, member: str) -> bool:
        """Say whether exceptions of a member are to be reported at this end too."""
        try:
            known = self.entry(object_id).members.get(member)
        except (DaemonError, TypeError):
            return False
        return known is not None and known.callback

    def classes_for(self, object_id: str, member: str) -> Mapping[str, type]:
        """Name the classes that the annotations of an exposed member allow as arguments."""
        from pyroipc.server.argument_classes import classes_of

        try:
            known = self.entry(object_id).members.get(member)
        except (DaemonError, TypeError):
            return {}
        if known is None or known.kind != METHOD:
            return {}
        return classes_of(getattr(known.definition, "__func__", known.definition))


def _get_attribute(entry: Entry, instance: Callable[[], Any], name: str) -> Any:
    member = entry.members.get(name) if isinstance(name, str) else None
    if member is None or member.getter is None:
        raise entry.not_exposed(name)
    return member.getter(instance())


def _set_attribute(entry: Entry, instance: Callable[[], Any], name: str, value: Any) -> None:
    member = entry.members.get(name) if isinstance(name, str) else None
    if member is None or (member.getter is None and member.setter is None):
        raise entry.not_exposed(name)
    if member.setter is None:
        raise AttributeError(f"attribute {name!r} is read-only for remote callers")
    member.setter(instance(), value)

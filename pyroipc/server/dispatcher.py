"""From a decoded call to the user's method: the one place where a member is reached.

Every message that can run something of the user's goes through :func:`find` or one of its
neighbours here, and they only know the tables of :mod:`pyroipc.server.exposure`.
"""

from __future__ import annotations

from pyroipc.errors import DaemonError
from pyroipc.protocol.calls import GET_ATTRIBUTE, SET_ATTRIBUTE
from pyroipc.server.exposure import METHOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.server.registry import Entry, Registry


class Instances:
    """The instances of registered classes that live as long as a conversation, or a daemon."""

    __slots__ = ("_by_entry",)

    def __init__(self) -> None:
        self._by_entry: dict[Entry, Any] = {}

    def get(self, entry: Entry) -> Any:
        """Return the instance of a class, made when it is first asked for."""
        try:
            return self._by_entry[entry]
        except KeyError:
            instance = make_instance(entry)
            return self._by_entry.setdefault(entry, instance)

    def clear(self) -> None:
        """Let all instances go."""
        self._by_entry.clear()


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
    """

    __slots__ = ("_registry", "_session", "_single", "entries")

    def __init__(self, registry: Registry, single: Instances) -> None:
        self._registry = registry
        self.entries = registry.entries
        """The entries by object id; an entry's ``methods`` can be called right away."""
        self._single = single
        self._session = Instances()

    def find(self, object_id: str, member: str) -> Callable[..., Any]:
        """Return what to call, with the arguments of the call, for a member of an object.

        Raises:
            DaemonError: unknown object.
            AttributeError: the member is missing, private or not exposed.
        """
        entry = self._registry.get(object_id)
        if member == GET_ATTRIBUTE:
            return lambda name: self._get_attribute(entry, name)
        if member == SET_ATTRIBUTE:
            return lambda name, value: self._set_attribute(entry, name, value)
        known = entry.members.get(member) if isinstance(member, str) else None
        if known is None or known.kind != METHOD:
            raise entry.not_exposed(member)
        return known.bind(self._instance(entry))

    def _instance(self, entry: Entry) -> Any:
        if not entry.is_class:
            target = entry.target()
            if target is None:
                raise DaemonError(f"the weakly registered object {entry.object_id!r} is gone")
            return target
        mode = entry.instancing[0]
        if mode == "session":
            return self._session.get(entry)
        return self._single.get(entry) if mode == "single" else make_instance(entry)

    def _get_attribute(self, entry: Entry, name: str) -> Any:
        member = entry.members.get(name) if isinstance(name, str) else None
        if member is None or member.getter is None:
            raise entry.not_exposed(name)
        return member.getter(self._instance(entry))

    def _set_attribute(self, entry: Entry, name: str, value: Any) -> None:
        member = entry.members.get(name) if isinstance(name, str) else None
        if member is None or (member.getter is None and member.setter is None):
            raise entry.not_exposed(name)
        if member.setter is None:
            raise AttributeError(f"attribute {name!r} is read-only for remote callers")
        member.setter(self._instance(entry), value)

    def end_conversation(self) -> None:
        """Let go what lived as long as the conversation."""
        self._session.clear()

"""The objects that a daemon hosts, by id.

Registration lives here: nothing is written to the user's objects, and none of their code runs.
An entry binds the members of an object once, so that a call looks up two dictionaries and calls.

Any thread may register and unregister at any time, and there is no lock: each step is one
operation on one dictionary. ``entries`` is what counts; the index by identity follows it, and an
index entry whose registration is gone means nothing.
"""

from __future__ import annotations

import os
import weakref

from pyroipc.errors import DaemonError
from pyroipc.server.exposure import (
    INSTANCING,
    METHOD,
    attributes_of,
    exposed_members,
    is_a,
    name_of,
    not_exposed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.server.exposure import MemberTable


class Entry:
    """One registered object or class.

    ``methods`` has the bound methods of a registered object, ready to be called. It is empty for
    a registered class, whose instances are made by :attr:`instancing`, and for weak entries.

    Args:
        object_id: its id.
        target: the object or class.
        public: see :func:`~pyroipc.server.exposure.exposed_members`.
        interface: the allow-list; see :mod:`~pyroipc.server.interfaces`.
        gone: given for a weak entry: called with its claim when the object is collected.

    Raises:
        TypeError: the object lacks members of the interface, or cannot be held weakly.
    """

    __slots__ = (
        "claim", "cls", "instancing", "is_class", "is_withdrawn", "members", "methods",
        "object_id", "target", "target_id",
    )  # fmt: skip

    def __init__(
        self,
        object_id: str,
        target: Any,
        *,
        public: bool = False,
        interface: type | None = None,
        gone: Callable[[_Claim], None] | None = None,
    ) -> None:
        self.object_id = object_id
        self.is_withdrawn = False
        """Whether it was unregistered."""
        self.is_class = is_a(target, type)
        self.cls: type = target if self.is_class else type(target)
        self.target_id = id(target)
        self.claim = _Claim(object_id, self.target_id)
        self.members: MemberTable = _members(self.cls, target, interface, public=public)
        self.instancing: tuple[str, Callable[[type], Any] | None] = ("session", None)
        if self.is_class and (found := attributes_of(self.cls).get(INSTANCING)):
            self.instancing = found[1]
        self.target: Callable[[], Any] = (
            _weak(target, self.claim, gone) if gone else lambda: target
        )
        self.methods: dict[str, Callable[..., Any]] = {}
        if not self.is_class and not gone:
            self.methods = {
                name: member.bind(target)
                for name, member in self.members.items()
                if member.kind == METHOD and member.binds_plainly
            }

    def for_instance(self, instance: object) -> Entry:
        """Return the entry of one instance of this registered class, to be called as an object."""
        entry: Entry = Entry.__new__(Entry)
        for name in Entry.__slots__:
            setattr(entry, name, getattr(self, name))
        entry.is_class = False
        entry.target = lambda: instance
        return entry

    @property
    def class_key(self) -> int:
        """A number that all entries with the same table of members share, in this process."""
        return self.members.key

    def not_exposed(self, name: object) -> AttributeError:
        """Make the error for a member that may not be called."""
        return not_exposed(name_of(self.cls), self.members, str(name))

    def metadata(self) -> dict[str, list[str]]:
        """Name the members, as Pyro's ``get_metadata`` does."""
        methods = [m for m in self.members.values() if m.kind == METHOD]
        return {
            "methods": sorted(m.name for m in methods),
            "oneway": sorted(m.name for m in methods if m.oneway),
            "attrs": sorted(m.name for m in self.members.values() if m.kind != METHOD),
        }


class _Claim:
    """Says which entry an object has; it holds neither the entry nor the object."""

    __slots__ = ("object_id", "target_id")

    def __init__(self, object_id: str, target_id: int) -> None:
        self.object_id = object_id
        self.target_id = target_id


def _members(cls: type, target: Any, interface: type | None, *, public: bool) -> MemberTable:
    if interface is None:
        return exposed_members(cls, public=public)
    from pyroipc.server.interfaces import interface_members  # few need it

    return interface_members(cls, interface, target)


def _weak(target: Any, claim: _Claim, gone: Callable[[_Claim], None]) -> Callable[[], Any]:
    """Make a weak reference.

    Raises:
        TypeError: the class of the object does not allow them.
    """
    try:
        return weakref.ref(target, lambda _: gone(claim))
    except TypeError:
        raise TypeError(
            f"a {name_of(type(target))} cannot be registered weakly: its class takes no weak "
            "references; add '__weakref__' to its __slots__, or register it without weak=True"
        ) from None


class Registry:
    """Ids and what they stand for. Methods may be called by any thread.

    An object has one id at a time; which object is which is a matter of identity alone.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._claims: dict[int, _Claim] = {}

    def register(
        self,
        target: Any,
        object_id: str | None,
        *,
        public: bool = False,
        force: bool = False,
        weak: bool = False,
        interface: type | None = None,
    ) -> Entry:
        """Add an object or a class.

        Args:
            target: the object or class; it is not written to.
            object_id: its id; None: one is made.
            public: if it uses no marks, all its public members are callable.
            force: an object that has this id loses it; an id that this object had is dropped.
            weak: do not keep the object alive; it is unregistered when it is collected.
            interface: a class, ABC or Protocol: its public members are callable, and no others.

        Raises:
            DaemonError: the id is taken, or the object is registered already, and not ``force``.
            TypeError: the id is not a str; a class is to be held weakly, or an object that takes
                no weak references; or the object lacks members of the interface.
        """
        if object_id is None:
            object_id = f"obj_{os.urandom(16).hex()}"
        if not isinstance(object_id, str):
            raise TypeError(f"an object id is a str, not {type(object_id).__name__}")
        if weak and is_a(target, type):
            raise TypeError("a class cannot be registered weakly")
        entry = Entry(
            object_id,
            target,
            public=public,
            interface=interface,
            gone=self._collected() if weak else None,
        )
        if force:
            self._replace(entry, target)
        else:
            self._add(entry, target)
        return entry

    def _add(self, entry: Entry, target: object) -> None:
        """Add an entry, unless its object or its id has one.

        Raises:
            DaemonError: one of them has.
        """
        known = self.find(target)
        if known is None:
            taken = self.entries.setdefault(entry.object_id, entry)
            if taken is not entry:
                raise DaemonError(
                    f"an object is registered under the id {entry.object_id!r} already; "
                    "force=True replaces it"
                )
            known = self._claim(entry)
            if known is None:
                return
            self._forget(entry)  # another thread was faster
        raise DaemonError(
            f"the object is registered already, as {known.object_id!r}; "
            "force=True gives it the new id instead"
        )

    def _claim(self, entry: Entry) -> Entry | None:
        """Make this the entry of its object; return the one that it has already, or None."""
        while True:
            held = self._claims.setdefault(entry.target_id, entry.claim)
            if held is entry.claim:
                return None
            known = self.entries.get(held.object_id)
            if known is not None and known.claim is held:
                return known
            self._release(held)  # of an entry that is gone

    def _release(self, claim: _Claim) -> None:
        """Take a claim away, unless another one has replaced it."""
        if self._claims.get(claim.target_id) is claim:
            held = self._claims.pop(claim.target_id, None)
            if held is not None and held is not claim:  # replaced between the two lines
                self._claims.setdefault(claim.target_id, held)

    def _replace(self, entry: Entry, target: object) -> None:
        """Add an entry in place of what its object or its id had."""
        known = self.find(target)
        replaced = self.entries.get(entry.object_id)
        self.entries[entry.object_id] = entry  # callers see the old one or the new one
        self._claims[entry.target_id] = entry.claim
        for old in (known, replaced):
            if old is not None:
                self._forget(old)

    def _forget(self, entry: Entry) -> None:
        entry.is_withdrawn = True
        if self.entries.get(entry.object_id) is entry:
            held = self.entries.pop(entry.object_id, None)
            if held is not None and held is not entry:  # replaced between the two lines
                self.entries.setdefault(entry.object_id, held)
        self._release(entry.claim)

    def _collected(self) -> Callable[[_Claim], None]:
        """Return what a weak reference calls; it does not keep the registry alive."""
        reference = weakref.ref(self)

        def forget(claim: _Claim) -> None:
            registry = reference()
            entry = None if registry is None else registry.entries.get(claim.object_id)
            if registry is not None and entry is not None and entry.claim is claim:
                registry._forget(entry)  # noqa: SLF001 - it is a method of this class

        return forget

    def clear(self) -> None:
        """Let all objects go."""
        for entry in list(self.entries.values()):
            entry.is_withdrawn = True
        self.entries.clear()
        self._claims.clear()

    def find(self, target: object) -> Entry | None:
        """Return the entry of an object or class, or None."""
        claim = self._claims.get(id(target))
        entry = None if claim is None else self.entries.get(claim.object_id)
        if entry is None or entry.claim is not claim or entry.target() is not target:
            return None
        return entry

    def unregister(self, target_or_id: Any) -> None:
        """Remove an object, a class or an id; an unknown id is ignored.

        Raises:
            DaemonError: the object is not registered.
            ValueError: None was given.
        """
        if target_or_id is None:
            raise ValueError("nothing to unregister: None was given")
        if is_a(target_or_id, str):
            entry = self.entries.get(target_or_id)
            if entry is not None:
                self._forget(entry)
            return
        entry = self.find(target_or_id)
        if entry is None:
            raise DaemonError("the object is not registered in this daemon")
        self._forget(entry)

    def get(self, object_id: object) -> Entry:
        """Return the entry of an id.

        Raises:
            DaemonError: there is none.
        """
        entry = self.entries.get(object_id) if isinstance(object_id, str) else None
        if entry is None:
            known = ", ".join(sorted(self.entries)[:20])
            raise DaemonError(f"unknown object {object_id!r}; registered here: {known}")
        return entry

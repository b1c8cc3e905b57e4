"""The objects that a daemon hosts, by id.

Registration lives here: nothing is written to the user's objects. An entry binds the members of
an object once, so that a call looks up two dictionaries and calls.
"""

from __future__ import annotations

import os
import weakref

from pyroipc.errors import DaemonError
from pyroipc.server.exposure import (
    INSTANCING,
    METHOD,
    exposed_members,
    not_exposed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyroipc.server.exposure import Member


class Entry:
    """One registered object or class.

    ``methods`` has the bound methods of a registered object, ready to be called. It is empty for
    a registered class, whose instances are made by :attr:`instancing`, and for weak entries.
    """

    __slots__ = ("cls", "instancing", "is_class", "members", "methods", "object_id", "target")

    def __init__(self, object_id: str, target: Any, *, public: bool, weak: bool) -> None:
        self.object_id = object_id
        self.is_class = isinstance(target, type)
        self.cls: type = target if self.is_class else type(target)
        self.members: Mapping[str, Member] = exposed_members(self.cls, public=public)
        self.instancing: tuple[str, Callable[[type], Any] | None] = getattr(
            self.cls, INSTANCING, ("session", None)
        )
        self.target: Callable[[], Any] = weakref.ref(target) if weak else lambda: target
        self.methods: dict[str, Callable[..., Any]] = {}
        if not self.is_class and not weak:
            self.methods = {
                name: member.bind(target)
                for name, member in self.members.items()
                if member.kind == METHOD
            }

    def not_exposed(self, name: object) -> AttributeError:
        """Make the error for a member that may not be called."""
        return not_exposed(self.cls.__qualname__, self.members, str(name))

    def metadata(self) -> dict[str, list[str]]:
        """Name the members, as Pyro's ``get_metadata`` does."""
        methods = [m for m in self.members.values() if m.kind == METHOD]
        return {
            "methods": sorted(m.name for m in methods),
            "oneway": sorted(m.name for m in methods if m.oneway),
            "attrs": sorted(m.name for m in self.members.values() if m.kind != METHOD),
        }


class Registry:
    """Ids and what they stand for. Methods may be called by any thread."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def register(
        self,
        target: Any,
        object_id: str | None,
        *,
        public: bool = False,
        force: bool = False,
        weak: bool = False,
    ) -> Entry:
        """Add an object or a class.

        Raises:
            DaemonError: the id is taken, or the object is registered already, and not ``force``.
            TypeError: the id is not a str, or a class is to be held weakly.
        """
        if object_id is None:
            object_id = f"obj_{os.urandom(16).hex()}"
        if not isinstance(object_id, str):
            raise TypeError(f"an object id is a str, not {type(object_id).__name__}")
        if weak and isinstance(target, type):
            raise TypeError("a class cannot be registered weakly")
        if not force:
            if object_id in self.entries:
                raise DaemonError(f"an object is registered under the id {object_id!r} already")
            known = self.find(target)
            if known is not None:
                raise DaemonError(f"the object is registered already, as {known.object_id!r}")
        entry = Entry(object_id, target, public=public, weak=weak)
        if weak:
            weakref.finalize(target, self._forget, entry).atexit = False
        self.entries[object_id] = entry
        return entry

    def _forget(self, entry: Entry) -> None:
        if self.entries.get(entry.object_id) is entry:
            del self.entries[entry.object_id]

    def find(self, target: object) -> Entry | None:
        """Return the entry of an object or class, or None."""
        for entry in list(self.entries.values()):
            if entry.target() is target:
                return entry
        return None

    def unregister(self, target_or_id: Any) -> None:
        """Remove an object, a class or an id; an unknown id is ignored.

        Raises:
            DaemonError: the object is not registered.
            ValueError: None was given.
        """
        if target_or_id is None:
            raise ValueError("nothing to unregister: None was given")
        if isinstance(target_or_id, str):
            self.entries.pop(target_or_id, None)
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

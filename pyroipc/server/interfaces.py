"""Which members of an object may be called: those that an interface names.

For an object whose class nobody may edit, or that exposes different things in different places.
The interface is a class, an ABC or a ``typing.Protocol``; its public members, inherited ones
included, are the allow-list, and marks on the object's class do not count.

=====================================  ======================================================
the interface has                      a peer may
=====================================  ======================================================
a method of any kind                   call it; ``@oneway`` and ``@callback`` hold here too
a property                             read it, and assign it if this property has a setter
an annotation (``name: int``)          read it
an annotation in a Protocol            read and assign it, unless it is a ClassVar or Final
a nested class, another value          nothing
=====================================  ======================================================

What the interface names, the object must have: that is checked when it is registered. A property
or an annotation may be met by a property, by a class attribute, or by an attribute of the
instance, which is then reached by exactly that name, and never by one that came from a peer.
"""

from __future__ import annotations

from types import FunctionType

from pyroipc.server.exposure import (
    METHOD,
    PROPERTY,
    Member,
    MemberTable,
    accessors_of,
    attributes_of,
    dict_of,
    is_a,
    is_functools,
    is_method,
    is_private_name,
    method_member,
    mro_of,
    name_of,
    own_attributes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MACHINERY = frozenset({
    ("builtins", "object"), ("abc", "ABC"), ("typing", "Protocol"), ("typing", "Generic"),
    ("typing_extensions", "Protocol"),
})  # fmt: skip
_MISSING: Any = object()
_CONSTANT = ("ClassVar", "Final", "ReadOnly")

_tables: dict[tuple[int, int], MemberTable] = {}
_TABLES_MAX = 4096


def interface_members(cls: type, interface: type, target: object) -> MemberTable:
    """Return the table of what an interface lets be called; made once for each pair of classes.

    Args:
        cls: the class of the hosted object.
        interface: the class, ABC or Protocol that names the members.
        target: the object to be registered, or ``cls`` itself.

    Raises:
        TypeError: the interface is no class or names nothing, or members that the object lacks.
    """
    if not is_a(interface, type):
        raise TypeError(f"an interface is a class, an ABC or a Protocol, not {interface!r:.200}")
    key = id(cls), id(interface)
    table = _tables.get(key)
    if table is None:
        if len(_tables) >= _TABLES_MAX:
            _tables.clear()
        table = _tables.setdefault(key, _make_table(cls, interface))
    if target is not cls:
        _check_instance(table, cls, interface, target)
    return table


def _make_table(cls: type, interface: type) -> MemberTable:
    attributes = attributes_of(cls)
    members = {}
    problems = []
    for name, wanted in _named(interface).items():
        found = attributes.get(name, (cls, _MISSING))[1]
        made = wanted.meet(name, found)
        if isinstance(made, str):
            problems.append(made)
        else:
            members[name] = made
    if problems:
        raise TypeError(_lacking(cls, interface, problems))
    if not members:
        raise TypeError(
            f"the interface {name_of(interface)} names no public methods or attributes"
        )
    return MemberTable(members, cls, interface)


def _lacking(cls: type, interface: type, problems: list[str]) -> str:
    return (
        f"{name_of(cls)!r} does not have what the interface {name_of(interface)!r} names: "
        f"{', '.join(sorted(problems))}"
    )


# ----------------------------------------------------------------------- what an interface names


class _Method:
    """A method of an interface."""

    __slots__ = ("definition",)

    def __init__(self, definition: Any) -> None:
        self.definition = definition

    def meet(self, name: str, found: Any) -> Member | str:
        """Return the member for what the class has by this name, or say what is wrong."""
        if found is _MISSING:
            return name
        if not is_method(found):
            return f"{name} (is no method)"
        return method_member(name, found, self.definition)


class _Attribute:
    """A property or an annotation of an interface."""

    __slots__ = ("definition", "optional_setter", "readable", "writable")

    def __init__(
        self, definition: Any, *, readable: bool, writable: bool, optional_setter: bool = False
    ) -> None:
        self.definition = definition
        self.readable = readable
        self.writable = writable
        self.optional_setter = optional_setter

    def meet(self, name: str, found: Any) -> Member | str:
        """Return the member for what the class has by this name, or say what is wrong."""
        if is_a(found, property):
            return self._meet_property(name, found)
        if is_a(found, type):
            return f"{name} (is a class)"
        if is_a(found, FunctionType, staticmethod, classmethod):
            if self.optional_setter and is_method(found):  # send: Callable[[str], None]
                return method_member(name, found)
            return f"{name} (is a method)"
        if is_functools(found, "partialmethod", "singledispatchmethod"):
            return f"{name} (is a method)"
        return self._member(name, readable=self.readable, writable=self.writable)

    def _meet_property(self, name: str, found: property) -> Member | str:
        getter, setter = accessors_of(found)
        if self.readable and getter is None:
            return f"{name} (cannot be read)"
        if self.writable and setter is None and not self.optional_setter:
            return f"{name} (has no setter)"
        return Member(
            name,
            PROPERTY,
            found,
            getter=getter if self.readable else None,
            setter=setter if self.writable else None,
        )

    def _member(self, name: str, *, readable: bool, writable: bool) -> Member:
        """Make the member of an attribute of the instance, or a constant of the class."""

        def read(instance: Any) -> Any:
            return getattr(instance, name)

        def write(instance: Any, value: Any) -> None:
            setattr(instance, name, value)

        return Member(
            name,
            PROPERTY,
            self.definition or property(read, write),
            getter=read if readable else None,
            setter=write if writable else None,
        )


def _named(interface: type) -> dict[str, _Method | _Attribute]:
    """Return what an interface names, by name; nothing of it is run."""
    named: dict[str, _Method | _Attribute] = {}
    for base in reversed(mro_of(interface)):
        own = dict_of(base)
        if (own.get("__module__"), name_of(base)) in _MACHINERY or base is object:
            continue
        is_protocol = own.get("_is_protocol") is True
        for name, annotation in own.get("__annotations__", {}).items():
            if not is_private_name(name):
                writable = is_protocol and not _is_constant(annotation)
                named[name] = _Attribute(
                    None, readable=True, writable=writable, optional_setter=True
                )
        for name, value in own.items():
            if not is_private_name(name):
                _add(named, name, value)
    return named


def _add(named: dict[str, _Method | _Attribute], name: str, value: Any) -> None:
    if is_a(value, property):
        getter, setter = accessors_of(value)
        named[name] = _Attribute(value, readable=getter is not None, writable=setter is not None)
    elif is_functools(value, "cached_property"):
        named[name] = _Attribute(value, readable=True, writable=False)
    elif is_a(value, type):
        named.pop(name, None)
    elif is_method(value):
        named[name] = _Method(value)
    elif value is None and isinstance(named.get(name), _Method):
        del named[name]  # how a class says that it has not what its base has


def _is_constant(annotation: object) -> bool:
    """Say whether an annotation is for reading alone; it is text, or an object of typing."""
    kind = type(annotation)
    text = annotation if isinstance(annotation, str) else ""
    if not text and kind.__module__ in {"typing", "typing_extensions"}:
        text = repr(annotation)
    return any(word in text for word in _CONSTANT)


# ------------------------------------------------------------------------ what an instance lacks


def _check_instance(table: MemberTable, cls: type, interface: type, target: object) -> None:
    """See that an object has the attributes that its class says nothing about.

    Raises:
        TypeError: it lacks some.
    """
    declared = set(attributes_of(cls))
    if all(name in declared for name in table):
        return
    held = own_attributes(target)
    for base in mro_of(cls):
        declared.update(dict_of(base).get("__annotations__", ()))
    lacking = [
        name
        for name, member in table.items()
        if member.kind != METHOD and name not in declared and name not in held
    ]
    if lacking:
        raise TypeError(_lacking(cls, interface, lacking))

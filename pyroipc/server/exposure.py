"""Which members of a class a peer may call: a frozen table, made once per class.

Nothing is reachable unless it is in the table; a name from a peer is only ever looked up in it,
never given to ``getattr``. The decorators mark functions and classes; user objects are never
written to, and making a table runs none of their code: all is read from the dictionaries of the
classes, so that neither a ``__getattr__`` nor a property has a say.

* :func:`expose` marks a method, a property accessor, or all public members that a class defines.
* :func:`oneway` marks a method whose callers do not wait, :func:`callback` one whose exceptions
  are logged here too.
* :func:`behavior` says how instances of a registered class are made.
* A class may also be exposed without any mark: with ``public=True`` of :func:`exposed_members`
  its public members are callable, unless it or a base uses marks. That is how the own children of
  a process host objects. The other way is an interface, see :mod:`pyroipc.server.interfaces`.
"""

from __future__ import annotations

import sys
from itertools import count
from types import FunctionType, GetSetDescriptorType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    _T = TypeVar("_T")

EXPOSED = "_pyroExposed"
ONEWAY = "_pyroOneway"
CALLBACK = "_pyroCallback"
INSTANCING = "_pyroInstancing"

# Dunder methods that stay private, as in Pyro: they are the business of the object itself.
_PRIVATE_DUNDERS = frozenset(
    f"__{name}__"
    for name in """
    init init_subclass class module weakref call new del repr str format bool eq ne hash ge
    gt le lt dir enter exit copy deepcopy sizeof getattr setattr getattribute delattr
    instancecheck subclasscheck getinitargs getnewargs getnewargs_ex getstate setstate
    reduce reduce_ex subclasshook dict doc annotations class_getitem set_name get set delete
    aenter aexit await prepare mro_entries slots match_args abstractmethods nonzero coerce
    cmp hasattr unicode static_attributes firstlineno type_params orig_bases parameters
    annotate annotate_func classdict classcell dataclass_fields dataclass_params post_init
    replace
    """.split()  # noqa: SIM905 - a list would take a line for each
)

METHOD = "method"
PROPERTY = "property"

# ------------------------------------------------------------- reading without running anything

mro_of: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
"""The bases of a class, itself first; past whatever its metaclass says."""
dict_of: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
"""What a class itself defines."""
name_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__
"""The qualified name of a class."""
_getter_of: Callable[[Any], Any] = property.__dict__["fget"].__get__
_setter_of: Callable[[Any], Any] = property.__dict__["fset"].__get__


def is_a(value: object, *kinds: type) -> bool:
    """Say whether a value is an instance, by its true type: ``isinstance`` asks ``__class__``."""
    return issubclass(type(value), kinds)


def accessors_of(value: property) -> tuple[Any, Any]:
    """Return the getter and the setter of a property; either may be None."""
    return _getter_of(value), _setter_of(value)


def attributes_of(cls: type) -> dict[str, tuple[type, Any]]:
    """Return what instances find on the class: the name, the class that defines it, and what."""
    attributes: dict[str, tuple[type, Any]] = {}
    for base in reversed(mro_of(cls)):
        if base is not object:
            for name, value in dict_of(base).items():
                attributes[name] = (base, value)
    return attributes


def own_attributes(value: Any) -> Mapping[str, Any]:
    """Return the instance dictionary of an object; empty if it has none of the usual kind."""
    if type(value) is FunctionType:
        return value.__dict__
    for base in mro_of(type(value)):
        slot = dict_of(base).get("__dict__")
        if slot is not None:
            return slot.__get__(value) if type(slot) is GetSetDescriptorType else {}
    return {}


def has_mark(value: Any, mark: str) -> bool:
    """Say whether a member of a class, or the function that a decorator wrapped, is marked."""
    if is_a(value, type):
        return False  # a nested class, and the mark would be for its own members
    if own_attributes(value).get(mark) is True:
        return True
    function = _function_of(value)
    return function is not value and has_mark(function, mark)


def is_functools(value: object, *names: str) -> bool:
    """Say whether a value is of one of these classes of functools, which is not loaded for it."""
    functools: Any = sys.modules.get("functools")
    return functools is not None and is_a(value, *(getattr(functools, name) for name in names))


def is_method(value: Any) -> bool:
    """Say whether a member of a class can be called on instances, and is no class itself."""
    function = _function_of(value)
    return not is_a(function, type) and (
        callable(function) or is_functools(function, "partialmethod")
    )


def _function_of(value: Any) -> Any:
    """Return what a decorator was put on; of everything else itself."""
    if is_a(value, staticmethod, classmethod, MethodType):
        return value.__func__
    if is_functools(value, "singledispatchmethod", "cached_property"):
        return value.func
    return value


def _is_inherited(cls: type, function: object) -> bool:
    """Say whether a function stands in a base of the class, also as accessor of a property."""
    return any(
        function is found
        for base in mro_of(cls)[1:]
        for value in dict_of(base).values()
        for found in (accessors_of(value) if is_a(value, property) else (value,))
    )


# ---------------------------------------------------------------------------------- the members


class Member:
    """One callable method or accessible attribute of a class.

    ``definition`` is what stands in the class; ``getter`` and ``setter`` are what reads and
    writes an attribute, if that is allowed from afar, or None. ``oneway`` and ``callback`` tell
    about the decorators of a method.
    """

    __slots__ = ("callback", "definition", "getter", "kind", "name", "oneway", "setter")

    def __init__(
        self,
        name: str,
        kind: str,
        definition: Any,
        *,
        oneway: bool = False,
        callback: bool = False,
        getter: Callable[[Any], Any] | None = None,
        setter: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.definition = definition
        self.oneway = oneway
        self.callback = callback
        self.getter = getter
        self.setter = setter

    @property
    def binds_plainly(self) -> bool:
        """Whether binding runs nothing but Python's own code, so that it may be done early."""
        return is_a(self.definition, FunctionType, staticmethod, classmethod)

    def bind(self, instance: Any) -> Callable[..., Any]:
        """Return the method of an instance: the one of the class, whatever the instance holds."""
        bind = getattr(type(self.definition), "__get__", None)
        if bind is None:  # a callable that is no function, such as a functools.partial
            return self.definition  # type: ignore[no-any-return]
        return bind(self.definition, instance, type(instance))  # type: ignore[no-any-return]


class MemberTable(dict[str, Member]):
    """The members of a class by name; ``key`` is a number that no other table has.

    It keeps the classes that it was made from, as it is found by their identity.
    """

    __slots__ = ("key", "made_from")

    def __init__(self, members: Mapping[str, Member], *made_from: type) -> None:
        super().__init__(members)
        self.made_from = made_from
        self.key = next(_keys)


_keys = count(1)


def is_private_name(name: str) -> bool:
    """Say whether a member of this name is private: never reachable, exposed or not."""
    if name in _PRIVATE_DUNDERS:
        return True
    if not name.startswith("_"):
        return False
    return not (len(name) > 4 and name.startswith("__") and name.endswith("__"))


# ------------------------------------------------------------------------------- the decorators


def expose(target: _T) -> _T:
    """Mark a method, property or class as callable from afar; returns it.

    On a class it marks the public methods and properties that the class itself defines, not
    inherited ones. On a property put it above ``@property``: it then holds for reading, and for
    the setter of the same class; above ``@name.setter`` it holds for writing alone. Called as a
    function, ``expose(property(get, set))``, it marks both. With ``@staticmethod`` or
    ``@classmethod`` either order works.

    Raises:
        AttributeError: the name is private, or this is nothing that can be exposed.
    """
    if is_a(target, type):
        _mark_class(target)  # type: ignore[arg-type]
    elif is_a(target, property):
        _mark_property(target, sys._getframe(1).f_locals)  # type: ignore[arg-type]  # noqa: SLF001
    elif is_functools(target, "partialmethod"):
        _mark(target, EXPOSED)  # what it is called, only the class knows
    else:
        function = _function_of(target)
        name = getattr(function, "__name__", None)
        if not callable(function) or name is None:
            raise AttributeError(f"@expose cannot tell what this is: {target!r}")
        _check_public(name)
        _mark(target, EXPOSED)
    return target


def _mark_class(cls: type) -> None:
    for name, value in list(dict_of(cls).items()):
        if is_private_name(name):
            continue
        if is_a(value, property):
            for accessor in accessors_of(value):
                if accessor is not None and not _is_inherited(cls, accessor):
                    _mark(accessor, EXPOSED)
        elif _is_written_as_member(value) and not is_a(_function_of(value), type):
            _mark(value, EXPOSED)


def _is_written_as_member(value: object) -> bool:
    return is_a(value, FunctionType, staticmethod, classmethod) or is_functools(
        value, "partialmethod", "singledispatchmethod", "cached_property"
    )


def _mark_property(target: property, scope: Mapping[str, Any]) -> None:
    """Mark the accessors that a decorator was put on, or that were given to ``property()``.

    Used above ``@x.setter`` the property already holds a getter: either the class body has the
    property of before, with that getter, or the getter was written in the body of a base class.

    Raises:
        AttributeError: its name is private, or there is nothing to mark.
    """
    accessors = [accessor for accessor in accessors_of(target) if accessor is not None]
    if not accessors:
        raise AttributeError("a property without getter and setter cannot be exposed")
    names = [getattr(accessor, "__name__", "") for accessor in accessors]
    given: list[Any] = [scope.get(name) for name in names]
    if len(set(names)) == 1 and given[0] is not accessors[0]:
        _check_public(names[0])
    before = {id(f) for value in given if is_a(value, property) for f in accessors_of(value)}
    body = scope.get("__qualname__")  # a class body tells
    own = [f for f in accessors if id(f) not in before and not _is_of_another_class(f, body)]
    for accessor in own or accessors:
        _mark(accessor, EXPOSED)


def _is_of_another_class(function: Any, body: object) -> bool:
    around = _class_of(function)[1]
    return isinstance(body, str) and around not in {"", body} and not around.endswith("<locals>")


def _check_public(name: str) -> None:
    if is_private_name(name):
        raise AttributeError(f"exposing private names (starting with _) is not allowed: {name!r}")


def _mark(value: Any, mark: str) -> None:
    """Set a mark on the function, or on the decorator around one that takes no attributes.

    Raises:
        AttributeError: neither takes attributes.
    """
    for target in (_function_of(value), value):
        try:
            setattr(target, mark, True)
        except (AttributeError, TypeError):
            continue
        return
    raise AttributeError(
        f"{value!r} cannot be marked, because it takes no attributes; wrap it in a function"
    )


def oneway(method: _T) -> _T:
    """Mark a method whose callers do not wait for it to run; combine with :func:`expose`.

    Oneway calls of one connection run in the order in which they were made.
    """
    _mark(method, ONEWAY)
    return method


def callback(method: _T) -> _T:
    """Mark a method whose exceptions are logged here too; combine with :func:`expose`.

    For methods that a server calls back: its log may be far away, or nobody's.
    """
    _mark(method, CALLBACK)
    return method


def behavior(
    instance_mode: str = "session", instance_creator: Callable[[type], Any] | None = None
) -> Callable[[_T], _T]:
    """Say how a registered class gets its instances.

    Args:
        instance_mode: ``"session"``: one per conversation (default); ``"single"``: one per
            daemon, made on first use; ``"percall"``: a new one for each call.
        instance_creator: called with the class, returns an instance; default: call the class.

    Raises:
        ValueError: the mode is unknown.
        TypeError: it is used without parentheses, or the creator cannot be called.
    """
    if not isinstance(instance_mode, str):
        raise TypeError("@behavior takes arguments: write @behavior(instance_mode=...)")
    if instance_mode not in ("session", "single", "percall"):
        raise ValueError(f"unknown instance mode {instance_mode!r}: session, single or percall")
    if instance_creator is not None and not callable(instance_creator):
        raise TypeError("instance_creator must be callable")

    def mark(cls: _T) -> _T:
        if not isinstance(cls, type):
            raise TypeError("@behavior is for classes")
        setattr(cls, INSTANCING, (instance_mode, instance_creator))
        return cls

    return mark


# ----------------------------------------------------------------------------------- the tables

_tables: dict[tuple[int, bool], MemberTable] = {}
_TABLES_MAX = 4096


def exposed_members(cls: type, *, public: bool = False) -> MemberTable:
    """Return the table of what may be called on instances of ``cls``; made once and kept.

    Args:
        cls: the class of the hosted object.
        public: without any mark on the class or its bases, all public members are callable.
    """
    key = id(cls), public  # a metaclass may have a hash of its own
    table = _tables.get(key)
    if table is None:
        if len(_tables) >= _TABLES_MAX:
            _tables.clear()
        table = _tables.setdefault(key, _make_table(cls, public=public))
    return table


def forget_members(cls: type) -> None:
    """Make the tables of a class anew when it is registered next: its marks have changed.

    What is registered already keeps the table that it has. Subclasses keep theirs.
    """
    for public in (False, True):
        _tables.pop((id(cls), public), None)


def _make_table(cls: type, *, public: bool) -> MemberTable:
    attributes = attributes_of(cls)
    unmarked = public and not any(
        has_mark(function, EXPOSED)
        for _, value in attributes.values()
        for function in (accessors_of(value) if is_a(value, property) else (value,))
    )
    members = {}
    for name, (owner, value) in attributes.items():
        if not is_private_name(name):
            member = _member(name, value, owner, unmarked=unmarked)
            if member is not None:
                members[name] = member
    return MemberTable(members, cls)


def _member(name: str, value: Any, owner: type, *, unmarked: bool) -> Member | None:
    if is_a(value, property):
        return _property_member(name, value, owner, unmarked=unmarked)
    if not (has_mark(value, EXPOSED) or (unmarked and _is_plain_member(value, name))):
        return None
    if is_functools(value, "cached_property"):
        return Member(
            name, PROPERTY, value, getter=lambda instance: value.__get__(instance, type(instance))
        )
    return method_member(name, value)


def method_member(name: str, value: Any, *more: Any) -> Member:
    """Make the member of a method; it has the marks of the other definitions as well."""
    oneway = any(has_mark(definition, ONEWAY) for definition in (value, *more))
    callback = any(has_mark(definition, CALLBACK) for definition in (value, *more))
    return Member(name, METHOD, value, oneway=oneway, callback=callback)


def _property_member(name: str, value: property, owner: type, *, unmarked: bool) -> Member | None:
    getter, setter = accessors_of(value)
    if not (unmarked or has_mark(getter, EXPOSED)):
        getter = None
    if setter is not None and not (unmarked or has_mark(setter, EXPOSED)):
        # A mark on the getter is for the setter of the same class as well, not for one of a base.
        is_own = _class_of(getter) == _class_of(setter) and not _is_inherited(owner, setter)
        if getter is None or not is_own:
            setter = None
    if getter is None and setter is None:
        return None
    return Member(name, PROPERTY, value, getter=getter, setter=setter)


def _class_of(function: Any) -> tuple[str, str]:
    """Tell where a function was written: module and qualified name of what is around it."""
    module, name = (
        (function.__module__, function.__qualname__)
        if type(function) is FunctionType
        else ("", "")
    )
    return str(module), name.rpartition(".")[0]


def _is_plain_member(value: Any, name: str) -> bool:
    """Say whether a member of a class without marks counts as a public one of it."""
    if name.startswith("__"):
        return type(value) is FunctionType
    return is_method(value) or is_functools(value, "cached_property")


_LISTED = 100
_COMPARED = 64


def not_exposed(cls_name: str, table: Mapping[str, Member], name: str) -> AttributeError:
    """Make the error for a member that is missing, private or not exposed: it lists what is."""
    listed = sorted(table)
    exposed = ", ".join(listed[:_LISTED]) or "nothing"
    if len(listed) > _LISTED:
        exposed += f" and {len(listed) - _LISTED} more"
    member = table.get(name)
    if member is None:
        what = "private" if is_private_name(name) else "missing or not exposed"
    elif member.kind == METHOD:
        what = "a method, to be called, and cannot be read or assigned"
    elif member.getter is None:
        what = "an attribute that can only be assigned"
    else:
        what = "an attribute, to be read or assigned, and cannot be called"
    hint = "" if member else _near_miss(listed[:_LISTED], name)
    return AttributeError(f"{cls_name!r} member {name!r:.200} is {what}{hint}; exposed: {exposed}")


def _near_miss(exposed: list[str], name: str) -> str:
    if not exposed or not 1 < len(name) <= _COMPARED:
        return ""
    import difflib

    plain = {other.replace("_", "").lower(): other for other in exposed}
    close = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.7)
    return f" (did you mean {plain[close[0]]!r}?)" if close else ""

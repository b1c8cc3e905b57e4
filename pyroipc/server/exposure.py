"""Which members of a class a peer may call: a frozen table, made once per class.

Nothing is reachable unless it is in the table; a name from a peer is only ever looked up in it,
never given to ``getattr``. The decorators mark functions and classes; user objects are never
written to.

* :func:`expose` marks a method, a property accessor, or all public members that a class defines.
* :func:`oneway` marks a method whose callers do not wait.
* :func:`behavior` says how instances of a registered class are made.
* A class may also be exposed without any mark (``public=True`` of :func:`exposed_members`): then
  its public members are callable, unless it or a base uses marks. That is how the own children of
  a process host objects.
"""

from __future__ import annotations

import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    _T = TypeVar("_T")

EXPOSED = "_pyroExposed"
ONEWAY = "_pyroOneway"
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
    annotate annotate_func classdict classcell dataclass_fields dataclass_params
    """.split()  # noqa: SIM905 - a list would take a line for each
)

METHOD = "method"
PROPERTY = "property"


class Member:
    """One callable method or accessible property of a class.

    ``definition`` is what stands in the class; ``getter`` and ``setter`` are the accessors of a
    property that may be used from afar, or None.
    """

    __slots__ = ("definition", "getter", "kind", "name", "oneway", "setter")

    def __init__(
        self,
        name: str,
        kind: str,
        definition: Any,
        *,
        oneway: bool = False,
        getter: Callable[[Any], Any] | None = None,
        setter: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.definition = definition
        self.oneway = oneway
        self.getter = getter
        self.setter = setter

    def bind(self, instance: Any) -> Callable[..., Any]:
        """Return the method of an instance: the one of the class, whatever the instance holds."""
        bind = getattr(type(self.definition), "__get__", None)
        if bind is None:  # a callable that is no function, such as a functools.partial
            return self.definition  # type: ignore[no-any-return]
        return bind(self.definition, instance, type(instance))  # type: ignore[no-any-return]


def is_private_name(name: str) -> bool:
    """Say whether a member of this name is private: never reachable, exposed or not."""
    if name in _PRIVATE_DUNDERS:
        return True
    if not name.startswith("_"):
        return False
    return not (len(name) > 4 and name.startswith("__") and name.endswith("__"))


def expose(target: _T) -> _T:
    """Mark a method, property or class as callable from afar; returns it.

    On a class it marks the public methods and properties that the class itself defines, not
    inherited ones. On a property put it above ``@property``: it then holds for reading, and for
    the setter of the same class; above ``@name.setter`` it holds for writing alone. With
    ``@staticmethod`` or ``@classmethod`` either order works.

    Raises:
        AttributeError: the name is private, or the thing has no name that can be exposed.
    """
    if isinstance(target, type):
        for key, value in list(vars(target).items()):
            if not is_private_name(key) and _is_exposable(value):
                _mark(value)
        return target
    if isinstance(target, property):
        accessors = [f for f in (target.fget, target.fset) if f is not None]
        if not accessors:
            raise AttributeError("a property without getter and setter cannot be exposed")
        _check_public(accessors[0].__name__)
        # The class body that uses the decorator tells which accessor is its own.
        body = sys._getframe(1).f_locals.get("__qualname__")  # noqa: SLF001
        setattr(_newest(accessors, body), EXPOSED, True)
        return target
    function = getattr(target, "__func__", target)
    name: str | None = getattr(function, "__name__", None)
    if not callable(function) or name is None:
        raise AttributeError(f"@expose cannot tell what this is: {target!r}")
    _check_public(name)
    _mark(target)
    return target


def _newest(accessors: list[Any], class_name: object) -> Any:
    """Return the accessor that was just written in the class body of this name.

    Used above ``@x.setter`` the property already holds a getter that is marked or not by its own
    decorator. Only if the class overrides the getter of a base is it the other way round.
    """
    own = [f for f in accessors if _plain_text(f, "__qualname__").rpartition(".")[0] == class_name]
    return (own or accessors)[-1]


def _check_public(name: str) -> None:
    if is_private_name(name):
        raise AttributeError(f"exposing private names (starting with _) is not allowed: {name!r}")


def _is_exposable(value: object) -> bool:
    return isinstance(value, FunctionType | staticmethod | classmethod | property)


def _mark(value: Any) -> None:
    if isinstance(value, property):
        for accessor in (value.fget, value.fset):
            if accessor is not None:
                setattr(accessor, EXPOSED, True)
    else:
        setattr(getattr(value, "__func__", value), EXPOSED, True)


def oneway(method: _T) -> _T:
    """Mark a method whose callers do not wait for it to run; combine with :func:`expose`.

    Oneway calls of one connection run in the order in which they were made.
    """
    setattr(getattr(method, "__func__", method), ONEWAY, True)
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


_tables: dict[tuple[type, bool], Mapping[str, Member]] = {}
_TABLES_MAX = 4096


def exposed_members(cls: type, *, public: bool = False) -> Mapping[str, Member]:
    """Return the table of what may be called on instances of ``cls``; made once and kept.

    Args:
        cls: the class of the hosted object.
        public: without any mark on the class or its bases, all public members are callable.
    """
    table = _tables.get((cls, public))
    if table is None:
        if len(_tables) >= _TABLES_MAX:
            _tables.clear()
        table = _tables[cls, public] = _make_table(cls, unmarked=public and not _uses_marks(cls))
    return table


def _class_attributes(cls: type) -> dict[str, Any]:
    """What instances find on the class, without running any descriptor."""
    attributes: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is not object:
            attributes.update(vars(base))
    return attributes


def _uses_marks(cls: type) -> bool:
    return any(
        _is_marked(function)
        for value in _class_attributes(cls).values()
        for function in _functions(value)
    )


def _functions(value: Any) -> tuple[Any, ...]:
    if isinstance(value, property):
        return (value.fget, value.fset)
    return (getattr(value, "__func__", value),)


def _is_marked(function: Any) -> bool:
    return not isinstance(function, type) and _plain_attribute(function, EXPOSED) is True


def _plain_attribute(value: Any, name: str) -> Any:
    """Read an attribute from the instance dictionary alone, running no code of the object."""
    try:
        return object.__getattribute__(value, "__dict__").get(name)
    except AttributeError:
        return None


def _make_table(cls: type, *, unmarked: bool) -> dict[str, Member]:
    table = {}
    for name, value in _class_attributes(cls).items():
        if is_private_name(name):
            continue
        member = _member(name, value, unmarked=unmarked)
        if member is not None:
            table[name] = member
    return table


def _member(name: str, value: Any, *, unmarked: bool) -> Member | None:
    if isinstance(value, property):
        getter = value.fget if unmarked or _is_marked(value.fget) else None
        setter = value.fset
        if not (unmarked or _is_marked(setter) or (getter and _same_class(getter, setter))):
            setter = None
        if getter is None and setter is None:
            return None
        return Member(name, PROPERTY, value, getter=getter, setter=setter)
    function = getattr(value, "__func__", value)
    if not (_is_marked(function) or (unmarked and _is_plain_method(value, name))):
        return None
    return Member(name, METHOD, value, oneway=_plain_attribute(function, ONEWAY) is True)


def _same_class(getter: Any, setter: Any) -> bool:
    """Say whether both accessors were written in one class: then a mark on the getter is for both.

    A property made from one of a base class (``Base.name.getter``) has the setter of the base.
    """
    first, second = (
        (_plain_text(f, "__module__"), _plain_text(f, "__qualname__").rpartition(".")[0])
        for f in (getter, setter)
    )
    return first == second


def _plain_text(function: Any, name: str) -> str:
    text = getattr(function, name, "") if isinstance(function, FunctionType) else ""
    return text if isinstance(text, str) else ""


def _is_plain_method(value: Any, name: str) -> bool:
    """Say whether a member of a class without marks counts as one of its public methods."""
    if name.startswith("__"):
        return isinstance(value, FunctionType)
    return callable(getattr(value, "__func__", value)) and not isinstance(value, type)


def not_exposed(cls_name: str, table: Mapping[str, Member], name: str) -> AttributeError:
    """Make the error for a member that is missing, private or not exposed: it lists what is."""
    exposed = ", ".join(sorted(table)) or "nothing"
    what = "private" if is_private_name(name) else "missing or not exposed"
    return AttributeError(f"{cls_name!r} member {name!r} is {what}; exposed: {exposed}")

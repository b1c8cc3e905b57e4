"""Dataclasses, enums and namedtuples <-> tags and plain data, for the typed forms.

Which of them may be rebuilt: those that were given to ``register_class``, and those that the
annotations of the called member name.  A namedtuple that is neither becomes one of the same name
and fields that is made here.  Nothing is imported, nor looked up in a module, because of a name.

==============  =================================================================
tag             data
==============  =================================================================
``enum``        class, name of the member; a flag without a name: class, its int
``dataclass``   class, {field: value}
``namedtuple``  class, the fields, the values
==============  =================================================================

A dataclass is rebuilt field by field, without its ``__init__`` and ``__post_init__``: those ran
where it was made, and the fields are as they left them.
"""

from __future__ import annotations

import sys

from pyroipc.errors import SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar, overload

    T = TypeVar("T", bound=type)

    class Lookup(Protocol):
        """What these functions use of a ``typed.Rebuilder``."""

        made: int

        def annotated_class(self, name: str) -> type | None:
            """Find a class by what the called member's annotations name."""


__all__ = [
    "class_name",
    "describe_class",
    "is_data_class",
    "rebuilders_of_classes",
    "register_class",
    "unregister_class",
]

_MAX_STAND_INS = 256
_MAX_STAND_INS_PER_PAYLOAD = 64
_MAX_FIELDS = 255
_MAX_NAME = 256
_MAX_FLAG_VALUES = 65_536
"""A flag class remembers each combination that was ever asked for."""
_CONTENT = (str, int, float, complex, bytes, bytearray, tuple, list, dict, set, frozenset)

_registered: dict[str, type] = {}
_names: dict[type, str] = {}
_stand_ins: dict[tuple[str, tuple[str, ...]], type] = {}


# -------------------------------------------------------------------------------------- registry

if TYPE_CHECKING:

    @overload
    def register_class(cls: T, name: str | None = None) -> T: ...
    @overload
    def register_class(cls: None = None, name: str | None = None) -> Callable[[T], T]: ...


def register_class(cls: T | None = None, name: str | None = None) -> T | Callable[[T], T]:
    """Allow values of *cls* that arrive from a peer to be rebuilt; may be used as a decorator.

    Holds for the whole process, for the serializers that carry plain data, between peers of
    pyroipc.  Values travel under the name, so both ends need the same one.

    Args:
        cls: a dataclass, an enum or a namedtuple.
        name: the name to travel under; ``module.Qualname`` of the class unless given.

    Returns:
        The class itself; without one, a decorator for it.

    Raises:
        TypeError: *cls* is not such a class, or the name is not a str.
    """
    if cls is None:
        return lambda decorated: register_class(decorated, name)
    if not is_data_class(cls):
        raise TypeError(
            f"{cls!r} is not a dataclass, enum or namedtuple; for other classes use "
            "register_class_to_dict and register_dict_to_class"
        )
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME):
        raise TypeError(f"the name of a class is a str of 1 to {_MAX_NAME} characters")
    unregister_class(cls)
    chosen = _qualified(cls) if name is None else name
    _registered[chosen] = cls
    _names[cls] = chosen
    return cls


def unregister_class(cls: type) -> None:
    """Forget a class given to register_class; an unknown one is ignored."""
    name = _names.pop(cls, None)
    if name is not None and _registered.get(name) is cls:
        del _registered[name]


def is_data_class(cls: object) -> bool:
    """Tell whether something is a dataclass, an enum or a namedtuple: a class, not a value."""
    if not isinstance(cls, type):
        return False
    return hasattr(cls, "__dataclass_fields__") or _is_enum(cls) or _is_namedtuple(cls)


def class_name(cls: type) -> str:
    """Return the name under which values of a class travel."""
    return _names.get(cls) or _qualified(cls)


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_enum(cls: type) -> bool:
    enum = sys.modules.get("enum")  # whoever has a value of one has the module
    return enum is not None and issubclass(cls, enum.Enum)


def _is_namedtuple(cls: type) -> bool:
    fields = getattr(cls, "_fields", None)
    return (
        issubclass(cls, tuple)
        and type(fields) is tuple
        and all(type(field) is str for field in fields)
    )


def _find(rebuilder: Lookup, name: object) -> type | None:
    if type(name) is not str:
        raise TypeError("the name of a class is a text")
    return _registered.get(name) or rebuilder.annotated_class(name)


def _needed(rebuilder: Lookup, name: Any, is_right: Callable[[type], bool], kind: str) -> type:
    cls = _find(rebuilder, name)
    if cls is None:
        raise SerializeError(
            f"the {kind} {name!r:.200} is not known in this process: give its class to "
            "pyroipc.register_class, or name it in an annotation of the exposed method"
        )
    if not is_right(cls):
        raise SerializeError(f"the class {name!r:.200} is not a {kind} in this process")
    return cls


# ------------------------------------------------------------------------------------- describing


def describe_class(value: object) -> tuple[str, Any] | None:
    """Return tag and data of a value of such a class, None if it is none.

    Raises:
        SerializeError: it is one, but not all of it can be sent.
    """
    cls = type(value)
    if _is_enum(cls):
        return "enum", _member(value)
    if hasattr(cls, "__dataclass_fields__"):
        return "dataclass", [class_name(cls), _fields_of(value)]
    if _is_namedtuple(cls):
        return "namedtuple", _namedtuple(value)
    return None


def _member(value: Any) -> list[Any]:
    cls = type(value)
    name = value.name
    if name is not None and cls.__members__.get(name) is value:
        return [class_name(cls), name]
    if type(value._value_) is not int:
        raise SerializeError("this member of an enum has no name")
    return [class_name(cls), value._value_]


def _fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass instance, if there is no more to it.

    Raises:
        SerializeError: there is, or a field has no value.
    """
    from dataclasses import fields

    if isinstance(value, _CONTENT):
        raise SerializeError(
            "it is a dataclass that is also a container or a number; register a converter for "
            "its class with register_class_to_dict"
        )
    cls = type(value)
    names = [field.name for field in fields(value)]
    try:
        described = {name: getattr(value, name) for name in names}
    except AttributeError as error:
        raise SerializeError(f"a field of this dataclass has no value: {error}") from error
    for name in getattr(value, "__dict__", ()):
        if name not in described and not _is_cached_property(cls, name):
            raise SerializeError(
                f"its attribute {name!r:.100} is not a field of the dataclass and would be lost; "
                "declare it as field(init=False), or register a converter for the class"
            )
    return described


def _is_cached_property(cls: type, name: object) -> bool:
    descriptor = type(getattr(cls, str(name), None))
    return descriptor.__name__ == "cached_property" and descriptor.__module__ == "functools"


def _namedtuple(value: Any) -> list[Any]:
    cls = type(value)
    if getattr(value, "__dict__", None):
        raise SerializeError("this namedtuple has attributes besides its fields")
    return [class_name(cls), list(cls._fields), list(value)]


# ------------------------------------------------------------------------------------- rebuilding


def _rebuild_enum(rebuilder: Lookup, data: Any) -> object:
    name, member = data
    cls: Any = _needed(rebuilder, name, _is_enum, "enum")
    if type(member) is str:
        found = cls.__members__.get(member)
        if found is None:
            raise SerializeError(f"the enum {name!r:.200} has no member {member!r:.100} here")
        return found
    known = cls._value2member_map_
    if type(member) is not int or not issubclass(cls, sys.modules["enum"].Flag):
        raise TypeError("the name of a member expected")
    if member not in known and (len(known) >= _MAX_FLAG_VALUES or member.bit_length() > _MAX_NAME):
        raise SerializeError(f"too many values of the flag {name!r:.200}")
    return cls(member)


def _is_dataclass(cls: type) -> bool:
    return hasattr(cls, "__dataclass_fields__")


def _rebuild_dataclass(rebuilder: Lookup, data: Any) -> object:
    name, values = data
    cls = _needed(rebuilder, name, _is_dataclass, "dataclass")
    from dataclasses import fields

    names = {field.name for field in fields(cls)}
    if type(values) is not dict or values.keys() != names:
        keys = set(values)
        unknown, missing = sorted(map(str, keys - names)), sorted(names - keys)
        raise SerializeError(
            f"the dataclass {name!r:.200} has other fields here; "
            f"unknown: {str(unknown)[:200]}, missing: {str(missing)[:200]}"
        )
    made: object = object.__new__(cls)
    for field, value in values.items():
        object.__setattr__(made, field, value)
    return made


def _rebuild_namedtuple(rebuilder: Lookup, data: Any) -> object:
    name, fields, values = data
    if type(fields) is not list or type(values) is not list or len(fields) != len(values):
        raise TypeError("a list of fields and one of values expected")
    cls: Any = _find(rebuilder, name)
    if cls is None:
        cls = _stand_in(rebuilder, name, tuple(fields))
    elif not _is_namedtuple(cls) or cls._fields != tuple(fields):
        raise SerializeError(f"the namedtuple {name!r:.200} has other fields here")
    return tuple.__new__(cls, values)


def _stand_in(rebuilder: Lookup, name: str, fields: tuple[str, ...]) -> type:
    """Make, or take from the cache, a namedtuple for one whose class is not known here.

    Raises:
        SerializeError: the payload has too many of them, or no proper names.
    """
    key = (name, fields)
    found = _stand_ins.get(key)
    if found is not None:
        return found
    module, _, short = name.rpartition(".")
    if (
        len(name) > _MAX_NAME
        or len(fields) > _MAX_FIELDS
        or not short.isidentifier()
        or not all(type(field) is str and len(field) <= _MAX_NAME for field in fields)
    ):
        raise SerializeError(f"{name!r:.200} is not a proper namedtuple")
    rebuilder.made += 1
    if rebuilder.made > _MAX_STAND_INS_PER_PAYLOAD:
        raise SerializeError("the payload has too many kinds of namedtuples; register them")
    from collections import namedtuple

    made: type = namedtuple(short, fields, module=module)  # type: ignore[misc]
    made.__qualname__ = short
    while len(_stand_ins) >= _MAX_STAND_INS:
        _stand_ins.pop(next(iter(_stand_ins)), None)
    _stand_ins[key] = made
    return made


rebuilders_of_classes: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "enum": (_rebuild_enum, 0),
    "dataclass": (_rebuild_dataclass, 200),
    "namedtuple": (_rebuild_namedtuple, 64),
}
"""Tag -> how to rebuild, and the memory that one takes beyond its parts, at most."""

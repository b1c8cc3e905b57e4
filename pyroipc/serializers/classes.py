"""Class instances <-> dicts, for the formats that know only plain data.

Sending turns an instance into a dict with the key ``__class__``; receiving looks that name up in
registries that hold for the whole process, as Pyro's do: what the application registered, what
the rooms above registered at import (URI, Proxy), and the exception table of ``exceptions``.
Nothing is ever imported, and no attribute of a module is fetched, because of a name in a payload.

A decoded value is searched for class dicts from the outside in, and the members of a class dict
are left as they came, since converters written for Pyro expect that.  Exceptions are different:
what their args and attributes hold is converted too.
"""

from __future__ import annotations

import sys

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.base import MAX_DEPTH
from pyroipc.serializers.exceptions import (
    exception_to_dict,
    rebuild_exception,
    register_exception,
    unregister_exception,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    ToDict = Callable[[Any], dict[str, Any]]
    FromDict = Callable[[str, dict[str, Any]], object]

__all__ = [
    "class_to_dict",
    "converter_of",
    "dict_to_class",
    "dict_to_exception",
    "exception_to_dict",
    "recreate",
    "register_builtin",
    "register_builtin_class",
    "register_class_to_dict",
    "register_dict_to_class",
    "register_exception",
    "serpent_converters",
    "simple_value",
    "unregister_class_to_dict",
    "unregister_dict_to_class",
    "unregister_exception",
]

# Each registration replaces the whole dict, so that a thread that walks it is never disturbed.
_to_dict: dict[type, tuple[ToDict, bool]] = {}
_builtin_to_dict: dict[type, ToDict] = {}
_serpent: dict[type, ToDict] = {}
_from_dict: dict[str, FromDict] = {}
_builtin_from_dict: dict[str, FromDict] = {
    # What serpent writes for numbers that have no literal.
    "float": lambda _name, data: float(data["value"]),
    "complex": lambda _name, data: complex(_real(data["real"]), _real(data["imag"])),
}


def _real(part: Any) -> float:
    return float(part["value"] if isinstance(part, dict) else part)


# ------------------------------------------------------------------------------------ registries


def register_class_to_dict(clazz: type, converter: ToDict, serpent_too: bool = True) -> None:  # noqa: FBT001, FBT002 - Pyro's signature
    """Send instances of *clazz* and its subclasses as the dict that *converter(obj)* returns.

    The dict should have the key ``"__class__"``; without it a plain dict arrives.  The class that
    was registered first wins.  With *serpent_too* false, serpent keeps its own way.
    Holds for the whole process, for all serializers but pickle, cloudpickle and dill.
    """
    global _to_dict
    _to_dict = {**_to_dict, clazz: (converter, serpent_too)}
    _refresh_serpent()


def unregister_class_to_dict(clazz: type) -> None:
    """Forget the converter of *clazz*; an unknown class is ignored."""
    global _to_dict
    _to_dict = {key: value for key, value in _to_dict.items() if key is not clazz}
    _refresh_serpent()


def register_dict_to_class(classname: str, converter: FromDict) -> None:
    """Rebuild dicts whose ``"__class__"`` is *classname* with *converter(classname, dict)*.

    Comes before every built-in rule, also before the refusal of double underscores.
    """
    _from_dict[classname] = converter


def unregister_dict_to_class(classname: str) -> None:
    """Forget the converter of *classname*; an unknown name is ignored."""
    _from_dict.pop(classname, None)


def register_builtin(classname: str, function: FromDict) -> None:
    """Add a rule of the library itself: the rooms above call this when they are imported.

    It ranks behind the application's converters, and names with double underscores stay refused.
    """
    _builtin_from_dict[classname] = function


def register_builtin_class(clazz: type, converter: ToDict) -> None:
    """Add the sending half of a rule of the library itself, for serpent as well."""
    global _builtin_to_dict
    _builtin_to_dict = {**_builtin_to_dict, clazz: converter}
    _refresh_serpent()


def _refresh_serpent() -> None:
    global _serpent
    own = {clazz: converter for clazz, (converter, too) in _to_dict.items() if too}
    _serpent = {**own, **{k: v for k, v in _builtin_to_dict.items() if k not in own}}


def serpent_converters() -> dict[type, ToDict]:
    """Return the converters that serpent is to use; the same object until one is registered."""
    return _serpent


# --------------------------------------------------------------------------------- object -> dict


def class_to_dict(obj: object) -> dict[str, Any]:
    """Turn an instance into a dict; the instance is not changed.

    Tried in this order: a registered converter, the shape of an exception, its own
    ``__getstate__`` if that returns a dict (which is sent without a class name), ``vars()``
    with the class name, ``__slots__`` with the class name.

    Raises:
        SerializeError: nothing of this applies, or *obj* is a plain container, class, function
            or module.
    """
    converter = converter_of(obj)
    if converter is not None:
        return converter(obj)
    if isinstance(obj, BaseException):
        return exception_to_dict(obj)
    state = own_state(obj)
    if isinstance(state, dict):
        return state
    return instance_to_dict(obj)


def converter_of(obj: object) -> ToDict | None:
    """Return the converter that was registered first for a class of *obj*; the library's last."""
    for clazz, (converter, _) in _to_dict.items():
        if isinstance(obj, clazz):
            return converter
    for clazz, function in _builtin_to_dict.items():
        if isinstance(obj, clazz):
            return function
    return None


def own_state(obj: object) -> object:
    """Call the object's own ``__getstate__``; None if it has only the one of ``object``."""
    method = getattr(type(obj), "__getstate__", None)
    if method is None or method is object.__getstate__:
        return None
    return method(obj)


def instance_to_dict(obj: object) -> dict[str, Any]:
    """Describe an instance by its attributes and the name of its class.

    Raises:
        SerializeError: it has no attributes to describe it by.
    """
    cls = type(obj)
    if cls in _REFUSED or isinstance(obj, type) or _is_enum(cls):
        raise SerializeError(_unknown(obj))
    slots = [slot for base in cls.__mro__ for slot in _slots(base)]
    attributes = getattr(obj, "__dict__", None)
    if attributes is None and not slots:
        raise SerializeError(_unknown(obj))
    described = {slot: getattr(obj, slot) for slot in slots if hasattr(obj, slot)}
    described.update(attributes or {})
    described["__class__"] = f"{cls.__module__}.{cls.__name__}"
    return described


_REFUSED = frozenset({
    set, dict, tuple, list, type(lambda: None), type(len), type(sys),
})  # fmt: skip


def _slots(cls: type) -> list[str]:
    slots: Any = vars(cls).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in {"__dict__", "__weakref__"}]


def _unknown(obj: object) -> str:
    cls = type(obj)
    advice = (
        "register a converter with register_class_to_dict, or give it vars() or a __getstate__ "
        "that returns a dict"
    )
    if cls.__module__.partition(".")[0] == "numpy":
        advice = (
            "send what its tolist() returns, or use pickle as the serializer of a connection that "
            "is local"
        )
    elif isinstance(obj, bytes | bytearray | memoryview):
        advice = "send it as text, or use another serializer"
    elif _is_enum(cls):
        advice = f"send its value, or register a converter for {cls.__name__}"
    return f"don't know how to serialize class {cls}; {advice}"


def _is_enum(cls: type) -> bool:
    return type(cls).__module__ == "enum"


def simple_value(obj: object) -> object:
    """Return the plain value that stands for a set, UUID, Decimal or array, else *obj* itself.

    The classes are recognised by name, so that their modules need not be imported.
    """
    if isinstance(obj, set):
        return tuple(obj)
    for base in type(obj).__mro__:
        convert = _SIMPLE.get((base.__module__, base.__name__))
        if convert is not None:
            return convert(obj)
    return obj


def _array_value(array: Any) -> object:
    return array.tounicode() if array.typecode in "uw" else array.tolist()


_SIMPLE: dict[tuple[str, str], Callable[[Any], object]] = {
    ("uuid", "UUID"): str,
    ("decimal", "Decimal"): str,
    ("array", "array"): _array_value,
}


# --------------------------------------------------------------------------------- dict -> object


def dict_to_class(data: dict[str, Any]) -> object:
    """Rebuild the object that a dict with the key ``"__class__"`` describes.

    Raises:
        SecurityError: the name contains double underscores, and no converter is registered.
            Exceptions are exempt: an unknown one only ever becomes a RemoteError.
        SerializeError: nothing knows this class, or its converter failed.
    """
    name = _classname(data)
    converter = _from_dict.get(name)
    if converter is not None:
        return _convert(converter, name, data)
    if data.get("__exception__"):
        return dict_to_exception(data)
    if "__" in name:
        raise SecurityError(
            "refused to rebuild an object of a class with double underscores in its name: "
            f"{name!r:.200}"
        )
    converter = _builtin_from_dict.get(name)
    if converter is not None:
        return _convert(converter, name, data)
    if name.startswith(("Pyro5.errors.", "Pyro4.errors.", "pyroipc.errors.")) and "args" in data:
        return dict_to_exception(data)
    raise SerializeError(
        f"unsupported serialized class: {name!r:.200}; "
        "to rebuild such objects, give register_dict_to_class a converter"
    )


def _classname(data: dict[str, Any]) -> str:
    name = data.get("__class__", "<unknown>")
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if not isinstance(name, str):
        raise SerializeError(f"the name of a class is {type(name)}, not a string")
    return name


def _convert(converter: FromDict, name: str, data: dict[str, Any]) -> object:
    try:
        return converter(name, data)
    except (SerializeError, SecurityError):
        raise
    except Exception as error:
        raise SerializeError(
            f"cannot rebuild an object of class {name!r:.200}: {error}"
        ) from error


def dict_to_exception(data: dict[str, Any]) -> Exception:
    """Rebuild an exception from its dict; class dicts inside it are rebuilt too.

    Raises:
        SecurityError: a class inside it may never be rebuilt.
        SerializeError: it does not have an exception's shape, or something in it is unknown.
    """
    inner = dict(data)
    inner["__class__"] = _classname(data)
    for key in ("args", "attributes"):
        if key in inner:
            inner[key] = recreate(inner[key])
    return rebuild_exception(inner)


def recreate(value: Any, level: int = 0) -> Any:
    """Replace the class dicts inside a decoded value by what they describe.

    Lists and dicts are changed in place.  Keys and sets are left alone: they cannot hold dicts.

    Raises:
        SecurityError: a class may never be rebuilt.
        SerializeError: a class is unknown, or the value is nested too deep or in a cycle.
    """
    kind = type(value)
    if kind not in _CONTAINERS:
        return value
    if level > MAX_DEPTH:
        raise SerializeError(f"the payload is nested deeper than {MAX_DEPTH} levels")
    if kind is tuple:
        items = [recreate(item, level + 1) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return tuple(items) if changed else value
    if kind is dict and "__class__" in value:
        return dict_to_class(value)
    # Only values are replaced, never keys added, so the walk may go on meanwhile.
    for key, item in value.items() if kind is dict else enumerate(value):
        if type(item) in _CONTAINERS:
            value[key] = recreate(item, level + 1)
    return value


_CONTAINERS = frozenset({list, tuple, dict})

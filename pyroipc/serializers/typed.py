"""What is sent is what arrives: values that a format does not know <-> a tag and plainer data.

The typed forms of serpent, json, marshal and msgpack share this.  A format writes what it knows
by itself, and for everything else asks ``Values.describe`` for a tag and data, which it writes in
a way of its own that no plain value can look like.  Reading, it gives both to ``Rebuilder``.

A tag is one of ``TAGS``; the data are values again, so that they may hold anything.  Described
are here: what is built into Python.  Elsewhere: values of the standard library
(``typed_library``), dataclasses, enums and namedtuples (``typed_classes``), exceptions
(``typed_exceptions``).  Instances that have a converter go as its dict, under the tag ``class``.

Rebuilding imports a fixed set of modules of the standard library and nothing else, and charges
each value against the memory that a payload of this size may take.
"""

from __future__ import annotations

import sys

from pyroipc.errors import PyroError, SerializeError
from pyroipc.serializers.base import check_keys
from pyroipc.serializers.classes import converter_of, dict_to_class, own_state
from pyroipc.serializers.typed_classes import describe_class, rebuilders_of_classes
from pyroipc.serializers.typed_exceptions import describe_exception, rebuild_described
from pyroipc.serializers.typed_library import (
    FACTORIES,
    describe_library,
    pairs_of,
    rebuilders_of_library,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from pyroipc.serializers.base import ClassesFor, References

    Described: TypeAlias = tuple[str | None, Any]
    Head: TypeAlias = Callable[[], tuple[object, object]]

__all__ = ["TAGS", "Rebuilder", "Values", "decimal_ints_are_bounded"]

TAGS = (
    "tuple", "set", "frozenset", "dict", "bytes", "bytearray", "int", "float", "complex",
    "...", "range", "slice", "OrderedDict", "defaultdict", "Counter", "deque",
    "Decimal", "Fraction", "datetime", "date", "time", "timedelta", "timezone", "zone",
    "UUID", "path", "array", "ip",
    "enum", "dataclass", "namedtuple", "class", "exception", "reference",
)  # fmt: skip
"""The tags, in the order that gives them their numbers in msgpack: for ever."""

_BASE_MEMORY = 4 << 20
_MEMORY_PER_BYTE = 24


# ------------------------------------------------------------------------------------ describing


class Values:
    """What one connection knows of values: its references, and the classes it may rebuild."""

    __slots__ = ("classes_for", "references")

    def __init__(
        self, references: References | None = None, classes_for: ClassesFor | None = None
    ) -> None:
        self.references = references
        self.classes_for = classes_for

    def again(self, *, withdrawn: bool = False) -> Values:
        """Return values for a second look at what was described before.

        References count what they encode: these count nothing, or take back what was counted.
        """
        if self.references is None:
            return self
        recount: Any = _Recount(self.references, 2 if withdrawn else 1)
        return Values(recount, self.classes_for)

    def describe(self, value: object) -> Described:
        """Return a tag and data that stand for a value; with the tag None, the data alone.

        Raises:
            SerializeError: the value cannot be sent.
        """
        cls = type(value)
        builtin = _BUILTIN.get(cls)
        if builtin is not None:
            return builtin(value)
        if self.references is not None:
            data = self.references.encode(value)
            if data is not None:
                return "reference", data
        converter = converter_of(value)
        if converter is not None:
            return _class_dict(converter(value))
        described = describe_library(value)
        if described is not None:
            return described
        if isinstance(value, BaseException):
            return "exception", describe_exception(value)
        described = describe_class(value)
        return _instance(value) if described is None else described


class _Recount:
    """References that take back what they count."""

    __slots__ = ("_encode", "_times", "_withdraw")

    def __init__(self, references: Any, times: int) -> None:
        self._encode = references.encode
        self._withdraw = getattr(references, "withdraw", None)
        self._times = times

    def encode(self, value: object) -> list[Any] | None:
        """Return what stands for a value, without counting it."""
        data: list[Any] | None = self._encode(value)
        if data is not None and self._withdraw is not None:
            for _ in range(self._times):
                self._withdraw(data)
        return data


def _class_dict(data: object) -> Described:
    return ("class" if isinstance(data, dict) and "__class__" in data else None), data


def _instance(value: object) -> Described:
    """Describe an instance of an ordinary class by its attributes.

    Raises:
        SerializeError: they do not tell all about it.
    """
    cls = type(value)
    if isinstance(value, _PLAIN_BASES):
        base = next(base for base in cls.__mro__ if base in _BUILTIN or base in _SCALARS)
        raise SerializeError(
            f"its class is a subclass of {base.__name__}, and what it adds to that would be lost; "
            f"send a plain {base.__name__}, or {_ADVICE}"
        )
    if cls.__module__ == "builtins" or isinstance(value, type) or _has_hidden_state(value):
        raise SerializeError(
            f"it is more than its attributes; {_ADVICE}, or keep it where it is and call "
            "its methods there"
        )
    state = own_state(value)
    if not isinstance(state, dict):
        state = _attributes(value)
    if "__class__" not in state:
        state = {**state, "__class__": f"{cls.__module__}.{cls.__name__}"}
    return "class", state


_ADVICE = "register a converter for its class with register_class_to_dict"


def _has_hidden_state(value: object) -> bool:
    """Tell whether a part of an object that is written in C cannot be described."""
    cls = type(value)
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        kinds = {type(cls.__reduce_ex__), type(cls.__reduce__)}
        return type(_has_hidden_state) not in kinds  # no function written in Python among them
    if getattr(cls, "__getstate__", None) is not getattr(object, "__getstate__", None):
        return False
    try:
        object.__reduce_ex__(value, 2)
    except TypeError:  # "cannot pickle ... object"
        return True
    return False


def _attributes(value: object) -> dict[str, Any]:
    cls = type(value)
    slots = [
        name
        for base in cls.__mro__
        for name, member in vars(base).items()
        if type(member) is _Member and name != "__weakref__"
    ]
    described = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    described.update(getattr(value, "__dict__", {}))
    return described


class _Slotted:
    __slots__ = ("member",)


_Member = type(vars(_Slotted)["member"])


def _tuple(value: Any) -> Described:
    return "tuple", list(value)


def _set(value: Any) -> Described:
    return "set", list(value)


def _frozenset(value: Any) -> Described:
    return "frozenset", list(value)


def _dict(value: Any) -> Described:
    return "dict", pairs_of(value)


def _bytes(value: Any) -> Described:
    return None, value


def _bytearray(value: Any) -> Described:
    return "bytearray", bytes(value)


def _memoryview(value: Any) -> Described:
    return None, value.tobytes()


def _int(value: Any) -> Described:
    return "int", f"{value:x}"


def _float(value: Any) -> Described:
    return "float", repr(value)


def _complex(value: Any) -> Described:
    return "complex", [value.real, value.imag]


def _ellipsis(value: Any) -> Described:
    return "...", None


def _range(value: Any) -> Described:
    return "range", [value.start, value.stop, value.step]


def _slice(value: Any) -> Described:
    return "slice", [value.start, value.stop, value.step]


_BUILTIN: dict[type, Callable[[Any], Described]] = {
    tuple: _tuple, set: _set, frozenset: _frozenset, dict: _dict, bytes: _bytes, int: _int,
    bytearray: _bytearray, memoryview: _memoryview, float: _float, complex: _complex,
    type(...): _ellipsis, range: _range, slice: _slice,
}  # fmt: skip
_SCALARS = frozenset({str, bool, int, float, type(None), list})
_PLAIN_BASES = (
    str, int, float, complex, bytes, bytearray, tuple, list, dict, set, frozenset,
)  # fmt: skip


# ------------------------------------------------------------------------------------ rebuilding


class Rebuilder:
    """Makes the values of one payload.

    Args:
        values: the connection's.
        size_bytes: the length of the payload.
        head: tells the object id and the member of the call that is being read, if it is one.
    """

    __slots__ = ("_budget", "_classes", "_head", "head", "made", "values")

    def __init__(self, values: Values, size_bytes: int, head: Head | None = None) -> None:
        self.values = values
        self.made = 0  # classes that were made for this payload
        self.head: tuple[object, object] | None = None
        self._head = head
        self._classes: Mapping[str, type] | None = None
        self._budget = _BASE_MEMORY + _MEMORY_PER_BYTE * size_bytes

    def rebuild(self, tag: object, data: Any) -> object:
        """Make the value that a tag and data stand for.

        Raises:
            SerializeError: they stand for nothing, or for what is not known or too large here.
            SecurityError: a class may never be rebuilt.
            PyroError: what a reference of the connection raised.
        """
        try:
            make, cost = _REBUILD[tag]  # type: ignore[index]
            self._budget -= cost
            if self._budget < 0:
                raise SerializeError("the payload would take too much memory")
            return make(self, data)
        except PyroError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise SerializeError(
                f"invalid data for a value of kind {str(tag)[:50]!r}: {reason}"
            ) from error

    def annotated_class(self, name: str) -> type | None:
        """Find a class among those that the annotations of the called member name.

        Raises:
            SerializeError: what is read is not a call.
        """
        if self._classes is None:
            classes_for = self.values.classes_for
            if self._head is None or classes_for is None:
                return None
            self.head = object_id, member = self._head()
            if type(object_id) is not str or type(member) is not str:
                raise SerializeError("the payload is not a call")
            self._classes = classes_for(object_id, member)
        return self._classes.get(name)

    def check_head(self, call: Any) -> None:
        """Compare what the head of the call seemed to be with the call: (id, member, ...).

        Raises:
            SerializeError: the payload said two things.
        """
        if self.head is not None and self.head != tuple(call[:2]):
            raise SerializeError("the payload names two members for one call")


def decimal_ints_are_bounded() -> bool:
    """Tell whether this Python refuses to write an int that the peer's may refuse to read."""
    return 0 < sys.get_int_max_str_digits() <= 4300


def _checked(data: Any, kind: type) -> Any:
    if type(data) is not kind:
        raise TypeError(f"{kind.__name__} expected, not {type(data).__name__}")
    return data


def _list(_: Rebuilder, data: Any) -> Any:
    return _checked(data, list)


def _rebuild_tuple(_: Rebuilder, data: Any) -> object:
    return tuple(_checked(data, list))


def _rebuild_set(rebuilder: Rebuilder, data: Any) -> object:
    _charge_elements(rebuilder, data)
    return set(check_keys(data))


def _rebuild_frozenset(rebuilder: Rebuilder, data: Any) -> object:
    _charge_elements(rebuilder, data)
    return frozenset(check_keys(data))


def _charge_elements(rebuilder: Rebuilder, data: Any) -> None:
    """Charge what a hash table takes beyond what is in the price of each of its kind."""
    rebuilder._budget -= 16 * max(0, len(_checked(data, list)) - 4)  # noqa: SLF001 - same module


def _rebuild_dict(rebuilder: Rebuilder, data: Any) -> dict[Any, Any]:
    keys = check_keys(_checked(data, list)[::2])
    rebuilder._budget -= 40 * len(keys)  # noqa: SLF001 - same module
    return dict(zip(keys, data[1::2], strict=True))


def _rebuild_ordered_dict(rebuilder: Rebuilder, data: Any) -> object:
    from collections import OrderedDict

    return OrderedDict(_rebuild_dict(rebuilder, data))


def _rebuild_counter(rebuilder: Rebuilder, data: Any) -> object:
    from collections import Counter

    return Counter(_rebuild_dict(rebuilder, data))


def _rebuild_defaultdict(rebuilder: Rebuilder, data: Any) -> object:
    from collections import defaultdict

    factory, flat = data
    return defaultdict(
        None if factory is None else FACTORIES[factory], _rebuild_dict(rebuilder, flat)
    )


def _rebuild_deque(_: Rebuilder, data: Any) -> object:
    from collections import deque

    items, maxlen = data
    if maxlen is not None and len(_checked(items, list)) > maxlen:
        raise ValueError("it is longer than its maxlen")
    return deque(_checked(items, list), maxlen)


def _rebuild_bytes(_: Rebuilder, data: Any) -> object:
    if type(data) is bytes:
        return data
    import binascii

    return binascii.a2b_base64(_checked(data, str))


def _rebuild_bytearray(_: Rebuilder, data: Any) -> object:
    return bytearray(_checked(data, bytes))


def _rebuild_int(_: Rebuilder, data: Any) -> object:
    return int(_checked(data, str), 16)  # linear in its length, and without a limit


def _rebuild_float(_: Rebuilder, data: Any) -> object:
    return float(_checked(data, str))


def _rebuild_complex(_: Rebuilder, data: Any) -> object:
    real, imag = data
    return complex(_checked(real, float), _checked(imag, float))


def _rebuild_ellipsis(_: Rebuilder, data: Any) -> object:
    return ...


def _rebuild_range(_: Rebuilder, data: Any) -> object:
    start, stop, step = data
    return range(_checked(start, int), _checked(stop, int), _checked(step, int))


def _rebuild_slice(_: Rebuilder, data: Any) -> object:
    return slice(*_checked(data, list)[:3])


def _rebuild_class(_: Rebuilder, data: Any) -> object:
    if "__class__" not in _checked(data, dict):
        raise ValueError("no name of a class")
    return dict_to_class(data)


def _rebuild_exception(_: Rebuilder, data: Any) -> object:
    return rebuild_described(_checked(data, dict))


def _rebuild_reference(rebuilder: Rebuilder, data: Any) -> object:
    if rebuilder.values.references is None:
        raise ValueError("this connection has no references")
    return rebuilder.values.references.decode(_checked(data, list))


_REBUILD: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "tuple": (_rebuild_tuple, 0), "set": (_rebuild_set, 220),
    "frozenset": (_rebuild_frozenset, 220), "dict": (_rebuild_dict, 64),
    "bytes": (_rebuild_bytes, 0), "bytearray": (_rebuild_bytearray, 64), "int": (_rebuild_int, 0),
    "float": (_rebuild_float, 0), "complex": (_rebuild_complex, 0), "...": (_rebuild_ellipsis, 0),
    "range": (_rebuild_range, 48), "slice": (_rebuild_slice, 48),
    "OrderedDict": (_rebuild_ordered_dict, 500), "Counter": (_rebuild_counter, 260),
    "defaultdict": (_rebuild_defaultdict, 200), "deque": (_rebuild_deque, 760),
    "class": (_rebuild_class, 100), "exception": (_rebuild_exception, 600),
    "reference": (_rebuild_reference, 100),
    **rebuilders_of_library, **rebuilders_of_classes,
}  # fmt: skip
"""Tag -> how to rebuild, and the memory that one takes beyond its parts, at most."""

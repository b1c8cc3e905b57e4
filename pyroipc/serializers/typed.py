"""What is sent is what arrives: values that a format does not know <-> a tag and plainer data.

The typed forms of serpent, json, marshal and msgpack share this.  A format writes what it knows
by itself, and for everything else asks ``Values.describe`` for a tag and data, which it writes in
a way of its own that no plain value can look like.  Reading, it gives both to ``Rebuilder``.

A tag is one of ``TAGS``; the data are values again, so that they may hold anything.  Described
are, each in a module of its own: what is built into Python (``typed_builtins``), values of the
standard library (``typed_library``), dataclasses, enums and namedtuples (``typed_classes``),
exceptions (``typed_exceptions``), numpy's arrays and scalars (``typed_numpy``), and buffers that
go apart (``typed_buffers``).  Instances that have a converter go as its dict, under the tag
``class``.

Rebuilding imports a fixed set of modules of the standard library and nothing else, and charges
each value against the memory that a payload of this size may take.
"""

from __future__ import annotations

import sys

from pyroipc.errors import PyroError, SerializeError
from pyroipc.serializers.classes import converter_of, dict_to_class, own_state
from pyroipc.serializers.parts import SIZES, LargeFoundError, Stow
from pyroipc.serializers.passengers import board, find, rebuilders_of_passengers
from pyroipc.serializers.typed_buffers import (
    describe_apart,
    describe_block,
    look_for_large,
    rebuilders_of_buffers,
)
from pyroipc.serializers.typed_builtins import BUILTINS, checked, rebuilders_of_builtins
from pyroipc.serializers.typed_classes import describe_class, rebuilders_of_classes
from pyroipc.serializers.typed_exceptions import describe_exception, rebuild_described
from pyroipc.serializers.typed_library import describe_library, rebuilders_of_library
from pyroipc.serializers.typed_numpy import Block, rebuilders_of_numpy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeAlias

    from pyroipc.serializers.base import ClassesFor, References
    from pyroipc.serializers.parts import Parts

    Described: TypeAlias = tuple[str | None, Any]
    Head: TypeAlias = Callable[[], tuple[object, object]]

__all__ = ["TAGS", "Rebuilder", "Values", "decimal_ints_are_bounded", "encode_apart"]

TAGS = (
    "tuple", "set", "frozenset", "dict", "bytes", "bytearray", "int", "float", "complex",
    "...", "range", "slice", "OrderedDict", "defaultdict", "Counter", "deque",
    "Decimal", "Fraction", "datetime", "date", "time", "timedelta", "timezone", "zone",
    "UUID", "path", "array", "ip",
    "enum", "dataclass", "namedtuple", "class", "exception", "reference",
    "buffer", "ndarray", "numpy", "passenger",
)  # fmt: skip
"""The tags, in the order that gives them their numbers in msgpack: for ever."""

_BASE_MEMORY = 4 << 20
_MEMORY_PER_BYTE = 24


# ------------------------------------------------------------------------------------ describing


class Values:
    """What one connection knows of values: its references, and the classes it may rebuild.

    Large buffers stay in the payload, unless the values are ``wary`` or ``stowing``.

    Args:
        references: of the connection.
        classes_for: says which classes the annotations of a member name.
    """

    __slots__ = ("_stow", "classes_for", "is_trial", "keeps_large", "references")

    def __init__(
        self, references: References | None = None, classes_for: ClassesFor | None = None
    ) -> None:
        self.references = references
        self.classes_for = classes_for
        self._stow: Stow | None = None
        self.keeps_large = True
        """Whether large buffers stay in the payload, so that nobody need look for them."""
        self.is_trial = False
        """Whether it is to be raised that a large buffer was found, and nothing else done."""

    @property
    def is_stowing(self) -> bool:
        """Whether large buffers are given away."""
        return self._stow is not None

    def wary(self, *, is_trial: bool = False) -> Values:
        """Return values that raise LargeFoundError when they meet what should go apart."""
        wary = Values(self.references, self.classes_for)
        wary.keeps_large = False
        wary.is_trial = is_trial
        return wary

    def stowing(self, stow: Stow) -> Values:
        """Return values that give large buffers away."""
        stowing = Values(self.references, self.classes_for)
        stowing.keeps_large = False
        stowing._stow = stow
        return stowing

    def again(self, *, withdrawn: bool = False) -> Values:
        """Return values for a second look at what was described before.

        References count what they encode: these count nothing, or take back what was counted.
        """
        references: Any = self.references
        if references is not None:
            references = _Recount(references, 2 if withdrawn else 1)
        again = Values(references, self.classes_for)
        if not withdrawn and self._stow is not None:
            self._stow.clear()
            again._stow = self._stow
            again.keeps_large = False
        return again

    def apart(self, value: object) -> Described | None:
        """Return a tag and data that stand for a large buffer; None: it is none, or stays.

        Raises:
            LargeFoundError: it should go apart, and nobody takes it.
        """
        return None if self.keeps_large else describe_apart(value, self._stow)

    def _refer(self, value: object) -> Described | None:
        """Return what stands for a value that does not travel itself; None: it does."""
        described = self._board(value)
        if described is None and self.references is not None:
            data = self.references.encode(value)
            if data is not None:
                return "reference", data
        return described

    def _board(self, value: object) -> Described | None:
        """Return what stands for a value that travels as a descriptor; None: it does not.

        Raises:
            LargeFoundError: it does, and nobody takes it.
        """
        passenger = find(value)
        if passenger is None:
            return None
        stow, references = self._stow, self.references
        if (
            not self.keeps_large
            and stow is None
            and references is not None
            and references.why_not_carried() is None
        ):
            raise LargeFoundError
        if stow is not None and stow.is_call and references is not None:
            lent = references.lend(passenger)
            if lent is not None:
                return "reference", lent
        boarded = board(passenger, stow, references)
        return None if boarded is None else ("passenger", boarded)

    def apart_all(self, values: Iterable[object]) -> None:
        """Look for large buffers among the arguments of a call, before the work begins.

        Raises:
            LargeFoundError: there is one, and nobody takes it.
        """
        if self._stow is None and not self.keeps_large:
            for value in values:
                if type(value) in SIZES:
                    look_for_large(value)

    def describe(self, value: object) -> Described:
        """Return a tag and data that stand for a value; with the tag None, the data alone.

        Raises:
            SerializeError: the value cannot be sent.
        """
        cls = type(value)
        if cls in SIZES:
            described = self.apart(value)
            if described is not None:
                return described
        builtin = BUILTINS.get(cls)
        if builtin is not None:
            return builtin(value)
        if cls is Block:
            return describe_block(value, self._stow, keeps=self.keeps_large)  # type: ignore[arg-type]
        described = self._refer(value)
        if described is not None:
            return described
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


def encode_apart(
    form: Callable[[Values], Any], values: Values, method: str, *args: object
) -> bytes | Parts:
    """Encode with large buffers apart what was begun with wary values, which have found some.

    Args:
        form: makes the serializer for given values.
        values: those with which it was begun.
        method: that of the serializer which encodes.
        args: its arguments.

    Raises:
        LargeFoundError: the values are for a trial.
        SerializeError: it cannot be encoded.
    """
    if values.is_trial:
        raise LargeFoundError
    if values.references is not None:  # what was counted before the first large one was found
        values.references.take_back(getattr(form(values.wary(is_trial=True)), method), *args)
    stow = Stow(is_call=method == "dumps_call_parts")
    try:
        return stow.parts(getattr(form(values.stowing(stow)), method)(*args))
    finally:
        stow.clear()


class _Recount:
    """References that take back what they count."""

    __slots__ = ("_encode", "_times", "_withdraw", "begin_to_carry", "lend", "why_not_carried")

    def __init__(self, references: Any, times: int) -> None:
        self._encode = references.encode
        self.why_not_carried = references.why_not_carried
        self.begin_to_carry = references.begin_to_carry
        self.lend = references.lend
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
        base = next(base for base in cls.__mro__ if base in BUILTINS or base in _SCALARS)
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
        buffers: what came apart.
    """

    __slots__ = ("_budget", "_classes", "_head", "buffers", "head", "made", "taken", "values")

    def __init__(
        self,
        values: Values,
        size_bytes: int,
        head: Head | None = None,
        buffers: Sequence[Any] = (),
    ) -> None:
        self.values = values
        self.buffers = buffers
        self.taken: set[int] = set()
        """Numbers of the buffers that are in use."""
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
            self.charge(cost)
            return make(self, data)
        except PyroError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise SerializeError(
                f"invalid data for a value of kind {str(tag)[:50]!r}: {reason}"
            ) from error

    def charge(self, n_bytes: int) -> None:
        """Charge memory that a value takes beyond that of the payload.

        Raises:
            SerializeError: that is too much.
        """
        self._budget -= n_bytes
        if self._budget < 0:
            raise SerializeError("the payload would take too much memory")

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


def _rebuild_class(_: Rebuilder, data: Any) -> object:
    if "__class__" not in checked(data, dict):
        raise ValueError("no name of a class")
    return dict_to_class(data)


def _rebuild_exception(_: Rebuilder, data: Any) -> object:
    return rebuild_described(checked(data, dict))


def _rebuild_reference(rebuilder: Rebuilder, data: Any) -> object:
    if rebuilder.values.references is None:
        raise ValueError("this connection has no references")
    return rebuilder.values.references.decode(checked(data, list))


_REBUILD: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "class": (_rebuild_class, 100),
    "exception": (_rebuild_exception, 600),
    "reference": (_rebuild_reference, 100),
    **rebuilders_of_builtins,
    **rebuilders_of_library,
    **rebuilders_of_classes,
    **rebuilders_of_numpy,
    **rebuilders_of_buffers,
    **rebuilders_of_passengers,
}
"""Tag -> how to rebuild, and the memory that one takes beyond its parts, at most."""

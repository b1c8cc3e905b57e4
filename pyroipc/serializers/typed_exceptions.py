"""Exceptions <-> a description in plain data, for the typed forms.

Used for exceptions that are values (the tag ``exception``), and by ``protocol.remote_errors`` for
those that a call raised.  What may be rebuilt, and how, is the matter of ``exceptions``; here is
what Pyro's dict has no place for: slots, causes, contexts and groups.

=============  ============================================================================
key            value; keys that would say nothing are left out
=============  ============================================================================
``class``      the name of the class
``bases``      the names of its ancestors below Exception, the nearest first
``args``       a list of parts
``state``      attributes and notes: {name: part}
``slots``      what is kept outside of ``__dict__`` and of the args: {name: part}
``text``       ``str(exception)``, if its class has a ``__str__`` of its own
``cause``      such a description; so ``context``
``suppress``   ``__suppress_context__``
``members``    descriptions: the exceptions of a group; ``message`` is the group's own
=============  ============================================================================

A part is a value, or whatever the caller makes of one.
"""

from __future__ import annotations

from pyroipc.errors import RemoteError
from pyroipc.serializers.exceptions import base_names, rebuild_exception, wire_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Description: TypeAlias = dict[str, Any]
    ToPart: TypeAlias = Callable[[Any], Any]

__all__ = ["describe_exception", "rebuild_described", "relatives_of"]

_MAX_EXCEPTIONS = 100
_MAX_LEVELS = 40
_FAILURES = (Exception, SystemExit, GeneratorExit)

# What builtin classes keep outside of args and __dict__. Not AttributeError.obj: it is the very
# object that lacked the attribute, and sending that is more than anybody asked for.
_SLOTS: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("filename", "filename2"),
    ImportError: ("name", "path", "name_from"),
    AttributeError: ("name",),
    NameError: ("name",),
}
_args_slot = BaseException.__dict__["args"]
_dict_slot = BaseException.__dict__["__dict__"]
_cause_slot = BaseException.__dict__["__cause__"]
_context_slot = BaseException.__dict__["__context__"]
_suppress_slot = BaseException.__dict__["__suppress_context__"]
_Member = type(OSError.__dict__["filename"])


def _same(value: Any) -> Any:
    return value


# ------------------------------------------------------------------------------------- describing


def describe_exception(exception: BaseException, part: ToPart = _same) -> Description:
    """Describe an exception with all that belongs to it, a bounded number of them.

    Args:
        exception: it is neither changed nor kept.
        part: makes what travels of an arg, an attribute or the value of a slot.
    """
    return _Describer(part).describe(exception, 0)


class _Describer:
    """Describes one exception and its relatives, each of them once."""

    def __init__(self, part: ToPart) -> None:
        self._part = part
        self._seen: set[int] = set()

    def describe(self, exception: BaseException, level: int) -> Description:
        self._seen.add(id(exception))
        cls = type(exception)
        described: Description = {"class": wire_name(cls)}
        if bases := base_names(cls):
            described["bases"] = bases
        if not isinstance(exception, BaseExceptionGroup):
            described["args"] = [self._part(arg) for arg in _args_slot.__get__(exception)]
        for key, values in (("state", _state_of(exception)), ("slots", _slots_of(exception))):
            if values:
                described[key] = {name: self._part(value) for name, value in values.items()}
        if any("__str__" in vars(base) for base in cls.__mro__ if base.__module__ != "builtins"):
            text = _text_of(exception)
            if text is not None:
                described["text"] = text
        self._add_relatives(described, exception, level)
        if isinstance(exception, BaseExceptionGroup):
            described["message"] = str(exception.message)
            members = [self._relative(member, level) for member in exception.exceptions]
            described["members"] = [member for member in members if member is not None]
        return described

    def _add_relatives(self, described: Description, exception: BaseException, level: int) -> None:
        cause: BaseException | None = _cause_slot.__get__(exception)
        context: BaseException | None = _context_slot.__get__(exception)
        if hasattr(type(cause), "remote_cause"):  # a RemoteTraceback: only tells of the two
            context = cause.remote_context  # type: ignore[union-attr]
            cause = cause.remote_cause  # type: ignore[union-attr]
        elif _suppress_slot.__get__(exception):
            described["suppress"] = True
        for key, relative in (("cause", cause), ("context", context)):
            told = self._relative(relative, level)
            if told is not None:
                described[key] = told

    def _relative(self, exception: BaseException | None, level: int) -> Description | None:
        if (
            exception is None
            or id(exception) in self._seen
            or len(self._seen) >= _MAX_EXCEPTIONS
            or level >= _MAX_LEVELS
        ):
            return None
        return self.describe(exception, level + 1)


def _text_of(exception: BaseException) -> str | None:
    try:
        return str.__str__(str(exception))
    except _FAILURES:
        return None


def _state_of(exception: BaseException) -> dict[str, object]:
    state = {
        key: value for key, value in _dict_slot.__get__(exception).items() if type(key) is str
    }
    state.pop("remote_text", None)
    return state


def _slots_of(exception: BaseException) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, member in _members_of(type(exception)):
        try:
            value = member.__get__(exception)
        except AttributeError:
            continue  # never set
        if value is not None or member.__objclass__ not in _SLOTS:
            values[name] = value
    return values


def _members_of(cls: type[BaseException]) -> Iterator[tuple[str, Any]]:
    """Yield the slots that are described: some of builtin classes, all of those in Python."""
    for base in cls.__mro__:
        if base in _SLOTS:
            names: Any = _SLOTS[base]
        elif base.__module__ == "builtins":
            continue
        else:
            names = vars(base)
        for name in names:
            member = vars(base).get(name)
            if type(member) is _Member and name != "__weakref__":
                yield name, member


# ------------------------------------------------------------------------------------- rebuilding


def rebuild_described(described: Description, value_of: ToPart = _same) -> Exception:
    """Make an exception, with its causes and contexts, from its description.

    Always an Exception: of the class named if it is known here, else a RemoteError.

    Args:
        described: what ``describe_exception`` made.
        value_of: turns a part back into a value.

    Raises:
        TypeError: that is not a description; or AttributeError, KeyError, ValueError.
        SerializeError: it does not have the shape of an exception.
    """
    exception = _rebuild(described, value_of)
    cause, context = relatives_of(described, value_of)
    _context_slot.__set__(exception, context)
    if cause is not None:
        _cause_slot.__set__(exception, cause)
    _suppress_slot.__set__(exception, described.get("suppress") is True)
    return exception


def relatives_of(
    described: Description, value_of: ToPart = _same
) -> tuple[Exception | None, Exception | None]:
    """Make cause and context of a described exception."""
    cause, context = described.get("cause"), described.get("context")
    return (
        None if cause is None else rebuild_described(cause, value_of),
        None if context is None else rebuild_described(context, value_of),
    )


def _rebuild(described: Description, value_of: ToPart) -> Exception:
    members = described.get("members")
    bases = [str(base) for base in described.get("bases", ())]
    name = described["class"]
    if members is None:
        args = [value_of(part) for part in described.get("args", ())]
    else:
        # All members are Exceptions by now, so the nearest known group is one of those.
        bases = [_EXCEPTION_GROUP if base == _BASE_GROUP else base for base in bases]
        name = _EXCEPTION_GROUP if name == _BASE_GROUP else name
        inner = [rebuild_described(member, value_of) for member in members]
        args = [
            str(described.get("message")),
            inner or [RemoteError("the members of this group were not sent")],
        ]
    state = {key: value_of(part) for key, part in described.get("state", {}).items()}
    exception = rebuild_exception({
        "__class__": name,
        "args": args,
        "bases": bases,
        "attributes": state,
    })
    _fill_slots(exception, described.get("slots", {}), value_of)
    text = described.get("text")
    if type(exception).__dict__.get("remote_class") and type(text) is str:
        _dict_slot.__get__(exception)["remote_text"] = text
    return exception


_BASE_GROUP = "builtins.BaseExceptionGroup"
_EXCEPTION_GROUP = "builtins.ExceptionGroup"


def _fill_slots(exception: Exception, slots: dict[str, Any], value_of: ToPart) -> None:
    """Set the slots that the class has; those of a class unknown here become attributes."""
    members = dict(reversed(list(_members_of(type(exception)))))
    for name, part in slots.items():
        if name in members:
            members[name].__set__(exception, value_of(part))
        elif type(name) is str and not name.startswith("__"):
            _dict_slot.__get__(exception).setdefault(name, value_of(part))
